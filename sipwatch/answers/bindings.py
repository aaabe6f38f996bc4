"""Who is registered for an AOR: what the daemon's registrars hold, and what the
registrar of an account of ours answers now."""

from __future__ import annotations

from typing import Any, Protocol

from checks.observation import plain
from checks.registrations.extension import Contact, Extension
from sipwatch.accounts import Accounts
from sipwatch.clock import Clock
from sipwatch.outcomes import outcome_json
from sipwatch.registrars import Registrars

ASKED = 4  # accounts of one AOR that are asked for it


class Knows(Protocol):
    """The daemon."""

    @property
    def clock(self) -> Clock:
        """The one clock."""

    @property
    def followings(self) -> Registrars:
        """The registrars that are read."""

    @property
    def accounts(self) -> Accounts:
        """The accounts that are tested."""


async def asked_for(daemon: Knows, aor: str) -> dict[str, Any]:
    """The answer of /api/v1/bindings."""
    now = daemon.clock.now()
    registrars = [
        _held(name, extension, now)
        for name, extension in daemon.followings.holding(aor)
    ]
    names = [
        name
        for name, account in daemon.accounts.items()
        if aor in (account.settings.identity.aor, account.settings.identity.user)
    ]
    accounts = [
        {"account": name, **outcome_json(await daemon.accounts.ask(name))}
        for name in names[:ASKED]
    ]
    return {"aor": plain(aor), "registrars": registrars, "accounts": accounts}


def _held(name: str, extension: Extension, now: float) -> dict[str, Any]:
    return {
        "registrar": name,
        "aor": plain(extension.subject.name),
        "title": plain(extension.subject.title),
        "state": extension.state,
        "bindings": [_contact(extension, one, now) for one in extension.contacts],
    }


def _contact(extension: Extension, contact: Contact, now: float) -> dict[str, Any]:
    end = contact.member.clock.ours(contact.end) if contact.end is not None else None
    return {
        "aor": plain(extension.subject.name),
        "contact": plain(contact.uri),
        "expires_in": None if end is None else round(end - now),
        "received": plain(contact.received),
        "user_agent": plain(contact.user_agent),
        "reachable": contact.reachable,
    }
