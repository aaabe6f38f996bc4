"""The look at what passes: responses and reasons counted, labels bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.capture.look import CODES, METHODS, Passing
from tests.sipwatch.capture.packets import (
    ethernet,
    frame,
    ip6,
    sip,
    tcp_frame,
    udp,
)


def counted(
    *payloads: bytes,
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """What was counted of some datagrams."""
    passing = Passing()
    for payload in payloads:
        passing.look(frame(payload).data)
    return dict(passing.responses), dict(passing.reasons)


@pytest.mark.parametrize(
    ("first", "cseq", "key"),
    [
        ("SIP/2.0 480 Temporarily Unavailable", "7 INVITE", ("INVITE", "480")),
        ("SIP/2.0 200 OK", "1 REGISTER", ("REGISTER", "200")),
        ("SIP/2.0 499 What", "1 OPTIONS", ("OPTIONS", "4xx")),
        ("SIP/2.0 200 OK", "1 BREW", ("other", "200")),
        ("SIP/2.0 200 OK", "", ("other", "200")),
        ("SIP/2.0 999 Oh", "1 BYE", ("BYE", "9xx")),
    ],
)
def test_a_response_is_counted_by_method_and_code(
    first: str, cseq: str, key: tuple[str, str]
) -> None:
    assert counted(sip(first, cseq=cseq)) == ({key: 1}, {})


def test_requests_and_keep_alives_are_not_counted() -> None:
    ask = sip("REGISTER sip:pbx.example.com SIP/2.0")

    assert counted(ask, b"\r\n\r\n", b"", b"SIP/2.0 ok", b"SIP/2.0 4") == ({}, {})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('Q.850;cause=16;text="Terminated"', ("Q.850", "16")),
        ("q.850 ; cause=20", ("Q.850", "20")),
        ("Q.850;cause=999", ("Q.850", "other")),
        ('SIP;cause=200;text="elsewhere"', ("SIP", "200")),
        ("SIP;cause=4", ("SIP", "other")),
        ("X.25;cause=1", ("other", "other")),
    ],
)
def test_a_reason_is_counted_by_protocol_and_cause(
    value: str, key: tuple[str, str]
) -> None:
    busy = sip("SIP/2.0 486 Busy Here", f"Reason: {value}", cseq="1 INVITE")

    assert counted(busy) == ({("INVITE", "486"): 1}, {key: 1})


def test_a_response_is_found_over_tcp_ipv6_and_under_tags() -> None:
    passing = Passing()
    ok = sip("SIP/2.0 200 OK")

    passing.look(tcp_frame(ok, 1).data)
    passing.look(ethernet(ip6(udp(ok)), 1, 2))

    assert passing.responses == {("REGISTER", "200"): 2}


def test_any_case_of_cseq_is_read() -> None:
    ok = sip("SIP/2.0 200 OK").replace(b"CSeq", b"cseq")

    assert counted(ok) == ({("REGISTER", "200"): 1}, {})


@given(st.integers(100, 999), st.text(max_size=20), st.text(max_size=40))
def test_labels_are_bounded(code: int, method: str, reason: str) -> None:
    labels = {*METHODS, "other"}
    codes = {*map(str, CODES), *(f"{n}xx" for n in range(1, 10))}
    responses, reasons = counted(
        sip(f"SIP/2.0 {code} X", f"Reason: {reason}", cseq=f"1 {method}")
    )

    assert {m for m, _ in responses} <= labels
    assert {c for _, c in responses} <= codes
    assert all(isinstance(key, tuple) and key[0] != reason for key in reasons)
