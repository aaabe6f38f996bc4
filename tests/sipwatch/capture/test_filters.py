"""The filter, run by the kernel on a socket pair, which needs no privilege."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from struct import pack

import pytest

from sipwatch.capture.filters import NOTHING, PORTS, attach, program
from tests.sipwatch.capture.packets import PBX, ethernet, ip, ip6, sip, tcp, udp

ASK = sip("REGISTER sip:pbx.example.com SIP/2.0")
HIGH = ("10.20.0.31", 40_000)
TO, FROM = udp(ASK, HIGH, PBX), udp(ASK, PBX, HIGH)
OTHER = udp(ASK, HIGH, (PBX[0], 9))
CHAINED = b"\x11\x00" + bytes(6)
LATER = pack("!BBHL", 17, 0, 1480, 7)


@contextlib.contextmanager
def filtered(code: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends; what is sent into the first passes the filter to the second."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.setblocking(False)
        attach(theirs, code)
        yield ours, theirs


def passes(code: bytes, data: bytes) -> bool:
    """Whether the kernel lets a frame pass, whole."""
    with filtered(code) as (ours, theirs):
        ours.send(data)
        try:
            return theirs.recv(65_535) == data
        except BlockingIOError:
            return False


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (ethernet(ip(TO)), True),
        (ethernet(ip(FROM)), True),
        (ethernet(ip(OTHER)), False),
        (ethernet(ip(TO, options=bytes(12))), True),
        (ethernet(ip(TO), 100), True),
        (ethernet(ip(TO), 100, 200), True),
        (ethernet(ip(TO), 100, 200, 300), False),
        (ethernet(ip(OTHER), 100), False),
        (ethernet(ip(TO), 100, tag=0x88A8), True),
        (ethernet(ip(tcp(ASK, HIGH, PBX), protocol=6)), True),
        (ethernet(ip(tcp(ASK, HIGH, (PBX[0], 22)), protocol=6)), False),
        (ethernet(ip(bytes(40), id=7, offset=1480)), True),
        (ethernet(ip(bytes(40), id=7, offset=1480, protocol=6)), False),
        (ethernet(ip(bytes(40), protocol=1)), False),
        (ethernet(ip6(TO)), True),
        (ethernet(ip6(FROM), 100), True),
        (ethernet(ip6(OTHER)), False),
        (ethernet(ip6(tcp(ASK, PBX, HIGH), protocol=6)), True),
        (ethernet(ip6(TO, protocol=0, chain=CHAINED)), True),
        (ethernet(ip6(bytes(40), protocol=44, chain=LATER)), True),
        (ethernet(ip6(bytes(40), protocol=58)), False),
        (bytes(12) + b"\x08\x06" + bytes(28), False),
        (b"\0", False),
    ],
)
def test_what_may_be_sip_passes(data: bytes, taken: bool) -> None:
    assert passes(program([5060]), data) is taken


@pytest.mark.parametrize(
    ("data", "taken"),
    [(ip(TO), True), (ip6(FROM), True), (ip(OTHER), False), (b"\x75" + TO, False)],
)
def test_without_a_link_the_packet_is_at_once(data: bytes, taken: bool) -> None:
    assert passes(program([5060], ethernet=False), data) is taken


@pytest.mark.parametrize("port", [5060, 5080, 6_000, 5_014])
def test_every_port_of_many_passes(port: int) -> None:
    ports = [5060, 5080, 6_000, *range(5_002, 5_002 + PORTS - 3)]
    frame = udp(ASK, HIGH, (PBX[0], port))
    for twice in False, True:
        code = program(ports, twice=twice)
        assert passes(code, ethernet(ip(frame)))
        assert passes(code, ethernet(ip6(frame), 1, 2))
        assert not passes(code, ethernet(ip(OTHER)))


@pytest.mark.parametrize("ports", [[], list(range(1, PORTS + 2))])
def test_no_ports_or_too_many_are_refused(ports: list[int]) -> None:
    with pytest.raises(ValueError, match="ports"):
        program(ports)


def test_nothing_passes_a_filter_for_nothing() -> None:
    assert not passes(NOTHING, ethernet(ip(TO)))
