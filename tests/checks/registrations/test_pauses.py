"""Extensions that are not to be reached on purpose are marked, and nothing else."""

from __future__ import annotations

from checks.observation import Cause
from checks.registrations.readings import Paused, Pausing
from tests.checks.registrations.judging import Timeline, bound

DND, MAINTENANCE = Cause.DO_NOT_DISTURB, Cause.MAINTENANCE


def pause(t: Timeline, member: str = "pbx", **causes: Cause) -> None:
    reading = Paused({name[1:]: cause for name, cause in causes.items()})
    assert t.judge.apply(member, reading, t.now) == []


def marks(t: Timeline) -> dict[str, Cause]:
    return {
        aor: extension.subject.paused
        for aor, extension in t.judge.extensions.items()
        if extension.subject.paused
    }


def phones(**how: object) -> Timeline:
    t = Timeline(**how)  # type: ignore[arg-type]
    t.expect("1001", "1002")
    t.at(10.0).list(bound("1001", 70.0), bound("1002", 70.0))
    return t


def test_who_is_paused_is_marked_until_it_is_not() -> None:
    t = phones()
    pause(t, x1001=DND, x9999=DND)
    assert marks(t) == {"1001": DND}
    pause(t, x1002=MAINTENANCE)
    assert marks(t) == {"1002": MAINTENANCE}
    pause(t)
    assert marks(t) == {}


def test_an_event_changes_one() -> None:
    t = phones()
    pause(t, x1001=DND)
    t.judge.apply("pbx", Pausing("1002", MAINTENANCE, True, t.now), t.now)
    assert marks(t) == {"1001": DND, "1002": MAINTENANCE}
    t.judge.apply("pbx", Pausing("1001", MAINTENANCE, False, t.now), t.now)
    assert marks(t) == {"1002": MAINTENANCE}


def test_who_is_seen_for_the_first_time_may_be_paused_already() -> None:
    t = Timeline()
    pause(t, x1001=DND)
    t.expect("1001")
    t.at(10.0).list(bound("1001", 70.0))
    assert marks(t) == {"1001": DND}


def test_at_several_members_one_that_says_so_is_enough() -> None:
    t = Timeline(members=("a", "b"))
    for member in ("a", "b"):
        t.expect("1001", member=member)
        t.at(t.now + 10).list(bound("1001", 90.0), member=member)
    pause(t, "a", x1001=DND)
    pause(t, "b", x1001=MAINTENANCE)
    assert marks(t) == {"1001": MAINTENANCE}
    pause(t, "b")
    assert marks(t) == {"1001": DND}
    t.lost(member="a")  # blind: what it said last holds
    assert marks(t) == {"1001": DND}
