"""Which alerts make a problem, of what, since when, and when it is over.

A code of `at_once` is a problem by itself; one of `per_call` when so many calls of one
user failed within the window. What is a problem of a phone that we watch belongs to
the incident about that phone, where there is one: it is told there, and not twice.

Pure: time and what is known locally are arguments, observations come back.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from checks.observation import Cause, Fact, Kind, Observation, Scope, State, Subject
from checks.twilio.alerts import Alert
from checks.twilio.settings import TwilioSettings

CASES = 200  # at once; who scans a domain makes thousands of names
KEPT = 50  # calls of one user that are counted: more than any limit asks for
SHOWN = 3  # alerts told as evidence
PENDING = 180.0  # s that an incident about the phone itself may take to open
ACCOUNT = "account"  # the subject of the account as a whole

AWAY = frozenset({State.UNREGISTERED, State.UNREACHABLE, State.NEVER_REGISTERED})


class Local(NamedTuple):
    """A user of Twilio's as we know it: an extension of a PBX of ours."""

    name: str  # 204
    title: str  # Reception
    registrar: str
    state: State
    since: float
    told: bool  # an incident about it is open
    seen: bool = True  # False: its PBX cannot be read, and this was its last state


class Call(NamedTuple):
    """An alert as far as it is counted and shown."""

    at: float
    sid: str
    code: int
    level: str
    text: str
    resource: str = ""  # sid of the call


@dataclass(slots=True, eq=False)
class Case:
    """What is reported of one user, or of the account, under one code."""

    subject: Subject
    who: str
    each: bool  # each alert is a problem: its code is of `at_once`
    calls: list[Call] = field(default_factory=list)  # the oldest first
    heard_at: float = 0.0  # when we took in the latest
    since: float | None = None  # of the problem; None: it is none
    was_away: bool = False  # the phone itself was not there when it became one
    said: str = ""  # what was last told of it
    open: bool = False  # as a problem of its own
    joined: bool = False  # with the phone's own incident

    @property
    def worst(self) -> State:
        """failing for an error, degraded for a warning."""
        errors = any(call.level == "error" for call in self.calls)
        return State.FAILING if errors else State.DEGRADED


class Join(NamedTuple):
    """What is to be told with the incident of a phone."""

    who: str
    fact: Fact


class Judge:
    """The cases of one account. `now` and all times are of the daemon's clock."""

    def __init__(self, settings: TwilioSettings) -> None:
        self.settings = settings
        self.cases: dict[str, Case] = {}
        self.gone: dict[str, Subject] = {}  # told as over, to be watched no more
        self.moved: list[Subject] = []  # told with the incident of a phone from now on
        self.ignored = 0  # alerts whose code or level does not count

    def wants(self, alert: Alert) -> bool:
        """Whether an alert counts at all."""
        s = self.settings
        listed = alert.code in s.at_once or alert.code in s.per_call
        return listed and alert.level in s.levels

    def take(self, alert: Alert, now: float) -> Case:
        """Count one that counts; its time is of our clock."""
        case = self._case(alert)
        call = Call(
            alert.at, alert.sid, alert.code, alert.level, alert.text, alert.resource
        )
        # Both its end and Twilio's alert may tell of one call: it failed once.
        if not call.resource or all(c.resource != call.resource for c in case.calls):
            insort(case.calls, call)
        del case.calls[:-KEPT]
        case.heard_at = max(case.heard_at, now)
        return case

    def _case(self, alert: Alert) -> Case:
        each = alert.code in self.settings.at_once
        name = f"{alert.code}/{alert.who}" if each else alert.who or f"{alert.code}/"
        who = alert.who
        if name not in self.cases and len(self.cases) >= CASES:
            name, who = f"{alert.code}/", ""  # one for all who came too late
        if name not in self.cases:
            known = self.gone.pop(name, None)
            self.cases[name] = Case(known or subject(name), who, each)
        return self.cases[name]

    # --- what comes of it -----------------------------------------------------------

    def look(
        self,
        now: float,
        local: Callable[[str], Local | None],
        words: Callable[[Case, Local | None], str],
    ) -> tuple[list[Observation], list[Join]]:
        """What has changed, and what belongs to the incidents of phones.

        `local` finds a user among our extensions; `words` says a case in a sentence.
        """
        told: list[Observation] = []
        joins: list[Join] = []
        for case in list(self.cases.values()):
            here = local(case.who) if case.who else None
            case.was_away |= here is not None and here.state in AWAY
            if case.since is None:
                case.since = self._began(case)
            if case.since is None:
                self._drop_old(case, now)
            elif self._over(case, here, now):
                told += self._end(case, now)
            else:
                self._tell(case, here, now, words, told, joins)
        return told, joins

    def _began(self, case: Case) -> float | None:
        """When it became a problem: the first of so many calls within the window."""
        if not case.calls:
            return None
        if case.each:
            return case.calls[0].at
        wanted, window = self.settings.calls, self.settings.window
        ends = case.calls[wanted - 1 :]
        for first, last in zip(case.calls, ends, strict=False):
            if last.at - first.at <= window:
                return first.at
        return None

    def _over(self, case: Case, here: Local | None, now: float) -> bool:
        if now - case.heard_at > self.settings.calm:
            return True
        # The phone was away, and is back since: there is nothing left of it.
        if here is None or here.state is not State.REGISTERED or not case.was_away:
            return False
        return not here.told and here.since > case.calls[-1].at

    def _end(self, case: Case, now: float) -> Iterator[Observation]:
        self.cases.pop(case.subject.name, None)
        if case.open:
            self.gone[case.subject.name] = case.subject
            yield Observation(case.subject, State.OK, now, now)

    def _drop_old(self, case: Case, now: float) -> None:
        """Calls too few to be told are forgotten with their window."""
        oldest = now - self.settings.window - self.settings.overlap
        case.calls = [call for call in case.calls if call.at > oldest]
        if not case.calls:
            self.cases.pop(case.subject.name, None)

    def _tell(
        self,
        case: Case,
        here: Local | None,
        now: float,
        words: Callable[[Case, Local | None], str],
        told: list[Observation],
        joins: list[Join],
    ) -> None:
        assert case.since is not None  # noqa: S101  # it is a problem
        detail = words(case, here)
        if here is not None and here.told:
            if not case.joined or detail != case.said:
                joins.append(Join(case.who, Fact(case.calls[-1].at, said(case))))
            if case.open:  # its own incident goes on as the phone's
                self.moved.append(case.subject)
            case.joined, case.open, case.said = True, False, detail
            return
        away = here is not None and here.state in AWAY - {State.NEVER_REGISTERED}
        if away and here is not None and now - here.since < PENDING:
            return  # an incident about it may open yet
        state = case.worst
        if not case.open or f"{state} {detail}" != case.said:
            case.joined, case.open, case.said = False, True, f"{state} {detail}"
            if here is not None:
                case.subject.title = here.title
            told.append(_observed(case, here, state, detail, now))

    # --- over restarts --------------------------------------------------------------

    def dump(self) -> list[list[object]]:
        """Every case as JSON values, its last calls with it."""
        return [
            [
                case.subject.name,
                case.who,
                case.each,
                case.heard_at,
                case.since,
                case.was_away,
                [list(call) for call in case.calls[-max(SHOWN, self.settings.calls) :]],
            ]
            for case in self.cases.values()
        ]

    def load(self, stored: object) -> None:
        """From `dump`; ValueError for anything else."""
        try:
            for name, who, each, heard, since, away, calls in stored:  # type: ignore[attr-defined]
                case = Case(subject(str(name)), str(who), bool(each))
                case.heard_at = float(heard)
                case.since = None if since is None else float(since)
                case.was_away = bool(away)
                case.calls = [
                    Call(float(at), str(sid), int(code), *map(str, rest))
                    for at, sid, code, *rest in calls
                ]
                self.cases[case.subject.name] = case
        except (TypeError, ValueError):
            raise ValueError("what Twilio reported before cannot be read") from None


def subject(name: str, parent: Subject | None = None) -> Subject:
    """What a case is about, or the account as a whole, seen through our network."""
    return Subject(Kind.TWILIO, name, Scope(name, parent=parent))


def said(case: Case) -> str:
    """Twilio 32009 for 204, 3 times."""
    latest = case.calls[-1]
    user = case.who.partition("@")[0]
    whom = f" for {user}" if user else ""
    often = f", {len(case.calls)} times" if len(case.calls) > 1 else ""
    return f"Twilio {latest.code}{whom}{often}"


def _observed(
    case: Case, here: Local | None, state: State, detail: str, now: float
) -> Observation:
    assert case.since is not None  # noqa: S101  # it is a problem
    latest = case.calls[-1]
    facts = [
        Fact(call.at, f"Twilio {call.code} ({call.level}){_text(call)}")
        for call in case.calls[-SHOWN:]
    ]
    if here is not None:
        facts.append(Fact(here.since, standing(here)))
    return Observation(
        case.subject,
        state,
        case.since,
        now,
        cause=Cause.of_twilio(latest.code),
        detail=detail,
        evidence=tuple(sorted(facts, key=lambda fact: fact.at or 0.0)),
    )


def _text(call: Call) -> str:
    return f": {call.text}" if call.text else ""


def standing(here: Local) -> str:
    """204 unregistered at hq."""
    said = f"{here.name} {here.state.replace('_', ' ')} at {here.registrar}"
    return said if here.seen else f"{said}, which cannot be read now,"


def counts(cases: Iterable[Case]) -> int:
    """How many are a problem now."""
    return sum(case.since is not None for case in cases)
