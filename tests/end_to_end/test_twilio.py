"""Twilio through the real daemon: webhook and polls in, incidents and mails out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sipwatch.demo.mail import MailCatcher
from tests.checks.twilio.signing import form, hashed, signature
from tests.checks.twilio.test_account import resources
from tests.conftest import StartKamailio
from tests.end_to_end.conftest import MakePhone, MakeRunning
from tests.end_to_end.running import Running, command, mail_to
from tests.end_to_end.test_people import LINKED, free_port
from tests.end_to_end.watch import body, kamailio_at, names, row, rules
from tests.servers import eventually
from tests.wires.twilio import ACCOUNT, TOKEN, Listed, TwilioServer

BASE = "https://sipwatch.example.com"
ALERTS = "/twilio/alerts"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioServer]:
    async with TwilioServer(now=time.time()) as server:
        yield server


def account(server: TwilioServer, **more: Any) -> str:
    """The section of Twilio."""
    section = {
        "account_sid": ACCOUNT,
        "auth_token": TOKEN,
        "webhook": True,
        "interval": "1s",
        "base_url": server.url,
    }
    return f"twilio: {json.dumps(section | more)}\n"


class Public:
    """The public listener of a daemon, as Twilio reaches it through a proxy."""

    def __init__(self) -> None:
        self.port = free_port()
        self.frame = LINKED.replace("PORT", str(self.port))

    async def post(
        self, path: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as http:
            async with http.post(url, data=content, headers=headers) as answer:
                return answer.status, await answer.text()

    async def signed(self, path: str, said: Mapping[str, str]) -> tuple[int, str]:
        """A form as Twilio sends it."""
        return await self.post(path, *form(TOKEN, BASE + path, said))

    async def alert(self, said: Mapping[str, str]) -> int:
        return (await self.signed(ALERTS, said))[0]


def alert(
    sid: str, code: int, who: str = "", *, at: float | None = None
) -> dict[str, str]:
    """What the debugger's webhook posts."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    payload = {
        "resource_sid": f"CA{sid}",
        "service_sid": None,
        "error_code": str(code),
        "more_info": {"Msg": "it failed", "LogLevel": "WARNING"},
        "webhook": {
            "type": "application/json",
            "request": {"url": f"sip:{who}", "method": "INVITE", "parameters": {}},
            "response": {"status_code": None, "headers": {}, "body": None},
        },
    }
    return {
        "Sid": sid,
        "AccountSid": ACCOUNT,
        "Timestamp": moment.isoformat(),
        "Level": "Error" if code == 32010 else "Warning",
        "PayloadType": "application/json",
        "Payload": json.dumps(payload),
    }


async def started(daemon: Running) -> Running:
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    return daemon


async def test_a_webhook_is_an_incident_and_a_mail_and_a_replay_is_nothing(
    running: MakeRunning, twilio: TwilioServer, catcher: MailCatcher
) -> None:
    public = Public()
    daemon = running(account(twilio) + mail_to(catcher), frame=public.frame)
    await started(daemon)
    first = alert("NO1", 32010)
    assert await public.alert(first) == 204
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    mail = catcher.mails[0]
    print(mail["Subject"], body(mail), sep="\n")
    assert re.fullmatch(
        r"\[critical] Twilio reports 32010 \(no origination URI\) about the account"
        r" since \d\d:\d\d",
        str(mail["Subject"]),
    )
    assert row(mail, "why").startswith(
        "the trunk has no origination URI that works; Twilio 32010 at "
    )
    assert row(mail, "next step").startswith("give the trunk an origination URI")

    assert await public.alert(first) == 204  # it is well signed, and nothing happens
    daemon.process.kill9()
    await started(daemon)
    assert await public.alert(first) == 204
    twilio.alerts.append(Listed("NO1", 32010, time.time(), 0.0, "error"))
    asked = len(twilio.asked)
    await eventually(lambda: len(twilio.asked) > asked + 1, 40, "two looks")
    status = await daemon.status()
    assert [(i["rule"], i["subject"]) for i in status["incidents"]] == [
        ("TwilioAlert", "twilio:32010/")
    ]
    assert status["twilio"]["alerts"] == {}
    assert len(catcher.mails) == 1


async def test_what_twilio_has_not_signed_is_refused(
    running: MakeRunning, twilio: TwilioServer
) -> None:
    public = Public()
    daemon = await started(running(account(twilio), frame=public.frame))
    said = alert("NO1", 32010)
    headers, content = form(TOKEN, BASE + ALERTS, said)
    forged, _ = form("x" * 32, BASE + ALERTS, said)
    elsewhere, _ = form(TOKEN, f"http://127.0.0.1:{public.port}{ALERTS}", said)
    unsigned = {"content-type": headers["content-type"]}
    for wrong in (forged, elsewhere, unsigned):
        assert (await public.post(ALERTS, wrong, content))[0] == 403
    changed = content.replace(b"32010", b"32011")
    assert (await public.post(ALERTS, headers, changed))[0] == 403
    assert (await public.post(ALERTS, headers, b"x" * 70_000))[0] == 413
    others = alert("NO1", 32010) | {"AccountSid": "AC" + "1" * 32}
    assert await public.alert(others) == 400
    assert await public.alert({"Sid": "NO1", "AccountSid": ACCOUNT}) == 400
    assert (await public.signed("/twiml/call", {}))[0] == 404  # it is not switched on
    assert (await daemon.status())["incidents"] == []

    content = json.dumps(said).encode()
    path = hashed(BASE + ALERTS, content).removeprefix(BASE)
    headers = {
        "x-twilio-signature": signature(TOKEN, BASE + path),
        "content-type": "application/json",
    }
    assert (await public.post(path, headers, content))[0] == 204
    await daemon.opens("TwilioAlert")
    assert "12345678901234567890123456789012" not in daemon.log


@pytest.mark.real("kamailio")
async def test_failed_calls_are_told_with_the_incident_of_the_phone(
    running: MakeRunning,
    kamailio: StartKamailio,
    phone: MakePhone,
    twilio: TwilioServer,
    catcher: MailCatcher,
    tmp_path: Path,
) -> None:
    server = kamailio({"204": "secret"})
    desk = phone("204", server)
    desk.register(60)
    listed = names(tmp_path, "204,Reception")
    public = Public()
    daemon = running(
        kamailio_at(server, interval="1s", **listed)
        + rules(ExtensionUnregistered=1)
        + account(twilio)
        + mail_to(catcher),
        frame=public.frame,
    )
    await started(daemon)
    desk.deregister()
    await daemon.opens("ExtensionUnregistered")
    for n in range(3):
        assert (
            await public.alert(alert(f"NO{n}", 32009, "204@acme.sip.twilio.com")) == 204
        )
    incidents = (await daemon.status())["incidents"]
    assert [i["rule"] for i in incidents] == ["ExtensionUnregistered"]
    ((evidence,),) = daemon.rows("SELECT evidence FROM incidents")
    assert json.loads(evidence)[-1][1] == "Twilio 32009 for 204, 3 times"
    daemon.process.kill9()
    await started(daemon)
    await daemon.opens("ExtensionUnregistered")
    assert len(await daemon.open()) == 1

    desk.register(60)
    await eventually(lambda: len(catcher.mails) == 2, 60, "the end")
    assert [str(mail["Subject"])[:10] for mail in catcher.mails] == [
        "[warning] ",
        "[resolved]",
    ]
    assert await daemon.open() == []


async def test_late_alerts_and_refusals_are_made_up_for(
    running: MakeRunning, twilio: TwilioServer, catcher: MailCatcher
) -> None:
    now = time.time()
    twilio.refusals = [(429, {"Retry-After": "1"})]
    public = Public()
    daemon = running(account(twilio) + mail_to(catcher), frame=public.frame)
    await started(daemon)
    await eventually(lambda: "429" in daemon.log, 20, "a refusal")
    assert (await daemon.status())["twilio"]["state"] == "unreadable"
    twilio.now = now + 3600
    twilio.alerts = [
        Listed("NO7", 32202, now - 1200, now - 60, url="sip:7@acme.sip.twilio.com")
    ]
    daemon.process.kill9()
    await started(daemon)
    await daemon.opens("TwilioAlert")
    stored = "SELECT since FROM incidents WHERE rule = 'TwilioAlert'"
    await eventually(lambda: daemon.rows(stored), 10, "the row")
    ((since,),) = daemon.rows(stored)
    assert since == pytest.approx(now - 1200, abs=2)
    assert "TwilioUnreadable" not in [rule for rule, _ in await daemon.open()]


@pytest.mark.real("kamailio")
async def test_a_call_is_answered_by_what_is_known_of_the_phone(
    running: MakeRunning,
    kamailio: StartKamailio,
    phone: MakePhone,
    twilio: TwilioServer,
    catcher: MailCatcher,
    tmp_path: Path,
) -> None:
    server = kamailio({"204": "secret"})
    desk = phone("204", server)
    desk.register(60)
    twiml = {
        "domain": "acme.sip.twilio.com",
        "actions": {"voicemail": {"say": "Please leave a message.", "record": "2m"}},
        "otherwise": "voicemail",
    }
    public = Public()
    daemon = running(
        kamailio_at(server, interval="1s", **names(tmp_path, "204,Reception"))
        + f"twiml: {json.dumps(twiml)}\n"
        + account(twilio)
        + mail_to(catcher),
        frame=public.frame,
    )
    await started(daemon)
    call = {"CallSid": "CA1", "To": "sip:204@acme.sip.twilio.com"}
    status, text = await public.signed("/twiml/call", call)
    assert status == 200
    assert "<Dial" in text
    assert "<Sip>sip:204@acme.sip.twilio.com</Sip>" in text

    for n in range(3):
        ended = {
            "CallSid": f"CA{n}",
            "DialCallStatus": "no-answer",
            "DialSipResponseCode": "480",
        }
        action = "/twiml/action?extension=204"
        status, text = await public.signed(action, ended)
        assert "<Record" in text
    await daemon.opens("TwilioAlert")
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    mail = catcher.mails[0]
    print(mail["Subject"], body(mail), sep="\n")
    assert "Twilio reports 31480 (temporarily unavailable)" in str(mail["Subject"])
    assert re.search(
        r"Twilio 31480 for 204 at \d\d:\d\d \(3 times\); 204 registered at hq since ",
        row(mail, "why"),
    )
    samples = (await daemon.get("/metrics"))[1]
    assert 'sipwatch_twilio_alerts_total{code="31480"} 3\n' in samples
    assert 'sipwatch_twiml_answers_total{answer="ring"} 1\n' in samples
    assert 'sipwatch_twiml_answers_total{answer="record"} 3\n' in samples

    desk.deregister()

    async def is_known() -> bool:
        return "<Record" in (await public.signed("/twiml/call", call))[1]

    await eventually(is_known, 20, "another answer")
    stranger = {"CallSid": "CA9", "To": "sip:204@evil.example.com"}
    assert (await public.signed("/twiml/call", stranger))[0] == 400
    headers, content = form("x" * 32, f"{BASE}/twiml/call", call)
    assert (await public.post("/twiml/call", headers, content))[0] == 403


async def test_the_account_is_looked_at_by_check_config(
    twilio: TwilioServer, tmp_path: Path
) -> None:
    twilio.resources = resources()
    line1 = {
        "registrar": "sip:acme.sip.twilio.com;transport=tls",
        "username": "line1",
        "password": "secret",
    }
    file = tmp_path / "sipwatch.yaml"

    async def checked(**more: str) -> tuple[int, str]:
        file.write_text(
            account(twilio, webhook=False, **more)
            + f"accounts: {json.dumps({'line1': line1})}\n"
        )
        done = await command("check-config", "--online", "-c", file)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    status, text = await checked(address="203.0.113.5")
    assert (status, text.splitlines()[0]) == (0, "line1@acme.sip.twilio.com")
    assert "✓ username      line1 is in phones" in text
    status, text = await checked(address="198.51.100.7")
    assert status == 1
    assert "✗ address       198.51.100.7 is in no IP access list" in text
    status, text = await checked(auth_token="x" * 32)
    assert status == 1
    assert "✗ account       127.0.0.1 answers 401 Unauthorized: Authenticate" in text
