"""How an AOR is named here."""

from __future__ import annotations


def canonical(aor: str, domain: str) -> str:
    """`user@domain`, the domain left out where it is the registrar's own."""
    user, _, host = aor.partition("@")
    return user if domain and host == domain else aor
