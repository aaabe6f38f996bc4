"""Header fields with a small grammar of their own (RFC 3261 20, RFC 3326)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.sip.params import Params, unquoted

SEQUENCE_LIMIT = 2**31  # RFC 3261 8.1.1.5
DELTA_LIMIT = 2**32  # RFC 3261 25.1: delta-seconds up to 2**32 - 1
WARNING_LIMIT = 1000  # RFC 3261 20.43: three digits

_CSEQ = re.compile(r"(\d{1,10})\s+(\S+)", re.ASCII)
_DELTA = re.compile(r"\s*(\d{1,10})\s*(?:[;(].*)?", re.ASCII | re.DOTALL)
_WARNING = re.compile(r'(\d{3})\s+(\S+)\s+("(?:[^"\\]|\\.)*")', re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class CSeq:
    """The order of requests in a dialog, and their method (RFC 3261 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read `314 OPTIONS`."""
        found = _CSEQ.fullmatch(text)
        if found is None or int(found[1]) >= SEQUENCE_LIMIT:
            raise ValueError(f"{text!r} is not a CSeq")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class Warning:
    """What went wrong on the way, and who says so (RFC 3261 20.43)."""

    code: int
    "3xx; 399 is free text."

    agent: str
    "Host or pseudonym of the server that added it."

    text: str

    @classmethod
    def parse(cls, text: str) -> Warning:
        """Read `307 isi.edu "Session parameter 'foo' not understood"`."""
        found = _WARNING.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a Warning")
        return cls(int(found[1]), found[2], unquoted(found[3]))

    def __str__(self) -> str:
        return f'{self.code} {self.agent} "{self.text}"'


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in the words of the network behind (RFC 3326)."""

    protocol: str
    "Q.850 or SIP."

    cause: int | None = None
    "Q.850 cause or SIP status code."

    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Reason:
        """Read `Q.850;cause=16;text="Terminated"`."""
        protocol, _, rest = text.partition(";")
        if not (protocol := protocol.strip()) or " " in protocol:
            raise ValueError(f"{text!r} is not a Reason")
        params = Params.parse(rest)
        cause = params.get("cause") or ""
        number = int(cause) if re.fullmatch(r"[0-9]{1,5}", cause) else None
        return cls(protocol, number, params.get("text") or "")

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        return f"{self.protocol}{cause}" + (f';text="{self.text}"' if self.text else "")


def delta_seconds(text: str) -> int:
    """Seconds of an Expires, Min-Expires or Retry-After, its comment left out."""
    found = _DELTA.fullmatch(text)
    if found is None or int(found[1]) >= DELTA_LIMIT:
        raise ValueError(f"{text!r} is not a number of seconds")
    return int(found[1])
