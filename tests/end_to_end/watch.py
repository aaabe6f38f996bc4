"""The real daemon in a test: a configuration in, mails over real SMTP out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from checks.observation import State
from sipwatch.config import load
from sipwatch.daemon import Daemon
from sipwatch.demo.mail import MailCatcher
from tests.servers import eventually

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


class Watch:
    """One daemon, its configuration file, its mail server."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self.path = folder / "sipwatch.yaml"
        self.configuration = textwrap.dedent(configuration)
        self.catcher = MailCatcher()
        self.daemon: Daemon

    async def start(self) -> Watch:
        """Start the mail server and the daemon."""
        if not self.catcher.address[1]:
            await self.catcher.start()
        self.write(self.configuration)
        self.daemon = Daemon(load(self.path))
        await self.daemon.start()
        return self

    async def stop(self) -> None:
        """Stop both."""
        await self.daemon.stop()
        await self.catcher.close()

    def write(self, configuration: str) -> None:
        """Put the configuration in its file, with where mails go."""
        host, port = self.catcher.address
        mail = NOTIFIER.format(host=host, port=port, folder=self.folder)
        self.path.write_text(textwrap.dedent(configuration) + mail, encoding="utf-8")

    @property
    def mails(self) -> list[EmailMessage]:
        """What the on-call got."""
        return self.catcher.mails

    async def mail(self, number: int, within: float) -> EmailMessage:
        """The mail of that number, the first is 1."""
        what = f"mail {number} of {[str(m['Subject']) for m in self.mails]}"
        await eventually(lambda: len(self.mails) >= number, within, what)
        return self.mails[number - 1]

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
            f"{wanted}, not { {aor: self.state(aor) for aor in wanted} }",
        )

    def incidents(self) -> list[tuple[str, str]]:
        """Rule and subject of what is open."""
        return [(i.rule, i.subject.name) for i in self.daemon.alarms.incidents]

    def heard(self, name: str) -> list[Any]:
        """What the bus announces under this name, from now on."""
        told: list[Any] = []
        listen: Callable[[Any], None] = told.append
        self.daemon.bus.on(name, listen)
        return told
