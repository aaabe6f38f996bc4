"""What every request goes through: who asks, how much they send, how we answer.

It stands around the whole application, so that a route that forgets something is not
open, and an answer that nobody meant (500) is as careful as the others.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sipwatch.web.access import KEY, Access
from sipwatch.web.refused import refusal
from sipwatch.web.turns import Turnstile

BODY = 65_536  # bytes of a request: a silence, a form, an alert of Twilio's
PATIENCE = 10.0  # s for all of it: who sends slower than that only holds us up
BAD, TOO_LARGE, TOO_SLOW = 400, 413, 408
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without any, a form's Origin would be "null"
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# RFC 6797: a month, and this name alone. It holds for all ports of it.
HSTS = {"Strict-Transport-Security": "max-age=2592000"}


class Gated(FastAPI):
    """An application behind a gate."""

    def __init__(self, access: Access, *, tls: bool = False, **options: Any) -> None:
        # It would lead to whatever name somebody says that we have.
        super().__init__(redirect_slashes=False, **options)
        self._access = access
        self._tls = tls

    def build_middleware_stack(self) -> ASGIApp:
        """Around all that comes with the application."""
        return Gate(super().build_middleware_stack(), self._access, tls=self._tls)


class Gate:
    """An application, and who may come in."""

    def __init__(self, app: ASGIApp, access: Access, *, tls: bool) -> None:
        self._app = app
        self._access = access
        self._turnstile = Turnstile()
        headers = {**HEADERS, **HSTS} if tls else HEADERS
        self._headers = [
            (name.lower().encode(), value.encode()) for name, value in headers.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, let in or refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._turnstile.passed()
        careful = _with(self._headers, send)
        try:
            scope[KEY] = await self._access.admit(HTTPConnection(scope))
            receive = await _received(scope, receive)
        except HTTPException as refused:
            # What it may still send is not waited for.
            headers = {**(refused.headers or {}), "Connection": "close"}
            response = refusal(HTTPConnection(scope), refused, headers)
            await response(scope, receive, careful)
            return
        await self._app(scope, receive, careful)


def _with(headers: list[tuple[bytes, bytes]], send: Send) -> Send:
    """Send these as well, but where the answer has its own."""

    async def careful(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            said = {name.lower() for name, _ in own}
            own.extend(pair for pair in headers if pair[0] not in said)
            message = {**message, "headers": own}
        await send(message)

    return careful


async def _received(scope: Scope, receive: Receive) -> Receive:
    """The whole body, before anybody begins with it; HTTPException."""
    fields = dict(scope["headers"])
    length = int(fields.get(b"content-length", 0))  # h11 takes digits alone
    if not length and b"transfer-encoding" not in fields:
        return receive
    if length > BODY:
        raise HTTPException(TOO_LARGE, f"at most {BODY} bytes")
    if b"content-length" in fields and b"transfer-encoding" in fields:
        # RFC 9112 6.3: a proxy may have seen another end, and so another request.
        raise HTTPException(BAD, "a body has one length only")
    try:
        async with asyncio.timeout(PATIENCE):
            return _again(await _body(receive), receive)
    except TimeoutError:
        raise HTTPException(TOO_SLOW, "the body is too slow in coming") from None


async def _body(receive: Receive) -> Message:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY:
            raise HTTPException(TOO_LARGE, f"at most {BODY} bytes")
        if not message.get("more_body", False):
            left = message["type"] == "http.disconnect"
            return message if left else {**message, "body": bytes(body)}


def _again(message: Message, receive: Receive) -> Receive:
    rest = [message]

    async def again() -> Message:
        return rest.pop() if rest else await receive()

    return again
