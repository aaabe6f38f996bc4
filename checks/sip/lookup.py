"""DNS questions through dnspython: whose fault a missing answer is, in our words.

A name that does not exist is an answer. A server that refuses, fails or is silent is a
`SipError` of DNS_FAILURE: that says nothing of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdata
import dns.rdataset
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from checks.observation import Cause
from checks.sip.errors import SipError

RECORD_LIMIT = 32  # records taken of one answer; SIP providers publish under ten
TRY_SECONDS = 2.0  # for one server to answer, then the next one is asked
_RESOLV_CONF = Path("/etc/resolv.conf")


class ServerError(SipError):
    """The resolver answered, but not the question: SERVFAIL, REFUSED, NOTIMP."""

    def __init__(self, detail: str) -> None:
        super().__init__(Cause.DNS_FAILURE, detail)


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record (RFC 2782)."""

    target: str
    port: int

    def __str__(self) -> str:
        return f"{self.target}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pointer:
    """One NAPTR record (RFC 3403), as far as SIP uses it."""

    flags: str
    service: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.service} {self.replacement}"


@dataclass(frozen=True, slots=True)
class Records:
    """An answer; in the order in which to use its records."""

    rows: tuple[Service | Pointer | str, ...] = ()
    ttl: float = 0.0  # s
    exists: bool = True  # False: there is no such name


class Lookup:
    """Asks the name servers given, or those of /etc/resolv.conf as it stands now."""

    def __init__(
        self, nameservers: Sequence[str] | None, port: int, timeout: float
    ) -> None:
        self._nameservers = nameservers
        self._port = port
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._read_at: int | None = None

    async def ask(self, name: str, kind: str, *, search: bool = False) -> Records:
        """The records of a name; SipError where the servers are at fault."""
        resolver = self._current()
        servers = ", ".join(str(server) for server in resolver.nameservers)
        try:
            answer = await resolver.resolve(
                name, kind, search=search, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Records(exists=False)
        except dns.exception.Timeout:
            text = (
                f"no answer from {servers} within {self._timeout:g} s ({kind} {name})"
            )
            raise SipError(Cause.DNS_FAILURE, text) from None
        except dns.resolver.NoNameservers as error:
            code = _response_code(error)
            raise ServerError(f"{servers} answered {code} to {kind} {name}") from None
        except dns.exception.DNSException as error:
            # A name that cannot be asked (an empty label, one over 63 octets).
            text = f"{name} is not a domain name: {error}"
            raise SipError(Cause.DNS_NXDOMAIN, text) from None
        ttl = float(answer.chaining_result.minimum_ttl)
        return Records(_rows(answer.rrset, kind), ttl)

    def _current(self) -> dns.asyncresolver.Resolver:
        if self._nameservers is None:
            self._reread()
        elif self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            self._resolver.nameservers = list(self._nameservers)
            self._resolver.port = self._port
        if self._resolver is None:
            raise SipError(Cause.DNS_FAILURE, f"{_RESOLV_CONF} names no name server")
        self._resolver.timeout = min(TRY_SECONDS, self._timeout)
        self._resolver.lifetime = self._timeout
        return self._resolver

    def _reread(self) -> None:
        try:
            changed = _RESOLV_CONF.stat().st_mtime_ns
            if changed != self._read_at:
                self._resolver = dns.asyncresolver.Resolver()
                self._read_at = changed
        except (OSError, dns.resolver.NoResolverConfiguration):
            return  # keep what was read before, if anything


def _rows(
    records: dns.rdataset.Rdataset | None, kind: str
) -> tuple[Service | Pointer | str, ...]:
    if records is None:
        return ()
    if kind in ("A", "AAAA"):
        # They have no order; sorted, the same set is told in the same words each time.
        return tuple(sorted(row.to_text() for row in records)[:RECORD_LIMIT])
    # By priority, then drawn by weight (RFC 2782); by order and preference (RFC 3403).
    return tuple(_row(row) for row in records.processing_order()[:RECORD_LIMIT])


def _row(row: dns.rdata.Rdata) -> Service | Pointer | str:
    if isinstance(row, SRV):
        return Service(row.target.to_text(omit_final_dot=True), row.port)
    if isinstance(row, NAPTR):
        return Pointer(
            row.flags.decode("ascii", "replace").lower(),
            row.service.decode("ascii", "replace").upper(),
            row.replacement.to_text(omit_final_dot=True),
        )
    return row.to_text()


def _response_code(error: dns.resolver.NoNameservers) -> str:
    for row in reversed(error.kwargs.get("errors") or []):
        said = str(row[3])
        if said.isupper():
            return said
    return "nothing usable"
