"""A real registrar refuses a phone; the ring has it, and the file shows it.

As root the command itself listens, with CAP_NET_RAW alone; else what the phone sends
and gets goes through a socket pair into the same code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.machine import sipwatch
from sipwatch.capture import client, export
from sipwatch.capture.client import NoCaptureError
from sipwatch.capture.frames import ETHERNET
from sipwatch.capture.listening import Wire
from sipwatch.capture.process import ports_of
from sipwatch.capture.protocol import Question
from sipwatch.capture.sizes import size_of
from sipwatch.capture.station import Station, serve
from tests.conftest import StartKamailio
from tests.servers import eventually, until
from tests.servers.loopback import Loopback
from tests.servers.phones import ScriptedPhone
from tests.sipwatch.capture.packets import frame
from tests.sipwatch.capture.test_export import METHOD, WORSE, tshark

PASSWORD = "not-the-right-one"
ALONE = [f"--{of}=-all,+net_raw" for of in ("bounding-set", "inh-caps", "ambient-caps")]
NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"]
privileged = os.geteuid() == 0 and shutil.which("setpriv") is not None


class Tapped:
    """A phone's socket; what goes through it goes onto a wire as well."""

    def __init__(self, ours: socket.socket, wire: socket.socket) -> None:
        self._ours, self._wire = ours, wire

    def sendto(self, data: bytes, target: tuple[str, int]) -> None:
        self._ours.sendto(data, target)
        self._wire.send(frame(data, self._ours.getsockname(), target).data)

    def recv(self, size: int) -> bytes:
        data, source = self._ours.recvfrom(size)
        self._wire.send(frame(data, source, self._ours.getsockname()).data)
        return data

    def close(self) -> None:
        self._ours.close()


class Source:
    """The other end of that wire, as a socket of scapy's is used."""

    def __init__(self, ins: socket.socket) -> None:
        self.ins = ins

    def recv_raw(self, size: int) -> tuple[Any, bytes, float]:
        return None, self.ins.recv(size), time.time()

    def close(self) -> None:
        self.ins.close()


Attach = Callable[[ScriptedPhone], None]


@pytest.fixture
def paired(tmp_path: Path) -> Iterator[tuple[str, Attach]]:
    """A ring in a thread, and what puts a phone on its wire."""
    wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = tmp_path / "capture.sock"
    station = Station([Wire("pair", Source(theirs), ETHERNET)], serve(path))
    thread = threading.Thread(target=station.run)
    thread.start()

    def attach(phone: ScriptedPhone) -> None:
        phone._socket = Tapped(phone._socket, wire)  # type: ignore[assignment]

    yield str(path), attach
    station.stop()
    thread.join()
    station.close()
    wire.close()


@pytest.fixture
def alone() -> Iterator[str]:
    """The command, as a user who may listen and nothing else."""
    with tempfile.TemporaryDirectory(prefix="sipwatch-") as folder:
        os.chown(folder, 65534, 65534)
        path = Path(folder) / "capture.sock"
        argv = [*sipwatch(), "capture", "-i", "lo", "--socket", str(path)]
        with subprocess.Popen(["setpriv", *NOBODY, *ALONE, *argv]) as process:
            until(path.exists, 30, "the ring")
            yield str(path)
            process.terminate()
            assert process.wait(10) == 0
        assert not path.exists()


def has_namespaces() -> bool:
    """Whether a network of our own can be had: root, and not every container."""
    tools = all(map(shutil.which, ("unshare", "nsenter", "ip")))
    return (
        tools and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0
    )


@pytest.mark.skipif(
    os.geteuid() != 0 or not has_namespaces(), reason="needs a network of its own"
)
def test_an_interface_that_comes_later_is_listened_to(tmp_path: Path) -> None:
    path = tmp_path / "capture.sock"
    argv = ["unshare", "-n", *sipwatch(), "capture", "--socket", str(path), "--group="]

    def listened_to() -> set[str]:
        return set(asyncio.run(client.figures(str(path)))["interfaces"])

    with subprocess.Popen(argv) as process:
        until(path.exists, 30, "the ring")
        assert not {"late0", "late1"} & listened_to()
        inside = ["nsenter", "-t", str(process.pid), "-n", "ip", "link"]
        for words in (
            "add late0 type veth peer name late1",
            "set late0 up",
            "set late1 up",
        ):
            subprocess.run([*inside, *words.split()], check=True, timeout=30)
        until(lambda: {"late0", "late1"} <= listened_to(), 30, "the interfaces")
        process.terminate()
        assert process.wait(10) == 0


async def exchange_of(path: str, user: str, count: int) -> client.Exchange:
    """What the ring has of a user, once that is enough."""
    found: list[client.Exchange] = []

    async def enough() -> bool:
        now = time.time()
        question = Question(since=now - 60, until=now + 1, users=(user,))
        with contextlib.suppress(NoCaptureError):
            found[:] = [await client.exchange(path, question)]
        return bool(found) and len(found[0].frames) >= count

    await eventually(enough, 30, "the exchange")
    return found[0]


async def refused(
    path: str, attach: Attach, kamailio: StartKamailio, loopback: Loopback, folder: Path
) -> None:
    """A registration with a wrong password, found, exported, opened."""
    registrar = kamailio({"2001": "secret", "2002": "secret"})
    pbx, port = registrar.address, registrar.sip_port
    here = loopback.address()
    with (
        ScriptedPhone("2001", PASSWORD, pbx, address=here, port=port) as wrong,
        ScriptedPhone("2002", "secret", pbx, address=here, port=port) as right,
    ):
        attach(wrong)
        attach(right)
        assert right.register().startswith("SIP/2.0 200")
        assert wrong.register().startswith("SIP/2.0 401")

    exchange = await exchange_of(path, "2001", 4)
    exported = export.of_frames(exchange.frames)

    assert (len(exchange.frames), exported.messages) == (4, 4)
    assert exchange.seen >= 8
    steps = [line.strip() for line in exported.text.splitlines() if "SIP/2.0" in line]
    steps = [line for line in steps if not line.startswith("Via")]
    assert [line.partition(" sip:")[0] for line in steps] == [
        "REGISTER",
        "SIP/2.0 401 Unauthorized",
        "REGISTER",
        "SIP/2.0 401 Unauthorized",
    ]
    asked = exported.pcapng.split(b"Authorization: Digest", 1)[1].partition(b"\r\n")[0]
    assert b'response="' + b"x" * 32 + b'"' in asked
    assert PASSWORD.encode() not in exported.pcapng
    assert tshark(exported.pcapng, folder, "-Y", WORSE) == []
    fields = ("-T", "fields", "-e", METHOD, "-e", "sip.Status-Code")
    assert tshark(exported.pcapng, folder, *fields) == ["REGISTER\t", "\t401"] * 2


@pytest.mark.real("kamailio", "tshark")
async def test_a_failing_registration_is_found_and_exported(
    paired: tuple[str, Attach],
    kamailio: StartKamailio,
    loopback: Loopback,
    tmp_path: Path,
) -> None:
    await refused(*paired, kamailio, loopback, tmp_path)


@pytest.mark.real("kamailio", "tshark")
@pytest.mark.skipif(not privileged, reason="only root may give CAP_NET_RAW away")
async def test_the_command_listens_with_one_capability(
    alone: str, kamailio: StartKamailio, loopback: Loopback, tmp_path: Path
) -> None:
    await refused(alone, lambda phone: None, kamailio, loopback, tmp_path)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, as it ends by itself."""
    argv = [*sipwatch(), "capture", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ports", "sip"], "sip is not a port (write 5060,5080)\n"),
        (["--ports", "0"], "0 is not a port (write 5060,5080)\n"),
        (["--size", "lots"], "lots is not a size (write 128M)\n"),
        (["--size", "4k"], "a ring of 250000 packets, 4096 octets is too small\n"),
    ],
)
def test_wrong_use_is_said(words: list[str], said: str) -> None:
    done = run(*words)

    assert (done.returncode, done.stderr) == (2, said)


def test_an_interface_that_is_none_is_said(tmp_path: Path) -> None:
    done = run("-i", "no-such-one", "--socket", str(tmp_path / "x.sock"))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no-such-one" in done.stderr


@pytest.mark.skipif(not privileged, reason="only root may listen")
def test_a_socket_that_cannot_be_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "capture.sock"
    done = run("-i", "lo", "--ports", "19999", "--socket", str(path))

    assert done.returncode == 1
    assert done.stderr == f"{path}: No such file or directory\n"


def test_ports_and_sizes_are_read() -> None:
    assert ports_of("5060,5080,5060") == (5060, 5080)
    assert [size_of(text) for text in ("1000", "4k", "2M", "1G")] == [
        *(1000, 4096, 2 * 1024**2, 1024**3)
    ]
    with pytest.raises(ValueError, match="17 ports"):
        ports_of(",".join(map(str, range(5060, 5077))))
