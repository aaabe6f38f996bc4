"""Targets as they stand, in full: what a human or the API is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.observation import Cause, Figures, State, Subject
from checks.options.rows import STATES
from checks.options.verdict import Targets
from checks.options.words import not_after, place

if TYPE_CHECKING:
    from checks.cause import Answer


@dataclass(frozen=True, slots=True)
class AddressView:
    """One address of a target as it stands."""

    address: str  # "54.172.60.0:5060 over UDP"; empty where the name has none
    transport: str
    state: State | None
    since: float
    cause: Cause | None
    detail: str
    code: int | None  # of the last final answer
    rtt: float | None  # s, of the last answer
    failures: int  # in a row
    answered: bool  # whether the last question had a final answer
    reason: str  # of that answer, without the code
    agent: str  # Server, where the answer was read in full
    sends: int  # of the last question
    not_after: float | None  # UTC s, of its certificate
    told: Answer | None = None  # the last answer of one that is not up, as evidence
    asked_at: float = 0.0  # UTC s, the last send; 0.0: never


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target as it stands; state None before its first question has ended."""

    subject: Subject
    uri: str
    state: State | None
    since: float
    cause: Cause | None
    detail: str
    figures: Figures
    addresses: tuple[AddressView, ...]

    @property
    def not_after(self) -> float | None:
        """When the first of its certificates ends, UTC s."""
        ends = [a.not_after for a in self.addresses if a.not_after is not None]
        return min(ends, default=None)


def view(targets: Targets, index: int, at: float) -> TargetView | None:
    """A target as it stands; None where there is none of this number."""
    subject = targets.subjects[index]
    if subject is None:
        return None
    return TargetView(
        subject,
        targets.uris[index],
        STATES[targets.state[index]],
        targets.since[index],
        targets.cause(index),
        targets.detail(index),
        targets.figures(index, at),
        tuple(_address_view(targets, row) for row in targets.members(index)),
    )


def _address_view(targets: Targets, row: int) -> AddressView:
    rows, words, lane = targets.rows, targets.words, targets.rows.lane[row]
    return AddressView(
        place(rows.address[row]),
        lane.transport if lane else "",
        STATES[rows.state[row]],
        rows.since[row],
        rows.cause[row],
        words.detail(row),
        rows.code[row] or None,
        rows.rtt[row] if rows.mean[row] >= 0 else None,
        rows.failures[row],
        words.answered(row) and rows.code[row] > 0,
        words.said(row)[4:],
        words.agent(row),
        rows.tries[row],
        not_after(rows.address[row]),
        words.told(row),
        rows.sent[row],
    )


class Views(Mapping[str, TargetView]):
    """Targets by key; each view is made when it is asked for."""

    def __init__(
        self,
        targets: Targets,
        find: Callable[[str], int | None],
        clock: Callable[[], float],
    ) -> None:
        """`find` gives the number of a key."""
        self._targets, self._find, self._clock = targets, find, clock

    def __getitem__(self, key: str) -> TargetView:
        index = self._find(key)
        found = None if index is None else view(self._targets, index, self._clock())
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        subjects = self._targets.subjects
        return (subject.key for subject in subjects if subject is not None)

    def __len__(self) -> int:
        return sum(subject is not None for subject in self._targets.subjects)
