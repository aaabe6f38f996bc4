"""The wire of FreeSWITCH's event socket (ESL): bytes in, replies and events out.

A block is header lines ended by LF, an empty line, and as many bytes of body as its
Content-Length tells; the next block follows without anything between. Replies have no
name: they come in the order of the questions, with events between them. The body of an
`api` reply may be a list of megabytes, so it is given out in the pieces in which it
came; all others are given out whole.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

HEADER_LIMIT = 64 * 1024  # bytes of one block of headers; the largest seen has 100
MESSAGE_LIMIT = 64 * 1024  # bytes of an event or of a short reply; seen: 1.1 kB
LIST_LIMIT = 64 * 1024 * 1024  # bytes of one list; 90,000 registrations have 60 MB

GREETING = b"Content-Type: "  # what every first block begins with
AUTH_REQUEST = "auth/request"
RUDE_REJECTION = "text/rude-rejection"
DISCONNECT = "text/disconnect-notice"
REPLY = "command/reply"
API = "api/response"
EVENT = "text/event-plain"
GREETINGS = (AUTH_REQUEST, RUDE_REJECTION, DISCONNECT)

Event = dict[str, str]  # of a name given twice the first one stands

# What is read of an event. The directory's variables of a user come with it, and may
# hold what is nobody's business: they end here.
FIELDS = {
    name.encode(): name
    for name in (
        "Event-Name",
        "Event-Subclass",
        "Event-Date-Timestamp",
        "Core-UUID",
        "Uptime-msec",
        "profile-name",
        "profile_name",
        "from-user",
        "from-host",
        "user",
        "host",
        "contact",
        "call-id",
        "status",
        "expires",
        "network-ip",
        "network-port",
        "user-agent",
        "sip_contact",
        "Ping-Status",
        "Gateway",
        "State",
        "Status",
        "Phrase",
    )
}


class RefusedError(Exception):
    """A command is answered by words where something else was asked for."""


class Part(NamedTuple):
    """A block, or a piece of a long one."""

    kind: str  # its Content-Type
    reply: str  # its Reply-Text
    body: bytes
    last: bool  # whether the block ends here


class EslParser:
    """Incremental: feed() whatever came and get the parts that it completes.

    Raises ValueError on what no FreeSWITCH sends; it is of no use after that.
    """

    def __init__(self) -> None:
        self.greeted = False
        self._buffer = bytearray()
        self._block: tuple[str, str] | None = None  # kind and reply, its body is due
        self._left = 0  # bytes of that body

    def feed(self, data: bytes) -> list[Part]:
        """The parts completed by these bytes, in order."""
        buffer = self._buffer
        buffer += data
        if not self.greeted:
            self._check_greeting()
        parts: list[Part] = []
        at = 0
        while True:
            if self._block is None:
                at = self._headers(at)
                if self._block is None:
                    break
            part, at = self._body(at)
            if part is None:
                break
            parts.append(part)
        del buffer[:at]
        return parts

    def _check_greeting(self) -> None:
        if not GREETING.startswith(self._buffer[: len(GREETING)]):
            raise ValueError("it does not greet as FreeSWITCH's event socket does")

    def _headers(self, at: int) -> int:
        """Read a block of headers, if it is whole; returns where it ends."""
        buffer = self._buffer
        while buffer.startswith(b"\n", at):
            at += 1
        end = buffer.find(b"\n\n", at, at + HEADER_LIMIT)
        if end < 0:
            if len(buffer) - at > HEADER_LIMIT:
                raise ValueError(f"headers of over {HEADER_LIMIT} bytes")
            return at
        headers = fields(bytes(buffer[at:end]))
        kind = headers.get("content-type", "")
        if not self.greeted and kind not in GREETINGS:
            raise ValueError("it does not greet as FreeSWITCH's event socket does")
        self.greeted = True
        self._left = length(headers.get("content-length", "0"), kind)
        self._block = kind, headers.get("reply-text", "")
        return end + 2

    def _body(self, at: int) -> tuple[Part | None, int]:
        """The body that is due, or what there is of a long one."""
        assert self._block is not None  # noqa: S101
        kind, reply = self._block
        have = min(self._left, len(self._buffer) - at)
        whole = have == self._left
        if not whole and (kind != API or not have):
            return None, at
        self._left -= have
        if whole:
            self._block = None
        body = bytes(self._buffer[at : at + have])
        return Part(kind, reply, body, whole), at + have


def fields(block: bytes) -> dict[str, str]:
    """Header lines by their names in small letters; what is none says nothing."""
    found: dict[str, str] = {}
    for line in block.decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def length(text: str, kind: str) -> int:
    """A Content-Length, within what a block of this kind may have."""
    limit = LIST_LIMIT if kind == API else MESSAGE_LIMIT
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ValueError("a Content-Length that is no number")
    if int(text) > limit:
        raise ValueError(f"an answer or event of over {limit} bytes")
    return int(text)


def event(body: bytes) -> Event:
    """What is read of one event; its values are URL-encoded."""
    found: Event = {}
    for line in body.split(b"\n"):
        if not line:
            break  # what follows is a body of the event's own
        name, _, value = line.partition(b": ")
        known = FIELDS.get(name)
        if known is not None and known not in found:
            found[known] = text(unquote_to_bytes(value) if b"%" in value else value)
    return found


def text(value: bytes) -> str:
    """What phones sent: mostly UTF-8, whatever FreeSWITCH declares; else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
