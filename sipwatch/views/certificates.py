"""Certificates of targets and accounts: those that end first, first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from typing_extensions import TypedDict

from checks.observation import Subject, plain
from sipwatch.answers.reasons import utc
from sipwatch.sources import Sources
from sipwatch.subjects import key_of
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
    rows = [*of_targets(lens, most), *_of_accounts(lens)]
    return sorted(rows, key=lambda row: row["not_after"])[:most]


def of_targets(lens: Lens, most: int) -> list[CertificateRow]:
    """Those of targets, by address."""
    return [
        _row(lens, subject, str(link), link.address.transport, link.not_after or 0.0)
        for subject, link in lens.sources.options.certificates(most)
    ]


def _of_accounts(lens: Lens) -> Iterator[CertificateRow]:
    for account in list(lens.sources.accounts.values()):
        outcome = account.outcome
        if outcome is not None and (ends := outcome.not_after) is not None:
            where, transport = outcome.address, outcome.transport
            yield _row(lens, account.subject, where, transport, ends)


def _row(
    lens: Lens, subject: Subject, address: str, transport: str, ends: float
) -> CertificateRow:
    now = lens.sources.clock.to_wall(lens.now)
    return {
        "key": key_of(subject),
        "kind": subject.kind,  # type: ignore[typeddict-item]
        "address": plain(address),
        "transport": transport,
        "not_after": utc(ends),
        "days": round((ends - now) / DAY, 1),
    }
