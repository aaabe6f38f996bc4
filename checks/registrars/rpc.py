"""JSON-RPC over HTTP, as Kamailio's jsonrpcs and OpenSIPS' mi_http answer it.

Connections are closed after each call: Kamailio drops idle ones, and OpenSIPS' httpd
loses about one request in twenty on a connection that is used again by a client that
writes head and body apart.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from checks.observation import Cause, plain
from checks.registrars.complaints import Complaint
from checks.registrars.failures import HoldBack, check_url, unreadable
from checks.registrars.places import HttpPlaces, Places
from checks.registrations.readings import Unreadable
from checks.settings import Secret
from checks.sip.resolver import Resolver

BODY_LIMIT = 64 * 1024 * 1024  # bytes of one answer; 100,000 contacts have 55 MB
CHUNK = 64 * 1024
FAULT_LIMIT = 100  # characters of a server's own words

T = TypeVar("T")


class FaultError(Exception):
    """A JSON-RPC error, in the server's words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(plain(message, FAULT_LIMIT))
        self.code = code


class Fault(msgspec.Struct):
    """A JSON-RPC error."""

    code: int = 0
    message: str = ""


class Answer(msgspec.Struct, Generic[T]):
    """A JSON-RPC response: the result or an error."""

    result: T | None = None
    error: Fault | None = None


def decode(body: bytes, form: type[T]) -> T:
    """The typed value, or ValueError; bytes that are no UTF-8 are replaced."""
    try:
        try:
            return msgspec.json.decode(body, type=form)
        except UnicodeDecodeError:
            return msgspec.json.decode(body.decode("utf-8", "replace"), type=form)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


@dataclass(frozen=True)
class Dialect:
    """How one kind of server answers, and what to say of what it refuses."""

    name: str  # what is asked: "JSON-RPC", "MI"
    statuses: frozenset[int]  # of HTTP, with a JSON-RPC answer in the body
    refusals: Mapping[int, tuple[Cause, str]]  # of other statuses: what to do
    otherwise: str  # advice for the rest


class Rpc:
    """One server at one URL; each call is a connection of its own."""

    def __init__(
        self,
        dialect: Dialect,
        address: str,
        *,
        clock: Callable[[], float],
        timeout: float,
        username: str = "",
        password: Secret,
        resolver: Resolver | None = None,
    ) -> None:
        self.address = address
        self._places = HttpPlaces(Places(resolver))
        self._dialect = dialect
        self._clock = clock
        self._timeout = timeout
        self._username, self._password = username, password
        self._hold_back = HoldBack()
        self._http: aiohttp.ClientSession  # while it is `opened`

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Calls can be made meanwhile; Unreadable where no call would be any use."""
        self._hold_back.check(self._clock())
        try:
            check_url(self.address)
        except ValueError as error:
            raise Complaint.NO_ADDRESS.of(error=error) from None
        async with aiohttp.ClientSession(
            headers=self._authorization(),
            connector=aiohttp.TCPConnector(
                force_close=True, resolver=self._places, use_dns_cache=False
            ),
        ) as self._http:
            yield

    def accepted(self) -> None:
        """What was asked for was given: our credentials are right."""
        self._hold_back.accepted()

    def _authorization(self) -> dict[str, str]:
        if not self._username:
            return {}
        pair = f"{self._username}:{self._password.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    async def call(
        self,
        method: str,
        form: type[T],
        params: object = None,
        *,
        within: float | None = None,
    ) -> T:
        """The result of one call, in `within` s; raises FaultError, Unreadable."""
        return self.result(method, await self.fetch(method, params, within), form)

    async def fetch(
        self, method: str, params: object = None, within: float | None = None
    ) -> bytes:
        """The answer to one call as it came, in `within` s; raises Unreadable."""
        call: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "id": 1}
        if params is not None:
            call["params"] = params
        status, body = await self._post(method, call, within or self._timeout)
        if status not in self._dialect.statuses:
            raise self._refusal(status)
        return body

    def result(self, method: str, body: bytes, form: type[T]) -> T:
        """What an answer holds; raises FaultError, Unreadable."""
        try:
            answer = decode(body, Answer[form])  # type: ignore[valid-type]
        except ValueError as error:
            raise self.malformed(method, error) from None
        if answer.result is None:
            fault = answer.error or Fault()
            raise FaultError(fault.code, fault.message)
        return answer.result

    async def _post(
        self, method: str, call: object, within: float
    ) -> tuple[int, bytes]:
        where = f"{self._dialect.name} at {self.address}"
        try:
            async with self._http.post(
                self.address, json=call, timeout=aiohttp.ClientTimeout(total=within)
            ) as response:
                return response.status, await bounded(response.content)
        except aiohttp.ClientConnectorCertificateError as error:
            raise unreadable(as_os_error(error.certificate_error), where) from None
        except aiohttp.ClientConnectorError as error:
            raise unreadable(error.os_error, where) from None
        except TimeoutError as error:
            raise unreadable(error, where) from None
        except aiohttp.ClientResponseError as error:
            raise self.malformed(method, ValueError(error.message)) from None
        except (aiohttp.ClientError, OSError) as error:
            said = plain(str(error), FAULT_LIMIT)
            raise Complaint.HTTP_CUT.of(where=where, error=said) from None
        except UnicodeDecodeError:  # Python reads its names, asked or not
            raise Complaint.ODD_NAMES.of(where=where) from None
        except UnicodeError as error:  # of a redirect to a host that is no name
            raise Complaint.HTTP_HOST.of(where=where, error=error) from None

    def _refusal(self, status: int) -> Unreadable:
        dialect = self._dialect
        otherwise = (Cause.MALFORMED, dialect.otherwise)
        cause, advice = dialect.refusals.get(status, otherwise)
        said = {"address": self.address, "status": status, "advice": advice}
        failure = Complaint.HTTP_STATUS.of(cause, protocol=dialect.name, **said)
        self._hold_back.refused(failure, self._clock())
        return failure

    def malformed(self, method: str, error: ValueError) -> Unreadable:
        """An answer that is not what it should be."""
        said = plain(str(error), FAULT_LIMIT)
        where = self.address
        return Complaint.HTTP_UNLIKE.of(method=method, address=where, error=said)


def as_os_error(error: Exception) -> OSError:
    """A certificate's error is an OSError that aiohttp declares as any exception."""
    return error if isinstance(error, OSError) else OSError(str(error))


async def bounded(content: aiohttp.StreamReader) -> bytes:
    """A whole body, unless it is larger than any that is meant."""
    body = bytearray()
    async for chunk in content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Complaint.HTTP_TOO_LONG.of(bytes=BODY_LIMIT)
    return bytes(body)
