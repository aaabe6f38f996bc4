"""The demo's site with a subject for every series: TLS, Asterisk, Twilio, calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from sipwatch.capture.frames import ETHERNET
from sipwatch.capture.listening import Wire
from sipwatch.capture.station import Station, serve
from sipwatch.demo.mail import MailCatcher
from sipwatch.demo.site import Site, Trunk
from tests.checks.sip.peer import answering, ok
from tests.conftest import StartAsterisk
from tests.end_to_end.running import Running, mail_to
from tests.end_to_end.test_people import free_port
from tests.end_to_end.test_twilio import Public
from tests.servers.asterisk import Registration
from tests.sipwatch.capture.packets import PBX, PHONE, frame, sip
from tests.sipwatch.capture.test_capture import Source
from tests.wires.twilio import ACCOUNT, TOKEN, Listed, TwilioServer

FRAME = """
group: {{wait: 0s, interval: 0s}}
web:
  listen: "127.0.0.1:METRICS"
  socket: {folder}/api.sock
  external_url: https://sipwatch.example.com
  public: {{listen: "127.0.0.1:PUBLIC"}}
  metrics: {{detail: [trunk, pbx, extension]}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""
EXPIRES = 4  # s: who dies is lost soon
QUICK = {"interval": "2s", "confirm": "500ms", "timeout": "1s"}
CALL = {"CallSid": "CA1", "To": "sip:1001@acme.sip.twilio.com"}


class Rich:
    """The site while it runs, and what happens there in the meantime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site(4, expires=EXPIRES)
        self.mails = MailCatcher()
        self.twilio = TwilioServer(now=time.time())
        self.public = Public()
        self.port = free_port()
        self.times = 0
        self.wire, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.daemon: Running

    async def happen(self) -> None:
        """What counters count, once more: a call that is answered 480, an alert."""
        now, self.times = time.time(), self.times + 1
        said = {"call": f"call-{self.times}", "cseq": "1 INVITE"}
        asked = sip("INVITE sip:1002@pbx.example.com SIP/2.0", **said)
        away = "SIP/2.0 480 Temporarily Unavailable"
        answer = sip(away, "Reason: Q.850;cause=20", **said)
        self.wire.send(frame(asked, PHONE, PBX, now).data)
        self.wire.send(frame(answer, PBX, PHONE, now).data)
        self.twilio.now = now
        self.twilio.alerts.append(Listed(f"NO{self.times}", 32010, now, 0.0, "error"))
        assert (await self.public.signed("/twiml/call", CALL))[0] == 200


@contextlib.contextmanager
def capturing(path: Path, theirs: socket.socket) -> Iterator[None]:
    """The capture service without a privilege, in a thread."""
    station = Station([Wire("pair", Source(theirs), ETHERNET)], serve(path))
    thread = threading.Thread(target=station.run)
    thread.start()
    try:
        yield
    finally:
        station.stop()
        thread.join()
        station.close()


@contextlib.asynccontextmanager
async def beaten() -> AsyncIterator[str]:
    """The URL of who takes the beats of a heart."""

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/beat", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/beat"
    await runner.cleanup()


@contextlib.asynccontextmanager
async def rich(folder: Path, asterisk: StartAsterisk) -> AsyncIterator[Rich]:
    """Everything started, and the first pass of the daemon over."""
    made = Rich(folder)
    async with contextlib.AsyncExitStack() as stack:
        ca, silent = trustme.CA(), Trunk()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        secured = await stack.enter_async_context(answering(ok, "tls", tls=context))
        await made.site.start()
        stack.callback(made.site.close)
        await silent.open()
        stack.callback(silent.close)
        silent.silent = True
        await made.mails.start()
        stack.push_async_callback(made.mails.close)
        await stack.enter_async_context(made.twilio)
        beat = await stack.enter_async_context(beaten())
        stack.enter_context(capturing(folder / "capture.sock", made._theirs))
        where = f"sip:127.0.0.1:{made.site.registrar.address[1]}"
        lines = [Registration("line1", where, "1004")]
        pbx = await asyncio.to_thread(asterisk, (), lines)
        configured = {
            "registrars": {
                "demo": _demo(where, folder),
                "pbx": {
                    "type": "asterisk",
                    "address": f"{pbx.address}:{pbx.ami_port}",
                    "username": pbx.user,
                    "password": pbx.secret,
                    "interval": "1s",
                },
            },
            "targets": {
                "demo-pbx": {"uri": where, "role": "pbx", **QUICK},
                "demo-trunk": _trunk(made.site.trunk.address[1]),
                "dead-trunk": _trunk(silent.address[1]),
                "tls-trunk": _trunk(secured.address.port, ";transport=tls")
                | {"tls": {"ca": str(folder / "ca.pem")}},
            },
            "accounts": {"line": _account(where)},
            "rules": {"ExtensionUnregistered": {"for": "1s"}},
            "heartbeat": {"url": beat, "interval": "10s", "timeout": "5s"},
            "twilio": _twilio(made.twilio.url),
            "twiml": _TWIML,
            "capture": {"socket": str(folder / "capture.sock")},
        }
        made.daemon = Running(
            folder / "run", _written(configured, made), frame=_frame(made)
        )
        stack.callback(made.daemon.close)
        await made.daemon.start()
        yield made


def _demo(where: str, folder: Path) -> dict[str, Any]:
    listed = folder / "names.csv"
    listed.write_text("extension,name\n1001,Reception\n1002,Desk\n1003,Lobby\n")
    return {
        "type": "sip",
        "address": where,
        "domain": "demo.example.com",
        "interval": "1s",
        "probe_contacts": True,
        "probe": QUICK,
        "extensions": {"file": str(listed)},
    }


def _trunk(port: int, parameters: str = "") -> dict[str, Any]:
    uri = f"sip:127.0.0.1:{port}{parameters}"
    return {"uri": uri, "role": "trunk", **QUICK}


def _account(where: str) -> dict[str, Any]:
    return {
        "registrar": where,
        "username": "1001",
        "password": "secret",
        "domain": "demo.example.com",
        "timeout": "2s",
    }


def _twilio(url: str) -> dict[str, Any]:
    known = {"account_sid": ACCOUNT, "auth_token": TOKEN, "base_url": url}
    return {**known, "interval": "1s", "webhook": True}


_TWIML = {
    "domain": "acme.sip.twilio.com",
    "actions": {"voicemail": {"say": "Please leave a message.", "record": "2m"}},
    "otherwise": "voicemail",
}


def _written(sections: Mapping[str, Any], made: Rich) -> str:
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())
    return text + mail_to(made.mails)


def _frame(made: Rich) -> str:
    told = FRAME.replace("METRICS", str(made.port))
    return told.replace("PUBLIC", str(made.public.port))
