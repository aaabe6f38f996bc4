"""Via: the way a request came, and so the way of its response (RFC 3261 20.42)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from checks.sip.params import NO_PARAMS, Params

MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 8.1.1.7: a branch that is unique by its making

_VIA = re.compile(
    r"""(?P<protocol>[^\s/;]+)\s*/\s*(?P<version>[^\s/;]+)\s*/\s*(?P<transport>[^\s/;]+)
    \s+(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:;,\[\]]+)(?:\s*:\s*(?P<port>\d{1,5}))?
    \s*(?P<params>;.*)?""",
    re.VERBOSE | re.DOTALL,
)


def anonymous() -> str:
    """A name that is nobody's: who asks over a WebSocket has no address (RFC 7118)."""
    return f"{os.urandom(6).hex()}.invalid"


@dataclass(frozen=True, slots=True)
class Via:
    """One hop: `SIP/2.0/UDP host:port;branch=z9hG4bK...`."""

    transport: str
    "In capitals: UDP, TCP, TLS, ..."

    host: str
    "sent-by: the name or address its sender gives itself; IPv6 in brackets."

    port: int | None = None
    "sent-by's port; None means the transport's default."

    params: Params = NO_PARAMS
    "branch, received, rport, maddr, ttl."

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one Via; ValueError where it is none of SIP/2.0."""
        found = _VIA.fullmatch(text.strip())
        if found is None or found["protocol"].upper() != "SIP":
            raise ValueError(f"{text!r} is not a Via")
        _, _, transport, host, port, params = found.groups()
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise ValueError(f"{text!r} has no such port: {number}")
        return cls(transport.upper(), host, number, Params.parse((params or "")[1:]))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{self.params}"

    @property
    def branch(self) -> str | None:
        """The transaction's name."""
        return self.params.get("branch")

    @property
    def received(self) -> str | None:
        """The address that the next hop saw (RFC 3261 18.2.1)."""
        return self.params.get("received")

    @property
    def rport(self) -> int | None:
        """The port that the next hop saw (RFC 3581); None where it did not say."""
        value = self.params.get("rport") or ""
        return int(value) if value.isascii() and value.isdigit() else None

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Host and port that a response must carry back (RFC 3261 18.1.2)."""
        return self.host.lower(), self.port
