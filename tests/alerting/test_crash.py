"""A crash is what the core had decided and nobody wrote; it may come at any point.

The outage runs against a real SQLite file and is stopped before and after every
commit, and between a notifier's acceptance and the knowledge of it. What is restored
goes on: told at least once, at most one double and that under the same id, never early.
"""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from alerting.incident import Batch, Outcome, Told
from alerting.routes import GroupSettings
from alerting.store.database import Store
from alerting.store.rows import Write
from checks.observation import Event, Figures, Loss, Observation, State, Subject

from .timeline import Mail, Site

UNREGISTERED, REGISTERED, UNREACHABLE = (
    State.UNREGISTERED,
    State.REGISTERED,
    State.UNREACHABLE,
)
GONE, BACK, END = 100.0, 900.0, 2400.0
GROUPS = GroupSettings(wait=10.0, interval=60.0, repeat={})
FOR, KEEP = 120.0, 60.0


class PowerCutError(Exception):
    """The power is cut."""


class Machine:
    """Runs the script of an outage, dies at the given points, and is started again."""

    def __init__(self, path: Path, crashes: tuple[int, ...]) -> None:
        self.path = path
        self.crashes = crashes
        self.points = count()
        self.accepted: list[Mail] = []
        self.ids = count(1)
        self.now = 0.0
        self.passed = 0

    def point(self) -> None:
        """A moment at which the machine may die."""
        self.passed = next(self.points)
        if self.passed in self.crashes:
            raise PowerCutError

    def start(self) -> tuple[Store, Site, list[Subject]]:
        store = Store.open(self.path)
        site = Site(
            group=GROUPS,
            now=self.now,
            restored=store.load(),
            on_write=lambda writes: self.commit(store, writes),
            answers=self.answer,
            ids=lambda: f"batch-{next(self.ids)}",
        )
        site.send = lambda name, batch: self.send(site, name, batch)  # type: ignore[method-assign]
        return store, site, [site.extension("1001"), site.extension("1002")]

    def commit(self, store: Store, writes: list[Write]) -> None:
        self.point()
        done = threading.Event()
        store.write(writes, lambda error: done.set())
        assert done.wait(10)
        self.point()

    def answer(self, name: str, now: float) -> Outcome:
        return Outcome.ACCEPTED

    def send(self, site: Site, name: str, batch: Batch) -> None:
        outcome = self.answer(name, site.now)
        self.point()  # the id is committed, nothing is sent
        if outcome is Outcome.ACCEPTED:
            self.accepted.append(Mail.of(batch, site.now))
        self.point()  # accepted, and nobody knows
        site.alarms.settle(batch, outcome, site.now)

    def run(self, states) -> None:
        """Live through the whole story, however often the machine dies."""
        while True:
            store, site, phones = self.start()
            try:
                self.live(site, phones, states)
                return
            except PowerCutError:
                self.now = site.now + 1.0  # systemd starts it again
            finally:
                store.close()

    def live(self, site: Site, phones: list[Subject], states) -> None:
        site.alarms.adopt(site.hq)
        for phone, story in zip(phones, states, strict=True):
            state = [s for at, s in story if at <= site.now][-1]
            stored = site.alarms.adopt(phone)
            if stored is None or stored.state is not state:  # the judge tells changes
                site.at(site.now, phone, state, since=site.now if self.now else 2.0)
        site.readable(max(self.now, 1.0))
        for at, phone, state in sorted(
            (at, i, state)
            for i, story in enumerate(states)
            for at, state in story
            if at > site.now
        ):
            site.at(at, phones[phone], state)
        site.until(END)


OUTAGE = [(0.0, REGISTERED), (GONE, UNREGISTERED), (BACK, REGISTERED)]
WORSE = [
    (0.0, REGISTERED),
    (GONE + 3, UNREACHABLE),
    (GONE + 300, UNREGISTERED),
    (BACK + 20, REGISTERED),
]
STORY = (OUTAGE, WORSE)


def said(mails: list[Mail], phone: str) -> list[tuple[Told, str]]:
    """What one phone's owner read, in order, doubles of one id taken as one."""
    found: list[tuple[Told, str]] = []
    for mail in mails:
        names = [d.incident.subject.name for d in mail.batch.deliveries]
        entry = (mail.batch.change, mail.batch.id)
        if phone in names and entry not in found:
            found.append(entry)
    return found


def check(machine: Machine, crashes: int) -> None:
    doubles = Counter(mail.batch.id for mail in machine.accepted)
    assert sum(n - 1 for n in doubles.values()) <= crashes
    one = [change for change, _ in said(machine.accepted, "1001")]
    two = [change for change, _ in said(machine.accepted, "1002")]
    assert one == [Told.FIRING, Told.RESOLVED]
    # The worse may be told by the first mail, where that is late.
    assert [c for c in two if c is not Told.WORSE] == [Told.FIRING, Told.RESOLVED]
    firing = next(m for m in machine.accepted if m.batch.change is Told.FIRING)
    assert firing.at >= GONE + FOR + GROUPS.wait
    resolved = next(m for m in machine.accepted if m.batch.change is Told.RESOLVED)
    assert resolved.at >= BACK + KEEP
    threads = {m.batch.thread for m in machine.accepted}
    assert threads <= set(doubles)


def story(path: Path, *crashes: int) -> Machine:
    machine = Machine(path / "sipwatch.db", crashes)
    machine.run(STORY)
    return machine


def points(path: Path) -> int:
    machine = story(path)
    check(machine, 0)
    return machine.passed + 1


def test_an_outage_survives_a_crash_at_every_point(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    total = points(tmp_path / "whole")
    assert total > 20
    for at in range(total):
        path = tmp_path / str(at)
        path.mkdir()
        check(story(path, at), 1)


def test_an_outage_survives_several_crashes(tmp_path: Path) -> None:
    for at in range(0, 28, 3):
        path = tmp_path / str(at)
        path.mkdir()
        crashes = (at, at + 4, at + 9)
        check(story(path, *crashes), len(crashes))


def test_a_crash_between_accept_and_mark_sends_the_same_id_once_more(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    seen = []

    def point() -> None:
        if machine.accepted and not seen:
            seen.append(True)
            raise PowerCutError

    machine.point = point  # type: ignore[method-assign]
    machine.run(STORY)
    ids = [mail.batch.id for mail in machine.accepted]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ids) - 1
    assert machine.accepted[0].text == machine.accepted[1].text


def test_a_firing_in_doubt_whose_end_came_meanwhile_is_sent_again_first(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())

    def point() -> None:
        if machine.accepted and machine.now == 0.0:
            machine.now = 1500.0  # the machine is off for long
            raise PowerCutError

    machine.point = point  # type: ignore[method-assign]
    with Store.open(machine.path) as store:
        store.close()
    store, site, phones = machine.start()
    with pytest.raises(PowerCutError):
        machine.live(site, phones, STORY)
    store.close()
    machine.run(STORY)
    changes = [mail.batch.change for mail in machine.accepted]
    assert changes[:2] == [Told.FIRING, Told.FIRING]
    assert machine.accepted[0].batch.id == machine.accepted[1].batch.id
    assert Told.RESOLVED in changes[2:]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("stop", [100.5, 150.0, 229.0])
def test_a_restart_does_not_restart_the_two_minutes(
    tmp_path: Path, stop: float, told: bool
) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(2, phones[0], REGISTERED)
    site.at(GONE, phones[0], UNREGISTERED, detail="its registration expired")
    site.until(stop)
    store.close()
    machine.now = stop + 0.5
    store, site, phones = machine.start()
    row = site.alarms.adopt(phones[0])
    assert row is not None
    assert (row.state, row.since) == (UNREGISTERED, GONE)
    if told:
        site.at(machine.now, phones[0], UNREGISTERED, since=machine.now)
    site.readable(machine.now)
    site.until(400)
    store.close()
    assert [i.since for i in site.alarms.incidents] == [GONE]
    (mail,) = machine.accepted
    assert GONE + FOR + 10 <= mail.at <= GONE + FOR + 10 + 1


def test_a_target_that_is_down_stays_told_through_a_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, _ = machine.start()
    trunk = site.target("twilio")
    for n in range(8):
        site.failing(10 + 15 * n, trunk, since=10, failures=n + 1)
    site.until(200)
    store.close()
    machine.now = 210.0
    store, site, _ = machine.start()
    trunk = site.target("twilio")
    for n in range(5):  # it counts from one again
        site.failing(220 + 15 * n, trunk, since=220, failures=n + 1)
    site.until(400)
    assert [m.text for m in machine.accepted] == ["firing twilio OptionsFailing"]
    site.up(400, trunk, since=400, successes=1)
    site.up(415, trunk, since=400, successes=2)
    site.until(600)
    store.close()
    assert [m.text for m in machine.accepted[1:]] == ["resolved twilio OptionsFailing"]
    resolved = machine.accepted[1].batch
    assert resolved.thread == machine.accepted[0].batch.id
    assert resolved.deliveries[0].incident.since == 10


def test_what_was_removed_from_the_configuration_is_closed_after_a_restart(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(GONE, phones[0], UNREGISTERED)
    site.until(400)
    store.close()
    machine.now = 500.0
    store, site, _ = machine.start()
    site.readable(500)
    site.until(600)
    assert len(site.alarms.incidents) == 1  # not judged before it is known to be gone
    site.alarms.unwatch_missing("extension:hq/", 600)
    site.until(700)
    assert site.alarms.incidents == []
    assert [m.text.split()[0] for m in machine.accepted] == ["firing", "resolved"]
    assert (
        machine.accepted[1].batch.deliveries[0].incident.closed == "no longer watched"
    )
    left = store.load()
    store.close()
    assert "extension:hq/1001" not in left.subjects


def test_the_two_minutes_of_a_blind_time_survive_a_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(95, phones[0], UNREGISTERED)
    site.unreadable(100)
    site.readable(700)
    site.until(750)
    store.close()
    machine.now = 751.0
    store, site, phones = machine.start()
    site.readable(751)
    site.at(752, phones[0], UNREGISTERED)
    site.until(1000)
    store.close()
    told = [m for m in machine.accepted if "1001" in m.text]
    assert [m.at for m in told] == [700 + FOR + GROUPS.wait]


def test_an_event_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, _ = machine.start()
    site.readable(1)
    figures = Figures(present=40, expected=40)
    o = Observation(site.hq, State.READABLE, 1, 50, figures=figures)
    o.event = Event.RESTARTED
    site.until(50)
    site.alarms.observe(o)
    site.until(200)
    store.close()
    machine.now = 300.0
    store, site, _ = machine.start()
    site.readable(300)
    site.until(5000)
    store.close()
    assert [m.text for m in machine.accepted] == ["firing hq RegistrarRestarted"]
    assert site.alarms.incidents == []


def test_a_firing_in_doubt_goes_again_before_its_end_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(GONE, phones[0], UNREGISTERED)
    site.send = lambda name, batch: (_ for _ in ()).throw(PowerCutError)  # type: ignore[method-assign]
    with pytest.raises(PowerCutError):
        site.until(400)
    in_doubt = site.alarms.due("oncall", 400)
    store.close()
    machine.now = 1500.0
    store, site, phones = machine.start()
    site.alarms.observe(Observation(phones[0], REGISTERED, BACK, 1500))
    assert site.alarms.incidents == []
    site.until(1700)
    store.close()
    assert in_doubt is not None
    changes = [(m.batch.change, m.batch.late) for m in machine.accepted]
    assert changes == [(Told.FIRING, False), (Told.RESOLVED, False)]
    assert machine.accepted[0].batch.id == in_doubt.id


def test_a_recurrence_after_a_restart_is_the_same_incident(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(GONE, phones[0], UNREGISTERED)
    site.at(400, phones[0], REGISTERED)
    site.until(600)
    store.close()
    machine.now = 610.0
    store, site, phones = machine.start()
    site.readable(610)
    site.at(610, phones[0], REGISTERED, since=400)
    site.at(700, phones[0], UNREGISTERED)
    site.until(1000)
    store.close()
    assert [i.id for i in site.alarms.incidents] == [1]
    firing, _, again = machine.accepted
    assert again.batch.thread == firing.batch.id


def test_a_grace_after_a_restart_of_the_pbx_survives_our_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(GONE, phones[0], UNREGISTERED, not_before=400, loss=Loss.UNKNOWN)
    site.until(150)
    store.close()
    machine.now = 160.0
    store, site, phones = machine.start()
    site.alarms.adopt(site.hq)
    site.alarms.adopt(phones[0])
    site.readable(160)
    site.until(600)
    store.close()
    assert [m.at for m in machine.accepted] == [400 + FOR + GROUPS.wait]


def test_a_phone_that_came_back_while_we_were_away_is_never_told(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path / "sipwatch.db", ())
    store, site, phones = machine.start()
    site.readable(1)
    site.at(GONE, phones[0], UNREGISTERED)
    site.until(150)
    store.close()
    machine.now = 5000.0
    store, site, phones = machine.start()
    site.alarms.adopt(site.hq)
    site.alarms.adopt(phones[0])
    site.until(5030)  # hq is asked, and not connected yet
    assert site.suppressed == ["1001: hq was asked and not seen well since"]
    site.at(5030, phones[0], REGISTERED)
    site.readable(5030)
    site.until(6000)
    store.close()
    assert machine.accepted == []
