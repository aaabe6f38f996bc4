from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.sip.message import parse
from checks.sip.transaction import T1, T2, T4, ClientTransaction, State

BRANCH = "z9hG4bK1"


def transaction(**settings) -> ClientTransaction:
    settings.setdefault("reliable", False)
    return ClientTransaction(BRANCH, "OPTIONS", 0.0, **settings)


def sends(machine: ClientTransaction, until: float) -> list[float]:
    """When it sends again, driven exactly at its deadlines."""
    times = []
    while (due := machine.deadline) is not None and due <= until:
        if machine.advance(due):
            times.append(due)
    return times


def test_an_unanswered_request_is_sent_eleven_times_in_32_seconds():
    machine = transaction()
    assert sends(machine, 99) == [
        0.5,
        1.5,
        3.5,
        7.5,
        11.5,
        15.5,
        19.5,
        23.5,
        27.5,
        31.5,
    ]
    assert machine.sends == 11
    assert machine.timed_out
    assert machine.state is State.TERMINATED
    assert machine.deadline is None


def test_the_callers_timeout_ends_it_sooner():
    machine = transaction(timeout=5.0)
    assert sends(machine, 99) == [0.5, 1.5, 3.5]
    assert machine.timed_out


def test_over_a_reliable_transport_nothing_is_sent_again():
    machine = transaction(reliable=True)
    assert machine.deadline == 64 * T1
    assert sends(machine, 99) == []
    assert machine.timed_out


def test_timers_are_arguments():
    machine = transaction(t1=0.1, t2=0.3, timeout=1.3)
    assert sends(machine, 99) == pytest.approx([0.1, 0.3, 0.6, 0.9, 1.2])


def test_after_a_provisional_response_it_is_sent_every_t2():
    machine = transaction()
    assert sends(machine, 0.5) == [0.5]
    assert machine.receive(100, 0.6)
    assert machine.state is State.PROCEEDING
    assert sends(machine, 10) == [1.5, 1.5 + T2, 1.5 + 2 * T2]
    assert machine.receive(180, 10)


def test_a_final_response_ends_the_sending_and_absorbs_repetitions():
    machine = transaction()
    assert machine.receive(200, 0.1)
    assert machine.state is State.COMPLETED
    assert machine.deadline == 0.1 + T4
    assert not machine.receive(200, 0.2)
    assert sends(machine, 99) == []
    assert machine.state is State.TERMINATED
    assert not machine.timed_out


def test_over_a_reliable_transport_a_final_response_is_the_end():
    machine = transaction(reliable=True)
    assert machine.receive(503, 0.1)
    assert machine.state is State.TERMINATED
    assert machine.deadline is None


def test_a_response_after_the_end_is_no_news():
    machine = transaction(timeout=1.0)
    sends(machine, 99)
    assert not machine.receive(200, 1.1)
    assert not machine.advance(2.0)


def test_a_failure_of_the_transport_ends_it():
    machine = transaction()
    machine.fail()
    assert (machine.state, machine.deadline, machine.timed_out) == (
        State.TERMINATED,
        None,
        False,
    )


def test_after_a_stall_one_send_is_due_not_all_that_were():
    machine = transaction()
    assert machine.advance(6.0)
    assert machine.deadline == 7.0
    assert not machine.advance(6.5)


@pytest.mark.parametrize(
    ("branch", "cseq", "is_ours"),
    [
        (BRANCH, "1 OPTIONS", True),
        (BRANCH, "1 INVITE", False),
        (BRANCH.lower(), "1 OPTIONS", False),
        ("z9hG4bK2", "1 OPTIONS", False),
        (BRANCH, "nonsense", False),
    ],
)
def test_a_response_matches_by_branch_and_method(branch, cseq, is_ours):
    text = (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch={branch}\r\nCSeq: {cseq}\r\n\r\n"
    )
    assert transaction().matches(parse(text.encode())) is is_ours


def test_a_response_without_a_via_matches_nothing():
    assert not transaction().matches(
        parse(b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n")
    )


_STEPS = st.lists(
    st.tuples(st.floats(0, 9), st.sampled_from([None, 100, 200, 404])), max_size=30
)


@settings(deadline=None)
@given(_STEPS, st.booleans())
def test_it_always_ends_and_never_sends_after_its_end(steps, reliable):
    machine = transaction(reliable=reliable, timeout=20.0)
    now, finals = 0.0, 0
    for wait, status in steps:
        now += wait
        ended = machine.state in (State.COMPLETED, State.TERMINATED)
        if status is None:
            assert not (machine.advance(now) and (ended or reliable))
        elif machine.receive(status, now):
            assert not ended
            finals += status >= 200
    sends(machine, float("inf"))
    assert machine.state is State.TERMINATED
    assert finals <= 1
    assert machine.timed_out is (finals == 0)
