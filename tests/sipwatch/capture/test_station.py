"""The ring's process over a socket pair: frames in, questions and answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipwatch.capture import client
from sipwatch.capture.client import NoCaptureError
from sipwatch.capture.frames import ETHERNET, FRAME_LIMIT, Frame
from sipwatch.capture.listening import AT_ONCE, Wire
from sipwatch.capture.protocol import QUESTION_LIMIT, Question, decoded, question_of
from sipwatch.capture.ring import SMALLEST, Ring
from sipwatch.capture.station import (
    AGAIN,
    CALLERS,
    PATIENCE,
    WIRES,
    Station,
    only,
    serve,
)
from tests.servers import until
from tests.sipwatch.capture.packets import AT, PBX, PHONE, frame, sip

ASK = sip("REGISTER sip:pbx.example.com SIP/2.0")
NO = sip("SIP/2.0 403 Forbidden")


class Paired:
    """One end of a socket pair, as a socket of scapy's is used."""

    def __init__(self, ins: socket.socket) -> None:
        self.ins = ins
        self.at = AT

    def recv_raw(self, size: int) -> tuple[Any, bytes, float]:
        self.at += 0.001
        data = self.ins.recv(size)
        if data == b"down":
            raise OSError(100, "Network is down")
        return None, data, self.at

    def close(self) -> None:
        self.ins.close()


class Site:
    """A station, what is on its wire, and its clock."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(folder / "capture.sock")
        self.now = AT
        self.station = Station(
            [Wire("eth0", Paired(theirs), ETHERNET)],
            serve(Path(self.path)),
            ring=Ring(1000, SMALLEST),
            clock=lambda: self.now,
            **options,
        )
        self._thread = threading.Thread(target=self.station.run)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.station.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self.station.close()
        self.wire.close()

    def send(self, *frames: Frame) -> None:
        for one in frames:
            self.wire.send(one.data)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.station.turn(0.0)

    def call(self) -> socket.socket:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        caller.connect(self.path)
        caller.settimeout(10)
        return caller


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A station that does one turn at a time, or runs once it is started."""
    made = Site(tmp_path)
    yield made
    made.close()


def ask(site: Site, **words: Any) -> client.Exchange:
    """The answer to a question about a minute around AT."""
    question = Question(since=AT - 30, until=AT + 30, **words)
    return asyncio.run(client.exchange(site.path, question))


def test_an_exchange_is_found_while_it_listens(site: Site) -> None:
    site.send(frame(ASK), frame(sip("OPTIONS sip:x SIP/2.0", user="2", call="other")))
    site.send(frame(NO, PBX, PHONE))
    site.start()
    until(lambda: site.station.ring.received == 3, 10, "the frames")

    answer = ask(site, users=("1001",))

    assert [one.data for one in answer.frames] == [
        frame(ASK).data,
        frame(NO, PBX, PHONE).data,
    ]
    assert (answer.cut, answer.seen) == (False, 3)
    assert answer.oldest == pytest.approx(AT + 0.001)


def test_an_empty_ring_answers_too(site: Site) -> None:
    site.start()

    assert ask(site, users=("1001",)) == client.Exchange([], False, 0, None)


def test_figures_tell_what_passed(site: Site) -> None:
    site.send(*[frame(NO, PBX, PHONE)] * 2, frame(ASK))
    site.start()
    until(lambda: site.station.ring.received == 3, 10, "the frames")

    said = asyncio.run(client.figures(site.path))

    size = 2 * len(frame(NO).data) + len(frame(ASK).data)
    assert said == {
        "since": AT,
        "interfaces": ["eth0"],
        "absent": [],
        "received": 3,
        "held": 3,
        "bytes": size,
        "oldest": pytest.approx(AT + 0.001),
        "given_way": 0,
        "dropped": 0,
        "responses": [["REGISTER", "403", 2]],
        "reasons": [],
    }


def test_several_questions_over_one_connection(site: Site) -> None:
    site.start()
    with site.call() as caller, caller.makefile("rb") as reader:
        for _ in range(3):
            caller.sendall(b'{"want": "figures"}\n')
            assert json.loads(reader.readline())["received"] == 0


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"[]\n",
        b'{"want": "all"}\n',
        b'{"want": "exchange"}\n',
        b'{"want": "exchange", "since": 0, "until": 1, "addresses": ["x"]}\n',
        b"[" * 5000 + b"\n",
        b"x" * (QUESTION_LIMIT + 1),
    ],
)
def test_nonsense_is_hung_up_on(site: Site, line: bytes) -> None:
    with site.call() as caller:
        caller.send(line)
        site.turns(5)
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(100) == b""


def test_callers_are_few_and_who_says_nothing_is_hung_up_on(site: Site) -> None:
    callers = [site.call() for _ in range(CALLERS + 1)]
    site.turns(CALLERS + 2)
    assert callers.pop().recv(10) == b""
    assert site.station.refused == 1

    site.now += PATIENCE + 1
    site.turns()

    for caller in callers:
        assert caller.recv(10) == b""
        caller.close()


def test_who_may_not_ask_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, allowed=lambda uid: uid == os.geteuid() + 1)
    with contextlib.closing(site), site.call() as caller:
        site.turns()
        assert caller.recv(10) == b""
    assert site.station.refused == 1


def test_root_and_the_rings_own_user_may_ask() -> None:
    allowed = only("nobody", "no-such-user-here")

    assert allowed(0)
    assert allowed(os.geteuid())
    assert not allowed(4_000_000)


def test_an_interface_that_went_down_is_listened_to_again(tmp_path: Path) -> None:
    back: list[Wire] = []

    def listen(name: str) -> Wire:
        if not back:
            raise OSError(100, "Network is down")
        return back.pop()

    site = Site(tmp_path, listen=listen)
    with contextlib.closing(site):
        site.wire.send(frame(ASK).data)
        site.wire.send(b"down")
        site.turns(4)
        figures = site.station.figures()
        assert (figures["interfaces"], figures["absent"]) == ([], ["eth0"])
        assert figures["received"] == 1  # what came before is kept

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        back.append(Wire("eth0", Paired(theirs), ETHERNET))
        site.turns()
        assert site.station.figures()["interfaces"] == []  # not at once again
        site.now += AGAIN
        site.turns(1)
        ours.send(frame(NO).data)
        site.turns(2)
        figures = site.station.figures()
        assert (figures["interfaces"], figures["absent"]) == (["eth0"], [])
        assert figures["received"] == 2
        ours.close()


def test_interfaces_that_come_later_are_listened_to_where_all_are_wanted(
    tmp_path: Path,
) -> None:
    there = ["eth0"]
    tried: list[str] = []
    pairs: list[socket.socket] = []

    def listen(name: str) -> Wire:
        tried.append(name)
        if name == "can1":
            raise ValueError("can1 is of a kind that is not read here (280)")
        if name == "down0":
            raise OSError(100, "Network is down")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        pairs.append(ours)
        return Wire(name, Paired(theirs), ETHERNET)

    site = Site(tmp_path, listen=listen, names=lambda: there)
    with contextlib.closing(site):
        there += ["veth1", "can1", "down0"]
        site.turns(1)
        assert tried == []  # it is looked now and then
        for _ in range(2):
            site.now += AGAIN
            site.turns(1)
        assert tried == ["veth1", "can1", "down0", "down0"]
        pairs[0].send(frame(NO).data)
        site.turns(2)
        figures = site.station.figures()
        assert (figures["interfaces"], figures["absent"]) == (
            ["eth0", "veth1"],
            ["down0"],
        )
        assert figures["received"] == 1

        pairs[0].send(b"down")
        site.turns(2)
        there[1:] = []  # a container's: it does not come back
        site.now += AGAIN
        site.turns(1)
        assert site.station.figures()["absent"] == []
        pairs[0].close()


def test_not_every_one_of_endless_interfaces_is_listened_to(tmp_path: Path) -> None:
    there = ["eth0"]

    def listen(name: str) -> Wire:
        raise OSError(100, "Network is down")

    site = Site(tmp_path, listen=listen, names=lambda: there)
    with contextlib.closing(site):
        there += [f"veth{n}" for n in range(WIRES + 50)]
        for _ in range(2):
            site.now += AGAIN
            site.turns(1)
        assert len(site.station.figures()["absent"]) == WIRES


def test_a_frame_that_a_tag_made_too_long_is_cut(site: Site) -> None:
    """scapy puts VLAN tags back that the card took off."""
    [wire] = site.station._wires
    wire._source.recv_raw = lambda size: (None, bytes(size + 4), AT)  # type: ignore[method-assign]

    assert {len(one.data) for one in wire.frames()} == {FRAME_LIMIT}
    site.wire.send(frame(ASK).data)
    site.turns(1)
    assert site.station.ring.received > 0


def test_wires_come_first_and_not_for_ever(site: Site) -> None:
    site.wire.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(AT_ONCE + 10):
            site.wire.send(frame(ASK).data)
            sent += 1
    site.turns(1)

    assert site.station.ring.received == min(sent, AT_ONCE)


async def test_without_a_service_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoCaptureError, match="does not run"):
        await client.figures(str(tmp_path / "none.sock"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\n",
        b'{"size": -1}\n',
        b'{"size": 100000000}\n',
        b'{"size": 10}\n1234',
        b'{"size": 4}\n1234',
        b"x" * 70_000,
    ],
)
async def test_a_service_that_talks_nonsense_is_an_error(
    tmp_path: Path, answer: bytes
) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    path = str(tmp_path / "capture.sock")
    async with await asyncio.start_unix_server(hear, path):
        with pytest.raises(NoCaptureError, match="capture service"):
            await client.exchange(path, Question(since=0, until=1))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"since": "now"}, "since: not a number"),
        ({"until": True}, "until: not a number"),
        ({"until": 4000.0}, "not a time of up to an hour"),
        ({"since": 2.0}, "not a time of up to an hour"),
        ({"since": float("nan")}, "not a time of up to an hour"),
        ({"most": 0}, "most: not between"),
        ({"most": 10**12}, "most: not between"),
        ({"users": "1001"}, "users: not a list"),
        ({"users": ["x"] * 33}, "users: not a list of up to 32"),
        ({"call_ids": [1]}, "call_ids: not words"),
        ({"addresses": [""]}, "addresses: not words"),
        ({"users": ["x" * 300]}, "users: not words of up to 256"),
    ],
)
def test_a_question_that_is_none_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        question_of({"since": 0.0, "until": 1.0, **changed})


def test_a_question_is_read_as_it_was_asked() -> None:
    question = Question(since=1.0, until=2.0, users=("1001",), call_ids=("a",), most=5)

    assert question_of(decoded(question.line())) == question


def test_a_slow_caller_does_not_stop_the_ring(site: Site) -> None:
    """It takes its answer octet by octet, and frames are taken in meanwhile."""
    site.send(*[frame(ASK)] * 20)
    site.turns(2)
    with site.call() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        question = Question(since=AT, until=AT + 9, users=("1001",))
        caller.sendall(question.line())
        caller.setblocking(False)
        began, received = time.monotonic(), b""
        while b"\n" not in received and time.monotonic() < began + 10:
            site.send(frame(NO))
            site.turns(1)
            with contextlib.suppress(BlockingIOError):
                received += caller.recv(1)
        head, _, rest = received.partition(b"\n")
        size = json.loads(head)["size"]
        while len(rest) < size:
            site.turns(1)
            with contextlib.suppress(BlockingIOError):
                rest += caller.recv(100)
    assert site.station.ring.received > 20
