"""A subject that comes back as another object under its key: a reload's change."""

from __future__ import annotations

import pytest

from alerting.incident import Told
from alerting.rules.rule import RuleSettings
from alerting.store.rows import DropSubject, SubjectRow
from checks.observation import Kind, Loss, Observation, Scope, State, Subject

from .timeline import Site

UNREGISTERED, REGISTERED = State.UNREGISTERED, State.REGISTERED
RULES = {"ExtensionUnregistered": RuleSettings(for_=120.0, keep_firing_for=0.0)}


@pytest.fixture
def site() -> Site:
    site = Site(rules=RULES)
    site.readable(1)
    return site


def other(site: Site) -> Subject:
    """The same registrar and phone as other objects."""
    labels = {"registrar": "hq"}
    site.hq = Subject(Kind.REGISTRAR, "hq", Scope("hq", labels=labels))
    site.phones = Scope("hq", labels=labels, parent=site.hq)
    return site.extension("1001")


def renewed(site: Site, phone: Subject) -> Subject:
    """As a reload does it: flush, release all, adopt the new ones."""
    site.flush()
    for subject in (site.hq, phone):
        site.alarms.release(subject)
    new = other(site)
    site.alarms.adopt(site.hq)
    site.alarms.adopt(new)
    site.alarms.unwatch_missing("extension:", site.now)
    site.alarms.unwatch_missing("registrar:", site.now)
    return new


def test_an_open_incident_goes_on_in_its_thread(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED, loss=Loss.EXPIRED, detail="it expired")
    site.until(300)
    (incident,) = site.alarms.incidents
    new = renewed(site, phone)
    assert site.alarms.incidents == [incident]
    assert incident.subject is new
    site.until(400)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]
    site.at(500, new, REGISTERED)
    site.until(600)
    assert site.told() == [
        "firing 1001 ExtensionUnregistered",
        "resolved 1001 ExtensionUnregistered",
    ]
    first, last = site.mails["oncall"]
    assert last.batch.thread == first.batch.id
    assert (incident.since, incident.ended_at, incident.closed) == (100, 500, "")


def test_what_is_pending_counts_from_where_it_began(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(150)
    renewed(site, phone)
    site.readable(160)
    site.until(400)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]
    assert site.alarms.incidents[0].since == 100
    assert 220 <= site.times()[0] <= 251  # asked whether hq was seen since


def test_a_well_one_keeps_its_state_and_since(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    new = renewed(site, phone)
    row = site.alarms.adopt(new)
    assert row == SubjectRow("extension:hq/1001", REGISTERED, 10)
    assert site.alarms.effective(new) is REGISTERED
    assert site.alarms.effective(phone) is None


def test_nothing_is_written_for_letting_go(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.flush()
    renewed(site, phone)
    writes, announced = site.alarms.take()
    assert (writes, announced) == ([], [])


def test_a_change_not_yet_taken_is_the_callers_to_take(site: Site) -> None:
    written: list[object] = []
    site.on_write = written.extend
    phone = site.extension("1001")
    site.at(10, phone, UNREGISTERED)
    renewed(site, phone)
    keys = {getattr(w, "key", "") for w in written}
    assert "extension:hq/1001" in keys


def test_what_a_slow_disk_did_not_take_is_written_of_who_comes_back(
    site: Site,
) -> None:
    """The phone is released with its state unwritten, and does not change again."""
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.alarms.observe(Observation(phone, UNREGISTERED, 20, 20, detail="it expired"))
    for subject in (site.hq, phone):
        site.alarms.release(subject)
    new = other(site)
    site.alarms.adopt(site.hq)
    site.alarms.adopt(new)
    writes, _ = site.alarms.take()
    row = SubjectRow("extension:hq/1001", UNREGISTERED, 20, detail="it expired")
    assert writes == [row]
    assert site.alarms.take()[0] == []


def test_of_who_does_not_come_back_only_that_is_written(site: Site) -> None:
    phone = site.extension("1001")
    site.alarms.observe(Observation(phone, UNREGISTERED, 20, 20))
    site.alarms.release(phone)
    site.alarms.unwatch_missing("extension:", 21)
    assert site.alarms.take()[0] == [DropSubject("extension:hq/1001")]


def test_who_does_not_come_back_is_closed_as_no_longer_watched(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    (incident,) = site.alarms.incidents
    site.flush()
    written: list[object] = []
    site.on_write = written.extend
    site.alarms.release(phone)
    site.alarms.unwatch_missing("extension:", site.now)
    site.until(400)
    assert site.alarms.incidents == []
    assert incident.closed == "no longer watched"
    assert DropSubject("extension:hq/1001") in written
    assert site.told()[-1] == "resolved 1001 ExtensionUnregistered"
    assert site.mails["oncall"][-1].batch.change is Told.RESOLVED


def test_letting_go_of_a_stranger_is_nothing(site: Site) -> None:
    site.alarms.release(site.extension("9999"))
    assert site.alarms.unclaimed("extension:") == {}


def test_unclaimed_ones_are_found_by_the_rest_of_their_key(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, UNREGISTERED)
    site.flush()
    site.alarms.release(phone)
    found = site.alarms.unclaimed("extension:hq/")
    assert list(found) == ["1001"]
    assert (found["1001"].state, found["1001"].since) == (UNREGISTERED, 10)


def test_blindness_survives_the_exchange_of_the_registrar(site: Site) -> None:
    phone = site.extension("1001")
    site.at(10, phone, REGISTERED)
    site.unreadable(50)
    new = renewed(site, phone)
    assert site.alarms.effective(new) is None
    assert site.alarms.blind(new) is site.hq
    site.unreadable(60)  # the new connection fails as well
    site.until(200)
    assert site.alarms.incidents[0].since == 50
    assert site.times() == [170]
    site.readable(300)
    assert site.alarms.effective(new) is REGISTERED
    assert site.told() == [
        "firing hq RegistrarUnreadable",
        "resolved hq RegistrarUnreadable",
    ]
