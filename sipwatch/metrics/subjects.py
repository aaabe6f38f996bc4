"""The series of subjects, written straight from what the checks keep.

What is effectively unknown has no sample: neither 0 nor 1 would be true. A rendering
shows the subjects that there were when it began, in whatever state they have when
their line is written; while it waits for its reader, others may come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from checks.observation import State, Subject
from checks.options.rows import STATES, UNKNOWN, UP
from checks.options.words import not_after, place
from sipwatch.metrics.exposition import ROWS, Family, alike, label, labels
from sipwatch.metrics.extensions import ExtensionSeries
from sipwatch.sources import Sight, Sources, sliced

EXTENSION = "extension"  # in metrics.detail, beside the roles of targets

Shown = tuple[int, Subject]  # a target's number, and who it was at the start
TARGET_STATES = (State.UP, State.DEGRADED, State.DOWN)


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
        return alike(
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
