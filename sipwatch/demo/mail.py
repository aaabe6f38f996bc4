"""A mail server on loopback that keeps and shows what it accepts (aiosmtpd)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from sipwatch.demo.peer import cannot_listen

MAILS = 1_000  # kept; a demonstration that runs for days forgets the oldest


class MailCatcher:
    """Accepts every mail, keeps it in `mails`, and calls `arrived`."""

    def __init__(self, arrived: Callable[[EmailMessage], None] | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.address = ("", 0)
        self._arrived = arrived
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `address` then holds host and port."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: SMTP(self, enable_SMTPUTF8=True, loop=loop), host, port
            )
        except OSError as e:
            raise cannot_listen(e, host, port) from None
        self.address = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take a mail."""
        content: Any = envelope.content
        mail = message_from_bytes(content, policy=policy.default)
        self.mails = [*self.mails[1 - MAILS :], mail]
        if self._arrived is not None:
            self._arrived(mail)
        return "250 OK"


def shown(mail: EmailMessage) -> str:
    """A mail as a reader sees it: its subject and its text."""
    body = mail.get_body(preferencelist=("plain",))
    text = body.get_content().rstrip() if body is not None else ""
    lines = [f"Subject: {mail['Subject']}", "", *text.splitlines()]
    width = max(40, *(len(line) for line in lines))
    rule = "─" * min(width, 78)
    return "\n".join([rule, *lines, rule])
