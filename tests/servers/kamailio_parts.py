"""What a Kamailio may have besides a registrar: `Kamailio(..., parts=[web(...)])`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.servers import require

WS_PORT = 8080
WSS_PORT = 8443


@dataclass(frozen=True)
class Part:
    """Modules, and what they want of the configuration."""

    modules: tuple[str, ...]
    core: str = ""  # listen= and other settings of the core
    parameters: tuple[tuple[str, str, int | str], ...] = ()
    request: str = ""  # at the beginning of request_route
    http: str = ""  # at the beginning of event_route[xhttp:request]
    routes: str = ""


def web(address: str, certificate: Path | None = None) -> Part:
    """SIP over WebSocket on 8080; with a PEM file of key and chain also on 8443."""
    core = f"listen=tcp:{address}:{WS_PORT}\n"
    modules, parameters = ("websocket",), ()
    if certificate is not None:
        core += f"listen=tls:{address}:{WSS_PORT}\nenable_tls=yes\n"
        modules = ("tls", "websocket")
        parameters = (
            ("tls", "tls_method", "TLSv1.2+"),
            ("tls", "private_key", str(certificate)),
            ("tls", "certificate", str(certificate)),
        )
    http = """
    if ($rm == "GET" && $hdr(Upgrade) =~ "websocket" && $hu =~ "^/ws") {
        ws_handle_handshake();
        exit;
    }
"""
    return Part(modules, core, parameters, http=http)


def regevent(address: str, folder: Path, *, user: str = "", password: str = "") -> Part:
    """The `reg` event package (RFC 3680) of every AOR, for anybody, or for one user.

    Without tables of its own presence does not begin: it gets the empty ones of
    Debian's package.
    """
    tables = folder / "dbtext"
    shipped = require("kamailio").root / "usr/share/kamailio/dbtext/kamailio"
    shutil.copytree(shipped, tables, dirs_exist_ok=True)
    server = f"sip:presence@{address}:5060"
    database = f"text://{tables}"
    challenge = f"""
        if ($au != "{user}" || !pv_www_authenticate("$td", "{password}", "0")) {{
            www_challenge("$td", "0");
            exit;
        }}
"""
    request = f"""
    if (is_method("PUBLISH")) {{
        handle_publish();
        t_release();
        exit;
    }}
    if (is_method("SUBSCRIBE")) {{
        if (!($hdr(Event) =~ "^reg")) {{
            append_to_reply("Allow-Events: reg\\r\\n");
            sl_send_reply("489", "Bad Event");
            exit;
        }}
        {challenge if user else ""}
        if (!t_newtran()) {{
            sl_reply_error();
            exit;
        }}
        handle_subscribe();
        t_release();
        exit;
    }}
"""
    return Part(
        ("db_text", "presence", "presence_reginfo", "pua", "pua_reginfo"),
        parameters=(
            ("presence", "db_url", database),
            ("presence", "server_address", server),
            ("presence", "min_expires", 1),
            ("presence", "notifier_processes", 0),
            ("presence", "clean_period", 2),
            ("pua", "db_url", database),
            ("pua", "db_mode", 0),
            ("pua_reginfo", "server_address", server),
            ("pua_reginfo", "default_domain", address),
            ("pua_reginfo", "publish_reginfo", 1),
            ("pua_reginfo", "outbound_proxy", f"sip:{address}:5060"),
        ),
        request=request,
    )


class Elsewhere(NamedTuple):
    """A registration that a Kamailio keeps at another server."""

    name: str
    user: str
    password: str
    server: str  # its address
    disabled: bool = False


_UACREG = (
    "id(int,auto) l_uuid(string) l_username(string) l_domain(string) "
    "r_username(string) r_domain(string) realm(string) auth_username(string) "
    "auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) "
    "flags(int) reg_delay(int) contact_addr(string,null) socket(string,null)\n"
)


def uac(address: str, folder: Path, *several: Elsewhere, retry: int = 0) -> Part:
    """Registrations elsewhere, tried again after `retry` s; 0: never."""
    tables = folder / "uac"
    tables.mkdir(parents=True)
    (tables / "version").write_text("table_name(string) table_version(int)\nuacreg:5\n")
    rows = "".join(
        f"{n}:{one.name}:{one.user}:{one.server}:{one.user}:{one.server}:{one.server}:"
        f"{one.user}:{one.password}::sip\\:{one.server}:60:{int(one.disabled)}:0::\n"
        for n, one in enumerate(several, 1)
    )
    (tables / "uacreg").write_text(_UACREG + rows)
    return Part(
        ("db_text", "uac"),
        parameters=(
            ("uac", "reg_db_url", f"text://{tables}"),
            ("uac", "reg_contact_addr", f"{address}:5060"),
            ("uac", "reg_timer_interval", 1),
            ("uac", "reg_retry_interval", retry),
        ),
    )
