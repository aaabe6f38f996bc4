"""What is unusual in a message, as words: the evidence behind "your phone is broken".

Each check is a row of a table and yields words, some with the field they are about
("bad contact"). Words of `LEGAL` are allowed by RFC 3261 and only rare; the others are
faults. Field names in them come from the tables here, never from the peer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from checks.sip.fields import CSeq, Warning, delta_seconds
from checks.sip.headers import COMPACT, LISTS, SINGLE, canonical
from checks.sip.params import split
from checks.sip.uri import NameAddr, SipUri
from checks.sip.via import MAGIC_COOKIE, Via

if TYPE_CHECKING:
    from checks.sip.message import Message

LEGAL = frozenset(
    """leading_crlf folded compact space_before_colon several_in_line quoted_comma
    content_length_missing trailing_octets branch_of_rfc2543
    max_forwards_missing""".split()  # noqa: SIM905
)
_MANDATORY = ("via", "from", "to", "call-id", "cseq")  # RFC 3261 8.1.1

_LONE_LF = re.compile(r"(?<!\r)\n")
_QUOTED_COMMA = re.compile(r'"[^"\\\r\n]*,[^"\\\r\n]*"')
_DISPLAY = re.compile(r"""\s*(?:"(?:[^"\\]|\\.)*"\s*|[\w\-.!%*+`'~\s]*)<""", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


def oddities_of(message: Message) -> tuple[str, ...]:
    """Every oddity of a message, each once, in the order of the checks."""
    found = dict.fromkeys(word for check in _CHECKS for word in check(message))
    return tuple(found)


def _octets(message: Message) -> Iterator[str]:
    text = message.headers.text
    if message.raw[:1] in (b"\r", b"\n"):
        yield "leading_crlf"
    if message.raw and not re.search(rb"\n\r?\n", message.raw.lstrip(b"\r\n")):
        yield "unterminated"
    if _LONE_LF.search(text):
        yield "lf_only"
    if "\n " in text or "\n\t" in text:
        yield "folded"
    if any("\ud800" <= c <= "\udfff" for c in message.start_line + text):
        yield "not_utf8"


def _lines(message: Message) -> Iterator[str]:
    for line in message.headers.text.split("\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t", "\r", ""):
            continue
        if not colon or not _NAME.fullmatch(name.rstrip(" \t")):
            yield "bad_header_line"
            continue
        if name[-1] in " \t":
            yield "space_before_colon"
        if len(name.rstrip()) == 1 and name[0].lower() in COMPACT:
            yield "compact"
        if _QUOTED_COMMA.search(value):
            yield "quoted_comma"


def _start_line(message: Message) -> Iterator[str]:
    first = message.raw.lstrip(b"\r\n").partition(b"\n")[0].removesuffix(b"\r")
    request = first[:4].upper() != b"SIP/"
    if request and first and (first.count(b" ") != 2 or b"\t" in first):
        yield "start_line_space"
    if message.version != "2.0":
        yield "version"
    if request and first:
        yield from _request_uri(getattr(message, "uri", ""))


def _request_uri(uri: str) -> Iterator[str]:
    if not uri.lower().startswith(("sip:", "sips:", "<")):
        return
    try:
        if SipUri.parse(uri).headers:  # RFC 3261 19.1.1: not in a Request-URI
            yield "bad request-uri"
    except ValueError:
        yield "bad request-uri"


def _presence(message: Message) -> Iterator[str]:
    counts: dict[str, int] = {}
    for name, _ in message.headers:
        counts[canonical(name)] = counts.get(canonical(name), 0) + 1
    for name in _MANDATORY:
        if name not in counts:
            yield f"missing {name}"
    if "max-forwards" not in counts and hasattr(message, "method"):
        yield "max_forwards_missing"
    for name in sorted(SINGLE & counts.keys()):
        if counts[name] > 1:
            yield f"duplicate {name}"


def _several(message: Message) -> Iterator[str]:
    for name, value in message.headers:
        name = canonical(name)
        if name in ("via", "contact", "route", "record-route", "warning"):
            if len(split(value, ",")) > 1:
                yield f"several_in_line {name}"
            if "" in split(value, ","):
                yield f"bad {name}"


def _content_length(message: Message) -> Iterator[str]:
    written = message.get("content-length")
    if written is None:
        yield "content_length_missing"
    elif not re.fullmatch(r"[0-9]{1,9}", written):
        yield "bad content-length"
    elif message.raw:
        end = re.search(rb"\r?\n\r?\n", message.raw.lstrip(b"\r\n"))
        there = len(message.raw.lstrip(b"\r\n")) - end.end() if end else 0
        if int(written) > there:
            yield "content_length_long"
        elif int(written) < there:
            yield "trailing_octets"


def _sequence(message: Message) -> Iterator[str]:
    method = getattr(message, "method", None)
    try:
        if method is not None and message.cseq.method != method:
            yield "cseq_method"
    except ValueError:
        return  # _values says it


def _branch(message: Message) -> Iterator[str]:
    try:
        branch = message.via.branch
    except ValueError:
        return  # _values says it
    if branch is None or not branch.lower().startswith(MAGIC_COOKIE.lower()):
        yield "branch_of_rfc2543"
    elif len(branch) == len(MAGIC_COOKIE):
        yield "bad branch"


def _values(message: Message) -> Iterator[str]:
    for name, read in _READERS.items():
        values = message.all(name) if name in LISTS else message.headers.lines(name)
        for value in values:
            try:
                read(value)
            except ValueError:
                yield f"bad {name}"


def _address(value: str) -> None:
    if value == "*":
        return
    uri = NameAddr.parse(value).uri
    if "<" not in value and "?" in uri:  # RFC 3261 20.10: such a URI needs brackets
        raise ValueError("an unbracketed address with a question mark")
    if "<" in value and not _DISPLAY.match(value):
        raise ValueError("a display name that needs quotes")
    if uri[:4].lower() in ("sip:", "sips") or not uri.strip():
        SipUri.parse(uri)
    if any(ord(c) <= 32 for c in uri):
        raise ValueError("white space in an address")


def _hops(value: str) -> None:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > 255:
        raise ValueError("Max-Forwards is 0 to 255")


def _date(value: str) -> None:
    if not _DATE.fullmatch(value):
        raise ValueError("a SIP date is GMT (RFC 3261 20.17)")


_READERS: dict[str, Callable[[str], object]] = {
    "via": Via.parse,
    "from": _address,
    "to": _address,
    "contact": _address,
    "cseq": CSeq.parse,
    "max-forwards": _hops,
    "expires": delta_seconds,
    "min-expires": delta_seconds,
    "retry-after": delta_seconds,
    "warning": Warning.parse,
    "date": _date,
}
_CHECKS: tuple[Callable[[Message], Iterable[str]], ...] = (
    _octets,
    _start_line,
    _lines,
    _presence,
    _several,
    _content_length,
    _sequence,
    _branch,
    _values,
)
