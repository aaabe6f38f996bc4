"""SIP MESSAGE: what stands in it, who takes it, and real phones that show it."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from alerting.incident import DeliveryError, Notification
from alerting.notification.render import render, trial
from alerting.notifiers.sip_message import (
    REQUEST_LIMIT,
    SipMessage,
    SipMessageSettings,
    cut,
)
from checks.settings import Secret
from checks.sip.message import Request
from tests.alerting.mails import CASES, INSTANCE, NOW, PARIS
from tests.checks.sip.peer import Peer, Script, answering, respond
from tests.conftest import StartBaresip, StartKamailio
from tests.servers import eventually
from tests.servers.kamailio_parts import Part
from tests.servers.loopback import Loopback
from tests.servers.phones import SCENARIOS, Sipp, is_bound


def told(case: str = "unregistered", **more: Any) -> Notification:
    return replace(render(CASES[case], instance=INSTANCE, zone=PARIS, now=NOW), **more)


def notifier(*to: str, **more: Any) -> SipMessage:
    fields = {"to": to, "from_": "sip:sipwatch@example.com", "timeout": 3.0} | more
    return SipMessage(SipMessageSettings(**fields))


def uri(peer: Peer, user: str = "1001") -> str:
    over = (
        ""
        if peer.address.transport == "udp"
        else f";transport={peer.address.transport}"
    )
    return f"sip:{user}@127.0.0.1:{peer.address.port}{over}"


def always(status: int, **fields: str) -> Script:
    return lambda request, n: [respond(request, status, "Said", **fields)]


async def refusal(script: Script, **more: Any) -> DeliveryError:
    async with answering(script) as peer:
        with pytest.raises(DeliveryError) as caught:
            await notifier(uri(peer), **more).send(told())
    return caught.value


# --- what is sent -------------------------------------------------------------------


async def test_the_headline_is_sent_as_a_text_of_rfc_3428() -> None:
    async with answering(always(200)) as peer:
        await notifier(uri(peer)).send(told())
    (request,) = peer.requests
    assert request.start_line == f"MESSAGE {uri(peer)} SIP/2.0"
    assert request.body == told().subject.encode()
    assert request.get("content-type") == "text/plain;charset=UTF-8"
    assert request.from_.uri == "sip:sipwatch@example.com"
    assert request.to.uri == "sip:1001@127.0.0.1"
    assert request.get("priority") == "normal"
    assert request.get("contact") is None
    assert request.faults == ()


@pytest.mark.parametrize(
    ("case", "priority"),
    [
        ("options-failing", "urgent"),
        ("unregistered", "normal"),
        ("retransmits", None),
        ("options-failing-resolved", None),
    ],
)
async def test_what_is_critical_is_urgent(case: str, priority: str | None) -> None:
    async with answering(always(202)) as peer:
        await notifier(uri(peer)).send(told(case))
    assert peer.requests[0].get("priority") == priority


async def test_a_test_reaches_the_phone() -> None:
    test = trial(instance=INSTANCE, notifier="phone", zone=PARIS, now=NOW)
    async with answering(always(200)) as peer:
        await notifier(uri(peer)).send(test)
    assert peer.requests[0].body.startswith(b"[test] sipwatch on watcher.example.com")


@pytest.mark.parametrize("subject", ["x" * 5000, "é" * 5000, "☎" * 5000, "a\r\nB: c\0"])
async def test_no_request_is_longer_than_any_way_carries(subject: str) -> None:
    def challenged(request: Request, n: int) -> list[bytes]:
        if n == 1:
            asked = f'Digest realm="{"r" * 60}", nonce="{"n" * 90}", qop="auth", '
            asked += 'algorithm=SHA-256, opaque="5ccc069c403ebaf9f0171e9517f40e41"'
            return [respond(request, 401, www_authenticate=asked)]
        return [respond(request, 200)]

    async with answering(challenged) as peer:
        one = notifier(uri(peer, "u" * 120), password=Secret("secret"))
        await one.send(told(subject=subject))
    assert len(peer.requests) == 2
    for request in peer.requests:
        assert len(request.raw) <= REQUEST_LIMIT
        assert request.body.decode()
        assert b"\r\nB: c" not in request.raw


def test_a_text_is_cut_between_characters() -> None:
    assert cut("abc", 3) == b"abc"
    assert cut("abcdef", 5).decode() == "ab…"
    assert cut("☎☎☎", 8).decode() == "☎…"
    assert cut("abcdef", 0) == b""
    for limit in range(40):
        assert len(cut("aé☎😀" * 10, limit)) <= limit


# --- the way there ------------------------------------------------------------------


async def test_it_goes_by_the_outbound_proxy() -> None:
    async with answering(always(202)) as proxy:
        one = notifier("sip:1001@nowhere.example.com", outbound_proxy=uri(proxy, "x"))
        await one.send(told())
    assert proxy.requests[0].uri == "sip:1001@nowhere.example.com"


async def test_over_tls_the_peer_must_be_who_it_says(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with answering(always(200), "tls", tls=context) as peer:
        with pytest.raises(DeliveryError, match="certificate") as caught:
            await notifier(uri(peer)).send(told())
        assert not caught.value.permanent
        await notifier(uri(peer), ca_file=str(tmp_path / "ca.pem")).send(told())
    assert len(peer.requests) == 1


async def test_over_udp_what_is_lost_is_sent_again() -> None:
    def second(request: Request, n: int) -> list[bytes]:
        return [respond(request, 200)] if n > 1 else []

    async with answering(second) as peer:
        await notifier(uri(peer)).send(told())
    assert len(peer.requests) == 2


async def test_a_silent_phone_may_answer_later() -> None:
    error = await refusal(lambda request, n: [], timeout=0.3)
    assert "0 of 1 phones have it; sip:1001@127.0.0.1:" in str(error)
    assert not error.permanent


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (302, True),
        (400, True),
        (403, True),
        (404, True),
        (405, True),
        (408, False),
        (415, True),
        (480, False),
        (486, False),
        (500, False),
        (501, True),
        (503, False),
        (600, False),
        (603, True),
        (604, True),
    ],
)
async def test_a_refusal_is_for_good_or_not(status: int, permanent: bool) -> None:
    error = await refusal(always(status))
    assert f"answers {status} Said" in str(error)
    assert error.permanent is permanent


async def test_a_server_may_put_us_off() -> None:
    error = await refusal(always(503, retry_after="120"))
    assert error.retry_after == 120


async def test_a_wrong_password_is_refused_for_good_and_not_repeated() -> None:
    challenge = 'Digest realm="example.com", nonce="1", qop="auth"'
    error = await refusal(
        always(401, www_authenticate=challenge), password=Secret("S3CRET")
    )
    assert error.permanent
    assert "answers 401" in str(error)
    assert "S3CRET" not in str(error)


async def test_each_phone_gets_it_once_however_long_the_others_take() -> None:
    later = [480, 480, 200]

    def away(request: Request, n: int) -> list[bytes]:
        return [respond(request, later[n - 1])]

    async with AsyncExitStack() as stack:
        well = await stack.enter_async_context(answering(always(200)))
        asleep = await stack.enter_async_context(answering(away))
        one = notifier(uri(well), uri(asleep, "1002"))
        for _ in range(2):
            with pytest.raises(DeliveryError, match="1 of 2 phones have it") as caught:
                await one.send(told())
            assert "answers 480" in str(caught.value)
        await one.send(told())
    assert (len(well.requests), len(asleep.requests)) == (1, 3)
    assert one.complaint == ""


async def test_a_phone_that_refuses_for_good_is_complained_of() -> None:
    async with answering(always(200)) as well, answering(always(404)) as gone:
        one = notifier(uri(well), uri(gone, "1002"))
        await one.send(told())
    assert one.complaint == f"{uri(gone, '1002')} answers 404 Said"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"to": ()}, "to: is a list of SIP URIs"),
        ({"to": "sip:1001@10.0.0.5"}, "to: is a list of SIP URIs"),
        ({"to": ("sip:10.0.0.5",)}, "to: sip:10.0.0.5 is no SIP URI of somebody"),
        ({"to": ("1001@ex ample",)}, "to: 1001@ex ample is no SIP URI"),
        ({"to": (f"sip:{'u' * 300}@10.0.0.5",)}, "is no SIP URI of somebody"),
        ({"from_": "sipwatch"}, "from: sipwatch is no SIP URI of somebody"),
        (
            {"outbound_proxy": "http://10.0.0.5"},
            "outbound_proxy: http://10.0.0.5 is no",
        ),
        ({"username": "a"}, "username: needs a password"),
        ({"timeout": 0.0}, "timeout: must be longer"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    more: dict[str, Any], sentence: str
) -> None:
    right = {"to": ("sip:1001@10.0.0.5",), "from_": "sip:sipwatch@example.com"}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        SipMessageSettings(**right | more)


# --- real phones --------------------------------------------------------------------


@pytest.mark.real("sipp")
async def test_sipp_displays_it(tmp_path: Path, loopback: Loopback) -> None:
    shown = tmp_path / "shown.log"
    options = ("-m", 1, "-trace_logs", "-log_file", shown)
    phone = Sipp(
        tmp_path, SCENARIOS / "message.xml", *options, address=loopback.address()
    )
    with phone:
        await eventually(lambda: is_bound(phone.address, phone.port))
        to = f"sip:1001@{phone.address}:{phone.port}"
        await notifier(to).send(told("options-failing"))
        assert await asyncio.to_thread(phone.process.wait, 10.0) == 0
    assert told("options-failing").subject in shown.read_text()


AUTHENTICATED = """
    if (is_method("MESSAGE")) {
        if ($au != "watcher" || !pv_www_authenticate("$td", "secret", "0")) {
            www_challenge("$td", "1");
            exit;
        }
    }
"""


@pytest.mark.real("kamailio", "baresip")
async def test_a_phone_behind_a_registrar_that_wants_a_password_has_it(
    kamailio: StartKamailio, baresip: StartBaresip
) -> None:
    part = Part((), request=AUTHENTICATED)
    registrar = await asyncio.to_thread(kamailio, {"1001": "secret"}, parts=[part])
    phone = await asyncio.to_thread(baresip, "1001", registrar)
    to = f"sip:1001@{registrar.address}"
    common: dict[str, Any] = {"from_": f"sip:watcher@{registrar.address}"}
    with pytest.raises(DeliveryError, match="answers 401") as caught:
        await notifier(to, password=Secret("wrong"), **common).send(told())
    assert caught.value.permanent
    await notifier(to, password=Secret("secret"), **common).send(told())
    assert told().subject in phone.log()
    away = notifier(
        f"sip:1002@{registrar.address}", password=Secret("secret"), **common
    )
    with pytest.raises(DeliveryError, match="answers 480") as caught:
        await away.send(told())
    assert not caught.value.permanent
