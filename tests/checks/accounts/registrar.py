"""A registrar on paper, and accounts that are tested at it over real sockets."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from checks.accounts.contact import OwnContact
from checks.accounts.exchange import Step
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Around, Intent, Outcome, Trial
from checks.settings import Secret
from checks.sip.digest import Challenge, Credentials, answer
from checks.sip.message import Request
from checks.sip.uri import NameAddr
from tests.checks.sip.peer import Peer, answering, respond

OWN = OwnContact.of("watcher.example.com", "line1")
PHONE = "sip:line1@10.0.0.31:5060"


@dataclass
class Registrar:
    """Keeps contacts as RFC 3261 10.3 wants it, with digest, and with whims."""

    contacts: dict[str, int] = field(default_factory=dict)  # URI: s left
    password: str = "secret"
    realm: str = "example.com"
    algorithm: str = "MD5"
    status: int = 401  # of the challenge
    refuse: Callable[[Request], list[bytes] | None] = lambda request: None
    least: int = 0  # Min-Expires
    limit: int = 10  # contacts of the AOR; above it the oldest goes
    arrives: str = ""  # a phone that registers the moment after we do
    deaf: bool = False  # it takes removals, and keeps what it has
    silent_list: bool = False  # its answers list nothing
    next_nonce: str = ""
    nonces: list[str] = field(default_factory=lambda: ["n1"])
    seen: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, number: int) -> list[bytes]:
        self.seen.append(request)
        if request.method != "REGISTER":
            return [respond(request, 200, "OK")]
        refused = self.refuse(request)
        if refused is not None:
            return refused
        if not self._proven(request):
            return [self._challenge(request)]
        return [self._registered(request)]

    def _challenge(self, request: Request, **more: str) -> bytes:
        name = "www_authenticate" if self.status == 401 else "proxy_authenticate"
        nonce = self.nonces[-1]
        text = f'Digest realm="{self.realm}", nonce="{nonce}", qop="auth", '
        fields: dict[str, str | list[str]] = {
            name: text + f"algorithm={self.algorithm}",
            **more,
        }
        return respond(request, self.status, "Unauthorized", **fields)

    def _proven(self, request: Request) -> bool:
        name = "Authorization" if self.status == 401 else "Proxy-Authorization"
        given = request.get(name) or ""
        if not given:
            return False
        found = Challenge.parse(given)
        parts = dict(
            part.strip().split("=", 1)
            for part in given.removeprefix("Digest ").split(",")
        )
        wanted = answer(
            Challenge(self.realm, found.nonce, self.algorithm, ("auth",)),
            Credentials(parts["username"].strip('"'), Secret(self.password)),
            "REGISTER",
            request.uri,
            nc=int(parts["nc"], 16),
            cnonce=parts["cnonce"].strip('"'),
        )
        return found.nonce in self.nonces and parts["response"] in wanted

    def _registered(self, request: Request) -> bytes:
        for contact in request.contacts:
            expires = int(contact.params.get("expires") or request.expires or 0)
            if 0 < expires < self.least:
                least = str(self.least)
                return respond(request, 423, "Interval Too Brief", min_expires=least)
            self._bind(contact, expires)
        listed = [f"<{uri}>;expires={left}" for uri, left in self.contacts.items()]
        fields: dict[str, str | list[str]] = {}
        if listed and not self.silent_list:
            fields["contact"] = listed
        if self.next_nonce:
            fields["authentication_info"] = f'nextnonce="{self.next_nonce}", qop=auth'
            self.nonces.append(self.next_nonce)
        return respond(request, 200, "OK", **fields)

    def _bind(self, contact: NameAddr, expires: int) -> None:
        if not expires:
            if not self.deaf:
                self.contacts.pop(contact.uri, None)
            return
        self.contacts[contact.uri] = expires
        while len(self.contacts) > self.limit:
            del self.contacts[next(iter(self.contacts))]
        if self.arrives:
            self.contacts[self.arrives] = 60


@dataclass
class Kept:
    """Intents, as a store keeps them."""

    now: Intent | None = None
    history: list[str] = field(default_factory=list)
    broken: bool = False

    async def keep(self, intent: Intent) -> None:
        if self.broken:
            raise OSError("the database takes nothing")
        self.now = intent
        self.history.append("keep")

    def drop(self) -> None:
        self.now = None
        self.history.append("drop")


@dataclass
class Tried:
    """A test: how it ended, and what it said meanwhile."""

    outcome: Outcome
    steps: list[Step]
    intents: Kept


def account(peer: Peer, mode: str = "query", **more: Any) -> AccountSettings:
    """line1 at this peer."""
    place = peer.address
    over = "" if place.transport == "udp" else f";transport={place.transport}"
    keys: dict[str, Any] = {
        "registrar": f"sip:127.0.0.1:{place.port}{over}",
        "username": "line1",
        "password": Secret("secret"),
        "mode": mode,
        "dedicated": mode == "bind",
        "timeout": 2.0,
    }
    return AccountSettings(**(keys | more))


async def tried(settings: AccountSettings, **more: Any) -> Tried:
    """One test of an account."""
    steps: list[Step] = []
    intents = more.pop("intents", None) or Kept()
    around = Around(
        clock=time.time,
        agent="sipwatch/1",
        tell=steps.append,
        **{name: more.pop(name) for name in ("hint", "held") if name in more},
    )
    trial = Trial(settings, OWN, around, intents, **more)
    return Tried(await trial.run(), steps, intents)


@asynccontextmanager
async def serving(
    registrar: Registrar, transport: str = "udp", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """The registrar on a port of its own."""
    async with answering(registrar, transport, tls=tls) as peer:
        yield peer
