"""Streams of a sweep: one kept connection for each address, shared by its rows."""

from __future__ import annotations

import asyncio
import heapq
import random
import ssl
from collections.abc import Callable

from checks.observation import Cause
from checks.options.inbox import Message
from checks.options.slots import Slots
from checks.options.targets import ProbeSettings, TargetTls
from checks.sip.certificate import tls_context
from checks.sip.connection import Connection
from checks.sip.errors import SipError
from checks.sip.resolver import Address

QUEUE_LIMIT = 256  # requests that wait for one connection; more rows than that fail
BACK_OFF = 1.0  # s before the second attempt, doubled with each
OPENING_SHARE = 0.95  # of the timeout; so that a failure has a better name than timeout

Receive = Callable[[list[Message]], None]
Fail = Callable[["Link", Cause, str], None]
Tell = Callable[["Link"], None]


class Link:
    """What a stream row has as its address: opens when asked, and stays open."""

    def __init__(
        self,
        streams: Streams,
        address: Address,
        name: str,
        settings: ProbeSettings,
    ) -> None:
        self.ip = address.ip
        self.address = address
        self.not_after: float | None = None
        self.rows: set[int] = set()  # that have it as their address
        self.held: set[int] = set()  # of them, those whose question waits for its turn
        self._streams = streams
        self._name = name
        self._settings = settings
        self._connection: Connection | None = None
        self._proven = False  # something was received over this connection
        self._flying: list[bytes] = []  # sent since something was received
        self._waiting: list[bytes] = []  # for the connection to open
        self._queued = False  # until it may connect
        self._opening: asyncio.Task[Connection] | None = None
        self._attempts = 0
        self._not_before = 0.0
        self._trouble: tuple[Cause, str] = (Cause.TIMEOUT, "")

    def __str__(self) -> str:
        return str(self.address)

    def send(self, data: bytes) -> None:
        """Send a request, now or as soon as it is connected."""
        if self._connection is not None and self._connection.is_open:
            self._write(self._connection, data)
        elif self._opening is not None:
            if len(self._waiting) < QUEUE_LIMIT:
                self._waiting.append(data)  # else its timeout tells
        elif self._queued:
            self._streams.hold(self)
        elif self._streams.clock() < self._not_before:
            self._streams.fail(self, *self._trouble)
        else:
            self._open([data])

    def close(self) -> None:
        """End it, quietly."""
        self._waiting.clear()
        self._queued = False
        if self._opening is not None:
            self._opening.cancel()
        self._streams.slots.leave(self)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, waiting: list[bytes]) -> None:
        self._waiting = waiting
        self._flying = []
        self._queued = True
        self._streams.slots.ask(self, self._attempts > 0)
        if self._queued:  # no fault of theirs: they are asked when their turn comes
            self._waiting = []
            self._streams.hold(self)

    def begin(self) -> None:
        """Its turn to connect has come."""
        self._queued = False
        self._opening = asyncio.create_task(self._connect())
        self._opening.add_done_callback(self._opened)
        self._streams.begun(self)

    async def _connect(self) -> Connection:
        settings = self._settings
        connection = Connection(self._received, self._closed)
        await connection.open(
            self.address,
            server_name=self._name,
            ssl_context=self._streams.context(self.address, settings.tls),
            source=settings.source or None,
            timeout=settings.timeout * OPENING_SHARE,
        )
        return connection

    def _opened(self, opening: asyncio.Task[Connection]) -> None:
        self._opening = None
        if opening.cancelled():
            return
        self._streams.slots.leave(self)
        error = opening.exception()
        if isinstance(error, SipError):
            self.not_after = error.not_after or self.not_after
            self._failed(error.cause, error.detail)
        elif isinstance(error, OSError):  # a file of certificates that is wrong
            text = f"{self._settings.tls.ca}: {error.strerror or error}"
            self._failed(Cause.TLS_VERIFY, text)
        elif error is not None:
            raise error
        else:
            self._use(opening.result())

    def _use(self, connection: Connection) -> None:
        self.not_after = connection.not_after
        if not connection.is_open:
            text = f"{self} closed the connection as soon as it was open"
            self._failed(Cause.CONNECTION_RESET, text)
            return
        self._connection = connection
        self._attempts, self._proven = 0, False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._write(connection, data)

    def _write(self, connection: Connection, data: bytes) -> None:
        if len(self._flying) < QUEUE_LIMIT:
            self._flying.append(data)
        try:
            connection.send(data)
        except SipError as error:
            self._failed(error.cause, error.detail)

    def _received(self, data: bytes) -> None:
        self._proven = True
        self._flying = []
        self._streams.receive([(data, self, self._streams.clock())])

    def _closed(self, cause: Cause, detail: str) -> None:
        self._connection = None
        if not self._flying:
            return  # closing an idle connection is a server's right
        if self._proven:
            # It closed an old connection just as we asked: ask over a new one, once.
            self._open(self._flying)
        else:
            self._failed(cause, detail)

    def _failed(self, cause: Cause, detail: str) -> None:
        """Back off, so that a dead server is not met by each of its rows in turn."""
        most = self._settings.confirm / 2  # the confirmation is a real attempt
        pause = min(most, BACK_OFF * 2 ** min(self._attempts, 16))
        self._attempts += 1
        self._not_before = self._streams.clock() + pause * random.uniform(0.5, 1.0)
        self._trouble = (cause, detail)
        self._waiting, self._flying = [], []
        self._streams.fail(self, cause, detail)


class Streams:
    """The links of one check.

    `hold` takes back the questions that a link cannot ask before it is its turn to
    connect, `begun` asks them: what waits for us is not charged to who is asked.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        receive: Receive,
        fail: Fail,
        *,
        hold: Tell,
        begun: Tell,
    ) -> None:
        self.clock = clock
        self.receive = receive
        self.fail = fail
        self.hold = hold
        self.begun = begun
        self.slots = Slots(Link.begin)
        self._links: dict[tuple[Address, str, TargetTls, str], Link] = {}
        self._contexts: dict[TargetTls, ssl.SSLContext] = {}

    def link(self, address: Address, name: str, settings: ProbeSettings) -> Link:
        """The link to an address; the certificate is checked for `name`."""
        key = (address, name, settings.tls, settings.source)
        found = self._links.get(key)
        if found is None:
            found = self._links[key] = Link(self, address, name, settings)
        return found

    def ending(self, most: int) -> list[Link]:
        """Links whose certificates end first, of those that have shown one."""
        shown = (link for link in self._links.values() if link.not_after is not None)
        return heapq.nsmallest(most, shown, key=lambda link: link.not_after or 0.0)

    def close_unused(self) -> None:
        """Close the links that no row has any more."""
        for key, link in list(self._links.items()):
            if not link.rows:
                link.close()
                del self._links[key]

    def context(self, address: Address, tls: TargetTls) -> ssl.SSLContext | None:
        """How the certificate of an address is checked; None where it has none."""
        if not address.secure:
            return None
        if tls not in self._contexts:
            ca = tls.ca or None
            self._contexts[tls] = tls_context(ca, verify=tls.verify)
        return self._contexts[tls]

    def close(self) -> None:
        """Close all links; no row hears of it."""
        self.slots.close()
        for link in self._links.values():
            link.close()
        self._links.clear()
