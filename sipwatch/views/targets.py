"""Targets: a list, and one of them with its addresses and last outcomes."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from typing_extensions import TypedDict

from checks.observation import Figures, State, plain
from checks.options.rows import STATES
from checks.options.views import AddressView, TargetView
from sipwatch.findings import finding_json
from sipwatch.sources import Sources, sliced
from sipwatch.subjects import key_of, named
from sipwatch.views.exchanges import Exchange, last
from sipwatch.views.lens import NAME, UNKNOWN, Above, Lens, matches, site_of
from sipwatch.views.paging import LIMIT, Page, Paging

SLICE = 1000  # targets looked at in one turn of the loop: some 2 ms
MADE = 10  # rows made in one turn: some 2 ms
OUTCOMES = 32  # that are remembered of each
HIDDEN = "***"  # what is shown of a password in a URI

TargetState = Literal["up", "degraded", "down", "unknown"]


class TargetRow(TypedDict):
    """A target in short; `state` is unknown while nobody can see it."""

    key: str
    name: str
    role: str
    uri: str
    site: str
    state: TargetState
    since: str | None
    cause: str | None
    rtt: float | None  # s, of the last answer
    loss: float | None  # share of the last 32 questions that had none
    failures: int  # in a row
    incident: int | None


class AddressRow(TypedDict):
    """One address of a target."""

    address: str
    transport: str
    state: TargetState
    up: bool | None
    since: str | None
    cause: str | None
    detail: str
    code: int | None  # of the last final answer
    reason: str
    agent: str
    rtt: float | None
    failures: int
    sends: int
    asked_at: str | None
    certificate_not_after: str | None


class OneTarget(TargetRow):
    """A target in full."""

    detail: str
    rtt_mean: float | None
    addresses: list[AddressRow]
    outcomes: list[bool]  # the last questions, whether answered well; the oldest first
    finding: dict[str, Any] | None
    incidents: list[int]
    above: list[Above]
    exchange: Exchange | None  # with one that somebody tested by hand


async def listed(
    sources: Sources,
    *,
    role: str = "",
    site: str = "",
    state: str = "",
    search: str = "",
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Page[TargetRow]:
    """A page of the targets, by key; ValueError for a bad cursor.

    `search` is part of the name or URI.
    """
    lens, judge = Lens(sources), sources.options.judge
    paging = Paging[str](limit, cursor)
    search = search.lower()
    for part in sliced(range(len(judge.subjects)), SLICE):
        found: list[tuple[str, str]] = []
        for index in part:
            subject = judge.subjects[index]
            if (
                subject is not None
                and role in ("", subject.scope.role)
                and site in ("", site_of(subject))
                and (
                    not state
                    or (STATES[judge.state[index]] if lens.sees(subject) else None)
                    == (None if state == UNKNOWN else state)
                )
                and (
                    not search
                    or matches(search, subject.name, shown_uri(judge.uris[index]))
                )
            ):
                found.append((subject.key, subject.key))
        paging.take(found)
        await asyncio.sleep(0)
    rows: list[TargetRow] = []
    for some in sliced(paging.found, MADE):
        views = (sources.options.targets.get(key) for key in some)
        rows += [row(lens, view) for view in views if view is not None]
        await asyncio.sleep(0)
    return paging.page(rows)


def one(sources: Sources, key: str, *, whole: bool = False) -> OneTarget:
    """A target by its key or name, the `whole` of it with what messages hold;
    LookupError, AmbiguousError."""
    view, lens = find(sources, key), Lens(sources)
    found = sources.findings.of(view.subject)
    figures = view.figures
    return {
        **row(lens, view),
        "detail": plain(view.detail),
        "rtt_mean": figures.rtt_mean,
        "addresses": [_address(lens, address) for address in view.addresses],
        "outcomes": _outcomes(figures),
        "finding": None if found is None else finding_json(found, lens.at),
        "incidents": lens.incidents(view.subject),
        "above": lens.above(view.subject),
        "exchange": last(lens, view.subject, whole=whole),
    }


def find(sources: Sources, key: str) -> TargetView:
    """A target by its key or name; LookupError, AmbiguousError."""
    subject = named(sources, key)
    view = sources.options.targets.get(subject.key) if subject else None
    if view is None:
        raise LookupError(f"no target {plain(key, NAME)} is watched")
    return view


def row(lens: Lens, view: TargetView) -> TargetRow:
    """One target in short."""
    subject, figures = view.subject, view.figures
    probes = figures.probes
    return {
        "key": key_of(subject),
        "name": plain(subject.name, NAME),
        "role": subject.scope.role,
        "uri": shown_uri(view.uri),
        "site": site_of(subject),
        "state": _state(view.state if lens.sees(subject) else None),
        "since": lens.maybe(view.since),
        "cause": view.cause,
        "rtt": figures.rtt,
        "loss": figures.outcomes.bit_count() / probes if probes else None,
        "failures": figures.failures,
        "incident": lens.incident(subject),
    }


def shown_uri(written: str) -> str:
    """A URI without its password, if it has one."""
    if "@" not in written or ":" not in written.partition("@")[0].partition(":")[2]:
        return plain(written)
    head, _, rest = written.rpartition("@")
    return plain(f"{head.rpartition(':')[0]}:{HIDDEN}@{rest}")


def _state(state: State | None) -> TargetState:
    return state or UNKNOWN  # type: ignore[return-value]


def _outcomes(figures: Figures) -> list[bool]:
    several = range(min(figures.probes, OUTCOMES))
    return [not figures.outcomes >> bit & 1 for bit in reversed(several)]


def _address(lens: Lens, view: AddressView) -> AddressRow:
    ends = view.not_after
    return {
        "address": view.address,
        "transport": view.transport,
        "state": _state(view.state),
        "up": None if view.state is None else view.state is State.UP,
        "since": lens.maybe(view.since),
        "cause": view.cause,
        "detail": plain(view.detail),
        "code": view.code,
        "reason": plain(view.reason),
        "agent": plain(view.agent),
        "rtt": view.rtt,
        "failures": view.failures,
        "sends": view.sends,
        "asked_at": lens.maybe(view.asked_at),
        "certificate_not_after": lens.wall(ends),
    }
