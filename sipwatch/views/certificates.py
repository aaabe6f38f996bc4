"""Certificates of targets and accounts: those that end first, first."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from checks.observation import plain
from sipwatch.sources import Sources
from sipwatch.views.lens import Lens

MOST = 1000  # listed; the metrics have them all
DAY = 86400.0


class CertificateRow(TypedDict):
    """One certificate, where it is shown to us."""

    key: str  # of the target or account
    kind: Literal["target", "account"]
    address: str
    transport: str
    not_after: str
    days: float  # left; below 0 after its end


def listed(sources: Sources, most: int = MOST) -> list[CertificateRow]:
    """By their ends, at most so many."""
    lens = Lens(sources)
    now = sources.clock.to_wall(lens.now)
    found: list[tuple[float, CertificateRow]] = []
    for subject, link in sources.options.certificates(most):
        ends = link.not_after or 0.0
        transport = link.address.transport
        found.append(
            (ends, _row(subject.key, "target", str(link), transport, ends, now))
        )
    for account in list(sources.accounts.values()):
        outcome = account.outcome
        if outcome is not None and outcome.not_after is not None:
            key, ends = account.subject.key, outcome.not_after
            where, over = outcome.address, outcome.transport
            found.append((ends, _row(key, "account", where, over, ends, now)))
    return [row for _, row in sorted(found, key=lambda one: one[0])[:most]]


def _row(
    key: str,
    kind: Literal["target", "account"],
    address: str,
    transport: str,
    ends: float,
    now: float,
) -> CertificateRow:
    return {
        "key": key,
        "kind": kind,
        "address": plain(address),
        "transport": transport,
        "not_after": Lens.wall(ends) or "",
        "days": round((ends - now) / DAY, 1),
    }
