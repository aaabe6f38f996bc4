"""How rows are asked: the request template of a configuration entry, and its socket."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from checks.options.rows import ROLES, Lane
from checks.options.targets import Settings, from_header
from checks.sip.route import local_address

Send = Callable[[bytes, Any], Any]
Clear = Callable[[], None]

_OVER = {"udp": "", "tcp": ";transport=tcp", "tls": ";transport=tls"}
_TEMPLATE = (
    "OPTIONS {scheme}:%s SIP/2.0\r\n"
    "Via: SIP/2.0/{transport} {sent_by};branch=z9hG4bK%08x%016x;rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: {sender};tag={tag}\r\n"
    "To: <{scheme}:%s>\r\n"
    "Call-ID: %016x@{local}\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Contact: <sip:sipwatch@{sent_by}{over}>\r\n"
    "User-Agent: {agent}\r\n"
    "Accept: application/sdp\r\n"
    "Content-Length: 0\r\n\r\n"
)


class Way(NamedTuple):
    """What decides a lane: rows with the same way share one."""

    settings: Settings
    transport: str
    scheme: str
    family: socket.AddressFamily
    local: str  # our IP address towards them
    floor: float


class Lanes:
    """Makes lanes, one for each way; `socket_of` opens or finds a UDP socket."""

    def __init__(
        self,
        socket_of: Callable[[socket.AddressFamily, str], tuple[Send, Clear, int]],
        stream: Send,
        agent: str,
    ) -> None:
        self._socket_of = socket_of
        self._stream = stream
        self._agent = agent
        self._lanes: dict[Way, Lane] = {}
        self._locals: dict[tuple[str, str], str] = {}
        self._tag = os.urandom(6).hex()

    def lane(
        self, settings: Settings, transport: str, scheme: str, ip: str, floor: float
    ) -> Lane:
        """The lane for an address; OSError where the source of it is not ours."""
        local = self._local(ip, settings.source)
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        way = Way(settings, transport, scheme, family, local, floor)
        found = self._lanes.get(way)
        if found is None:
            found = self._lanes[way] = self._make(way)
        return found

    def heard_at(self, settings: Settings) -> float:
        """When any of those that are asked in these ways last answered, UTC s."""
        found = [lane for way, lane in self._lanes.items() if way.settings == settings]
        return max((lane.heard_at for lane in found), default=0.0)

    def _make(self, way: Way) -> Lane:
        settings = way.settings
        host = f"[{way.local}]" if ":" in way.local else way.local
        web = way.transport in ("ws", "wss")
        sent_by, send, clear, port = host, self._stream, nothing, 0
        if web:
            from checks.sip.via import anonymous  # lists of addresses need it never

            sent_by = anonymous()
        if way.transport == "udp":
            send, clear, port = self._socket_of(way.family, settings.source)
            sent_by = f"{host}:{port}"
        sender = settings.from_ and from_header(settings.from_)
        protocol = way.transport.upper()
        template = _TEMPLATE.format(
            scheme=way.scheme,
            transport=protocol,
            sent_by=sent_by,
            sender=_literal(sender) or f"<sip:sipwatch@{host}>",
            tag=self._tag,
            local=host,
            # RFC 7118 5.2: the parameter is `ws` for secure ones as well.
            over=";transport=ws" if web else _OVER[way.transport],
            agent=_literal(settings.user_agent) or _literal(self._agent),
        )
        healthy = settings.healthy_codes
        return Lane(
            transport=way.transport,
            template=template,
            send=send,
            clear=clear,
            plain=f"Via: SIP/2.0/{protocol} ".encode(),
            healthy=healthy,
            codes={b"SIP/2.0 %d " % code: code for code in healthy},
            role=ROLES.index(settings.role),
            confirm=settings.confirm,
            floor=way.floor,
            local=(way.local, port),
            strict=settings.strict_source,
        )

    def _local(self, ip: str, source: str) -> str:
        if source:
            return source
        # Routes are looked up for a neighbourhood: what stands in Via and Contact is
        # cosmetic (answers follow rport), and one look-up for each of 100,000 is not.
        near = (ip.rpartition(":" if ":" in ip else ".")[0], source)
        found = self._locals.get(near)
        if found is None:
            found = local_address(ip)
            if found is None:  # what is sent says so, and it may come: ask again then
                return "::" if ":" in ip else "0.0.0.0"  # noqa: S104 - bound to nothing
            self._locals[near] = found
        return found


def canonical_ip(ip: str) -> str:
    """An address as the kernel writes the source of a datagram."""
    return str(ipaddress.ip_address(ip)) if ":" in ip else ip


def socket_address(ip: str, port: int) -> tuple[Any, ...]:
    """An address as the kernel tells it of a datagram's source."""
    return (canonical_ip(ip), port, 0, 0) if ":" in ip else (ip, port)


def nothing() -> None:
    """A stream tells of its own errors only, and what is not open of none."""


def _literal(text: str) -> str:
    return text.replace("%", "%%")
