"""RTT and loss for charts: an hour of each subject at a time, minute by minute.

Once a minute the counters of all who are charted are read (`charted`), in slices; what
was added is the point of the minute that ended. The hours under way are kept packed,
and written once a minute as far as they have changed, in lots that the store writes
after all that must not be lost. A crash loses the minute under way, and the one before
it if that was not written yet: two at the most, of each subject.

Points bear the time of the wall clock. Where that is set back, or the daemon starts
again, an hour goes on as it stands in the store: what is asked twice in one minute of
the wall counts twice there, so nothing is lost and nothing is doubled.

Minutes are kept for a day, then as quarters of an hour for 30 days (`tidy`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from alerting.store.database import Store
from alerting.store.points import (
    HOUR,
    MINUTE,
    QUARTER,
    Point,
    joined,
    packed,
    record,
    unpacked,
)
from alerting.store.reader import Reader, ReaderError
from alerting.store.rows import (
    Charted,
    DropCharted,
    DropMinutes,
    DropQuarters,
    MinutesRow,
    Note,
    QuartersRow,
)
from checks.observation import Kind
from checks.registrations.roster import matches
from sipwatch.charted import (
    SLOW,
    Meter,
    ReachRead,
    TargetRead,
    configured,
    file_intervals,
)
from sipwatch.config.charting import CHARTED
from sipwatch.sources import Sight, Sources, sliced

TASK = "rollups"
LOOK = 5.0  # s between two looks at those who are asked more than once a minute
AT_ONCE = 200  # subjects in one turn of the loop, some 2 ms
CONSIDERED = 2_000  # extensions or targets in one turn, to find those who are charted
LOT = 500  # subjects of one transaction
COARSENED = 20  # hours of subjects made coarser in one turn of the loop, some 2 ms
DOUBTED = 2  # minutes before blindness is noticed whose losses may be our own
MINUTES_KEPT = 24  # hours of minutes, before they become quarters
QUARTERS_KEPT = 30 * 24  # hours of quarters
HELD = 24  # hours in memory while the disk refuses them; then the oldest is given up
TIDY = 3600.0  # s between two looks for what is old
CLOSING = 0.5  # s for what is left when the daemon stops
FAR = 86400.0  # s by which the wall clock may have been set, and its word be taken

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Hour:
    """One hour of all subjects, packed; `number` counts since 1970."""

    number: int
    changed: set[str] = field(default_factory=set)  # and not written since
    named: set[str] = field(default_factory=set)  # their keys are in the store
    loaded: bool = False  # what the store had of it is here as well
    _blobs: dict[str, bytearray] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, point: Point) -> None:
        """One minute of a subject."""
        self.changed.add(key)
        if point.at > self._last.get(key, -1):
            self._last[key] = point.at
            blob = self._blobs.get(key)
            if blob is None:
                self._blobs[key] = bytearray(packed([point]))
            else:
                blob += record(point)
        else:
            self._put(key, [*self.points(key), point])

    def join(self, stored: Iterable[tuple[str, bytes]]) -> None:
        """What the store had of it; unreadable points are given up."""
        for key, blob in stored:
            self.named.add(key)
            with suppress(ValueError):
                self._put(key, [*unpacked(blob, self.number), *self.points(key)])

    def doubt(self, key: str, at: int) -> None:
        """Take back a minute with losses, which were our own."""
        points = self.points(key)
        kept = [point for point in points if point.at != at or not point.lost]
        if len(kept) < len(points):
            self._put(key, kept)
            self.changed.add(key)

    def points(self, key: str) -> list[Point]:
        """Those of a subject."""
        blob = self._blobs.get(key)
        return list(unpacked(bytes(blob), self.number)) if blob else []

    def blob(self, key: str) -> bytes:
        """Those of a subject, packed."""
        return bytes(self._blobs[key])

    def _put(self, key: str, points: Iterable[Point]) -> None:
        found = joined(points)
        self._blobs[key] = bytearray(packed(found))
        self._last[key] = found[-1].at if found else -1


class Rollups:
    """Keeps points of those who are charted."""

    def __init__(self, sources: Sources, store: Store, reader: Reader) -> None:
        self._sources, self._store, self._reader = sources, store, reader
        self._meters: dict[str, Meter] = {}
        self._crowd: dict[str, Meter] = {}  # extensions, and lines of files
        self._passed_over: set[str] = set()  # registrars and files told to be too many
        self._considered: dict[str, set[str]] = {}
        self._hours: dict[int, Hour] = {}
        self._minute = int(self._wall() // MINUTE)
        self._due = asyncio.Event()
        self._writes = asyncio.Lock()  # an hour is not made coarser meanwhile

    # --- who ------------------------------------------------------------------------

    def renew(self) -> None:
        """The configuration in force is another one: chart whom it names."""
        self._considered.clear()
        self._passed_over.clear()
        known, self._meters = self._meters, {}
        for key, read, quick in configured(self._sources):
            meter = known.get(key) or Meter(key, read, quick)
            meter.quick = quick
            self._meters[key] = meter
        files = file_intervals(self._sources.config)
        for key in list(self._crowd):
            if not self._still(key, files):
                del self._crowd[key]

    @property
    def charted(self) -> int:
        """How many are charted."""
        return len(self._meters) + len(self._crowd)

    def charts(self, key: str) -> bool:
        """Whether a subject is charted now."""
        return key in self._meters or key in self._crowd

    def _still(self, key: str, files: dict[str, float]) -> bool:
        kind, _, rest = key.partition(":")
        scope, _, name = rest.partition("/")
        if kind == Kind.TARGET:
            return any(rest.startswith(f"{file}/") for file in files)
        judge = self._sources.judges.get(scope)
        patterns = judge.settings.extensions.history if judge else []
        return matches(patterns, name)

    async def _gather(self) -> None:
        """Find those of a registrar or a file who are charted, and are new."""
        for name, judge in list(self._sources.judges.items()):
            if patterns := judge.settings.extensions.history:
                seen = self._considered.setdefault(f"{Kind.REGISTRAR}:{name}", set())
                if len(seen) > 2 * len(judge.extensions) + CONSIDERED:
                    seen.clear()  # most of them are gone
                for part in sliced(list(judge.extensions), CONSIDERED):
                    new = [aor for aor in part if aor not in seen]
                    seen.update(new)
                    for aor in (aor for aor in new if matches(patterns, aor)):
                        key = f"{Kind.EXTENSION}:{name}/{aor}"
                        read = ReachRead(self._sources, name, aor)
                        self._admit(Meter(key, read, False), name)
                    await asyncio.sleep(0)
        if files := file_intervals(self._sources.config):
            everybody = list(self._sources.options.judge.subjects)
            for subjects in sliced(everybody, CONSIDERED):
                for subject in filter(None, subjects):
                    file = subject.scope.name
                    if file in files and subject.key not in self._crowd:
                        read_of = TargetRead(self._sources, subject.key)
                        quick = files[file] < SLOW
                        self._admit(Meter(subject.key, read_of, quick), file)
                await asyncio.sleep(0)

    def _admit(self, meter: Meter, group: str) -> None:
        if meter.key in self._crowd:
            return
        if self.charted < CHARTED:
            self._crowd[meter.key] = meter
        elif group not in self._passed_over:
            self._passed_over.add(group)
            log.warning(
                "history: %s has more than fit into %d subjects, some have no chart",
                group,
                CHARTED,
            )

    # --- what -----------------------------------------------------------------------

    async def run(self) -> None:
        """Look and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._looking())
            group.create_task(self._writing())

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK - self._wall() % LOOK)
            await self.look()

    async def look(self) -> None:
        """Read what was counted; at the end of a minute of all, else of the busy."""
        minute = int(self._wall() // MINUTE)
        ended = minute != self._minute
        sight = Sight(self._sources.alarms)
        everybody = chain(self._meters.values(), self._crowd.values())
        due = [meter for meter in everybody if ended or meter.quick]
        for part in sliced(due, AT_ONCE):
            for meter in part:
                self._read(meter, sight)
                if ended:
                    self._end(meter)
            await asyncio.sleep(0)
        if ended:
            self._minute = minute
            self._due.set()
            await self._gather()

    def _read(self, meter: Meter, sight: Sight) -> None:
        found = meter.counted()
        if found is None:
            self._crowd.pop(meter.key, None)
            return
        hidden = found.subject is not None and not sight.of(found.subject)
        meter.take(found, hidden=hidden)

    def _end(self, meter: Meter) -> None:
        """The minute under way has ended for this one."""
        if meter.hidden and not meter.was_hidden:
            for minute in range(self._minute - DOUBTED, self._minute):
                if (hour := self._hours.get(minute * MINUTE // HOUR)) is not None:
                    hour.doubt(meter.key, minute * MINUTE)
        point = meter.end(self._minute * MINUTE)
        if point is not None:
            self._hour(point.at // HOUR).add(meter.key, point)

    def _hour(self, number: int) -> Hour:
        found = self._hours.get(number)
        if found is None:
            found = self._hours[number] = Hour(number)
        return found

    def _wall(self) -> float:
        clock = self._sources.clock
        return clock.to_wall(clock.now())

    # --- to the store ---------------------------------------------------------------

    async def _writing(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.write()

    async def write(self) -> None:
        """Write what has changed, each hour after what the store has of it is known."""
        async with self._writes:
            for hour in sorted(self._hours.values(), key=lambda hour: hour.number):
                try:
                    await self._load(hour)
                except ReaderError as error:
                    log.warning("points wait to be written: %s", error)
                    break
                await self._write(hour)
            self._let_go()

    async def _load(self, hour: Hour) -> None:
        if hour.loaded:
            return
        stored = await self._reader.minutes(hour.number)
        hour.loaded = True
        for part in sliced(stored.items(), COARSENED):
            hour.join(part)
            await asyncio.sleep(0)

    async def _write(self, hour: Hour) -> None:
        for keys in sliced(list(hour.changed), LOT):
            hour.changed.difference_update(keys)
            new = [Charted(key, hour.number) for key in keys if key not in hour.named]
            rows = [MinutesRow(hour.number, key, hour.blob(key)) for key in keys]
            if await self._noted([*new, *rows]) is not None:
                hour.changed.update(keys)
                return
            hour.named.update(keys)

    async def _noted(self, notes: Sequence[Note]) -> Exception | None:
        """One transaction, after all that must not be lost."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Exception | None] = loop.create_future()

        def end(error: Exception | None) -> None:
            if not done.done():
                done.set_result(error)

        def ended(error: Exception | None) -> None:  # in the store's thread
            loop.call_soon_threadsafe(end, error)

        self._store.note(notes, ended)
        return await done

    def _let_go(self) -> None:
        """Of the hours only the last two are looked at again."""
        present = self._minute * MINUTE // HOUR
        for number, hour in list(self._hours.items()):
            if hour.loaded and not hour.changed and abs(number - present) > 1:
                del self._hours[number]
        while len(self._hours) > HELD:
            oldest = min(self._hours)
            log.warning("an hour of points was never written: the disk refuses it")
            del self._hours[oldest]

    # --- what is kept ---------------------------------------------------------------

    async def points(self, key: str, since: float, until: float) -> list[Point] | None:
        """What is stored of a subject in this time of the wall clock, the oldest first;
        None where nothing ever was. ReaderError."""
        return (await self.points_of([key], since, until)).get(key)

    async def points_of(
        self, keys: Iterable[str], since: float, until: float
    ) -> dict[str, list[Point]]:
        """The same of several; those of whom nothing ever was stored are not in it."""
        return await self._reader.points(keys, since, until)

    async def tidy(self) -> None:
        """Make minutes of yesterday coarser, and forget what is a month old."""
        if abs(self._sources.clock.skew) > FAR:
            return  # set by days: nothing is thrown away by the word of such a clock
        present = int(self._wall() // HOUR)
        try:
            while await self._older(present):
                pass  # hour by hour
        except ReaderError as error:
            log.warning("points are not tidied: %s", error)

    async def _older(self, present: int) -> bool:
        """Do the oldest hour; False where there was none, or it has to wait."""
        minutes, quarters = await self._reader.oldest_points()
        if minutes is not None and minutes < present - MINUTES_KEPT:
            if (held := self._hours.get(minutes)) is not None and held.changed:
                return False
            async with self._writes:
                self._hours.pop(minutes, None)
                return await self._coarsen(minutes)
        if quarters is not None and quarters < present - QUARTERS_KEPT:
            return await self._noted([DropQuarters(quarters)]) is None
        await self._noted([DropCharted(present - QUARTERS_KEPT)])
        return False

    async def _coarsen(self, hour: int) -> bool:
        """An hour of minutes becomes one of quarters, in one transaction a subject."""
        fine = await self._reader.minutes(hour)
        coarse = await self._reader.quarters(hour)
        for keys in sliced(fine, LOT):
            notes: list[Note] = [DropMinutes(hour, key) for key in keys]
            for part in sliced(keys, COARSENED):
                for key in part:
                    blob = _coarser(hour, fine[key], coarse.get(key))
                    notes.append(QuartersRow(hour, key, blob))
                await asyncio.sleep(0)
            if await self._noted(notes) is not None:
                return False
        return bool(fine)

    async def close(self) -> None:
        """Write what is left, the minute under way as well, while there is time."""
        sight = Sight(self._sources.alarms)
        for meter in (*self._meters.values(), *self._crowd.values()):
            self._read(meter, sight)
            self._end(meter)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self.write()


def _coarser(hour: int, fine: bytes, coarse: bytes | None) -> bytes:
    """Minutes as quarters, with those that there are; unreadable ones are given up."""
    points: list[Point] = []
    for blob in filter(None, (fine, coarse)):
        points.extend(_readable(blob, hour))
    return packed(joined(points, QUARTER))


def _readable(blob: bytes, hour: int) -> Iterator[Point]:
    with suppress(ValueError):
        yield from unpacked(blob, hour)
