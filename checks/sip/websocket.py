"""WebSocket under SIP (RFC 6455, RFC 7118), the client's side, without I/O.

    Upgrade                             the HTTP handshake: what to ask, was it granted
    WebSocket.feed(octets) -> messages  each is one SIP message
    WebSocket.frame(message) -> octets  as they go out
    WebSocket.take_replies() -> octets  what the protocol owes: pongs, a close

A message may come in pieces, with control frames between them. What a server must not
do (masked frames, reserved bits, pieces without a beginning) ends the connection, as
does more than one SIP message may have. No extension is offered, so none may be used.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets

from checks.observation import plain
from checks.sip.message import MESSAGE_LIMIT

UPGRADE_LIMIT = 8192  # octets of the answer to the handshake, as much as of a header
CONTROL_LIMIT = 125  # octets of a control frame's payload (RFC 6455 5.5)
REASON_LIMIT = 80  # characters of a close reason worth a place in a sentence
SUBPROTOCOL = "sip"  # RFC 7118 4.1

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_VERSION = "13"
_STATUS = re.compile(r"HTTP/1\.[01] (\d{3})(?: (.*))?")
_END = re.compile(rb"\r?\n\r?\n")

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_TWO_OCTETS, _EIGHT_OCTETS = 126, 127

# RFC 6455 7.4.1: what a close code says, as far as servers use them.
_CLOSED = {
    1000: "done",
    1001: "going away",
    1002: "protocol error",
    1003: "it does not take such data",
    1008: "against its policy",
    1009: "message too big",
    1011: "internal error",
    1012: "restarting",
    1013: "try again later",
}

# What a server means that does not switch to WebSocket, and what to do about it.
_REFUSED = {
    400: "it does not take the handshake: is this port meant for WebSocket, and "
    "SIP allowed on it?",
    401: "it wants HTTP credentials: let this address in without them",
    403: "it does not let us in: check its ACL and the origins that it allows",
    404: "there is no WebSocket at {path}: name the right one as `;path=/...`",
    405: "there is no WebSocket at {path}: name the right one as `;path=/...`",
    407: "a proxy wants credentials: let this address through without them",
    426: "it wants another protocol or version of it than SIP over WebSocket 13",
    429: "it is asked too often",
    502: "the proxy in front does not reach the SIP server",
    503: "it is overloaded or under maintenance",
    504: "the proxy in front gets no answer from the SIP server",
}


class Upgrade:
    """One handshake (RFC 6455 4.1): `request` goes out, `feed` reads the answer."""

    def __init__(self, host: str, path: str, key: bytes | None = None) -> None:
        """`host` as in a URI, with its port where that is not the default one."""
        self._key = base64.b64encode(key or os.urandom(16))
        self._path = path
        self._buffer = bytearray()
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._key.decode()}\r\n"
            f"Sec-WebSocket-Version: {_VERSION}\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        ).encode("ascii")

    def feed(self, data: bytes) -> bytes | None:
        """What follows the answer, None while it is not whole.

        ValueError, with a sentence, where it is refused or is no WebSocket for SIP.
        """
        self._buffer += data
        end = _END.search(self._buffer)
        if end is None or end.start() > UPGRADE_LIMIT:
            if len(self._buffer) > UPGRADE_LIMIT:
                raise ValueError(f"an HTTP answer of over {UPGRADE_LIMIT} octets")
            self._check_begin()
            return None
        self._check(self._buffer[: end.start()].decode("latin-1"))
        return bytes(self._buffer[end.end() :])

    def _check_begin(self) -> None:
        """What speaks another protocol may never send an empty line."""
        if not b"HTTP/".startswith(self._buffer[:5]):
            raise ValueError(_not_http(self._buffer.decode("latin-1")))

    def _check(self, head: str) -> None:
        line, *rest = re.split(r"\r?\n", head)
        found = _STATUS.fullmatch(line)
        if found is None:
            raise ValueError(_not_http(line))
        fields = _fields(rest)
        status, reason = int(found[1]), found[2] or ""
        if status != 101:
            raise ValueError(self._refusal(status, reason, fields))
        upgrade = fields.get("upgrade", "").lower()
        if upgrade != "websocket" or "upgrade" not in _words(fields, "connection"):
            raise ValueError("it switches to another protocol than WebSocket")
        if fields.get("sec-websocket-accept") != self._accept():
            raise ValueError("its answer is to another handshake: a cache in between?")
        if fields.get("sec-websocket-extensions"):
            raise ValueError("it wants an extension that was not offered")
        if (chosen := fields.get("sec-websocket-protocol", "")) != SUBPROTOCOL:
            chosen = plain(chosen, REASON_LIMIT) or "no sub-protocol"
            raise ValueError(f"its WebSocket speaks {chosen}, not sip (RFC 7118)")

    def _accept(self) -> str:
        # SHA-1 proves here that the answer is to this request, and nothing else.
        digest = hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()

    def _refusal(self, status: int, reason: str, fields: dict[str, str]) -> str:
        said = plain(f"HTTP {status} {reason}".rstrip(), REASON_LIMIT)
        if 300 <= status < 400:
            where = plain(fields.get("location", "nowhere"), REASON_LIMIT)
            return f"{said}: it sends us to {where}; ask there instead"
        if 200 <= status < 300:
            return f"{said}: a plain web server, without WebSocket at {self._path}"
        means = _REFUSED.get(status, "it does not switch to WebSocket")
        return f"{said}: {means.format(path=self._path)}"


class WebSocket:
    """The frames of an open connection; holds at most one message that is not whole.

    After a ValueError the connection cannot go on: send what is owed, and close it.
    """

    __slots__ = ("_buffer", "_opcode", "_pieces", "_replies", "closed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces = bytearray()  # of a message that comes in several frames
        self._opcode: int | None = None  # of that message
        self._replies = bytearray()
        self.closed: str | None = None
        "Why the server closes it, once it did."

    @property
    def held(self) -> int:
        """Octets that wait for the rest of their frame or message."""
        return len(self._buffer) + len(self._pieces)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these octets complete; keep-alives are left out."""
        self._buffer += data
        messages: list[bytes] = []
        try:
            while self.closed is None and (frame := self._next_frame()) is not None:
                message = self._take(*frame)
                if message is not None and message.strip(b"\r\n"):
                    messages.append(message)
        except ValueError:
            self._reply(_CLOSE, (1002).to_bytes(2, "big"))
            raise
        return messages

    def frame(self, data: bytes) -> bytes:
        """A message as it goes out; binary where it is no UTF-8 (RFC 7118 5)."""
        try:
            data.decode()
        except UnicodeDecodeError:
            return _framed(_BINARY, data)
        return _framed(_TEXT, data)

    def take_replies(self) -> bytes:
        """What is owed to the server, once."""
        owed = bytes(self._replies)
        self._replies.clear()
        return owed

    def farewell(self) -> bytes:
        """The close frame of ours."""
        return _framed(_CLOSE, (1000).to_bytes(2, "big"))

    def _next_frame(self) -> tuple[int, bool, bytes] | None:
        """Opcode, whether it is the last piece, and payload of a whole frame."""
        head = self._buffer
        if len(head) < 2:
            return None
        if head[0] & _RESERVED:
            raise ValueError("a frame with reserved bits set")
        if head[1] & _MASKED:
            raise ValueError("a masked frame, as only clients send them")
        size, begin = head[1] & _LENGTH, 2
        if size in (_TWO_OCTETS, _EIGHT_OCTETS):
            begin = 4 if size == _TWO_OCTETS else 10
            if len(head) < begin:
                return None
            size = int.from_bytes(head[2:begin], "big")
        opcode, final = head[0] & _OPCODE, bool(head[0] & _FIN)
        self._check_size(opcode, final, size)
        if len(head) < begin + size:
            return None
        payload = bytes(head[begin : begin + size])
        del head[: begin + size]
        return opcode, final, payload

    def _check_size(self, opcode: int, final: bool, size: int) -> None:
        """Refuse what is too much before it is collected."""
        if opcode >= _CLOSE:
            if size > CONTROL_LIMIT or not final:
                raise ValueError("a control frame that is long, or a piece of one")
        elif len(self._pieces) + size > MESSAGE_LIMIT:
            size += len(self._pieces)
            raise ValueError(f"a message of {size} octets, over {MESSAGE_LIMIT}")

    def _take(self, opcode: int, final: bool, payload: bytes) -> bytes | None:
        if opcode >= _CLOSE:
            self._control(opcode, payload)
            return None
        if opcode > _BINARY:
            raise ValueError(f"a frame of the unknown kind {opcode}")
        if (opcode == _CONTINUATION) == (self._opcode is None):
            raise ValueError("a piece of a message out of its order")
        if opcode != _CONTINUATION:
            if final:
                return payload
            self._opcode = opcode
        self._pieces += payload
        if not final:
            return None
        message = bytes(self._pieces)
        self._pieces.clear()
        self._opcode = None
        return message

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._reply(_PONG, payload)
        elif opcode == _CLOSE:
            self._reply(_CLOSE, payload[:2])
            self.closed = _why(payload)
        elif opcode != _PONG:
            raise ValueError(f"a frame of the unknown kind {opcode}")

    def _reply(self, opcode: int, payload: bytes) -> None:
        self._replies += _framed(opcode, payload)


def _framed(opcode: int, payload: bytes) -> bytes:
    """One frame as a client sends it: whole, and masked (RFC 6455 5.3)."""
    size = len(payload)
    if size < _TWO_OCTETS:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 0x10000:
        head = bytes((_FIN | opcode, _MASKED | _TWO_OCTETS)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | _EIGHT_OCTETS)) + size.to_bytes(8, "big")
    mask = secrets.token_bytes(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return head + mask + masked


def _why(payload: bytes) -> str:
    """A close frame in words (RFC 6455 5.5.1)."""
    if len(payload) < 2:
        return "without a reason"
    code = int.from_bytes(payload[:2], "big")
    said = plain(payload[2:].decode("utf-8", "replace"), REASON_LIMIT)
    return f"{code} {said or _CLOSED.get(code, '')}".rstrip()


def _fields(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            found[name] = (
                f"{found[name]}, {value.strip()}" if name in found else (value.strip())
            )
    return found


def _words(fields: dict[str, str], name: str) -> list[str]:
    return [word.strip().lower() for word in fields.get(name, "").split(",")]


def _not_http(text: str) -> str:
    if text[:4].upper() == "SIP/":
        return "it speaks SIP without WebSocket: ask with transport=tcp or tls"
    return f"it does not speak HTTP: {plain(text[:REASON_LIMIT])!r}"
