"""What went over the wire, and how a human reads it: a text ladder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from checks.observation import plain

EXCHANGE_LIMIT = 64  # messages kept of one request: two digests, retransmits, spare
LADDER_BYTES = 8192  # shown of one message; a screen holds less
# Before the lines of a message: a body may hold what looks like the next message, and
# is marked from the empty line on. No line of it is empty, as those between two are.
INDENT, BODY = "    ", "  | "

_FOLD = re.compile(r"\r?\n[ \t]+")
_CREDENTIALS = re.compile(r"((?:Proxy-)?Authorization[ \t]*:).*", re.IGNORECASE)
_RESPONSE = re.compile(r'\b(response|rspauth)(\s*=\s*)(?:"[^"]*"?|[^\s,"]+)', re.I)
_URI_PASSWORD = re.compile(r"(sips?:[^@:\s<>\"]{1,256}:)[^@\s<>\"]{1,256}@", re.I)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One message as it was sent or received."""

    at: float
    "UTC seconds."

    sent: bool
    "True from us to the peer."

    transport: str
    "udp, tcp, tls, ws or wss."

    local: tuple[str, int]
    remote: tuple[str, int]
    data: bytes

    note: str = ""
    "What the bytes do not say: `retransmission`, `from another address`."


def ladder(exchange: Iterable[Exchanged]) -> str:
    """The exchange as text, times counted from its first message."""
    lines: list[str] = []
    began: float | None = None
    for message in exchange:
        began = message.at if began is None else began
        arrow = "->" if message.sent else "<-"
        note = f"  ({message.note})" if message.note else ""
        lines.append(
            f"{(message.at - began) * 1000:9.1f} ms  {_address(message.local)} {arrow} "
            f"{_address(message.remote)} {message.transport}{note}"
        )
        lines += _indented(redacted(message.data))
        lines.append("")
    return "\n".join(lines)


def _indented(shown: Iterable[str]) -> Iterator[str]:
    mark = INDENT
    for line in shown:
        mark = mark if line.strip() else BODY
        yield f"{mark}{line}".rstrip()


def redacted(data: bytes) -> list[str]:
    """The lines of a message, harmless to show: no credentials, no control codes."""
    text = data[:LADDER_BYTES].decode("utf-8", "backslashreplace")
    head, blank, body = text.replace("\r\n", "\n").partition("\n\n")
    shown = [plain(_without_secrets(line)) for line in _FOLD.sub(" ", head).split("\n")]
    if blank and body:
        shown += ["", *(plain(line) for line in body.rstrip("\n").split("\n"))]
    if len(data) > LADDER_BYTES:
        shown.append(f"... {len(data) - LADDER_BYTES} more bytes")
    return shown


def _without_secrets(line: str) -> str:
    line = _URI_PASSWORD.sub(r"\1***@", line)
    if found := _CREDENTIALS.match(line):
        value = line[found.end(1) :]
        if value.lstrip()[:7].lower() != "digest ":  # Basic carries the password
            return f"{found.group(1)} ***"
        line = _RESPONSE.sub(r"\1\2***", line)
    return line


def _address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
