"""Who is overdue by its own habit; who never is; and what is told of it, how often."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.observation import Cause, Fact, Observation, State
from checks.registrations.extension import Extension
from checks.registrations.habit import points
from checks.registrations.member import PRESSING
from checks.registrations.readings import ExpirySettings
from checks.registrations.refreshes import NAMED
from tests.checks.registrations.judging import Timeline, bound

PHONE = "1001"
LISTED = 0.4  # s that a list takes


class Site:
    """A phone that registers, and the reads of its registrar, in time."""

    def __init__(
        self,
        granted: int = 3600,
        *,
        told: bool = True,
        every: float = 30.0,
        begins: float = 0.0,
        transport: str = "",
        **more: object,
    ) -> None:
        self.granted, self.told, self.every = granted, told, every
        self.transport = transport
        self.t = Timeline(PHONE, interval=every, skew=7.25, **more)  # type: ignore[arg-type]
        self.next_read = begins + every
        self.end = 0.0
        self.refreshed(begins)

    def refreshed(self, at: float) -> None:
        """The phone refreshes; the PBX keeps the end in whole seconds of its clock."""
        self.until(at)
        skew = self.t.skew
        self.end = math.floor(at + skew) + self.granted - skew

    def refreshes(self, shares: Iterator[float] | list[float], at: float) -> float:
        """The phone refreshes again and again; when it did last."""
        for share in shares:
            at += share * self.granted
            self.refreshed(at)
        return at

    def until(self, at: float) -> None:
        """Let the judge's deadlines come, and the reads."""
        judge = self.t.judge
        while True:
            due = judge.next_deadline()
            due = math.inf if due is None else max(due, self.t.now)
            now = min(due, self.next_read)
            if now >= at:
                self.t.at(at)
                return
            self.t.at(now)
            if due <= now:
                self.t.advance()
                if judge.wants_read(now):
                    self.next_read = now
                elif judge.next_deadline() == due:
                    self.next_read = min(self.next_read, now + 1)
            if self.next_read <= now:
                self.read()

    def read(self, began: float | None = None) -> None:
        """A full list, which took a moment."""
        granted = self.granted if self.told else None
        row = bound(PHONE, self.end, granted=granted, transport=self.transport)
        began = self.t.now if began is None else began
        self.t.at(self.t.now + LISTED)
        self.t.list(row, began=began)
        self.next_read = began + self.every

    @property
    def extension(self) -> Extension:
        """What the judge knows of it."""
        return self.t.judge.extensions[PHONE]

    @property
    def late(self) -> list[Observation]:
        """The observations that call it overdue."""
        return [o for o in self.t.of(PHONE) if o.figures.refresh_late_by]


# --- over habits and jitter -----------------------------------------------------------


@st.composite
def habits(draw: st.DrawFn) -> tuple[Site, list[float], float, float]:
    """A phone with its refresh points, and how much they jitter."""
    granted = draw(st.sampled_from([300, 600, 1800, 3600]))
    site = Site(
        granted,
        told=draw(st.booleans()),
        every=max(10.0, granted / draw(st.sampled_from([10, 25, 60]))),
        begins=draw(st.floats(0, 30)),
    )
    point = draw(st.floats(0.3, 0.97))
    jitter = draw(st.floats(0, min(0.1, 0.99 - point)))
    lot = random.Random(draw(st.integers(0, 2**32)))
    draws = [lot.uniform, lot.triangular][draw(st.integers(0, 1))]
    refreshes = draw(st.integers(20, 40))
    shares = [draws(point - jitter, point + jitter) for _ in range(refreshes)]
    return site, shares, point, jitter


@settings(max_examples=120, deadline=None)
@given(habits())
def test_a_late_but_regular_phone_is_never_warned_about(
    phone: tuple[Site, list[float], float, float],
) -> None:
    site, shares, _, _ = phone
    site.refreshes(shares, site.next_read - site.every)
    assert site.late == []


@settings(max_examples=120, deadline=None)
@given(habits())
def test_one_that_stops_is_warned_about_where_its_habit_leaves_a_minute(
    phone: tuple[Site, list[float], float, float],
) -> None:
    site, shares, point, jitter = phone
    last = site.refreshes(shares, site.next_read - site.every)
    assert site.late == []
    site.until(site.end + 1)
    # Its latest point, and its whole jitter again, in bytes of half a percent. Where
    # only reads tell what was granted, it may be a read's interval more than is known.
    known = site.granted - (0 if site.told else site.every + 1)
    habit = (point + 3 * jitter + 0.02) * site.granted**2 / known
    habit += site.granted - known
    # The PBX rests from a list before the one that decides.
    leaves = site.end - last - habit - 10.0 - 5.0 - (2 + PRESSING) * LISTED
    if leaves >= 60.0 + 1.0 and known >= 300:
        [told] = site.late
        assert told.state is State.REGISTERED
        assert told.at <= site.end - 60.0 + LISTED
        assert told.at >= last + shares[-1] * 0.5 * site.granted
    assert all(o.at <= site.end for o in site.late)


# --- case by case ---------------------------------------------------------------------


def test_what_is_told_of_an_overdue_phone() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(site.end)
    [told] = site.late
    assert told.detail == ""
    assert told.last_seen == "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75"
    assert told.figures.refresh_point == 0.5
    assert told.figures.refresh_left == pytest.approx(site.end - told.at)
    names = [fact.text for fact in told.evidence]
    assert names == [
        "last refresh",
        "refresh due by its habit",
        "read, no refresh",
        "end of its registration",
    ]
    refreshed, due, read, end = (fact.at or 0.0 for fact in told.evidence)
    assert refreshed == pytest.approx(last, abs=1)
    assert last + 1800 < due < last + 1900
    assert due < read < due + 5 + 30 + 1
    assert end == pytest.approx(site.end)


def test_it_is_told_once_and_again_when_it_refreshes_after_all() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    before = len(site.t.of(PHONE))
    site.refreshed(last + 3000)
    site.until(last + 3100)
    late, well = site.t.of(PHONE)[before:]
    assert (late.figures.refresh_late_by or 0) > 0
    assert (well.state, well.figures.refresh_late_by) == (State.REGISTERED, 0.0)
    assert well.evidence == ()


def test_a_quiet_refresh_tells_nothing() -> None:
    site = Site(100)
    site.refreshes([0.5] * 60, 0.0)
    assert len(site.t.of(PHONE)) == 1  # that it is registered


def test_what_is_short_is_never_overdue() -> None:
    site = Site(120)
    site.refreshes([0.3] * 20, 0.0)
    site.until(site.end)
    assert site.late == []
    assert site.extension.place == 0


def test_a_restart_of_the_phone_from_another_port_leaves_nobody_overdue() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 1700)
    for now in range(int(last + 1700), int(last + 3400), 30):
        rows = [bound(PHONE, site.end), bound(PHONE, last + 5300, port=5070)]
        site.t.at(now).list(*rows)
        site.t.advance()
    assert site.late == []


def test_a_new_contact_ends_what_was_overdue() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 2000)
    assert len(site.late) == 1
    site.t.list(bound(PHONE, site.end), bound(PHONE, last + 5600, port=5070))
    assert site.t.last(PHONE).figures.refresh_late_by == 0.0


def test_nobody_is_overdue_by_what_was_read_before_it_was_due() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 1800)
    site.t.at(last + 2100).advance()
    site.read(began=last + 1790)  # a list that took five minutes
    assert site.late == []
    site.t.at(last + 2130).advance()
    site.read()
    assert len(site.late) == 1


def test_nobody_is_overdue_while_the_registrar_cannot_be_read() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 1700)
    site.t.lost()
    site.t.at(last + 2500).advance()
    assert site.late == []
    site.next_read = site.t.now
    site.refreshed(site.t.now)
    site.read()
    assert site.late == []


def test_where_reads_are_rare_one_is_asked_for_while_it_may_help() -> None:
    site = Site(600, every=300.0)
    last = site.refreshes([0.7] * 40, 0.0)
    site.until(site.end)
    [told] = site.late
    assert told.at < last + 0.7 * 600 + 8 + 0.01 * 600 + 5 + 5
    assert site.end - told.at >= 60


def test_an_overdue_phone_that_expires_is_unregistered_and_no_more() -> None:
    site = Site(3600)
    site.refreshes([0.5] * 12, 0.0)
    site.until(site.end + 1)
    site.t.at(site.end + 5).list()
    told = site.t.last(PHONE)
    assert told.state is State.UNREGISTERED
    assert (told.figures.refresh_late_by, told.figures.breach) == (None, None)


@pytest.mark.parametrize(("told", "least"), [(True, 3600), (False, 3560)])
def test_who_is_lost_is_known_by_what_it_was_granted_or_at_least_was(
    told: bool, least: int
) -> None:
    site = Site(3600, told=told)
    site.until(site.end + 1)
    site.t.at(site.end + 5).list()
    lost = site.t.last(PHONE)
    assert lost.state is State.UNREGISTERED
    assert least <= (lost.figures.expires or 0) <= 3600


def test_a_restart_of_ours_tells_an_overdue_phone_only_when_it_has_refreshed() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 2000)
    remembered = [row for row in site.t.judge.take() if row.name == f"aor/{PHONE}"]
    t = Timeline(PHONE, now=last + 2010, remembered=remembered, skew=7.25)
    t.judge.restore(PHONE, State.REGISTERED, 30.0)
    t.at(last + 2020).list(bound(PHONE, site.end))
    t.at(last + 2050).list(bound(PHONE, site.end))
    assert t.of(PHONE) == []
    t.at(last + 2080).list(bound(PHONE, last + 2060 + 3600))
    assert t.last(PHONE).figures.refresh_late_by == 0.0


# --- where in its Expires -------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("granted", "share"), [(60, 0.5), (60, 0.9), (120, 0.5), (600, 0.25), (3600, 1.0)]
)
def test_the_refresh_point_is_found(granted: int, share: float, told: bool) -> None:
    site = Site(granted, told=told, begins=3.0)
    site.refreshes([share] * 40, 3.0)
    found = points(site.extension.habit)
    assert found is not None
    # Where only reads tell of what was granted, it is more than is known of it.
    assert share - 0.01 <= found.median <= share * (1.02 if told else 1.6) + 0.01


def test_two_refreshes_between_two_reads_are_not_taken_for_one() -> None:
    site = Site(60)
    site.refreshes([0.4] * 60, 0.0)  # every 24 s: at times two fall between two reads
    assert points(site.extension.habit) == (0.4, 0.4, 0.4)


def test_a_phone_in_step_with_the_reads_is_known_to_refresh_in_time() -> None:
    site = Site(60, begins=29.0)
    site.refreshes([0.5] * 20, 29.0)
    found = points(site.extension.habit)
    assert found is not None
    assert found.median == 0.5


def test_events_of_refreshes_tell_each_of_them() -> None:
    t = Timeline(PHONE)
    t.at(1).list()
    for now in range(10, 400, 12):  # a phone that refreshes as NAT wants it
        t.at(now).added(bound(PHONE, now + 60, granted=60))
    found = points(t.judge.extensions[PHONE].habit)
    assert found is not None
    assert (found.first, found.last) == (0.2, 0.2)


# --- what was granted -----------------------------------------------------------------


def breaches(site: Site) -> list[str | None]:
    return [o.figures.breach for o in site.t.of(PHONE)]


def test_too_much_is_told_once_as_far_as_it_is_known() -> None:
    site = Site(3600, told=False, begins=10.0)
    site.refreshes([0.5] * 3, 10.0)
    assert breaches(site) == ["at least 3569 s granted, more than 120 s"]


def test_what_the_registrar_grants_from_now_on_is_believed() -> None:
    site = Site(3600)
    last = site.refreshes([0.5] * 6, 0.0)
    site.granted = 120
    site.refreshes([0.5] * 8, last)
    assert breaches(site) == ["3600 s granted, more than 120 s", ""]


def test_where_only_reads_tell_a_smaller_grant_is_seen_all_the_same() -> None:
    site = Site(3600, told=False)
    last = site.refreshes([0.5] * 6, 0.0)
    site.granted = 120
    site.refreshes([0.5] * 8, last)
    assert breaches(site)[0] == "at least 3569 s granted, more than 120 s"
    assert breaches(site)[-1] == ""


def test_over_a_stream_an_hour_is_well() -> None:
    site = Site(3600, transport=";transport=tls")
    site.refreshes([0.5] * 6, 0.0)
    assert breaches(site) == [""]


def test_an_own_policy_counts_for_all() -> None:
    site = Site(300, expiry=ExpirySettings(min=600.0, max=900.0))
    site.refreshes([0.5] * 6, 0.0)
    assert breaches(site) == ["300 s granted, less than 600 s"]


def test_a_late_refresh_is_outside_the_policy_once_it_is_a_habit() -> None:
    site = Site(120)
    site.refreshes([0.95] * 6, 0.0)
    assert breaches(site) == ["", "refreshed at 95 % of its Expires"]


def test_facts_are_in_the_order_of_their_times() -> None:
    site = Site(3600)
    site.refreshes([0.5] * 12, 0.0)
    site.until(site.end)
    facts: tuple[Fact, ...] = site.late[0].evidence
    assert list(facts) == sorted(facts, key=lambda fact: fact.at or 0.0)


def test_of_very_many_outside_the_policy_a_few_are_named_and_the_others_counted() -> (
    None
):
    aors = [f"{1000 + n}" for n in range(NAMED + 50)]
    t = Timeline(*aors)

    def named() -> set[str]:
        told = {aor: t.last(aor).figures.breach for aor in aors}
        return {aor for aor, breach in told.items() if breach}

    t.at(10).list(*(bound(aor, 3610, granted=3600) for aor in aors))
    while t.judge.next_deadline() == 0.0:
        t.advance()
    assert len(named()) == NAMED
    again = Timeline(*aors, remembered=t.judge.take())
    assert again.judge.refreshes._named == NAMED
    for aor in aors:  # none comes to be named, nor is forgotten, by our restart
        again.judge.restore(aor, State.REGISTERED, 10.0)
    again.at(40).list(*(bound(aor, 3640, granted=3600) for aor in aors))
    while again.judge.next_deadline() == 0.0:
        again.advance()
    assert [o for o in again.told if o.subject is not again.subject] == []


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize(("retries", "warned"), [(60, False), (None, True)])
def test_what_failed_while_the_pbx_was_away_is_given_time_to_be_tried_again(
    told: bool, restarted: bool, retries: float | None, warned: bool
) -> None:
    site = Site(told=told)
    last = site.refreshes([0.5] * 12, 0.0)
    site.until(last + 1500)
    site.t.judge.lost("pbx", Cause.CONNECTION_REFUSED, "gone", site.t.now)
    site.t.at(last + 2400)  # at 1800 it could not be refreshed
    if restarted:
        site.t.boot = site.t.now - 5
    site.next_read = site.t.now
    site.read()
    if retries is not None:
        site.refreshed(last + 2400 + retries)
    site.until(last + 3400)
    assert bool(site.late) is warned
    for o in site.late[:1]:
        assert 2700 <= o.at - last <= 2740
        assert (o.figures.refresh_left or 0) >= 60
