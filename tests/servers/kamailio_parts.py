"""What a Kamailio may have besides a registrar: `Kamailio(..., parts=[web(...)])`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

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


def regevent(address: str, folder: Path, *, password: str = "") -> Part:
    """The `reg` event package (RFC 3680) of every AOR, for any user of the registrar.

    With a password only for the user `watcher`. Without tables of its own presence
    does not begin: it gets the empty ones of Debian's package.
    """
    tables = folder / "dbtext"
    shipped = require("kamailio").root / "usr/share/kamailio/dbtext/kamailio"
    shutil.copytree(shipped, tables, dirs_exist_ok=True)
    server = f"sip:presence@{address}:5060"
    database = f"text://{tables}"
    challenge = f"""
        if ($au != "watcher" || !pv_www_authenticate("$td", "{password}", "0")) {{
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
        {challenge if password else ""}
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
