from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Cause, State
from checks.registrars.registrant import WORDS, Record, Records, Registrant, Times
from checks.registrars.rpc import Answer, decode
from checks.registrations.readings import Outbound
from tests.wires import opensips as wire

# The recorded lists: from where, and the clock when each was asked for.
LISTS = {
    "3.6.8": ("3.6.8-mi_http", "Fri Nov 20 09:49:43 2026", 1795168183.0),
    "4.0.1": ("4.0.1-mi_http", "Fri Nov 20 09:35:48 2026", 1795167348.0),
    "4.0.1, later": ("4.0.1-mi_datagram", "Fri Nov 20 09:36:19 2026", 1795167379.0),
    "4.0.1, after a probe": (
        "4.0.1-events_datagram",
        "Fri Nov 20 09:39:46 2026",
        1795167586.0,
    ),
}
WRITTEN = "%a %b %d %H:%M:%S %Y"


def listed(name: str) -> list[Outbound]:
    session, written, now = LISTS[name]
    if session.endswith("mi_http"):
        body = wire.recorded(session.removesuffix("-mi_http"))("reg_list", None)
    else:
        (body,) = wire.lists(session, "reg_list")
    assert isinstance(body, bytes)
    records = decode(body, Answer[Records]).result
    assert records is not None
    return Registrant().outbounds(records, Times.told(now, now, written))


def record(state: str = "REGISTERED", sent: float = 0.0, **more: Any) -> Record:
    def written(at: float) -> str:
        return time.strftime(WRITTEN, time.gmtime(at))

    due = written(more.pop("due", 0.0))
    keys = {"aor": "sip:1@a.test", "registrar": "sip:a.test", "expires": 60} | more
    return Record(
        state=f"{state}_STATE",
        last_register_sent=written(sent),
        registration_t_out=due,
        **keys,
    )


def outbound(row: Record, now: float) -> Outbound:
    times = Times.told(now, now, time.strftime(WRITTEN, time.gmtime(now)))
    (found,) = Registrant().outbounds(Records([row]), times)
    return found


@pytest.mark.parametrize(
    ("name", "third"),
    [
        ("3.6.8", None),  # the first attempt, 4 s old
        ("4.0.1", State.FAILING),  # the first, 24 s old
        ("4.0.1, later", State.FAILING),  # another, 15 s old
        ("4.0.1, after a probe", None),  # another, 10 s old
    ],
)
def test_the_recorded_states(name: str, third: State | None) -> None:
    assert {row.name: row.state for row in listed(name)} == {
        "trk1@lab.test": State.OK,
        "trk2@lab.test": State.REJECTED,
        "trk3@dead.test": third,  # trk4 is switched off
    }


def test_a_recorded_row_is_an_outbound_registration() -> None:
    assert listed("4.0.1")[0] == Outbound(
        name="trk1@lab.test",
        state=State.OK,
        at=1795167348.0,
        server="sip:lab.test",
        client="trk1@lab.test",
        expires=1795167319.0 + 60,
        trusted=False,  # it is as old as its last refresh
        proxy="sip:127.0.40.1:5060",
        lag=29.0,
    )
    refused = listed("4.0.1")[1]
    assert (refused.cause, refused.trusted) == (Cause.UNAUTHORIZED, True)
    assert "check username and password" in refused.detail


STATES = {
    "REGISTERED": (State.OK, None),
    "REGISTERING": (None, None),
    "AUTHENTICATING": (None, None),
    "UNREGISTERING": (None, None),
    "AUTHENTICATING_UNREGISTER": (None, None),
    "NOT_REGISTERED": (None, None),
    "WRONG_CREDENTIALS": (State.REJECTED, Cause.UNAUTHORIZED),
    "REGISTER_TIMEOUT": (State.FAILING, Cause.TIMEOUT),
    "REGISTRAR_ERROR": (State.FAILING, None),
    "INTERNAL_ERROR": (State.FAILING, None),
    "A_STATE_OF_ANOTHER_AGE": (None, None),
}


@pytest.mark.parametrize("name", STATES)
def test_every_state_has_its_meaning(name: str) -> None:
    now = 1795167348.0
    found = outbound(record(name, sent=now - 1), now)
    assert (found.state, found.cause) == STATES[name]
    assert bool(found.detail) is (found.state in (State.REJECTED, State.FAILING))


def test_every_state_that_has_a_meaning_is_tested() -> None:
    assert set(WORDS) < set(STATES)


@pytest.mark.parametrize(
    ("sent", "due", "state"),
    [
        pytest.param(-5, -5, None, id="a refresh"),
        pytest.param(-11, -1, None, id="a slow one, what was before stands"),
        pytest.param(-11, -11, State.FAILING, id="a refresh without an answer"),
        pytest.param(-11, None, State.FAILING, id="a first one without an answer"),
        pytest.param(None, None, None, id="nothing was sent"),
    ],
)
def test_a_register_without_an_answer(
    sent: float | None, due: float | None, state: State | None
) -> None:
    now = 1795167348.0
    times = {
        "sent": now + sent if sent is not None else 0.0,
        "due": now + due if due is not None else 0.0,
    }
    found = outbound(record("REGISTERING", **times), now)
    assert (found.state, found.cause) == (state, Cause.TIMEOUT if state else None)


@pytest.mark.parametrize("ahead", [-5, 0, 5.75])
@pytest.mark.parametrize("skew", [-40.0, 0.0, 90.0])
def test_dates_are_of_the_servers_zone_and_clock(ahead: float, skew: float) -> None:
    now = 1795167348.0
    there = now + skew

    def written(at: float) -> str:
        return time.strftime(WRITTEN, time.gmtime(at + ahead * 3600))

    times = Times.told(now, there, written(there))
    assert times.ours(written(there - 7)) == now - 7
    assert times.ours(written(0.0)) is None
    assert times.ours("odd") is None


@pytest.mark.parametrize(
    "more",
    [
        {"enabled": "no"},
        {"state": "NOT_REGISTERED", "shtag": "vip"},  # another node's, as of now
    ],
)
def test_what_is_not_to_be_registered_is_not_listed(more: dict[str, Any]) -> None:
    times = Times.told(0.0, 0.0, "")
    records = Records([record(**more)])
    assert Registrant().outbounds(records, times) == []


def test_a_node_that_keeps_a_shared_registration_lists_it() -> None:
    assert outbound(record(shtag="vip"), 0.0).state is State.OK


def test_names_tell_records_of_one_aor_apart() -> None:
    several = [
        record(binding="sip:1@10.0.0.1"),
        record(binding="sip:1@10.0.0.2"),
        record(registrar="sip:b.test"),
        record(aor="sip:2@a.test"),
        record(aor="sip:2@a.test"),
    ]
    times = Times.told(0.0, 0.0, "")
    found = Registrant().outbounds(Records(several), times)
    assert [row.name for row in found] == [
        "1@a.test at a.test for 1@10.0.0.1",
        "1@a.test at a.test for 1@10.0.0.2",
        "1@a.test at b.test",
        "2@a.test",
        "2@a.test",
    ]


@given(
    st.fixed_dictionaries(
        {"AOR": st.text(), "state": st.text()},
        optional={
            "expires": st.integers(-(2**32), 2**32),
            "last_register_sent": st.text(),
            "registration_t_out": st.sampled_from(["", "Thu Jan  1 00:00:00 1970"]),
            "registrar": st.text(),
            "binding": st.text(),
        },
    )
)
def test_any_record_is_an_outbound_registration(fields: dict[str, Any]) -> None:
    body = json.dumps({"Records": [fields]}).encode("utf-8", "surrogatepass")
    try:
        records = decode(body, Records)
    except ValueError:
        return
    times = Times.told(1e9, 1e9, "Sun Sep  9 01:46:40 2001")
    (row,) = Registrant().outbounds(records, times)
    assert row.client == records.records[0].aor.removeprefix("sip:")
