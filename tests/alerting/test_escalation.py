"""Ladders, repeats, acknowledgements and limits, on timelines."""

from __future__ import annotations

import pytest

from alerting.alarms.changes import Changes
from alerting.alarms.limits import HOUR, Limits
from alerting.incident import Outcome, Severity
from alerting.notification.render import render
from alerting.routes import GroupSettings, RouteSettings, per_severity, repeats
from alerting.rules.rule import RuleSettings
from alerting.store.rows import Memo, Restored
from checks.observation import State

from .calm import MINUTE, PARIS, Calm, route, schedule

UNREACHABLE, UNREGISTERED = State.UNREACHABLE, State.UNREGISTERED
LADDER = (
    route(
        "anna",
        escalate=[(10 * MINUTE, "ben"), (30 * MINUTE, "carol", "anna")],
    ),
)
PEOPLE = ("anna", "ben", "carol")
HALF_HOURLY = GroupSettings(wait=0.0, interval=0.0, repeat=repeats({"warning": "30m"}))


def ladder(**more: object) -> Calm:
    values: dict = {"routes": LADDER, "notifiers": PEOPLE, **more}
    return Calm(**values)


def stories(site: Calm) -> dict[str, list[tuple[str, str]]]:
    return {name: site.story(name) for name in site.notifiers if site.story(name)}


# --- the ladder -----------------------------------------------------------------------


def test_who_does_not_acknowledge_is_followed_by_the_next() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("12:00"))
    site.back("12:00", phone)
    site.until(site.time("13:00"))
    assert stories(site) == {
        "anna": [("10:02", "firing"), ("10:32", "firing"), ("12:01", "resolved")],
        "ben": [("10:12", "firing"), ("12:01", "resolved")],
        "carol": [("10:32", "firing"), ("12:01", "resolved")],
    }


def test_those_that_climb_together_are_one_mail() -> None:
    site = ladder(group=GroupSettings(wait=5.0, interval=0.0, repeat={}))
    phones = [site.phone("1001"), site.phone("1002")]
    for n, phone in enumerate(phones):
        site.at(site.time("10:00") + n, phone, UNREGISTERED)
    site.until(site.time("10:20"))
    (mail,) = site.mails["ben"]
    names = {row.incident.subject.name for row in mail.batch.deliveries}
    assert names == {"1001", "1002"}
    assert mail.at == site.time("10:12") + 5


def test_what_is_over_is_not_escalated() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.back("10:10", phone)
    site.until(site.time("12:00"))
    assert stories(site) == {"anna": [("10:02", "firing"), ("10:11", "resolved")]}
    assert site.alarms.owed() == []


def test_acknowledging_ends_the_ladder() -> None:
    site = ladder(group=HALF_HOURLY)
    phone = site.phone()
    site.lost("10:00", phone)
    site.acknowledge("10:20", "Ben")
    site.until(site.time("14:00"))
    site.back("14:00", phone)
    site.until(site.time("15:00"))
    assert stories(site) == {
        "anna": [("10:02", "firing"), ("14:01", "resolved")],
        "ben": [("10:12", "firing"), ("14:01", "resolved")],
    }


def test_who_acknowledged_is_kept_with_the_moment_and_the_words() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("10:05"))
    (incident,) = site.alarms.incidents
    site.alarms.acknowledge(incident.id, "Ben", site.now, "on my way")
    assert (incident.acknowledged_by, incident.note) == ("Ben", "on my way")
    assert incident.acknowledged_at == site.now
    # Somebody else takes it over; who says it again changes nothing.
    site.alarms.acknowledge(incident.id, "Carol", site.now + 60)
    site.alarms.acknowledge(incident.id, "Carol", site.now + 120)
    assert (incident.acknowledged_by, incident.note) == ("Carol", "")
    assert incident.acknowledged_at == site.now + 60


def test_what_is_not_open_cannot_be_acknowledged() -> None:
    site = ladder()
    phone = site.phone()
    assert site.alarms.acknowledge(1, "Ben", site.now) is None
    site.lost("10:00", phone)
    site.back("10:10", phone)
    site.until(site.time("11:00"))
    assert site.alarms.acknowledge(1, "Ben", site.now) is None


def test_an_acknowledged_incident_that_gets_worse_is_told_but_not_escalated() -> None:
    site = ladder()
    phone = site.phone()
    site.at(site.time("10:00"), phone, UNREACHABLE)
    site.acknowledge("10:05")
    site.lost("10:30", phone)
    site.until(site.time("13:00"))
    assert stories(site) == {"anna": [("10:02", "firing"), ("10:32", "worse")]}
    assert site.alarms.incidents[0].acknowledged_by == "Sam"


def test_a_recurrence_is_open_to_all_again_and_climbs_anew() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.acknowledge("10:05")
    site.back("10:20", phone)
    site.lost("10:25", phone)
    site.until(site.time("10:30"))
    (incident,) = site.alarms.incidents
    assert (incident.id, incident.acknowledged_by, incident.note) == (1, "", "")
    assert incident.acknowledged_at is None
    site.until(site.time("10:45"))
    assert stories(site) == {
        "anna": [("10:02", "firing"), ("10:21", "resolved"), ("10:27", "firing")],
        "ben": [("10:37", "firing")],
    }


def test_a_flicker_within_its_patience_is_no_recurrence() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.acknowledge("10:05")
    site.at(site.time("10:20"), phone, State.REGISTERED)
    site.at(
        site.time("10:20") + 30, phone, UNREGISTERED
    )  # an end counts after a minute
    site.until(site.time("12:00"))
    assert stories(site) == {"anna": [("10:02", "firing")]}
    assert site.alarms.incidents[0].acknowledged_by == "Sam"


def test_a_worse_incident_takes_the_ladder_of_its_new_route_from_then() -> None:
    routes = (
        route("anna", match={"severity": ["info", "warning"]}),
        route("anna", match={"severity": "critical"}, escalate=[(600.0, "ben")]),
    )
    site = ladder(routes=routes)
    site.unreadable(site.time("10:00"))
    site.until(site.time("12:00"))
    # A warning after two minutes, critical after a quarter of an hour.
    assert stories(site) == {
        "anna": [("10:02", "firing"), ("10:15", "worse")],
        "ben": [("10:25", "firing")],
    }


def test_a_silence_holds_the_ladder_too_and_it_begins_when_that_ends() -> None:
    site = ladder()
    phone = site.phone()
    site.silence("09:00", "extension=1001", until="12:00")
    site.lost("10:00", phone)
    site.until(site.time("12:15"))
    assert stories(site) == {
        "anna": [("12:00", "firing")],
        "ben": [("12:10", "firing")],
    }


def test_a_silence_after_the_first_news_holds_only_the_steps() -> None:
    site = ladder()
    phone = site.phone()
    site.lost("10:00", phone)
    site.silence("10:05", "extension=1001", until="12:00")
    site.until(site.time("12:15"))
    # Anna has known for long, so nobody waits again.
    assert stories(site) == {
        "anna": [("10:02", "firing"), ("12:00", "firing")],
        "ben": [("12:00", "firing")],
        "carol": [("12:00", "firing")],
    }


def test_a_ladder_with_hours_climbs_within_them() -> None:
    routes = (route("anna", during="office", escalate=[(600.0, "ben")]),)
    office = {"office": schedule({"mon-fri": "08:30-18:00"})}
    site = ladder(routes=routes, schedules=office)
    phone = site.phone()
    site.lost("02:00", phone)
    site.until(site.time("12:00"))
    assert stories(site) == {
        "anna": [("08:30", "firing")],
        "ben": [("08:40", "firing")],
    }


def test_a_restart_neither_forgets_a_step_nor_takes_it_twice() -> None:
    rows: dict = {}

    def keep(writes: list) -> None:
        from alerting.store.statements import key_of

        for write in writes:
            rows[key_of(write)] = write

    site = ladder(on_write=keep)
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("10:05"))
    site = again(rows, site.time("10:06"), keep)
    site.until(site.time("10:15"))
    assert stories(site) == {"ben": [("10:12", "firing")]}
    site = again(rows, site.time("10:16"), keep)
    site.until(site.time("10:40"))
    assert stories(site) == {
        "anna": [("10:32", "firing")],
        "carol": [("10:32", "firing")],
    }


def again(rows: dict, now: float, keep: object) -> Calm:
    from alerting.store.rows import DeliveryRow, IncidentRow, SubjectRow

    kinds = {SubjectRow: [], DeliveryRow: [], IncidentRow: [], Memo: []}  # type: ignore[var-annotated]
    for row in rows.values():
        if type(row) in kinds:
            kinds[type(row)].append(row)
    restored = Restored(
        {row.key: row for row in kinds[SubjectRow]},
        kinds[IncidentRow],
        kinds[DeliveryRow],
        memos={memo.name: memo.json for memo in kinds[Memo]},
    )
    site = ladder(now=now, restored=restored, on_write=keep)
    site.alarms.adopt(site.hq)
    site.alarms.adopt(site.extension("1001"))
    return site


def test_a_rule_that_names_its_notifiers_has_no_ladder() -> None:
    site = ladder(rules={"ExtensionUnregistered": RuleSettings(notify=("carol",))})
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("12:00"))
    assert stories(site) == {"carol": [("10:02", "firing")]}


def test_a_ladder_goes_on_though_the_first_notifier_is_dead() -> None:
    site = ladder()
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if name == "anna" else Outcome.ACCEPTED
    )
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("10:20"))
    firing = [m.text for m in site.mails["ben"] if "1001" in m.text]
    assert firing == ["firing 1001 ExtensionUnregistered"]
    (mail,) = [m for m in site.mails["ben"] if "1001" in m.text]
    assert site.local(mail.at) == "10:12"


# --- repeats --------------------------------------------------------------------------


def test_repeats_end_after_as_many_as_the_route_wants() -> None:
    site = ladder(routes=(route("anna", repeats=2),), group=HALF_HOURLY)
    phone = site.phone()
    site.lost("10:00", phone)
    site.back("16:00", phone)
    site.until(site.time("17:00"))
    assert site.story("anna") == [
        ("10:02", "firing"), ("10:32", "firing"), ("11:02", "firing"),
        ("16:01", "resolved"),
    ]  # fmt: skip


@pytest.mark.parametrize("most", [0, 1])
def test_few_repeats_are_few(most: int) -> None:
    site = ladder(routes=(route("anna", repeats=most),), group=HALF_HOURLY)
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("17:00"))
    assert len(site.story("anna")) == 1 + most


def test_by_two_routes_the_one_that_repeats_more_counts() -> None:
    routes = (route("anna", repeats=1), route("anna", match={"site": "lyon"}))
    site = ladder(routes=routes, group=HALF_HOURLY)
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("12:10"))
    assert len(site.story("anna")) == 5


def test_wait_and_interval_may_differ_by_severity() -> None:
    group = GroupSettings(
        wait=per_severity({"warning": "5m"}), interval=per_severity("1h"), repeat={}
    )
    site = Calm(group=group)
    phone, trunk = site.phone(), site.target("twilio")
    site.at(site.time("09:00"), trunk, State.UP)
    site.failing(site.time("10:00"), trunk, since=site.time("09:58"), failures=3)
    site.lost("10:00", phone)
    site.until(site.time("11:00"))
    assert [(site.local(m.at), m.text.split()[1]) for m in site.mails["oncall"]] == [
        ("10:00", "twilio"), ("10:07", "1001"),
    ]  # fmt: skip


# --- limits ---------------------------------------------------------------------------


def limited(most: int, **more: object) -> Calm:
    group = GroupSettings(by=("extension",), wait=0.0, interval=0.0, repeat={})
    rules = {"MassUnregistration": RuleSettings(enabled=False)}  # one by one
    routes = (route("anna", per_hour=most),)
    return ladder(routes=routes, group=group, rules=rules, **more)


def test_what_is_more_than_a_route_may_tell_is_told_as_one() -> None:
    site = limited(5)
    phones = [site.phone(f"1{n:03}") for n in range(40)]
    for n, phone in enumerate(phones):
        site.at(site.time("10:00") + 10 * n, phone, UNREGISTERED)
    site.until(site.time("10:59"))
    assert len(site.mails["anna"]) == 5
    site.until(site.time("12:30"))
    told = [
        delivery.incident.subject.name
        for mail in site.mails["anna"]
        for delivery in mail.batch.deliveries
    ]
    assert sorted(told) == [phone.name for phone in phones]  # none lost, none twice
    assert len(site.mails["anna"]) == 6
    last = site.mails["anna"][-1]
    assert site.local(last.at) == "11:02"
    words = render(last.batch, instance="pbx.example.com", zone=PARIS, now=last.at)
    assert words.subject == (
        "[warning] and 35 more problems since 10:00: ExtensionUnregistered 35 - hq"
    )
    assert "as one      its route has told as much within the hour" in words.text


def test_the_end_of_what_was_told_is_never_lost_by_a_limit() -> None:
    site = limited(3)
    phones = [site.phone(f"1{n:03}") for n in range(12)]
    for n, phone in enumerate(phones):
        site.at(site.time("10:00") + n, phone, UNREGISTERED)
    for n, phone in enumerate(phones):
        site.at(site.time("11:30") + 300 * n, phone, State.REGISTERED)
    site.until(site.time("18:00"))
    assert site.alarms.incidents == site.alarms.owed() == []
    for phone in phones:
        words = [
            mail.text.split()[0]
            for mail in site.mails["anna"]
            if phone in [d.incident.subject for d in mail.batch.deliveries]
        ]
        assert words == ["firing", "resolved"]
    times = site.times("anna")
    assert all(len([t for t in times if at <= t < at + 3600]) <= 3 for at in times)


def test_a_limit_counts_for_each_route_and_notifier_by_itself() -> None:
    group = GroupSettings(by=("extension",), wait=0.0, interval=0.0, repeat={})
    routes = (
        route("anna", "ben", match={"extension": "1*"}, per_hour=2),
        route("anna", match={"extension": "2*"}),
    )
    alone = {"MassUnregistration": RuleSettings(enabled=False)}
    site = ladder(routes=routes, group=group, rules=alone)
    for n in range(4):
        site.at(site.time("10:00") + n, site.phone(f"10{n}"), UNREGISTERED)
        site.at(site.time("10:00") + n, site.phone(f"20{n}"), UNREGISTERED)
    site.until(site.time("10:30"))
    assert len(site.mails["anna"]) == 2 + 4
    assert len(site.mails["ben"]) == 2


def test_a_limit_survives_a_restart() -> None:
    memos: dict[str, str] = {}

    def keep(writes: list) -> None:
        memos.update({w.name: w.json for w in writes if isinstance(w, Memo)})

    site = limited(2, on_write=keep)
    for n in range(2):
        site.at(site.time("10:00") + n, site.phone(f"100{n}"), UNREGISTERED)
    site.until(site.time("10:10"))
    again = limited(2, now=site.time("10:11"), restored=Restored(memos=memos))
    again.at(again.time("10:15"), again.phone("1005"), UNREGISTERED)
    again.until(again.time("10:30"))
    assert again.story("anna") == []
    again.until(again.time("11:10"))
    assert again.story("anna") == [("11:02", "firing")]


def test_a_retry_is_no_further_notification() -> None:
    site = limited(2)
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if now < site.time("10:40") else Outcome.ACCEPTED
    )
    for n in range(2):
        site.at(site.time("10:00") + n, site.phone(f"100{n}"), UNREGISTERED)
    site.until(site.time("10:55"))
    assert len([m for m in site.mails["anna"] if "100" in m.text]) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repeats": -1}, "repeats must not be less than 0"),
        ({"per_hour": 1}, "per_hour must be 2 to 1000"),
        ({"escalate": ((60.0, ("a",)),) * 21}, "escalate has more than 20 steps"),
    ],
)
def test_a_route_that_cannot_be_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RouteSettings(("anna",), **wrong)


def test_durations_by_severity_are_read_as_written() -> None:
    assert per_severity("10s") == 10.0
    assert per_severity({"critical": "0s", "info": "1h"}) == {
        Severity.CRITICAL: 0.0, Severity.INFO: 3600.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="bad is not a severity"):
        per_severity({"bad": "1s"})


def test_room_that_is_there_by_now_is_never_waited_for() -> None:
    """However floats round: who waited for it would look again and again at once."""
    limits = Limits(Changes(), lambda: 0.0)
    limits.count(("anna", 0), 0.1)
    again_at = 0.1 + HOUR
    assert limits.room_at(("anna", 0), 1, again_at - 1.0) == again_at
    assert limits.room_at(("anna", 0), 1, again_at) is None
