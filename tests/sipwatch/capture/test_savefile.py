"""Capture files: written and read again, of every kind, and broken in every way."""

from __future__ import annotations

import io
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipwatch.capture import pcapng, savefile
from sipwatch.capture.frames import ETHERNET, RAW, Frame

FRAMES = [
    Frame(1_700_000_000.25, ETHERNET, b"first"),
    Frame(1_700_000_000.5, RAW, b""),
    Frame(1_700_000_001.0, ETHERNET, b"third!!!"),
]
WHOLE = pcapng.write(FRAMES, comment="two links", notes={1: "an empty one"})


def read(data: bytes) -> list[Frame]:
    """The frames of a file."""
    return list(savefile.read(io.BytesIO(data)))


def pcap(order: str, magic: int, *, extra: bytes = b"") -> bytes:
    """A file of the old format with one frame."""
    fraction = 500_000_000 if magic == 0xA1B23C4D else 500_000
    return (
        pack(order + "LHHlLLL", magic, 2, 4, 0, 0, 65_535, ETHERNET)
        + pack(order + "LLLL", 1_700_000_000, fraction, 5, 99)
        + extra
        + b"hello"
    )


def block(order: str, kind: int, body: bytes) -> bytes:
    """A block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = pack(order + "L", len(body) + 12)
    return pack(order + "L", kind) + size + body + size


def section(order: str) -> bytes:
    """How a pcapng file begins."""
    return block(order, 0x0A0D0D0A, pack(order + "LHHq", 0x1A2B3C4D, 1, 0, -1))


def test_what_is_written_is_read() -> None:
    assert read(WHOLE) == FRAMES


def test_a_file_without_frames_is_one() -> None:
    assert read(pcapng.write([])) == []


@given(
    st.lists(
        st.builds(
            Frame,
            st.integers(0, 2**32).map(float),
            st.sampled_from([ETHERNET, RAW]),
            st.binary(max_size=50),
        ),
        max_size=10,
    )
)
def test_any_frames_are_read_as_they_were_written(frames: list[Frame]) -> None:
    assert read(pcapng.write(frames)) == frames


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap_of_both_orders_and_units(order: str, magic: int) -> None:
    assert read(pcap(order, magic)) == [Frame(1_700_000_000.5, ETHERNET, b"hello")]


def test_pcap_with_longer_records() -> None:
    [frame] = read(pcap("<", 0xA1B2CD34, extra=bytes(8)))

    assert frame.data == b"hello"


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_others(order: str) -> None:
    """Both byte orders, time in 1/1024 s with an offset, blocks that are unknown."""
    options = pack(order + "HHB3x", 9, 1, 0x8A) + pack(order + "HHq", 14, 8, 1000)
    interface = pack(order + "HHL", RAW, 0, 0) + options + bytes(4)
    packet = pack(order + "LLLLL", 0, 0, 512, 3, 3) + b"abc"
    obsolete = pack(order + "HHLLLL", 0, 0, 0, 1024, 2, 2) + b"de"
    simple = pack(order + "L", 1) + b"f"
    data = b"".join(
        (
            section(order),
            block(order, 1, interface),
            block(order, 5, b"statistics"),
            block(order, 6, packet),
            block(order, 2, obsolete),
            block(order, 3, simple),
            section(order),
        )
    )

    assert read(data) == [
        Frame(1000.5, RAW, b"abc"),
        Frame(1001.0, RAW, b"de"),
        Frame(0.0, RAW, b"f"),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no capture file"),
        (b"hello, world", "no capture file"),
        (pcap("<", 0xA1B2C3D4)[:-1], "breaks off"),
        (pcap("<", 0xA1B2C3D4)[:30], "breaks off"),
        (pcap("<", 0xA1B2C3D4)[:32] + b"\xff" * 8, "a frame of 4294967295 octets"),
        (WHOLE[:-1], "breaks off"),
        (WHOLE[:10], "breaks off"),
        (section("<")[:8] + bytes(20), "unknown byte order"),
        (section("<") + block("<", 6, bytes(20)), "no interface"),
        (section("<") + pack("<LL", 6, 8), "a block of 8 octets"),
        (section("<") + pack("<LL", 6, 2**31), "a block of 2147483648 octets"),
        (section("<") + pack("<LLLL", 5, 16, 0, 12), "two lengths differ"),
        (section("<") + block("<", 1, b"abc"), "a cut interface"),
        (
            section("<") + block("<", 1, bytes(8)) * 1025,
            "more than 1024 interfaces",
        ),
        (
            section("<")
            + block("<", 1, bytes(8))
            + block("<", 6, pack("<LLLLL", 0, 0, 0, 99, 99)),
            "longer than its block",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(data)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@example(9, 0xFF)
def test_one_wrong_octet_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(WHOLE)
    data[at] = value
    try:
        frames = read(bytes(data))
    except ValueError:
        return
    assert len(frames) <= len(FRAMES)


@given(st.sampled_from([b"", WHOLE[:4], WHOLE[:28]]), st.binary(max_size=300))
def test_any_octets_are_a_file_or_refused(begin: bytes, data: bytes) -> None:
    try:
        read(begin + data)
    except ValueError:
        return
