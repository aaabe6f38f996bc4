"""Nothing is missed and nothing is taken twice, whatever Twilio and we do."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.settings import Secret
from checks.twilio.alerts import Alert
from checks.twilio.client import MONITOR, Client, Trouble, TwilioError
from checks.twilio.ledger import KEPT, MOST, Ledger, dumped
from checks.twilio.poll import alerts, wait
from checks.twilio.settings import TwilioSettings
from tests.wires.twilio import ACCOUNT, TOKEN, Listed, TwilioServer

NOW = 1_790_000_000.0
OVERLAP = 3600.0


def settings_for(server: TwilioServer, token: str = TOKEN) -> TwilioSettings:
    return TwilioSettings(
        account_sid=ACCOUNT, auth_token=Secret(token), base_url=server.url
    )


async def read(
    server: TwilioServer, start: float, end: float, cap: int = 10_000
) -> list[Alert]:
    async with Client(settings_for(server)) as client:
        return await alerts(client, start, end, cap=cap)


def many(count: int, *, every: float = 1.0) -> list[Listed]:
    return [
        Listed(f"NO{n}", 32009, NOW - n * every, NOW - n * every) for n in range(count)
    ]


async def test_all_pages_are_read() -> None:
    async with TwilioServer(now=NOW, alerts=many(230)) as server:
        found = await read(server, NOW - 3600, NOW)
        assert {a.sid for a in found} == {f"NO{n}" for n in range(230)}
        assert len(server.asked) == 5
        assert "PageSize=1000" in server.asked[0]
        assert "StartDate=2026-09-21T13:13:20Z" in server.asked[0]


async def test_more_than_one_question_gives_is_asked_for_in_halves() -> None:
    async with TwilioServer(now=NOW, alerts=many(1000), cap=100) as server:
        found = await read(server, NOW - 1000, NOW, cap=100)
        assert {a.sid for a in found} == {f"NO{n}" for n in range(1000)}


async def test_an_alert_that_cannot_be_read_hides_no_other() -> None:
    bad = Listed("", 32009, NOW, NOW)
    async with TwilioServer(now=NOW, alerts=[bad, *many(2)]) as server:
        assert {a.sid for a in await read(server, NOW - 60, NOW)} == {"NO0", "NO1"}


@pytest.mark.parametrize(
    ("status", "headers", "trouble", "retry"),
    [
        (401, {}, Trouble.UNAUTHORIZED, 0.0),
        (403, {}, Trouble.UNAUTHORIZED, 0.0),
        (429, {"Retry-After": "17"}, Trouble.BUSY, 17.0),
        (429, {"Retry-After": "soon"}, Trouble.BUSY, 0.0),
        (500, {}, Trouble.BROKEN, 0.0),
        (503, {"Retry-After": "999999"}, Trouble.BROKEN, 3600.0),
        (302, {"Location": "https://evil.example.com"}, Trouble.BROKEN, 0.0),
    ],
)
async def test_a_refusal_says_what_it_is(
    status: int, headers: dict[str, str], trouble: Trouble, retry: float
) -> None:
    async with TwilioServer(now=NOW, refusals=[(status, headers)]) as server:
        with pytest.raises(TwilioError) as refused:
            await read(server, NOW - 60, NOW)
    assert (refused.value.trouble, refused.value.retry_after) == (trouble, retry)
    assert str(refused.value).startswith(f"127.0.0.1 answers {status}")


async def test_wrong_credentials_are_told_and_never_repeated() -> None:
    async with TwilioServer(now=NOW) as server:
        async with Client(settings_for(server, "x" * 32)) as client:
            with pytest.raises(TwilioError) as refused:
                await alerts(client, NOW - 60, NOW)
    assert str(refused.value) == "127.0.0.1 answers 401 Unauthorized: Authenticate"
    assert "xxx" not in str(refused.value)


async def test_nobody_there_is_a_sentence() -> None:
    async with TwilioServer() as server:
        gone = settings_for(server)
    async with Client(gone) as client:
        with pytest.raises(TwilioError) as refused:
            await alerts(client, NOW - 60, NOW)
    assert refused.value.trouble is Trouble.UNREACHABLE


async def test_a_page_that_points_elsewhere_does_not_get_our_credentials() -> None:
    async with TwilioServer(now=NOW) as server:
        evil = {"next_page_uri": "https://evil.example.com/x?Page=1", "rows": []}
        server.resources["/x"] = evil
        async with Client(settings_for(server)) as client:
            pages = client.pages(MONITOR, "/x", "rows")
            assert [page async for page in pages] == [[], []]
        assert len(server.asked) == 2  # both of them here


@pytest.mark.parametrize(
    ("trouble", "failures", "retry_after", "seconds"),
    [
        (Trouble.BUSY, 1, 0.0, 60.0),
        (Trouble.BUSY, 1, 120.0, 120.0),
        (Trouble.BROKEN, 3, 0.0, 120.0),
        (Trouble.BROKEN, 99, 0.0, 900.0),
        (Trouble.UNREACHABLE, 2, 0.0, 60.0),
        (Trouble.UNAUTHORIZED, 1, 0.0, 300.0),
        (Trouble.BUSY, 2, 3600.0, 3600.0),
    ],
)
def test_it_waits_longer_with_each_failure_and_as_long_as_it_is_told(
    trouble: Trouble, failures: int, retry_after: float, seconds: float
) -> None:
    error = TwilioError("no", trouble, retry_after)
    assert wait(error, failures, 60.0, 0.0) == seconds
    assert wait(error, failures, 60.0, 1.0) == pytest.approx(seconds * 1.2)


# --- the ledger -----------------------------------------------------------------------


def alert(sid: str, at: float) -> Alert:
    return Alert(sid, 32009, "warning", at)


def test_the_first_look_takes_only_what_happens_from_now_on() -> None:
    ledger = Ledger.begun(NOW)
    assert ledger.start(NOW, OVERLAP) == NOW - OVERLAP
    # What is listed later may have happened shortly before.
    assert ledger.new([alert("a", NOW - 60)], NOW) == [alert("a", NOW - 60)]


def test_a_long_outage_is_made_up_for_as_far_as_twilio_lists() -> None:
    ledger = Ledger.begun(NOW)
    ledger.listed(NOW)
    assert ledger.start(NOW + 5 * 86400, OVERLAP) == NOW - OVERLAP
    assert ledger.start(NOW + 60 * 86400, OVERLAP) > NOW + 30 * 86400


def test_an_old_alert_sent_again_is_a_replay() -> None:
    ledger = Ledger.begun(NOW)
    first = alert("a", NOW)
    ledger.handled(ledger.new([first], NOW))
    assert ledger.new([first], NOW) == []
    ledger.listed(NOW + KEPT + 60)
    assert ledger.seen == {}
    assert ledger.new([first], NOW + KEPT + 60) == []
    assert ledger.stale == 1


def test_one_from_the_future_is_none_of_ours() -> None:
    ledger = Ledger.begun(NOW)
    assert ledger.new([alert("a", NOW + 7200)], NOW) == []


def test_what_is_kept_is_bounded_and_what_is_forgotten_is_never_taken_again() -> None:
    ledger = Ledger.begun(NOW)
    several = [alert(f"a{n}", NOW + n // 2) for n in range(MOST + 500)]
    late = NOW + MOST
    ledger.handled(ledger.new(several, late))
    assert len(ledger.seen) <= MOST
    assert ledger.new(several, late) == []
    assert ledger.start(late, 86400.0) > NOW


@pytest.mark.parametrize(
    "stored", [None, [], {}, {"until": 1, "floor": 0, "seen": []}, {"until": "x"}]
)
def test_what_is_no_ledger_is_refused(stored: object) -> None:
    with pytest.raises(ValueError):
        Ledger.load(stored)


@dataclass
class World:
    """Twilio, and a daemon that is killed: what it took in, as far as it is stored."""

    every: list[Listed] = field(default_factory=list)
    disk: str = ""
    taken: list[str] = field(default_factory=list)


def look(
    world: World,
    server: TwilioServer,
    found: list[Alert],
    crash: int,
    *,
    ends: bool = True,
) -> bool:
    """Take in what a look found, in parts of two; whether it came to its end."""
    ledger = Ledger.load(json.loads(world.disk))
    new = ledger.new(found, server.now)
    for begin in range(0, len(new), 2):
        if crash == begin // 2:
            return False  # the transaction of this part never came to be
        part = new[begin : begin + 2]
        ledger.handled(part)
        world.taken += [a.sid for a in part]
        world.disk = dumped(ledger)
    if ends:
        ledger.listed(server.now)
        world.disk = dumped(ledger)
    return True


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["alert", "look", "broken", "webhook", "crash"]),
        st.floats(1.0, 900.0),  # s that pass before
        st.floats(0.0, OVERLAP - 2),  # s after which it is listed
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=40,
)


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_is_missed_and_nothing_taken_twice(
    steps: list[tuple[str, float, float, int]],
) -> None:
    asyncio.run(_property(steps))


async def _property(steps: list[tuple[str, float, float, int]]) -> None:
    world = World(disk=dumped(Ledger.begun(NOW)))
    count = itertools.count()
    async with TwilioServer(now=NOW, page_size=3, alerts=world.every) as server:
        client = Client(settings_for(server))
        async with client:
            for what, passes, late, number in steps:
                server.now += passes
                if what == "alert":
                    sid, at = f"NO{next(count)}", server.now
                    world.every.append(Listed(sid, 32009, at, at + late))
                elif what == "webhook" and world.every:
                    row = world.every[number % len(world.every)]
                    look(world, server, [alert(row.sid, row.at)], crash=-1, ends=False)
                elif what in ("look", "broken", "crash"):
                    await _look(world, server, client, what, number)
            server.now += OVERLAP
            for _ in range(2):
                await _look(world, server, client, "look", 0)
    assert sorted(world.taken) == sorted(a.sid for a in world.every)


async def _look(
    world: World, server: TwilioServer, client: Client, what: str, number: int
) -> None:
    server.breaks_at = number if what == "broken" else None
    ledger = Ledger.load(json.loads(world.disk))
    start = ledger.start(server.now, OVERLAP)
    try:
        found = await alerts(client, start, server.now)
    except TwilioError:
        return
    finally:
        server.breaks_at = None
    look(world, server, found, number if what == "crash" else -1)
