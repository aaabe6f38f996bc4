"""Evidence: a file without secrets, which Wireshark reads without a warning."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from checks.sip.trace import Exchanged
from sipwatch.capture import export, savefile
from sipwatch.capture.frames import ETHERNET, RAW, Frame, packet_of
from tests.servers import require
from tests.sipwatch.capture.packets import (
    AT,
    PBX,
    PBX6,
    PHONE,
    PHONE6,
    ethernet,
    fragments,
    fragments6,
    frame,
    ip,
    ip6,
    said,
    sip,
    summed,
    tcp_frame,
    udp,
)

SECRET = "6629fae49393a05397450978507c4ef1"
DIGEST = f'Authorization: Digest username="1001", realm="pbx", response="{SECRET}"'
ASK = sip("REGISTER sip:pbx.example.com SIP/2.0", DIGEST)
NO = sip("SIP/2.0 403 Forbidden")
CHECKS = [f"{what}.check_checksum:TRUE" for what in ("udp", "tcp")]
WORSE = "_ws.malformed or _ws.expert.severity >= 6291456"  # PI_WARN of epan/proto.h


def frames_of(exported: export.Exported) -> list[Frame]:
    """The frames of a file."""
    return list(savefile.read(io.BytesIO(exported.pcapng)))


def tshark(data: bytes, folder: Path, *options: str) -> list[str]:
    """What it prints of a file; it has nothing to complain about."""
    file = folder / "evidence.pcapng"
    file.write_bytes(data)
    checks = [word for check in CHECKS for word in ("-o", check)]
    argv = require("tshark")("-n", "-r", file, *checks, *options)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    complaints = [
        line for line in done.stderr.splitlines() if line and "Running as" not in line
    ]
    assert complaints == []
    return done.stdout.splitlines()


def test_an_exchange_is_exported_clean() -> None:
    exported = export.of_frames([frame(ASK), frame(NO, PBX, PHONE, AT + 0.002)])

    assert (exported.messages, exported.frames, exported.notes) == (2, 2, ())
    assert SECRET.encode() not in exported.pcapng
    assert said(frames_of(exported)) == [ASK.replace(SECRET.encode(), b"x" * 32), NO]
    assert [one.at for one in frames_of(exported)] == [AT, AT + 0.002]
    assert len(exported.sha256) == 64


def test_the_text_is_a_ladder() -> None:
    exported = export.of_frames([frame(ASK), frame(NO, PBX, PHONE, AT + 0.002)])

    lines = exported.text.splitlines()
    assert lines[0] == "      0.0 ms  10.20.0.31:5060 -> 10.20.0.5:5060 udp"
    assert "      2.0 ms  10.20.0.5:5060 -> 10.20.0.31:5060 udp" in lines
    assert SECRET not in exported.text
    assert "    SIP/2.0 403 Forbidden" in lines


@pytest.mark.parametrize("place", range(ASK.index(b"\r\n") + 2, len(ASK), 9))
def test_a_secret_across_two_segments_is_overwritten_in_both(place: int) -> None:
    frames = [tcp_frame(ASK[:place], 1), tcp_frame(ASK[place:], 1 + place)]

    exported = export.of_frames(frames)

    assert said(frames_of(exported)) == [ASK.replace(SECRET.encode(), b"x" * 32)]


def test_a_secret_in_a_retransmission_is_overwritten_too() -> None:
    frames = [tcp_frame(ASK, 1), tcp_frame(ASK, 1), tcp_frame(NO, 1 + len(ASK))]

    assert SECRET.encode() not in export.of_frames(frames).pcapng


def test_a_secret_over_fragments_is_overwritten() -> None:
    long = ASK[:-2] + b"X-Pad: " + b"p" * 2500 + b"\r\n\r\n"

    exported = export.of_frames(fragments(long, 160))

    assert exported.messages == 1
    assert said(frames_of(exported)) == [long.replace(SECRET.encode(), b"x" * 32)]


@pytest.mark.parametrize("size", [160, 168, 1232])
def test_the_checksum_of_a_packet_in_fragments_is_right_again(size: int) -> None:
    long = ASK[:-2] + b"X-Pad: " + b"p" * 2501 + b"\r\n\r\n"

    exported = export.of_frames(fragments6(long, size))

    packets = [packet_of(one) for one in frames_of(exported)]
    frames = zip(packets, frames_of(exported), strict=True)
    whole = b"".join(one.data[p.begin : p.end] for p, one in frames)
    masked = long.replace(SECRET.encode(), b"x" * 32)
    assert whole == summed(udp(masked), PHONE6[0], PBX6[0])


def test_what_nobody_looked_through_stays_away() -> None:
    first = fragments(ASK[:-2] + b"p" * 3000, 1480)[0]
    frames = [
        frame(SECRET.encode()),
        tcp_frame(SECRET.encode(), 1),
        tcp_frame(ASK[:200], 1, (PHONE[0], 9)),
        first,
        Frame(AT, ETHERNET, ethernet(ip(SECRET.encode(), protocol=1))),
        Frame(AT, ETHERNET, SECRET.encode()),
    ]

    exported = export.of_frames(frames)

    assert SECRET.encode() not in exported.pcapng
    assert frames_of(exported) == []


def test_how_a_connection_opens_and_is_refused_goes_along() -> None:
    frames = [
        tcp_frame(b"", 1, flags=0x02),
        tcp_frame(b"", 1, PBX, PHONE, flags=0x14),
    ]

    assert len(frames_of(export.of_frames(frames))) == 2


def test_octets_behind_the_packet_do_not_leak() -> None:
    trailing = Frame(AT, ETHERNET, frame(NO).data + SECRET.encode())

    assert SECRET.encode() not in export.of_frames([trailing]).pcapng


def test_numbers_are_overwritten_where_that_is_asked() -> None:
    call = sip("INVITE sip:+4930123456@pbx.example.com SIP/2.0", cseq="1 INVITE")

    exported = export.of_frames([frame(call)], numbers=True)

    assert b"4930123456" not in exported.pcapng
    assert "4930123456" not in exported.text


def test_that_tls_cannot_be_read_is_said() -> None:
    hello = tcp_frame(
        b"\x16\x03\x01" + bytes(90), 1, (PHONE[0], 40_000), (PBX[0], 5061)
    )

    assert export.of_frames([hello]).notes == (
        "what goes to 10.20.0.5 port 5061 is TLS: nobody in between can read it",
    )


def test_our_own_exchange_is_a_file_without_frames() -> None:
    ours = [
        Exchanged(AT, True, "udp", PHONE, PBX, ASK),
        Exchanged(AT + 1, False, "tls", ("2001:db8::1", 5), ("2001:db8::2", 6), NO),
    ]

    exported = export.of_messages(ours)

    assert (exported.messages, exported.frames) == (2, 2)
    assert SECRET.encode() not in exported.pcapng
    assert SECRET not in exported.text


@pytest.mark.real("tshark")
def test_wireshark_reads_frames_without_a_warning(tmp_path: Path) -> None:
    frames = [
        frame(ASK),
        Frame(AT, ETHERNET, ethernet(ip(udp(NO)), 100)),
        Frame(AT, RAW, ip6(udp(NO, PBX6, PHONE6), PBX6[0], PHONE6[0])),
        tcp_frame(b"", 99, flags=0x02),
        tcp_frame(ASK, 100),
        *fragments(ASK[:-2] + b"X-Pad: " + b"p" * 2500 + b"\r\n\r\n", 1480),
        *fragments6(ASK[:-2] + b"X-Pad: " + b"p" * 2500 + b"\r\n\r\n", 1232),
    ]
    exported = export.of_frames(frames, comment="incident 1")
    assert exported.messages == 6

    assert tshark(exported.pcapng, tmp_path, "-Y", WORSE) == []
    seen = tshark(exported.pcapng, tmp_path, "-Y", "sip", "-T", "fields", "-e", METHOD)
    assert sorted(seen) == ["", "", *["REGISTER"] * 4]


METHOD = "sip.Method"


@pytest.mark.real("tshark")
def test_wireshark_reads_our_own_exchange_without_a_warning(tmp_path: Path) -> None:
    ours = [
        Exchanged(AT, True, "udp", PHONE, PBX, ASK),
        Exchanged(AT + 1, False, "tcp", PHONE6, PBX6, NO),
    ]
    exported = export.of_messages(ours)

    assert tshark(exported.pcapng, tmp_path, "-Y", WORSE) == []
    fields = ("-T", "fields", "-e", METHOD, "-e", "sip.Status-Code")
    assert tshark(exported.pcapng, tmp_path, *fields) == ["REGISTER\t", "\t403"]
