"""Who is away for good: by the second, and some in one go."""

from __future__ import annotations

from checks.observation import Kind, Scope, Subject
from checks.registrations.away import AT_ONCE, Away
from checks.registrations.extension import Extension


def extension(name: str = "1001") -> Extension:
    return Extension(Subject(Kind.EXTENSION, name, Scope("hq")), 0.0)


def test_nobody_is_due_too_soon():
    away, e = Away(), extension()
    away.wait_for(e, 60.2)
    assert list(away.due(60.9)) == []
    assert away.next_deadline() == 61
    assert list(away.due(61.0)) == [e]
    assert away.next_deadline() is None


def test_one_that_waits_already_has_no_second_place():
    away, e = Away(), extension()
    away.wait_for(e, 60.0)
    away.wait_for(e, 70.0)
    assert len(away) == 1
    assert list(away.due(60.0)) == [e]
    away.wait_for(e, 80.0)
    assert away.next_deadline() == 80


def test_of_thousands_that_are_due_in_one_second_some_come_at_a_time():
    away = Away()
    several = [extension(str(n)) for n in range(AT_ONCE + 1)]
    for e in several:
        away.wait_for(e, 60.0)
    first = list(away.due(60.0))
    assert len(first) == AT_ONCE
    assert away.next_deadline() == 60
    assert {id(e) for e in [*first, *away.due(60.0)]} == set(map(id, several))
