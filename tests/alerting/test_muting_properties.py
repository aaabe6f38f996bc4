"""Silences, hours, maintenance, acknowledgements, ladders and limits come and go in any
order, and so do phones, mails and the power: what was told as firing is told as over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from alerting.incident import Batch, Outcome, Told
from alerting.routes import GroupSettings, repeats
from alerting.rules.rule import RuleSettings
from alerting.store.rows import Write, shifted
from checks.observation import Kind, State

from .calm import DAY, HOUR, Calm, Memory, moment, route, schedule, window
from .test_alarms_properties import check_next
from .timeline import Mail

PHONES = ("1001", "1002", "2001", "2002")
STATES = (State.REGISTERED, State.UNREACHABLE, State.UNREGISTERED)
NOTIFIERS = ("anna", "ben", "team")
PER_HOUR = 4
ROUTES = (
    route("anna", outside="office", escalate=[(600.0, "ben"), (1800.0, "anna")]),
    route("team", during="office", per_hour=PER_HOUR, repeats=3),
)
GROUP = GroupSettings(
    by=("extension",), wait=10.0, interval=60.0, repeat=repeats({"warning": "40m"})
)


@dataclass
class Watched(Calm):
    """Looks at every mail at the moment at which it goes."""

    failed: bool = False  # some mail has

    def send(self, name: str, batch: Batch) -> None:
        climbed = name == "ben" and batch.change is Told.FIRING
        if climbed and not (batch.late or self.failed):
            # Who was on the way before is told in the same turn.
            assert not any(d.incident.acknowledged_by for d in batch.deliveries)
        super().send(name, batch)


class Calming(RuleBasedStateMachine):
    """A site whose people want to sleep."""

    @initialize()
    def begin(self) -> None:
        self.ids = count(1)
        self.disk = Memory()
        self.outcome = Outcome.ACCEPTED
        self.refused = 0.0  # s for which mails were
        self.doubtful = 0  # crashes between acceptance and the mark
        self.failed = self.clock_was_set = False
        self.states = dict.fromkeys(PHONES, State.REGISTERED)
        self.mails: dict[str, list[Mail]] = {name: [] for name in NOTIFIERS}
        self.start(moment("2026-03-27 16:00"))  # a Friday; clocks change on Sunday

    def start(self, now: float) -> None:
        self.ahead = 0.0  # a new process begins on the clock of the wall
        self.site = Watched(
            rules={"ExtensionUnregistered": RuleSettings(during="office")},
            routes=ROUTES,
            schedules={
                "office": schedule(
                    {"mon-fri": "08:30-18:00"}, exceptions={"03-31": "closed"}
                )
            },
            windows=[
                window("patches", hours={"sun": "01:30-03:30"}, match={"site": "lyon"})
            ],
            notifiers=NOTIFIERS,
            group=GROUP,
            now=now,
            restored=self.disk.load(),
            on_write=self.write,
            answers=lambda name, at: self.outcome,
            ids=lambda: f"batch-{next(self.ids)}",
            mails=self.mails,
            reads_every=6 * HOUR,
            failed=self.failed,
        )
        self.phones = {name: self.site.extension(name) for name in PHONES}
        self.site.alarms.adopt(self.site.hq)
        for name, state in self.states.items():
            known = self.site.alarms.adopt(self.phones[name])
            if known is None or known.state is not state:
                self.site.at(now, self.phones[name], state)

    def write(self, writes: list[Write]) -> None:
        self.disk.write([shifted(write, self.ahead) for write in writes])

    def refuse(self, seconds: float) -> None:
        """Mails are refused for so long; an end that is a day old is given up, and
        the time without power counts: so in all that is half a day."""
        self.refused += 0 if self.outcome is Outcome.ACCEPTED else seconds
        if self.refused > 12 * HOUR:
            self.outcome = Outcome.ACCEPTED

    @rule(name=st.sampled_from(PHONES), state=st.sampled_from(STATES))
    def phone_is(self, name: str, state: State) -> None:
        if self.states[name] is not state:
            self.states[name] = state
            self.site.at(self.site.now + 1, self.phones[name], state)

    @rule(seconds=st.sampled_from((1, 61, 130, 700, 4000, 30_000, 100_000)))
    def time_passes(self, seconds: int) -> None:
        self.refuse(seconds)
        self.site.until(self.site.now + seconds)

    @rule(
        what=st.sampled_from(("site=lyon", "extension=~1*", "severity!=critical")),
        lasts=st.sampled_from((100.0, 2 * HOUR, DAY)),
    )
    def silence(self, what: str, lasts: float) -> None:
        now = self.site.now
        self.site.alarms.silences.add(
            [what],
            author="Anna", reason="work",
            starts=None, ends=now + self.ahead + lasts, now=now,
        )  # fmt: skip
        self.site.until(now)

    @rule()
    def remove_the_silences(self) -> None:
        for id in list(self.site.muting.silences):
            self.site.alarms.silences.end(id, self.site.now)
        self.site.until(self.site.now)

    @rule()
    def acknowledge(self) -> None:
        for incident in self.site.alarms.incidents:
            self.site.alarms.acknowledge(incident.id, "sam", self.site.now)
        self.site.until(self.site.now)

    @rule(outcome=st.sampled_from((Outcome.ACCEPTED, Outcome.TRANSIENT)))
    def mail_is(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if outcome is not Outcome.ACCEPTED:
            self.failed = self.site.failed = True

    @rule(by=st.sampled_from((-HOUR, HOUR, 24 * HOUR, -100.0)))
    def the_clock_is_set(self, by: float) -> None:
        self.clock_was_set = True
        self.ahead += by
        self.site.set_clock(by)

    @rule(seconds=st.sampled_from((1, 300, 50_000)))
    def cut_the_power(self, seconds: int) -> None:
        self.refuse(seconds)
        self.start(self.site.now + self.ahead + seconds)

    @rule(name=st.sampled_from(NOTIFIERS), seconds=st.sampled_from((1, 5000)))
    def cut_the_power_after_acceptance(self, name: str, seconds: int) -> None:
        batch = self.site.alarms.due(name, self.site.now)
        if batch is None:
            return
        self.site.flush()
        self.mails[name].append(Mail.of(batch, self.site.now))
        self.doubtful += 1
        self.refuse(seconds)
        self.start(self.site.now + self.ahead + seconds)

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        self.outcome = Outcome.ACCEPTED
        now = self.site.now + 1
        for name in PHONES:
            self.states[name] = State.REGISTERED
            self.site.at(now, self.phones[name], State.REGISTERED)
        self.site.until(now + 4 * DAY)
        alarms = self.site.alarms
        # A notifier that has nothing more to tell is not known to be mended.
        owed = [row.incident for row in alarms.owed()]
        open_ = [*alarms.incidents, *owed]
        assert [i for i in open_ if i.subject.kind is not Kind.SELF] == []
        for name in NOTIFIERS:
            self.check(self.mails[name])
        if not (self.failed or self.clock_was_set):
            times = {mail.batch.id: mail.at for mail in reversed(self.mails["team"])}
            self.check_the_limit(list(times.values()))

    def check(self, mails: list[Mail]) -> None:
        """Each incident's news in their only possible order, and to their end."""
        told: dict[int, list[Told]] = defaultdict(list)
        sent: dict[str, int] = defaultdict(int)
        for mail in mails:
            sent[mail.batch.id] += 1
            if sent[mail.batch.id] > 1:
                continue
            for delivery in mail.batch.deliveries:
                story = told[delivery.incident.id]
                if delivery.step:
                    assert story[-1] is not Told.RESOLVED
                else:
                    check_next(story, mail)
                    story.append(mail.batch.change)
        assert sum(n - 1 for n in sent.values()) <= self.doubtful
        still = {i.id for i in self.site.alarms.incidents}
        over = [story for id, story in told.items() if id not in still]
        assert all(story[-1] is Told.RESOLVED for story in over)

    @staticmethod
    def check_the_limit(times: list[float]) -> None:
        for at in times:
            assert len([t for t in times if at <= t < at + HOUR]) <= PER_HOUR


Calming.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCalming = Calming.TestCase


class Late(Calm):
    """Its couriers start a little later than all else."""

    delivers = False

    def _next(self) -> float | None:
        if self.delivers:
            return super()._next()
        times = (self.alarms.next_deadline(), self.reads_at)
        return min((at for at in times if at is not None), default=None)

    def _settle(self) -> None:
        if self.delivers:
            super()._settle()
        else:
            self.flush()


def test_a_firing_in_doubt_is_told_as_over_though_that_is_silenced() -> None:
    disk = Memory()
    site = Late(on_write=disk.write, ids=lambda: "batch-1")
    site.at(site.now + 100, site.phone(), State.UNREGISTERED)
    site.until(site.now + 130)
    assert site.alarms.due("oncall", site.now) is not None
    now = site.now + 10
    site.alarms.silences.add(
        ["extension=1001"], author="Anna", reason="work",
        starts=None, ends=now + DAY, now=now,
    )  # fmt: skip
    site.flush()  # and the power is cut: nobody knows whether it was accepted
    ids = count(2)
    again = Late(now=now + 600, restored=disk.load(), ids=lambda: f"batch-{next(ids)}")
    again.at(again.now, again.extension("1001"), State.REGISTERED, since=now + 100)
    assert again.alarms.incidents == []
    again.delivers = True
    again.until(again.now + 60)
    assert [m.text.split()[0] for m in again.mails["oncall"]] == ["firing", "resolved"]
