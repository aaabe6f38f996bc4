"""Silences: what somebody does not want to hear of for a while, and why.

Their times are those of the wall clock, for people mean it when they say "until 14:00".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from alerting.incident import Incident
from alerting.muting.matchers import Matcher, matchers
from checks.observation import plain

KEPT = 30 * 86400.0  # s that a silence is shown after its end
MOST = 500  # kept at once: each incident that is told is held against all
LONGEST = 366 * 86400.0  # s; what is silent for longer is better not watched
WORDS = 300  # characters of a reason
NAME = 100  # characters of an author


@dataclass(frozen=True, slots=True)
class Silence:
    """What fits all matchers is not told from `starts` until `ends`."""

    id: str
    matchers: tuple[Matcher, ...]
    author: str
    reason: str
    starts: float  # UTC s of the wall clock, as all times here
    ends: float
    created: float

    def active(self, wall: float) -> bool:
        """Whether it is in force."""
        return self.starts <= wall < self.ends

    def fits(self, incident: Incident) -> bool:
        """Whether it is about this incident."""
        return all(one.fits(incident) for one in self.matchers)


def silence(
    written: Sequence[str],
    *,
    author: str,
    reason: str,
    starts: float,
    ends: float,
    wall: float,
) -> Silence:
    """A silence that can be; ValueError with a sentence for who asked."""
    found = matchers(written)
    author, reason = plain(author.strip(), NAME), plain(reason.strip(), WORDS)
    if not author:
        raise ValueError("say who wants it")
    if not reason:
        raise ValueError("say why, for those who wonder later")
    if ends <= max(starts, wall):
        raise ValueError("it ends before it begins, or has ended")
    if ends - wall > LONGEST:
        raise ValueError("it lasts longer than a year: stop watching it instead")
    id = secrets.token_hex(4)
    return Silence(id, found, author, reason, starts, ends, created=wall)


def dumped(one: Silence) -> str:
    """A silence as it is stored."""
    return json.dumps(
        {
            "matchers": [str(m) for m in one.matchers],
            "author": one.author,
            "reason": one.reason,
            "starts": one.starts,
            "ends": one.ends,
            "created": one.created,
        }
    )


def loaded(id: str, text: str) -> Silence:
    """A silence as it was stored; ValueError."""
    try:
        stored = json.loads(text)
        return Silence(
            id,
            matchers(stored["matchers"]),
            str(stored["author"]),
            str(stored["reason"]),
            float(stored["starts"]),
            float(stored["ends"]),
            float(stored["created"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"silence {id} is stored without {error}") from None


class Silences(Mapping[str, Silence]):
    """All silences, the ended ones for a while, by their ids."""

    def __init__(self) -> None:
        self._all: dict[str, Silence] = {}

    def __getitem__(self, id: str) -> Silence:
        return self._all[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, one: Silence) -> None:
        """Take one; ValueError where there are too many."""
        if len(self._all) >= MOST and one.id not in self._all:
            raise ValueError(f"there are {MOST} silences already: remove some")
        self._all[one.id] = one

    def end(self, id: str, wall: float) -> Silence | None:
        """Let one end now; None where there is none that has not ended."""
        found = self._all.get(id)
        if found is None or found.ends <= wall:
            return None
        ended = self._all[id] = replace(found, ends=wall)
        return ended

    def prune(self, wall: float) -> list[str]:
        """Forget what ended long ago; its ids. Too many: the longest ended first."""
        ended = sorted((s.ends, id) for id, s in self._all.items() if s.ends <= wall)
        crowd = len(self._all) - MOST + 1
        gone = [
            id for n, (at, id) in enumerate(ended) if n < crowd or at + KEPT <= wall
        ]
        for id in gone:
            del self._all[id]
        return gone

    def of(self, incident: Incident, wall: float) -> Silence | None:
        """The silence in force about an incident that ends last."""
        found = [s for s in self._all.values() if s.active(wall) and s.fits(incident)]
        return max(found, key=lambda one: one.ends, default=None)
