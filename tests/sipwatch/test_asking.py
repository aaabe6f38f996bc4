"""What a judge wants asked reaches the sweep in slices, and answers reach the judge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from checks.observation import Binding, Kind, Observation, Scope, State, Subject
from checks.options.heard import Hear
from checks.options.targets import ProbeSettings
from checks.registrations.judge import Bindings, Judge, ListEnd, RegistrarSettings
from checks.registrations.readings import Ask, ProbeKeys
from sipwatch import asking
from sipwatch.asking import Asking, probe_settings

NOW = 1000.0


class Sweep:
    """Takes what is to be asked."""

    heard_at = 0.0

    def __init__(self) -> None:
        self.updates: list[Mapping[str, Ask | None]] = []
        self.closed = False
        self.hear: Hear
        self.settings: ProbeSettings
        self.name = ""

    def inquire(self, name: str, settings: ProbeSettings, hear: Hear) -> Any:
        self.name, self.settings, self.hear = name, settings, hear
        return self

    def update(self, changes: Mapping[str, Ask | None]) -> None:
        self.updates.append(changes)

    def rtt(self, name: str) -> float | None:
        return 0.5

    def close(self) -> None:
        self.closed = True


class Site:
    """A judge of so many phones, and who asks for it."""

    def __init__(self, phones: int, **keys: Any) -> None:
        settings = RegistrarSettings(
            type="test", address="pbx", probe_contacts=True, **keys
        )
        subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
        self.judge = Judge("hq", settings, subject, NOW)
        self.sweep, self.told = Sweep(), list[Observation]()
        self.asking = Asking(
            self.judge, self.sweep.inquire, lambda: NOW, self.told.extend
        )
        self.list(range(phones))

    def list(self, phones: Iterable[int]) -> None:
        rows = [
            Binding(
                f"{n}",
                f"sip:{n}@10.0.0.1:{1000 + n}",
                NOW + 3600,
                received=f"10.0.0.1:{1000 + n}",
            )
            for n in phones
        ]
        self.judge.apply("pbx", Bindings(rows), NOW)
        self.judge.apply("pbx", ListEnd(NOW), NOW)


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(asking, "PROMPT", 0.0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_changes_are_passed_on_together_and_soon() -> None:
    site = Site(3)
    site.asking.stir()
    site.asking.stir()
    assert site.sweep.updates == []
    await turns(3)
    (update,) = site.sweep.updates
    assert len(update) == 3
    site.asking.stir()
    await turns(3)
    assert len(site.sweep.updates) == 1


async def test_many_are_passed_on_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST", 100)
    site = Site(250)
    site.asking.stir()
    await turns(10)
    assert [len(update) for update in site.sweep.updates] == [100, 100, 50]


async def test_after_the_end_nothing_is_passed_on() -> None:
    site = Site(3)
    site.asking.stir()
    site.asking.close()
    await turns(3)
    assert site.sweep.updates == []
    assert site.sweep.closed


async def test_answers_reach_the_judge_and_what_it_says_goes_on() -> None:
    site = Site(1)
    name = "contact/0/sip:0@10.0.0.1:1000"
    site.sweep.hear(name, True, None, 0.02, NOW)
    assert site.judge.extensions["0"].reachable is True
    assert site.told == []
    site.sweep.hear(name, False, None, None, NOW)
    site.sweep.hear(name, False, None, None, NOW)
    assert [o.state for o in site.told] == [State.UNREACHABLE]


async def test_a_registrar_says_how_it_is_asked() -> None:
    site = Site(0, probe=ProbeKeys(interval=20.0, from_="sip:w@example.com"))
    assert site.sweep.name == "hq"
    assert site.sweep.settings == ProbeSettings(
        interval=20.0, from_="sip:w@example.com"
    )


def test_how_contacts_are_asked_is_how_targets_are() -> None:
    assert probe_settings(ProbeKeys()) == ProbeSettings()
    with pytest.raises(ValueError, match="is not an IP address"):
        probe_settings(ProbeKeys(source="here"))
