"""A process that is a PBX of one type with so many contacts, for `bench.registrars`.

python -m bench.lists kamailio 20000    prints its address, and ends with its input
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from sipwatch.demo.peer import answer
from sipwatch.demo.site import Bound, Registrar
from tests import wire
from tests.wires import asterisk, freeswitch, kamailio, opensips

GRANTED = kamailio.GRANTED  # s, as the policy has it; the first ends a minute before
PIECE = 64  # rows in one write, some 40 kB


def of_asterisk(count: int) -> wire.AmiServer:
    """An Asterisk; its roster names everybody, and so does Caller ID."""
    done = {"Response": "Success", "ActionID": "x"}
    contacts = asterisk.crowd(count, time.time() + GRANTED)
    roster = asterisk.roster(count)
    name = wire.message(**done, Variable="x", Value='"Reception" <1001>')
    core = {"CoreStartupDate": "2026-01-01", "CoreStartupTime": "00:00:00"}
    return wire.AmiServer(
        {
            "Login": [wire.message(**done, Message="Authentication accepted")],
            "Ping": [wire.message(**done, Ping="Pong")],
            "CoreStatus": [wire.message(**done, **core)],
            "Getvar": [name],
            asterisk.ROSTER: joined("InboundRegistrationDetail", roster),
            asterisk.CONTACTS: joined("ContactStatusDetail", contacts),
        },
        after_login=[wire.message(Event="FullyBooted", Uptime="9")],
    )


def joined(event: str, rows: Any) -> list[bytes]:
    """A list in larger pieces; the ActionID of each message is kept."""
    several = wire.listing(event, rows)
    return [b"".join(several[n : n + PIECE]) for n in range(0, len(several), PIECE)]


def of_kamailio(count: int) -> wire.Rpc:
    """A Kamailio, as it is at each moment."""
    began = time.time()

    def dump() -> bytes:
        return kamailio.dump(list(kamailio.crowd(count, began + GRANTED, time.time())))

    def uptime() -> bytes:
        said = {"now": time.ctime(), "up_since": time.ctime(began - 9), "uptime": 9}
        return json.dumps({"jsonrpc": "2.0", "result": said, "id": 1}).encode()

    return wire.Rpc({"ul.dump": (200, dump), "core.uptime": (200, uptime)})


def of_freeswitch(count: int) -> freeswitch.EslServer:
    """A FreeSWITCH of one profile, whose directory names everybody."""
    server = freeswitch.Switch()
    rows = list(freeswitch.crowd(count, time.time() - 50))
    users = (f"{n:06}@example.com|Reception" for n in range(count) if n % 10 != 9)
    server.answers = {
        **server.answers,
        freeswitch.REG: freeswitch.api(freeswitch.xmlstatus(rows)),
        freeswitch.USERS: freeswitch.api(freeswitch.users(*users)),
    }
    return server


def of_opensips(count: int) -> opensips.OpenSips:
    """An OpenSIPS whose httpd has room for the list."""
    usrloc = opensips.Usrloc(buffer=sys.maxsize)
    usrloc.add(*opensips.crowd(count, time.time() + GRANTED - 60))
    return opensips.OpenSips(usrloc)


class SipRegistrar:
    """A registrar that is asked by REGISTER, for one AOR at a time."""

    def __init__(self, count: int, kind: type[Registrar] = Registrar) -> None:
        self._registrar = kind(granted=3600)
        ends = time.monotonic() + 3600
        for n in range(count):
            user = sip_user(n)
            uri = f"sip:{user}@10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:5060"
            table = self._registrar.bindings.setdefault(user, {})
            table[uri] = Bound(uri, ends, "Phone")

    async def __aenter__(self) -> SipRegistrar:
        await self._registrar.open()
        host, port = self._registrar.address
        self.address = f"sip:{host}:{port}"
        return self

    async def __aexit__(self, *ended: object) -> None:
        self._registrar.close()


class Telling(Registrar):
    """It offers the `reg` event package as well; says `all` when all are followed."""

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        if request.method != "SUBSCRIBE":
            return super().respond(request, source)
        self._followed = getattr(self, "_followed", 0) + 1
        if self._followed == len(self.bindings):
            print("all", flush=True)
        response = answer(request, 200, "OK", source)
        response.headers.add("Expires", "600")
        host, port = self.address
        response.headers.add("Contact", f"<sip:{host}:{port}>")
        notify = bytes(self._notify(request, response))
        asyncio.get_running_loop().call_soon(self.send, notify, source)
        return response

    def _notify(self, request: Request, response: Response) -> Request:
        """All that is bound; one that is lost is not sent again: it is loopback."""
        host, port = self.address
        user = request.to.sip.user or ""
        rows = "".join(
            f'<contact id="{n}" state="active" event="registered" expires="3600">'
            f"<uri>{bound.contact}</uri></contact>"
            for n, bound in enumerate(self.bound(user))
        )
        body = (
            '<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
            f'<registration aor="{request.to.uri}" id="0" state="active">{rows}'
            "</registration></reginfo>"
        )
        via = f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self._followed}"
        fields = {
            "Via": via,
            "Max-Forwards": "70",
            "From": response.get("to") or "",
            "To": request.get("from") or "",
            "Call-ID": request.call_id,
            "CSeq": "1 NOTIFY",
            "Event": "reg",
            "Subscription-State": "active;expires=600",
            "Content-Type": "application/reginfo+xml",
        }
        target = request.contacts[0].uri
        return Request("NOTIFY", target, Headers(fields.items()), body.encode())


def sip_user(n: int) -> str:
    """Whose contact it is: every tenth is a second one, as of the others."""
    return f"{n - 1 if n % 10 == 9 else n:06}"


SERVERS: dict[str, Callable[[int], AbstractAsyncContextManager[Any]]] = {
    "asterisk": of_asterisk,
    "kamailio": of_kamailio,
    "freeswitch": of_freeswitch,
    "opensips": of_opensips,
    "sip": SipRegistrar,
}
ASIDE = {"telling": lambda count: SipRegistrar(count, Telling)}  # asked for by name


async def serve(kind: str, count: int) -> None:
    """Serve until the input ends."""
    async with {**SERVERS, **ASIDE}[kind](count) as server:
        print(server.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
