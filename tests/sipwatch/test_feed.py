"""What is told as it happens: coalesced, numbered, resumed, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from alerting.announcement import Delivered, Opened, Resolved, Transition, Updated
from alerting.incident import Batch, Outcome, Told
from checks.observation import Cause, Kind, Observation, Scope, State, Subject
from sipwatch import backlog as bounds
from sipwatch import feed as feeding
from sipwatch.backlog import Backlog, Event, Follower, FullError
from sipwatch.feed import Feed
from tests.sipwatch.watching import START, Watching

HQ = Scope("hq", labels={"registrar": "hq", "site": "lyon"})


def phone(n: int, scope: Scope = HQ) -> Subject:
    return Subject(Kind.EXTENSION, f"{n}@example.com", scope)


def lost(subject: Subject, since: float = START) -> Transition:
    old, new = State.REGISTERED, State.UNREGISTERED
    return Transition(subject, old, new, since, since, Cause.TIMEOUT)


class Telling:
    """A feed, and what it has told, moment by moment."""

    def __init__(self, carries: Callable[[Subject], bool] = lambda _: False) -> None:
        self.site = Watching()
        self.feed = Feed(self.site, self.site.bus, carries)  # type: ignore[arg-type]
        self._read = 0

    def emit(self, *several: Any) -> None:
        for one in several:
            self.site.bus.emit(type(one).__name__.lower(), one)

    def flush(self) -> list[tuple[str, Any]]:
        """The moment is over: what was told in it."""
        assert self.feed._timer is not None, "nothing is to be told"
        self.feed._timer.cancel()
        self.feed._flush()
        return self.told()

    def told(self) -> list[tuple[str, Any]]:
        """What was told since one asked last."""
        log = self.feed.backlog
        first, self._read = self._read + 1, log.last
        numbers = range(first, log.last + 1)
        return [parsed(log.written(n))[1:] for n in numbers]


@pytest.fixture
async def told() -> AsyncIterator[Telling]:
    found = Telling()
    yield found
    found.feed.close()
    found.site.close()


def parsed(event: bytes) -> tuple[str, str, Any]:
    """Id, kind and data of one event."""
    fields = dict(line.split(": ", 1) for line in event.decode().strip().split("\n"))
    return fields.get("id", ""), fields["event"], json.loads(fields["data"])


# --- what is told ---------------------------------------------------------------------


async def test_what_happens_in_one_moment_is_one_event_and_the_last_word_counts(
    told: Telling,
) -> None:
    one, other = phone(1001), phone(1002)
    back = Transition(one, State.UNREGISTERED, State.REGISTERED, START + 1, START + 1)
    told.emit(lost(one), lost(other), back)
    row = {
        "key": "extension:hq/1001@example.com",
        "kind": "extension",
        "name": "1001@example.com",
        "registrar": "hq",
        "site": "lyon",
        "state": "registered",
        "since": "2026-09-21T14:13:21.000Z",
        "cause": None,
    }
    assert told.flush() == [
        (
            "states",
            {
                "rows": [
                    row,
                    row
                    | {
                        "key": "extension:hq/1002@example.com",
                        "name": "1002@example.com",
                        "state": "unregistered",
                        "since": "2026-09-21T14:13:20.000Z",
                        "cause": "timeout",
                    },
                ]
            },
        )
    ]
    assert told.feed._timer is None, "nothing is due where nothing happens"


@pytest.mark.parametrize("name", ["a\ud800", "a\x1b", "a\u202e", "a\0", "a\n"])
async def test_a_name_that_is_no_text_ends_no_stream(told: Telling, name: str) -> None:
    told.emit(lost(Subject(Kind.EXTENSION, name, HQ)))
    ((_, data),) = told.flush()
    (row,) = data["rows"]
    assert (row["key"], row["name"]) == ("extension:hq/a\ufffd", "a\ufffd")


async def test_there_is_one_timer_whatever_happens(told: Telling) -> None:
    told.emit(lost(phone(1)))
    first = told.feed._timer
    told.emit(*(lost(phone(n)) for n in range(100)))
    assert told.feed._timer is first


async def test_more_than_an_event_holds_is_read_again(told: Telling) -> None:
    told.emit(*(lost(phone(n)) for n in range(feeding.ROWS + 1)))
    states, resync = told.flush()
    assert len(states[1]["rows"]) == feeding.ROWS
    assert resync == ("resync", {"scope": "registrar:hq"})


async def test_many_scopes_are_everything(told: Telling) -> None:
    told.emit(*(lost(phone(n)) for n in range(feeding.ROWS)))
    for n in range(feeding.SCOPES + 1):
        scope = Scope(f"pbx{n}", labels={"registrar": f"pbx{n}"})
        told.emit(lost(phone(n, scope)))
    assert told.flush()[1:] == [("resync", {"scope": ""})]


async def test_who_is_seen_through_a_blind_one_is_unknown_and_read_again(
    told: Telling,
) -> None:
    judge = told.site.registrar("hq", {"1001": True})
    extension = judge.extensions["1001"].subject
    member = next(iter(judge.members))
    told.site.observe(*judge.lost(member, Cause.CONNECTION_REFUSED, "", START + 5))
    told.emit(lost(extension, START + 5))
    kinds = told.flush()
    assert [kind for kind, _ in kinds] == ["states", "resync"]
    rows = {row["key"]: row["state"] for row in kinds[0][1]["rows"]}
    assert rows == {"registrar:hq": "unreadable", extension.key: "unknown"}
    assert kinds[1] == ("resync", {"scope": "registrar:hq"})


@pytest.mark.parametrize("carries", [True, False])
async def test_a_target_that_others_depend_on_is_above_them(carries: bool) -> None:
    told = Telling(lambda subject: carries)
    target = Subject(Kind.TARGET, "twilio", Scope("twilio", "trunk"))
    told.emit(Transition(target, State.UP, State.DOWN, START, START))
    kinds = [kind for kind, _ in told.flush()]
    assert kinds == (["states", "resync"] if carries else ["states"])
    told.feed.close()
    told.site.close()


async def test_an_incident_is_told_by_what_it_is_when_it_happens(told: Telling) -> None:
    subject = phone(1001)
    told.site.observe(Observation(subject, State.UNREGISTERED, START, START))
    told.site.until(START + 200)
    assert [kind for kind, _ in told.flush()] == ["states", "incident"]
    (incident,) = told.site.alarms.incidents
    told.emit(Opened(incident, START))
    ((_, firing),) = told.flush()
    incident.acknowledged_by = "Anna\x1b[31m"
    told.emit(Updated(incident, START))
    ((_, taken),) = told.flush()
    incident.resolved_at = START + 300
    told.emit(Resolved(incident, START))
    ((_, over),) = told.flush()
    assert firing.keys() == {
        *("id", "key", "rule", "severity", "state", "text", "since"),
        "acknowledged_by",
    }
    assert [one["state"] for one in (firing, taken, over)] == [
        *("firing", "acknowledged", "resolved"),
    ]
    assert firing["key"] == subject.key
    assert (firing["rule"], firing["severity"]) == ("ExtensionUnregistered", "warning")
    assert "1001" in firing["text"]
    assert taken["acknowledged_by"].startswith("Anna")


async def test_a_delivery_a_silence_and_a_reload_are_told(told: Telling) -> None:
    batch = Batch("b" * 32, "oncall", Told.FIRING, (), "t")
    told.emit(Delivered(batch, Outcome.TRANSIENT, START, "450 try \x1b[1m later"))
    told.feed.silence({"id": "s1", "state": "active"})
    told.feed.reloaded("targets.x", ok=True)
    assert told.flush() == [
        ("silence", {"id": "s1", "state": "active"}),
        ("reload", {"ok": True, "summary": "targets.x"}),
        (
            "delivery",
            {
                "notifier": "oncall",
                "change": "firing",
                "outcome": "transient",
                "incidents": [],
                "at": "2026-09-21T14:13:20.000Z",
                "error": "450 try �[1m later",
            },
        ),
        ("resync", {"scope": ""}),
    ]


# --- the overview ---------------------------------------------------------------------


async def test_the_overview_is_for_those_who_look_and_only_when_it_is_another(
    told: Telling,
) -> None:
    told.emit(lost(phone(1)))
    assert [kind for kind, _ in told.flush()] == ["states"]
    follower = told.feed.follow("")
    greeting = await anext(follower.pieces())
    overview = parsed(greeting.partition(b"\n\n")[2])
    assert (overview[0], overview[1]) == ("", "overview")
    assert overview[2]["instance"] == "sipwatch.example.com"
    told.feed._fresh_until = 0.0
    kinds = [kind for kind, _ in told.flush()]
    assert kinds == ["overview"], "the first that all have"
    told.emit(lost(phone(2)))
    told.feed._fresh_until = 0.0
    assert [kind for kind, _ in told.flush()] == ["states"], "it is the same"
    told.site.ready = False
    told.feed._fresh_until = 0.0
    told.feed._look_again()
    ((kind, data),) = told.told()
    assert (kind, data["ready"]) == ("overview", False), "nobody announced it"
    told.site.ready = True
    told.feed._look_again()
    assert told.told() == [], "not yet: the last one is of just now"
    follower.leave()


# --- the ring -------------------------------------------------------------------------


def event(n: int, weight: int = 1) -> Event:
    return Event("states", lambda: n, weight)


async def read(follower: Follower, pieces: int = 1) -> list[Any]:
    """The data of what the next pieces bring; a resync is that word."""
    found: list[Any] = []
    stream = follower.pieces()
    assert await anext(stream) == bounds.RETRY
    for _ in range(pieces):
        for one in (await anext(stream)).strip().split(b"\n\n"):
            id, kind, data = parsed(one)
            assert id.startswith("b-")
            found.append(data if kind == "states" else kind)
    return found


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("b-7", [8, 9, 10]),
        ("b-9", [10]),
        ("b-0", list(range(1, 11))),
        ("b-11", ["resync"]),
        ("b-x", ["resync"]),
        ("b-٣", ["resync"]),
        ("b--1", ["resync"]),
        ("c-7", ["resync"]),
        ("7", ["resync"]),
        ("b-" + "9" * 60, ["resync"]),
    ],
)
async def test_one_goes_on_where_one_was(after: str, expected: list[Any]) -> None:
    log = Backlog("b")
    for n in range(1, 11):
        log.add(event(n))
    assert await read(log.follow(after)) == expected


async def test_who_follows_from_now_hears_what_comes() -> None:
    log = Backlog("b")
    log.add(event(1))
    follower = log.follow("")
    log.add(event(2))
    assert await read(follower) == [2]


async def test_what_is_no_longer_there_is_read_again() -> None:
    log = Backlog("b")
    log.follow("")
    for n in range(1, bounds.RING + 3):
        log.add(event(n))
    assert len(log) == bounds.RING
    assert await read(log.follow("b-1")) == ["resync"]
    kept = await read(log.follow("b-2"), 2)
    assert kept[0] == 3
    assert kept == list(range(3, 3 + len(kept))), "in pieces, none left out"


async def test_a_heavy_ring_is_a_shorter_one() -> None:
    log = Backlog("b")
    follower = log.follow("")
    for n in range(200):
        log.add(event(n, 500))
    assert len(log) == bounds.WEIGHT // 500
    follower.leave()
    log.add(event(200, 500))
    assert len(log) == bounds.ALONE // 500


async def test_who_falls_too_far_behind_is_told_to_read_again() -> None:
    log = Backlog("b")
    follower = log.follow("")
    for n in range(bounds.BEHIND + 1):
        log.add(event(n))
    assert await read(follower) == ["resync"]
    late = log.follow(f"b-{log.last - 1}")
    for n in range(bounds.BEHIND - 1):
        log.add(event(n))
    assert len(await read(late)) == bounds.BEHIND


async def test_an_event_is_written_out_once_for_all_and_forgotten_when_old() -> None:
    log, made = Backlog("b"), []

    def make() -> int:
        made.append(1)
        return 1

    log.add(Event("states", make))
    assert made == [], "nobody follows"
    followers = [log.follow("b-0") for _ in range(10)]
    for follower in followers:
        assert await read(follower) == [1]
    assert made == [1]
    for n in range(bounds.BEHIND):
        log.add(event(n))
    assert log._ring[1]._written == b""


async def test_there_are_only_so_many_followers() -> None:
    log = Backlog("b")
    several = [log.follow("") for _ in range(bounds.FOLLOWERS)]
    with pytest.raises(FullError):
        log.follow("")
    several[0].leave()
    log.follow("")


async def test_a_comment_shows_that_we_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "STILL", 0.01)
    stream = Backlog("b").follow("").pieces()
    assert await anext(stream) == bounds.RETRY
    assert await anext(stream) == b":\n\n"


async def test_the_end_ends_it_for_all() -> None:
    log = Backlog("b")
    stream = log.follow("").pieces()
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    log.close()
    assert await waiting is None
    assert [piece async for piece in log.follow("").pieces()] == [bounds.RETRY]
