"""OpenSIPS' events: JSON-RPC notifications, one in a datagram, by subscription.

They make a change known at once and tell the exact end of a binding; lists, which go on
beside them, make good what was lost on the way. A subscription ends by itself, and with
the process that has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from checks.observation import Binding, Loss, plain
from checks.registrars.aor import canonical
from checks.registrars.clocks import pause
from checks.registrars.mi import answered
from checks.registrars.registrant import EVENT, Registrant
from checks.registrars.rpc import decode
from checks.registrars.usrloc import Whole, host_part
from checks.registrations.readings import Added, Gone, Outbound, Reach

BINDINGS = (
    "E_UL_CONTACT_INSERT",
    "E_UL_CONTACT_UPDATE",
    "E_UL_CONTACT_DELETE",
    "E_UL_LATENCY_UPDATE",
)
REGISTRATIONS = tuple(
    EVENT + state
    for state in (
        "REGISTERING",
        "REGISTERED",
        "REGISTER_TIMEOUT",
        "INTERNAL_ERROR",
        "WRONG_CREDENTIALS",
        "REGISTRAR_ERROR",
    )
)
EXPIRE = 300  # s of a subscription; so long a watcher that died is still sent to
OFF = "off"
LOOPBACK = "127.0.0.1"

QUEUE = 20_000  # datagrams not yet read: every phone of a large site, once
DATAGRAM = 8192  # bytes; an event has some 500, a long contact and user agent more
RESOLVE_SECONDS = 10.0  # for the address that events come from
BUFFER = 4 * 1024 * 1024  # bytes that the kernel may hold for us, where it lets us

log = logging.getLogger(__name__)


class Params(msgspec.Struct):
    """What events tell, as far as it is used."""

    aor: str = ""
    uri: str = ""
    received: str | None = None
    path: str | None = None
    user_agent: str | None = None
    bflags: Whole = 0
    expires: Whole = 0  # epoch s on the server's clock, 0: never
    latency: Whole = 0  # us
    contact: str = ""  # of a registration elsewhere
    registrar: str = ""


class Event(msgspec.Struct):
    """One notification."""

    method: str
    params: Params


def place(events: str, mi: str) -> tuple[str, int] | None:
    """The address and port (0: any) to hear events at; None: none are to be heard.

    "" is this machine's loopback where the MI is there too. ValueError where `events`
    is neither "off" nor an IPv4 address, which is all that event_datagram can send to.
    """
    if events == OFF:
        return None
    if not events:
        return (LOOPBACK, 0) if _is_here(urlsplit(mi).hostname or "") else None
    host, _, port = events.partition(":")
    try:
        usable = not ipaddress.IPv4Address(host).is_unspecified
        return _checked(usable, host, int(port or 0))
    except ValueError:
        raise ValueError(
            f"{events} is not an IPv4 address of ours with a port (10.0.0.9:5066), "
            "nor off"
        ) from None


def _checked(usable: bool, host: str, port: int) -> tuple[str, int]:
    if not usable or not 0 <= port < 65536:
        raise ValueError
    return host, port


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Ears(asyncio.DatagramProtocol):
    """Our socket for the events of one OpenSIPS; without a place it hears nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.socket = ""  # as event_subscribe wants it; "": there is none
        self.overflowed = False  # events were lost: a list must make them good
        self._clock = clock
        self._queue: deque[tuple[float, bytes]] = deque()
        self._stirred = asyncio.Event()
        self._sources: set[str] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._port = 0  # that we had: who is subscribed there need not be told

    async def open(self, at: tuple[str, int], mi: str) -> None:
        """Hear what comes from where the MI is, or from our own address; OSError."""
        loop = asyncio.get_running_loop()
        there = urlsplit(mi).hostname
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(there, None, type=socket.SOCK_DGRAM)
        host, port = at
        try:
            await self._bind(host, port or self._port)
        except OSError:
            if port or not self._port:
                raise
            await self._bind(host, 0)
        # An OpenSIPS on this machine sends from the address that it sends to.
        self._sources = {host, *(str(row[4][0]) for row in found)}
        self.socket = f"udp:{host}:{self._port}"

    async def _bind(self, host: str, port: int) -> None:
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=(host, port)
        )
        ours = self._transport.get_extra_info("socket")
        self._port = ours.getsockname()[1]
        with contextlib.suppress(OSError):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)

    def close(self) -> None:
        """Hear no more."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        self.socket = ""
        self._queue.clear()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep it, unless it is from somebody else or no event of ours."""
        if addr[0] not in self._sources or len(data) > DATAGRAM:
            return
        if len(self._queue) >= QUEUE:
            self.overflowed = True
            return
        self._queue.append((self._clock(), data))
        self._stirred.set()

    def error_received(self, exc: Exception) -> None:
        """Nothing is sent from here, so nothing can come back."""

    def heard(self) -> Iterator[tuple[float, Event]]:
        """The events that have come, and when; the next call tells of the next."""
        while self._queue:
            at, data = self._queue.popleft()
            try:
                yield at, decode(data, Event)
            except ValueError as error:
                log.debug("no event: %s", plain(str(error), 100))

    def nudge(self) -> None:
        """End a `rest`."""
        self._stirred.set()

    async def rest(self, seconds: float) -> None:
        """Wait until something comes, or so long."""
        if self._queue:
            return
        self._stirred.clear()
        await pause(self._stirred, max(0.0, seconds))


def reading(
    event: Event, at: float, offset: float, registrant: Registrant, domain: str
) -> Added | Gone | Reach | Outbound | None:
    """What an event says; the server's clock is `offset` ahead of ours."""
    said = event.params
    aor = canonical(said.aor, domain)
    match event.method:
        case "E_UL_CONTACT_INSERT" | "E_UL_CONTACT_UPDATE":
            return Added(_binding(aor, said), at)
        case "E_UL_CONTACT_DELETE":
            end = float(said.expires) if said.expires > 0 else None
            return Gone(aor, said.uri, at, _loss(said, at + offset), end)
        case "E_UL_LATENCY_UPDATE":
            reachable, rtt = answered(said.latency)
            return Reach(aor, said.uri, reachable, rtt, at)
        case _:
            record = (said.aor, said.contact, said.registrar)
            return registrant.event(event.method, record, at)


def _binding(aor: str, said: Params) -> Binding:
    reachable, rtt = answered(said.latency)
    return Binding(
        aor=aor,
        contact=said.uri,
        expires_at=float(said.expires) if said.expires > 0 else None,
        reachable=reachable,
        user_agent=said.user_agent or "",
        received=host_part(said.received or said.uri),
        rtt=rtt,
        path=said.path or "",
    )


def _loss(said: Params, there: float) -> Loss:
    """The event has no reason. Before its end a binding goes by a REGISTER; or, of
    those that nathelper may remove, which it marks by a flag, by pings unanswered."""
    if 0 < said.expires <= there + 1:
        return Loss.EXPIRED
    return Loss.UNKNOWN if said.bflags else Loss.DEREGISTERED
