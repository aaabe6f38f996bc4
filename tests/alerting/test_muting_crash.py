"""The power is cut at every point of a day with silences, a ladder and people.

Before and after every commit, and between a notifier's acceptance and the knowledge of
it. Who acknowledges or silences does it again if they were not answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from alerting.incident import Batch, Told
from alerting.routes import GroupSettings
from alerting.rules.rule import RuleSettings
from alerting.store.database import Store
from checks.observation import State, Subject

from .calm import Calm, moment, route
from .test_crash import Machine, PowerCutError

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
BEGIN = moment("2026-03-02 00:00")
PEOPLE = ("anna", "ben", "carol")
LADDER = (route("anna", escalate=[(300.0, "ben"), (900.0, "carol")]),)
SILENT_UNTIL = 1500.0
# What happens, in s from the beginning.
PHONES = {
    "1001": ((100.0, UNREGISTERED), (1200.0, REGISTERED)),
    "1002": ((400.0, UNREGISTERED), (2000.0, REGISTERED)),
    "1003": ((150.0, UNREGISTERED), (700.0, REGISTERED)),
}
SILENCED, TAKEN, END = 50.0, 800.0, 2600.0


class Site(Machine):
    """Lives through the day, however often it dies."""

    def __init__(self, path: Path, crashes: tuple[int, ...]) -> None:
        super().__init__(path, crashes)
        self.now = BEGIN
        self.acted: set[str] = set()  # by whom an answer was had

    def open(self, store: Store) -> Calm:
        return Paper(
            machine=self,
            rules={"MassUnregistration": RuleSettings(enabled=False)},
            routes=LADDER,
            notifiers=PEOPLE,
            group=GroupSettings(wait=10.0, interval=60.0, repeat={}),
            now=self.now,
            restored=store.load(),
            on_write=lambda writes: self.commit(store, writes),
            answers=self.answer,
            ids=lambda: f"batch-{next(self.ids)}",
        )

    def live_through(self) -> None:
        while True:
            site = None
            with Store.open(self.path) as store:
                try:
                    site = self.open(store)
                    self.day(site)
                    return
                except PowerCutError:
                    self.now = (site.now if site else self.now) + 1.0

    def day(self, site: Calm) -> None:
        phones = {name: site.extension(name) for name in PHONES}
        site.alarms.adopt(site.hq)
        for name, phone in phones.items():
            self.see(site, phone, PHONES[name])
        later = [
            *((at, f"{name} {state}") for name in PHONES for at, state in PHONES[name]),
            (SILENCED, "silence"),
            (TAKEN, "take"),
        ]
        begun = site.now
        for at, what in sorted(later):
            if what in ("silence", "take"):
                site.until(max(site.now, BEGIN + at))
                self.act(site, what)
            elif BEGIN + at > begun:
                name, state = what.split()
                site.at(BEGIN + at, phones[name], State(state))
        site.until(BEGIN + END)

    def see(
        self, site: Calm, phone: Subject, story: tuple[tuple[float, State], ...]
    ) -> None:
        """The judge goes on from what is stored, and tells what is new."""
        past = [(at, state) for at, state in story if BEGIN + at <= site.now]
        since, state = past[-1] if past else (-1000.0, REGISTERED)
        stored = site.alarms.adopt(phone)
        if stored is None or stored.state is not state:
            site.at(site.now, phone, state, since=BEGIN + since)

    def act(self, site: Calm, what: str) -> None:
        """Somebody asks, and asks again until there is an answer."""
        if what in self.acted:
            return
        if what == "silence":
            site.alarms.silences.add(
                ["extension=~100[23]"], author="Anna", reason="work",
                starts=None, ends=BEGIN + SILENT_UNTIL, now=site.now,
            )  # fmt: skip
        for incident in site.alarms.incidents if what == "take" else ():
            if incident.subject.name == "1001":
                site.alarms.acknowledge(incident.id, "Sam", site.now)
        site.flush()
        self.acted.add(what)


@dataclass
class Paper(Calm):
    """Sends by way of a machine that may die of it."""

    machine: Site | None = None

    def send(self, name: str, batch: Batch) -> None:
        assert self.machine is not None
        self.machine.send(self, name, batch)


def heard(machine: Site, notifier: str, phone: str) -> list[tuple[Told, float]]:
    """What one person read of one phone, doubles of one id taken as one."""
    found: dict[str, tuple[Told, float]] = {}
    for mail in machine.accepted:
        names = [d.incident.subject.name for d in mail.batch.deliveries]
        if mail.batch.notifier == notifier and phone in names:
            found.setdefault(mail.batch.id, (mail.batch.change, mail.at - BEGIN))
    return list(found.values())


def words(story: list[tuple[Told, float]]) -> list[Told]:
    return [change for change, _ in story]


def check(machine: Site, crashes: int) -> None:
    both = [Told.FIRING, Told.RESOLVED]
    doubles = Counter(mail.batch.id for mail in machine.accepted)
    assert sum(n - 1 for n in doubles.values()) <= crashes
    assert words(heard(machine, "anna", "1001")) == both
    told = heard(machine, "ben", "1001")
    assert words(told) == both
    assert told[0][1] >= 220 + 300  # from when it opened, never early
    assert heard(machine, "carol", "1001") == []  # for Sam has taken it
    # Silenced, and told when that ended; the ladder began then.
    told = heard(machine, "anna", "1002")
    assert words(told) == both
    assert SILENT_UNTIL <= told[0][1] < SILENT_UNTIL + 60
    told = heard(machine, "ben", "1002")
    assert words(told) == both
    assert told[0][1] >= SILENT_UNTIL + 300
    assert heard(machine, "carol", "1002") == []
    for name in PEOPLE:  # came and went in silence
        assert heard(machine, name, "1003") == []


def lived(path: Path, *crashes: int) -> Site:
    path.mkdir()
    machine = Site(path / "sipwatch.db", crashes)
    machine.live_through()
    return machine


def test_a_day_without_a_crash(tmp_path: Path) -> None:
    machine = lived(tmp_path / "whole")
    check(machine, 0)
    assert [(m.batch.notifier, m.text, m.at - BEGIN) for m in machine.accepted] == [
        ("anna", "firing 1001 ExtensionUnregistered", 230),
        ("ben", "firing 1001 ExtensionUnregistered", 530),
        ("anna", "resolved 1001 ExtensionUnregistered", 1270),
        ("ben", "resolved 1001 ExtensionUnregistered", 1270),
        ("anna", "firing 1002 ExtensionUnregistered", 1500),
        ("ben", "firing 1002 ExtensionUnregistered", 1810),
        ("anna", "resolved 1002 ExtensionUnregistered", 2070),
        ("ben", "resolved 1002 ExtensionUnregistered", 2070),
    ]


def test_a_day_with_a_crash_at_every_point(tmp_path: Path) -> None:
    total = lived(tmp_path / "whole").passed + 1
    assert total > 40
    for at in range(total):
        check(lived(tmp_path / str(at), at), 1)


@pytest.mark.parametrize("first", [0, 7, 14, 21, 28, 35])
def test_a_day_with_several_crashes(tmp_path: Path, first: int) -> None:
    crashes = (first, first + 4, first + 9)
    check(lived(tmp_path / "day", *crashes), len(crashes))
