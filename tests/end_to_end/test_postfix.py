"""A real Postfix that takes mails over TLS alone, and only of who has logged in."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.conftest import StartPostfix
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import command
from tests.end_to_end.test_daemon import sections, targets
from tests.servers import eventually
from tests.servers.loopback import Loopback
from tests.servers.sasl import Logins
from tests.servers.smtp import Postfix


def mailing(server: Postfix, authority: Path, password: str) -> dict[str, Any]:
    """The settings of a notifier that logs in there."""
    return {
        "type": "email",
        "to": ["oncall@example.com"],
        "from": "sipwatch@example.com",
        "smtp": {
            "host": server.address,
            "port": server.port,
            "tls": "starttls",
            "ca_file": str(authority),
            "username": "sipwatch",
            "password": password,
        },
    }


@pytest.mark.real("postfix")
async def test_a_trunk_is_told_by_postfix_with_starttls_and_a_login(
    postfix: StartPostfix,
    running: MakeRunning,
    trunk: StartTrunk,
    loopback: Loopback,
    tmp_path: Path,
) -> None:
    provider, address = await trunk(), loopback.address()
    authority, ca, chain = trustme.CA(), tmp_path / "ca.pem", tmp_path / "chain.pem"
    authority.cert_pem.write_to_path(str(ca))
    issued = authority.issue_cert(address)
    issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
    tls = {"smtpd_tls_chain_files": chain, "smtpd_tls_security_level": "encrypt"}
    async with Logins({"sipwatch": "s3cret"}) as logins:
        settings = tls | logins.settings
        start = partial(postfix, address=address, settings=settings)
        server = await asyncio.to_thread(start)
        configured = sections(
            targets=targets(provider=provider),
            notifiers={
                "oncall": mailing(server, ca, "s3cret"),
                "stranger": mailing(server, ca, "wrong"),
            },
            routes=[{"notify": ["oncall"]}],
        )
        daemon = await running(configured).start()
        done = await command("test-notify", "stranger", "--socket", daemon.socket)
        assert done.returncode == 2
        assert "535" in done.stdout
        assert "wrong" not in done.stdout + daemon.log
        assert logins.asked[0] == ("sipwatch", False)

        await eventually(daemon.is_ready, 60, "the first pass")
        provider.silent = True
        await eventually(lambda: fired(server), 30, "the mail")
        assert ("sipwatch", True) in logins.asked
        (mail,) = fired(server)
        assert "with ESMTPSA" in str(mail["Received"])  # RFC 3848: TLS and a login
        await daemon.stop()


def fired(server: Postfix) -> list[EmailMessage]:
    """The mails about the trunk."""
    subjects = ((mail, str(mail["Subject"])) for mail in server.messages())
    return [mail for mail, subject in subjects if "trunk provider" in subject]
