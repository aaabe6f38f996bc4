"""Who may log in at a real Postfix: the other end of Dovecot's authentication protocol.

    async with Logins({"sipwatch": "s3cret"}) as logins:
        ... Postfix with logins.settings ...

Postfix asks whatever speaks that protocol, version 1; PLAIN (RFC 4616) is all it needs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Self

GREETING = (
    "VERSION\t1\t1",
    "MECH\tPLAIN\tplaintext",
    "SPID\t1",
    "CUID\t1",
    "COOKIE\t0123456789abcdef0123456789abcdef",
    "DONE",
)


class Logins:
    """Users and their passwords; `asked` holds who tried, and whether they may."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = dict(known)
        self.asked: list[tuple[str, bool]] = []
        self._port = 0
        self._open: dict[asyncio.StreamWriter, asyncio.Future[None]] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What makes a Postfix ask here, and take mails of nobody else."""
        return {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": f"inet:127.0.0.1:{self._port}",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_tls_auth_only": "yes",
        }

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*self._open.values())

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ended = self._open[writer] = asyncio.get_running_loop().create_future()
        writer.write("".join(f"{line}\n" for line in GREETING).encode())
        while line := (await reader.readline()).decode().rstrip("\n"):
            kind, *fields = line.split("\t")
            if kind == "AUTH":
                writer.write(f"{self._judge(fields)}\n".encode())
        writer.close()
        ended.set_result(None)

    def _judge(self, fields: list[str]) -> str:
        number = fields[0]
        proofs = [f.removeprefix("resp=") for f in fields if f.startswith("resp=")]
        try:
            _, user, password = base64.b64decode(proofs[0]).decode().split("\0")
        except (IndexError, ValueError, binascii.Error):
            return f"FAIL\t{number}"
        right = self.known.get(user) == password
        self.asked.append((user, right))
        return f"{'OK' if right else 'FAIL'}\t{number}\tuser={user}"
