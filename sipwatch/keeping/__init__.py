"""Evidence of incidents: what was on the wire, kept for those who ask later."""
