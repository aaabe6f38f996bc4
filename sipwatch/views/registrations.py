"""What PBXs register elsewhere: their trunks' registrations."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from checks.observation import plain
from checks.registrations.judge import Judge
from checks.registrations.outbound import Registration
from sipwatch.sources import Sources
from sipwatch.subjects import key_of
from sipwatch.views.lens import NAME, UNKNOWN, Lens, matches, site_of
from sipwatch.views.paging import LIMIT, Page, cut

RegistrationState = Literal["ok", "rejected", "failing", "unknown"]


class RegistrationRow(TypedDict):
    """One registration; `state` is unknown while nobody can see it."""

    key: str
    registrar: str
    name: str
    site: str
    server: str
    client: str
    state: RegistrationState
    since: str | None
    cause: str | None
    detail: str
    incident: int | None


def listed(
    sources: Sources,
    *,
    registrar: str = "",
    state: str = "",
    search: str = "",
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Page[RegistrationRow]:
    """A page of them, by registrar and name; ValueError for a bad cursor."""
    lens, search = Lens(sources), search.lower()
    rows = (
        row(lens, judge, found)
        for judge in list(sources.judges.values())
        if registrar in ("", judge.name)
        for found in list(judge.outgoing.registrations.values())
    )
    return cut(
        (
            one
            for one in rows
            if state in ("", one["state"])
            and matches(search, one["name"], one["server"])
        ),
        limit,
        cursor,
    )


def row(lens: Lens, judge: Judge, r: Registration) -> RegistrationRow:
    """One of them."""
    known = r.state is not None and lens.reads(judge)
    return {
        "key": key_of(r.subject),
        "registrar": judge.name,
        "name": plain(r.name, NAME),
        "site": site_of(r.subject),
        "server": plain(r.server),
        "client": plain(r.client),
        "state": r.state if known else UNKNOWN,  # type: ignore[typeddict-item]
        "since": lens.at(r.since) if known else None,
        "cause": r.cause if known else None,
        "detail": plain(r.detail) if known else "",
        "incident": lens.incident(r.subject),
    }
