"""A crowd on a Kamailio: its ul.dump as Kamailio 5 and 6 send it.

Every tenth contact is the second of its AOR, and every 50th does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

NOT_SET = "[not set]"
GRANTED = 110  # s


def crowd(count: int, ends: float, now: float) -> Iterator[dict[str, Any]]:
    """The AORs of so many contacts, of which the last ends at `ends`."""
    for n in range(count):
        if n % 10 != 9:
            several = [n, n + 1] if n % 10 == 8 and n + 1 < count else [n]
            contacts = [{"Contact": _contact(m, n, ends, now)} for m in several]
            yield {"Info": {"AoR": f"{n:06}", "HashID": n, "Contacts": contacts}}


def _contact(n: int, user: int, ends: float, now: float) -> dict[str, Any]:
    place = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:5060"
    end, silent = int(ends) - n % 60, n % 50 == 7
    return {
        "Address": f"sip:{user:06}@{place};transport=UDP",
        "Expires": end - int(now),
        "Q": -1,
        "Call-ID": f"{n:016x}@{place}",
        "CSeq": 1,
        "User-Agent": f"Yealink SIP-T{40 + n % 7}U 108.86.0.{n % 7}",
        "Received": NOT_SET,
        "Path": NOT_SET,
        "State": "CS_NEW",
        "Flags": 0,
        "CFlags": 2,
        "Socket": "udp:127.0.120.1:5060",
        "Methods": 4294967295,
        "Ruid": f"uloc-6b001748-6e57-{n:x}",
        "Instance": NOT_SET,
        "Reg-Id": 0,
        "Server-Id": 0,
        "Tcpconn-Id": -1,
        "Keepalive": 1,
        "Last-Keepalive": int(now) - (600 if silent else 5),
        "KA-Roundtrip": 1000 + n % 500,
        "Last-Modified": end - GRANTED,
    }


def dump(aors: list[dict[str, Any]], records: int | None = None) -> bytes:
    """The answer to ul.dump; the server counts its AORs."""
    stats = {
        "Records": len(aors) if records is None else records,
        "Max-Slots": 8,
    }
    domain = {"Domain": "location", "Size": 4096, "AoRs": aors, "Stats": stats}
    result = {"Domains": [{"Domain": domain}]}
    answer = {"jsonrpc": "2.0", "result": result, "id": 1}
    return json.dumps(answer, separators=(",", ":")).encode()
