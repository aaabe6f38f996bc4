"""How trunks' registrations are refreshed, as far as their ends tell."""

from __future__ import annotations

import pytest

from checks.observation import State
from checks.registrations.audit import TRUNKS, Audit, Row
from checks.registrations.expiry import Breach
from checks.registrations.habit import points
from checks.registrations.readings import Outbound, Outbounds
from checks.registrations.renewals import Renewals
from tests.checks.registrations.judging import Timeline


def refreshed(granted: float, share: float, *, every: float = 30.0) -> Renewals:
    """What is known after reads of a trunk that has refreshed ten times."""
    renewals = Renewals()
    period = granted * share
    for n in range(round(10 * period / every)):
        now = 1000.0 + n * every
        renewals.take(now - now % period + granted, now)
    return renewals


@pytest.mark.parametrize(
    ("granted", "share", "breach"),
    [
        (3600.0, 0.5, Breach.NONE),
        (3600.0, 1.0, Breach.LATE),  # as OpenSIPS does
        (600.0, 0.85, Breach.LATE),
        (7200.0, 0.5, Breach.LONG),
    ],
)
def test_the_refresh_point_of_a_trunk(
    granted: float, share: float, breach: int
) -> None:
    found = refreshed(granted, share)
    assert granted - 30 <= found.at_least <= granted
    usual = points(found.habit)
    assert usual is not None
    assert usual.median == pytest.approx(share, abs=0.06)
    assert found.breach == breach


def test_before_some_refreshes_nothing_is_concluded() -> None:
    renewals = Renewals()
    assert renewals.breach is None
    renewals.take(4600.0, 1000.0)
    renewals.take(4601.0, 1030.0)  # a clock that tells whole seconds
    assert (renewals.habit, renewals.breach) == (b"", None)


def test_less_granted_than_before_is_begun_anew() -> None:
    renewals = refreshed(3600.0, 0.5)
    end = renewals.read + 600.0
    renewals.take(end, renewals.read + 1.0)
    assert 590 <= renewals.at_least <= 600


def test_a_list_that_was_missed_makes_no_late_refresh() -> None:
    renewals = Renewals()
    renewals.take(1600.0, 1010.0)
    renewals.take(2200.0, 1900.0)  # one refresh between, or two
    assert renewals.habit == b""


def test_the_audit_shows_the_trunks_that_tell_their_ends() -> None:
    t = Timeline()
    for n in range(40):
        now = 1000.0 + 30 * n
        rows = [
            Outbound(
                name, State.OK, now, f"sip:{name}.example.com;transport=tls", expires=e
            )
            for name, e in (("one", now - now % 60 + 60), ("two", None))
        ]
        t.judge.apply("pbx", Outbounds(rows), now)
        t.at(now).list()
    audit = Audit(t.judge.refreshes.policy)
    for registration in t.judge.outgoing.registrations.values():
        audit.add_trunk(registration.server, registration.renewals)
    [row] = audit.rows()
    assert isinstance(row, Row)
    assert (row.vendor, row.transport, row.registrations) == (TRUNKS, "TLS", 1)
    assert row.breach == Breach.LATE
    assert row.granted is not None
    assert not row.granted.exact
