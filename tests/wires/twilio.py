"""Twilio's alerts and SIP resources, scripted: pages, late alerts, 401, 429, 500.

python -m tests.wires.twilio     serves an empty account on a free port
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web

ACCOUNT = "AC" + "0" * 32
TOKEN = "12345678901234567890123456789012"


@dataclass
class Listed:
    """An alert, and when Twilio begins to list it."""

    sid: str
    code: int
    at: float
    listed_at: float
    level: str = "warning"
    url: str = ""

    def row(self) -> dict[str, Any]:
        """As the API gives it."""
        generated = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        created = datetime.fromtimestamp(self.listed_at, UTC)
        return {
            "account_sid": ACCOUNT,
            "alert_text": f"Msg=it+failed&ErrorCode={self.code}&LogLevel=WARN",
            "api_version": "2010-04-01",
            "date_created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "date_generated": generated,
            "date_updated": generated,
            "error_code": str(self.code),
            "log_level": self.level,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "request_method": "INVITE",
            "request_url": self.url,
            "resource_sid": "CA" + self.sid[2:].rjust(32, "0")[-32:],
            "service_sid": None,
            "sid": self.sid,
            "url": f"https://monitor.twilio.com/v1/Alerts/{self.sid}",
        }


@dataclass
class TwilioServer:
    """Answers as Twilio would at `now`, or as it is told to."""

    now: float = 0.0
    page_size: int = 50  # rows of a page, whatever is asked for
    cap: int = 10_000  # alerts for one question
    alerts: list[Listed] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    breaks_at: int | None = None  # a page that is answered 500, once
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)  # by path
    asked: list[str] = field(default_factory=list)  # path and query
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        if not _logged_in(request):
            said = {"code": 20003, "message": "Authenticate", "status": 401}
            return web.json_response(said, status=401)
        if self.refusals:
            status, headers = self.refusals.pop(0)
            said = {"message": "Too Many Requests" if status == 429 else "broken"}
            return web.json_response(said, status=status, headers=headers)
        if request.path == "/v1/Alerts":
            return self._alerts(request)
        found = self.resources.get(request.path)
        if found is None:
            said = {"code": 20404, "message": "not found", "status": 404}
            return web.json_response(said, status=404)
        return web.json_response(found)

    def _alerts(self, request: web.Request) -> web.Response:
        page = int(request.query.get("Page", "0"))
        if self.breaks_at == page:
            self.breaks_at = None
            return web.json_response({"message": "broken"}, status=500)
        rows = [a.row() for a in self.listed(request)]
        first = page * self.page_size
        following = None
        if first + self.page_size < len(rows):
            query = request.url.update_query(Page=str(page + 1)).raw_query_string
            following = f"https://monitor.twilio.com/v1/Alerts?{query}"
        meta = {"key": "alerts", "next_page_url": following, "page": page}
        found = rows[first : first + self.page_size]
        return web.json_response({"alerts": found, "meta": meta})

    def listed(self, request: web.Request) -> list[Listed]:
        """What is listed by now of the time that is asked for, the newest first."""
        start, end = (_moment(request.query[k]) for k in ("StartDate", "EndDate"))
        found = [
            a
            for a in self.alerts
            if a.listed_at <= self.now and start <= int(a.at) <= end
        ]
        found.sort(key=lambda a: a.at, reverse=True)
        return found[: self.cap]


def _moment(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _logged_in(request: web.Request) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    wanted = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    return kind == "Basic" and given == wanted


async def _serve() -> None:
    async with TwilioServer() as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
