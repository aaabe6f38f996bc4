"""A real Kamailio as registrar, on an address of its own, read by JSON-RPC over HTTP.

with Kamailio(folder, "127.100.1.2", {"2001": "secret"}) as registrar:
    registrar.rpc("ul.dump")
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers import require
from tests.servers.kamailio_parts import Part
from tests.servers.process import Process, ServerError

SIP_PORT = 5060
RPC_PORT = 8090
RPC_TIMEOUT = 5.0

MODULES = (
    "tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "kex", "corex", "usrloc",
    "registrar", "auth", "htable", "xhttp", "jsonrpcs",
)  # fmt: skip

# How it treats SIP, switched while it runs; JSON-RPC works in each.
MODES = {"normal": 0, "drop": 1, "503": 2}

ROUTES = """
request_route {
    if ($shv(mode) == 1) exit;
    if ($shv(mode) == 2) {
        append_to_reply("Retry-After: 10\\r\\n");
        sl_send_reply("503", "Service Unavailable");
        exit;
    }
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
@request@
    if (is_method("REGISTER")) {
        route(REGISTER);
        exit;
    }
    if (has_totag() || is_method("ACK|CANCEL")) {
        t_relay();
        exit;
    }
    if (is_method("OPTIONS") && $rU == $null) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (!lookup("location")) {
        sl_send_reply("480", "Temporarily Unavailable");
        exit;
    }
    t_relay();
}

route[REGISTER] {
    if ($au == $null || $sht(users=>$au) == $null
            || !pv_www_authenticate("$td", "$sht(users=>$au)", "0")) {
        www_challenge("$td", "1");
        exit;
    }
    if ($au != $tU) {
        sl_send_reply("403", "Forbidden");
        exit;
    }
    if (!save("location")) sl_reply_error();
}

event_route[xhttp:request] {
@http@
    if ($hu =~ "^/RPC") {
        jsonrpc_dispatch();
        exit;
    }
    xhttp_reply("404", "Not Found", "text/plain", "");
}
"""


class Kamailio:
    """One Kamailio: SIP over UDP and TCP on 5060, JSON-RPC at `rpc_url`.

    Bindings live in memory; `timer_interval` is how late a passed expiry shows.
    With `keepalive` it asks its contacts by OPTIONS, and Last-Keepalive moves.
    """

    sip_port = SIP_PORT
    rpc_port = RPC_PORT

    def __init__(
        self,
        folder: Path,
        address: str,
        users: Mapping[str, str] | None = None,
        *,
        timer_interval: int = 1,
        default_expires: int = 60,
        min_expires: int = 1,
        too_brief: bool = False,  # 423 instead of raising what is asked for
        max_expires: int = 3600,
        keepalive: bool = False,
        parts: Sequence[Part] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.users = dict(users or {})
        self.timer_interval = timer_interval
        self.default_expires = default_expires
        self.min_expires = min_expires
        self.too_brief = too_brief
        self.max_expires = max_expires
        self.keepalive = keepalive
        self.parts = tuple(parts)
        self._command = require("kamailio")
        self._configuration = folder / "kamailio.cfg"
        # -DD: in the foreground, with its workers; small memories serve a test.
        argv = self._command(
            *("-DD", "-E", "-f", self._configuration, "-w", folder, "-Y", folder),
            *("-m", "32", "-M", "4"),
        )
        self._process = Process("kamailio", argv, folder)

    @property
    def uri(self) -> str:
        return f"sip:{self.address}:{self.sip_port}"

    @property
    def rpc_url(self) -> str:
        return f"http://{self.address}:{self.rpc_port}/RPC"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(self.configuration())
        self._process.start()
        self._process.wait_ready(self._answers)
        return self

    def stop(self) -> None:
        self._process.stop()

    close = stop

    def kill9(self) -> None:
        self._process.kill9()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def restart(self, *, killed: bool = False) -> None:
        """A memory-only registrar comes back empty."""
        if killed:
            self.kill9()
        else:
            self.stop()
        self.start()

    def mode(self, name: str) -> None:
        """`normal`, `drop` (no answer at all) or `503` (with Retry-After)."""
        self.rpc("pv.shvSet", "mode", "int", MODES[name])

    def rpc(self, method: str, *params: object) -> Any:
        """The result of one JSON-RPC call; an error is a ServerError with its text."""
        call = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        request = urllib.request.Request(
            self.rpc_url,
            json.dumps(call).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=RPC_TIMEOUT) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:  # errors of JSON-RPC come with a 500
            body = error.read()
        except OSError as error:
            raise ServerError(f"{method}: {error}") from None
        answer_ = json.loads(body)
        if "error" in answer_:
            raise ServerError(f"{method}: {answer_['error']}")
        return answer_["result"]

    def contacts(self) -> list[str]:
        """The AOR of every contact that usrloc holds now, the just expired included."""
        domains = self.rpc("ul.dump")["Domains"]
        infos = [a["Info"] for d in domains for a in d["Domain"]["AoRs"]]
        return sorted(info["AoR"] for info in infos for _ in info["Contacts"])

    def _answers(self) -> bool:
        try:
            return bool(self.rpc("core.uptime"))
        except ServerError:
            return False

    def configuration(self) -> str:
        modules = self._command.libraries / "kamailio/modules"
        names = [*MODULES, *(name for part in self.parts for name in part.modules)]
        loads = "".join(f'loadmodule "{name}.so"\n' for name in names)
        core = "".join(part.core for part in self.parts)
        routes = ROUTES.replace("@request@", "".join(p.request for p in self.parts))
        routes = routes.replace("@http@", "".join(p.http for p in self.parts))
        users = "".join(
            f'    $sht(users=>{name}) = "{password}";\n'
            for name, password in self.users.items()
        )
        return (
            "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nchildren=2\ntcp_children=2\n"
            'auto_aliases=no\ntcp_accept_no_cl=yes\nserver_header="Server: kamailio"\n'
            f"listen=udp:{self.address}:{self.sip_port}\n"
            f"listen=tcp:{self.address}:{self.sip_port}\n"
            f"listen=tcp:{self.address}:{self.rpc_port}\n"
            f'{core}mpath="{modules}/"\n{loads}{self._parameters()}'
            f"event_route[htable:mod-init] {{\n{users}    return;\n}}\n{routes}"
            f"{''.join(part.routes for part in self.parts)}"
        )

    def _parameters(self) -> str:
        rows: list[tuple[str, str, int | str]] = [
            ("usrloc", "db_mode", 0),
            ("usrloc", "timer_interval", self.timer_interval),
            ("registrar", "default_expires", self.default_expires),
            ("registrar", "min_expires", self.min_expires),
            ("registrar", "min_expires_mode", int(self.too_brief)),
            ("registrar", "max_expires", self.max_expires),
            ("registrar", "default_expires_range", 0),
            ("htable", "htable", "users=>size=8;"),
            ("pv", "shvset", "mode=i:0"),
            ("jsonrpcs", "transport", 1),  # HTTP alone: no fifo, no datagram socket
        ]
        rows += [row for part in self.parts for row in part.parameters]
        if self.keepalive:
            rows += [
                ("usrloc", "ka_mode", 1),
                ("usrloc", "ka_domain", self.address),
                ("usrloc", "ka_from", f"sip:keepalive@{self.address}"),
                ("usrloc", "ka_method", "OPTIONS"),
            ]
        return "".join(
            f"modparam({json.dumps(module)}, {json.dumps(key)}, {json.dumps(value)})\n"
            for module, key, value in rows
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
