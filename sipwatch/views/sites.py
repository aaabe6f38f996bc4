"""Sites: where things are, and how they are there, in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from typing_extensions import TypedDict

from checks.observation import Subject
from checks.options.rows import STATES
from sipwatch.config.settings import local_zone
from sipwatch.sources import Sources, sliced
from sipwatch.views.extensions import effective
from sipwatch.views.lens import UNKNOWN, Lens, site_of

SLICE = 1000  # looked at in one turn of the loop: some 2 ms


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
    lens = Lens(sources)
    rows = {name: _empty(sources, name) for name in sorted(sources.config.sites)}
    for subject, what, state in _all(lens):
        if what == "turn" or subject is None:
            await asyncio.sleep(0)
            continue
        site = site_of(subject)
        found = rows.setdefault(site, _empty(sources, site))
        counts = found["extensions"] if what == "extensions" else found["targets"]
        counts[state] = counts.get(state, 0) + 1
    _name_others(sources, rows)
    return [rows[name] for name in sorted(rows, key=lambda name: (not name, name))]


def _all(lens: Lens) -> Iterator[tuple[Subject | None, str, str]]:
    """Each extension and target and its state; now and then a turn for others."""
    for judge in list(lens.sources.judges.values()):
        for part in sliced(list(judge.extensions.values()), SLICE):
            for e in part:
                yield e.subject, "extensions", effective(lens, judge, e)
            yield None, "turn", ""
    judged = lens.sources.options.judge
    for some in sliced(list(zip(judged.subjects, judged.state, strict=True)), SLICE):
        for subject, state in some:
            if subject is not None:
                seen = STATES[state] if lens.sees(subject) else None
                yield subject, "targets", seen or UNKNOWN
        yield None, "turn", ""


def _name_others(sources: Sources, rows: dict[str, SiteRow]) -> None:
    for judge in sources.judges.values():
        site = site_of(judge.subject)
        rows.setdefault(site, _empty(sources, site))["registrars"].append(judge.name)
    for account in sources.accounts.values():
        site = site_of(account.subject)
        rows.setdefault(site, _empty(sources, site))["accounts"].append(account.name)
    for incident in sources.alarms.incidents:
        if (found := rows.get(site_of(incident.subject))) is not None:
            found["incidents"].append(incident.id)


def _empty(sources: Sources, name: str) -> SiteRow:
    settings = sources.config.sites.get(name)
    zone = settings.timezone if settings and settings.timezone else str(local_zone())
    return {
        "name": name,
        "timezone": zone,
        "extensions": {},
        "targets": {},
        "registrars": [],
        "accounts": [],
        "incidents": [],
    }
