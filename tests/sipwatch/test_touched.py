"""What a reload touched, and what the first test of each brought."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from checks.observation import Cause, Figures, Kind, Observation, Scope, State, Subject
from sipwatch.touched import NAMED, Touched
from tests.sipwatch.watching import START, Watching


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


def target(name: str, scope: str = "") -> Subject:
    return Subject(Kind.TARGET, name, Scope(scope or name))


def seen(subject: Subject, state: State = State.UP, **more: object) -> Observation:
    return Observation(subject, state, 5.0, 5.0, **more)  # type: ignore[arg-type]


def test_before_a_reload_there_is_nothing_to_show() -> None:
    assert Touched().shown(str) is None


def test_a_refused_reload_is_shown_until_one_is_taken() -> None:
    touched = Touched()
    touched.refuse(1.0, "sipwatch.yaml:3:1: targest: unknown key")
    assert touched.shown(str) == {
        "at": None,
        "summary": "",
        "refused": {"at": "1.0", "text": "sipwatch.yaml:3:1: targest: unknown key"},
        "tested": [],
        "waiting": [],
    }
    touched.begin(2.0, "nothing changed", [])
    touched.refuse(3.0, "a\x1b[31mb")
    shown = touched.shown(str)
    assert shown is not None
    assert (shown["at"], shown["refused"]["at"]) == ("2.0", "3.0")
    assert "\x1b" not in shown["refused"]["text"]
    touched.begin(4.0, "nothing changed", [])
    shown = touched.shown(str)
    assert shown is not None
    assert shown["refused"] is None


def test_the_first_word_on_each_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    touched, one, two = Touched(), target("one"), target("two")
    touched.begin(1.0, "added targets.one", [one, two])
    touched.hear(
        seen(one, last_seen="10.0.0.5:5060 over UDP", figures=Figures(rtt=0.0004))
    )
    touched.hear(seen(one, State.DOWN, cause=Cause.TIMEOUT, detail="no answer"))
    touched.hear(seen(target("three"), State.DOWN))
    assert touched.shown(str) == {
        "at": "1.0",
        "summary": "added targets.one",
        "refused": None,
        "tested": [
            {
                "subject": "target:one",
                "state": "up",
                "cause": None,
                "text": "10.0.0.5:5060 over UDP, 0.4 ms",
                "at": "5.0",
            }
        ],
        "waiting": ["target:two"],
    }
    touched.hear(seen(two, State.DOWN, cause=Cause.TIMEOUT, detail="no answer"))
    assert caplog.messages == [
        "reload: target:one is up: 10.0.0.5:5060 over UDP, 0.4 ms",
        "reload: target:two is down: no answer",
    ]
    touched.begin(9.0, "nothing changed", [])
    shown = touched.shown(str)
    assert shown is not None
    assert (shown["tested"], shown["waiting"]) == ([], [])


def test_only_so_many_are_told_one_by_one() -> None:
    touched = Touched()
    touched.begin(1.0, "", [target(f"t{n}") for n in range(NAMED + 10)])
    shown = touched.shown(str)
    assert shown is not None
    assert len(shown["waiting"]) == NAMED


async def test_a_file_of_targets_is_told_in_numbers(
    site: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    indexes = site.targets("phones.txt", [f"203.0.113.{n}" for n in range(3)])
    touched = Touched()
    subjects = [site.options.judge.subjects[index] for index in indexes]
    touched.begin(START, "", [one for one in subjects if one is not None])
    touched.look(site.options)
    assert caplog.messages == []  # not all have been asked
    for index in indexes[:2]:
        site.answer(index)
    site.silence(indexes[2], 3)
    touched.look(site.options)
    touched.look(site.options)
    assert caplog.messages == ["reload: phones.txt: 2 up, 1 down"]
