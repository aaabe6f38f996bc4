"""Nothing secret in a capture: credentials, keys and words of people are overwritten.

Octet by octet, so that every length, checksum apart, is what it was, and who opens the
file sees where something stood. What SIP says in the clear stays: it is the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MASK = ord("x")
KEPT_DIGITS = 2  # of a number, so that two of them can be told apart
SHORTEST = 3  # digits that make a number of somebody

Span = tuple[int, int]

_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(  # a header field with what it goes on with in further lines
    rb"^([A-Za-z0-9\-.!%*_+`'~]{1,64})[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.MULTILINE
)
_ANSWERS = re.compile(rb'\b(?:response|rspauth)\s*=\s*(?:"([^"]*)"?|([^\s,"]+))', re.I)
_PASSWORD = re.compile(rb"sips?:[^@:\s<>\"]{1,256}:([^@\s<>\"]{1,256})@", re.I)
_NUMBERS = re.compile(rb"(?:sips?|tel):([^@\s<>\";,]{1,256})", re.I)
_NAMED = re.compile(rb'^\s*"([^"]{0,256})"|\busername\s*=\s*"([^"]{0,256})"', re.I)
_SDP_KEY = re.compile(
    rb"^a=crypto:[^\r\n]*?inline:([^\s|;]{1,512})|^k=[a-z0-9]+:([^\r\n]{1,512})",
    re.MULTILINE | re.IGNORECASE,
)
_DIGITS = re.compile(rb"\d+")

_CREDENTIALS = (b"authorization", b"proxy-authorization")
_CHECKED = (*_CREDENTIALS, b"authentication-info", b"proxy-authentication-info")
# Whose number it is, or to whom it goes.
_WHO = (
    *(b"from", b"f", b"to", b"t", b"contact", b"m", b"p-asserted-identity"),
    *(b"p-preferred-identity", b"remote-party-id", b"diversion", b"history-info"),
    *(b"refer-to", b"r", b"referred-by", b"b", b"p-called-party-id", b"route"),
    *(b"record-route", b"p-associated-uri", *_CREDENTIALS),
)
# Bodies that are about the call and hold nothing of people; SDP keys apart.
_SHOWN = (b"application/sdp", b"message/sipfrag", b"application/reginfo+xml")


def secrets_in(message: bytes, *, numbers: bool = False) -> list[Span]:
    """What of a SIP message is to be overwritten; with `numbers`, those as well."""
    end = _END.search(message)
    head = message[: end.start()] if end else message
    spans = list(_of_head(head, numbers=numbers))
    if end:
        body, at = message[end.end() :], end.end()
        spans += [(begin + at, stop + at) for begin, stop in _of_body(head, body)]
    return [span for span in spans if span[0] < span[1]]


def overwritten(data: bytes, spans: Iterable[Span]) -> bytes:
    """The octets with these made unreadable."""
    changed = bytearray(data)
    for begin, end in spans:
        changed[begin:end] = bytes([MASK]) * (min(end, len(changed)) - begin)
    return bytes(changed)


def _of_head(head: bytes, *, numbers: bool) -> Iterator[Span]:
    yield from (found.span(1) for found in _PASSWORD.finditer(head))
    line = head.partition(b"\n")[0]
    if numbers and not line.startswith(b"SIP/"):
        yield from _numbers_in(line, 0)
    for field in _FIELD.finditer(head):
        name, value, at = field[1].lower(), field[2], field.start(2)
        if name in _CHECKED:
            yield from _credentials(name, value, at)
        if numbers and name in _WHO:
            yield from _numbers_in(value, at)


def _credentials(name: bytes, value: bytes, at: int) -> Iterator[Span]:
    """The answer of a digest; of any other scheme all, since it is the secret."""
    scheme, *more = value.split(None, 1) or [b""]
    if name in _CREDENTIALS and scheme.lower() != b"digest":
        words = [word.span() for word in re.finditer(rb"[^\s]+", value)]
        for begin, end in words[1:] if more else words:
            yield at + begin, at + end
        return
    for found in _ANSWERS.finditer(value):
        which = 1 if found[1] is not None else 2
        yield found.start(which) + at, found.end(which) + at


def _numbers_in(text: bytes, at: int) -> Iterator[Span]:
    for found in _NUMBERS.finditer(text):
        yield from _digits(found[1], at + found.start(1))
    for found in _NAMED.finditer(text):
        which = 1 if found[1] is not None else 2
        yield from _digits(found[which], at + found.start(which))


def _digits(text: bytes, at: int) -> Iterator[Span]:
    for run in _DIGITS.finditer(text):
        if len(run[0]) >= SHORTEST:
            yield at + run.start(), at + run.end() - KEPT_DIGITS


def _of_body(head: bytes, body: bytes) -> Iterator[Span]:
    kind = b""
    for field in _FIELD.finditer(head):
        if field[1].lower() in (b"content-type", b"c"):
            kind = field[2].partition(b";")[0].strip().lower()
    if kind == b"application/sdp":
        for found in _SDP_KEY.finditer(body):
            yield found.span(1 if found[1] is not None else 2)
    elif kind not in _SHOWN:
        # Text of people, the digits they type, parts of which one would be a key.
        for line in re.finditer(rb"[^\r\n]+", body):
            yield line.span()
