"""Sites: where things are, and how they are there, in numbers."""

from __future__ import annotations

import asyncio

from typing_extensions import TypedDict

from checks.options.rows import STATES
from sipwatch.config.settings import local_zone
from sipwatch.sources import Sources, sliced
from sipwatch.views.extensions import effective
from sipwatch.views.lens import UNKNOWN, Lens, site_of

SLICE = 500  # looked at in one turn of the loop: some 1 ms


class SiteRow(TypedDict):
    """A site; the one without a name is all that belongs to none."""

    name: str
    timezone: str
    extensions: dict[str, int]  # by state, those that there are
    targets: dict[str, int]
    registrars: list[str]
    accounts: list[str]
    incidents: list[int]  # open ones of what is there


async def listed(sources: Sources) -> list[SiteRow]:
    """All sites by name; one without a name where something belongs to none."""
    lens, rows = Lens(sources), _Rows(sources)
    for judge in list(sources.judges.values()):
        rows[site_of(judge.subject)]["registrars"].append(judge.name)
        for part in sliced(list(judge.extensions.values()), SLICE):
            for e in part:
                state = effective(lens, judge, e)
                _count(rows[site_of(e.subject)]["extensions"], state)
            await asyncio.sleep(0)
    judged = sources.options.judge
    for some in sliced(list(zip(judged.subjects, judged.state, strict=True)), SLICE):
        for subject, known in some:
            if subject is not None:
                seen = STATES[known] if lens.sees(subject) else None
                _count(rows[site_of(subject)]["targets"], seen or UNKNOWN)
        await asyncio.sleep(0)
    for account in list(sources.accounts.values()):
        rows[site_of(account.subject)]["accounts"].append(account.name)
    for incident in sources.alarms.incidents:
        if (site := site_of(incident.subject)) in rows:
            rows[site]["incidents"].append(incident.id)
    return [rows[name] for name in sorted(rows, key=lambda name: (not name, name))]


class _Rows(dict[str, SiteRow]):
    """The configured sites, and what else something belongs to."""

    def __init__(self, sources: Sources) -> None:
        super().__init__()
        self._sources, self._zone = sources, str(local_zone())
        for name in sources.config.sites:
            self[name] = self.__missing__(name)

    def __missing__(self, name: str) -> SiteRow:
        settings = self._sources.config.sites.get(name)
        found: SiteRow = {
            "name": name,
            "timezone": settings.timezone or self._zone if settings else self._zone,
            "extensions": {},
            "targets": {},
            "registrars": [],
            "accounts": [],
            "incidents": [],
        }
        self[name] = found
        return found


def _count(counts: dict[str, int], state: str) -> None:
    counts[state] = counts.get(state, 0) + 1
