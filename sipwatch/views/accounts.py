"""The accounts that are tested with a REGISTER of our own."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from checks.accounts.account import Account
from checks.observation import plain
from sipwatch.outcomes import outcome_json
from sipwatch.sources import Sources
from sipwatch.views.lens import NAME, UNKNOWN, Lens, site_of

AccountState = Literal["ok", "rejected", "failing", "unknown"]


class AccountRow(TypedDict):
    """An account; without a test yet most of it is null."""

    key: str
    name: str
    registrar: str
    aor: str
    mode: str
    site: str
    state: AccountState
    cause: str | None
    since: str | None
    tested_at: str | None
    next_at: str | None
    detail: str
    next_step: str
    address: str
    transport: str
    rtt: float | None
    bindings: int
    incident: int | None


class OneAccount(AccountRow):
    """An account with its last test."""

    outcome: dict[str, Any] | None


def listed(sources: Sources) -> list[AccountRow]:
    """All accounts, as they are configured."""
    lens = Lens(sources)
    return [row(lens, account) for account in list(sources.accounts.values())]


def one(sources: Sources, name: str) -> OneAccount:
    """One by its name; LookupError."""
    account = sources.accounts.get(name.removeprefix("account:"))
    if account is None:
        raise LookupError(f"no account is named {plain(name, NAME)}")
    outcome = account.outcome
    return {
        **row(Lens(sources), account),
        "outcome": None if outcome is None else outcome_json(outcome),
    }


def row(lens: Lens, account: Account) -> AccountRow:
    """One of them."""
    outcome, settings = account.outcome, account.settings
    return {
        "key": account.subject.key,
        "name": account.name,
        "registrar": settings.registrar,
        "aor": settings.identity.aor,
        "mode": settings.mode,
        "site": site_of(account.subject),
        "state": account.state or UNKNOWN,  # type: ignore[typeddict-item]
        "cause": outcome.cause if outcome else None,
        "since": lens.at(account.since) if outcome else None,
        "tested_at": lens.at(outcome.at) if outcome else None,
        "next_at": lens.at(account.due) if outcome else None,
        "detail": plain(outcome.sentence) if outcome else "",
        "next_step": plain(outcome.step) if outcome else "",
        "address": outcome.address if outcome else "",
        "transport": outcome.transport if outcome else "",
        "rtt": outcome.rtt if outcome else None,
        "bindings": len(outcome.bindings) if outcome else 0,
        "incident": lens.incident(account.subject),
    }
