"""SIP messages (RFC 3261 7): read tolerantly, taken apart only when asked.

A probe must say what is wrong with an answer, not choke on it. So `parse` refuses only
what is no SIP at all; all else is kept, and named by `oddities` for who asks. Nothing
but the start line is looked at until then: most answers are read for their status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from checks.sip.fields import CSeq, Reason, Warning, delta_seconds
from checks.sip.headers import Headers
from checks.sip.oddities import LEGAL, oddities_of
from checks.sip.uri import NameAddr, SipUri
from checks.sip.via import Via

MESSAGE_LIMIT = 65_536  # what one UDP datagram can carry; nobody sends more over TCP
HEADER_LIMIT = 32_768  # all header fields: 100 contacts of 300 characters in one answer

_STATUS_LINE = re.compile(
    r"SIP/(?P<version>\d{1,3}\.\d{1,3})[ \t]+"
    r"(?P<status>[1-6]\d\d)(?:[ \t](?P<reason>.*))?",
    re.IGNORECASE | re.ASCII,
)
_REQUEST_LINE = re.compile(
    r"(?P<method>[A-Za-z0-9\-.!%*_+`'~]+)[ \t]+(?P<uri>\S.*)[ \t]"
    r"SIP/(?P<version>\d{1,3}\.\d{1,3})[ \t]*",
    re.IGNORECASE | re.ASCII,
)
T = TypeVar("T")

_END = re.compile(rb"\r?\n\r?\n")


class Message:
    """What requests and responses share."""

    __slots__ = ("_oddities", "_raw", "body", "headers", "version")

    headers: Headers
    body: bytes
    version: str

    def __init__(
        self, headers: Headers | None = None, body: bytes = b"", version: str = "2.0"
    ) -> None:
        self.headers = Headers() if headers is None else headers
        self.body = body
        self.version = version
        self._raw = b""
        self._oddities: tuple[str, ...] | None = None

    @property
    def start_line(self) -> str:
        """The first line, without its end."""
        raise TypeError("a message is a Request or a Response")

    @property
    def raw(self) -> bytes:
        """The octets as received; empty for a message that was built."""
        return self._raw

    @property
    def oddities(self) -> tuple[str, ...]:
        """What is unusual in it, each a word of `oddities.LEGAL` or a fault."""
        if self._oddities is None:
            self._oddities = oddities_of(self)
        return self._oddities

    @property
    def faults(self) -> tuple[str, ...]:
        """The oddities that RFC 3261 forbids."""
        return tuple(o for o in self.oddities if o.partition(" ")[0] not in LEGAL)

    def get(self, name: str) -> str | None:
        """The first value of a header field, as text."""
        return self.headers.get(name)

    def all(self, name: str) -> list[str]:
        """Every value of a header field, comma lists split."""
        return self.headers.all(name)

    @property
    def vias(self) -> tuple[Via, ...]:
        """The way it came, topmost first; ValueError where one cannot be read."""
        return tuple(Via.parse(value) for value in self.all("via"))

    @property
    def via(self) -> Via:
        """The topmost Via; ValueError where it is missing or unreadable."""
        values = self.all("via")
        if not values:
            raise ValueError("it has no Via")
        return Via.parse(values[0])

    @property
    def cseq(self) -> CSeq:
        """CSeq; ValueError where it is missing or unreadable."""
        return CSeq.parse(self.get("cseq") or "")

    @property
    def call_id(self) -> str:
        """Call-ID, empty where it is missing."""
        return self.get("call-id") or ""

    @property
    def from_(self) -> NameAddr:
        """From; ValueError where it is missing or unreadable."""
        return NameAddr.parse(self.get("from") or "")

    @property
    def to(self) -> NameAddr:
        """To; ValueError where it is missing or unreadable."""
        return NameAddr.parse(self.get("to") or "")

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Contacts, unreadable ones left out; `*` is left to `get`."""
        return _readable(NameAddr.parse, (c for c in self.all("contact") if c != "*"))

    @property
    def expires(self) -> int | None:
        """Expires in seconds; None where it is missing or unreadable."""
        return self._seconds("expires")

    @property
    def retry_after(self) -> int | None:
        """Retry-After in seconds; None where it is missing or unreadable."""
        return self._seconds("retry-after")

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """Warnings, unreadable ones left out."""
        return _readable(Warning.parse, self.all("warning"))

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Reasons (RFC 3326), unreadable ones left out."""
        return _readable(Reason.parse, self.all("reason"))

    @property
    def agent(self) -> str:
        """What the sender calls itself: Server, or User-Agent."""
        return self.get("server") or self.get("user-agent") or ""

    def __bytes__(self) -> bytes:
        headers = self.headers.copy()
        headers.set("Content-Length", str(len(self.body)))
        head = f"{self.start_line}\r\n{headers}\r\n"
        return head.encode("utf-8", "surrogateescape") + self.body

    def _seconds(self, name: str) -> int | None:
        try:
            return delta_seconds(self.get(name) or "")
        except ValueError:
            return None


class Request(Message):
    """A request: `OPTIONS sip:example.com SIP/2.0` and its header fields."""

    __slots__ = ("method", "uri")

    def __init__(
        self,
        method: str,
        uri: str,
        headers: Headers | None = None,
        body: bytes = b"",
        version: str = "2.0",
    ) -> None:
        super().__init__(headers, body, version)
        self.method = method
        self.uri = uri

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/{self.version}"

    @property
    def sip_uri(self) -> SipUri:
        """The Request-URI; ValueError where it is another scheme's."""
        return SipUri.parse(self.uri)

    def copy(self) -> Request:
        """The same request, to be changed apart."""
        headers = self.headers.copy()
        return Request(self.method, self.uri, headers, self.body, self.version)

    def __repr__(self) -> str:
        return f"<{self.start_line!r}>"


class Response(Message):
    """A response: `SIP/2.0 200 OK` and its header fields."""

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Headers | None = None,
        body: bytes = b"",
        version: str = "2.0",
    ) -> None:
        super().__init__(headers, body, version)
        self.status = status
        self.reason = reason

    @property
    def start_line(self) -> str:
        return f"SIP/{self.version} {self.status} {self.reason}"

    @property
    def final(self) -> bool:
        """Whether it ends its transaction."""
        return self.status >= 200

    def __repr__(self) -> str:
        return f"<{self.start_line!r}>"


def parse(data: bytes) -> Request | Response:
    """Read a message from one datagram or frame; ValueError for what is not SIP."""
    if len(data) > MESSAGE_LIMIT:
        raise ValueError(f"a message of {len(data)} octets, over {MESSAGE_LIMIT}")
    text, body = _head_and_body(data)
    line, _, rest = text.partition("\n")
    message = _of_start_line(line.removesuffix("\r"))
    message._raw = data
    message.headers = Headers.received(rest)
    message.body = body
    if body:
        _cut_body(message)
    return message


def _readable(read: Callable[[str], T], values: Iterable[str]) -> tuple[T, ...]:
    found = []
    for value in values:
        try:
            found.append(read(value))
        except ValueError:
            continue  # `oddities` names it
    return tuple(found)


def _head_and_body(data: bytes) -> tuple[str, bytes]:
    begin = 0
    while data[begin : begin + 1] in (b"\r", b"\n") and begin < len(data):
        begin += 1  # RFC 3261 7.5: CRLF before the start line is ignored
    end = data.find(b"\r\n\r\n", begin)
    if end >= 0:
        head, body = data[begin:end], data[end + 4 :]
    elif found := _END.search(data, begin):
        head, body = data[begin : found.start()], data[found.end() :]
    else:
        head, body = data[begin:], b""
    if len(head) > HEADER_LIMIT:
        raise ValueError(f"a header section of {len(head)} octets, over {HEADER_LIMIT}")
    return head.decode("utf-8", "surrogateescape"), body


def _of_start_line(line: str) -> Request | Response:
    if found := _STATUS_LINE.fullmatch(line):
        version, status, reason = found.groups()
        return Response(int(status), reason or "", version=version)
    if found := _REQUEST_LINE.fullmatch(line):
        method, uri, version = found.groups()
        return Request(method, uri.rstrip(), version=version)
    raise ValueError(f"{line[:80]!r} does not begin a SIP message")


def _cut_body(message: Request | Response) -> None:
    # RFC 3261 18.3: octets of a datagram beyond Content-Length are no body.
    length = message.get("content-length") or ""
    if len(length) <= 6 and length.isascii() and length.isdigit():
        message.body = message.body[: int(length)]
