"""The webhook: its body, its signature, and receivers that mean no good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from dataclasses import replace
from typing import Any

import pytest
import trustme
from aiohttp import web

from alerting.incident import Crowd, DeliveryError, Notification
from alerting.notification.render import bare, render, trial
from alerting.notification.shape import INCIDENTS_LIMIT
from alerting.notifiers.webhook import Webhook, WebhookSettings, signature
from checks.observation import Fact
from checks.settings import Secret
from tests.alerting.mails import (
    CASES,
    INSTANCE,
    NOW,
    PARIS,
    at,
    batch,
    phones,
    reception,
)
from tests.alerting.receiving import receiving, speaking

KEY = "0123456789abcdef-signing"


def told(case: str = "unregistered") -> Notification:
    return render(
        CASES[case],
        instance=INSTANCE,
        zone=PARIS,
        now=NOW,
        external_url="https://sipwatch.example.com",
        runbooks={"ExtensionUnregistered": "https://wiki.example.com/1"},
    )


def webhook(url: str, **more: Any) -> Webhook:
    return Webhook(WebhookSettings(url=Secret(url), **more), clock=lambda: NOW)


async def refusal(url: str, **more: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await webhook(url, **more).send(told())
    return caught.value


# --- what is sent -------------------------------------------------------------------


async def test_the_whole_notification_is_sent_as_json() -> None:
    async with receiving() as receiver:
        await webhook(f"{receiver.url}/hooks/1?a=b").send(told())
    (got,) = receiver.got
    body = json.loads(got.body)
    assert got.path == "/hooks/1"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Idempotency-Key"] == got.headers["webhook-id"] == "b1"
    assert "webhook-signature" not in got.headers
    (incident,) = body.pop("incidents")
    text = body.pop("text")
    assert text.startswith("1001 Reception is unregistered: calls to it now get 480")
    assert body == {
        "version": 1,
        "id": "b1",
        "thread": "b1",
        "instance": INSTANCE,
        "change": "firing",
        "sent_at": "2026-11-21T09:04:20.000Z",
        "subject": "[warning] 1001 Reception (Lyon) unregistered since 10:02 - hq",
        "labels": {
            "severity": "warning",
            "rule": "ExtensionUnregistered",
            "registrar": "hq",
        },
        "links": {"page": "https://sipwatch.example.com"},
        "count": 1,
    }
    assert incident.pop("evidence")[2] == {
        "at": "2026-11-21T09:02:14.000Z",
        "text": "end",
    }
    why = "its registration expired after the 60 s granted: the phone did not refresh"
    assert incident == {
        "id": 4711,
        "subject": "extension:hq/1001",
        "kind": "extension",
        "name": "1001",
        "title": "Reception",
        "role": "",
        "labels": {"registrar": "hq", "site": "Lyon"},
        "rule": "ExtensionUnregistered",
        "family": "liveness",
        "severity": "warning",
        "state": "unregistered",
        "firing": True,
        "since": "2026-11-21T09:02:14.000Z",
        "opened_at": "2026-11-21T09:04:14.000Z",
        "ended_at": None,
        "resolved_at": None,
        "closed": "",
        "cause": None,
        "loss": "expired",
        "summary": "1001 Reception is unregistered - hq",
        "why": f"{why} it",
        "next_step": "check power and network of the phone at 10.20.0.31",
        "detail": f"{why} it",
        "last_seen": "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75",
        "acknowledged_by": "",
        "acknowledged_at": None,
        "note": "",
        "part_of": None,
        "crowd": None,
        "links": {
            "page": "https://sipwatch.example.com",
            "runbook": "https://wiki.example.com/1",
        },
    }


async def test_an_incident_about_many_says_who_they_are() -> None:
    lost = tuple(Fact(at("10:02:14"), f"10{n:02}") for n in range(40))
    crowd = Crowd(31, 40, 30, through=("hq",), common="site Lyon", listed=lost)
    mass = replace(told(), incidents=(reception(crowd=crowd, part_of=7),))
    async with receiving() as receiver:
        await webhook(receiver.url).send(mass)
    (incident,) = json.loads(receiver.got[0].body)["incidents"]
    listed = incident["crowd"].pop("listed")
    assert listed[:1] == [{"at": "2026-11-21T09:02:14.000Z", "text": "1000"}]
    assert len(listed) == 20
    assert incident["crowd"] == {
        "lost": 31,
        "of": 40,
        "missing": 30,
        "through": ["hq"],
        "common": "site Lyon",
    }
    assert incident["part_of"] == 7


async def test_times_are_told_by_the_wall_clock() -> None:
    async with receiving() as receiver:
        await webhook(receiver.url).send(replace(told(), skew=3600.0))
    (incident,) = json.loads(receiver.got[0].body)["incidents"]
    assert incident["since"] == "2026-11-21T10:02:14.000Z"
    assert incident["resolved_at"] is None


@pytest.mark.parametrize("case", sorted(CASES))
async def test_every_story_has_a_shape(case: str) -> None:
    async with receiving() as receiver:
        await webhook(receiver.url).send(told(case))
    body = json.loads(receiver.got[0].body)
    assert body["count"] == len(body["incidents"])
    assert body["change"] in ("firing", "worse", "resolved")
    for incident in body["incidents"]:
        assert incident["summary"]
        assert incident["firing"] == bool(incident["next_step"])


async def test_a_mass_event_says_how_many_there_are_in_all() -> None:
    many = batch(*phones(INCIDENTS_LIMIT + 20))
    async with receiving() as receiver:
        await webhook(receiver.url).send(bare(many, INSTANCE))
    body = json.loads(receiver.got[0].body)
    assert (body["count"], len(body["incidents"])) == (INCIDENTS_LIMIT + 20, 500)


async def test_a_test_has_no_incident() -> None:
    async with receiving() as receiver:
        await webhook(receiver.url).send(
            trial(instance=INSTANCE, notifier="chat", zone=PARIS, now=NOW)
        )
    body = json.loads(receiver.got[0].body)
    assert (body["change"], body["count"], body["incidents"]) == ("test", 0, [])


async def test_own_headers_are_sent() -> None:
    async with receiving() as receiver:
        headers = {"Authorization": Secret("Bearer token"), "X-Team": Secret("voice")}
        await webhook(receiver.url, headers=headers).send(told())
    assert receiver.got[0].headers["Authorization"] == "Bearer token"
    assert receiver.got[0].headers["X-Team"] == "voice"


# --- the signature ------------------------------------------------------------------


def verified(headers: Any, body: bytes, key: bytes, now: float) -> bool:
    """What a receiver does, written from the specification alone."""
    id, sent = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(now - int(sent)) > 300:
        return False
    signed = f"{id}.{sent}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = headers["webhook-signature"].removeprefix("v1,").encode()
    return hmac.compare_digest(wanted, given)


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (KEY, KEY.encode()),
        ("whsec_" + base64.b64encode(b"k" * 24).decode(), b"k" * 24),
    ],
)
async def test_a_receiver_can_verify_who_sent_it(secret: str, key: bytes) -> None:
    async with receiving() as receiver:
        await webhook(receiver.url, secret=Secret(secret)).send(told())
    (got,) = receiver.got
    assert verified(got.headers, got.body, key, NOW + 10)
    assert not verified(got.headers, got.body + b" ", key, NOW)
    assert not verified(got.headers, got.body, b"another key", NOW)
    assert not verified(got.headers, got.body, key, NOW + 301)
    moved = dict(got.headers) | {"webhook-timestamp": str(int(NOW) + 200)}
    moved = {name.lower(): value for name, value in moved.items()}
    assert not verified(moved, got.body, key, NOW + 301)


def test_the_signature_is_that_of_the_specification() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert (
        signature(key, id, 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


async def test_a_retry_carries_the_same_id_and_a_time_of_its_own() -> None:
    times = iter([NOW, NOW + 40])
    async with receiving(web.Response(status=503)) as receiver:
        settings = WebhookSettings(url=Secret(receiver.url), secret=Secret(KEY))
        hook = Webhook(settings, clock=lambda: next(times))
        with pytest.raises(DeliveryError):
            await hook.send(told())
        await hook.send(told())
    first, second = (got.headers for got in receiver.got)
    assert first["webhook-id"] == second["webhook-id"] == "b1"
    sent = int(second["webhook-timestamp"]) - int(first["webhook-timestamp"])
    assert sent == 40
    assert first["webhook-signature"] != second["webhook-signature"]


# --- a body of one's own ------------------------------------------------------------

SLACK = '{"text": "*$subject*\\n$text", "color": "$color", "priority": ${level}}'


@pytest.mark.parametrize(
    ("case", "color", "level"),
    [
        ("unregistered", "#f9a825", 2),
        ("options-failing", "#d32f2f", 3),
        ("unregistered-resolved", "#2e7d32", 2),
        ("retransmits", "#1976d2", 1),
    ],
)
async def test_a_template_is_filled_with_escaped_values(
    case: str, color: str, level: int
) -> None:
    notification = told(case)
    async with receiving() as receiver:
        await webhook(receiver.url, template=SLACK).send(notification)
    assert json.loads(receiver.got[0].body) == {
        "text": f"*{notification.subject}*\n{notification.text}",
        "color": color,
        "priority": level,
    }


async def test_a_hostile_name_does_not_break_out_of_a_template() -> None:
    evil = replace(told(), subject='"}, "admin": true, {"x": "$text \\')
    async with receiving() as receiver:
        await webhook(receiver.url, template='{"text": "$subject"}').send(evil)
    assert json.loads(receiver.got[0].body) == {"text": evil.subject}


async def test_a_template_that_is_no_json_has_values_as_they_are() -> None:
    async with receiving() as receiver:
        await webhook(
            receiver.url,
            template="$change $$5 $subject",
            content_type="text/plain; charset=utf-8",
        ).send(replace(told(), subject='a "b"'))
    assert receiver.got[0].body == b'firing $5 a "b"'
    assert receiver.got[0].headers["Content-Type"] == "text/plain; charset=utf-8"


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (400, True),
        (401, True),
        (404, True),
        (410, True),
        (408, False),
        (425, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
    ],
)
async def test_a_refusal_is_for_good_or_not(status: int, permanent: bool) -> None:
    async with receiving(web.Response(status=status, text="no\r\n such\thook")) as peer:
        error = await refusal(peer.url)
    assert error.permanent is permanent
    assert f"says {status} " in str(error)
    assert str(error).endswith(": no such hook")


@pytest.mark.parametrize(
    ("status", "written", "wait"),
    [
        (429, "120", 120),
        (503, "7", 7),
        (429, "soon", 0),
        (429, "-5", 0),
        (429, "9" * 300, 0),
        (404, "120", 0),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 1e9),
        (429, "Fri, 31 Dec 1999 23:59:59 GMT", 0),
    ],
)
async def test_a_receiver_may_put_us_off(
    status: int, written: str, wait: float
) -> None:
    answer = web.Response(status=status, headers={"Retry-After": written})
    async with receiving(answer) as receiver:
        error = await refusal(receiver.url)
    assert error.retry_after == wait or error.retry_after > wait >= 1e9


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_an_acceptance(status: int) -> None:
    async with receiving(web.Response(status=status)) as receiver:
        await webhook(receiver.url).send(told())
    assert len(receiver.got) == 1


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    answer = web.Response(status=308, headers={"Location": "/hooks/1/"})
    async with receiving(answer) as receiver:
        await webhook(f"{receiver.url}/hooks/1", secret=Secret(KEY)).send(told())
    first, second = receiver.got
    assert (second.path, second.body) == ("/hooks/1/", first.body)


@pytest.mark.parametrize(
    ("status", "where", "said"),
    [
        (307, "http://evil.example.com/", "redirects to evil.example.com (307)"),
        (301, "/other", "redirects to 127.0.0.1 (301): write the final URL"),
        (302, "http://[", "redirects (302)"),
        (303, "", "redirects to 127.0.0.1 (303)"),
        (304, "/", "redirects to 127.0.0.1 (304)"),
    ],
)
async def test_a_redirect_elsewhere_is_not_followed(
    status: int, where: str, said: str
) -> None:
    answer = web.Response(status=status, headers={"Location": where})
    async with receiving(answer) as receiver:
        error = await refusal(receiver.url)
        assert len(receiver.got) == 1
    assert said in str(error)
    assert not error.permanent


async def test_a_redirect_in_a_circle_ends() -> None:
    circle = [web.Response(status=307, headers={"Location": "/a"}) for _ in range(9)]
    async with receiving(*circle) as receiver:
        error = await refusal(receiver.url)
        assert len(receiver.got) == 4
    assert str(error).endswith("redirects in a circle")


# --- hostile receivers --------------------------------------------------------------

HEAD = b"HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n"


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + b"\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with speaking(talk) as url:
        error = await refusal(url)
    assert len(str(error)) < 300
    assert "says 500 No: xxx" in str(error)
    assert sent < 20_000_000  # what the kernel's buffers hold


async def test_an_endless_body_after_acceptance_is_not_waited_for() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nx")
        await writer.drain()
        await reader.read()

    async with speaking(talk) as url:
        await webhook(url).send(told())


async def test_an_answer_that_drips_ends_with_the_time_out() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000):
            writer.write(b"X-%d: drip\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with speaking(talk) as url:
        error = await refusal(url, timeout=0.3)
    assert "no answer within 0.3 s" in str(error)


async def test_a_reason_that_drips_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alerting.notifiers.http.REASON_PATIENCE", 0.1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Gone\r\n\r\n")
        writer.write(b"no")
        await reader.read()

    async with speaking(talk) as url:
        error = await refusal(url)
    assert str(error).endswith("says 404 Gone: no")
    assert error.permanent


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000, "does not answer in HTTP"),
        (b"", "closes the connection without an answer"),
        (b"HTTP/1.1 200", "closes the connection without an answer"),
    ],
)
async def test_what_is_no_answer_is_none(answer: bytes, said: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with speaking(talk) as url:
        error = await refusal(f"{url}/T0P/S3CRET")
    assert str(error).endswith(said)
    assert not error.permanent
    assert "S3CRET" not in str(error)


async def test_a_receiver_that_repeats_our_secrets_does_not_get_them_into_the_log() -> (
    None
):
    async with receiving() as receiver:
        url = f"{receiver.url}/T0P/S3CRET"
        headers = {"Authorization": Secret("Bearer t0ken")}
        said = f"bad url {url} and Bearer t0ken and {KEY}"
        receiver.answers.append(web.Response(status=400, text=said))
        error = await refusal(url, headers=headers, secret=Secret(KEY))
    assert str(error).endswith("bad url *** and *** and ***")


async def test_nobody_there_is_told_without_the_path() -> None:
    error = await refusal("http://127.0.0.1:9/T0P/S3CRET")
    assert "127.0.0.1:9: " in str(error)
    assert "Connect" in str(error)
    assert "S3CRET" not in str(error)
    assert not error.permanent


async def test_an_unknown_certificate_is_refused_and_a_named_authority_trusted(
    tmp_path: Any,
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with receiving(ssl=context) as receiver:
        error = await refusal(receiver.url)
        assert "its certificate is refused" in str(error)
        await webhook(receiver.url, ca_file=str(tmp_path / "ca.pem")).send(told())
    assert len(receiver.got) == 1


async def test_a_proxy_is_asked_where_one_is_named() -> None:
    async with receiving(web.Response(status=407)) as proxy:
        error = await refusal(
            "http://chat.example.com/hooks/1", proxy=Secret(proxy.url)
        )
    assert str(error).startswith("chat.example.com:80 says 407")
    assert proxy.got[0].headers["Host"] == "chat.example.com"


# --- settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"url": "chat.example.com/S3CRET"}, "url: is not an http or https URL"),
        ({"url": "ftp://chat.example.com/S3CRET"}, "url: is not an http or https URL"),
        ({"url": "http://chat.example.com/a b"}, "url: is not an http or https URL"),
        ({"url": "http://[::1"}, "url: is not an http or https URL"),
        ({"timeout": 0.0}, "timeout: must be longer"),
        ({"proxy": "proxy:3128"}, "proxy: is not an http or https URL"),
        ({"headers": {"a b": "1"}}, "headers.a b: is no header field"),
        ({"headers": {"X": "1\r\nY: 2"}}, "headers.X: is no header field"),
        ({"headers": {"Host": "a"}}, "headers.Host: is set by sipwatch"),
        (
            {"url": "http://chat.example.com/", "headers": {"Authorization": "x"}},
            "headers.Authorization: would be sent in clear text",
        ),
        ({"content_type": "json"}, "content_type: is no media type"),
        ({"secret": "short"}, "secret: is shorter than 16 bytes"),
        ({"secret": "whsec_***"}, "secret: what follows whsec_ is not base64"),
        ({"template": '{"a": "$subjekt"}'}, "did you mean subject"),
        ({"template": '{"a": "$"}'}, "template: a lone"),
        ({"template": '{"a": $subject'}, "template: is not JSON"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    more: dict[str, Any], sentence: str
) -> None:
    secret = ("url", "proxy", "secret")
    values = {k: Secret(v) if k in secret else v for k, v in more.items()}
    if "headers" in values:
        values["headers"] = {k: Secret(v) for k, v in values["headers"].items()}
    with pytest.raises(ValueError, match=sentence) as caught:
        WebhookSettings(**{"url": Secret("https://chat.example.com/1")} | values)
    assert "S3CRET" not in str(caught.value)


def test_secrets_are_not_printed() -> None:
    settings = WebhookSettings(
        url=Secret("https://chat.example.com/S3CRET"),
        headers={"Authorization": Secret("S3CRET")},
        secret=Secret("S3CRET-S3CRET-S3CRET"),
    )
    assert "S3CRET" not in repr(settings)
