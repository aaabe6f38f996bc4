"""HTTP as notifiers use it: one request at a time, every answer bounded, TLS verified.

What an address or a header holds is often a secret, and a server may repeat it in its
answer: neither is ever in an error, which names the host alone.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

import aiohttp
from yarl import URL

from alerting.incident import DeliveryError
from checks.observation import plain
from checks.settings import Duration, Secret

REASON_READ = 4096  # bytes of a refusal that are read: its sentence is at the beginning
REASON_LIMIT = 200  # characters of it that are worth repeating
REASON_PATIENCE = 2.0  # s to wait for it, once the status is known
REDIRECTS = 3  # that are followed, on the same host: a trailing slash, http to https
# The request could not be served now; all other 4xx will never be (RFC 9110 15.5).
TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """What all notifiers over HTTP have."""

    timeout: Duration = 10.0  # for one request, from connect to its answer
    ca_file: str | None = None  # trusted instead of the system's authorities
    proxy: Secret | None = None  # the HTTP proxy on the way there; may name a user

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError("timeout: must be longer than 0s")
        if self.proxy is not None:
            url_of(self.proxy, "proxy", "http://proxy.example.com:3128")


def url_of(written: Secret | str, key: str, example: str) -> URL:
    """The URL of a setting; ValueError does not repeat it."""
    text = written.reveal() if isinstance(written, Secret) else written
    wrong = ValueError(f"{key}: is not an http or https URL (write {example})")
    if not text.isprintable() or " " in text:
        raise wrong
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and url.host and url.port
    except ValueError:
        raise wrong from None
    if not usable:
        raise wrong
    return url


def is_private(url: URL) -> bool:
    """Whether nobody on the way can read what is sent there."""
    if url.scheme == "https" or url.host == "localhost":
        return True
    try:
        return ip_address(url.host or "").is_loopback
    except ValueError:
        return False


class Poster:
    """Sends bodies to addresses; `secrets` are struck out of what is repeated."""

    def __init__(
        self,
        settings: HttpSettings,
        secrets: Sequence[Secret] = (),
        *,
        method: str = "POST",
    ) -> None:
        self._settings = settings
        self._method = method
        self._context: ssl.SSLContext | None = None
        self._proxy = settings.proxy.reveal() if settings.proxy else None
        self._hidden = [secret.reveal() for secret in secrets]

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns once a server has accepted it (2xx); raises DeliveryError."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._follow(url, body, headers)
        except TimeoutError:
            limit = f"{self._settings.timeout:g} s"
            why = f"{place(url)}: no answer within {limit}"
            raise DeliveryError(why, in_doubt=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Once it is connected, only the answer may be what was lost.
            unsent = isinstance(error, aiohttp.ClientConnectorError | ValueError)
            why = f"{place(url)}: {_failure(error)}"
            raise DeliveryError(why, in_doubt=not unsent) from None

    async def _follow(self, url: URL, body: bytes, headers: Mapping[str, str]) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=await self._trust(), force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a small answer stays one
            headers={"User-Agent": "sipwatch", "Accept-Encoding": "identity"},
        ) as session:
            for _ in range(REDIRECTS + 1):
                found = await self._once(session, url, body, headers)
                if found is None:
                    return
                url = found
        raise DeliveryError(f"{place(url)} redirects in a circle")

    async def _once(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        body: bytes,
        headers: Mapping[str, str],
    ) -> URL | None:
        """None once it is accepted, or where to send it instead."""
        answer = await session.request(
            self._method,
            url,
            data=body or None,
            headers=headers,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
        )
        try:
            if 200 <= answer.status < 300:
                return None
            if 300 <= answer.status < 400:
                return _elsewhere(url, answer)
            raise await self._refusal(url, answer)
        finally:
            answer.close()  # the rest of the body is not waited for

    async def _refusal(self, url: URL, answer: aiohttp.ClientResponse) -> DeliveryError:
        said = b""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(REASON_PATIENCE):
                while len(said) < REASON_READ:
                    part = await answer.content.read(REASON_READ - len(said))
                    if not part:
                        break
                    said += part
        why = f"{place(url)} says {answer.status} {plain(answer.reason or '', 60)}"
        if reason := self._readable(said):
            why = f"{why.rstrip()}: {reason}"
        again = answer.status in TRY_AGAIN or answer.status >= 500
        wait = retry_after(answer.headers.get("Retry-After", ""), time.time())
        return DeliveryError(
            why.rstrip(), permanent=not again, retry_after=wait if again else 0.0
        )

    def _readable(self, said: bytes) -> str:
        """The beginning of a body as one line, our own secrets struck out."""
        text = said.decode("utf-8", "replace")
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return plain(" ".join(text.split()), REASON_LIMIT)

    async def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            # Reading the authorities takes tens of ms: not on the loop.
            self._context = await asyncio.to_thread(
                ssl.create_default_context, cafile=self._settings.ca_file
            )
        return self._context


def place(url: URL) -> str:
    """What of a URL is no secret: host and port."""
    return f"{url.host}:{url.port}"


def retry_after(written: str, now: float) -> float:
    """s to wait by a Retry-After (RFC 9110 10.2.3); 0 where it says nothing usable."""
    text = written.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _elsewhere(url: URL, answer: aiohttp.ClientResponse) -> URL:
    """Where a redirect leads, if the same body may go there: the same host, no less
    private (307, 308). All else may be a page for people, which is not to be trusted
    with it; it may also pass."""
    try:
        found = url.join(URL(answer.headers.get("Location", "")))
    except ValueError:
        found = URL()
    same = found.host == url.host and is_private(found) >= is_private(url)
    if not (same and answer.status in (307, 308)):
        where = f" to {plain(found.host, 100)}" if found.host else ""
        raise DeliveryError(
            f"{place(url)} redirects{where} ({answer.status}): write the final URL"
        )
    return found


def _failure(error: Exception) -> str:
    """Why there was no answer; a library's own sentence may hold the whole URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is refused: {plain(str(error.certificate_error))}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy says {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return plain(error.os_error.strerror or str(error.os_error))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closes the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "does not answer in HTTP"
    if isinstance(error, OSError):
        return plain(error.strerror or type(error).__name__)
    return type(error).__name__
