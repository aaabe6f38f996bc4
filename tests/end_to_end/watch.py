"""The real daemon in a test: a configuration in, mails over real SMTP out."""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
import time
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from alerting.announcement import Transition
from checks.observation import State
from sipwatch.config.load import load
from sipwatch.daemon import Daemon
from sipwatch.demo.mail import MailCatcher, shown
from tests.servers import eventually
from tests.servers.kamailio import Kamailio

NOTIFIER = """
notifiers:
  oncall:
    type: email
    to: [oncall@example.com]
    from: sipwatch@example.com
    smtp: {{host: {host}, port: {port}, tls: none}}
group: {{wait: 0s, interval: 0s}}
web: {{listen: "127.0.0.1:0", socket: {folder}/api.sock}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""

LATEST = 5.0  # s after it is due at which a mail may come at the latest


class Manager(Protocol):
    """Something with a manager interface."""

    @property
    def address(self) -> str: ...
    @property
    def ami_port(self) -> int: ...


def asterisk_at(*several: Manager, **keys: object) -> str:
    """The section of Asterisks, or of what stands in for one, that are `hq`."""
    where = [f"{pbx.address}:{pbx.ami_port}" for pbx in several]
    place = {"address": where[0]} if len(where) == 1 else {"members": where}
    common = {"username": "sipwatch", "password": "sipwatchpw", "timeout": "3s"}
    return registrar(type="asterisk", **(place | common | keys))


def kamailio_at(server: Kamailio, **keys: object) -> str:
    """The section of a Kamailio that is `hq`."""
    return registrar(type="kamailio", **({"address": server.rpc_url} | keys))


def registrar(**keys: object) -> str:
    """A registrar that is watched as `hq`, by its keys."""
    return f"registrars: {json.dumps({'hq': {'interval': '30s'} | keys})}\n"


def rules(**seconds: float) -> str:
    """Rules by their `for`; an extension's end is told after another second."""
    table: dict[str, Mapping[str, str]] = {}
    for name, wait in seconds.items():
        keep = {"keep_firing_for": "1s"} if name.startswith("Extension") else {}
        table[name] = {"for": f"{wait}s", **keep}
    return f"rules: {json.dumps(table)}\n"


def names(folder: Path, *rows: str) -> dict[str, object]:
    """The key that names extensions, by rows of its file."""
    file = folder / "names.csv"
    file.write_text("\n".join(["extension,name,site", *rows, ""]), encoding="utf-8")
    return {"extensions": {"file": str(file)}}


class Watch:
    """One daemon, its configuration file, its mail server."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self.path = folder / "sipwatch.yaml"
        self.configuration = textwrap.dedent(configuration)
        self.catcher = MailCatcher(self._arrived)
        self.arrivals: list[float] = []  # of the mails, by the wall clock
        self.transitions: list[Transition] = []
        self.daemon: Daemon

    async def start(self) -> Watch:
        """Start the mail server and the daemon."""
        if not self.catcher.address[1]:
            await self.catcher.start()
        self.write(self.configuration)
        self.daemon = Daemon(load(self.path))
        self.daemon.bus.on("transition", self.transitions.append)
        await self.daemon.start()
        return self

    async def stop(self) -> None:
        """Stop both."""
        await self.daemon.stop()
        await self.catcher.close()

    async def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """End the daemon, and start it on what it has stored."""
        await self.daemon.stop()
        await asyncio.to_thread(meanwhile)
        await self.start()

    def write(self, configuration: str) -> None:
        """Put the configuration in its file, with where mails go."""
        host, port = self.catcher.address
        mail = NOTIFIER.format(host=host, port=port, folder=self.folder)
        self.path.write_text(textwrap.dedent(configuration) + mail, encoding="utf-8")

    # --- mails ----------------------------------------------------------------------

    def _arrived(self, mail: EmailMessage) -> None:
        self.arrivals.append(time.time())
        print(shown(mail))  # what a failed test shows first

    @property
    def mails(self) -> list[EmailMessage]:
        """What the on-call got."""
        return self.catcher.mails

    @property
    def subjects(self) -> list[str]:
        """Of all mails so far."""
        return [str(mail["Subject"]) for mail in self.mails]

    async def mail(self, number: int, within: float) -> EmailMessage:
        """The mail of that number, the first is 1."""
        await eventually(
            lambda: len(self.mails) >= number,
            within,
            f"mail {number} of {self.subjects}",
        )
        return self.mails[number - 1]

    async def settled(self) -> None:
        """Wait until nothing is owed: a mail has come before it is booked."""
        owed = self.daemon.alarms.owed
        await eventually(lambda: not owed(), 10, "an empty outbox")

    def in_thread(self, mail: EmailMessage, first: EmailMessage) -> bool:
        """Whether a mail reader shows them as one thread."""
        return mail["In-Reply-To"] == first["Message-ID"]

    # --- what it knows --------------------------------------------------------------

    def state(self, aor: str, registrar: str = "hq") -> State | None:
        """The state of an extension."""
        found = self.daemon.judges[registrar].extensions.get(aor)
        return found.state if found else None

    async def sees(self, within: float, **states: State) -> None:
        """Wait for extensions (`x1001=State.REGISTERED`) to be in these states."""
        wanted = {name.removeprefix("x"): state for name, state in states.items()}
        await eventually(
            lambda: {aor: self.state(aor) for aor in wanted} == wanted,
            within,
            f"{wanted}",
        )

    def end(self, aor: str) -> float:
        """When the PBX will end the last binding, on its own clock."""
        contacts = self.daemon.judges["hq"].extensions[aor].contacts
        return max(contact.end or 0.0 for contact in contacts)

    async def knows_end(self, aor: str) -> float:
        """`end`, after the list that tells it."""
        await eventually(lambda: self.end(aor), 5.0, f"the end of {aor}")
        return self.end(aor)

    def moves(self, aor: str) -> list[State]:
        """The states that an extension went through, as announced."""
        return [t.new for t in self.transitions if t.subject.name == aor]

    def reads(self, member: int = 0, registrar: str = "hq") -> float:
        """When the last full list was read."""
        members = list(self.daemon.judges[registrar].members.values())
        return members[member].read_at or 0.0

    async def read_again(self, within: float = 15.0) -> float:
        """Wait for a full list that was asked for after now."""
        now = self.daemon.clock.now()
        self.daemon.followings["hq"].relist()
        await eventually(lambda: self.reads() > now, within, "another list")
        return self.reads()

    async def passes(self, moment: float) -> None:
        """Wait for a moment of the daemon's clock: what was due by then is done."""
        left = moment - self.daemon.clock.now()
        clock = self.daemon.clock
        await eventually(lambda: clock.now() > moment, left + 5.0, "a moment")

    @property
    def blind(self) -> bool:
        """Whether hq cannot be read."""
        return self.daemon.judges["hq"].state is State.UNREADABLE

    async def goes_blind(self, within: float = 15.0) -> None:
        """Wait until hq cannot be read."""
        await eventually(lambda: self.blind, within, "blindness")

    async def sees_again(self, within: float = 45.0) -> None:
        """Wait until hq can be read; a failed one is tried at least every 30 s."""
        await eventually(lambda: not self.blind, within, "sight")

    def incidents(self) -> list[tuple[str, str]]:
        """Rule and subject of what is open."""
        return [(i.rule, i.subject.name) for i in self.daemon.alarms.incidents]

    def heard(self, name: str) -> list[Any]:
        """What the bus announces under this name, from now on."""
        told: list[Any] = []
        listen: Callable[[Any], None] = told.append
        self.daemon.bus.on(name, listen)
        return told

    # --- what it shows --------------------------------------------------------------

    async def _get(self, path: str) -> str:
        connector = aiohttp.UnixConnector(path=f"{self.folder}/api.sock")
        async with aiohttp.ClientSession(connector=connector) as http:
            async with http.get(f"http://sipwatch{path}") as answer:
                assert answer.status == 200
                return await answer.text()

    async def metrics(self) -> dict[str, float]:
        """All samples of /metrics."""
        text = await self._get("/metrics")
        rows = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in map(_cut, rows)}

    async def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""
        found: dict[str, Any] = json.loads(await self._get("/api/v1/status"))
        return found

    async def extension_series(self) -> dict[str, float]:
        """The samples that say something of one extension."""
        return {n: v for n, v in (await self.metrics()).items() if 'extension="' in n}


def _cut(line: str) -> tuple[str, str, str]:
    return line.rpartition(" ")


def body(mail: EmailMessage) -> str:
    """The text part of a mail."""
    part = mail.get_body(preferencelist=("plain",))
    assert part is not None
    return str(part.get_content())


def row(mail: EmailMessage, label: str) -> str:
    """What a mail says under a label: row(mail, "why")."""
    found = re.search(rf"^  {label} +(.*)$", body(mail), re.MULTILINE)
    return found[1] if found else ""
