"""sipwatch watches itself: what it says of its own parts, and when."""

from __future__ import annotations

import asyncio

import pytest

from checks.observation import Event, Fact, Observation, State
from sipwatch.clock import Clock
from sipwatch.itself import selfwatch
from sipwatch.itself.selfwatch import DROPS_OVER, LATE, SelfWatch

OK, FAILING = State.OK, State.FAILING


class Own:
    """A self watch whose surroundings the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1000.0
        self.drops = 0
        self.waiting: float | None = None
        self.told: list[Observation] = []
        self.clock_sets = 0
        self.watch = SelfWatch(
            Clock(lambda: self.now, lambda: self.wall),
            self.told.append,
            drops=lambda: self.drops,
            waiting_since=lambda: self.waiting,
            clock_set=self._clock_was_set,
        )

    def _clock_was_set(self) -> None:
        self.clock_sets += 1

    def look(self, after: float = 1.0) -> list[tuple[str, State, str]]:
        """Look once more; what was told by it."""
        self.now += after
        self.wall += after
        self.told.clear()
        self.watch.look(self.now)
        return [(o.subject.name, o.state, o.detail) for o in self.told]


@pytest.fixture
def own() -> Own:
    """One that has had its first look, at which all was well."""
    own = Own()
    own.look()
    own.watch.resolver_state(ok=True, detail="")
    own.told.clear()
    return own


def test_that_all_is_well_is_told_once_as_it_may_have_failed_before_a_restart() -> None:
    own = Own()
    well = ("configuration", "receive-buffer", "store")
    assert own.look() == [(name, OK, "") for name in well]
    own.watch.resolver_state(ok=True, detail="")
    assert (own.told[-1].subject.name, own.told[-1].state) == ("resolver", OK)
    assert own.look() == []


def test_while_all_is_well_nothing_is_told(own: Own) -> None:
    assert [own.look() for _ in range(5)] == [[]] * 5
    own.watch.committed(None)
    assert own.told == []


def test_a_configuration_that_is_refused_is_told_until_one_is_in_force(
    own: Own,
) -> None:
    why = "sipwatch.yaml:14:5: targets: unknown key"
    own.watch.reloaded(why)
    assert [(o.state, o.detail) for o in own.told] == [(FAILING, why)]
    assert own.look() == []
    own.watch.reloaded()
    own.watch.reloaded()
    assert [(o.subject.name, o.state) for o in own.told] == [("configuration", OK)]


def test_another_mistake_in_it_is_told_as_the_same_trouble(own: Own) -> None:
    own.watch.reloaded("one")
    own.now += 60
    own.watch.reloaded("two\x07")
    told = [(o.state, o.since, o.detail, o.evidence) for o in own.told]
    first = own.now - 60
    assert told == [
        (FAILING, first, "one", (Fact(first, "one"),)),
        (FAILING, first, "two\ufffd", (Fact(own.now, "two\ufffd"),)),
    ]


def test_a_dropped_answer_is_told_once_and_is_over_when_none_was_for_long(
    own: Own,
) -> None:
    own.drops = 3
    said = ("receive-buffer", FAILING, "3 answers, 3 since the start")
    assert own.look() == [said]
    assert own.look() == []
    own.drops = 5
    assert own.look(DROPS_OVER - 1) == []
    assert own.look(DROPS_OVER) == []
    assert own.look(1.0) == [("receive-buffer", OK, "")]
    own.drops = 6
    again = ("receive-buffer", FAILING, "1 answers, 6 since the start")
    assert own.look() == [again]


def test_a_commit_that_takes_long_is_told_and_its_end_too(own: Own) -> None:
    own.waiting = own.now
    assert own.look(LATE) == []
    late = ("store", FAILING, "a commit takes longer than 5 s")
    assert own.look(0.1) == [late]
    assert own.look() == []
    own.waiting = None
    own.told.clear()
    own.watch.committed(None)
    assert [(o.subject.name, o.state) for o in own.told] == [("store", OK)]


def test_a_refused_commit_is_told_at_once_with_its_reason(own: Own) -> None:
    own.watch.committed(OSError("disk \x1b[2Jfull"))
    (o,) = own.told
    assert (o.subject.name, o.state, o.detail) == ("store", FAILING, "disk �[2Jfull")
    assert [fact.text for fact in o.evidence] == [o.detail]
    own.watch.committed(OSError("still"))
    assert own.look() == []
    own.watch.committed(None)
    assert own.told[-1].state is OK


def test_a_resolver_that_fails_as_a_whole(own: Own) -> None:
    for ok, detail in [(True, ""), (False, "no answer"), (False, "x"), (True, "")]:
        own.watch.resolver_state(ok, detail)
    assert [(o.subject.name, o.state, o.detail) for o in own.told] == [
        ("resolver", FAILING, "no answer"),
        ("resolver", OK, ""),
    ]


@pytest.mark.parametrize(
    ("step", "words"), [(3600.0, "set forward by 3600 s"), (-90.0, "set back by 90 s")]
)
def test_a_clock_that_was_set_is_an_event_and_everybody_is_told(
    own: Own, step: float, words: str
) -> None:
    own.wall += step
    assert own.look() == [("clock", OK, words)]
    assert own.told[0].event is Event.CLOCK_JUMPED
    assert own.clock_sets == 1
    assert own.look() == []


async def test_it_looks_every_second_and_beats_after_each_look(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfwatch, "BEAT", 0.001)
    beats: list[float] = []
    enough = asyncio.Event()

    def beat() -> None:
        beats.append(own.watch.lag)
        if len(beats) == 3:
            enough.set()

    task = asyncio.create_task(own.watch.run(beat))
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    assert all(lag >= 0 for lag in beats)
