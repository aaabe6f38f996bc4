"""A real SMTP server on the loopback (aiosmtpd) that can refuse, stall and hang up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Mailbox:
    """Takes mail; `rcpt` and `data` hold replies to give instead, used up in order."""

    rcpt: dict[str, list[str]] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)  # "drop" hangs up
    mail: list[str] = field(default_factory=list)
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # Message-IDs that came with DATA
    asked: list[str] = field(default_factory=list)  # recipients, in order
    logins: list[bytes] = field(default_factory=list)
    ciphers: list[bool] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, sender: str, options: list[str]
    ) -> str:
        if self.mail:
            return self.mail.pop(0)
        envelope.mail_from = sender
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, who: str, options: list[str]
    ) -> str:
        self.asked.append(who)
        if replies := self.rcpt.get(who):
            return replies.pop(0)
        envelope.rcpt_tos.append(who)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.seen.append(message["Message-ID"])
        reply = self.data.pop(0) if self.data else ""
        if reply == "drop":
            server.transport.abort()
            return "451 unheard"
        if reply == "stall":
            await asyncio.Event().wait()
        if reply:
            return reply
        self.ciphers.append(session.ssl is not None)
        self.taken.append((list(envelope.rcpt_tos), message))
        self.arrived.set()
        return "250 accepted"

    def login(
        self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given.password)
        ok = (given.login, given.password) == (b"sipwatch", b"s3cret")
        return AuthResult(success=ok, handled=False)


@asynccontextmanager
async def serving(
    mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[int]:
    """The port of a server; `tls` speaks TLS from the first byte."""
    loop = asyncio.get_running_loop()
    options = {"hostname": "mail.example.com", "enable_SMTPUTF8": True} | options
    make: Callable[[], SMTP] = partial(SMTP, mailbox, loop=loop, **options)
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
