"""A registrar is read for ever: back-off, lists asked for, what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from alerting.store.rows import DropMemo, Memo
from checks import registrars
from checks.observation import (
    Binding,
    Cause,
    Kind,
    Loss,
    Observation,
    Scope,
    State,
    Subject,
)
from checks.registrations import ledger
from checks.registrations.judge import (
    AT_ONCE,
    Bindings,
    Expected,
    Gone,
    Judge,
    ListEnd,
    Reading,
    RegistrarSettings,
    Unreadable,
)
from sipwatch import follow
from sipwatch.follow import BACK_OFF, SLICE, Following

REFUSED = Unreadable(Cause.CONNECTION_REFUSED, "connection refused")
Step = Reading | Exception


class Scripted:
    """A registrar by the book: each connection plays the next part of a script."""

    parts: list[list[Step]]

    def __init__(self, settings: Any, address: str, **others: Any) -> None:
        self.address = address
        self.relists = 0
        self.open = False  # is read

    def relist(self) -> None:
        self.relists += 1

    async def watch(self) -> AsyncIterator[Reading]:
        self.open = True
        try:
            if not self.parts:
                await asyncio.Event().wait()
            for step in self.parts.pop(0):
                if isinstance(step, Exception):
                    raise step
                yield step
            await asyncio.Event().wait()
        finally:
            self.open = False


class Told:
    """What stands where the flow is."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.turns: list[int] = []  # after each turn: how many
        self.memos: list[Memo | DropMemo] = []
        self.removed: list[str] = []
        self.alarms = self

    def observe_all(self, several: list[Observation]) -> None:
        self.observations += several

    def write(self, writes: list[Memo | DropMemo]) -> None:
        self.memos += writes

    def unwatch(self, subject: Subject, now: float, reason: str) -> None:
        self.removed.append(f"{subject.name}: {reason}")

    def of(self, kind: Kind) -> list[str]:
        return [
            f"{o.subject.name} {o.state}"
            for o in self.observations
            if o.subject.kind is kind
        ]


class Stage:
    """One followed registrar, a clock, the pauses that it makes."""

    def __init__(self, *members: str) -> None:
        self.now = 1000.0
        self.told: Any = Told()
        self.arrived: list[Following] = []
        self.pauses: list[float] = []
        settings = RegistrarSettings(type="scripted", members=list(members or ("pbx",)))
        subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
        self.judge = Judge("hq", settings, subject, self.now)
        nobody: Any = None
        self.following = Following(
            self.judge,
            self.told,
            lambda: self.now,
            resolver=nobody,
            arrived=self.arrived.append,
        )

    @property
    def registrar(self) -> Scripted:
        found = next(iter(self.following._registrars.values()))
        assert isinstance(found, Scripted)
        return found


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """staged([step, ...], ...): what each connection gives, one after the other."""
    real = asyncio.sleep

    def make(*parts: list[Step], members: tuple[str, ...] = ()) -> Stage:
        row = registrars.Kind(RegistrarSettings, Scripted)
        monkeypatch.setitem(registrars.REGISTRARS, "scripted", row)
        monkeypatch.setattr(Scripted, "parts", list(parts), raising=False)
        stage = Stage(*members)

        async def sleep(seconds: float) -> None:
            if seconds:
                stage.pauses.append(seconds)
            else:
                stage.told.turns.append(len(stage.told.observations))
            await real(0)

        monkeypatch.setattr(follow.asyncio, "sleep", sleep)
        monkeypatch.setattr(follow.random, "uniform", lambda low, high: 1.0)
        return stage

    return make


async def played(stage: Stage, done: Callable[[], bool]) -> None:
    """Follow until this is so."""
    task = asyncio.create_task(stage.following.run())
    async with asyncio.timeout(5):
        while not (done() or task.done()):
            await asyncio.wait([task], timeout=0.001)
    if task.done():
        await task
    task.cancel()
    await asyncio.wait([task])


def bound(*aors: str) -> list[Step]:
    """A whole list."""
    rows = [Binding(aor, f"sip:{aor}@10.20.0.31", 4600.0) for aor in aors]
    return [
        Expected([(aor, "") for aor in aors]),
        Bindings(rows),
        ListEnd(999.9, 1000.0, 500.0),
    ]


# --- back-off -------------------------------------------------------------------------


async def test_the_pauses_grow_to_a_bound(staged: Callable[..., Stage]) -> None:
    stage = staged(*([REFUSED] for _ in range(8)))
    await played(stage, lambda: len(stage.pauses) == 8)
    least, most = BACK_OFF
    assert stage.pauses == [min(most, least * 2**n) for n in range(8)]
    assert stage.told.of(Kind.REGISTRAR) == ["hq unreadable"]


async def test_a_list_that_was_read_makes_the_pauses_short_again(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(
        [REFUSED], [REFUSED], [*bound("1001"), REFUSED], [REFUSED], [REFUSED]
    )
    await played(stage, lambda: len(stage.pauses) == 5)
    assert stage.pauses == [1.0, 2.0, 1.0, 2.0, 4.0]


async def test_half_a_list_does_not(staged: Callable[..., Stage]) -> None:
    stage = staged([REFUSED], [*bound("1001")[:2], REFUSED], [REFUSED])
    await played(stage, lambda: len(stage.pauses) == 3)
    assert stage.pauses == [1.0, 2.0, 4.0]
    assert stage.told.of(Kind.EXTENSION) == []


async def test_what_nobody_expects_ends_it(staged: Callable[..., Stage]) -> None:
    stage = staged([REFUSED], [*bound("1001"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup) as raised:
        await played(stage, lambda: False)
    assert raised.group_contains(ZeroDivisionError)
    assert stage.following._timer is None or stage.following._timer.cancelled()


async def test_a_connection_ends_with_the_task_whatever_it_was_doing(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(bound("1001"))

    async def for_ever(member: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.following, "_tried", for_ever)
    task = asyncio.create_task(stage.following.run())
    while not stage.told.observations:
        await asyncio.wait([task], timeout=0.001)
    assert stage.registrar.open
    task.cancel()
    await asyncio.wait([task])
    assert not stage.registrar.open


# --- the first pass -------------------------------------------------------------------


async def test_the_first_pass_ends_when_every_member_was_read_or_tried(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(bound("1001"), [REFUSED], members=("a", "b"))
    assert not stage.following.passed
    await played(stage, lambda: stage.following.passed)
    assert stage.arrived == [stage.following]


async def test_a_long_first_list_is_judged_when_the_pass_is_told(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "REST", 0.001)
    count = 3 * AT_ONCE
    stage = staged(bound(*(str(1000 + n) for n in range(count))))
    counts: list[dict[State, int]] = []
    stage.following._arrived = lambda f: counts.append(dict(f.judge.counts()))
    await played(stage, lambda: bool(counts))
    assert counts == [{State.REGISTERED: count}]


async def test_a_dead_pbx_has_been_tried(staged: Callable[..., Stage]) -> None:
    stage = staged([REFUSED], [REFUSED])
    await played(stage, lambda: len(stage.pauses) == 2)
    assert stage.following.passed
    assert len(stage.arrived) == 1


# --- lists that are asked for ---------------------------------------------------------


async def test_a_binding_that_has_ended_makes_it_ask_for_a_list(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "REST", 0.001)
    ending = bound("1001")
    assert isinstance(ending[1], Bindings)
    ending[1].rows[0].expires_at = 1005.0
    stage = staged(ending)
    task = asyncio.create_task(stage.following.run())
    while not stage.told.of(Kind.EXTENSION):
        await asyncio.wait([task], timeout=0.001)
    assert stage.registrar.relists == 0
    stage.now = 1006.5  # its end and a second
    stage.following.options_answer(ok=True)  # the timer is set anew
    async with asyncio.timeout(5):
        while not stage.registrar.relists:
            await asyncio.wait([task], timeout=0.001)
    assert stage.registrar.relists == 1
    assert stage.told.of(Kind.EXTENSION) == ["1001 registered"]
    task.cancel()
    await asyncio.wait([task])


async def test_relist_asks_all_members(staged: Callable[..., Stage]) -> None:
    stage = staged(members=("a", "b"))
    stage.following.relist()
    asked = [r.relists for r in stage.following._registrars.values()]  # type: ignore[attr-defined]
    assert asked == [1, 1]


# --- what is remembered, and what is told ---------------------------------------------


async def test_memos_are_written_once_a_pass_and_where_something_changed(
    staged: Callable[..., Stage],
) -> None:
    again = ListEnd(999.9, 1000.0, 500.0)
    same = [*bound("1001", "1002")[1:2], again]
    stage = staged([*bound("1001", "1002"), *same, *same, REFUSED])
    await played(stage, lambda: len(stage.pauses) == 1)
    names = [memo.name for memo in stage.told.memos]
    assert names.count("registrar/hq/aor/1001") == 1
    assert names.count("registrar/hq/aor/1002") == 1
    assert set(names) == {
        "registrar/hq/aor/1001",
        "registrar/hq/aor/1002",
        "registrar/hq/member/pbx",
    }


async def test_a_mass_event_leaves_the_loop_its_turns(
    staged: Callable[..., Stage],
) -> None:
    aors = [str(n) for n in range(5 * SLICE)]
    gone = [Gone(a, f"sip:{a}@10.20.0.31", 1000.0, Loss.DEREGISTERED) for a in aors]
    stage = staged([*bound(*aors), *gone, REFUSED])
    all_judged = stage.following._advance
    task = asyncio.create_task(stage.following.run())
    while len(stage.told.of(Kind.EXTENSION)) < len(aors):
        all_judged()
        await asyncio.wait([task], timeout=0.001)
    async with asyncio.timeout(5):
        while not stage.pauses:
            await asyncio.wait([task], timeout=0.001)
    told = [0, *stage.told.turns, len(stage.told.observations)]
    steps = [after - before for before, after in pairwise(told)]
    assert max(steps) <= 2 * SLICE + 1
    assert stage.judge.counts() == {"unregistered": len(aors)}
    task.cancel()
    await asyncio.wait([task])


async def test_who_is_off_the_roster_is_watched_no_more(
    staged: Callable[..., Stage],
) -> None:
    stage = staged([*bound("1001", "1002"), *bound("1001"), *bound("1001"), REFUSED])
    await played(stage, lambda: len(stage.pauses) == 1)
    assert stage.told.removed == ["1002: no longer watched"]
    assert DropMemo("registrar/hq/aor/1002") in stage.told.memos


async def test_subjects_are_the_registrar_its_members_and_its_extensions(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(bound("1001"), members=("a", "b"))
    await played(stage, lambda: bool(stage.told.of(Kind.EXTENSION)))
    keys = [subject.key for subject in stage.following.subjects()]
    assert keys == [
        "registrar:hq",
        "registrar:hq/a",
        "registrar:hq/b",
        "extension:hq/1001",
    ]


async def test_who_is_closed_says_nothing_more(staged: Callable[..., Stage]) -> None:
    """A cancelled task runs on for a turn: it must not bring subjects back to life."""
    stage = staged([*bound("1001"), *bound("1001", "1002")])
    take = stage.told.observe_all

    def take_and_close(several: list[Observation]) -> None:
        take(several)
        if stage.told.of(Kind.EXTENSION):
            stage.following.close()

    stage.told.observe_all = take_and_close
    await played(stage, lambda: bool(stage.told.of(Kind.EXTENSION)))
    assert stage.told.of(Kind.EXTENSION) == ["1001 registered"]
    said = len(stage.told.observations)
    stage.following.options_answer(False)
    assert len(stage.told.observations) == said


async def test_a_pbx_of_ever_more_extensions_is_watched_in_part_and_told_once(
    staged: Callable[..., Stage],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ledger, "EXTENSIONS", 3)
    monkeypatch.setattr(follow, "EXTENSIONS", 3)

    def half(*aors: str) -> list[Step]:
        rows = [Binding(aor, f"sip:{aor}@10.20.0.31", 4600.0) for aor in aors]
        return [Bindings(rows), REFUSED]

    stage = staged(half("1", "2"), half("3", "4"), half("5", "1"))
    await played(stage, lambda: len(stage.pauses) == 3)
    assert list(stage.judge.extensions) == ["1", "2", "3"]
    told = [m for m in caplog.messages if "are not watched" in m]
    assert told == [
        "hq: more than 3 extensions have registered there, the others are not watched: "
        "name those that matter in `extensions.include`"
    ]
