"""The story of a capture: failed registrations and calls, and who refused them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Cause
from sipwatch.capture import pcapng
from sipwatch.capture.frames import Frame
from sipwatch.capture.heard import messages
from sipwatch.capture.reading import lines
from sipwatch.capture.story import Story
from tests.end_to_end.running import sipwatch
from tests.sipwatch.capture.packets import AT, PBX, PHONE, frame, sip, tcp_frame

CALLER = ("10.20.0.77", 5060)
DIGEST = 'Authorization: Digest username="1001", realm="pbx", response="x"'
ASKS = 'WWW-Authenticate: Digest realm="pbx", nonce="abc", algorithm=MD5'
CONTACT = "Contact: <sip:1001@10.20.0.31:5060>"
REGISTER = "REGISTER sip:pbx.example.com SIP/2.0"
INVITE = "INVITE sip:1001@pbx.example.com SIP/2.0"


def asked(*fields: str, n: int = 1, at: float = AT, **more: Any) -> Frame:
    """A REGISTER of the phone."""
    found = ("Expires: 60", CONTACT, "User-Agent: Yealink T46", *fields)
    return frame(sip(REGISTER, *found, cseq=f"{n} REGISTER", **more), at=at)


def answered(
    first: str, *fields: str, n: int = 1, at: float = AT + 0.01, **more: Any
) -> Frame:
    """What the PBX says to it."""
    message = sip(f"SIP/2.0 {first}", *fields, cseq=f"{n} REGISTER", **more)
    return frame(message, PBX, PHONE, at)


def invited(source: Any = CALLER, target: Any = PBX, at: float = AT + 5) -> Frame:
    return frame(
        sip(INVITE, cseq="1 INVITE", call="call", user="1002").replace(
            b"To: <sip:1002@", b"To: <sip:1001@"
        ),
        source,
        target,
        at,
    )


def said(
    first: str,
    *fields: str,
    source: Any = PBX,
    target: Any = CALLER,
    at: float = AT + 6,
) -> Frame:
    """A response to that call."""
    message = sip(f"SIP/2.0 {first}", *fields, cseq="1 INVITE", call="call")
    return frame(message, source, target, at)


def story(*frames: Frame) -> Story:
    found = Story()
    found.take_all(messages(frames))
    return found


WRONG = [
    asked(),
    answered("401 Unauthorized", ASKS),
    asked(DIGEST, n=2, at=AT + 0.02),
    answered("401 Unauthorized", ASKS, n=2, at=AT + 0.03),
]
RIGHT = [
    *WRONG[:3],
    answered("200 OK", CONTACT, n=2, at=AT + 0.03),
]


@pytest.mark.parametrize(
    ("frames", "ok", "cause"),
    [
        (WRONG, False, Cause.UNAUTHORIZED),
        ([*WRONG, asked(n=3, at=AT + 9)], False, Cause.UNAUTHORIZED),
        (
            [*WRONG, asked(n=3), answered("401 Unauthorized", ASKS, n=3)],
            False,
            Cause.UNAUTHORIZED,
        ),
        (RIGHT, True, None),
        (WRONG[:2], None, None),
        ([asked()], None, None),
        ([asked(), asked(at=AT + 0.5), asked(at=AT + 1.5)], False, Cause.TIMEOUT),
        ([asked(), answered("403 Forbidden")], False, Cause.FORBIDDEN),
        ([asked(), answered("404 Not Found")], False, Cause.NOT_FOUND),
        (
            [asked(), answered("503 Service Unavailable", "Retry-After: 30")],
            False,
            Cause.OVERLOADED,
        ),
        (
            [asked(), answered("423 Interval Too Brief", "Min-Expires: 300")],
            False,
            Cause.INTERVAL_TOO_BRIEF,
        ),
    ],
)
def test_a_registration_ends_well_or_not(
    frames: list[Frame], ok: bool | None, cause: Cause | None
) -> None:
    [found] = story(*frames).registrations

    assert found.ok is ok
    if cause is not None:
        assert found.diagnosis.cause is cause
        assert found.diagnosis.step


def test_a_phone_that_logs_out_is_away() -> None:
    out = sip(REGISTER, "Expires: 0", "Contact: *", cseq="3 REGISTER")
    [found] = story(*RIGHT, frame(out), answered("200 OK", n=3)).registrations

    assert (found.ok, found.registered) == (True, False)


def test_what_a_proxy_passes_on_is_one_registration() -> None:
    core = ("10.20.0.6", 5060)
    passed = frame(sip(REGISTER, "Expires: 60", CONTACT), PBX, core)
    no = sip("SIP/2.0 403 Forbidden")
    frames = [asked(), passed, frame(no, core, PBX), frame(no, PBX, PHONE)]

    [found] = story(*frames).registrations

    assert (found.phone, found.attempts, found.ok) == ("10.20.0.31:5060", 1, False)


def test_a_480_of_the_phone_is_told_from_one_of_the_pbx() -> None:
    away = "480 Temporarily Unavailable"
    onward = invited(PBX, PHONE, AT + 5.1)
    by_phone = [
        said(away, CONTACT, source=PHONE, target=PBX, at=AT + 5.2),
        said(away, source=PBX, at=AT + 5.3),
    ]
    [phones] = story(*RIGHT, invited(), onward, *by_phone).calls
    [pbxs] = story(*WRONG, invited(), said(away, "Server: Asterisk PBX")).calls

    assert phones.failed
    assert phones.sender == "10.20.0.31:5060, the phone"
    assert phones.finding.cause is Cause.DO_NOT_DISTURB
    assert pbxs.failed
    assert pbxs.sender == "10.20.0.5:5060, the PBX, Asterisk PBX"


def test_a_call_to_a_phone_that_logged_out_is_explained() -> None:
    out = sip(REGISTER, "Expires: 0", "Contact: *", cseq="3 REGISTER")
    frames = [*RIGHT, frame(out), answered("200 OK", n=3), invited()]
    [call] = story(*frames, said("480 Temporarily Unavailable", "Server: PBX")).calls

    assert call.finding.cause is Cause.UNREGISTERED


@pytest.mark.parametrize(
    ("frames", "failed"),
    [
        ([said("200 OK")], False),
        ([said("180 Ringing"), said("487 Request Terminated")], False),
        ([said("407 Proxy Authentication Required")], False),
        ([said("100 Trying")], False),
        ([said("603 Decline")], True),
        ([said("200 OK"), said("481 Call Does Not Exist")], False),
    ],
)
def test_not_every_end_is_a_failure(frames: list[Frame], failed: bool) -> None:
    [call] = story(invited(), *frames).calls

    assert call.failed is failed


@given(st.binary(max_size=200))
def test_any_message_is_read_or_counted(data: bytes) -> None:
    found = story(*WRONG, frame(b"SIP/2.0 200 OK\r\n" + data), frame(REGISTER.encode()))

    assert found.messages >= 4


# --- the command ----------------------------------------------------------------------


def told(path: Path, who: str = "") -> list[dict[str, Any]]:
    return list(lines(str(path), who, lambda at: f"{at:.2f}"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A phone with a wrong password, another that is well, and a call."""
    other: dict[str, Any] = {"user": "1003", "call": "other"}
    well = [asked(**other), answered("200 OK", CONTACT, **other)]
    call = [invited(), said("480 Temporarily Unavailable", "Server: Asterisk PBX")]
    tls = tcp_frame(b"\x16\x03\x01" + bytes(50), 1, PHONE, (PBX[0], 5061))
    path = tmp_path / "trace.pcapng"
    path.write_bytes(pcapng.write([*WRONG, *well, *call, tls]))
    return path


def test_a_file_is_told_rung_by_rung(file: Path) -> None:
    *rungs, last = told(file)

    marks = [(one["rung"]["what"], one["rung"]["ok"]) for one in rungs]
    assert marks == [
        *(("file", True), ("TLS", None), ("REGISTER", True)),
        *(("REGISTER", False), ("call", False)),
    ]
    assert "1001@pbx.example.com from 10.20.0.31:5060" in rungs[3]["rung"]["text"]
    assert "480 Temporarily Unavailable from 10.20.0.5" in rungs[4]["rung"]["text"]
    verdict = last["verdict"]
    assert (verdict["status"], verdict["cause"]) == (1, "unauthorized")
    assert verdict["sentence"].startswith("1001@pbx.example.com could not register: ")
    assert "the call to 1001@pbx.example.com got 480" in verdict["sentence"]
    assert verdict["steps"]


def test_only_one_is_told_of_where_one_is_named(file: Path) -> None:
    *rungs, last = told(file, "1003")

    assert [one["rung"]["what"] for one in rungs] == ["file", "TLS", "REGISTER"]
    assert last["verdict"]["ok"]


def test_a_file_that_breaks_off_is_told_as_far_as_it_goes(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])

    *rungs, last = told(file)

    assert rungs[0]["rung"]["ok"] is False
    assert rungs[0]["rung"]["text"].endswith("the file breaks off")
    assert last["verdict"]["status"] == 1


def test_the_command_tells_the_same(file: Path, tmp_path: Path) -> None:
    done = sipwatch("diagnose", "--pcap", file)
    empty = tmp_path / "empty.pcapng"
    empty.write_bytes(pcapng.write([]))
    (tmp_path / "text").write_text("hello, world")

    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ call" in done.stdout
    assert "480 Temporarily Unavailable" in done.stdout
    nothing = sipwatch("diagnose", "--pcap", empty)
    assert (nothing.returncode, nothing.stderr) == (2, "")
    wrong = sipwatch("diagnose", "--pcap", tmp_path / "text")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "it is no capture file (pcap, pcapng)" in wrong.stderr
    absent = sipwatch("diagnose", "--pcap", tmp_path / "absent")
    assert (absent.returncode, absent.stdout) == (3, "")
    assert absent.stderr.endswith("No such file or directory\n")
    assert sipwatch("diagnose").returncode == 3
