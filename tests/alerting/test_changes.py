"""What is to be written, in slices: the same rows, each subject's together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alerting.incident import Outcome
from alerting.rules.rule import RuleSettings
from alerting.store.rows import DeliveryRow, DropSubject, IncidentRow, SubjectRow, Write
from alerting.store.statements import key_of
from checks.observation import Observation, State

from .timeline import Site

UNREGISTERED, REGISTERED = State.UNREGISTERED, State.REGISTERED
RULES = {"ExtensionUnregistered": RuleSettings(for_=5.0, keep_firing_for=0.0)}
PHONES = 7


def crowd() -> Site:
    """Phones that are gone for long; nothing of it is taken yet."""
    site = Site(rules=RULES)
    site.readable(1)
    for n in range(PHONES):
        seen = Observation(site.extension(str(n)), UNREGISTERED, 10.0, 10.0)
        site.alarms.observe(seen)
    site.alarms.observe(Observation(site.hq, State.READABLE, 1.0, 20.0))
    site.alarms.advance(20.0)
    return site


def taken(site: Site, most: int) -> Iterator[list[Write]]:
    """Slice by slice."""
    more = True
    while more:
        writes, announced = site.alarms.take(most)
        more = site.alarms.left
        assert not (more and announced)
        yield writes


def names(writes: list[Write]) -> set[str]:
    """The subjects that a slice is about."""
    ids = {w.id: w.key for w in writes if isinstance(w, IncidentRow)}
    keys = {w.key for w in writes if isinstance(w, SubjectRow)}
    return keys | {ids[w.incident] for w in writes if isinstance(w, DeliveryRow)}


@pytest.mark.parametrize("most", [1, 2, 3, PHONES, 100])
def test_slices_are_the_whole_and_each_subject_is_in_one(most: int) -> None:
    whole, _ = crowd().alarms.take()
    slices = list(taken(crowd(), most))
    assert {key_of(w): w for part in slices for w in part} == {
        key_of(w): w for w in whole
    }
    seen = [name for part in slices for name in names(part)]
    assert len(seen) == len(set(seen))
    assert max(len(names(part)) for part in slices) <= most
    assert len(whole) == 3 * PHONES


def test_what_changes_between_two_slices_is_written_as_it_is_then() -> None:
    site = crowd()
    parts = taken(site, 3)
    next(parts)
    phones = {w.subject.name: w.subject for w in site.alarms.incidents}
    site.alarms.observe(Observation(phones["6"], REGISTERED, 21.0, 21.0))
    rest = [w for part in parts for w in part]
    (row,) = [w for w in rest if isinstance(w, SubjectRow) and w.key.endswith("/6")]
    assert row.state is REGISTERED
    (over,) = [w for w in rest if isinstance(w, IncidentRow) and w.name == "6"]
    assert over.resolved_at == 21.0


def test_a_subject_that_is_watched_no_more_leaves_no_state_behind() -> None:
    site = crowd()
    phone = site.alarms.incidents[0].subject
    site.alarms.unwatch(phone, 22.0)
    writes = [w for part in taken(site, 1) for w in part]
    about = [w for w in writes if key_of(w) == ("subject", phone.key)]
    assert about == [DropSubject(phone.key)]


def test_a_batch_that_is_told_may_be_marked_in_slices() -> None:
    site = crowd()
    site.alarms.take()
    batch = site.alarms.due("oncall", 30.0)
    assert batch is not None
    started = [w for part in taken(site, 2) for w in part]
    assert {w.batch for w in started if isinstance(w, DeliveryRow)} == {batch.id}
    site.alarms.settle(batch, Outcome.ACCEPTED, 31.0)
    told = [w for part in taken(site, 2) for w in part if isinstance(w, DeliveryRow)]
    assert [(str(w.told), w.batch) for w in told] == [("firing", "")] * PHONES
