"""A filter that the kernel runs on each frame: what may be SIP, and nothing else.

Classic BPF, written here rather than compiled by libpcap, so that a machine needs
neither that nor tcpdump. It passes UDP and TCP of some ports, of IPv4 and IPv6, under
up to two VLAN tags; and every later fragment of UDP, in which there is no port.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator, Sequence
from struct import pack
from typing import NamedTuple

PORTS = 16  # at most: a jump reaches 255 instructions
ATTACH = 26  # SO_ATTACH_FILTER of <asm/socket.h>
WHOLE = 0x40000  # octets of a frame that pass

# <linux/filter.h>: instruction classes and modes, and where the packet type is.
_LDH, _LDB, _LDXB_MSH, _LDHX, _LDX = 0x28, 0x30, 0xB1, 0x48, 0x01
_JEQ, _JSET, _RET, _AND = 0x15, 0x45, 0x06, 0x54
_PACKET_TYPE, _OUTGOING = 0xFFFFF000 + 4, 4

_LATER = 0x1FFF  # bits of the fragment offset of IPv4
_IPV6_CHAINED = (0, 43, 60)  # extension headers: hop by hop, routing, options


class _Op(NamedTuple):
    code: int
    k: int
    yes: str = ""  # a label; empty: the next instruction
    no: str = ""
    label: str = ""  # of this place


def program(
    ports: Sequence[int], *, ethernet: bool = True, twice: bool = False
) -> bytes:
    """The filter for these ports. `twice`: the interface shows each frame going out
    and coming in, as loopback does, so the former is dropped."""
    if not 0 < len(ports) <= PORTS:
        raise ValueError(f"{len(ports)} ports (1 to {PORTS})")
    return assembled(list(_written(ports, ethernet=ethernet, twice=twice)))


NOTHING = pack("=HBBL", _RET, 0, 0, 0)  # a filter that nothing passes


def attach(sock: socket.socket, code: bytes) -> None:
    """Have the kernel run a filter on all that a socket receives."""
    buffer = ctypes.create_string_buffer(code)
    count = len(code) // 8
    sock.setsockopt(
        socket.SOL_SOCKET, ATTACH, pack("@HP", count, ctypes.addressof(buffer))
    )


def assembled(ops: list[_Op]) -> bytes:
    """The instructions as the kernel takes them, labels replaced by distances."""
    places = {op.label: i for i, op in enumerate(ops) if op.label}

    def distance(label: str, here: int) -> int:
        return places[label] - here - 1 if label else 0

    return b"".join(
        pack("=HBBL", op.code, distance(op.yes, i), distance(op.no, i), op.k)
        for i, op in enumerate(ops)
    )


def _written(ports: Sequence[int], *, ethernet: bool, twice: bool) -> Iterator[_Op]:
    if twice:
        yield _Op(_LDB, _PACKET_TYPE)
        yield _Op(_JEQ, _OUTGOING, "", "other")
        yield _Op(_RET, 0)
        yield _Op(_LDB, 0, label="other")
    if not ethernet:
        yield _Op(_LDB, 0)
        yield _Op(_AND, 0xF0)  # the version of IP
        yield _Op(_JEQ, 0x40, "v4.0")
        yield _Op(_JEQ, 0x60, "v6.0")
        yield _Op(_RET, 0)
        yield from _packet(0, ports)
    else:
        for tags, base in enumerate((14, 18, 22)):
            yield _Op(_LDH, base - 2, label=f"tags.{tags}")
            yield _Op(_JEQ, 0x0800, f"v4.{base}")
            yield _Op(_JEQ, 0x86DD, f"v6.{base}")
            if base < 22:
                after = f"tags.{tags + 1}"
                yield _Op(_JEQ, 0x8100, after)
                yield _Op(_JEQ, 0x88A8, after)
                yield _Op(_JEQ, 0x9100, after)
            yield _Op(_RET, 0)
            yield from _packet(base, ports)


def _packet(base: int, ports: Sequence[int]) -> Iterator[_Op]:
    """What decides on an IP packet that begins at `base`."""
    drop, take, found = f"drop.{base}", f"take.{base}", f"ports.{base}"
    yield _Op(_LDB, base + 9, label=f"v4.{base}")
    yield _Op(_JEQ, 6, f"tcp.{base}")
    yield _Op(_JEQ, 17, "", drop)
    yield _Op(_LDH, base + 6)
    yield _Op(_JSET, _LATER, take, f"size.{base}")
    yield _Op(_LDH, base + 6, label=f"tcp.{base}")
    yield _Op(_JSET, _LATER, drop)
    yield _Op(_LDXB_MSH, base, label=f"size.{base}")
    yield _Op(_LDHX, base, label=found)
    for port in ports:
        yield _Op(_JEQ, port, take)
    yield _Op(_LDHX, base + 2)
    for port in ports:
        yield _Op(_JEQ, port, take)
    yield _Op(_RET, 0, label=drop)
    yield _Op(_RET, WHOLE, label=take)
    yield _Op(_LDB, base + 6, label=f"v6.{base}")
    yield _Op(_JEQ, 17, f"fixed.{base}")
    yield _Op(_JEQ, 6, f"fixed.{base}")
    yield _Op(_JEQ, 44, f"inner.{base}")
    for header in _IPV6_CHAINED:
        yield _Op(_JEQ, header, f"inner.{base}")
    yield _Op(_RET, 0)
    # A fragment, or another header between: its ports are not at a fixed place.
    yield _Op(_LDB, base + 40, label=f"inner.{base}")
    yield _Op(_JEQ, 17, f"whole.{base}")
    yield _Op(_JEQ, 6, f"whole.{base}")
    yield _Op(_RET, 0)
    yield _Op(_RET, WHOLE, label=f"whole.{base}")
    yield _Op(_LDX, 40, label=f"fixed.{base}")
    yield _Op(_LDHX, base)
    for port in ports:
        yield _Op(_JEQ, port, f"six.{base}")
    yield _Op(_LDHX, base + 2)
    for port in ports:
        yield _Op(_JEQ, port, f"six.{base}")
    yield _Op(_RET, 0)
    yield _Op(_RET, WHOLE, label=f"six.{base}")
