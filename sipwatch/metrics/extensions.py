"""The series of extensions, in parts: there are up to 100,000 of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from checks.observation import State
from checks.registrations.audit import WORDS
from checks.registrations.extension import HERE, Extension
from checks.registrations.judge import Judge
from sipwatch.metrics.exposition import ROWS, Family, alike, label, labels
from sipwatch.sources import Sources, readable, sliced

EXTENSION_STATES = (
    State.REGISTERED,
    State.UNREACHABLE,
    State.UNREGISTERED,
    State.NEVER_REGISTERED,
)


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
                yield alike(head, list(compress(names, there)), '"} 1\n')
                if not all(there):
                    away = [s is not None and s not in HERE for s in states]
                    yield alike(head, list(compress(names, away)), '"} 0\n')

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
