"""Frames as they are on a wire, made by hand; most checksums are left out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from struct import pack

from sipwatch.capture.frames import ETHERNET, Frame
from sipwatch.capture.sums import checksum

PHONE, PBX = ("10.20.0.31", 5060), ("10.20.0.5", 5060)
PHONE6, PBX6 = ("2001:db8::31", 5060), ("2001:db8::5", 5060)
AT = 1_700_000_000.25

End = tuple[str, int]


def sip(
    first: str,
    *fields: str,
    call: str = "a84b4c76e66710",
    cseq: str = "1 REGISTER",
    user: str = "1001",
    body: str = "",
) -> bytes:
    """A SIP message with what every one has."""
    lines = (
        first,
        "Via: SIP/2.0/UDP 10.20.0.31:5060;branch=z9hG4bK776asdhds",
        f"From: <sip:{user}@pbx.example.com>;tag=1928301774",
        f"To: <sip:{user}@pbx.example.com>",
        f"Call-ID: {call}",
        f"CSeq: {cseq}",
        *fields,
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", body)).encode()


def udp(payload: bytes, source: End = PHONE, target: End = PBX) -> bytes:
    """The payload of IP."""
    return pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload


def tcp(
    payload: bytes,
    source: End = PHONE,
    target: End = PBX,
    *,
    sequence: int = 1000,
    flags: int = 0x18,
    options: bytes = b"",
) -> bytes:
    """A segment."""
    offset = (20 + len(options)) << 2
    ends = pack("!HHLLBB", source[1], target[1], sequence, 1, offset, flags)
    return ends + pack("!HHH", 65_535, 0, 0) + options + payload


def ip(
    payload: bytes,
    source: str = PHONE[0],
    target: str = PBX[0],
    *,
    protocol: int = 17,
    id: int = 0,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet, or a fragment of one."""
    fragment = (0x2000 if more else 0) | offset // 8
    head = pack(
        "!BBHHHBBH",
        *(0x45 + len(options) // 4, 0, 20 + len(options) + len(payload)),
        *(id, fragment, 64, protocol, 0),
    )
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return head + ends + options + payload


def ip6(
    payload: bytes,
    source: str = PHONE6[0],
    target: str = PBX6[0],
    *,
    protocol: int = 17,
    chain: bytes = b"",
) -> bytes:
    """An IPv6 packet; `chain` are extension headers, the first of type `protocol`."""
    head = pack("!LHBB", 6 << 28, len(chain) + len(payload), protocol, 64)
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return head + ends + chain + payload


def ethernet(packet: bytes, *vlans: int, tag: int = 0x8100) -> bytes:
    """A packet on Ethernet, under VLAN tags."""
    tags = b"".join(pack("!HH", tag, vlan) for vlan in vlans)
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return bytes(6) + b"\x02" + bytes(5) + tags + pack("!H", kind) + packet


def frame(
    payload: bytes, source: End = PHONE, target: End = PBX, at: float = AT
) -> Frame:
    """A UDP datagram on Ethernet."""
    packet = ip(udp(payload, source, target), source[0], target[0])
    return Frame(at, ETHERNET, ethernet(packet))


def tcp_frame(
    payload: bytes,
    sequence: int,
    source: End = PHONE,
    target: End = PBX,
    *,
    flags: int = 0x18,
    at: float = AT,
) -> Frame:
    """A TCP segment on Ethernet."""
    segment = tcp(payload, source, target, sequence=sequence, flags=flags)
    packet = ip(segment, source[0], target[0], protocol=6)
    return Frame(at, ETHERNET, ethernet(packet))


def fragments(payload: bytes, size: int, id: int = 7) -> list[Frame]:
    """A UDP datagram in IPv4 fragments of so many octets."""
    data = udp(payload)
    starts = range(0, len(data), size)
    return [
        Frame(
            AT,
            ETHERNET,
            ethernet(
                ip(
                    data[at : at + size],
                    id=id,
                    offset=at,
                    more=at + size < len(data),
                )
            ),
        )
        for at in starts
    ]


def summed(data: bytes, source: str, target: str) -> bytes:
    """A UDP datagram with its checksum."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    size = pack("!LL" if len(ends) == 32 else "!HH", len(data), 17)
    value = checksum(ends + size + data)
    return data[:6] + pack("!H", value or 0xFFFF) + data[8:]


def fragments6(payload: bytes, size: int, id: int = 7) -> list[Frame]:
    """A UDP datagram in IPv6 fragments, with its checksum."""
    data = summed(udp(payload), PHONE6[0], PBX6[0])
    found = []
    for at in range(0, len(data), size):
        more = at + size < len(data)
        chain = pack("!BBHL", 17, 0, at | more, id)
        packet = ip6(data[at : at + size], protocol=44, chain=chain)
        found.append(Frame(AT, ETHERNET, ethernet(packet)))
    return found


def said(frames: Iterable[Frame]) -> list[bytes]:
    """The messages of some frames."""
    from sipwatch.capture.heard import messages

    return [message.data for message in messages(frames)]
