"""The series of subjects, written straight from what the checks keep.

What is effectively unknown has no sample: neither 0 nor 1 would be true. A rendering
shows the subjects that there were when it began, in whatever state they have when
their line is written; while it waits for its reader, others may come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from checks.observation import State, Subject
from checks.options.rows import STATES, UNKNOWN, UP
from checks.options.words import not_after, place
from checks.registrations.audit import WORDS
from checks.registrations.extension import HERE, Extension
from checks.registrations.judge import Judge
from sipwatch.exposition import Family, label, labels
from sipwatch.sources import Sight, Sources, readable, sliced

ROWS = 256  # of one piece: at most 0.5 ms of work
EXTENSION = "extension"  # in metrics.detail, beside the roles of targets

Shown = tuple[int, Subject]  # a target's number, and who it was at the start
EXTENSION_STATES = (
    State.REGISTERED,
    State.UNREACHABLE,
    State.UNREGISTERED,
    State.NEVER_REGISTERED,
)
TARGET_STATES = (State.UP, State.DEGRADED, State.DOWN)


def _alike(head: str, names: Sequence[str], end: str) -> str:
    """Samples that differ only in what stands between."""
    return head + (end + head).join(names) + end if names else ""


def families(sources: Sources) -> Iterator[Family]:
    """All series of subjects; what a rendering needs is copied as it comes to it."""
    detail = frozenset(sources.config.web.metrics.detail)
    yield from TargetSeries(sources, detail).families()
    yield from ExtensionSeries(sources, EXTENSION in detail).families()


@dataclass(slots=True)
class _Part:
    """Targets with numbers in a row, as they were at the start of a rendering."""

    begin: int
    subjects: list[Subject | None]
    names: Sequence[str] = ()  # as labels, where all are seen and none is a twin


class TargetSeries:
    """What OPTIONS tells of each target, for one rendering."""

    def __init__(self, sources: Sources, detail: Collection[str]) -> None:
        self._judge = sources.options.judge
        self._rows = sources.options.rows
        self._sight = Sight(sources.alarms)
        self._now = sources.clock.now()
        self._detail = detail
        # Numbers are given out again, so a target is its number and its subject.
        self._parts = [
            _Part(begin, self._judge.subjects[begin : begin + ROWS])
            for begin in range(0, len(self._judge.subjects), ROWS)
        ]
        self._detailed: list[Shown] = []
        self._twins: set[Subject] = set()  # whose name another target has as well

    def families(self) -> Iterator[Family]:
        """In the order in which they are to be rendered."""
        # The first one's pieces find out what the others need.
        yield Family(
            "sipwatch_target_up",
            "gauge",
            "Whether an address answers OPTIONS as a healthy one does.",
            self._up(),
        )
        yield Family(
            "sipwatch_options_rtt_seconds",
            "gauge",
            "Time to the last answer to OPTIONS, of several addresses the slowest.",
            self._rtt(),
        )
        for name, kind, help, write in (
            (
                "sipwatch_target_state",
                "gauge",
                "The state of a target: 1 for the one that it is in.",
                self._state,
            ),
            (
                "sipwatch_target_cause",
                "gauge",
                "Why a target is not up; absent while it is.",
                self._cause,
            ),
            (
                "sipwatch_options_probes_total",
                "counter",
                "OPTIONS that have ended, by outcome.",
                self._probes,
            ),
            (
                "sipwatch_options_consecutive_failures",
                "gauge",
                "OPTIONS in a row without a healthy enough answer.",
                self._failures,
            ),
            (
                "sipwatch_options_retransmits_total",
                "counter",
                "OPTIONS that were sent again for lack of an answer.",
                self._retransmits,
            ),
            (
                "sipwatch_target_certificate_not_after_timestamp_seconds",
                "gauge",
                "When the certificate that an address shows ends.",
                self._certificate,
            ),
        ):
            yield Family(name, kind, help, self._each(name, write))

    # All targets: in one go where they are as most of 100,000 are, else one by one.

    def _up(self) -> Iterator[str]:
        yield from self._find_twins()
        for part in self._parts:
            self._prepare(part)
            yield self._all_up(part) or "".join(
                self._address(name, row)
                for index, name in self._shown(part)
                for row in self._judge.members(index)
            )

    def _all_up(self, part: _Part) -> str:
        """The text where each is up, over UDP, at one IPv4 address; else empty."""
        found, rows = self._only_rows(part), self._rows
        if not all(rows.state[row] == UP for row in found):
            return ""
        lanes = {rows.lane[row] for row in found}
        where = [rows.address[row] for row in found]
        if any(lane is None or lane.transport != "udp" for lane in lanes):
            return ""
        if not all(len(address) == 2 for address in where):
            return ""
        named = zip(part.names, where, strict=True) if found else ()
        return _alike(
            'sipwatch_target_up{target="',
            [f'{name}",address="{ip}:{port}' for name, (ip, port) in named],
            '",transport="udp"} 1\n',
        )

    def _address(self, name: str, row: int) -> str:
        rows = self._rows
        state, lane = rows.state[row], rows.lane[row]
        if state == UNKNOWN:
            return ""
        where, over = place(rows.address[row]), lane.transport if lane else ""
        return (
            f'sipwatch_target_up{{target="{name}",address="{where}"'
            f',transport="{over}"}} {int(state == UP)}\n'
        )

    def _rtt(self) -> Iterator[str]:
        line = 'sipwatch_options_rtt_seconds{target="%s"} %.6f\n'
        for part in self._parts:
            pairs: Iterable[tuple[str, float]]
            if rows := self._only_rows(part):
                pairs = zip(part.names, map(self._last, rows), strict=True)
            else:
                shown = self._shown(part)
                pairs = ((name, self._slowest(index)) for index, name in shown)
            yield "".join([line % pair for pair in pairs if pair[1] >= 0.0])

    def _last(self, row: int) -> float:
        """s; below 0 where it did not answer when it was last asked."""
        rows = self._rows
        if rows.failures[row] or rows.mean[row] < 0.0:
            return -1.0
        return rows.rtt[row]

    def _slowest(self, index: int) -> float:
        return max(map(self._last, self._judge.members(index)), default=-1.0)

    def _prepare(self, part: _Part) -> None:
        """Name a part's targets, and note those that are shown in detail."""
        scopes = {s.scope: s for s in part.subjects if s is not None}
        seen = all(map(self._sight.of, scopes.values()))
        if seen and None not in part.subjects and self._twins.isdisjoint(part.subjects):
            part.names = labels([s.name for s in part.subjects if s is not None])
        if any(scope.role in self._detail for scope in scopes):
            self._detailed += [
                (index, subject)
                for index, subject in enumerate(part.subjects, part.begin)
                if subject is not None and subject.scope.role in self._detail
            ]

    def _only_rows(self, part: _Part) -> list[int]:
        """The row of each target where all are still there with one; else empty."""
        end = part.begin + len(part.subjects)
        if not part.names or self._judge.subjects[part.begin : end] != part.subjects:
            return []
        rows = self._judge.row_of[part.begin : end].tolist()
        return rows if min(rows) >= 0 else []

    def _shown(self, part: _Part) -> Iterator[tuple[int, str]]:
        """The targets one by one that can be seen, with their names as labels."""
        for index, subject in enumerate(part.subjects, part.begin):
            if subject is not None and self._is_shown(index, subject):
                yield index, self._name(subject)

    def _is_shown(self, index: int, subject: Subject) -> bool:
        return self._judge.subjects[index] is subject and self._sight.of(subject)

    def _name(self, subject: Subject) -> str:
        if subject in self._twins:
            return label(f"{subject.scope.name}/{subject.name}")
        return label(subject.name)

    def _find_twins(self) -> Iterator[str]:
        """Two files may have the same line; two series must not have one name."""
        seen: set[str] = set()
        for part in self._parts:
            for subject in part.subjects:
                if subject is not None and subject.name in seen:
                    self._twins.add(subject)
                elif subject is not None:
                    seen.add(subject.name)
            yield ""

    # Those of the roles that are shown in detail.

    def _each(
        self, name: str, write: Callable[[str, int], Iterable[str]]
    ) -> Iterator[str]:
        for part in sliced(self._detailed, ROWS // 8):
            lines: list[str] = []
            for index, subject in part:
                if self._is_shown(index, subject):
                    head = f'{name}{{target="{self._name(subject)}"'
                    lines += write(head, index)
            yield "".join(lines)

    def _state(self, head: str, index: int) -> Iterator[str]:
        state = STATES[self._judge.state[index]]
        if state is not None:
            for each in TARGET_STATES:
                yield f'{head},state="{each}"}} {int(each is state)}\n'

    def _cause(self, head: str, index: int) -> Iterator[str]:
        if STATES[self._judge.state[index]] not in (None, State.UP):
            cause = self._judge.cause(index)
            if cause is not None:
                yield f'{head},cause="{cause}"}} 1\n'

    def _probes(self, head: str, index: int) -> Iterator[str]:
        rows, members = self._rows, self._judge.members(index)
        degraded = sum(rows.degraded[row] for row in members)
        up = sum(rows.answered[row] for row in members) - degraded
        down = sum(rows.failed[row] for row in members)
        for outcome, count in zip(TARGET_STATES, (up, degraded, down), strict=True):
            yield f'{head},outcome="{outcome}"}} {count}\n'

    def _failures(self, head: str, index: int) -> Iterator[str]:
        if self._judge.state[index] != UNKNOWN:
            yield f"{head}}} {self._judge.figures(index, self._now).failures}\n"

    def _retransmits(self, head: str, index: int) -> Iterator[str]:
        again = sum(self._rows.retransmits[r] for r in self._judge.members(index))
        yield f"{head}}} {again}\n"

    def _certificate(self, head: str, index: int) -> Iterator[str]:
        for row in self._judge.members(index):
            address = self._rows.address[row]
            if (end := not_after(address)) is not None:
                yield f'{head},address="{place(address)}"}} {end:.0f}\n'


@dataclass(slots=True)
class _Listed:
    """The extensions that a registrar had at the start of a rendering."""

    judge: Judge
    extensions: list[Extension]
    names: list[Sequence[str]]  # as labels, in parts of ROWS
    counts: Counter[State | None]
    breaches: Counter[int] = field(default_factory=Counter)  # by their bits
    overdue: int = 0


Column = Callable[[list[Extension]], list[Any]]  # None: no sample


class ExtensionSeries:
    """What each registrar's extensions are, for one rendering."""

    def __init__(self, sources: Sources, detail: bool) -> None:
        self._alarms = sources.alarms
        self._to_wall = sources.clock.to_wall
        self._detail = detail
        self._registrars = [
            _Listed(judge, list(judge.extensions.values()), [], Counter())
            for judge in sources.judges.values()
        ]

    def families(self) -> Iterator[Family]:
        """In the order in which they are to be rendered."""
        # The first one's pieces make the names and counts that the others need.
        name = "sipwatch_extension_registered"
        yield Family(
            name,
            "gauge",
            "Whether an extension has a binding at its registrar.",
            self._registered(name),
        )
        yield Family(
            "sipwatch_registrar_extensions",
            "gauge",
            "Extensions of a registrar, by state.",
            self._counted(),
        )
        yield Family(
            "sipwatch_registrar_extensions_outside_policy",
            "gauge",
            "Extensions whose registration is not as `expiry` wants it, by how.",
            self._outside(),
        )
        yield Family(
            "sipwatch_registrar_extensions_overdue",
            "gauge",
            "Extensions whose refresh is later than their habit.",
            self._overdue(),
        )
        name = "sipwatch_extension_rtt_seconds"
        yield Family(
            name,
            "gauge",
            "Time to the answer of an extension's quickest contact to the PBX.",
            self._values(name, _rtts, "%.6f"),
        )
        if self._detail:
            yield from self._details()

    def _details(self) -> Iterator[Family]:
        for name, help, values, form in (
            (
                "sipwatch_extension_reachable",
                "Whether a contact of an extension answers the PBX.",
                _reachable,
                "%d",
            ),
            (
                "sipwatch_extension_contacts",
                "Contacts that an extension has registered.",
                _contacts,
                "%d",
            ),
            (
                "sipwatch_extension_state_since_timestamp_seconds",
                "When an extension came into its state.",
                self._since,
                "%.3f",
            ),
        ):
            yield Family(name, "gauge", help, self._values(name, values, form))

    def _registered(self, name: str) -> Iterator[str]:
        for listed in self._registrars:
            head = _head(name, listed)
            for part in sliced(listed.extensions, ROWS):
                names = labels([e.subject.name for e in part])
                listed.names.append(names)
                if not readable(listed.judge, self._alarms):
                    yield ""
                    continue
                states = [e.state for e in part]
                listed.counts.update(states)
                listed.breaches.update([e.breach for e in part if e.breach])
                listed.overdue += sum([e.overdue for e in part])
                there = [s in HERE for s in states]
                yield _alike(head, list(compress(names, there)), '"} 1\n')
                if not all(there):
                    away = [s is not None and s not in HERE for s in states]
                    yield _alike(head, list(compress(names, away)), '"} 0\n')

    def _counted(self) -> Iterator[str]:
        for listed in self._registrars:
            if readable(listed.judge, self._alarms):
                head = f'sipwatch_registrar_extensions{{{_registrar(listed)},state="'
                yield "".join(
                    f'{head}{state}"}} {listed.counts[state]}\n'
                    for state in EXTENSION_STATES
                )

    def _outside(self) -> Iterator[str]:
        for listed in self._registrars:
            if readable(listed.judge, self._alarms):
                name = "sipwatch_registrar_extensions_outside_policy"
                head = f'{name}{{{_registrar(listed)},breach="'
                yield "".join(
                    f'{head}{word.replace(" ", "_")}"}} {_having(listed, bit)}\n'
                    for bit, word in WORDS.items()
                )

    def _overdue(self) -> Iterator[str]:
        for listed in self._registrars:
            if readable(listed.judge, self._alarms):
                name = "sipwatch_registrar_extensions_overdue"
                yield f"{name}{{{_registrar(listed)}}} {listed.overdue}\n"

    def _values(self, name: str, values: Column, form: str) -> Iterator[str]:
        line = f'%s"}} {form}\n'
        for listed in self._registrars:
            head = _head(name, listed)
            parts = sliced(listed.extensions, ROWS)
            for names, part in zip(listed.names, parts, strict=True):
                if not readable(listed.judge, self._alarms):
                    break
                pairs = zip(names, values(part), strict=True)
                lines = [line % pair for pair in pairs if pair[1] is not None]
                yield head + head.join(lines) if lines else ""

    def _since(self, part: list[Extension]) -> list[float | None]:
        to_wall = self._to_wall
        return [to_wall(e.since) if e.state is not None else None for e in part]


def _registrar(listed: _Listed) -> str:
    return f'registrar="{label(listed.judge.name)}"'


def _having(listed: _Listed, bit: int) -> int:
    return sum(n for breach, n in listed.breaches.items() if breach & bit)


def _head(name: str, listed: _Listed) -> str:
    return f'{name}{{{_registrar(listed)},extension="'


def _rtts(part: list[Extension]) -> list[float | None]:
    # One contact is the rule, and 100,000 of them are read at a time.
    return [
        e.contacts[0].rtt if len(e.contacts) == 1 else e.rtt if e.contacts else None
        for e in part
    ]


def _reachable(part: list[Extension]) -> list[bool | None]:
    return [e.reachable for e in part]


def _contacts(part: list[Extension]) -> list[int | None]:
    return [len(e.contacts) if e.state is not None else None for e in part]
