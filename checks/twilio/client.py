"""Twilio's REST API, as far as it is read: one request at a time, answers bounded.

Its library has no address to be set, retries by itself and reads without a bound:
for a few GETs the plain HTTP client is the better choice.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from checks.observation import plain
from checks.twilio.settings import TwilioSettings

MONITOR = "https://monitor.twilio.com"
API = "https://api.twilio.com"
TIMEOUT = 20.0  # s for one request
BODY = 8 * 1024 * 1024  # bytes of one page: 1,000 alerts have about 1 MB
PAGES = 200  # of one list; an account has 20,000 registrations at most
PAGE_SIZE = 1000
REASON = 200  # characters of a refusal that are repeated
RETRY_MOST = 3600.0  # s that an answer may want us to wait


class Trouble(StrEnum):
    """Why the API gave no answer that can be used."""

    UNAUTHORIZED = "unauthorized"  # 401, 403: wrong credentials, or rights missing
    NOT_FOUND = "not_found"
    BUSY = "busy"  # 429
    BROKEN = "broken"  # 5xx, or what cannot be read
    UNREACHABLE = "unreachable"


class TwilioError(OSError):
    """No usable answer, in one sentence; `retry_after` in s where Twilio says so."""

    def __init__(self, why: str, trouble: Trouble, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.trouble = trouble
        self.retry_after = retry_after


class Client:
    """Asks as one account; `async with`."""

    def __init__(self, settings: TwilioSettings) -> None:
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Reading the authorities takes tens of ms: not on the loop.
        trust = await asyncio.to_thread(ssl.create_default_context)
        login = base64.b64encode(":".join(self.settings.login).encode()).decode()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=4),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a small answer stays one
            headers={
                "Authorization": f"Basic {login}",
                "User-Agent": "sipwatch",
                "Accept-Encoding": "identity",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def pages(
        self, host: str, path: str, key: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows of a list, page by page; TwilioError."""
        url = self._url(host, path).with_query(
            {"PageSize": str(PAGE_SIZE), **(query or {})}
        )
        asked = set()
        for _ in range(PAGES):
            answer = await self._get(url)
            yield _rows(answer, key)
            follows = _next(answer)
            if not follows or follows in asked:
                return
            asked.add(follows)
            url = self._following(host, path, follows)
        raise TwilioError(f"{path} has over {PAGES} pages", Trouble.BROKEN)

    async def rows(self, path: str, key: str) -> list[dict[str, Any]]:
        """All rows of a list of the account; TwilioError."""
        whole = f"/2010-04-01/Accounts/{self.settings.account_sid}{path}"
        return [row async for page in self.pages(API, whole, key) for row in page]

    def _url(self, host: str, path: str) -> URL:
        return URL(f"{self.settings.base_url or host}{path}")

    def _following(self, host: str, path: str, follows: str) -> URL:
        """The next page: of its address only the query, so that no answer sends our
        credentials elsewhere."""
        try:
            query = urlsplit(follows).query
        except ValueError:
            query = ""
        if not query:
            raise TwilioError(f"{path}: the next page is nowhere", Trouble.BROKEN)
        return URL(f"{self._url(host, path)}?{query}", encoded=True)

    async def _get(self, url: URL) -> dict[str, Any]:
        assert self._session is not None  # noqa: S101  # only within `async with`
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._session.get(url, allow_redirects=False)
                try:
                    return await _read(url, answer)
                finally:
                    answer.close()
        except TimeoutError:
            why = f"{url.host}: no answer within {TIMEOUT:g} s"
            raise TwilioError(why, Trouble.UNREACHABLE) from None
        except aiohttp.ClientError as error:
            why = f"{url.host}: {plain(_said(error))}"
            raise TwilioError(why, Trouble.UNREACHABLE) from None


def _said(error: aiohttp.ClientError) -> str:
    """In the system's words; those of asyncio tell how Python goes about it."""
    cause = getattr(error, "os_error", None)
    number = getattr(cause, "errno", None) or 0
    if number > 0:
        return os.strerror(number)
    return getattr(cause, "strerror", None) or type(error).__name__


async def _read(url: URL, answer: aiohttp.ClientResponse) -> dict[str, Any]:
    body = bytearray()
    async for piece in answer.content.iter_chunked(65_536):
        body += piece
        if len(body) > BODY:
            raise TwilioError(f"{url.host}: the answer is too long", Trouble.BROKEN)
    if answer.status != 200:
        raise _refused(url, answer, bytes(body[:4096]))
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TwilioError(f"{url.host}: the answer is no JSON object", Trouble.BROKEN)
    return found


_TROUBLES = {
    401: Trouble.UNAUTHORIZED,
    403: Trouble.UNAUTHORIZED,
    404: Trouble.NOT_FOUND,
    429: Trouble.BUSY,
}


def _refused(url: URL, answer: aiohttp.ClientResponse, body: bytes) -> TwilioError:
    """A refusal with Twilio's own words; they never hold what we have sent."""
    try:
        said = json.loads(body).get("message", "")
    except (ValueError, AttributeError, RecursionError):
        said = ""
    why = (
        f"{url.host} answers {answer.status} {plain(answer.reason or '', 60)}".rstrip()
    )
    if isinstance(said, str) and said:
        why += f": {plain(said, REASON)}"
    written = answer.headers.get("Retry-After", "").strip()
    usable = written.isascii() and written.isdecimal() and len(written) < 8
    wait = min(float(written), RETRY_MOST) if usable else 0.0
    return TwilioError(why, _TROUBLES.get(answer.status, Trouble.BROKEN), wait)


def _rows(answer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = answer.get(key)
    if not isinstance(found, list):
        raise TwilioError(f"the answer has no {key}", Trouble.BROKEN)
    return [row for row in found if isinstance(row, dict)]


def _next(answer: dict[str, Any]) -> str:
    """Where the next page is: in `meta` of newer lists, beside it in older ones."""
    meta = answer.get("meta")
    found = meta.get("next_page_url") if isinstance(meta, dict) else None
    found = found or answer.get("next_page_uri")
    return found if isinstance(found, str) else ""
