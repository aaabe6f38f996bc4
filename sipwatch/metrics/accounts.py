"""The series of accounts: few by nature, and written like those of other subjects."""

from __future__ import annotations

from collections.abc import Iterator

from checks.observation import State
from sipwatch.metrics.exposition import Family, label
from sipwatch.sources import Sight, Sources


def families(sources: Sources) -> Iterator[Family]:
    """In the order in which they are to be rendered."""
    yield Family(
        "sipwatch_account_up",
        "gauge",
        "Whether a REGISTER with this account is accepted.",
        _up(sources),
    )


def _up(sources: Sources) -> Iterator[str]:
    sight = Sight(sources.alarms)
    for account in list(sources.accounts.values()):
        if account.state is not None and sight.of(account.subject):
            up = int(account.state is State.OK)
            name = label(account.name)
            yield f'sipwatch_account_up{{account="{name}"}} {up}\n'
