"""E-mail over SMTP (RFC 5321): one message for a batch, whoever of them has it.

A server may take a message for some recipients and not for others. What counts then:
the batch is told once everybody has it who can; a retry goes to the rest only; who is
refused for good among others that are served is reported, and does not hold them up.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from ipaddress import ip_address
from typing import Literal

import aiosmtplib

from alerting.incident import DeliveryError, Notification
from checks.observation import plain
from checks.settings import Duration, Secret

PORTS = {"none": 25, "starttls": 587, "tls": 465}  # RFC 5321, 6409, 8314
LINE_LIMIT = 998  # RFC 5322 2.1.1; folded at 78, a subject would begin with a space
REPLY_LIMIT = 200  # characters of a server's reply that are worth repeating
ADDRESS_LIMIT = 254  # RFC 5321 4.5.3.1.3, less the brackets
REMEMBERED = 64  # batches half accepted; one at a time is in flight, few fail so
INCIDENTS_NAMED = 50  # in a header, which is for programs that sort mail
QUIT_PATIENCE = 0.5  # s; the message is accepted, only manners are left
HELLO_PATIENCE = 3.0  # s; a dead DNS must not keep its own alarm from going out

_log = logging.getLogger(__name__)
_LOCAL = re.compile(r'[^\s<>()\[\],;:\\"@\x00-\x1f\x7f]+')
_DOMAIN = re.compile(r"\[[0-9A-Fa-f:.IPv]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def address(written: str) -> Address:
    """An address with or without a name; a domain beyond ASCII becomes its A-label."""
    name, spec = parseaddr(written)
    local, at, domain = spec.rpartition("@")
    wrong = ValueError(
        f"{written!r} is not an e-mail address (write oncall@example.com)"
    )
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        raise wrong from None
    if not (at and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)):
        raise wrong
    if not written.isprintable() or len(spec) > ADDRESS_LIMIT or ".." in spec:
        raise wrong
    return Address(display_name=name, username=local, domain=domain)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The server that takes our mail."""

    host: str  # its name or address
    tls: Literal["none", "starttls", "tls"] = "starttls"  # tls: from the first byte
    port: int | None = None  # default: 25, 587 with starttls, 465 with tls
    username: str = ""  # empty: without a log-in
    password: Secret | None = None  # of that user
    ca_file: str | None = None  # trusted instead of the system's authorities
    verify: bool = True  # false takes any certificate
    timeout: Duration = 30.0  # for one message, from connect to accepted
    hello: str = ""  # how we call ourselves; empty: this host's full name

    def __post_init__(self) -> None:
        if self.tls not in PORTS:
            raise ValueError(f"tls: {self.tls} is none of none, starttls, tls")
        if self.port is not None and not 0 < self.port < 65536:
            raise ValueError(f"port: {self.port} is no port (1 to 65535)")
        if self.timeout <= 0:
            raise ValueError("timeout: must be longer than 0s")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password go together")
        if self.password and self.tls == "none" and not _is_local(self.host):
            raise ValueError(
                "tls: none would send the password in clear text "
                "(write starttls or tls)"
            )

    @property
    def actual_port(self) -> int:
        """The port written, or the one that belongs to the kind of TLS."""
        return self.port or PORTS[self.tls]


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """`type: email`: who gets mail, from whom, over which server."""

    to: tuple[str, ...]  # addresses, at least one
    from_: str = field(metadata={"alias": "from"})  # the sender's address
    smtp: SmtpSettings  # the server that takes it

    def __post_init__(self) -> None:
        if isinstance(self.to, str) or not self.to:
            raise ValueError("to: is a list of addresses (write [oncall@example.com])")
        for one in (*self.to, self.from_):
            address(one)


@dataclass(slots=True)
class _Progress:
    """Who has one batch already, and who never will."""

    accepted: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)  # for good, and why
    sending: bool = False  # this attempt got as far as that
    lost: bool = False  # the answer to one that did

    @property
    def doubtful(self) -> bool:
        """Whether somebody may have it."""
        return self.lost or bool(self.accepted)


class Email:
    """Sends notifications as mail; one connection a message."""

    def __init__(
        self, settings: EmailSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._clock = clock  # wall time, for the Date header
        self._from = address(settings.from_)
        self._to = {a.addr_spec: a for a in map(address, settings.to)}
        self._progress: OrderedDict[str, _Progress] = OrderedDict()
        self._context: ssl.SSLContext | None = None
        self._hello = settings.smtp.hello
        self.refused: dict[str, str] = {}  # recipients last refused for good, and why

    @property
    def complaint(self) -> str:
        """What is wrong although mail goes out: who of the recipients is refused."""
        return "; ".join(
            f"{who} is refused: {why}" for who, why in self.refused.items()
        )

    async def send(self, notification: Notification) -> None:
        """Returns when every recipient has it who can; raises DeliveryError."""
        progress = self._remembered(notification.id)
        done = progress.accepted | progress.refused.keys()
        rest = [who for who in self._to if who not in done]
        progress.sending = False
        waiting = await self._attempt(notification, rest, progress)
        if waiting:
            why = self._partly(progress, waiting)
            raise DeliveryError(why, in_doubt=progress.doubtful)
        del self._progress[notification.id]
        if not progress.accepted:
            raise DeliveryError(_listed(progress.refused), permanent=True)
        self._note(progress)

    def _remembered(self, batch: str) -> _Progress:
        progress = self._progress.setdefault(batch, _Progress())
        self._progress.move_to_end(batch)
        if len(self._progress) > REMEMBERED:
            self._progress.popitem(last=False)
        return progress

    async def _attempt(
        self, notification: Notification, rest: list[str], progress: _Progress
    ) -> dict[str, str]:
        """One connection; returns who is to be asked again, and why."""
        try:
            async with asyncio.timeout(self._settings.smtp.timeout):
                return await self._session(notification, rest, progress)
        except aiosmtplib.SMTPResponseException as error:
            why = f"{self._server} says {_reply(error.code, error.message)}"
            for_good = _for_good(error.code)
            doubt = progress.doubtful and not for_good
            raise DeliveryError(why, permanent=for_good, in_doubt=doubt) from None
        except TimeoutError:
            limit = f"{self._settings.smtp.timeout:g} s"
            why = f"{self._server} has not taken it within {limit}"
            progress.lost |= progress.sending
            raise DeliveryError(why, in_doubt=progress.doubtful) from None
        except OSError as error:
            progress.lost |= progress.sending
            why = f"{self._server}: {plain(str(error))}"
            raise DeliveryError(why, in_doubt=progress.doubtful) from None
        except aiosmtplib.SMTPException as error:
            # What is left is no failure but a missing ability: STARTTLS, AUTH.
            why = f"{self._server}: {plain(str(error))}"
            raise DeliveryError(why, permanent=True) from None

    async def _session(
        self, notification: Notification, rest: list[str], progress: _Progress
    ) -> dict[str, str]:
        client = await self._client()
        try:
            await client.connect()
            utf8 = not "".join([self._from.addr_spec, *self._to]).isascii()
            able = not utf8 or await _speaks_utf8(client)
            if not able:
                if not self._from.addr_spec.isascii():
                    raise DeliveryError(
                        f"{self._server} lacks SMTPUTF8, which "
                        f"{self._from.addr_spec} needs",
                        permanent=True,
                    )
                rest = _without_utf8(rest, progress)
            progress.sending = True
            answers = await self._submit(client, notification, rest, utf8 and able)
            waiting = _sort(rest, answers, progress)
            await _part(client)
        finally:
            client.close()
        return waiting

    async def _client(self) -> aiosmtplib.SMTP:
        smtp = self._settings.smtp
        secured = smtp.tls != "none"
        if secured and self._context is None:
            # Reading the authorities takes tens of ms: not on the loop.
            self._context = await asyncio.to_thread(_trust, smtp)
        self._hello = self._hello or await _own_name()
        return aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.actual_port,
            username=smtp.username or None,
            password=smtp.password.reveal() if smtp.password else None,
            local_hostname=self._hello,
            timeout=smtp.timeout,
            use_tls=smtp.tls == "tls",
            start_tls=smtp.tls == "starttls",
            tls_context=self._context,
        )

    async def _submit(
        self,
        client: aiosmtplib.SMTP,
        notification: Notification,
        rest: list[str],
        utf8: bool,
    ) -> dict[str, tuple[int, str]]:
        """Each refused recipient with the reply; all others have it."""
        if not rest:
            return {}
        to = [a for who, a in self._to.items() if utf8 or who.isascii()]
        message = compose(notification, self._from, to, self._clock())
        form = policy.SMTPUTF8 if utf8 else policy.SMTP
        if str(message["Subject"]).isascii():  # others are folded by RFC 2047
            form = form.clone(max_line_length=LINE_LIMIT)
        try:
            refused, _ = await client.sendmail(
                self._from.addr_spec,
                rest,
                message.as_bytes(policy=form),
                mail_options=["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [],
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return {r.recipient: (r.code, r.message) for r in error.recipients}
        return {who: (reply.code, reply.message) for who, reply in refused.items()}

    def _partly(self, progress: _Progress, waiting: dict[str, str]) -> str:
        have = f"{len(progress.accepted)} of {len(self._to)} recipients have it"
        return f"{have}; {_listed(waiting)}"

    def _note(self, progress: _Progress) -> None:
        """Keep who was refused for good though others got it; say so once."""
        for who in progress.accepted & self.refused.keys():
            del self.refused[who]
        for who, why in progress.refused.items():
            if who not in self.refused:
                _log.warning("mail to %s is refused for good: %s", plain(who), why)
            self.refused[who] = why

    @property
    def _server(self) -> str:
        smtp = self._settings.smtp
        return f"mail server {smtp.host}:{smtp.actual_port}"


def compose(
    notification: Notification, sender: Address, to: Sequence[Address], now: float
) -> EmailMessage:
    """The message; its id is the batch's, so that a repeated one is seen as such."""
    message = EmailMessage()
    message["Subject"] = plain(notification.subject)
    message["From"] = sender
    message["To"] = to
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = _message_id(notification.id, notification.instance)
    if notification.thread and notification.thread != notification.id:
        first = _message_id(notification.thread, notification.instance)
        message["In-Reply-To"] = first
        message["References"] = first
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no out-of-office back
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    _mark(message, notification)
    message.set_content(_utf8(notification.text), cte="quoted-printable")
    message.add_alternative(
        _utf8(notification.html), subtype="html", cte="quoted-printable"
    )
    return message


def _mark(message: EmailMessage, notification: Notification) -> None:
    """Headers that mail filters can sort by."""
    ids = [str(incident.id) for incident in notification.incidents]
    if ids:
        message["X-Sipwatch-Incidents"] = ", ".join(ids[:INCIDENTS_NAMED])
    message["X-Sipwatch-Change"] = str(notification.change)
    for name, value in notification.labels.items():
        if re.fullmatch(r"[a-z]+", name):
            message[f"X-Sipwatch-{name.title()}"] = plain(value)


def _message_id(id: str, instance: str) -> str:
    left, right = (re.sub(r"[^A-Za-z0-9._-]", "-", part) for part in (id, instance))
    return f"<{left}@{right}>"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _trust(smtp: SmtpSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=smtp.ca_file)
    if not smtp.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _own_name() -> str:
    """This host's full name for EHLO; its short one while DNS does not answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(HELLO_PATIENCE):
            return await asyncio.to_thread(socket.getfqdn)
    return socket.gethostname()


async def _speaks_utf8(client: aiosmtplib.SMTP) -> bool:
    await client.ehlo()
    return client.supports_extension("smtputf8")


def _without_utf8(rest: list[str], progress: _Progress) -> list[str]:
    """Those whose address is ASCII; the others cannot be named to this server."""
    for who in rest:
        if not who.isascii():
            progress.refused[who] = "the server lacks SMTPUTF8, which it needs"
    return [who for who in rest if who.isascii()]


def _sort(
    rest: list[str], answers: dict[str, tuple[int, str]], progress: _Progress
) -> dict[str, str]:
    """Keep who has it and who never will; return who is to be asked again."""
    waiting = {}
    for who in rest:
        if who not in answers:
            progress.accepted.add(who)
        elif _for_good(answers[who][0]):
            progress.refused[who] = _reply(*answers[who])
        else:
            waiting[who] = _reply(*answers[who])
    return waiting


async def _part(client: aiosmtplib.SMTP) -> None:
    """Say goodbye; that it fails changes nothing, the message is accepted."""
    with suppress(aiosmtplib.SMTPException, OSError):
        async with asyncio.timeout(QUIT_PATIENCE):
            await client.quit()


def _for_good(code: int) -> bool:
    return 500 <= code <= 599  # RFC 5321 4.2.1


def _reply(code: int, message: str) -> str:
    return plain(f"{code} {message}".replace("\n", " "), REPLY_LIMIT)


def _listed(replies: dict[str, str]) -> str:
    return plain("; ".join(f"{who}: {why}" for who, why in replies.items()))
