"""Whatever happens in whatever order: what was told as firing is told as resolved."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerting.announcement import Opened
from alerting.incident import Outcome, Told
from alerting.routes import GroupSettings, repeats
from alerting.store.rows import (
    DeliveryRow,
    DropDelivery,
    DropSubject,
    IncidentRow,
    Restored,
    SubjectRow,
    Write,
)
from alerting.store.statements import Key, key_of
from checks.observation import Kind, State, Subject

from .timeline import Mail, Site

PHONES = ("1001", "1002", "1003")
STATES = (State.REGISTERED, State.UNREACHABLE, State.UNREGISTERED)
FOR = 120.0
GROUPS = GroupSettings(wait=10.0, interval=120.0, repeat=repeats({"warning": "20m"}))


class Disk:
    """What a store keeps, without the file."""

    def __init__(self) -> None:
        self.rows: dict[Key, Write] = {}

    def write(self, writes: list[Write]) -> None:
        for write in writes:
            if isinstance(write, DropSubject | DropDelivery):
                self.rows.pop(key_of(write), None)
            else:
                self.rows[key_of(write)] = write

    def load(self) -> Restored:
        rows = self.rows.values()
        subjects = [r for r in rows if isinstance(r, SubjectRow)]
        return Restored(
            subjects={row.key: row for row in subjects},
            incidents=[r for r in rows if isinstance(r, IncidentRow)],
            deliveries=[r for r in rows if isinstance(r, DeliveryRow)],
        )


class Alerting(RuleBasedStateMachine):
    """Phones come and go, the registrar is lost, mail fails, the power is cut."""

    @initialize()
    def begin(self) -> None:
        self.ids = count(1)
        self.disk = Disk()
        self.outcome = Outcome.ACCEPTED
        self.readable = True
        self.states = dict.fromkeys(PHONES, State.REGISTERED)
        self.mails: list[Mail] = []
        self.doubtful = 0  # crashes between acceptance and the mark
        self.start(1.0)

    def start(self, now: float) -> None:
        self.site = Site(
            group=GROUPS,
            now=now,
            restored=self.disk.load(),
            on_write=self.disk.write,
            answers=lambda name, at: self.outcome,
            ids=lambda: f"batch-{next(self.ids)}",
        )
        self.site.mails["oncall"] = self.mails
        self.phones = {name: self.site.extension(name) for name in PHONES}
        self.site.alarms.adopt(self.site.hq)
        if self.readable:
            self.see_all(now)
            self.site.readable(now)
        else:
            self.site.unreadable(now)

    def see_all(self, now: float) -> None:
        """A full read; the judge goes on from what is stored and tells changes."""
        for name, state in self.states.items():
            known = self.site.alarms.adopt(self.phones[name])
            if known is None or known.state is not state:
                self.site.at(now, self.phones[name], state)

    @rule(name=st.sampled_from(PHONES), state=st.sampled_from(STATES))
    def phone_is(self, name: str, state: State) -> None:
        if self.states[name] is state:
            return
        self.states[name] = state
        if self.readable:
            self.site.at(self.site.now + 1, self.phones[name], state)

    @rule()
    def lose_the_registrar(self) -> None:
        if self.readable:
            self.readable = False
            self.site.unreadable(self.site.now + 1)

    @rule()
    def read_the_registrar(self) -> None:
        if not self.readable:
            self.readable = True
            now = self.site.now + 1
            self.see_all(now)
            self.site.readable(now)

    @rule(outcome=st.sampled_from(Outcome))
    def mail_is(self, outcome: Outcome) -> None:
        self.outcome = outcome

    @rule(seconds=st.sampled_from((1, 15, 61, 130, 700, 4000)))
    def time_passes(self, seconds: int) -> None:
        self.site.until(self.site.now + seconds)
        if not self.readable:  # nothing new is known of any phone
            opened = self.site.of(Opened)
            assert all(a.incident.subject.kind is not Kind.EXTENSION for a in opened)

    @rule()
    def acknowledge(self) -> None:
        for incident in self.site.alarms.incidents:
            self.site.alarms.acknowledge(incident.id, "sam", self.site.now)

    @rule(seconds=st.sampled_from((1, 300, 5000)))
    def cut_the_power(self, seconds: int) -> None:
        self.start(self.site.now + seconds)

    @rule(seconds=st.sampled_from((1, 300, 5000)))
    def cut_the_power_after_acceptance(self, seconds: int) -> None:
        alarms = self.site.alarms
        batch = alarms.due("oncall", self.site.now)
        if batch is None:
            return
        self.site.flush()
        self.mails.append(Mail.of(batch, self.site.now))
        self.doubtful += 1
        self.start(self.site.now + seconds)

    @rule(name=st.sampled_from(PHONES))
    def stop_watching(self, name: str) -> None:
        now = self.site.now + 1
        self.site.alarms.unwatch(self.phones[name], now)
        self.site.until(now)
        self.states[name] = State.REGISTERED
        self.phones[name] = self.site.extension(name)
        if self.readable:
            self.site.at(now, self.phones[name], State.REGISTERED)

    @invariant()
    def no_phone_alarm_is_early(self) -> None:
        if not hasattr(self, "site"):
            return
        for a in self.site.of(Opened):
            incident = a.incident
            if incident.family == "liveness" and not a.again:
                assert a.at >= incident.since + FOR - 1e-6
        self.site.announced.clear()

    @invariant()
    def at_most_one_incident_is_open_for_each_subject(self) -> None:
        if not hasattr(self, "site"):
            return
        keys = [(i.subject.key, i.family) for i in self.site.alarms.incidents]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        self.outcome = Outcome.ACCEPTED
        self.read_the_registrar()
        now = self.site.now + 1
        for name in PHONES:
            self.states[name] = State.REGISTERED
        self.site.until(now)
        self.see_all(now)
        self.site.until(now + 20_000)
        assert self.site.alarms.incidents == []
        assert self.site.alarms.owed() == []
        self.check_the_mails()

    def check_the_mails(self) -> None:
        sent: dict[str, int] = defaultdict(int)
        told: dict[int, list[Told]] = defaultdict(list)
        for mail in self.mails:
            sent[mail.batch.id] += 1
            if sent[mail.batch.id] > 1:
                continue
            for delivery in mail.batch.deliveries:
                story = told[delivery.incident.id]
                if delivery.step == 0:
                    check_next(story, mail)
                    story.append(mail.batch.change)
                else:
                    assert story
                    assert story[-1] is not Told.RESOLVED
        assert sum(n - 1 for n in sent.values()) <= self.doubtful
        assert all(story[-1] is Told.RESOLVED for story in told.values())


def check_next(story: list[Told], mail: Mail) -> None:
    """One incident's news in their only possible order."""
    before = story[-1] if story else Told.RESOLVED
    if mail.batch.late or mail.batch.change is Told.FIRING:
        assert before is Told.RESOLVED
    else:
        assert before is not Told.RESOLVED


Alerting.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAlerting = Alerting.TestCase


def test_a_disk_gives_back_what_was_written() -> None:
    disk = Disk()
    disk.write([SubjectRow("a", State.UP, 1.0), SubjectRow("a", State.DOWN, 2.0)])
    assert disk.load().subjects == {"a": SubjectRow("a", State.DOWN, 2.0)}
    disk.write([DropSubject("a")])
    assert disk.load() == Restored()


def test_subjects_of_a_stand_in_have_the_key_of_the_watched() -> None:
    site = Site()
    phone = site.extension("1001")
    assert isinstance(phone, Subject)
    assert phone.key == "extension:hq/1001"
