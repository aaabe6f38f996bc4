"""Registrars: how each can be read, and how its extensions are."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from checks.observation import State, plain
from checks.registrations.judge import Judge
from checks.registrations.member import Member
from checks.registrations.reaching import reach
from sipwatch.sources import Sources
from sipwatch.views.lens import NAME, TEXT, UNKNOWN, Lens, site_of

EXTENSIONS = (
    State.REGISTERED,
    State.UNREACHABLE,
    State.UNREGISTERED,
    State.NEVER_REGISTERED,
)

RegistrarState = Literal["readable", "unreadable", "unknown"]


class MemberRow(TypedDict):
    """One of several addresses of a registrar."""

    address: str
    state: RegistrarState
    cause: str | None
    since: str | None
    detail: str


class RegistrarRow(TypedDict):
    """A registrar; its extensions are all unknown while nobody can see them."""

    key: str
    name: str
    type: str
    site: str
    state: RegistrarState
    cause: str | None
    since: str
    detail: str
    extensions: dict[str, int]  # by state
    registrations: int  # that it keeps at others
    read_at: str | None
    incident: int | None
    members: list[MemberRow]  # of a cluster, else none
    contacts: NotRequired[dict[str, int]]  # where ours ask them: how many are reachable


def listed(sources: Sources) -> list[RegistrarRow]:
    """All registrars, as they are configured."""
    lens = Lens(sources)
    return [row(lens, judge) for judge in list(sources.judges.values())]


def one(sources: Sources, name: str) -> RegistrarRow:
    """One by its name; LookupError."""
    judge = sources.judges.get(name.removeprefix("registrar:"))
    if judge is None:
        raise LookupError(f"there is no registrar {plain(name, NAME)}")
    return row(Lens(sources), judge)


def row(lens: Lens, judge: Judge) -> RegistrarRow:
    """One registrar; it counts its extensions, which is a walk over them."""
    members = list(judge.members.values())
    read = max((m.read_at or 0.0 for m in members), default=0.0)
    shown: RegistrarRow = {
        "key": judge.subject.key,
        "name": judge.name,
        "type": judge.settings.type,
        "site": site_of(judge.subject),
        "state": judge.state or UNKNOWN,  # type: ignore[typeddict-item]
        "cause": judge.cause,
        "since": lens.at(judge.since),
        "detail": plain(detail(judge), TEXT),
        "extensions": counts(lens, judge),
        "registrations": len(judge.outgoing.registrations),
        "read_at": lens.maybe(read),
        "incident": lens.incident(judge.subject),
        "members": [member(lens, m) for m in members] if len(members) > 1 else [],
    }
    if judge.settings.probe_contacts and lens.reads(judge):
        shown["contacts"] = reach(judge.extensions.values())
    return shown


def member(lens: Lens, m: Member) -> MemberRow:
    """One of several."""
    return {
        "address": m.name,
        "state": _state(m.readable),
        "cause": m.cause,
        "since": lens.maybe(m.since),
        "detail": m.detail,
    }


def counts(lens: Lens, judge: Judge) -> dict[str, int]:
    """How many extensions are in each state; all are unknown while nobody can see
    them."""
    total = len(judge.extensions)
    if not lens.reads(judge):
        return {UNKNOWN: total}
    found = judge.counts()
    shown = {str(state): found.get(state, 0) for state in EXTENSIONS}
    return {**shown, UNKNOWN: total - sum(shown.values())}


def detail(judge: Judge) -> str:
    """Why it, or a member of it, cannot be read."""
    members = judge.members.values()
    why = [(m.name, m.detail) for m in members if m.detail and not m.readable]
    if len(members) == 1:
        return why[0][1] if why else ""
    return "; ".join(f"{name}: {said}" for name, said in why)


def _state(readable: bool | None) -> RegistrarState:
    if readable is None:
        return UNKNOWN
    return "readable" if readable else "unreadable"
