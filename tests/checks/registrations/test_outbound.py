"""What a PBX registers elsewhere, judged on a timeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from checks.observation import Cause, Kind, Observation, Scope, State, Subject
from checks.registrations.judge import (
    Judge,
    ListEnd,
    Outbound,
    Outbounds,
    RegistrarSettings,
    Remembered,
)
from checks.registrations.outbound import GONE, KEPT, NAME_LIMIT
from checks.registrations.readings import Ask
from checks.registrations.servers import CONFIRMED
from checks.registrations.words import PATIENCE

OK, REJECTED, FAILING = State.OK, State.REJECTED, State.FAILING
SERVER = "sip:provider.example.com"
CLIENT = "sip:line1@provider.example.com"
ASK = f"server/{SERVER}"
LATE = 82.0  # s: Asterisk's word of a registration that is refreshed every 50 s
ASTERISK: dict[str, Any] = {"trusted": False, "lag": LATE}


class Lines:
    """One registrar `hq`, what its members say of `line1`, and what is told of it."""

    def __init__(
        self, *members: str, remembered: Iterable[Remembered] = (), **settings: Any
    ) -> None:
        names = list(members) or ["pbx"]
        keys = RegistrarSettings(type="test", members=names, **settings)
        subject = Subject(Kind.REGISTRAR, "hq", Scope("hq", labels={"site": "lyon"}))
        self.judge = Judge("hq", keys, subject, 0.0, remembered, listed=())
        self.now = 0.0
        self.told: list[Observation] = []

    def at(self, now: float) -> Lines:
        self.now = now
        return self

    def _keep(self, several: Iterable[Observation]) -> None:
        for o in several:
            assert o.at == self.now
            assert o.since <= self.now
            assert len(o.evidence) <= 4
            if o.subject.kind is Kind.REGISTRATION:
                self.told.append(o)

    def row(self, state: State | None, name: str = "line1", **more: Any) -> Outbound:
        more = {"server": SERVER, "client": CLIENT} | more
        return Outbound(name, state, self.now, **more)

    def list(self, *rows: Outbound, member: str = "pbx") -> Lines:
        """A full read; the registrations stand before its end."""
        self._keep(self.judge.apply(member, Outbounds(list(rows)), self.now))
        return self.end(member)

    def end(self, member: str = "pbx") -> Lines:
        self._keep(self.judge.apply(member, ListEnd(self.now), self.now))
        return self

    def says(
        self, state: State | None, member: str = "pbx", name: str = "line1", **more: Any
    ) -> Lines:
        """A full list with one registration."""
        return self.list(self.row(state, name, **more), member=member)

    def event(self, state: State | None, member: str = "pbx", **more: Any) -> Lines:
        self._keep(self.judge.apply(member, self.row(state, **more), self.now))
        return self

    def lost(self, member: str = "pbx") -> Lines:
        self._keep(self.judge.lost(member, Cause.TIMEOUT, "no answer", self.now))
        return self

    def heard(
        self, ok: bool, times: int = 1, cause: Cause | None = Cause.TIMEOUT
    ) -> Lines:
        """OPTIONS to the server, so many within 15 s each."""
        for _ in range(times):
            why = None if ok else cause
            outgoing = self.judge.outgoing
            self._keep(outgoing.heard(ASK, ok, why, self.now, self.now))
            self.now += 15
        return self

    @property
    def states(self) -> list[tuple[State, float]]:
        return [(o.state, o.since) for o in self.told]

    @property
    def last(self) -> tuple[State, float, Cause | None, str]:
        o = self.told[-1]
        return o.state, o.since, o.cause, o.detail


# --- a PBX whose word is enough: FreeSWITCH, OpenSIPS ---------------------------------


def test_a_registration_is_told_once_and_by_its_own_subject() -> None:
    lines = Lines().at(10).says(OK).at(40).says(OK).at(70).says(OK)
    (told,) = lines.told
    assert told.subject.key == "registration:hq/line1"
    assert told.subject.parent is lines.judge.subject
    assert told.subject.scope.labels == {"registrar": "hq", "site": "lyon"}
    assert (told.state, told.since, told.cause, told.detail) == (OK, 10, None, "")
    assert told.last_seen == f"{CLIENT} at {SERVER}"


WORDS = [
    # FreeSWITCH: a gateway by its last settled state; the cause from the event.
    (REJECTED, Cause.UNAUTHORIZED, "904 Operation has no matching challenge"),
    (FAILING, Cause.OVERLOADED, "503 Service Unavailable"),
    (FAILING, Cause.TIMEOUT, "408 Request Timeout"),
    (FAILING, None, ""),  # FAIL_WAIT in a poll tells no reason
    # OpenSIPS: WRONG_CREDENTIALS, REGISTER_TIMEOUT, REGISTRAR_ERROR, INTERNAL_ERROR.
    (REJECTED, Cause.UNAUTHORIZED, "its user or password is wrong"),
    (REJECTED, Cause.FORBIDDEN, ""),
    (FAILING, Cause.TIMEOUT, "its registrar does not answer"),
    (FAILING, None, "OpenSIPS could not send it"),
]


@pytest.mark.parametrize(("state", "cause", "said"), WORDS)
def test_what_a_pbx_says_of_a_failure_is_told_as_it_says_it(
    state: State, cause: Cause | None, said: str
) -> None:
    lines = Lines().at(10).says(OK).at(40).says(state, cause=cause, detail=said)
    default = {
        REJECTED: "the server refuses the registration",
        FAILING: "it does not succeed",
    }
    assert lines.last == (state, 10, cause, said or default[state])
    lines.at(70).says(OK)
    assert lines.last == (OK, 70, None, "")


def test_by_lists_alone_it_was_lost_after_the_last_one_that_had_it() -> None:
    lines = Lines().at(10).says(OK).at(40).says(OK).at(70).says(FAILING)
    assert lines.states == [(OK, 10), (FAILING, 40)]


def test_by_an_event_it_was_lost_then() -> None:
    lines = Lines().at(10).says(OK).at(40).says(OK).at(55).event(REJECTED)
    assert lines.states == [(OK, 10), (REJECTED, 55)]


def test_another_failure_is_news_of_the_same_trouble() -> None:
    lines = Lines().at(10).says(OK).at(20).event(FAILING, cause=Cause.TIMEOUT)
    lines.at(30).event(REJECTED, cause=Cause.FORBIDDEN)
    lines.at(40).event(REJECTED, cause=Cause.FORBIDDEN)
    assert lines.states == [(OK, 10), (FAILING, 20), (REJECTED, 20)]


def test_one_that_never_stood_counts_from_the_first_sight() -> None:
    assert Lines().at(10).says(REJECTED).states == [(REJECTED, 10)]


# FreeSWITCH's gateway walks through these, OpenSIPS is REGISTERING in each refresh.
@pytest.mark.parametrize("settled", [OK, REJECTED, FAILING])
def test_a_refresh_under_way_holds_the_settled_state(settled: State) -> None:
    lines = Lines().at(10).says(settled)
    for now in (40, 41, 70):
        lines.at(now).says(None)
    lines.at(71).says(settled)
    assert lines.states == [(settled, 10)]


def test_what_is_under_way_says_nothing_new_of_a_failure() -> None:
    """FreeSWITCH in a poll: FAIL_WAIT without a reason, then TRYING."""
    lines = Lines().at(10).says(FAILING, trusted=False).heard(False, 3)
    told = lines.last
    lines.at(70).says(None).at(100).says(FAILING, trusted=False)
    assert lines.last == told
    assert told[2] is Cause.TIMEOUT


def test_an_attempt_without_an_end_is_a_failure_from_its_beginning() -> None:
    lines = Lines().at(10).says(OK)
    for now in (40, 70, 100, 130, 160):
        lines.at(now).says(None)
    assert lines.states == [(OK, 10), (FAILING, 40)]
    assert lines.last[2:] == (
        None,
        f"the PBX has tried to register for over {PATIENCE:g} s, without a result",
    )
    lines.at(190).says(OK)
    assert lines.states[-1] == (OK, 190)


def test_one_that_was_never_settled_is_not_told_before_that() -> None:
    lines = Lines().at(10).says(None).at(40).says(None).at(100).says(None)
    assert lines.told == []
    assert lines.judge.outgoing.registrations["line1"].state is None
    assert lines.at(101).says(None).states == [(FAILING, 10)]


# --- gone from the list ---------------------------------------------------------


def test_what_the_complete_list_lacks_is_gone() -> None:
    lines = Lines().at(10).list(Lines().row(OK), Lines().row(FAILING, "line2"))
    subject = lines.judge.outgoing.registrations["line2"].subject
    lines.at(40).says(OK)
    assert lines.judge.take_removed() == [(subject, GONE)]
    assert lines.judge.take_removed() == []
    assert list(lines.judge.outgoing.registrations) == ["line1"]


def test_an_empty_list_is_believed_at_the_second_time() -> None:
    lines = Lines().at(10).says(OK).at(40).list()
    assert list(lines.judge.outgoing.registrations) == ["line1"]
    lines.at(70).list()
    assert lines.judge.outgoing.registrations == {}
    assert [reason for _, reason in lines.judge.take_removed()] == [GONE]


def test_a_loading_pbx_that_has_none_yet_loses_none() -> None:
    lines = Lines().at(10).says(OK).at(40).list().at(70).says(OK).at(100).list()
    assert lines.states == [(OK, 10)]
    assert list(lines.judge.outgoing.registrations) == ["line1"]


def test_lists_that_never_tell_of_any_end_the_watch_too() -> None:
    lines = Lines()
    lines.judge.outgoing.restore("line1", FAILING, 5.0)
    lines.at(10).end().at(40).end()
    assert list(lines.judge.outgoing.registrations) == ["line1"]
    lines.at(70).end()
    assert lines.judge.outgoing.registrations == {}


def test_a_registrar_that_cannot_be_read_loses_none() -> None:
    lines = Lines().at(10).says(OK).at(40).lost().at(70).lost().at(900).lost()
    assert lines.states == [(OK, 10)]
    assert lines.judge.take_removed() == []


def test_half_a_read_counts_at_its_end() -> None:
    lines = Lines().at(10).says(OK).at(40).lost()
    lines.at(70)
    lines._keep(lines.judge.apply("pbx", Outbounds([lines.row(FAILING)]), 70.0))
    assert lines.states == [(OK, 10)]
    lines.end()
    assert lines.states == [(OK, 10), (FAILING, 10)]


def test_names_are_bounded_and_printable_and_so_many() -> None:
    lines = Lines()
    rows = [lines.row(OK, "a\n" + "b" * 500), lines.row(OK, "")]
    rows += [lines.row(OK, str(n)) for n in range(KEPT + 10)]
    lines.at(10).list(*rows)
    names = list(lines.judge.outgoing.registrations)
    assert len(names) == KEPT
    assert lines.judge.outgoing.left_out == 12  # ten, and one without a name
    assert names[0] == "a\N{REPLACEMENT CHARACTER}" + "b" * (NAME_LIMIT - 3) + "…"
    assert "" not in names


# --- members ---------------------------------------------------------


def test_one_of_several_that_keeps_it_is_enough() -> None:
    lines = Lines("a", "b").at(10).says(OK, "a").says(FAILING, "b")
    assert lines.states == [(OK, 10)]
    lines.at(40).says(FAILING, "a")
    assert lines.states[-1] == (FAILING, 10)
    lines.at(70).says(OK, "b")
    assert lines.states[-1] == (OK, 70)


def test_a_member_that_cannot_be_read_may_keep_it_still() -> None:
    lines = Lines("a", "b").at(10).says(OK, "a").says(FAILING, "b").at(40).lost("a")
    lines.at(70).says(FAILING, "b")
    assert lines.states == [(OK, 10)]
    lines.at(100).says(FAILING, "a")
    assert [state for state, _ in lines.states] == [OK, FAILING]


def test_what_one_member_lacks_is_watched_while_the_other_has_it() -> None:
    lines = Lines("a", "b").at(10).says(OK, "a").says(OK, "b")
    lines.at(40).says(OK, "a", name="line2").at(41).says(OK, "b")
    assert lines.judge.take_removed() == []
    lines.at(70).list(member="b").at(100).list(member="b")
    assert [s.name for s, _ in lines.judge.take_removed()] == ["line1"]


def test_one_that_a_blind_member_kept_is_not_gone() -> None:
    lines = Lines("a", "b").at(10).says(OK, "a").says(OK, "b", name="line2")
    lines.at(40).lost("a").at(70).says(OK, "b", name="line2")
    assert lines.judge.take_removed() == []


def test_of_an_active_and_a_standby_the_active_one_counts() -> None:
    lines = Lines("a", "b", mode="active_standby")
    lines.at(10).says(OK, "a").says(FAILING, "b")
    lines.judge._cluster.active = lines.judge.members["a"]
    lines.at(40).says(FAILING, "a").says(OK, "b")
    assert lines.states == [(OK, 10), (FAILING, 10)]
    lines.judge._cluster.active = lines.judge.members["b"]
    lines.at(70).says(OK, "b")
    assert lines.states[-1] == (OK, 40)


def test_what_only_the_standby_keeps_is_judged_by_its_word() -> None:
    lines = Lines("a", "b", mode="active_standby")
    lines.judge._cluster.active = lines.judge.members["a"]
    lines.at(10).says(OK, "a", name="line2").says(FAILING, "b")
    assert (FAILING, 10) in lines.states


# --- a PBX whose word is late: Asterisk -----------------------------------------------


def test_the_servers_of_late_words_are_asked_once_each() -> None:
    lines = Lines().at(10)
    other = Outbound("line3", OK, 10, "sip:b.example.com", trusted=False)
    proxied = Outbound("line4", OK, 10, SERVER, trusted=False, proxy="sip:10.0.0.1;lr")
    no_uri = Outbound("line5", OK, 10, "not a URI", trusted=False)
    trusted = Outbound("line6", OK, 10, "sip:c.example.com")
    lines.list(
        lines.row(OK, **ASTERISK),
        lines.row(OK, "line2", **ASTERISK),
        other, proxied, no_uri, trusted,
    )  # fmt: skip
    uris = [SERVER, "sip:b.example.com", "sip:10.0.0.1;lr"]
    asks = [Ask(f"server/{uri}", uri) for uri in uris]
    assert lines.judge.outgoing.asks() == {ask.name: ask for ask in asks}
    assert lines.judge.outgoing.asks() == {}


def test_nobody_is_asked_where_that_is_switched_off() -> None:
    lines = Lines(probe_servers=False).at(10).says(OK, **ASTERISK)
    assert lines.judge.outgoing.asks() == {}
    lines.at(40).event(REJECTED, **ASTERISK).at(70).says(REJECTED, **ASTERISK)
    assert lines.last[:3] == (FAILING, 40, None)
    assert lines.last[3].endswith("which may be a refusal or no answer at all")


def test_a_dead_server_overrules_registered_after_three_failures() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    lines.at(100).heard(False, CONFIRMED - 1)
    assert lines.states == [(OK, 10)]
    lines.heard(False)
    assert lines.last == (
        FAILING,
        100,
        Cause.TIMEOUT,
        "its server does not answer OPTIONS; the PBX still says that it is registered, "
        "but will know better only at its next refresh",
    )
    assert [(f.at, f.text) for f in lines.told[-1].evidence] == [
        (10, "the PBX said that it is registered"),
        (100, f"OPTIONS to {SERVER} fails, 3 in a row"),
    ]


def test_a_server_that_says_503_is_named_so() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    lines.at(100).heard(False, 3, Cause.OVERLOADED)
    assert lines.last[2:] == (
        Cause.OVERLOADED,
        "its server answers OPTIONS with 503; the PBX still says that it is "
        "registered, but will know better only at its next refresh",
    )


def test_its_return_ends_the_trouble_then() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100).heard(False, 4)
    lines.at(200).heard(True)
    assert lines.states == [(OK, 10), (FAILING, 100), (OK, 200)]


def test_asterisk_says_rejected_at_last_and_it_is_still_the_same_trouble() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100).heard(False, 3)
    lines.at(180).event(
        REJECTED, trusted=False, lag=32, detail="Asterisk says Rejected"
    )
    assert lines.states == [(OK, 10), (FAILING, 100), (FAILING, 100)]
    assert lines.last[2:] == (
        Cause.TIMEOUT,
        "its server does not answer OPTIONS; Asterisk says Rejected",
    )
    # Back, but Asterisk tries again only later: no refusal.
    lines.at(200).heard(True)
    assert lines.last[:3] == (FAILING, 100, None)
    assert (
        "answers OPTIONS again; Asterisk says Rejected of an attempt before"
        in (lines.last[3])
    )
    lines.at(212).event(OK, trusted=False, lag=0)
    assert lines.states[-1] == (OK, 212)


def test_a_refresh_proves_that_a_silent_server_serves_the_pbx() -> None:
    """It does not answer us any more, and that is our own affair."""
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100).heard(False, 3)
    assert lines.last[0] is FAILING
    lines.at(150).event(OK, trusted=False, lag=0)
    assert lines.states[-1] == (OK, 150)
    lines.at(160).heard(False, 10)
    assert lines.states[-1] == (OK, 150)


def test_without_events_a_list_proves_it_when_it_is_late_enough() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100).heard(False, 3)
    lines.at(180).says(OK, **ASTERISK)  # of 98 at the earliest: that may be before
    assert lines.last[0] is FAILING
    lines.at(183).says(OK, **ASTERISK)
    assert lines.states[-1] == (OK, 183)


def test_a_server_that_never_answers_us_is_not_held_against_it() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(False, 20)
    assert lines.states == [(OK, 10)]


def test_our_own_resolver_is_not_held_against_it() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    lines.at(100).heard(False, 20, Cause.DNS_FAILURE)
    assert lines.states == [(OK, 10)]


def test_two_failures_and_an_answer_are_nothing() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    for _ in range(5):
        lines.heard(False, 2).heard(True)
    assert lines.states == [(OK, 10)]


REFUSED = (
    "its server answers OPTIONS, but refuses the registration; the PBX says rejected"
)


def test_rejected_is_a_refusal_where_the_server_answers() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    lines.at(100).event(REJECTED, trusted=False, lag=32)
    assert lines.last == (REJECTED, 100, Cause.FORBIDDEN, REFUSED)
    lines.at(110).says(REJECTED, **ASTERISK).at(115).heard(True, 5)
    assert len(lines.told) == 2


def test_rejected_from_the_start_waits_for_the_first_options() -> None:
    lines = Lines().at(10).says(REJECTED, **ASTERISK)
    assert lines.last[:3] == (FAILING, 10, None)
    lines.at(12).heard(True)
    assert lines.last == (REJECTED, 10, Cause.FORBIDDEN, REFUSED)


def test_rejected_is_silence_where_the_server_is_silent() -> None:
    lines = Lines().at(10).says(REJECTED, **ASTERISK).heard(False, 2)
    assert lines.last[:3] == (FAILING, 10, None)
    lines.heard(False)
    assert lines.last == (
        FAILING,
        10,
        Cause.TIMEOUT,
        "its server has never answered OPTIONS; the PBX says rejected",
    )


def test_after_its_return_a_refusal_needs_an_attempt_since_then() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100).heard(False, 3)
    lines.at(180).event(REJECTED, trusted=False, lag=32).at(200).heard(True)
    lines.at(231).event(REJECTED, trusted=False, lag=32)
    assert lines.last[0] is FAILING
    lines.at(233).event(REJECTED, trusted=False, lag=32)
    assert lines.last[:3] == (REJECTED, 100, Cause.FORBIDDEN)
    # A list's word is older than the event's; what was certain stays so.
    lines.at(234).says(REJECTED, **ASTERISK)
    assert lines.last[0] is REJECTED


def test_a_proxy_that_answers_says_nothing_of_the_server_behind_it() -> None:
    proxy = {"trusted": False, "lag": LATE, "proxy": "sip:10.0.0.1;lr"}
    lines = Lines().at(10).says(REJECTED, **proxy)
    outgoing = lines.judge.outgoing
    lines._keep(outgoing.heard("server/sip:10.0.0.1;lr", True, None, 10, 10))
    assert lines.last == (
        FAILING,
        10,
        None,
        "the PBX says rejected, though its outbound proxy answers OPTIONS",
    )


def test_unregistered_for_long_with_a_silent_server_is_that() -> None:
    lines = Lines().at(10).says(None, **ASTERISK)
    lines.heard(False, 3).at(120).says(None, **ASTERISK)
    assert lines.last == (
        FAILING,
        10,
        Cause.TIMEOUT,
        "its server does not answer OPTIONS, and the PBX cannot register there",
    )


def test_what_is_heard_of_a_server_that_is_not_asked_is_nothing() -> None:
    lines = Lines().at(10).says(OK)
    assert lines.judge.outgoing.heard(ASK, False, Cause.TIMEOUT, 10, 10) == []


def test_a_server_is_asked_no_more_when_nobody_registers_there() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK)
    assert lines.judge.outgoing.asks() == {ASK: Ask(ASK, SERVER)}
    lines.at(40)
    lines.list(Outbound("line1", OK, 40, "sip:b.example.com", trusted=False))
    name = "server/sip:b.example.com"
    changed = {ASK: None, name: Ask(name, "sip:b.example.com")}
    assert lines.judge.outgoing.asks() == changed
    lines.at(70).list().at(100).list()
    assert lines.judge.outgoing.asks() == {name: None}


def test_a_pbx_that_knows_why_it_failed_has_its_server_asked_on() -> None:
    """OpenSIPS: REGISTERED is as old as the last refresh, a failure is certain."""
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(40)
    lines.judge.outgoing.asks()
    lines.says(FAILING, cause=Cause.TIMEOUT, detail="no answer to its REGISTER")
    assert lines.last == (FAILING, 10, Cause.TIMEOUT, "no answer to its REGISTER")
    assert lines.judge.outgoing.asks() == {}
    lines.at(70).says(OK, trusted=False, lag=5).at(100).heard(False, 3)
    assert lines.last[:3] == (FAILING, 100, Cause.TIMEOUT)


def test_an_answer_that_nobody_can_read_is_nothing() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True).at(100)
    for _ in range(9):
        assert lines.judge.outgoing.heard(ASK, None, None, 100, 100) == []
    assert lines.states == [(OK, 10)]


def after_a_restart(
    lines: Lines, state: State, since: float, cause: Cause | None = None
) -> Lines:
    """The same registrar, with what its judge wanted to find again."""
    rows = [row for row in lines.judge.take() if row.name == "servers"]
    again = Lines(remembered=rows)
    again.judge.outgoing.restore("line1", state, since, cause)
    return again.at(lines.now + 5)


def test_a_server_that_dies_while_we_restart_is_missed_as_before() -> None:
    before = Lines().at(10).says(OK, **ASTERISK).heard(True)
    lines = after_a_restart(before, OK, 10.0).says(OK, **ASTERISK)
    lines.at(100).heard(False, 3)
    assert lines.last[:3] == (FAILING, 100, Cause.TIMEOUT)


def test_a_server_that_never_answered_us_is_not_held_against_it_after_a_restart() -> (
    None
):
    before = Lines().at(10).says(OK, **ASTERISK, name="line2").heard(True)
    before.at(40).says(REJECTED, **ASTERISK, server="sip:10.0.0.9")
    lines = after_a_restart(before, FAILING, 40.0, Cause.TIMEOUT)
    lines.says(OK, **ASTERISK, server="sip:10.0.0.9")
    assert lines.states == [(OK, lines.now)]


def test_servers_that_nobody_uses_any_more_are_forgotten() -> None:
    lines = Lines().at(10).says(OK, **ASTERISK).heard(True)
    assert [r.json for r in lines.judge.take() if r.name == "servers"] == [
        f'["{SERVER}"]'
    ]
    lines.at(100).list().at(130).list()
    assert [r.json for r in lines.judge.take() if r.name == "servers"] == ["[]"]


def test_a_list_that_cannot_be_had_ends_nothing() -> None:
    lines = restored(FAILING, -50.0)
    for n in range(10):
        lines.at(10.0 + n)
        lines._keep(lines.judge.apply("pbx", Outbounds([], told=False), lines.now))
        lines.end()
    assert lines.judge.take_removed() == []
    assert lines.at(30).says(OK).states == [(OK, 30)]


# --- after a restart of ours ---------------------------------------------------------


def restored(state: State, since: float, cause: Cause | None = None) -> Lines:
    lines = Lines()
    subject = lines.judge.outgoing.restore("line1", state, since, cause)
    assert subject.key == "registration:hq/line1"
    return lines


@pytest.mark.parametrize("state", [OK, REJECTED, FAILING])
def test_a_restart_keeps_since(state: State) -> None:
    lines = restored(state, -500.0).at(10).says(state)
    assert lines.states == [(state, -500)]


def test_a_refresh_under_way_at_the_start_holds_what_was_stored() -> None:
    lines = restored(OK, -500.0).at(10).says(None)
    assert lines.told == []
    assert lines.judge.outgoing.registrations["line1"].state is OK
    lines.at(40).says(FAILING)
    assert lines.states == [(FAILING, 40)]


def test_a_dead_server_stays_dead_until_it_is_heard() -> None:
    lines = restored(FAILING, -50.0, Cause.TIMEOUT).at(10).says(OK, **ASTERISK)
    assert lines.last[:3] == (FAILING, -50, Cause.TIMEOUT)
    lines.at(15).heard(True)
    assert lines.states[-1] == (OK, 15)


def test_a_refusal_stays_one_until_options_tell() -> None:
    lines = restored(REJECTED, -50.0, Cause.FORBIDDEN).at(10).says(REJECTED, **ASTERISK)
    assert lines.told == []
    lines.at(15).heard(True)
    assert lines.states == [(REJECTED, -50)]


def test_one_that_is_gone_meanwhile_is_closed_at_the_first_list() -> None:
    lines = restored(FAILING, -50.0).at(10).says(OK, name="line2")
    assert [s.name for s, _ in lines.judge.take_removed()] == ["line1"]


def test_one_that_another_member_may_still_list_is_not() -> None:
    lines = Lines("a", "b")
    lines.judge.outgoing.restore("line1", FAILING, -50.0)
    lines.at(10).says(OK, "a", name="line2")
    assert lines.judge.take_removed() == []
    lines.at(20).says(OK, "b", name="line2")
    assert [s.name for s, _ in lines.judge.take_removed()] == ["line1"]
