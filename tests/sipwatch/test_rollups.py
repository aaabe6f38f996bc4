"""RTT and loss for charts: what was seen is kept once, what was not is a gap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alerting.store.database import Done, Store, StoreError
from alerting.store.points import HOUR, Point
from alerting.store.reader import Reader
from alerting.store.rows import MinutesRow, Note
from checks.observation import Cause, Observation, State
from checks.options.targets import TargetFileSettings, TargetSettings
from checks.settings import Glob
from checks.vantage.judge import Reply, Vantage, own_network
from checks.vantage.settings import Landmark, VantageSettings
from sipwatch import rollups as module
from sipwatch.rollups import Rollups
from tests.sipwatch.watching import START, Watching

BEGIN = START - START % HOUR  # of an hour
EVER = BEGIN - 10 * HOUR, BEGIN + 40 * HOUR
TRUNK = "target:twilio"


class Charting:
    """A site on paper whose trunk is charted, and minutes that pass at once."""

    def __init__(self, store: Store) -> None:
        self.site, self.store = Watching(now=BEGIN), store
        self.site.outlook = SimpleNamespace(check=None)
        self.reader = Reader(store.path)
        self.trunk = self.target("twilio", "203.0.113.9")
        self.rollups = Rollups(self.site, store, self.reader)
        self.rollups.renew()

    def target(self, name: str, uri: str, **more: Any) -> int:
        """One more target, as configured."""
        settings = TargetSettings(uri=uri, **more)
        self.site.config.targets[name] = settings  # type: ignore[index]
        index = self.site.target(name, uri, **more)
        self.site.options.close()  # nobody is really asked
        return index

    async def pass_minute(self, until: float = 60.0) -> None:
        """A minute ends, and is written."""
        self.site.now += until
        await self.rollups.look()
        await self.rollups.write()

    async def points(self, key: str = TRUNK) -> list[tuple[float, int, int]] | None:
        """Minutes since the beginning, with what was sent and lost."""
        found = await self.rollups.points(key, *EVER)
        return found and [((p.at - BEGIN) / 60, p.sent, p.lost) for p in found]

    async def restart(self) -> None:
        """Another daemon on the same database: its counters begin at 0."""
        self.rollups = Rollups(self.site, self.store, self.reader)
        self.rollups.renew()

    def close(self) -> None:
        self.reader.close()
        self.site.close()


@pytest.fixture
async def charting(tmp_path: Path) -> AsyncIterator[Charting]:
    store = Store.open(tmp_path / "sipwatch.db")
    made = Charting(store)
    yield made
    made.close()
    await asyncio.to_thread(store.close)


async def test_a_minute_is_what_was_counted_in_it(charting: Charting) -> None:
    charting.site.answer(charting.trunk, rtt=0.25)
    await charting.pass_minute()
    charting.site.answer(charting.trunk, rtt=0.5)
    charting.site.silence(charting.trunk, 2)
    await charting.pass_minute()
    assert await charting.rollups.points(TRUNK, BEGIN, BEGIN + HOUR) == [
        Point(int(BEGIN), 1, 0, 0.25, 0.25, 0.25),
        Point(int(BEGIN) + 60, 3, 2, 0.5, 0.5, 0.5),
    ]


async def test_who_is_asked_often_has_a_least_and_a_greatest_time(
    charting: Charting,
) -> None:
    often = charting.target("often", "203.0.113.10", interval=5.0, timeout=1.0)
    charting.rollups.renew()
    for rtt in (0.5, 0.125, 0.875):
        charting.site.answer(often, rtt=rtt)
        charting.site.now += 5
        await charting.rollups.look()
    await charting.pass_minute(45)
    assert await charting.rollups.points("target:often", BEGIN, BEGIN + 60) == [
        Point(int(BEGIN), 3, 0, 0.125, 0.5, 0.875)
    ]


async def test_a_minute_without_a_question_is_a_gap(charting: Charting) -> None:
    for asked in (True, False, False, True):
        if asked:
            charting.site.answer(charting.trunk)
        await charting.pass_minute()
    assert await charting.points() == [(0, 1, 0), (3, 1, 0)]


async def test_what_stood_still_is_a_gap_and_its_answers_count_before(
    charting: Charting,
) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute(600)
    charting.site.answer(charting.trunk)
    await charting.pass_minute(60)
    assert await charting.points() == [(0, 1, 0), (10, 1, 0)]


async def test_our_own_blindness_is_a_gap_with_what_was_lost_before_it_showed(
    charting: Charting,
) -> None:
    site = charting.site
    network = own_network()
    site.alarms.adopt(network)
    subject = site.options.judge.subjects[charting.trunk]
    assert subject is not None
    subject.scope.parent = network

    def are(state: State) -> None:
        site.observe(Observation(network, state, site.now, site.now))

    are(State.UP)
    site.answer(charting.trunk)
    await charting.pass_minute()
    site.silence(charting.trunk)
    await charting.pass_minute()  # it is we, but nobody knows yet
    assert await charting.points() == [(0, 1, 0), (1, 1, 1)]
    are(State.DOWN)
    site.silence(charting.trunk)
    await charting.pass_minute()
    site.silence(charting.trunk)
    await charting.pass_minute()
    are(State.UP)
    site.answer(charting.trunk)
    await charting.pass_minute()
    assert await charting.points() == [(0, 1, 0), (4, 1, 0)]


async def test_a_restart_goes_on_with_the_hour_and_the_minute(
    charting: Charting,
) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    charting.site.answer(charting.trunk)
    charting.site.now += 20
    await charting.rollups.close()
    assert await charting.points() == [(0, 1, 0), (1, 1, 0)]
    charting.site.now += 20
    await charting.restart()
    charting.site.silence(charting.trunk)
    await charting.pass_minute(20)
    assert await charting.points() == [(0, 1, 0), (1, 2, 1)]


async def test_a_crash_loses_the_minute_under_way_and_no_other(
    charting: Charting,
) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    charting.site.answer(charting.trunk)
    charting.site.now += 30
    await charting.restart()  # without a close
    charting.site.answer(charting.trunk)
    await charting.pass_minute(30)
    assert await charting.points() == [(0, 1, 0), (1, 1, 0)]


@pytest.mark.parametrize("step", [-120.0, -3600.0, -7200.0, 1800.0, 7200.0])
async def test_a_step_of_the_clock_loses_and_doubles_nothing(
    charting: Charting, step: float
) -> None:
    for _ in range(3):
        charting.site.answer(charting.trunk)
        await charting.pass_minute()
    charting.site.wall_skew = step
    charting.site.clock.measure()
    for _ in range(4):
        charting.site.answer(charting.trunk)
        await charting.pass_minute()
    found = await charting.points()
    assert found is not None
    assert sum(sent for _, sent, _ in found) == 7
    ahead = step / 60
    # The minute in which it was set keeps its name: it was begun under the old time.
    assert {at for at, _, _ in found} == ({0, 1, 2, 3} | {n + ahead for n in (4, 5, 6)})


async def test_a_minute_that_comes_twice_has_both(charting: Charting) -> None:
    for _ in range(4):
        charting.site.answer(charting.trunk)
        await charting.pass_minute()
    charting.site.wall_skew = -240.0
    charting.site.clock.measure()
    await charting.pass_minute(1)
    for _ in range(4):
        charting.site.silence(charting.trunk)
        await charting.pass_minute()
    found = await charting.points()
    assert found is not None
    assert found == [(n, 2, 1) for n in range(4)]


async def test_what_the_store_refuses_waits(
    charting: Charting, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = charting.store.note

    def refuse(notes: Sequence[Note], done: Done) -> None:
        done(StoreError("full"))

    monkeypatch.setattr(charting.store, "note", refuse)
    for _ in range(2):
        charting.site.answer(charting.trunk)
        await charting.pass_minute()
    assert await charting.points() is None
    monkeypatch.setattr(charting.store, "note", note)
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    assert await charting.points() == [(0, 1, 0), (1, 1, 0), (2, 1, 0)]


async def test_all_of_a_minute_go_in_lots_and_only_who_has_news(
    charting: Charting, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots: list[list[str]] = []
    note = charting.store.note

    def noted(notes: Sequence[Note], done: Done) -> None:
        lots.append([one.key for one in notes if isinstance(one, MinutesRow)])
        note(notes, done)

    monkeypatch.setattr(charting.store, "note", noted)
    monkeypatch.setattr(module, "LOT", 2)
    more = [charting.target(f"t{n}", f"203.0.113.{20 + n}") for n in range(4)]
    charting.rollups.renew()
    for index in (charting.trunk, *more):
        charting.site.answer(index)
    await charting.pass_minute()
    assert sorted(map(len, lots)) == [1, 2, 2]
    lots.clear()
    charting.site.answer(more[0])
    await charting.pass_minute()
    await charting.pass_minute()
    assert lots == [["target:t0"]]


async def test_minutes_become_quarters_and_quarters_are_forgotten(
    charting: Charting,
) -> None:
    for minute in range(60):
        charting.site.answer(charting.trunk, rtt=0.5 if minute == 20 else 0.25)
        await charting.pass_minute()
    charting.site.now += 23 * HOUR
    await charting.rollups.tidy()
    assert len(await charting.points() or ()) == 60
    charting.site.now += HOUR
    await charting.rollups.tidy()
    found = await charting.rollups.points(TRUNK, BEGIN, BEGIN + HOUR)
    assert found is not None
    assert [(p.at - BEGIN, p.sent, p.rtt_min, p.rtt_max) for p in found] == [
        (0, 15, 0.25, 0.25),
        (900, 15, 0.25, 0.5),
        (1800, 15, 0.25, 0.25),
        (2700, 15, 0.25, 0.25),
    ]
    assert await charting.reader.oldest_points() == (None, BEGIN // HOUR)
    charting.site.now += 29 * 86400 - HOUR
    await charting.rollups.tidy()
    assert len(await charting.points() or ()) == 4
    charting.site.now += 2 * HOUR
    await charting.rollups.tidy()
    assert await charting.points() is None
    assert await charting.reader.oldest_points() == (None, None)


async def test_an_hour_that_comes_again_after_a_day_is_added_to_its_quarters(
    charting: Charting,
) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    charting.site.now += 26 * HOUR
    await charting.pass_minute()
    await charting.rollups.tidy()
    charting.site.wall_skew = -26.0 * HOUR
    charting.site.clock.measure()
    await charting.pass_minute()
    charting.site.silence(charting.trunk)
    await charting.pass_minute()
    charting.site.wall_skew = 0.0
    charting.site.clock.measure()
    await charting.pass_minute(3 * HOUR)
    await charting.rollups.tidy()
    assert await charting.points() == [(0, 2, 1)]


async def test_nothing_is_thrown_away_by_a_clock_that_is_years_ahead(
    charting: Charting,
) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    charting.site.wall_skew = 365 * 86400.0
    charting.site.clock.measure()
    await charting.rollups.tidy()
    assert await charting.points() == [(0, 1, 0)]


# --- who is charted -----------------------------------------------------------------


async def test_trunks_and_pbxs_are_charted_and_who_says_so(charting: Charting) -> None:
    charting.target("pbx", "203.0.113.11", role="pbx")
    charting.target("phone", "203.0.113.12", role="phone")
    charting.target("door", "203.0.113.13", role="phone", history=True)
    charting.target("quiet", "203.0.113.14", history=False)
    charting.rollups.renew()
    names = ("twilio", "pbx", "phone", "door", "quiet")
    assert [n for n in names if charting.rollups.charts(f"target:{n}")] == [
        "twilio",
        "pbx",
        "door",
    ]


async def test_lists_of_a_registrar_are_timed_and_counted(charting: Charting) -> None:
    site = charting.site
    judge = site.registrar("hq", {"1001": True})
    charting.rollups.renew()
    (member,) = judge.members.values()
    site.now += 20
    site.read(judge, {"1001": True})
    member.lag = 0.25
    await charting.rollups.look()
    await charting.pass_minute(40)
    site.observe(*judge.lost(member.name, Cause.CONNECTION_REFUSED, "", site.now))
    site.followings["hq"].tried_at = site.now
    await charting.pass_minute()
    await charting.pass_minute()
    assert await charting.rollups.points("registrar:hq", *EVER) == [
        Point(int(BEGIN), 1, 0, 0.25, 0.25, 0.25),
        Point(int(BEGIN) + 60, 1, 1, None, None, None),
    ]


async def test_extensions_by_pattern_have_the_time_of_their_contact(
    charting: Charting,
) -> None:
    site = charting.site
    judge = site.registrar("hq", {"1001": True, "1101": True, "1002": False}, rtt=0.5)
    judge.settings.extensions.history.append(Glob("10*"))
    await charting.pass_minute()  # found now
    await charting.pass_minute()
    assert await charting.rollups.points("extension:hq/1001", *EVER) == [
        Point(int(BEGIN) + 60, 1, 0, 0.5, 0.5, 0.5)
    ]
    assert await charting.points("extension:hq/1101") is None
    assert await charting.points("extension:hq/1002") is None
    (member,) = judge.members.values()
    site.observe(*judge.lost(member.name, Cause.TIMEOUT, "", site.now))
    await charting.pass_minute()  # the registrar cannot be read: nobody knows
    assert await charting.points("extension:hq/1001") == [(1, 1, 0)]
    del judge.settings.extensions.history[:]
    charting.rollups.renew()
    assert not charting.rollups.charts("extension:hq/1001")


async def test_lines_of_a_file_are_charted_where_it_says_so(
    charting: Charting,
) -> None:
    listed = TargetFileSettings(file="lists/trunks.txt", history=True)
    charting.site.config = replace(charting.site.config, target_files=(listed,))
    first, _ = charting.site.targets("trunks.txt", ["192.0.2.1", "192.0.2.2"])
    charting.site.targets("phones.txt", ["192.0.2.3"])
    charting.site.options.close()
    await charting.pass_minute()
    charting.site.answer(first, rtt=0.5)
    await charting.pass_minute()
    assert await charting.points("target:trunks.txt/192.0.2.1") == [(1, 1, 0)]
    assert charting.rollups.charts("target:trunks.txt/192.0.2.2")
    assert not charting.rollups.charts("target:phones.txt/192.0.2.3")


async def test_our_own_network_is_charted_by_who_is_asked(charting: Charting) -> None:
    settings = VantageSettings(targets={"gateway": Landmark(tcp="192.0.2.1:22")})
    judge = Vantage(settings, own_network(), BEGIN)
    charting.site.config = replace(charting.site.config, vantage=settings)
    charting.site.outlook = SimpleNamespace(check=SimpleNamespace(judge=judge))
    charting.rollups.renew()
    for reply in (Reply(ok=True, rtt=0.5), Reply(ok=False), Reply(ok=True, rtt=0.25)):
        judge.round({"gateway": reply}, charting.site.now, charting.site.now)
        charting.site.now += 5
        await charting.rollups.look()
    await charting.pass_minute(45)
    assert await charting.rollups.points("vantage:network/gateway", *EVER) == [
        Point(int(BEGIN), 3, 1, 0.25, 0.375, 0.5)
    ]


async def test_there_is_room_for_so_many_and_it_is_told(
    charting: Charting,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "CHARTED", 4)
    judge = charting.site.registrar("hq", {f"10{n:02}": True for n in range(9)})
    judge.settings.extensions.history.append(Glob("10*"))
    charting.rollups.renew()
    with caplog.at_level(logging.WARNING):
        await charting.pass_minute()
        await charting.pass_minute()
    assert charting.rollups.charted == 4
    assert caplog.messages == [
        "history: hq has more than fit into 4 subjects, some have no chart"
    ]


async def test_who_is_removed_leaves_its_points(charting: Charting) -> None:
    charting.site.answer(charting.trunk)
    await charting.pass_minute()
    charting.site.config.targets.clear()  # type: ignore[attr-defined]
    charting.site.options.replace([])
    charting.rollups.renew()
    await charting.pass_minute()
    assert charting.rollups.charted == 0
    assert await charting.points() == [(0, 1, 0)]
