"""The INVITE client transaction, by its timers (RFC 3261 17.1.1.2)."""

from __future__ import annotations

import pytest

from checks.sip.invitation import InviteTransaction
from checks.sip.message import Response, parse
from checks.sip.transaction import State


def begun(*, reliable: bool = False, timeout: float = 32.0) -> InviteTransaction:
    """One that was sent at 100 s."""
    return InviteTransaction("z9hG4bKa", 100.0, reliable=reliable, timeout=timeout)


def sends(transaction: InviteTransaction) -> list[float]:
    """When it is sent again until it gives up."""
    found = []
    while (due := transaction.deadline) is not None:
        if transaction.advance(due):
            found.append(due)
    return found


def test_it_is_sent_again_after_twice_the_time_until_nothing_has_answered() -> None:
    transaction = begun()
    assert sends(transaction) == [100.5, 101.5, 103.5, 107.5, 115.5, 131.5]
    assert (transaction.state, transaction.sends) == (State.TERMINATED, 7)


def test_over_a_connection_it_is_sent_once() -> None:
    transaction = begun(reliable=True)
    assert sends(transaction) == []
    assert transaction.state is State.TERMINATED


def test_a_caller_may_give_up_sooner() -> None:
    assert sends(begun(timeout=2.0)) == [100.5, 101.5]


def test_what_has_answered_once_is_waited_for_without_an_end() -> None:
    transaction = begun()
    assert transaction.receive(100, 100.1)
    assert (transaction.state, transaction.deadline) == (State.PROCEEDING, None)
    assert not transaction.advance(10_000.0)


@pytest.mark.parametrize(
    ("reliable", "status", "state"),
    [
        (False, 486, State.COMPLETED),
        (True, 486, State.TERMINATED),
        (False, 200, State.TERMINATED),
        (True, 200, State.TERMINATED),
    ],
)
def test_a_final_response_ends_it_at_once_but_a_refusal_may_come_again(
    reliable: bool, status: int, state: State
) -> None:
    transaction = begun(reliable=reliable)
    assert transaction.receive(180, 100.1)
    assert transaction.receive(status, 100.2)
    assert transaction.state is state
    assert not transaction.receive(status, 100.3)


def test_a_refusal_is_absorbed_for_as_long_as_it_may_come_again() -> None:
    transaction = begun()
    transaction.receive(486, 101.0)
    assert transaction.deadline == 133.0
    assert not transaction.advance(133.0)
    assert (transaction.state, transaction.deadline) == (State.TERMINATED, None)


@pytest.mark.parametrize(
    ("branch", "method", "ours"),
    [
        ("z9hG4bKa", "INVITE", True),
        ("z9hG4bKb", "INVITE", False),
        ("z9hG4bKa", "CANCEL", False),
    ],
)
def test_a_response_is_its_own_by_branch_and_method(
    branch: str, method: str, ours: bool
) -> None:
    text = (
        "SIP/2.0 180 Ringing\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1;branch={branch}\r\nCSeq: 1 {method}\r\n\r\n"
    )
    response = parse(text.encode())
    assert isinstance(response, Response)
    assert begun().matches(response) is ours


def test_what_cannot_be_read_is_nobodys() -> None:
    response = parse(b"SIP/2.0 180 Ringing\r\n\r\n")
    assert isinstance(response, Response)
    assert not begun().matches(response)
