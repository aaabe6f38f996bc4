"""Why an alarm is, or is not: said by the core, and written down with what it is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerting.incident import Above, Batch, Outcome, Terms, Told
from alerting.matching import routed
from alerting.routes import Routes, RouteSettings
from alerting.rules.builtin import BUILT_IN
from alerting.rules.rule import RuleSettings, Threshold, build
from alerting.rules.words import BUILT_IN_WORDS, graded, matched, settings
from alerting.store.rows import AttemptRow, IncidentRow, TrailRow, What
from checks.observation import Cause, Figures, Kind, State

from .branches import Branches
from .timeline import Site

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
RULE = "ExtensionUnregistered"


def writing(site: Site) -> list[Any]:
    """All that a site writes from now on."""
    written: list[Any] = []
    site.on_write = written.extend
    return written


def of(kind: type, written: list[Any]) -> list[Any]:
    return [row for row in written if isinstance(row, kind)]


# --- why it opened --------------------------------------------------------------------


def test_an_incident_keeps_what_it_was_due_by_and_who_was_asked() -> None:
    site = Site()
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.unreadable(20)
    site.readable(100)
    site.at(105, phone, UNREGISTERED, since=50, not_before=130)
    site.until(400)
    row = of(IncidentRow, written)[-1]
    assert row.terms is not None
    (above,) = row.terms.above
    assert row.terms == Terms(50, 120.0, 100, 130, above=(above,))
    assert row.terms.due == row.opened_at == 250
    assert above == Above("registrar:hq", "readable", above.well_at)
    assert 220 <= above.well_at <= 250


def test_who_was_asked_because_of_it_is_told() -> None:
    site = Site(reads_every=1000.0)
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(400)
    (above,) = of(IncidentRow, written)[-1].terms.above
    assert (above.asked_at, above.well_at) == (220, pytest.approx(220.001))


def test_another_rule_that_takes_over_is_noted_and_its_terms_are_kept() -> None:
    site = Site()
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(20, phone, State.UNREACHABLE)
    site.until(200)
    site.at(300, phone, UNREGISTERED)
    site.until(600)
    assert of(IncidentRow, written)[-1].terms.since == 300
    changed = [r for r in of(TrailRow, written) if r.what is What.CHANGED]
    assert [(r.at, r.rule, r.text, r.incident) for r in changed] == [
        (420, RULE, "it is warning now", 1)
    ]


# --- why it did not -------------------------------------------------------------------


def test_every_reason_not_to_open_is_written_with_its_moment() -> None:
    site = Branches().begin()
    written = writing(site)
    site.crowd("paris", 160)
    lyon = site.crowd("lyon", 40)
    site.lose(100, lyon[:31])
    site.until(1000)
    rows = [r for r in of(TrailRow, written) if r.key == f"extension:hq/{lyon[0].name}"]
    assert rows == [
        TrailRow(
            f"extension:hq/{lyon[0].name}",
            220,
            What.SUPPRESSED,
            RULE,
            "covered by MassUnregistration of lyon",
        )
    ]


def test_what_is_not_believed_is_written_once() -> None:
    site = Branches(watched=True).begin()
    written = writing(site)
    (phone,) = site.crowd("lyon", 1)
    site.cut(100)
    site.found()
    site.at(110, phone, UNREGISTERED)
    site.at(120, phone, UNREGISTERED, since=110)
    rows = [r for r in of(TrailRow, written) if r.key == phone.key]
    assert [(r.what, r.text) for r in rows] == [
        (What.SUPPRESSED, "our own network was not seen well since")
    ]
    network = [r for r in of(TrailRow, written) if r.key == "vantage:network"]
    assert [(r.at, r.what, r.text) for r in network] == [
        (100, What.STATE, "up -> down")
    ]
    standing = site.alarms.standing(phone, 120)
    assert standing is not None
    assert standing.doubted is not None
    assert standing.state is REGISTERED


def test_a_mute_that_holds_the_news_is_written_and_that_it_went_unheard() -> None:
    site = Site()
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.alarms.silences.add(
        ["extension=1001"],
        author="Anna",
        reason="moving",
        starts=None,
        ends=5000,
        now=20,
    )
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    site.at(300, phone, REGISTERED)
    site.until(900)
    held = [r for r in of(TrailRow, written) if r.what is What.HELD]
    why = "silenced by Anna: moving"
    assert [(r.at, r.text, r.incident) for r in held] == [
        (220, f"the news to oncall waits: {why}", 1),
        (360, f"oncall is not told that it came and went while muted: {why}", 1),
    ]


def test_a_route_that_has_told_enough_is_written() -> None:
    routes = (RouteSettings(("oncall",), per_hour=2),)
    site = Site(routes=routes)
    written = writing(site)
    site.readable(1)
    for n in range(4):
        phone = site.extension(f"100{n}")
        site.at(10, phone, REGISTERED)
        site.at(100 + 200 * n, phone, UNREGISTERED)
    site.until(1000)
    held = [r for r in of(TrailRow, written) if r.what is What.HELD]
    assert {r.text for r in held} == {
        "the news to oncall waits: route 1 has told as much as it may"
    }


def test_who_takes_it_is_written() -> None:
    site = Site()
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    site.alarms.acknowledge(1, "Anna", 310, "on my way")
    site.flush()
    taken = [r for r in of(TrailRow, written) if r.what is What.ACKNOWLEDGED]
    assert [(r.at, r.text) for r in taken] == [(310, "by Anna: on my way")]


# --- every attempt --------------------------------------------------------------------


def test_every_batch_is_written_with_its_attempts_and_how_it_ended() -> None:
    site = Site()
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if now < 300 else Outcome.ACCEPTED
    )
    written = writing(site)
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(400)
    rows = of(AttemptRow, written)
    begun, refused, *_, last = rows
    assert begun == AttemptRow(
        1, "oncall", 0, "batch-1", Told.FIRING, 1, 220, 220, "", ""
    )
    assert refused == replace(begun, outcome="transient", error="refused")
    assert last == AttemptRow(
        1, "oncall", 0, "batch-1", Told.FIRING, 3, 220, 310, "accepted", ""
    )


# --- how it stands now ----------------------------------------------------------------


def test_a_pending_rule_says_when_it_is_due() -> None:
    site = Site()
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    standing = site.alarms.standing(phone, 150)
    assert standing is not None
    (one,) = standing.considered
    assert (one.rule.name, one.fires, one.terms.due, one.why) == (RULE, False, 220, "")
    assert {rule.name for rule in standing.rules} >= {RULE, "Flapping"}


def test_a_suppressed_rule_says_why() -> None:
    site = Site()
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.unreadable(150)
    site.until(400)
    standing = site.alarms.standing(phone, 400)
    assert standing is not None
    (one,) = standing.considered
    assert one.why == "hq is unreadable"
    assert standing.above == (Above("registrar:hq", "unreadable", 121.0),)


def test_a_look_changes_nothing() -> None:
    site = Site()
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    before = site.alarms.next_deadline()
    site.alarms.standing(phone, 9000)
    assert site.alarms.next_deadline() == before
    assert site.alarms.take() == ([], [])
    assert site.alarms.standing(site.extension("nobody"), 0) is None


# --- rules and routes in words --------------------------------------------------------


def test_every_built_in_rule_has_words_for_each_of_its_grades() -> None:
    assert set(BUILT_IN_WORDS) == set(BUILT_IN)
    for rule in build({}):
        assert all(grade.about for grade in rule.grades)


def test_rules_are_told_with_the_numbers_in_force() -> None:
    changed = RuleSettings(for_=300.0, where=routed({"site": ["lyon", "n*"]}))
    rules = build({RULE: changed, "OptionsFailing": RuleSettings(failures=5)})
    unregistered, failing = rules.get(RULE), rules.get("OptionsFailing")
    assert unregistered is not None
    assert list(graded(unregistered)) == [
        "critical for 5m: nothing is registered for it, and it is required",
        "warning for 5m: nothing is registered for it",
    ]
    assert list(settings(unregistered)) == [
        "keep_firing_for 1m",
        "where site: [lyon, n*]",
        "family liveness",
    ]
    assert failing is not None
    assert next(graded(failing)) == (
        "critical for 1m: 5 questions in a row had no good answer"
    )


def test_what_is_told_without_waiting_is_told_at_once() -> None:
    rule = build({}).get("RegistrarUnreadable")
    assert rule is not None
    assert next(graded(rule)) == (
        "critical at once: it cannot be read, and does not answer OPTIONS"
    )


def test_an_own_rule_is_told_as_it_is_written() -> None:
    own = RuleSettings(
        on=Kind.TARGET,
        state=(State.DOWN, State.DEGRADED),
        above=Threshold(0.25, "s"),
        for_=60.0,
        during="office",
        notify=("boss",),
    )
    (rule,) = [r for r in build({"Mine": own}) if r.name == "Mine"]
    assert list(graded(rule)) == [
        "warning for 1m: down or degraded, over 250ms of mean round trip"
    ]
    assert list(settings(rule)) == ["during office", "notify boss", "family latency"]


def test_a_route_that_is_not_taken_says_by_what() -> None:
    routes = (
        RouteSettings(("a",), routed({"severity": "critical"})),
        RouteSettings(("b",), routed({"site": "nice"})),
        RouteSettings(("c",), routed({"role": "trunk"})),
        RouteSettings(("d",)),
    )
    site = Site()
    site.readable(1)
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED, cause=Cause.TIMEOUT)
    site.until(300)
    (incident,) = site.alarms.incidents
    found = Routes(routes, ("a", "b", "c", "d")).considered(incident)
    assert [why for _, why in found] == [
        "severity is warning",
        "site is lyon",
        "it has no role",
        "",
    ]
    assert matched(routes[0].match) == "severity: critical"


# --- one message of a cut, not two ----------------------------------------------------


def silent(site: Branches, at: float, number: int = 40) -> None:
    figures = Figures(silent=number)
    site.at(at, site.hq, State.READABLE, since=1, figures=figures)


def test_contacts_that_are_silent_because_we_are_cut_off_are_not_told_as_well() -> None:
    site = Branches(watched=True).begin()
    site.cut(100)
    silent(site, 101)
    site.found()
    site.until(1000)
    assert site.told() == ["firing network VantageLost"]
    site.connect(1000)
    site.at(1030, site.hq, State.READABLE, since=1, figures=Figures(silent=0))
    site.until(3000)
    assert site.told() == ["firing network VantageLost", "resolved network VantageLost"]


def test_contacts_that_are_silent_while_our_network_is_well_are_told() -> None:
    site = Branches(watched=True, reads_every=9000.0).begin()
    silent(site, 100)
    site.until(400)
    assert site.told() == ["firing hq ContactsSilent"]


def test_where_no_network_is_watched_silent_contacts_are_told() -> None:
    site = Branches(reads_every=9000.0).begin()
    silent(site, 100)
    site.until(400)
    assert site.told() == ["firing hq ContactsSilent"]


# --- what may have arrived keeps its id -----------------------------------------------


def refused_batches(*, in_doubt: bool) -> tuple[set[str], set[str]]:
    """Four batches that were refused; their ids, and those of what is sent then."""
    site = Site()
    before: set[str] = set()

    def refuse(name: str, batch: Batch) -> None:
        if site.now >= 2000:
            Site.send(site, name, batch)
            return
        before.add(batch.id)
        site.alarms.settle(
            batch, Outcome.TRANSIENT, site.now, "timeout", in_doubt=in_doubt
        )

    site.send = refuse  # type: ignore[method-assign]
    site.readable(1)
    for n in range(4):
        phone = site.extension(f"100{n}")
        site.at(10, phone, REGISTERED)
        site.at(100 + 200 * n, phone, UNREGISTERED)
    site.until(4000)
    return before, {mail.batch.id for mail in site.mails["oncall"]}


def test_batches_that_may_have_arrived_go_again_as_they_were() -> None:
    before, sent = refused_batches(in_doubt=True)
    assert len(before) == 4
    assert sent == before


def test_batches_that_were_surely_refused_go_as_one() -> None:
    before, sent = refused_batches(in_doubt=False)
    assert len(before) == 4
    assert len(sent) == 2  # the first to be accepted, and the others as one
    assert len(sent - before) == 1
