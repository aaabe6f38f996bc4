"""What was on the wire when an incident opened: kept, named in the mail, given out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipwatch.capture.frames import ETHERNET
from sipwatch.capture.listening import Wire
from sipwatch.capture.station import Station, serve
from sipwatch.demo.mail import MailCatcher
from tests.conftest import StartAnswering, StartKamailio
from tests.end_to_end.conftest import MakePhone, MakeRunning, StartTrunk
from tests.end_to_end.running import Running, command, mail_to
from tests.end_to_end.test_daemon import sections, targets
from tests.servers import eventually
from tests.sipwatch.capture.packets import frame, sip
from tests.sipwatch.capture.test_capture import Source, Tapped

WAITING = """
group: {{wait: 3s, interval: 3s}}
web: {{listen: "127.0.0.1:0", socket: {folder}/api.sock}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""


class Ring:
    """The capture service in a thread, and its wire."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        wires = [Wire("pair", Source(theirs), ETHERNET)]
        self._station = Station(wires, serve(path))
        self._thread = threading.Thread(target=self._station.run)
        self._thread.start()

    def close(self) -> None:
        self._station.stop()
        self._thread.join()
        self._station.close()
        self.wire.close()


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """A capture service without a privilege."""
    with contextlib.closing(Ring(tmp_path / "capture.sock")) as made:
        yield made


async def evidence(daemon: Running, *words: object) -> Any:
    """The answer of the command; None while there is none."""
    done = await command("evidence", *words, "--json", "--socket", daemon.socket)
    return json.loads(done.stdout) if done.returncode == 0 else None


async def sees(daemon: Running) -> None:
    """Wait until it has seen the phone registered: only who was there can be lost."""

    async def registered() -> bool:
        found = (await daemon.metrics()).of(
            "sipwatch_extension_registered", registrar="lab", extension="2001"
        )
        return found == 1

    await eventually(registered, 60, f"2001 registered\n{daemon.log}")


def text_of(message: Any) -> str:
    text: str = message.get_payload(0).get_payload(decode=True).decode()
    return text


@pytest.mark.real("kamailio")
async def test_the_exchange_of_a_lost_phone_is_kept_and_named_in_its_mail(
    kamailio: StartKamailio,
    phone: MakePhone,
    running: MakeRunning,
    catcher: MailCatcher,
    ring: Ring,
    tmp_path: Path,
) -> None:
    server = await asyncio.to_thread(kamailio, {"2001": "secret"})
    listed = tmp_path / "names.csv"
    listed.write_text("extension,name\n2001,Reception\n")
    registrar: dict[str, Any] = {"type": "kamailio", "address": server.rpc_url}
    registrar |= {"interval": "1s", "domain": server.address}
    registrar["extensions"] = {"file": str(listed)}
    configured = {
        "registrars": {"lab": registrar},
        "rules": {"ExtensionUnregistered": {"for": "1s"}},
        "capture": {"socket": ring.path},
    }
    daemon = running(sections(**configured) + mail_to(catcher), frame=WAITING)
    lost = phone("2001", server)
    lost._socket = Tapped(lost._socket, ring.wire)  # type: ignore[assignment]
    await daemon.start()
    assert (await asyncio.to_thread(lost.register, 60)).startswith("SIP/2.0 200")
    await sees(daemon)
    # It comes back with a wrong password, and is lost for good: its binding is cut
    # short past the wire.
    lost.password = "not-the-right-one"
    assert "401" in (await asyncio.to_thread(lost.register, 60))[:12]
    await asyncio.to_thread(phone("2001", server).register, 4, [lost.contact])

    await daemon.opens("ExtensionUnregistered", 60)
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    mail = text_of(catcher.mails[0])
    named = re.search(
        r"packets +8 messages, \d+ kB: sipwatch evidence (\d+)\r?\n", mail
    )
    assert named, mail
    number = int(named[1])

    file = tmp_path / "evidence.pcapng"
    kept = await evidence(daemon, number, "-o", file)
    assert (kept["incident"], kept["source"], kept["messages"]) == (
        *(number, "capture", 8),
    )
    assert hashlib.sha256(file.read_bytes()).hexdigest() == kept["sha256"]
    assert file.stat().st_size == kept["size"]
    answers = re.findall(r"^    SIP/2.0 (\d+)", kept["text"], re.MULTILINE)
    assert answers == ["401", "200", "401", "401"]
    assert not re.search(rb'response="[0-9a-f]{32}"', file.read_bytes())

    daemon.process.kill9()
    await daemon.start()
    again = await eventually(lambda: evidence(daemon, number), 60, "it is there again")
    assert again == kept
    shown = await command("evidence", number, "--text", "--socket", daemon.socket)
    assert shown.returncode == 0
    assert shown.stdout.startswith(
        f"incident {number}, extension:lab/2001: 8 messages from the network, kept "
    )
    assert "    SIP/2.0 401 Unauthorized" in shown.stdout


async def test_without_a_service_our_own_question_is_the_evidence(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher, tmp_path: Path
) -> None:
    peer = await trunk()
    nowhere = {"capture": {"socket": str(tmp_path / "none.sock")}}
    configured = {"targets": targets(twilio=peer), **nowhere}
    daemon = running(sections(**configured) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    assert await evidence(daemon, 1) is None

    peer.silent = True
    await daemon.opens("OptionsFailing")

    kept = await eventually(lambda: evidence(daemon, 1), 60, "the evidence")
    assert isinstance(kept, dict)
    assert kept["source"] == "probe"
    assert kept["text"].count("OPTIONS sip:127.0.0.1") == kept["messages"] > 0
    none = await command("evidence", 99, "--socket", daemon.socket)
    assert (none.returncode, none.stderr) == (
        3,
        "sipwatch evidence: no exchange of incident 99 is kept\n",
    )


@pytest.mark.real("kamailio")
@pytest.mark.parametrize("answers", [True, False])
async def test_without_a_service_a_lost_phone_is_asked_where_it_was(
    kamailio: StartKamailio,
    answering: StartAnswering,
    phone: MakePhone,
    running: MakeRunning,
    catcher: MailCatcher,
    tmp_path: Path,
    answers: bool,
) -> None:
    """One that answers there is on, and its account is what is wrong."""
    server = await asyncio.to_thread(kamailio, {"2001": "secret"})
    listed = tmp_path / "names.csv"
    listed.write_text("extension,name\n2001,Reception\n")
    lost = phone("2001", server)
    await asyncio.to_thread(lost.register, 60)
    registrar: dict[str, Any] = {"type": "kamailio", "address": server.rpc_url}
    registrar |= {"interval": "1s", "domain": server.address}
    registrar["extensions"] = {"file": str(listed)}
    configured = {
        "registrars": {"lab": registrar},
        "rules": {"ExtensionUnregistered": {"for": "1s"}},
        "capture": {"socket": str(tmp_path / "none.sock")},
    }
    daemon = running(sections(**configured) + mail_to(catcher))
    await daemon.start()
    await sees(daemon)
    lost.close()
    ip, _, port = lost.contact.partition(":")
    if answers:
        await asyncio.to_thread(answering, 200, address=ip, port=int(port))
    await asyncio.to_thread(phone("2001", server).register, 4, [lost.contact])
    await daemon.opens("ExtensionUnregistered", 60)
    kept = await eventually(lambda: evidence(daemon, 1), 60, "the evidence")
    assert isinstance(kept, dict)
    assert (kept["subject"], kept["source"]) == ("extension:lab/2001", "probe")
    assert f"OPTIONS sip:2001@{lost.contact} SIP/2.0" in kept["text"]
    assert ("SIP/2.0 200 OK" in kept["text"]) is answers


async def test_a_folder_that_cannot_be_written_is_a_line_in_the_log(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    peer = await trunk()
    configured = {
        "targets": targets(twilio=peer),
        "capture": {"socket": str(tmp_path / "none.sock")},
        "evidence": {"folder": str(tmp_path / "file" / "below")},
    }
    daemon = running(sections(**configured) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    peer.silent = True
    await daemon.opens("OptionsFailing")

    said = "evidence cannot be kept: Not a directory"
    await eventually(lambda: said in daemon.log, 20, "the line")
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    assert daemon.process.alive


async def test_480s_on_real_calls_are_counted_and_told(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher, ring: Ring
) -> None:
    """Calls that we have no part in: only the ring sees them."""
    peer = await trunk()
    rules = {"UnavailableRate": {"for": "0s"}}
    configured = {"targets": targets(twilio=peer), "rules": rules}
    configured["capture"] = {"socket": ring.path}
    well = frame(sip("SIP/2.0 200 OK", cseq="1 INVITE")).data
    ring.wire.send(well)
    daemon = running(sections(**configured) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")

    async def counted() -> bool:
        name, labels = "sipwatch_passive_responses_total", {"method": "INVITE"}
        return (await daemon.metrics()).of(name, **labels, code="200") == 1

    await eventually(counted, 30, "the first look")
    gone = frame(sip("SIP/2.0 480 Temporarily Unavailable", cseq="1 INVITE")).data
    for _ in range(9):
        ring.wire.send(gone)
        ring.wire.send(well)
    began = time.monotonic()
    await daemon.opens("UnavailableRate")

    assert time.monotonic() < began + 60
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    assert "9 of 18 calls of the last 5 min were answered 480" in text_of(
        catcher.mails[0]
    )
