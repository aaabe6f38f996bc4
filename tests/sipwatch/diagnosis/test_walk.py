"""A whole ladder, over real sockets: what is found on each rung, and how it is told."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from alerting.notification.shape import iso
from checks.accounts.contact import OwnContact
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Around, Outcome, Trial
from checks.observation import Cause
from checks.settings import Secret
from checks.sip.message import Request
from checks.sip.resolver import Resolver
from checks.sip.uri import SipUri
from sipwatch.commands.diagnose import rung_lines, verdict_lines
from sipwatch.commands.terminal import WHOLE
from sipwatch.diagnosis.network import Quest
from sipwatch.diagnosis.rung import Rung, Verdict, climbed, rung_json, verdict_json
from sipwatch.diagnosis.walk import of_uri
from tests.checks.sip.nameserver import NameServer, serving
from tests.checks.sip.peer import Script, answering, respond
from tests.servers.loopback import Loopback

DOMAIN = "acme.sip.twilio.com"
CHALLENGE = 'Digest realm="sip.twilio.com", nonce="n1", qop="auth", algorithm=MD5'


def silent(request: Request, number: int) -> Sequence[bytes]:
    """What a firewall that drops lets through."""
    return []


def twilio(request: Request, number: int) -> Sequence[bytes]:
    """OPTIONS are answered, no credentials are right."""
    if request.method == "REGISTER":
        return [respond(request, 401, "Unauthorized", www_authenticate=CHALLENGE)]
    return [respond(request, 200, "OK")]


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """Who certifies, and the file that names it."""
    ca, file = trustme.CA(), str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(file)
    return ca, file


class Site:
    """Hosts of one name, each with the ways that it has open."""

    def __init__(self, stack: AsyncExitStack, ca: trustme.CA, name: str) -> None:
        self._stack = stack
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(self._tls)
        self.names: NameServer

    async def known(self, zone: dict[str, dict[str, list[str]]]) -> None:
        """A name server that knows these."""
        self.names = await self._stack.enter_async_context(serving(zone))

    async def open(self, ip: str, **ways: Script) -> None:
        """One host."""
        for transport, script in ways.items():
            port = 5061 if transport == "tls" else 5060
            tls = self._tls if transport == "tls" else None
            way = answering(script, transport, ip=ip, port=port, tls=tls)
            await self._stack.enter_async_context(way)

    @property
    def resolver(self) -> Resolver:
        return Resolver(["127.0.0.1"], self.names.port)


def register(resolver: Resolver) -> object:
    async def tried(settings: AccountSettings) -> Outcome:
        own = OwnContact.of("watcher.example.com", "line1")
        around = Around(clock=time.time, agent="sipwatch", resolver=resolver)
        return await Trial(settings, own, around).run()

    return tried


async def walked(quest: Quest) -> tuple[list[Rung], Verdict]:
    """All rungs, and the verdict."""
    rungs: list[Rung] = []
    verdict = await of_uri(quest, rungs.append)
    return rungs, verdict


def page(rungs: list[Rung], verdict: Verdict, width: int) -> str:
    """As a terminal shows it, with what differs each time made the same."""
    lines = [line for r in rungs for line in rung_lines(rung_json(r), width)]
    lines += verdict_lines(verdict_json(verdict, iso), width)
    text = "\n".join(lines)
    text = re.sub(r" +\d+( \d{3})*(\.\d)? ms$", " T", text, flags=re.MULTILINE)
    return re.sub(r"\d+ days", "D days", text)


async def test_twilio_behind_a_firewall_with_a_wrong_password(
    loopback: Loopback, authority: tuple[trustme.CA, str]
) -> None:
    (ca, file), ips = authority, sorted(loopback.address() for _ in range(2))
    async with AsyncExitStack() as stack:
        site = Site(stack, ca, "*.sip.twilio.com")
        await site.known({DOMAIN: {"A": ips}})
        for ip in ips:
            await site.open(ip, udp=silent, tcp=twilio, tls=twilio)
        account = AccountSettings(
            registrar=f"sip:{DOMAIN}", username="line1", password=Secret("x"), ca=file
        )
        quest = Quest(
            uri=SipUri.parse(f"sip:{DOMAIN}"),
            agent="sipwatch",
            account=account,
            register=register(site.resolver),  # type: ignore[arg-type]
            who="line1",
            timeout=2.0,
            ca=file,
            resolver=site.resolver,
        )
        rungs, verdict = await walked(quest)
    assert (
        page(rungs, verdict, 80)
        == f"""\
✓ name         {DOMAIN} is a Twilio SIP Domain
✓ DNS          no NAPTR, no SRV; A {" ".join(ips)} T
✗ UDP 5060     nothing from 2 of 2 (3 sends each) T
✓ TCP 5060     connects to 2 of 2 T
✓ TLS 5061     TLS 1.3, certificate *.sip.twilio.com, D days T
✓ OPTIONS      200 OK from 2 of 2 over TLS T
✗ REGISTER     401 after a correct digest (realm sip.twilio.com, MD5) T

UDP 5060 is blocked on the way out, and the credentials of line1 are refused.
  1. Let UDP 5060 out, or write transport=tls, which works.
  2. Check that line1 is in a credential list that is mapped to the domain's
     registration, and its password (case counts)."""
    )
    assert (verdict.cause, verdict.status) == (Cause.TRANSPORT_BLOCKED, 1)


async def test_one_of_several_addresses_that_is_silent_is_named(
    loopback: Loopback, authority: tuple[trustme.CA, str]
) -> None:
    (ca, _), ips = authority, sorted(loopback.address() for _ in range(2))
    async with AsyncExitStack() as stack:
        site = Site(stack, ca, "pbx.example.com")
        await site.known({"pbx.example.com": {"A": ips}})
        await site.open(ips[0], udp=twilio)
        await site.open(ips[1], udp=silent)
        uri = SipUri.parse("sip:pbx.example.com")
        quest = Quest(uri=uri, agent="x", timeout=1.0, resolver=site.resolver)
        rungs, verdict = await walked(quest)
    (udp,) = (r for r in rungs if r.what == "UDP 5060")
    assert (udp.ok, udp.text) == (
        False,
        f"nothing from 1 of 2 (2 sends each); {ips[1]}:5060",
    )
    assert verdict.sentence == f"{ips[1]}:5060 does not answer over UDP"
    assert (verdict.ok, verdict.status) == (False, 1)


async def test_a_certificate_for_another_name_is_what_is_wrong(
    loopback: Loopback, authority: tuple[trustme.CA, str]
) -> None:
    (ca, file), ip = authority, loopback.address()
    async with AsyncExitStack() as stack:
        site = Site(stack, ca, "other.example.com")
        await site.known({"pbx.example.com": {"A": [ip]}})
        await site.open(ip, udp=twilio, tls=twilio)
        uri = SipUri.parse("sip:pbx.example.com;transport=tls")
        quest = Quest(uri=uri, agent="x", timeout=2.0, ca=file, resolver=site.resolver)
        _, verdict = await walked(quest)
    assert verdict.cause is Cause.TLS_VERIFY
    assert verdict.sentence.startswith(
        "TLS 5061 shows a certificate that is not valid for it"
    )
    assert "other.example.com, not for pbx.example.com" in verdict.sentence
    assert verdict.steps == (
        "have the certificate issued for pbx.example.com by a CA that is trusted here, "
        "or name its own CA (--ca-file, or tls.ca)",
    )


async def test_a_certificate_is_what_is_wrong_where_nothing_else_is_open(
    loopback: Loopback, authority: tuple[trustme.CA, str]
) -> None:
    (ca, file), ip = authority, loopback.address()
    async with AsyncExitStack() as stack:
        site = Site(stack, ca, "other.example.com")
        await site.known({"pbx.example.com": {"A": [ip]}})
        await site.open(ip, tls=twilio)
        uri = SipUri.parse("sip:pbx.example.com;transport=tls")
        quest = Quest(uri=uri, agent="x", timeout=2.0, ca=file, resolver=site.resolver)
        _, verdict = await walked(quest)
    assert (verdict.cause, verdict.status) == (Cause.TLS_VERIFY, 2)
    assert "start the SIP service" not in " ".join(verdict.steps)


@pytest.mark.parametrize("user", ["", "1001@"])
async def test_who_takes_a_connection_and_answers_nothing_is_not_well(
    loopback: Loopback, user: str
) -> None:
    ip = loopback.address()
    async with answering(silent, "tcp", ip=ip, port=5060):
        uri = SipUri.parse(f"sip:{user}{ip};transport=tcp")
        _, verdict = await walked(Quest(uri=uri, agent="x", timeout=0.5))
    assert verdict.sentence == f"{ip} takes connections on TCP 5060, but answers no SIP"
    assert (verdict.cause, verdict.status) == (Cause.TIMEOUT, 2)


async def test_a_phone_that_is_gone_is_told_from_a_host_that_is_over_tcp_too(
    loopback: Loopback,
) -> None:
    def proxy(request: Request, number: int) -> Sequence[bytes]:
        there = request.sip_uri.user is None
        return [respond(request, 200, "OK")] if there else []

    ip = loopback.address()
    async with answering(proxy, "tcp", ip=ip, port=5060):
        uri = SipUri.parse(f"sip:204@{ip};transport=tcp")
        _, verdict = await walked(Quest(uri=uri, agent="x", timeout=2.0))
    assert verdict.cause is Cause.STALE_BINDING


@pytest.mark.parametrize(
    ("codes", "cause"), [(None, Cause.NOT_FOUND), (frozenset({404}), None)]
)
async def test_a_404_for_a_user_is_no_success_unless_a_target_takes_it_for_one(
    loopback: Loopback, codes: frozenset[int] | None, cause: Cause | None
) -> None:
    def unknown(request: Request, number: int) -> Sequence[bytes]:
        return [respond(request, 404, "Not Found")]

    ip = loopback.address()
    async with answering(unknown, "udp", ip=ip, port=5060):
        uri = SipUri.parse(f"sip:204@{ip}")
        quest = Quest(uri=uri, agent="x", timeout=2.0, healthy_codes=codes)
        _, verdict = await walked(quest)
    assert (verdict.cause, verdict.ok) == (cause, cause is None)


async def test_twilio_is_asked_once_though_a_user_is_named(
    authority: tuple[trustme.CA, str], loopback: Loopback
) -> None:
    asked: list[str] = []

    def counting(request: Request, number: int) -> Sequence[bytes]:
        asked.append(request.method)
        return twilio(request, number)

    ip = loopback.address()
    async with AsyncExitStack() as stack:
        site = Site(stack, authority[0], "*.sip.twilio.com")
        await site.known({DOMAIN: {"A": [ip]}})
        await site.open(ip, udp=counting)
        uri = SipUri.parse(f"sip:line1@{DOMAIN}")
        quest = Quest(uri=uri, agent="x", timeout=2.0, resolver=site.resolver)
        _, verdict = await walked(quest)
    assert (asked, verdict.ok) == (["OPTIONS"], True)


async def test_who_must_not_be_asked_twice_is_asked_over_the_way_that_is_meant(
    authority: tuple[trustme.CA, str], loopback: Loopback
) -> None:
    """And only once its time has come, which the sweep then waits for."""
    asked: list[str] = []
    claimed: list[list[str]] = []

    def counting(request: Request, number: int) -> Sequence[bytes]:
        asked.append(request.via.transport)
        return twilio(request, number)

    def claim(ips: list[str]) -> float:
        claimed.append(ips)
        return 1.2

    ip = loopback.address()
    async with AsyncExitStack() as stack:
        site = Site(stack, authority[0], "*.sip.twilio.com")
        await site.known({DOMAIN: {"A": [ip]}})
        await site.open(ip, udp=counting, tcp=counting)
        uri = SipUri.parse(f"sip:{DOMAIN};transport=tcp")
        quest = Quest(
            uri=uri, agent="x", timeout=2.0, resolver=site.resolver, claim=claim
        )
        rungs, verdict = await walked(quest)
    assert (asked, claimed, verdict.ok) == (["TCP"], [[ip]], True)
    assert [r.what for r in rungs if r.what in ("pause", "UDP 5060")] == ["pause"]
    (pause,) = [r for r in rungs if r.what == "pause"]
    assert pause.text == "asked a moment ago: it is left alone for 1 s more"


@pytest.mark.parametrize(
    ("zone", "sentence", "step"),
    [
        ({}, "pbx.example.com does not exist in the DNS", "check the spelling of"),
        (
            {"pbx.example.com": {"AAAA": []}},
            "pbx.example.com has neither an A nor an AAAA record",
            "check the spelling of",
        ),
    ],
)
async def test_a_name_that_leads_nowhere_ends_the_ladder(
    authority: tuple[trustme.CA, str],
    zone: dict[str, dict[str, list[str]]],
    sentence: str,
    step: str,
) -> None:
    async with AsyncExitStack() as stack:
        site = Site(stack, authority[0], "pbx.example.com")
        await site.known(zone)
        uri = SipUri.parse("sip:pbx.example.com")
        rungs, verdict = await walked(Quest(uri=uri, agent="x", resolver=site.resolver))
    assert [r.what for r in rungs] == ["name", "DNS"]
    assert verdict.sentence == sentence
    assert verdict.steps[0].startswith(step)
    assert verdict.status == 2


async def test_a_480_is_explained_by_who_has_sent_it(loopback: Loopback) -> None:
    def proxy(request: Request, number: int) -> Sequence[bytes]:
        if request.sip_uri.user is None:
            return [respond(request, 200, "OK")]
        said = respond(request, 480, "Temporarily Unavailable", server="kamailio (5.6)")
        reason = b'Reason: Q.850;cause=20;text="subscriber absent"\r\n'
        return [said.replace(b"Server:", reason + b"Server:")]

    ip = loopback.address()
    async with answering(proxy, "udp", ip=ip, port=5060):
        uri = SipUri.parse(f"sip:204@{ip}")
        rungs, verdict = await walked(Quest(uri=uri, agent="x", timeout=2.0))
    assert [(r.what, r.ok) for r in rungs] == [
        ("UDP 5060", True),
        ("TCP 5060", None),
        ("TLS 5061", None),
        ("OPTIONS", False),
    ]
    assert verdict.cause is Cause.UNREGISTERED
    assert verdict.sentence == (
        f"204 is not registered: {ip} says so (480 Temporarily Unavailable (Q.850 "
        "cause 20 subscriber absent))"
    )
    texts = [fact.text for fact in verdict.evidence]
    assert texts[1] == "Reason: Q.850 cause 20, subscriber absent"


async def test_what_answers_badly_does_not_break_the_page(loopback: Loopback) -> None:
    def hostile(request: Request, number: int) -> Sequence[bytes]:
        fields = {
            "server": "\x1b[2J" + "x" * 900,
            "warning": '399 a "' + "y" * 900 + '"',
        }
        return [respond(request, 480, "\x07" + "z" * 900, **fields)]

    ip = loopback.address()
    async with answering(hostile, "udp", ip=ip, port=5060):
        uri = SipUri.parse(f"sip:204@{ip}")
        rungs, verdict = await walked(Quest(uri=uri, agent="x", timeout=2.0))
    text = page(rungs, verdict, 80)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text) < 3000


# --- rungs ----------------------------------------------------------------------------


async def test_rungs_are_told_in_their_order_and_nothing_for_what_is_left_out() -> None:
    async def found(what: str) -> Rung | None:
        return None if what == "b" else Rung(what, True, "")

    told: list[Rung] = []
    several: list[Awaitable[Rung | None]] = [found(what) for what in "abc"]
    assert await climbed(several, told.append) == told
    assert [rung.what for rung in told] == ["a", "c"]


@pytest.mark.parametrize(
    ("ok", "reached", "status"), [(True, True, 0), (False, True, 1), (False, False, 2)]
)
def test_the_status_says_how_bad_it_is(ok: bool, reached: bool, status: int) -> None:
    verdict = Verdict(subject="x", ok=ok, reached=reached, sentence="")
    assert verdict.status == status


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5.0, "5 000 ms"), (0.012, "12 ms"), (0.0004, "0.4 ms"), (12.3456, "12 346 ms")],
)
def test_a_time_stands_at_the_end_of_its_line(seconds: float, shown: str) -> None:
    rung = rung_json(Rung("DNS", True, "found", seconds))
    (line,) = rung_lines(rung, 80)
    assert line == f"✓ DNS          found{shown:>60}"


def test_a_line_for_a_ticket_or_a_program_stays_whole() -> None:
    rung = rung_json(Rung("bindings", True, "word " * 30, 0.5))
    (line,) = rung_lines(rung, WHOLE)
    assert line == f"✓ bindings     {'word ' * 30} 500 ms"
    (wide,) = rung_lines(rung_json(Rung("DNS", True, "found", 0.5)), 240)
    assert wide == f"✓ DNS          found{'500 ms':>80}"


def test_a_long_line_is_folded_and_its_time_still_shown() -> None:
    rung = rung_json(Rung("bindings", True, "word " * 30, 0.5))
    lines = list(rung_lines(rung, 80))
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith(" 500 ms")
