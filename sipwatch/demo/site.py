"""A simulated site on loopback: a registrar, phones, a trunk; the one simulator.

`sipwatch demo` shows it, tests watch it. Everything speaks SIP over real UDP sockets.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from checks.sip.uri import NameAddr
from sipwatch.demo.peer import Peer, answer

MINIMUM = 1  # s; a registration shorter than that is refused with 423


@dataclass(slots=True)
class Bound:
    """One binding that the simulated registrar holds."""

    contact: str
    ends: float  # monotonic s
    agent: str


class Registrar(Peer):
    """A registrar (RFC 3261 10.3): REGISTER binds, asks and unbinds; OPTIONS is 200.

    With `users` it knows those alone (404 for others). `forget()` is a restart that
    lost its table. INVITE for who is not bound is answered 480.
    """

    def __init__(self, users: Iterable[str] = (), granted: int = 60) -> None:
        super().__init__()
        self.users = set(users)
        self.granted = granted  # s, the most that it grants
        self.bindings: dict[str, dict[str, Bound]] = {}

    def bound(self, user: str) -> list[Bound]:
        """The live bindings of a user."""
        now = time.monotonic()
        live = {c: b for c, b in self.bindings.get(user, {}).items() if b.ends > now}
        self.bindings[user] = live
        return list(live.values())

    def forget(self) -> None:
        """Lose all bindings, as a restart without a database does."""
        self.bindings.clear()

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        user = request.to.sip.user or ""
        if request.method == "REGISTER":
            return self._register(request, user, source)
        if request.method == "OPTIONS":
            return answer(request, 200, "OK", source)
        if request.method == "ACK":
            return None
        if self.bound(user):
            return answer(request, 486, "Busy Here", source)
        return answer(request, 480, "Temporarily Unavailable", source)

    def _register(
        self, request: Request, user: str, source: tuple[str, int]
    ) -> Response:
        if self.users and user not in self.users:
            return answer(request, 404, "Not Found", source)
        table = self.bindings.setdefault(user, {})
        default = self.granted if request.expires is None else request.expires
        if request.get("contact") == "*":
            table.clear()
        for contact in request.contacts:
            self._bind(table, contact, default, request.agent)
        response = answer(request, 200, "OK", source)
        now = time.monotonic()
        for b in self.bound(user):
            left = max(1, round(b.ends - now))
            response.headers.add("Contact", f"<{b.contact}>;expires={left}")
        return response

    def _bind(
        self, table: dict[str, Bound], contact: NameAddr, default: int, agent: str
    ) -> None:
        asked = contact.params.get("expires")
        seconds = int(asked) if asked is not None and asked.isdigit() else default
        uri = str(contact.uri)
        if seconds == 0:
            table.pop(uri, None)
            return
        granted = min(seconds, self.granted)
        table[uri] = Bound(uri, time.monotonic() + granted, agent)


class Phone(Peer):
    """A phone: registers, refreshes at half of what was granted, answers OPTIONS."""

    def __init__(
        self, user: str, registrar: tuple[str, int], domain: str, expires: int = 60
    ) -> None:
        super().__init__()
        self.user = user
        self.registrar = registrar
        self.domain = domain
        self.expires = expires
        self.status = 200  # what it answers to OPTIONS
        self.registered = asyncio.Event()
        self._call_id = secrets.token_hex(8)
        self._cseq = 0
        self._refresh: asyncio.TimerHandle | None = None

    @property
    def aor(self) -> str:
        """Its address of record."""
        return f"{self.user}@{self.domain}"

    async def start(self, host: str = "127.0.0.1") -> None:
        """Open a socket and register."""
        self.registered.clear()
        await self.open(host)
        self._send_register(self.expires)

    def die(self) -> None:
        """Vanish without a word, as a phone that lost its power."""
        if self._refresh is not None:
            self._refresh.cancel()
        self.close()

    def log_out(self) -> None:
        """De-register (Expires: 0) and vanish."""
        self._send_register(0)
        self.die()

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        reason = {200: "OK", 480: "Temporarily Unavailable", 486: "Busy Here"}
        return answer(request, self.status, reason.get(self.status, "No"), source)

    def answered(self, response: Response) -> None:
        if response.status == 200 and response.cseq.number == self._cseq:
            self.registered.set()

    def _send_register(self, expires: int) -> None:
        self._cseq += 1
        host, port = self.address
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        aor = f"<sip:{self.aor}>"
        headers = Headers()
        headers.add("Via", f"SIP/2.0/UDP {host}:{port};branch={branch};rport")
        headers.add("Max-Forwards", "70")
        headers.add("From", f"{aor};tag={self._call_id[:8]}")
        headers.add("To", aor)
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", f"{self._cseq} REGISTER")
        headers.add("Contact", f"<sip:{self.user}@{host}:{port}>")
        headers.add("Expires", str(expires))
        headers.add("User-Agent", "sipwatch demo phone")
        request = Request("REGISTER", f"sip:{self.domain}", headers)
        self.send(bytes(request), self.registrar)
        if expires:
            loop = asyncio.get_running_loop()
            self._refresh = loop.call_later(
                expires / 2, self._send_register, self.expires
            )


class Trunk(Peer):
    """A provider's side of a trunk: answers OPTIONS with `status`, or is silent."""

    def __init__(self, status: int = 200, reason: str = "OK") -> None:
        super().__init__()
        self.status = status
        self.reason = reason

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        return answer(request, self.status, self.reason, source)


class Site:
    """A registrar with phones 1001, 1002, ... and a trunk."""

    def __init__(
        self,
        phones: int = 20,
        *,
        expires: int = 60,
        domain: str = "demo.example.com",
        host: str = "127.0.0.1",
    ) -> None:
        users = [str(1001 + i) for i in range(phones)]
        self.host = host
        self.domain = domain
        self.registrar = Registrar(users, granted=expires)
        self.trunk = Trunk()
        self.phones: dict[str, Phone] = {}
        self._users = users
        self._expires = expires

    async def start(self, registrar_port: int = 0, trunk_port: int = 0) -> None:
        """Open all sockets; returns when every phone is registered."""
        await self.registrar.open(self.host, registrar_port)
        await self.trunk.open(self.host, trunk_port)
        for user in self._users:
            await self.add(user)

    async def add(self, user: str) -> Phone:
        """A phone of that user, or the one that died come back."""
        phone = Phone(user, self.registrar.address, self.domain, self._expires)
        self.phones[user] = phone
        await phone.start(self.host)
        async with asyncio.timeout(5):
            await phone.registered.wait()
        return phone

    def close(self) -> None:
        """Close everything."""
        for phone in self.phones.values():
            phone.die()
        self.registrar.close()
        self.trunk.close()
