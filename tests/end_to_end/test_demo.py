"""`sipwatch demo`, as a newcomer sees it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sipwatch.cli import main
from tests.end_to_end.running import SIPWATCH, Samples, sipwatch
from tests.servers import Process, eventually
from tests.servers.loopback import Loopback

SECONDS = 75


@pytest.fixture
def scratch() -> Iterator[str]:
    """A folder with a name short enough for a Unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield folder


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.wall(80)
async def test_within_75_seconds_a_failure_and_a_recovery_are_seen(
    loopback: Loopback, tmp_path: Path, scratch: str
) -> None:
    address = loopback.address()
    argv = (*SIPWATCH, "demo", "--seconds", str(SECONDS), "--address", address)
    demo = Process("demo", argv, tmp_path / "demo", {"TMPDIR": scratch})

    def shown() -> str:
        return demo.log.read_text(errors="replace") if demo.log.exists() else ""

    demo.start()
    try:
        found = await eventually(
            lambda: re.search(r"metrics +(http://\S+/metrics)", shown()), 30, "a start"
        )
        assert isinstance(found, re.Match)
        assert found[1] == f"http://{address}:9160/metrics"
        assert f"  page     http://{address}:9160/\n" in shown()

        async def seen() -> bool:
            samples = Samples(await asyncio.to_thread(fetched, found[1]))
            return samples.of("sipwatch_extension_registered", registrar="demo",
                              extension="1007") == 1  # fmt: skip

        await eventually(seen, 20, "phone 1007 in the metrics")
        for words in (
            r"Subject: \[warning\] 1007 .*unregistered since",
            r"Subject: \[critical\] trunk demo-trunk does not answer OPTIONS since",
            r"Subject: \[resolved\] 1007 .*registered again after",
            r"Subject: \[resolved\] trunk demo-trunk answers OPTIONS again after",
        ):
            await eventually(
                lambda: re.search(words, shown()),  # noqa: B023
                SECONDS,
                f"{words}\n{shown()[-2000:]}",
            )
        samples = Samples(await asyncio.to_thread(fetched, found[1]))
        assert samples.label("sipwatch_target_state", "state", target="demo-trunk") == (
            "up"
        )
        assert samples.total("sipwatch_incidents") == 0  # none is open any more
        assert await asyncio.to_thread(demo.wait, SECONDS + 10) == 0
    finally:
        demo.kill9()
    assert "Traceback" not in shown()
    assert shown().count("Subject: ") == 4
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    assert os.listdir(scratch) == []


@pytest.mark.parametrize(
    ("kind", "port"),
    [
        (socket.SOCK_STREAM, 9160),
        (socket.SOCK_STREAM, 15025),
        (socket.SOCK_DGRAM, 15060),
        (socket.SOCK_DGRAM, 15070),
    ],
)
def test_a_port_that_is_taken_is_one_sentence(
    loopback: Loopback, kind: socket.SocketKind, port: int
) -> None:
    address = loopback.address()
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((address, port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        done = CliRunner().invoke(
            main, ["demo", "--seconds", "5", "--address", address]
        )
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"the demo cannot start: cannot listen on {address}:{port}:"
        " Address already in use\n"
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "nonsense", "127.0.0.1:99"])
def test_an_address_that_is_not_ours_is_one_sentence(address: str) -> None:
    done = sipwatch("demo", "--seconds", "5", "--address", address)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("the demo cannot start: ")
    assert address in line
