"""Messages out of a stream: Content-Length says where each ends (RFC 3261 18.3)."""

from __future__ import annotations

import re

from checks.sip.message import HEADER_LIMIT, MESSAGE_LIMIT

LENGTH_DIGITS = 6  # enough for MESSAGE_LIMIT; a longer number is an attack or a bug

_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(
    rb"^(?:content-length|l)[ \t]*:((?:[ \t]|\r?\n[ \t])*)([^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
# The end of the header section may straddle two reads by this much.
_OVERLAP = len(b"\r\n\r\n") - 1


class Framer:
    """Cuts a stream into messages; holds at most one that is not whole.

    Empty lines between messages are keep-alives (RFC 5626 3.5.1) and are dropped. After
    a ValueError the stream has no known place to go on from: close it.
    """

    __slots__ = ("_buffer", "_searched", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no header section ends before here
        self._size = 0  # of the message at the front, once its header is whole

    @property
    def held(self) -> int:
        """Octets that wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these octets complete; ValueError where none can follow."""
        self._buffer += data
        messages: list[bytes] = []
        while self._complete():
            messages.append(bytes(self._buffer[: self._size]))
            del self._buffer[: self._size]
            self._searched = self._size = 0
        return messages

    def _complete(self) -> bool:
        if not self._size:
            if not self._searched:
                self._skip_keep_alives()
            self._size = self._message_size()
        return bool(self._size) and len(self._buffer) >= self._size

    def _skip_keep_alives(self) -> None:
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        del self._buffer[:blank]

    def _message_size(self) -> int:
        """Octets of the message at the front, 0 while its header is not whole."""
        end = _END.search(self._buffer, max(0, self._searched - _OVERLAP))
        head = end.start() if end else len(self._buffer)
        if head > HEADER_LIMIT:
            raise ValueError(f"a header section of over {HEADER_LIMIT} octets")
        if end is None:
            self._searched = len(self._buffer)
            return 0
        size = end.end() + _content_length(bytes(self._buffer[:head]))
        if size > MESSAGE_LIMIT:
            raise ValueError(f"a message of {size} octets, over {MESSAGE_LIMIT}")
        return size


def _content_length(head: bytes) -> int:
    """What Content-Length says; 0 where it is missing, as most stacks read it."""
    said = {value.strip() for _, value in _LENGTH.findall(head)}
    if not said:
        return 0
    if len(said) > 1:
        raise ValueError("two different Content-Length in a stream")
    value = said.pop()
    if not value.isdigit() or len(value) > LENGTH_DIGITS:
        raise ValueError(f"Content-Length {value[:20]!r} in a stream")
    return int(value)
