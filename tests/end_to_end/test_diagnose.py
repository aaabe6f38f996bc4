"""Why does it answer 480? Asked of real servers and phones, and of the daemon."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from checks.observation import Cause, State
from checks.sip.message import Request
from checks.twilio.alerts import Alert
from sipwatch.subjects import BusyError
from tests.checks.sip.peer import answering as peer
from tests.checks.sip.peer import respond
from tests.conftest import StartAnswering, StartAsterisk, StartBaresip, StartKamailio
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.running import command, sipwatch
from tests.end_to_end.test_twilio import account
from tests.end_to_end.watch import (
    Watch,
    asterisk_at,
    body,
    kamailio_at,
    names,
    row,
    rules,
)
from tests.servers import eventually
from tests.servers.asterisk import Extension
from tests.servers.loopback import Loopback
from tests.wires.twilio import TwilioServer

HERE, GONE, MUTE = State.REGISTERED, State.UNREGISTERED, State.UNREACHABLE
SILENT = State.UNREACHABLE


async def by_hand(*words: object) -> dict[str, Any]:
    """`sipwatch diagnose ... --json`: its status beside what it found."""
    done = await command("diagnose", *words, "--json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["status"] == done.returncode
    return found


async def asked(watch: Watch, name: str, *words: object) -> dict[str, Any]:
    """The same of the daemon, over its socket."""
    return await by_hand(name, "--socket", f"{watch.folder}/api.sock", *words)


def rung(found: dict[str, Any], what: str) -> tuple[bool | None, str]:
    """What was found on one rung."""
    for one in found["rungs"]:
        if one["what"] == what:
            return one["ok"], one["text"]
    raise AssertionError(f"no {what} among {[one['what'] for one in found['rungs']]}")


# --- ways -----------------------------------------------------------------------------


@asynccontextmanager
async def firewalled(
    ip: str, tls: ssl.SSLContext, status: int = 200
) -> AsyncIterator[None]:
    """UDP 5060 is dropped, TCP 5060 refused, TLS 5061 answers."""
    async with peer(lambda request, number: [], "udp", ip=ip, port=5060):
        async with peer(
            lambda request, number: [respond(request, status, "OK")],
            "tls",
            ip=ip,
            port=5061,
            tls=tls,
        ):
            yield


@pytest.fixture
def certified(tmp_path: Path) -> tuple[trustme.CA, Path]:
    """An authority, and the file that names it."""
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, file


def server_tls(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


async def test_a_firewalled_path_is_named_exactly(
    loopback: Loopback, certified: tuple[trustme.CA, Path]
) -> None:
    (ca, file), ip = certified, loopback.address()
    async with firewalled(ip, server_tls(ca, ip)):
        found = await by_hand(f"sip:{ip}", "--ca-file", file, "--timeout", "2s")
    assert rung(found, "UDP 5060") == (False, "nothing comes back (3 sends)")
    assert rung(found, "TCP 5060")[0] is None
    assert rung(found, "TCP 5060")[1].startswith("refused")
    assert rung(found, "TLS 5061")[0] is True
    assert f"certificate {ip}, " in rung(found, "TLS 5061")[1]
    assert rung(found, "OPTIONS") == (True, "200 OK over TLS")
    assert (found["cause"], found["status"]) == (Cause.TRANSPORT_BLOCKED, 1)
    assert found["sentence"] == (
        "UDP 5060 is blocked on the way out and TCP 5060 is refused"
    )
    assert found["steps"] == ["let UDP 5060 out, or write transport=tls, which works"]


async def test_a_way_that_nobody_asked_for_may_be_shut(
    loopback: Loopback, certified: tuple[trustme.CA, Path]
) -> None:
    (ca, file), ip = certified, loopback.address()
    async with firewalled(ip, server_tls(ca, ip)):
        found = await by_hand(
            f"sip:{ip};transport=tls", "--ca-file", file, "--timeout", "2s"
        )
    assert (found["ok"], found["status"]) == (True, 0)
    assert "answers OPTIONS over TLS with 200" in found["sentence"]


async def test_a_host_that_drops_everything_is_not_one_that_blocks_a_port(
    loopback: Loopback,
) -> None:
    ip = loopback.address()
    async with peer(lambda request, number: [], "udp", ip=ip, port=5060):
        found = await by_hand(f"sip:{ip}", "--timeout", "1s")
    assert "is up, but no SIP answers there" in found["sentence"]
    assert "UDP 5060 does not answer" in found["sentence"]
    assert found["status"] == 2


async def test_it_ends_in_the_time_of_its_slowest_rung(loopback: Loopback) -> None:
    """Three ways that are silent for 3 s each, OPTIONS that waits for all of them."""
    ip = loopback.address()
    async with (
        peer(lambda request, number: [], "udp", ip=ip, port=5060),
        peer(lambda request, number: [], "tcp", ip=ip, port=5061),
    ):
        found = await by_hand(f"sip:{ip}", "--timeout", "3s")
    seconds = {one["what"]: one["seconds"] for one in found["rungs"]}
    assert 2.5 < seconds["UDP 5060"] < 6
    assert 2.5 < seconds["TLS 5061"] < 6


async def test_the_password_of_a_uri_is_not_repeated(loopback: Loopback) -> None:
    ip = loopback.address()
    async with peer(
        lambda request, n: [respond(request, 200, "OK")], "udp", ip=ip
    ) as p:
        uri = f"sip:alice:h1dden@{ip}:{p.address.port};transport=udp"
        found = await by_hand(uri, "--timeout", "1s")
    assert found["subject"] == f"sip:alice:***@{ip}:{p.address.port};transport=udp"
    assert "h1dden" not in json.dumps(found)


def test_a_name_that_twilio_does_not_have_is_told_with_what_was_meant() -> None:
    done = sipwatch("diagnose", "sip:line1@acme.twilio.com", "--timeout", "1s")
    assert "a SIP Domain has .sip. after acme" in done.stdout
    assert "write acme.sip.twilio.com" in done.stdout.lower()
    assert "check the spelling" not in done.stdout.lower()  # that was said
    assert done.returncode == 2


# --- Kamailio -------------------------------------------------------------------------


@pytest.mark.real("kamailio")
async def test_a_480_of_a_proxy_for_a_user_who_is_not_registered(
    kamailio: StartKamailio,
) -> None:
    server = kamailio({"2001": "secret"})
    found = await by_hand(f"sip:2001@{server.address}")
    assert rung(found, "OPTIONS")[0] is False
    assert "480" in rung(found, "OPTIONS")[1]
    assert (found["cause"], found["confidence"]) == (Cause.UNREGISTERED, "likely")
    assert "nobody is registered as 2001 there" in found["sentence"]
    assert any("the PBX (kamailio)" in one["text"] for one in found["evidence"])


@pytest.mark.real("kamailio")
async def test_a_call_that_is_answered_480_is_explained(
    kamailio: StartKamailio,
) -> None:
    server = kamailio({"2001": "secret"})
    found = await by_hand(f"sip:2001@{server.address}", "--call")
    ok, text = rung(found, "call")
    assert ok is False
    assert text.startswith("480 ")
    assert text.endswith(": refused")
    assert found["cause"] == Cause.UNREGISTERED


@pytest.mark.real("kamailio", "baresip")
async def test_a_phone_that_is_called_rings_and_is_hung_up_at_once(
    kamailio: StartKamailio, baresip: StartBaresip
) -> None:
    server = kamailio({"2001": "secret"})
    phone = await asyncio.to_thread(baresip, "2001", server)
    found = await by_hand(f"sip:2001@{server.address}", "--call")
    assert rung(found, "call")[0] is True
    assert rung(found, "call")[1].startswith("180 Ringing")
    assert rung(found, "call")[1].endswith(": cancelled")
    assert (found["ok"], found["sentence"]) == (True, "nothing is wrong: 2001 rings")
    log = phone.log()
    assert "CANCEL sip:" in log
    assert "487 Request Terminated" in log


@pytest.mark.real("kamailio")
async def test_an_overloaded_proxy_says_when_to_come_back(
    kamailio: StartKamailio,
) -> None:
    server = kamailio({"2001": "secret"})
    await asyncio.to_thread(server.mode, "503")
    found = await by_hand(f"sip:{server.address}")
    assert found["cause"] == Cause.OVERLOADED
    assert "left alone for 10 s" in found["sentence"]
    assert any(one["text"] == "Retry-After: 10 s" for one in found["evidence"])


# --- phones in the daemon -------------------------------------------------------------


Q850 = 'Temporarily Unavailable\nReason: Q.850;cause=20;text="absent"'


@pytest.mark.real("asterisk", "sipp")
@pytest.mark.parametrize(
    ("code", "reason"), [(480, ""), (486, ""), (603, ""), (480, Q850)]
)
async def test_a_phone_in_do_not_disturb_is_told_from_one_that_is_gone(
    asterisk: StartAsterisk,
    answering: StartAnswering,
    phone: MakePhone,
    watching: StartWatch,
    code: int,
    reason: str,
) -> None:
    """By hand, by what our own OPTIONS of every minute heard, and where Twilio tells
    that calls of it fail: in that incident and its mail."""
    pbx = asterisk([Extension("1001")])
    desk = phone("1001", pbx)
    desk.register(60)
    desk.close()  # and there it answers from now on
    ip, _, port = desk.contact.partition(":")
    device = answering(code, reason, address=ip, port=int(port))
    async with TwilioServer(now=time.time()) as twilio:
        watch = await watching(
            asterisk_at(pbx, probe_contacts=True) + account(twilio, webhook=False)
        )
        await watch.sees(15, x1001=HERE)
        found = await asked(watch, "1001")
        assert rung(found, "bindings")[0] is True
        assert rung(found, "phone")[0] is False
        assert rung(found, "phone")[1].startswith(f"{code} ")
        assert (found["cause"], found["status"]) == (Cause.DO_NOT_DISTURB, 1)
        assert f"answers {code}" in found["sentence"]

        findings, hq = watch.daemon.findings, watch.daemon.judges["hq"]
        subject = hq.extensions["1001"].subject
        await eventually(
            lambda: (known := findings.of(subject)) and known.cause, 15, "our OPTIONS"
        )
        for number in range(3):
            called = Alert(
                f"NO{number}", 31480, "warning", time.time(), "1001@acme.sip.twilio.com"
            )
            await watch.daemon.twilio.received(called)
        mail = await watch.mail(1, 30)
        [incident] = (await watch.status())["incidents"]
    assert (incident["rule"], incident["finding"]["cause"]) == (
        *("TwilioAlert", Cause.DO_NOT_DISTURB),
    )
    assert f"the phone is there and answers {code}" in incident["finding"]["sentence"]
    texts = [fact["text"] for fact in incident["finding"]["evidence"]]
    assert (
        f"to OPTIONS from {device.address}:{device.port}, the phone itself"
        in (texts[0])
    )
    told = "".join(body(mail).split())
    assert "Twilio31480for1001" in told
    assert "1001registeredathq" in told
    assert f"andanswers{code}" in told
    if reason:
        assert "Reason: Q.850 cause 20, absent" in texts
        assert any("Q.850 cause 20" in one["text"] for one in found["evidence"])


def in_a_call(request: Request, number: int) -> list[bytes]:
    """A phone that takes its first call, and is busy to whoever asks."""
    if request.method != "INVITE":
        return [respond(request, 486 if request.method == "OPTIONS" else 200)]
    host = request.headers.lines("to")[0].rpartition("@")[2].partition(">")[0]
    contact = f"<sip:phone@{host}>"
    said = respond(request, 200, contact=contact, content_type="application/sdp")
    ip = host.partition(":")[0]
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    ).encode()
    head = re.sub(rb"\r\nContent-Length: *\d+", b"", said.rstrip(b"\r\n"))
    return [head + b"\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp]


@pytest.mark.real("asterisk")
async def test_a_phone_that_is_in_a_call_is_told_from_one_in_do_not_disturb(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    """By Asterisk's word: by hand, and where Twilio tells that calls of it fail."""
    pbx = asterisk([Extension("1001")])
    desk = phone("1001", pbx)
    desk.register(120)
    desk.close()
    ip, _, port = desk.contact.partition(":")
    async with (
        TwilioServer(now=time.time()) as twilio,
        peer(in_a_call, "udp", ip=ip, port=int(port)),
    ):
        watch = await watching(
            asterisk_at(pbx, probe_contacts=True) + account(twilio, webhook=False)
        )
        await watch.sees(15, x1001=HERE)
        found = await asked(watch, "1001")
        assert rung(found, "calls") == (None, "it is in no call")
        assert found["cause"] == Cause.DO_NOT_DISTURB

        await asyncio.to_thread(
            pbx.cli, "channel originate PJSIP/1001 application Wait 60"
        )
        hq = watch.daemon.followings["hq"]
        await eventually(lambda: hq.look_for_call("1001"), 20, "a call")
        assert await hq.look_for_call("nobody") is None
        findings = watch.daemon.findings
        subject = watch.daemon.judges["hq"].extensions["1001"].subject
        await eventually(
            lambda: (known := findings.of(subject)) and known.cause, 15, "our OPTIONS"
        )
        hq._calls.clear()  # nobody has asked yet
        for number in range(3):
            called = Alert(
                f"NO{number}", 31480, "warning", time.time(), "1001@acme.sip.twilio.com"
            )
            await watch.daemon.twilio.received(called)
        await watch.mail(1, 30)
        [incident] = (await watch.status())["incidents"]
        by_hand_too = await asked(watch, "1001")
    assert (incident["finding"]["cause"], incident["finding"]["confidence"]) == (
        *(Cause.BUSY, "certain"),
    )
    assert rung(by_hand_too, "calls") == (None, "it is in a call")
    assert by_hand_too["cause"] == Cause.BUSY


@pytest.mark.real("asterisk", "baresip")
async def test_a_stale_binding_is_told_from_no_binding(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    first = Extension("1001", qualify_frequency=1, qualify_timeout=0.5)
    pbx = asterisk([first, Extension("1002")])
    gone = await asyncio.to_thread(baresip, "1001", pbx, expires=600)
    watch = await watching(
        asterisk_at(pbx, interval="1s")
        + rules(ExtensionUnreachable=1, ExtensionUnregistered=1)
    )
    await watch.sees(20, x1001=HERE, x1002=State.NEVER_REGISTERED)
    extension = watch.daemon.judges["hq"].extensions["1001"]
    await eventually(lambda: extension.reachable, 10, "a qualify that was answered")
    gone.kill9()
    await watch.sees(30, x1001=MUTE)
    mail = await watch.mail(1, 30)
    assert "the binding is stale" in row(mail, "why")
    assert row(mail, "next step")

    stale, never = await asyncio.gather(asked(watch, "1001"), asked(watch, "1002"))
    assert stale["cause"] == Cause.STALE_BINDING
    assert rung(stale, "bindings")[0] is True
    assert rung(stale, "phone")[0] is False
    assert stale["status"] == 2
    assert never["cause"] == Cause.UNREGISTERED
    assert rung(never, "bindings")[0] is False
    incidents = {i["rule"]: i for i in (await watch.status())["incidents"]}
    incident = incidents["ExtensionUnreachable"]
    assert incident["finding"]["cause"] == Cause.STALE_BINDING
    counted = await watch.metrics()
    assert counted['sipwatch_unavailable_total{cause="stale_binding"}'] == 1
    assert counted['sipwatch_unavailable_total{cause="unregistered"}'] == 0


@pytest.mark.real("asterisk")
async def test_a_phone_that_nobody_else_asks_and_that_is_silent_to_us_is_told(
    asterisk: StartAsterisk,
    phone: MakePhone,
    watching: StartWatch,
    loopback: Loopback,
) -> None:
    pbx, ip = asterisk([Extension("3002")]), loopback.address()
    async with peer(lambda request, number: [], "udp", ip=ip, port=5060):
        phone("3002", pbx).register(600, [f"{ip}:5060"])
        watch = await watching(asterisk_at(pbx))
        await watch.sees(15, x3002=HERE)
        found = await asked(watch, "3002")
    assert rung(found, "bindings")[0] is True
    assert rung(found, "phone")[0] is False
    assert rung(found, "PBX view")[1].endswith("(qualify is off)")
    assert (found["cause"], found["confidence"], found["status"]) == (
        Cause.UNREACHABLE_CONTACT,
        "possible",
        1,
    )
    assert found["sentence"] == "3002 is registered, but does not answer us"
    first, then = found["steps"]
    assert first == "see whether it rings: the same with --call"
    assert "firewalls between this host and the phones" in then


@pytest.mark.real("asterisk", "baresip")
async def test_a_call_through_the_pbx_finds_who_is_registered_and_rings(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001")], watcher="127.0.0.1/8")
    await asyncio.to_thread(baresip, "1001", pbx)
    targets = f'targets: {{pbx: {{uri: "sip:{pbx.address}", role: pbx}}}}\n'
    watch = await watching(asterisk_at(pbx) + targets)
    await watch.sees(20, x1001=HERE)
    found = await asked(watch, "1001", "--call")
    assert rung(found, "call")[0] is True
    assert found["sentence"] == "1001 rings"
    assert found["status"] == 0


async def test_one_phone_is_called_by_one_at_a_time(
    watching: StartWatch, loopback: Loopback
) -> None:
    """The second is told so; who only looks is not held up."""
    ip, calls = loopback.address(), list[bytes]()

    def ringing(request: Request, number: int) -> list[bytes]:
        if request.method == "OPTIONS":
            return [respond(request, 200, "OK")]
        calls.append(request.method.encode())
        return [respond(request, 100, "Trying")] if request.method == "INVITE" else []

    async with peer(ringing, "udp", ip=ip, port=5060):
        watch = await watching(
            f'targets: {{desk: {{uri: "sip:1001@{ip}", timeout: 2s}}}}\n'
        )
        daemon = watch.daemon
        await eventually(lambda: daemon.ready, 20, "the first pass")
        first = asyncio.create_task(told(daemon.diagnose("desk", call=True)))
        await eventually(lambda: calls, 20, "the call")
        with pytest.raises(BusyError) as refused:
            daemon.diagnose("desk", call=True)
        looked = await told(daemon.diagnose("desk", call=False))
        await first
        again = await told(daemon.diagnose("desk", call=True))
    assert str(refused.value) == (
        "desk is being called by another diagnosis: a phone is called by one at a time,"
        " so try again in a minute"
    )
    assert "verdict" in looked[-1]
    assert any(line.get("rung", {}).get("what") == "call" for line in again)


async def told(lines: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in lines]


@pytest.mark.real("kamailio")
async def test_who_logs_out_while_the_office_is_closed_is_out_of_hours(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio({"2001": "secret"})
    desk = phone("2001", server)
    desk.register(600)
    later = datetime.now(UTC) + timedelta(days=3)
    hours = f"schedules: {{office: {{hours: {{{later:%a}: '08:00-09:00'}}}}}}\n".lower()
    listed = names(tmp_path, "2001,Desk")
    told = "rules: {ExtensionUnregistered: {during: office}}\n"
    watch = await watching(kamailio_at(server, interval="2s", **listed) + hours + told)
    await watch.sees(15, x2001=HERE)
    await asyncio.to_thread(desk.deregister)
    await watch.sees(15, x2001=GONE)
    found = await asked(watch, "2001")
    assert found["cause"] == Cause.OUT_OF_HOURS
    assert "has logged out, and office is closed" in found["sentence"]


async def test_what_nobody_watches_is_one_line_and_status_3(
    watching: StartWatch,
) -> None:
    watch = await watching('targets: {t: {uri: "sip:127.0.0.1:9"}}\n')
    done = await command("diagnose", "1001", "--socket", f"{watch.folder}/api.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "sipwatch diagnose: nothing is watched as 1001\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["1001", "--socket", "/none"], "no daemon at /none: is sipwatch running?"),
        (["sip:"], "'sip:' is not a SIP URI"),
        (["sip:127.0.0.1", "--ca-file", "/none"], "/none: No such file or directory"),
        (
            ["sip:127.0.0.1", "--source", "192.0.2.1"],
            "cannot send from 192.0.2.1: Cannot assign requested address",
        ),
        (["sip:127.0.0.1", "--timeout", "5"], "5 is not a duration (write 5s)"),
        (["sip:127.0.0.1", "-u", "a", "--password-env", "NONE"], "the environment has"),
    ],
)
def test_a_mistake_is_one_line_and_status_3(words: list[str], told: str) -> None:
    done = sipwatch("diagnose", *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"sipwatch diagnose: {told}")
    assert len(done.stderr.splitlines()) == 1


async def test_lines_fit_a_terminal_of_80_columns(loopback: Loopback) -> None:
    from sipwatch.commands.diagnose import rung_lines, verdict_lines

    found = await by_hand(f"sip:nobody@{loopback.address()}", "--timeout", "1s")
    lines = [line for one in found["rungs"] for line in rung_lines(one, 80)]
    lines += verdict_lines(found, 80)
    assert max(map(len, lines)) <= 80
    assert re.match(r"^[✓✗·] (UDP|TCP|TLS) 506[01] ", lines[0])


# --- incidents of targets -------------------------------------------------------------


@pytest.mark.real("sipp")
async def test_phones_that_refuse_by_themselves_are_told_as_do_not_disturb(
    answering: StartAnswering, watching: StartWatch
) -> None:
    phones = {code: answering(code) for code in (480, 486, 603)}
    targets = {
        f"desk{code}": {
            "uri": f"sip:{one.address}:{one.port}",
            "role": "phone",
            "healthy_codes": ["2xx"],
        }
        for code, one in phones.items()
    }
    watch = await watching(
        f"targets: {json.dumps(targets)}\n" + rules(TargetDegraded=1)
    )
    await eventually(lambda: len(watch.incidents()) == 3, 60, "three incidents")
    for one in (await watch.status())["incidents"]:
        code = one["subject"].removeprefix("target:desk")
        assert one["finding"]["cause"] == Cause.DO_NOT_DISTURB
        assert f"the phone is there and answers {code}" in one["finding"]["sentence"]
    counted = await watch.metrics()
    assert counted['sipwatch_unavailable_total{cause="do_not_disturb"}'] == 3


@pytest.mark.real("kamailio")
async def test_a_target_that_is_an_extension_is_explained_by_its_registration(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio({"2001": "secret"})
    desk = phone("2001", server)
    desk.register(600)
    listed = names(tmp_path, "2001,Desk")
    uri = f"sip:2001@{server.address}"
    target = f'targets: {{desk: {{uri: "{uri}", role: phone, interval: 15s}}}}\n'
    watch = await watching(
        kamailio_at(server, interval="2s", domain=server.address, **listed)
        + target
        + rules(TargetDegraded=1, ExtensionUnregistered=3600)
    )
    await watch.sees(15, x2001=HERE)
    await asyncio.to_thread(desk.deregister)
    await watch.sees(15, x2001=GONE)
    watch.daemon.options.probe_now("target:desk")
    mail = await watch.mail(1, 40)
    why = "it is not registered: the phone logged out before its registration ended"
    assert row(mail, "why").strip() == why
    assert "480 Temporarily Unavailable to OPTIONS from " in body(mail)


@pytest.mark.real("sipp")
async def test_an_overloaded_trunk_is_told_with_when_to_come_back(
    answering: StartAnswering, watching: StartWatch
) -> None:
    trunk = answering(503, "Service Unavailable\nRetry-After: 30")
    uri = f"sip:{trunk.address}:{trunk.port}"
    told = rules(OptionsFailing=1)
    watch = await watching(
        f'targets: {{twilio: {{uri: "{uri}", confirm: 1s}}}}\n' + told
    )
    mail = await watch.mail(1, 60)
    assert "wants to be left alone for 30 s" in row(mail, "why")
    assert "Retry-After: 30 s" in body(mail)
