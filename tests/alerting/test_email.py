"""Mail over real SMTP: who has it, who is asked again, what gives up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from alerting.incident import DeliveryError, Notification, Told
from alerting.notification.render import render
from alerting.notifiers.email import Email, EmailSettings, SmtpSettings
from alerting.outbox import send_test
from checks.settings import Secret

from .mails import CASES, INSTANCE, NOW, PARIS, at
from .smtp import Mailbox, serving

A, B, C = "a@example.com", "b@example.com", "c@example.com"


def mail(id: str = "b1", thread: str = "b1", **more: Any) -> Notification:
    known = render(CASES["unregistered"], instance=INSTANCE, zone=PARIS, now=NOW)
    return replace(known, id=id, thread=thread, **more)


def notifier(port: int, *to: str, **more: Any) -> Email:
    smtp: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "hello": "h.example.com",
    }
    smtp |= more
    settings = EmailSettings(
        to=to or (A,),
        from_="sipwatch <sipwatch@example.com>",
        smtp=SmtpSettings(**smtp),
    )
    return Email(settings, clock=lambda: at("10:04:20"))


async def failure(sender: Email, what: Notification | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sender.send(what or mail())
    return caught.value


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA) -> Iterator[str]:
    with ca.cert_pem.tempfile() as path:
        yield path


async def test_a_mail_arrives_whole() -> None:
    box = Mailbox()
    async with serving(box) as port:
        await notifier(port, f"On Call <{A}>", B).send(mail())
    [(to, message)] = box.taken
    assert to == [A, B]
    assert dict(message.items()) == {
        "Subject": "[warning] 1001 Reception (Lyon) unregistered since 10:02 - hq",
        "From": "sipwatch <sipwatch@example.com>",
        "To": f"On Call <{A}>, {B}",
        "Date": "Sat, 21 Nov 2026 09:04:20 +0000",
        "Message-ID": "<b1@watcher.example.com>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-Sipwatch-Incidents": "4711",
        "X-Sipwatch-Change": "firing",
        "X-Sipwatch-Severity": "warning",
        "X-Sipwatch-Rule": "ExtensionUnregistered",
        "X-Sipwatch-Registrar": "hq",
        "MIME-Version": "1.0",
        "Content-Type": message["Content-Type"],
    }
    sent = mail()
    plain, html = message.iter_parts()
    assert plain.get_content().replace("\r\n", "\n") == sent.text
    assert html.get_content().replace("\r\n", "\n") == sent.html
    assert (plain.get_content_type(), html.get_content_type()) == (
        "text/plain",
        "text/html",
    )


async def test_a_later_mail_answers_the_first_of_its_thread() -> None:
    box = Mailbox()
    async with serving(box) as port:
        sender = notifier(port)
        await sender.send(mail())
        await sender.send(mail("b2", "b1", change=Told.RESOLVED))
    first, later = (message for _, message in box.taken)
    assert "In-Reply-To" not in first
    assert later["In-Reply-To"] == later["References"] == first["Message-ID"]
    assert later["Message-ID"] == "<b2@watcher.example.com>"


async def test_hostile_ids_labels_and_subjects_stay_in_their_header() -> None:
    box = Mailbox()
    evil = "x\r\nBcc: victim@example.com\r\n\r\nbody"
    labels = {"rule": evil, "Bad Name": "x", "severity": "wärning"}
    what = mail(evil, evil, instance=evil, subject=evil, labels=labels, text="\ud800")
    long = mail("b" * 60, "t" * 60, instance="h" * 60 + ".example.com")
    async with serving(box) as port:
        await notifier(port).send(what)
        await notifier(port).send(long)
    [(_, message), (_, longer)] = box.taken
    assert "Bcc" not in message
    assert "victim@example.com" in message["Subject"]
    assert message["Message-ID"].count("@") == 1
    assert longer["Message-ID"] == f"<{'b' * 60}@{'h' * 60}.example.com>"
    assert longer["References"] == f"<{'t' * 60}@{'h' * 60}.example.com>"


async def test_a_trial_mail_is_sent_and_returned() -> None:
    box = Mailbox()
    async with serving(box) as port:
        sent = await send_test(
            notifier(port), "oncall", instance=INSTANCE, zone=PARIS, now=NOW
        )
    [(_, message)] = box.taken
    assert message["Subject"] == sent.subject
    assert "X-Sipwatch-Incidents" not in message


async def test_starttls_and_a_login_come_before_the_mail(
    server_tls: ssl.SSLContext, ca_file: str
) -> None:
    box = Mailbox()
    options = {"tls_context": server_tls, "require_starttls": True}
    login = {"authenticator": box.login, "auth_required": True}
    async with serving(box, **options, **login) as port:
        sender = notifier(
            port,
            tls="starttls",
            ca_file=ca_file,
            username="sipwatch",
            password=Secret("s3cret"),
        )
        await sender.send(mail())
    assert box.ciphers == [True]
    assert box.logins == [b"s3cret"]


async def test_tls_from_the_first_byte(
    server_tls: ssl.SSLContext, ca_file: str
) -> None:
    box = Mailbox()
    async with serving(box, tls=server_tls) as port:
        await notifier(port, tls="tls", ca_file=ca_file).send(mail())
    assert len(box.taken) == 1


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_an_untrusted_certificate_stops_the_mail_unless_not_verified(
    server_tls: ssl.SSLContext, tls: str
) -> None:
    box = Mailbox()
    how = {"tls": server_tls} if tls == "tls" else {"tls_context": server_tls}
    async with serving(box, **how) as port:  # type: ignore[arg-type]
        error = await failure(notifier(port, tls=tls))
        await notifier(port, tls=tls, verify=False).send(mail())
    assert not error.permanent
    assert "certificate verify failed" in str(error).lower()
    assert len(box.taken) == 1


async def test_a_missing_ca_file_is_a_transient_failure_that_names_it() -> None:
    error = await failure(notifier(9, tls="tls", ca_file="/nowhere/ca.pem"))
    assert not error.permanent
    assert "No such file" in str(error)


async def test_a_server_without_starttls_never_gets_the_mail() -> None:
    box = Mailbox()
    async with serving(box) as port:
        error = await failure(notifier(port, tls="starttls"))
    assert error.permanent
    assert "STARTTLS" in str(error)
    assert box.seen == []


async def test_a_wrong_password_is_permanent_and_stays_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    box = Mailbox()
    login = {"authenticator": box.login, "auth_require_tls": False}
    async with serving(box, **login) as port:
        sender = notifier(port, username="sipwatch", password=Secret("hunter2"))
        error = await failure(sender)
    assert error.permanent
    assert "says 535" in str(error)
    assert "hunter2" not in str(error) + caplog.text + repr(sender._settings)


async def test_a_server_without_logins_is_permanent() -> None:
    async with serving(Mailbox()) as port:
        error = await failure(
            notifier(port, username="sipwatch", password=Secret("s3cret"))
        )
    assert error.permanent
    assert "AUTH" in str(error)


async def test_greylisted_recipients_alone_are_asked_again() -> None:
    box = Mailbox(rcpt={B: ["450 4.2.0 greylisted", "451 4.2.0 still"]})
    async with serving(box) as port:
        sender = notifier(port, A, B)
        first = await failure(sender)
        second = await failure(sender)
        await sender.send(mail())
    assert not first.permanent
    assert str(first) == f"1 of 2 recipients have it; {B}: 450 4.2.0 greylisted"
    assert "451 4.2.0 still" in str(second)
    assert [to for to, _ in box.taken] == [[A], [B]]
    assert len({message["Message-ID"] for _, message in box.taken}) == 1
    assert sender._progress == {}


async def test_all_greylisted_is_transient() -> None:
    box = Mailbox(rcpt={A: ["450 later"]})
    async with serving(box) as port:
        sender = notifier(port)
        error = await failure(sender)
        await sender.send(mail())
    assert not error.permanent
    assert [to for to, _ in box.taken] == [[A]]


async def test_one_refused_for_good_does_not_hold_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box = Mailbox(rcpt={B: ["550 5.1.1 no such user"] * 2})
    async with serving(box) as port:
        sender = notifier(port, A, B)
        await sender.send(mail())
        assert sender.complaint == f"{B} is refused: 550 5.1.1 no such user"
        await sender.send(mail("b2"))
        assert caplog.text.count("is refused for good") == 1
        await sender.send(mail("b3"))
    assert sender.complaint == ""
    assert [to for to, _ in box.taken] == [[A], [A], [A, B]]


async def test_all_refused_for_good_is_permanent() -> None:
    box = Mailbox(rcpt={A: ["550 no"], B: ["553 never"]})
    async with serving(box) as port:
        error = await failure(notifier(port, A, B))
    assert error.permanent
    assert str(error) == f"{A}: 550 no; {B}: 553 never"


async def test_refused_and_greylisted_then_refused_is_permanent_in_the_end() -> None:
    box = Mailbox(rcpt={A: ["550 no"], B: ["450 later", "550 no"]})
    async with serving(box) as port:
        sender = notifier(port, A, B)
        first, second = await failure(sender), await failure(sender)
    assert (first.permanent, second.permanent) == (False, True)
    assert box.asked == [A, B, B]


@pytest.mark.parametrize(
    ("stage", "reply", "permanent"),
    [
        ("mail", "550 sender unknown", True),
        ("mail", "451 try later", False),
        ("data", "554 looks like spam", True),
        ("data", "452 disk full", False),
    ],
)
async def test_a_refused_sender_or_message_is_as_lasting_as_its_code(
    stage: str, reply: str, permanent: bool
) -> None:
    box = Mailbox(**{stage: [reply]})  # type: ignore[arg-type]
    async with serving(box) as port:
        error = await failure(notifier(port, A, B))
    assert error.permanent is permanent
    assert reply in str(error)


async def test_a_connection_lost_after_the_text_is_repeated_under_the_same_id() -> None:
    box = Mailbox(data=["drop"])
    async with serving(box) as port:
        sender = notifier(port)
        error = await failure(sender)
        await sender.send(mail())
    assert not error.permanent
    assert box.seen == ["<b1@watcher.example.com>"] * 2
    assert len(box.taken) == 1


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    box = Mailbox(data=["stall"])
    async with serving(box) as port:
        error = await failure(notifier(port, timeout=0.3))
    assert not error.permanent
    assert "0.3 s" in str(error) or "timed out" in str(error).lower()


async def test_a_refused_connection_is_transient_and_names_the_server() -> None:
    async with serving(Mailbox()) as port:
        pass
    error = await failure(notifier(port))
    assert not error.permanent
    assert f"mail server 127.0.0.1:{port}" in str(error)


async def test_a_failed_goodbye_changes_nothing() -> None:
    box = Mailbox()

    async def hang_up(reader: asyncio.StreamReader, writer: Any) -> None:
        for reply in ("220 hi", "250 h", "250 ok", "250 ok", "354 go", "250 taken"):
            writer.write(f"{reply}\r\n".encode())
            end = b"\r\n.\r\n" if reply.startswith("354") else b"\r\n"
            box.asked.append((await reader.readuntil(end)).decode())
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        await notifier(server.sockets[0].getsockname()[1]).send(mail())
    assert box.asked[-1] == "QUIT\r\n"


async def test_half_accepted_batches_are_remembered_up_to_a_bound() -> None:
    box = Mailbox(rcpt={A: ["450 later"] * 100})
    async with serving(box) as port:
        sender = notifier(port)
        for n in range(70):
            await failure(sender, mail(f"b{n}"))
    assert len(sender._progress) == 64
    assert "b69" in sender._progress


async def test_addresses_beyond_ascii_go_where_they_are_understood() -> None:
    box = Mailbox()
    async with serving(box) as port:
        await notifier(port, "jörg@exämple.com", A).send(mail())
    [(to, message)] = box.taken
    assert to == ["jörg@xn--exmple-cua.com", A]
    assert str(message["To"]) == f"jörg@xn--exmple-cua.com, {A}"


async def test_a_server_without_smtputf8_serves_the_others() -> None:
    box = Mailbox()
    async with serving(box, enable_SMTPUTF8=False) as port:
        sender = notifier(port, "jörg@example.com", A)
        await sender.send(mail())
        only = await failure(notifier(port, "jörg@example.com"))
    assert [to for to, _ in box.taken] == [[A]]
    assert "SMTPUTF8" in sender.complaint
    assert only.permanent


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"to": ()}, "to: is a list of addresses"),
        ({"to": "a@example.com"}, "to: is a list of addresses"),
        ({"to": ("oncall",)}, "'oncall' is not an e-mail address"),
        ({"to": ("a@b@c",)}, "is not an e-mail address"),
        ({"to": ("a@example.com\r\nBcc: x@y",)}, "is not an e-mail address"),
        ({"to": ("a b@example.com",)}, "is not an e-mail address"),
        ({"to": ("a@" + "x" * 300,)}, "is not an e-mail address"),
        ({"from_": "<>"}, "is not an e-mail address"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    change: dict[str, Any], sentence: str
) -> None:
    right = {"to": (A,), "from_": B, "smtp": SmtpSettings("mail.example.com")}
    with pytest.raises(ValueError, match=sentence):
        EmailSettings(**(right | change))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tls": "ssl"}, "tls: ssl is none of none, starttls, tls"),
        ({"port": 70000}, "port: 70000 is no port"),
        ({"timeout": 0}, "timeout: must be longer than 0s"),
        ({"username": "u"}, "username and password go together"),
        ({"password": Secret("p")}, "username and password go together"),
        (
            {"tls": "none", "username": "u", "password": Secret("p")},
            "would send the password in clear text",
        ),
    ],
)
def test_a_wrong_server_is_refused_with_a_sentence(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        SmtpSettings(**({"host": "mail.example.com"} | change))


@pytest.mark.parametrize(
    ("tls", "port"), [("none", 25), ("starttls", 587), ("tls", 465)]
)
def test_the_port_follows_the_kind_of_tls(tls: Any, port: int) -> None:
    assert SmtpSettings("mail.example.com", tls=tls).actual_port == port
    assert SmtpSettings("mail.example.com", tls=tls, port=2525).actual_port == 2525


def test_a_ca_file_is_not_read_before_it_is_needed(tmp_path: Path) -> None:
    notifier(25, tls="tls", ca_file=str(tmp_path / "later.pem"))
