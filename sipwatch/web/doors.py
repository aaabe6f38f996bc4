"""The door of `web.listen`: log-ins, and what browsers are made to do by other pages.

A page of somebody else's can have a browser send us anything, with the password that
the browser remembers. So what changes something must come from a page of ours, or show
a token. And such a page can have its own name lead to us (DNS rebinding): then it seems
to be ours. So the name that we are called by must be one of ours.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from sipwatch.config.settings import WebSettings
from sipwatch.links import PATH as LINKS
from sipwatch.web.access import FORBIDDEN, NOBODY, Caller, Networks, Role, address_of
from sipwatch.web.logins import Logins
from sipwatch.web.tls import Certificate

OPEN = ("/-/healthy", "/-/ready")  # whether we live is no secret
PUBLIC = (LINKS, "/static/")  # what is signed, and what comes with every sipwatch
METRICS = "/metrics"
SAFE = ("GET", "HEAD", "OPTIONS")  # RFC 9110 9.2.1: they change nothing
LOOPBACK = "localhost"
OURS = ("same-origin", "none")  # Sec-Fetch-Site of our pages, and of what one types
HERE = Caller("", Role.OPERATE)  # on this machine, where nobody has to log in
SCRAPER = Caller("", Role.READ)


class Doors:
    """Who comes in at `web.listen`."""

    def __init__(
        self, web: WebSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        """OSError, ValueError for a certificate that cannot be used."""
        self._logins = Logins(web.users, web.tokens, now)
        self.certificate = Certificate(web.tls) if web.tls else None
        self._follow(web)

    def replace(self, web: WebSettings) -> None:
        """From now on by these settings; OSError, ValueError for a certificate that
        cannot be used: then the old one stays."""
        self._follow(web)
        if web.tls and self.certificate:
            self.certificate.replace(web.tls)

    def _follow(self, web: WebSettings) -> None:
        self._logins.replace(web.users, web.tokens)
        self._scrapers = Networks(web.metrics.allow)
        self._listen = ipaddress.ip_address(web.listen.rpartition(":")[0].strip("[]"))
        external = urlsplit(web.external_url or "")
        self._names = {LOOPBACK, external.hostname or LOOPBACK}
        self._origin = f"{external.scheme}://{external.netloc}".lower()

    async def admit(self, request: HTTPConnection) -> Caller:
        """Who asks; HTTPException for who may not come in."""
        path, method = request.scope["path"], request.scope["method"]
        if path in OPEN or path.startswith(PUBLIC):
            return NOBODY
        changes = method not in SAFE
        if path == METRICS and not changes and self._may_scrape(request):
            return SCRAPER
        caller, by_token = await self._caller(request)
        if by_token:
            return _able(caller, changes=changes)
        if changes or not self._logins.any:
            self._check_name(request)
        if changes:
            self._check_origin(request)
        else:
            _check_embedding(request)
        return _able(caller, changes=changes)

    def _may_scrape(self, request: HTTPConnection) -> bool:
        """Prometheus has no password, and whatever name it was given for us."""
        return not self._logins.any or self._scrapers.hold(address_of(request))

    # --- who ------------------------------------------------------------------------

    async def _caller(self, request: HTTPConnection) -> tuple[Caller, bool]:
        """Who asks, and whether by a token, which no browser sends by itself."""
        if not self._logins.any:  # what else is sent is meant for a proxy
            return HERE, False
        said = request.headers.get("authorization", "")
        scheme, _, rest = said.partition(" ")
        address, rest = address_of(request), rest.strip()
        if scheme.lower() == "bearer" and rest:
            return self._logins.by_token(rest, address), True
        if scheme.lower() == "basic" and (pair := _user_and_password(rest)):
            return await self._logins.by_password(*pair, address), False
        text = "log in" if self._logins.any_user else "show a token"
        raise self._logins.unauthorized(text)

    # --- what browsers are made to do -----------------------------------------------

    def _check_name(self, request: HTTPConnection) -> None:
        host = request.headers.get("host", "")
        if not self._is_ours(_bare(host)):
            text = "not by this name: say it in web.external_url, if it is ours"
            raise HTTPException(FORBIDDEN, text)

    def _is_ours(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        # Nobody's name is an address: one that leads here has come here by itself.
        ours = address.is_loopback or address == self._listen
        return ours or self._listen.is_unspecified or name in self._names

    def _check_origin(self, request: HTTPConnection) -> None:
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site is not None:
            ours = site in OURS
        elif origin is not None:
            ours = self._is_own(origin.lower(), request.headers.get("host", ""))
        else:  # no browser; but without a password, everybody is taken for one
            ours = self._logins.any
        if not ours:
            text = (
                "only a page of ours changes something, or who shows a token, or who"
                " asks over the Unix socket"
            )
            raise HTTPException(FORBIDDEN, text)

    def _is_own(self, origin: str, host: str) -> bool:
        """RFC 6454 7: the scheme may be a proxy's, the name is what counts."""
        said = origin.partition("://")[2]
        return bool(said) and (origin == self._origin or said == host.lower())


def _check_embedding(request: HTTPConnection) -> None:
    """Other pages may lead to us, but not load from us; browsers keep what comes from
    them anyway, our streams they could use up."""
    foreign = request.headers.get("sec-fetch-site") == "cross-site"
    if foreign and request.headers.get("sec-fetch-mode") != "navigate":
        raise HTTPException(FORBIDDEN, "not for pages of others")


def _able(caller: Caller, *, changes: bool) -> Caller:
    """Reading needs a role, and changing a higher one, whatever the route says."""
    wanted = Role.OPERATE if changes else Role.READ
    if caller.role < wanted:
        raise HTTPException(FORBIDDEN, f"this needs the role {wanted.name.lower()}")
    return caller


def _bare(host: str) -> str:
    """A Host without its port and brackets (RFC 9110 7.2)."""
    name, colon, port = host.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        name = host
    return name.removeprefix("[").removesuffix("]").lower().removesuffix(".")


def _user_and_password(credentials: str) -> tuple[str, str] | None:
    """RFC 7617 2; None for what is not written so."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
