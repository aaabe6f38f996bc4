"""A real Postfix that accepts mail over SMTP and delivers it into a Maildir.

    with Postfix("127.100.1.9", root=folder) as server:
        ... send to server.address, server.port ...
        server.messages()

Its daemons change to users of their own, so it needs root; elsewhere tests of delivery
use aiosmtpd, which is an SMTP server over real sockets too, and the only one here that
can fail on command.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from tests.servers import require
from tests.servers.process import Process

# Of every Debian machine: Postfix wants a user for itself, another for deliveries, and
# a group that nobody else is in.
OWNER = "mail"
DELIVERER = "nobody"
GROUP = "tty"

QUEUES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
    "private", "public", "maildrop", "pid", "saved", "trace",
)  # fmt: skip

# name, type, unprivileged, wakeup, process limit: what receiving and delivering needs
SERVICES = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def unfit() -> str:
    """Why Postfix cannot run here even if fetched, or nothing."""
    return "" if os.getuid() == 0 else "postfix: its daemons need root to change users"


class Postfix:
    """One Postfix on an address: mail for any user of example.com is delivered."""

    def __init__(
        self,
        address: str,
        port: int = 25,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._command = require("postfix")
        self.address = address
        self.port = port
        self.settings = dict(settings or {})
        # Not in pytest's folders: Postfix's own users must be able to enter it.
        self.folder = Path(tempfile.mkdtemp(prefix="sipwatch-postfix-"))
        self.folder.chmod(0o755)
        self.log = self.folder / "maillog"
        self._process = Process(
            "postfix",
            (str(self._daemon("master")), "-c", str(self.folder / "etc"), "-d"),
            self.folder,
        )

    def start(self) -> Self:
        self._make_folders()
        main = self.folder / "etc/main.cf"
        main.write_text(self._main_cf())
        os.utime(main, (0, 0))  # Postfix waits two seconds for a file just written
        (self.folder / "etc/master.cf").write_text(
            SERVICES.format(address=self.address, port=self.port)
        )
        self._process.start()
        self._process.wait_ready(self._greets)
        return self

    def stop(self) -> None:
        self._process.stop()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def messages(self) -> list[EmailMessage]:
        """What was delivered so far, in the order of arrival."""
        paths = sorted(
            (self.folder / "mail").rglob("new/*"), key=lambda p: p.stat().st_mtime
        )
        return [
            message_from_bytes(p.read_bytes(), policy=policy.default) for p in paths
        ]

    def tail(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 1) as connection:
                return connection.recv(100).startswith(b"220 ")
        except OSError:
            return False

    def _make_folders(self) -> None:
        owner = pwd.getpwnam(OWNER)
        for name in ("etc", "libexec"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("queue", *(f"queue/{queue}" for queue in QUEUES), "data", "mail"):
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        for name in ("queue", "queue/pid"):  # Postfix's own check: root's alone
            os.chown(self.folder / name, 0, 0)
        os.chown(self.folder / "queue/public", owner.pw_uid, grp.getgrnam(GROUP).gr_gid)
        for name in sorted(p.name for p in self._programs().iterdir() if p.is_file()):
            self._daemon(name)

    def _programs(self) -> Path:
        return self._command.root / "usr/lib/postfix/sbin"

    def _daemon(self, name: str) -> Path:
        """A script that starts a daemon under the tree's loader, as master cannot."""
        script = self.folder / "libexec" / name
        script.parent.mkdir(exist_ok=True)
        loader, option, libraries, _ = self._command.argv
        script.write_text(
            f'#!/bin/sh\nexec {loader} --argv0 {name} {option} "{libraries}" '
            f'{self._programs() / name} "$@"\n'
        )
        script.chmod(0o755)
        return script

    def _main_cf(self) -> str:
        owner = pwd.getpwnam(OWNER)
        settings: dict[str, object] = {
            "compatibility_level": 3.6,
            "myhostname": "mail.example.com",
            "mydestination": "",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "mail_owner": OWNER,
            "default_privs": DELIVERER,
            "setgid_group": GROUP,
            "queue_directory": self.folder / "queue",
            "data_directory": self.folder / "data",
            "daemon_directory": self.folder / "libexec",
            "command_directory": self._command.root / "usr/sbin",
            "meta_directory": self._command.root / "etc/postfix",
            "shlib_directory": self._command.root / "usr/lib/postfix",
            "maillog_file": self.log,
            "maillog_file_prefixes": self.folder,
            "virtual_mailbox_domains": "example.com",
            "virtual_mailbox_base": self.folder / "mail",
            "virtual_mailbox_maps": "static:inbox/",
            "virtual_minimum_uid": 1,
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
            "alias_maps": "",
            "local_recipient_maps": "",
            "smtpd_client_connection_rate_limit": 0,
            **self.settings,
        }
        return "".join(f"{key} = {value}\n" for key, value in settings.items())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
