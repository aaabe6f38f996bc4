from __future__ import annotations

import pytest

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.registrars.esl import Event, event
from checks.registrars.sofia_gateways import UNKNOWN, Gateways
from checks.registrars.sofia_text import Document
from checks.registrations.judge import Judge, ListEnd, RegistrarSettings
from checks.registrations.readings import Outbound, Outbounds
from tests.wires import freeswitch as fs

TRUNK = {
    "name": "trunk",
    "profile": "external",
    "from": "&lt;sip:u9@lab.test&gt;",
    "proxy": "sip:10.0.0.9:5060",
    "expires": "3600",
    "freq": "3600",
    "ping": "0",
    "pingfreq": "0",
    "pingcount": "0",
    "state": "REGED",
    "status": "UP",
}


def listed(
    gateways: Gateways, *rows: dict[str, str], at: float = 0.0
) -> list[Outbound]:
    return read(gateways, fs.gateways(*rows), at)


def read(gateways: Gateways, body: bytes, at: float = 0.0) -> list[Outbound]:
    document = Document("gateways", {"gateway"})
    rows = [row for _, row in document.feed(body)]
    document.close()
    return gateways.listed(rows, at)


def recorded(version: str) -> bytes:
    return fs.recorded(version)[fs.GATEWAYS].partition(b"\n\n")[2]


def step(state: str, code: int = 0, phrase: str = "", ping: str = "DOWN") -> Event:
    told = {"Gateway": "trunk", "State": state, "Ping_Status": ping}
    if code:
        told |= {"Phrase": phrase, "Status": str(code)}
    return event(fs.event("sofia::gateway_state", 1.0, **told).partition(b"\n\n")[2])


@pytest.mark.parametrize(
    ("version", "states"),
    [
        ("1.10.12", {"gw-up": State.OK}),
        ("1.11.1", {"gw-up": State.FAILING}),
    ],
)
def test_a_recorded_list_is_read(version: str, states: dict[str, State]) -> None:
    found = {o.name: o.state for o in read(Gateways(), recorded(version))}
    assert found == states | {
        # gw-noreg-noping is left out: nobody asks it anything.
        "gw-noreg-deadping": State.FAILING,
        "gw-noreg-ping": State.OK,
        "gw-dead": State.FAILING,
        "gw-badpw": State.FAILING,
    }


def test_a_registered_gateway_is_told_with_its_server() -> None:
    (found,) = listed(Gateways(), TRUNK, at=5.0)
    assert found == Outbound(
        "trunk",
        State.OK,
        5.0,
        server="sip:10.0.0.9:5060",
        client="sip:u9@lab.test",
        trusted=False,  # for an hour nothing shows that the server is dead
        lag=3600.0,
    )


@pytest.mark.parametrize("changed", [{"pingfreq": "30"}, {"freq": "30"}])
def test_one_that_is_pinged_or_soon_refreshed_is_believed(
    changed: dict[str, str],
) -> None:
    (found,) = listed(Gateways(), TRUNK | changed)
    assert (found.state, found.trusted) == (State.OK, True)


@pytest.mark.parametrize(
    "state", ["UNREGED", "TRYING", "REGISTER", "UNREGISTER", "EXPIRED"]
)
def test_what_is_under_way_has_no_state(state: str) -> None:
    gateways = Gateways()
    (found,) = listed(gateways, TRUNK | {"state": state})
    assert found.state is None
    told = gateways.event(step(state, 200, "OK"), 2.0)
    assert told
    assert told.state is None


def test_one_that_was_stopped_is_told_so() -> None:
    (found,) = listed(Gateways(), TRUNK | {"state": "DOWN", "status": "DOWN"})
    assert (found.state, found.trusted) == (State.FAILING, True)
    assert "unregistered by a command" in found.detail


@pytest.mark.parametrize(
    ("code", "phrase", "state", "cause", "words"),
    [
        (
            904,
            "Operation has no matching challenge ",
            State.REJECTED,
            Cause.UNAUTHORIZED,
            "refuses its credentials",
        ),
        (403, "Forbidden", State.REJECTED, Cause.FORBIDDEN, "403 Forbidden"),
        (404, "Not Found", State.REJECTED, Cause.NOT_FOUND, "404 Not Found"),
        (401, "Unauthorized", State.REJECTED, Cause.UNAUTHORIZED, "401"),
        (423, "Interval", State.REJECTED, Cause("response_423"), "423 Interval"),
        (603, "Decline", State.REJECTED, Cause("response_603"), "603 Decline"),
        (408, "Request Timeout", State.FAILING, Cause.TIMEOUT, "does not answer"),
        (503, "Service Unavailable", State.FAILING, None, "overloaded, or nothing"),
        (503, "DNS Error", State.FAILING, Cause.DNS_FAILURE, "no address"),
        (480, "Unavailable", State.FAILING, Cause.UNAVAILABLE, "480 Unavailable"),
        (500, "Oops\x00", State.FAILING, Cause("response_500"), "500 Oops\ufffd"),
        (999, "Odd", State.FAILING, None, UNKNOWN.detail),
    ],
)
def test_why_one_fails_is_in_the_event_and_is_kept(
    code: int, phrase: str, state: State, cause: Cause | None, words: str
) -> None:
    gateways = Gateways()
    listed(gateways, TRUNK)
    for told in (
        gateways.event(step("FAILED", code, phrase), 2.0),
        gateways.event(step("FAIL_WAIT"), 3.0),
        *listed(gateways, TRUNK | {"state": "FAIL_WAIT", "status": "DOWN"}),
    ):
        assert told
        assert (told.state, told.cause) == (state, cause)
        assert words in told.detail
        assert told.trusted is (code != 999)


def test_the_reason_is_heard_before_the_first_list_too() -> None:
    gateways = Gateways()
    assert gateways.event(step("FAILED", 403, "Forbidden"), 1.0) is None
    (found,) = listed(gateways, TRUNK | {"state": "FAIL_WAIT", "status": "DOWN"})
    assert (found.state, found.cause) == (State.REJECTED, Cause.FORBIDDEN)


def test_a_registration_that_comes_back_forgets_the_reason() -> None:
    gateways = Gateways()
    listed(gateways, TRUNK)
    gateways.event(step("FAILED", 403, "Forbidden"), 1.0)
    gateways.event(step("REGED", ping="UP"), 2.0)
    (found,) = listed(gateways, TRUNK | {"state": "FAIL_WAIT", "status": "DOWN"})
    assert found.detail == UNKNOWN.detail
    assert not found.trusted  # OPTIONS of ours tell a refusal from silence


def test_no_answer_within_its_time_is_one_of_no_server() -> None:
    gateways = Gateways()
    listed(gateways, TRUNK)
    for state in ("TIMEOUT", "FAILED", "FAIL_WAIT"):
        told = gateways.event(step(state), 1.0)
        assert told
        assert (told.state, told.cause) == (State.FAILING, Cause.TIMEOUT)


# --- those that do not register ------------------------------------------------------

PINGED = TRUNK | {"state": "NOREG", "pingfreq": "30", "pingcount": "1"}


def test_one_that_nobody_asks_is_left_out() -> None:
    assert listed(Gateways(), TRUNK | {"state": "NOREG"}) == []


def test_one_that_is_pinged_is_what_its_answers_say() -> None:
    gateways = Gateways()
    (found,) = listed(gateways, PINGED)
    assert (found.state, found.trusted) == (State.OK, True)
    told = gateways.event(step("NOREG", 408, "Request Timeout"), 2.0)
    assert told
    assert (told.state, told.cause) == (State.FAILING, Cause.TIMEOUT)
    (found,) = listed(gateways, PINGED | {"status": "DOWN", "pingcount": "0"})
    assert (found.state, found.cause) == (State.FAILING, Cause.TIMEOUT)
    told = gateways.event(step("NOREG", 200, "OK", ping="UP"), 3.0)
    assert told
    assert told.state is State.OK


def test_up_before_the_first_ping_is_no_answer() -> None:
    gateways = Gateways()
    assert listed(gateways, PINGED | {"pingcount": "0"}) == []
    listed(gateways, PINGED | {"status": "DOWN", "pingcount": "0"})
    (found,) = listed(gateways, PINGED | {"pingcount": "0"})  # FreeSWITCH restarted
    assert found.state is State.FAILING


def test_a_gateway_that_is_gone_is_forgotten() -> None:
    gateways = Gateways()
    listed(gateways, TRUNK)
    gateways.event(step("FAILED", 403, "Forbidden"), 1.0)
    assert listed(gateways) == []
    assert gateways.event(step("FAIL_WAIT"), 2.0) is None


# --- what the judge makes of it ------------------------------------------------------


def test_the_recorded_gateways_go_through_their_states() -> None:
    """The trunk's server dies and comes back; states under way change nothing."""
    settings = RegistrarSettings(type="freeswitch", address="pbx")
    scope = Scope("hq", labels={"registrar": "hq"})
    judge = Judge("hq", settings, Subject(Kind.REGISTRAR, "hq", scope), 0.0)
    gateways, start = Gateways(), 1795167360.0
    first = read(gateways, recorded("1.11.1"), start)
    judge.apply("pbx", Outbounds(first), start)
    moves: dict[str, list[tuple[State, int]]] = {}
    judge.apply("pbx", ListEnd(start, start), start)
    for block in fs.events("1.11.1-events-plain"):
        told = event(block.partition(b"\n\n")[2])
        if told.get("Event-Subclass") != "sofia::gateway_state":
            continue
        at = int(told["Event-Date-Timestamp"]) / 1e6
        if (found := gateways.event(told, at)) is None:
            continue
        for o in judge.apply("pbx", found, at):
            seen = moves.setdefault(o.subject.name, [])
            if not seen or seen[-1][0] is not o.state:
                seen.append((o.state, int(o.since - start)))
    assert moves == {
        "gw-dead": [(State.FAILING, 0)],
        "gw-badpw": [(State.REJECTED, 0)],
        "gw-up": [(State.OK, 41), (State.FAILING, 73), (State.OK, 98)],
        "gw-noreg-ping": [(State.FAILING, 74), (State.OK, 99)],
    }
    trunks = judge.outgoing.registrations
    assert trunks["gw-badpw"].cause is Cause.UNAUTHORIZED
    assert trunks["gw-badpw"].since == start
