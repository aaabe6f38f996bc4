"""Whoever is well when it is first seen: little is done, and nothing is left out."""

from __future__ import annotations

import pytest

from alerting.alarms.observing import Observing
from alerting.alarms.watched import QUIET
from alerting.announcement import Transition
from alerting.store.rows import SubjectRow
from checks.observation import Figures, Loss, Observation, State
from tests.alerting.timeline import Site


def stored(site: Site) -> dict[str, State]:
    """What is written of subjects, by key."""
    writes, _ = site.alarms.take()
    return {w.key: w.state for w in writes if isinstance(w, SubjectRow)}


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was looked at thoroughly."""
    names: list[str] = []
    examine = Observing._examine

    def noted(self: Observing, w: object, o: Observation) -> None:
        names.append(o.subject.name)
        examine(self, w, o)  # type: ignore[arg-type]

    monkeypatch.setattr(Observing, "_examine", noted)
    return names


def test_a_first_list_of_well_phones_is_taken_in_few_steps(
    examined: list[str],
) -> None:
    site = Site()
    phones = [site.extension(str(n)) for n in range(5)]
    for phone in phones:
        site.alarms.observe(Observation(phone, State.REGISTERED, 0.0, 0.0))
    assert examined == []
    assert stored(site) == dict.fromkeys((p.key for p in phones), State.REGISTERED)
    assert site.announced == []


def test_who_begins_badly_is_looked_at(examined: list[str]) -> None:
    site = Site()
    away = Observation(site.extension("1001"), State.UNREGISTERED, 0.0, 0.0)
    away.loss = Loss.EXPIRED
    site.alarms.observe(away)
    assert examined == ["1001"]


def test_who_begins_well_but_for_one_rule_is_looked_at(
    examined: list[str],
) -> None:
    site = Site()  # OptionsSlow is built in: above 500 ms
    trunk, other = site.target("trunk"), site.target("other")
    slow = Figures(rtt_mean=0.8, successes=1)
    site.alarms.observe(Observation(trunk, State.UP, 0.0, 0.0, figures=slow))
    quick = Figures(rtt_mean=0.1, successes=1)
    site.alarms.observe(Observation(other, State.UP, 0.0, 0.0, figures=quick))
    assert examined == ["trunk"]


def test_a_later_change_tells_from_what_it_came() -> None:
    site = Site()
    site.readable(0.0)
    phone = site.extension("1001")
    site.alarms.observe(Observation(phone, State.REGISTERED, 1.0, 1.0))
    site.alarms.take()
    away = Observation(phone, State.UNREGISTERED, 5.0, 6.0)
    site.alarms.observe(away)
    _, announced = site.alarms.take()
    moves = [t for t in announced if isinstance(t, Transition)]
    assert [(t.old, t.new, t.since) for t in moves] == [
        (State.REGISTERED, State.UNREGISTERED, 5.0)
    ]


def test_those_who_began_quietly_are_counted_in_a_mass_event() -> None:
    site = Site(notifiers=())
    site.readable(0.0)
    phones = [site.extension(str(n)) for n in range(10)]
    for phone in phones:
        site.alarms.observe(Observation(phone, State.REGISTERED, 1.0, 1.0))
    for phone in phones:
        site.at(10.0, phone, State.UNREGISTERED, loss=Loss.EXPIRED)
    site.until(300.0)
    rules = [incident.rule for incident in site.alarms.incidents]
    assert rules.count("MassUnregistration") == 1


def test_the_quiet_states_are_the_good_ones() -> None:
    assert {State.UP, State.REGISTERED, State.READABLE, State.OK} == QUIET
