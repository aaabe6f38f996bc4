"""What is charted, and what is counted of it: read where it is counted anyway.

Nothing here costs anything while it is asked: the sweep, the judges of registrations
and the check of our own network count in plain numbers, and a `Meter` takes what was
added since it last looked. What an ancestor hides is not counted, and makes a gap of
the whole minute: who is cut off himself has seen nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple, Protocol

from alerting.store.points import Point
from checks.observation import Kind, Subject
from checks.registrations.extension import HERE
from sipwatch.config.charting import charted_targets
from sipwatch.config.settings import Config
from sipwatch.sources import Sources

# Who is asked more often is looked at more often: of several answers between two looks
# only the last one's time is known.
SLOW = 60.0  # s between two questions


class Part(NamedTuple):
    """What was counted, ever, of one address, member or contact of a subject."""

    name: object  # that tells it from the others
    answered: int
    failed: int
    rtt: float | None  # s, of the last answer


class Counted(NamedTuple):
    """A subject as it is counted now."""

    subject: Subject | None  # None: nothing lies above it
    parts: Sequence[Part]


class Read(Protocol):
    """Where the numbers of a subject stand."""

    def __call__(self) -> Counted | None:
        """None: it is watched no more."""


class Meter:
    """Takes what was added of one subject, minute by minute."""

    __slots__ = (
        *("key", "quick", "hidden", "was_hidden"),
        *("_read", "_before", "_sent", "_lost", "_times", "_total", "_least", "_most"),
    )

    def __init__(self, key: str, read: Read, quick: bool) -> None:
        """`quick`: to be looked at more than once a minute."""
        self.key, self.quick = key, quick
        self.hidden = self.was_hidden = False  # in this minute, in the last one
        self._read = read
        found = read()
        parts = found.parts if found else ()
        self._before = {part.name: (part.answered, part.failed) for part in parts}
        self._clear()

    def _clear(self) -> None:
        self._sent = self._lost = self._times = 0
        self._total, self._least, self._most = 0.0, float("inf"), 0.0

    def counted(self) -> Counted | None:
        """What is counted of it now; None where it is watched no more."""
        return self._read()

    def take(self, found: Counted, *, hidden: bool) -> None:
        """Take what was added since the last look, if it was to be seen."""
        before, self._before = self._before, {}
        self.hidden |= hidden
        for name, answered, failed, rtt in found.parts:
            self._before[name] = (answered, failed)
            good, bad = before.get(name, (0, 0))
            if answered < good or failed < bad:
                good = bad = 0  # another address under the same number
            if hidden:
                continue
            self._sent += answered - good + failed - bad
            self._lost += failed - bad
            if answered > good and rtt is not None:
                self._times += 1
                self._total += rtt
                self._least = min(self._least, rtt)
                self._most = max(self._most, rtt)

    def end(self, at: int) -> Point | None:
        """The minute that began then has ended; None where nothing was seen of it."""
        point = None
        if self._sent and not self.hidden:
            rtts: tuple[float | None, ...] = (None, None, None)
            if self._times:
                rtts = self._least, self._total / self._times, self._most
            point = Point(at, self._sent, self._lost, *rtts)
        self._clear()
        self.was_hidden, self.hidden = self.hidden, False
        return point


class TargetRead:
    """OPTIONS of a target, over all of its addresses."""

    def __init__(self, sources: Sources, key: str) -> None:
        self._counted, self._key = sources.options.counted, key

    def __call__(self) -> Counted | None:
        """None: it is watched no more."""
        found = self._counted(self._key)
        return Counted(found[0], [Part(*part) for part in found[1]]) if found else None


class ListRead:
    """The lists that are read from a registrar: how long each took, which failed."""

    def __init__(self, sources: Sources, name: str) -> None:
        self._sources, self._name = sources, name
        self._answered = self._failed = 0
        self._rtt: float | None = None
        self._read_at: dict[str, float | None] = {}
        self._tried_at = sources.followings[name].tried_at
        self()

    def __call__(self) -> Counted | None:
        """None: it is followed no more."""
        following = self._sources.followings.get(self._name)
        if following is None:
            return None
        members = following.judge.members.values()
        new = [m for m in members if m.read_at != self._read_at.get(m.name)]
        self._read_at = {m.name: m.read_at for m in members}
        if new:
            self._answered += len(new)
            self._rtt = max(m.lag for m in new)
        elif following.tried_at != self._tried_at:
            self._failed += any(m.readable is False for m in members)
        self._tried_at = following.tried_at
        part = Part(self._name, self._answered, self._failed, self._rtt)
        return Counted(following.judge.subject, [part])


class ReachRead:
    """How an extension's contacts answer their PBX, or us: as last known."""

    def __init__(self, sources: Sources, registrar: str, aor: str) -> None:
        self._sources, self._registrar, self._aor = sources, registrar, aor
        self._answered = self._failed = 0

    def __call__(self) -> Counted | None:
        """None: it is watched no more."""
        judge = self._sources.judges.get(self._registrar)
        extension = judge.extensions.get(self._aor) if judge else None
        if extension is None:
            return None
        rtt = extension.rtt if extension.state in HERE else None
        if rtt is not None:
            self._answered += 1
        elif extension.state in HERE and extension.reachable is False:
            self._failed += 1
        part = Part(self._aor, self._answered, self._failed, rtt)
        return Counted(extension.subject, [part])


class LandmarkRead:
    """What our own network answers: of one whom we ask for that."""

    def __init__(self, sources: Sources, name: str) -> None:
        self._sources, self._name = sources, name

    def __call__(self) -> Counted | None:
        """None: it is asked no more."""
        check = self._sources.outlook.check
        count = check.judge.counts.get(self._name) if check else None
        if count is None:
            return None
        return Counted(
            None, [Part(self._name, count.answered, count.failed, count.rtt)]
        )


def landmark_key(name: str) -> str:
    """Under which the points of one whom our own network is known by are kept."""
    return f"{Kind.VANTAGE}:network/{name}"


def configured(sources: Sources) -> Iterator[tuple[str, Read, bool]]:
    """Of whom the configuration says by name that they are charted: their keys, where
    they are counted, and whether they are asked more than once a minute."""
    config = sources.config
    for name in config.vantage.targets:
        yield landmark_key(name), LandmarkRead(sources, name), True
    for name, following in sources.followings.items():
        key = following.judge.subject.key
        yield key, ListRead(sources, name), True
    peers = sources.peers
    wanted = dict.fromkeys(charted_targets(config))
    refused = {n for n, one in config.targets.items() if one.history is False}
    for name in wanted | dict.fromkeys(n for n in peers if n not in refused):
        key = f"{Kind.TARGET}:{name}"
        quick = config.targets[name].interval < SLOW
        yield key, TargetRead(sources, key), quick


def file_intervals(config: Config) -> dict[str, float]:
    """The files of targets whose lines are charted, and how often these are asked."""
    return {
        PurePath(listed.file).name: listed.interval
        for listed in config.target_files
        if listed.history
    }
