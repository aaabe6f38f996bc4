"""Twilio in the daemon: what is taken in is on the disk with what has come of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.notification.twilio import words_of
from alerting.routes import GroupSettings
from alerting.rules.rule import RuleSettings, build
from alerting.store.rows import DropSubject, IncidentRow, Memo, Restored, SubjectRow
from checks.observation import Fact, Kind, Observation, Scope, State, Subject
from checks.settings import Secret
from checks.twilio.alerts import Alert
from checks.twilio.settings import TwilioSettings
from sipwatch.clock import Clock
from sipwatch.flow import Flow
from sipwatch.twilio.reports import MEMO, Twilio
from tests.sipwatch.test_flow import Disk, turns
from tests.wires.twilio import ACCOUNT, TOKEN

NOW = 1_790_000_000.0
GIVEN = TwilioSettings(account_sid=ACCOUNT, auth_token=Secret(TOKEN))
WHO = "204@acme.sip.twilio.com"
SINCE, LATER = Fact(NOW, "read, no binding"), Fact(NOW + 60, "Twilio 32009 for 204")


class Disks(Disk):
    """A store whose memos can be read again."""

    def __init__(self) -> None:
        super().__init__()
        self.memos: dict[str, str] = {}
        self.subjects: dict[str, SubjectRow] = {}
        self.incidents: dict[int, IncidentRow] = {}

    def spin(self) -> None:
        super().spin()
        for row in self.rows:
            if isinstance(row, Memo):
                self.memos[row.name] = row.json
            elif isinstance(row, SubjectRow):
                self.subjects[row.key] = row
            elif isinstance(row, DropSubject):
                self.subjects.pop(row.key, None)
            elif isinstance(row, IncidentRow):
                self.incidents[row.id] = row
        self.rows.clear()

    def remembered(self, name: str) -> str | None:
        return self.memos.get(name)


class Tasks:
    """Nothing is looked for by itself."""

    def spawn(self, name: str, work: Any) -> None:
        work.close()


class Life:
    """One daemon on a disk, until it is killed."""

    def __init__(self, disk: Disks, now: float) -> None:
        self.now, self.disk = now, disk
        self.clock = Clock(lambda: self.now, lambda: self.now)
        self.clock.offset = 0.0
        restored = Restored(
            subjects=dict(disk.subjects),
            incidents=[i for i in disk.incidents.values() if i.resolved_at is None],
            last_incident=max(disk.incidents, default=0),
        )
        self.alarms = Alarms(
            build({"TwilioAlert": RuleSettings()}),
            (),
            GroupSettings(),
            notifiers=["oncall"],
            now=now,
            restored=restored,
        )
        self.flow = Flow(
            self.alarms,
            disk,  # type: ignore[arg-type]
            EventEmitter(),
            self.clock.now,
            asked=lambda subject: None,
            wake=lambda: None,
            committed=lambda error: None,
        )
        self.twilio = Twilio(
            self.clock,
            self.flow,
            self.alarms,
            disk,  # type: ignore[arg-type]
            Tasks(),  # type: ignore[arg-type]
            registrars=dict,
        )
        self.twilio.start(GIVEN)
        self.alarms.unwatch_missing("twilio:", now)

    def take(self, alerts: Sequence[Alert]) -> None:
        self.twilio._take(alerts)

    def open(self) -> dict[str, float]:
        """Since when what is open."""
        return {i.subject.name: i.since for i in self.alarms.incidents}


async def test_what_was_handled_is_stored_with_what_has_come_of_it() -> None:
    disk = Disks()
    life = Life(disk, NOW)
    life.take([Alert("NO1", 32010, "error", NOW - 5)])
    (transaction,) = [
        writes
        for writes, _ in disk.queued
        if any(isinstance(row, IncidentRow) for row in writes)
    ]
    assert any(isinstance(r, Memo) and r.name == MEMO + ACCOUNT for r in transaction)
    assert life.open() == {"32010/": NOW - 5}


async def test_a_kill_before_the_disk_has_it_takes_it_again_and_after_it_not() -> None:
    disk, alert = Disks(), Alert("NO1", 32010, "error", NOW - 5)
    Life(disk, NOW).take([alert])
    disk.queued.clear()  # killed
    life = Life(disk, NOW + 10)
    assert life.open() == {}
    life.take([alert])
    disk.spin()
    life = Life(disk, NOW + 20)
    assert life.open() == {"32010/": NOW - 5}
    life.take([alert])
    assert life.twilio.alerts == {}
    assert [i.id for i in life.alarms.incidents] == [1]


async def test_what_is_over_is_told_so_and_watched_no_more() -> None:
    disk = Disks()
    life = Life(disk, NOW)
    life.take([Alert("NO1", 32010, "error", NOW)])
    life.now += 3601
    await life.twilio.tick()
    assert life.open() == {}
    await life.twilio.tick()
    await turns(3)
    disk.spin()
    assert disk.subjects == {}
    assert disk.incidents[1].closed == ""
    assert disk.incidents[1].resolved_at == NOW + 3601


async def test_without_the_section_all_of_it_is_closed() -> None:
    disk = Disks()
    life = Life(disk, NOW)
    life.take([Alert("NO1", 32010, "error", NOW)])
    life.twilio.replace(None, NOW + 1)
    assert life.open() == {}
    assert life.twilio.status() is None
    life.take([Alert("NO2", 32010, "error", NOW)])
    assert life.open() == {}


async def test_what_others_look_for_is_what_twilio_said_of_the_user() -> None:
    life = Life(Disks(), NOW)
    life.take([Alert("NO1", 32009, "warning", NOW, WHO)])
    assert life.twilio.codes("204@hq.example.com") == (32009,)
    assert life.twilio.recent("204") == (
        Fact(NOW, f"Twilio 32009: {words_of(32009).words}"),
    )
    assert life.twilio.codes("205") == ()


CODES = st.sampled_from([32010, 32202, 32011])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["look", "again", "kill", "spin"]),
            st.lists(CODES, max_size=4),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_each_alert_counts_once_whatever_is_killed_when(
    steps: list[tuple[str, list[int]]],
) -> None:
    import asyncio

    asyncio.run(_lives(steps))


async def _lives(steps: list[tuple[str, list[int]]]) -> None:
    disk, number, now = Disks(), count(), NOW
    life = Life(disk, now)
    every: list[Alert] = []
    for what, codes in steps:
        now += 7.0
        life.now = now
        fresh = [Alert(f"NO{next(number)}", code, "error", now) for code in codes]
        every += fresh
        if what == "kill":  # the next look begins where the last one ended
            life.take(fresh)
            disk.queued.clear()
            life = Life(disk, now)
        elif what == "spin":
            disk.spin()
        life.take(every if what in ("again", "kill") else fresh)
    life.take(every)
    disk.spin()
    last = Life(disk, now)
    last.take(every)
    assert last.twilio.alerts == {}  # all are known
    first = {f"{a.code}/": a.at for a in reversed(every)}
    assert last.open() == first
    assert len(disk.incidents) == len(first)


# --- evidence for the incident of a phone ---------------------------------------------


async def test_what_a_witness_says_is_added_once_to_the_open_incident() -> None:
    life = Life(Disks(), NOW)
    life.alarms.rules = build({"ExtensionUnregistered": RuleSettings(for_=0.0)})
    life.alarms.replace(life.alarms.rules, (), GroupSettings(), ["oncall"], NOW)
    phone = Subject(Kind.EXTENSION, "204", Scope("hq"))
    assert life.alarms.attest(phone, LATER, NOW) is None
    gone = Observation(phone, State.UNREGISTERED, NOW, NOW, evidence=(SINCE,))
    life.alarms.observe(gone)
    (incident,) = life.alarms.incidents
    assert life.alarms.attest(phone, LATER, NOW + 60) is incident
    assert incident.evidence == (SINCE, LATER)
    again = Fact(NOW + 70, "Twilio 32009 for 204, 4 times")
    life.alarms.attest(phone, again, NOW + 70)
    assert incident.evidence == (SINCE, again)
    assert life.alarms.hears(phone) == ["oncall"]
