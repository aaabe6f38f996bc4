"""Packets as evidence: a ring of what passed, and the exchange around an incident."""
