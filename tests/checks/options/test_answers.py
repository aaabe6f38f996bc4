"""Whose answer a message is: branch, Call-ID, CSeq and source; what is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.observation import Cause, State
from checks.options.answers import branch_of, quoted_branch, read_answer, read_branch
from checks.options.rows import ASKED
from checks.options.views import view
from tests.checks.options.sweeping import START, Network, Sent, header, response, silent

PEER = ("192.0.2.1", 5060)
STRANGER = ("198.51.100.9", 5060)


def asked(**settings: object) -> tuple[Network, Sent]:
    """A network with one question in flight."""
    network = Network()
    network.add("t.example.com", [PEER[0]], silent, soon=True, **settings)
    network.run_until(0.1)
    return network, network.sent[0]


@pytest.mark.parametrize("settled", [False, True], ids=["first", "calm"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"Via": "SIP/2.0/UDP 10.9.9.9;rport=1;received=1.2.3.4;branch={branch}"},
        {"Via": "SIP/2.0/UDP 10.9.9.9;received=1.2.3.4;rport=5099;branch={branch};x=y"},
        {"Via": "sip / 2.0 / udp 10.9.9.9 ; branch = {branch}"},
        {"CSeq": "1  OPTIONS"},
    ],
)
def test_an_answer_is_ours_however_it_is_written(
    changed: dict[str, str], settled: bool
) -> None:
    network = Network()
    network.add("t.example.com", [PEER[0]])
    network.run_until(300 if settled else 0)
    network.answers[PEER] = silent
    network.run_until(300.1 if settled else 0.1)
    request = network.sent[-1].data
    branch = header(request, "Via").partition("branch=")[2].partition(";")[0]
    fields = {name: value.format(branch=branch) for name, value in changed.items()}
    network.deliver(response(request, **fields), PEER)
    network.run_until(300.2 if settled else 0.2)
    assert network.rows.nonce[0] == 0
    assert view(network.targets, 0, network.now).state is State.UP  # type: ignore[union-attr]


def test_compact_names_and_folded_lines_are_read() -> None:
    network, sent = asked()
    branch = header(sent.data, "Via").partition("branch=")[2].partition(";")[0]
    call = header(sent.data, "Call-ID")
    network.deliver(
        f"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 10.9.9.9\r\n ;branch={branch}\r\n"
        f"f: <sip:a@example.com>;tag=1\r\nt: <sip:b@example.com>;tag=2\r\n"
        f"i: {call}\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n".encode(),
        PEER,
    )
    network.run_until(0.2)
    assert [o.state for o in network.told] == [State.UP]


def wrong_branch(request: bytes) -> bytes:
    branch = header(request, "Via").partition("branch=")[2].partition(";")[0]
    other = branch[:-1] + ("0" if branch[-1] != "0" else "1")
    return response(request).replace(branch.encode(), other.encode())


@pytest.mark.parametrize(
    "reply",
    [
        wrong_branch,
        lambda request: response(request, Call_ID="0123456789abcdef@127.0.0.1"),
        lambda request: response(request, CSeq="2 OPTIONS"),
        lambda request: response(request, CSeq="1 INVITE"),
        lambda request: response(request, Via="SIP/2.0/UDP a;branch=z9hG4bK1"),
        lambda request: request,
        lambda request: b"OPTIONS sip:sipwatch@127.0.0.1 SIP/2.0\r\n\r\n",
        lambda request: b"\r\n\r\n",
        lambda request: b"",
        lambda request: b"\x00" * 20,
        lambda request: b"SIP/2.0 200 OK\r\nVia: z9hG4bK" + b"f" * 24 + b"\r\n\r\n",
    ],
)
def test_what_is_not_ours_never_counts(reply: object) -> None:
    network, sent = asked()
    network.deliver(reply(sent.data), PEER)  # type: ignore[operator]
    network.run_until(0.3)
    assert network.told == []
    assert network.rows.doing[0] == ASKED
    assert network.sweep.inbox.strays == 1


def test_a_second_copy_of_an_answer_counts_once() -> None:
    network, sent = asked()
    network.deliver(response(sent.data), PEER)
    network.deliver(response(sent.data), PEER)
    network.run_until(0.2)
    assert len(network.told) == 1
    assert network.sweep.inbox.strays == 1


def test_an_answer_after_the_timeout_is_too_late() -> None:
    network, sent = asked()
    network.run_until(6)
    network.deliver(response(sent.data), PEER)
    network.run_until(7)
    assert [o.state for o in network.told] == [State.DOWN]


def test_an_answer_from_elsewhere_counts_and_is_flagged() -> None:
    network, sent = asked()
    network.deliver(response(sent.data), STRANGER)
    network.run_until(0.2)
    (told,) = network.told
    assert told.state is State.UP
    assert told.detail == (
        "200 OK from 198.51.100.9:5060, though 192.0.2.1:5060 was asked"
    )


def test_strict_source_refuses_it() -> None:
    network, sent = asked(strict_source=True)
    network.deliver(response(sent.data), STRANGER)
    network.run_until(0.2)
    assert network.told == []
    network.deliver(response(sent.data), PEER)
    network.run_until(0.3)
    assert [o.state for o in network.told] == [State.UP]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b"SIP/2.0 200 OK", b"SIP/2.0 2OO OK"),
        lambda data: data.replace(b"1 OPTIONS", b"x OPTIONS"),
        lambda data: data.replace(b"Via: SIP/2.0/UDP ", b"Via: "),
    ],
)
def test_an_answer_with_our_branch_that_cannot_be_read_is_malformed(
    spoil: object,
) -> None:
    network, sent = asked()
    network.deliver(spoil(response(sent.data)), PEER)  # type: ignore[operator]
    network.run_until(0.2)
    (told,) = network.told
    assert (told.state, told.cause) == (State.DOWN, Cause.MALFORMED)
    assert told.detail.startswith("its answer cannot be read: ")
    assert told.since == pytest.approx(START + 0.1, abs=0.02)


def test_an_answer_beyond_all_bounds_is_none() -> None:
    network, sent = asked()
    data = response(sent.data)
    network.deliver(data[:14] + b"\r\nX: " + b"x" * 40_000 + data[14:], PEER)
    network.run_until(6)
    assert network.told[0].cause is Cause.TIMEOUT


def test_an_icmp_error_names_its_row_by_the_request_it_quotes() -> None:
    network, sent = asked()
    inbox = network.sweep.inbox
    assert inbox.asking(sent.data) == 0
    assert inbox.asking(sent.data[:120]) == 0
    assert inbox.asking(sent.data[:40]) is None
    assert inbox.asking(sent.data.replace(b"z9hG4bK0", b"z9hG4bK7")) is None
    network.run_until(6)
    assert inbox.asking(sent.data) is None  # in flight no more


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_a_branch_is_read_as_it_was_written(row: int, nonce: int) -> None:
    branch = branch_of(row, nonce)
    assert read_branch(branch) == (row, nonce)
    assert quoted_branch(f"Via: x;branch={branch};rport".encode()) == (row, nonce)


@settings(max_examples=300)
@given(st.data())
def test_no_bytes_break_the_inbox(data: st.DataObject) -> None:
    network, sent = asked()
    good = bytearray(response(sent.data))
    for _ in range(data.draw(st.integers(1, 6))):
        where = data.draw(st.integers(0, len(good) - 1))
        good[where : where + data.draw(st.integers(0, 9))] = data.draw(
            st.binary(max_size=9)
        )
    network.sweep.inbox.take([(bytes(good), PEER, network.now)])
    assert len(network.told) <= 1


@given(st.binary(max_size=300))
def test_reading_refuses_bytes_only_with_a_value_error(octets: bytes) -> None:
    try:
        read_answer(b"SIP/2.0 200 OK\r\n" + octets)
    except ValueError:
        return
