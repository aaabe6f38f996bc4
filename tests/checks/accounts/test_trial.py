"""One test of an account, from the request on the wire to the verdict."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from checks.accounts.contact import OwnContact
from checks.accounts.exchange import Exchange
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Intent
from checks.observation import Cause, State
from checks.settings import Secret
from checks.sip.digest import ALGORITHMS
from checks.sip.message import Request
from tests.checks.accounts.registrar import (
    OWN,
    PHONE,
    Kept,
    Registrar,
    account,
    serving,
    tried,
)
from tests.checks.sip.peer import respond

LEFT = f"sip:{OWN.user}@127.0.0.1:4444"  # a contact of ours of before
ELSEWHERE = f"sip:{OwnContact.of('other.example.com', 'line1').user}@10.0.0.9:4444"


def registers(registrar: Registrar) -> list[Request]:
    """The REGISTERs that carried a digest."""
    names = ("Authorization", "Proxy-Authorization")
    return [r for r in registrar.seen if any(name in r.headers for name in names)]


# --- query ----------------------------------------------------------------------------


async def test_a_query_carries_no_contact_and_changes_nothing() -> None:
    registrar = Registrar({PHONE: 42})
    async with serving(registrar) as peer:
        done = await tried(account(peer))

    assert (done.outcome.state, done.outcome.cause) == (State.OK, None)
    assert done.outcome.sentence == (
        "127.0.0.1 accepts line1 and holds 1 binding of line1@127.0.0.1"
    )
    assert [(b.contact, b.received) for b in done.outcome.bindings] == [
        (PHONE, "10.0.0.31:5060")
    ]
    assert all("Contact" not in r.headers for r in registrar.seen)
    assert all("Expires" not in r.headers for r in registrar.seen)
    assert registrar.contacts == {PHONE: 42}
    assert done.intents.history == []


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "SHA-256-sess", "MD5-sess"])
@pytest.mark.parametrize("status", [401, 407])
async def test_every_digest_of_registrar_and_proxy_is_answered(
    algorithm: str, status: int
) -> None:
    registrar = Registrar(algorithm=algorithm, status=status)
    async with serving(registrar) as peer:
        done = await tried(account(peer))
    assert done.outcome.state is State.OK
    assert done.steps[-1].text == "200 OK after a digest"


async def test_the_nonce_that_the_server_names_is_used_next() -> None:
    registrar = Registrar(next_nonce="n2")
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.state is State.OK
    assert len(registrar.seen) == 4  # one challenge for three REGISTERs
    used = [
        (r.get("Authorization") or "").split('nonce="')[1][:2]
        for r in registers(registrar)
    ]
    assert used == ["n1", "n2", "n2"]


async def test_user_domain_and_from_are_as_configured() -> None:
    registrar = Registrar()
    async with serving(registrar) as peer:
        more = {
            "domain": "example.com",
            "auth_username": "auth1",
            "from_": "Line <sip:line1@example.com>",
            "user_agent": "Phone 1",
        }
        done = await tried(account(peer, **more))
    request = registers(registrar)[0]
    assert done.outcome.state is State.OK
    assert request.uri == "sip:example.com"
    assert request.to.uri == "sip:line1@example.com"
    assert request.from_.display == "Line"
    assert request.get("User-Agent") == "Phone 1"
    assert 'username="auth1"' in (request.get("Authorization") or "")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_all_of_a_test_is_one_call_id_over_one_way(transport: str) -> None:
    registrar = Registrar()
    async with serving(registrar, transport) as peer:
        done = await tried(account(peer, "bind"))
        connections = peer.connections
    assert done.outcome.state is State.OK
    assert len({r.call_id for r in registrar.seen}) == 1
    numbers = [r.cseq.number for r in registrar.seen]
    assert numbers == sorted(set(numbers))
    assert connections == (0 if transport == "udp" else 1)


async def test_over_tls_the_certificate_is_checked_and_its_end_known(
    tmp_path: Path,
) -> None:
    authority, registrar = trustme.CA(), Registrar()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(registrar, "tls", tls) as peer:
        trusted = account(peer, "bind", ca=str(tmp_path / "ca.pem"))
        done = await tried(trusted)
        distrusted = await tried(account(peer), thorough=False)
    assert done.outcome.state is State.OK
    assert (done.outcome.not_after or 0) > done.outcome.at
    bound = registers(registrar)[1].contacts[0].sip
    assert bound.params["transport"] == "tls"
    assert distrusted.outcome.cause is Cause.TLS_VERIFY


# --- bind -----------------------------------------------------------------------------


async def test_a_contact_is_registered_and_removed_by_name() -> None:
    registrar = Registrar()
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))

    assert (done.outcome.state, done.outcome.cause) == (State.OK, None)
    assert registrar.contacts == {}
    asked, bound, removed = registers(registrar)
    assert asked.contacts == ()
    (ours,), (gone,) = bound.contacts, removed.contacts
    assert OWN.owns(ours)
    assert ours.params["+sip.instance"] == f"<{OWN.instance}>"
    assert (ours.params["reg-id"], ours.params["expires"]) == ("1", "60")
    assert (gone.uri, gone.params["expires"]) == (ours.uri, "0")
    assert all(r.get("Contact") != "*" for r in registrar.seen)
    assert done.intents.history == ["keep", "drop"]


async def test_an_answer_without_contacts_is_taken_as_it_is() -> None:
    async with serving(Registrar(silent_list=True)) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.state is State.OK
    assert done.intents.now is None


async def test_an_account_that_a_phone_uses_is_let_alone() -> None:
    registrar = Registrar({PHONE: 42})
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))

    assert (done.outcome.state, done.outcome.cause) == (State.FAILING, Cause.IN_USE)
    assert done.outcome.others == (PHONE,)
    assert done.outcome.sentence == (
        f"a phone is registered as line1@127.0.0.1 ({PHONE}); the test contact was not "
        "registered, so as not to throw it out"
    )
    assert registrar.contacts == {PHONE: 42}
    assert all(r.contacts == () for r in registrar.seen)
    assert done.intents.history == []


async def test_what_a_watched_registrar_holds_counts_as_well() -> None:
    registrar = Registrar()
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"), held=lambda aor: [PHONE])
    assert done.outcome.cause is Cause.IN_USE
    assert all(r.contacts == () for r in registrar.seen)


async def test_nothing_is_registered_where_a_phone_was_seen_before() -> None:
    registrar = Registrar()
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"), forbidden=(PHONE,))
    assert done.outcome.cause is Cause.IN_USE
    assert done.outcome.sentence == (
        f"a phone has used line1@127.0.0.1 ({PHONE}), and may come back; the test "
        "contact is not registered again before a reload"
    )
    assert all(r.contacts == () for r in registrar.seen)


async def test_a_phone_that_comes_meanwhile_stays_and_is_told() -> None:
    registrar = Registrar(arrives=PHONE)
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))

    assert (done.outcome.state, done.outcome.cause) == (State.FAILING, Cause.IN_USE)
    assert done.outcome.sentence.startswith(
        f"a phone registered as line1@127.0.0.1 ({PHONE}) while the test contact was "
        "there; ours was removed"
    )
    assert registrar.contacts == {PHONE: 60}
    assert done.intents.now is None


async def test_a_phone_that_comes_and_is_gone_again_is_told_too() -> None:
    registrar = Registrar(arrives=PHONE)

    def forget(request: Request) -> None:
        if request.expires == 0:
            registrar.arrives = ""
            registrar.contacts.pop(PHONE, None)

    registrar.refuse = forget  # type: ignore[assignment]
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.cause is Cause.IN_USE
    assert "and is gone from the list now" in done.outcome.sentence


async def test_the_test_contact_of_another_sipwatch_is_no_phone() -> None:
    registrar = Registrar({ELSEWHERE: 30})
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.state is State.OK
    assert registrar.contacts == {ELSEWHERE: 30}


async def test_how_long_a_contact_stays_is_as_the_registrar_says() -> None:
    registrar = Registrar(deaf=True)

    def raise_it(request: Request) -> list[bytes] | None:
        if not request.expires or "Authorization" not in request.headers:
            return None
        registrar._bind(request.contacts[0], 600)
        listed = [f"<{uri}>;expires={left}" for uri, left in registrar.contacts.items()]
        return [respond(request, 200, "OK", contact=listed)]

    registrar.refuse = raise_it
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.step == (
        "remove it on 127.0.0.1, or wait: it expires by itself within 600 s"
    )


async def test_a_contact_whose_removal_fails_is_said_to_end_by_itself() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: (
        [respond(r, 500, "No")] if r.contacts and not r.expires else None
    )
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.cause is Cause.NOT_REMOVED
    assert done.outcome.step.startswith("it expires by itself within 60 s, and")


async def test_a_contact_that_stays_is_told_and_not_forgotten() -> None:
    registrar = Registrar(deaf=True)
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert (done.outcome.state, done.outcome.cause) == (
        State.FAILING,
        Cause.NOT_REMOVED,
    )
    assert done.outcome.sentence.startswith(f"the test contact sip:{OWN.user}@")
    assert done.intents.now is not None


async def test_what_a_crash_left_is_removed_first() -> None:
    registrar = Registrar({LEFT: 30})
    left = Intent(LEFT, "sip:127.0.0.1", "line1@127.0.0.1", "127.0.0.1", 1, 0.0)
    intents = Kept(left)
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"), intents=intents, leftover=left)
    assert done.outcome.state is State.OK
    assert registrar.contacts == {}
    _, removed, *_ = registers(registrar)
    assert [c.uri for c in removed.contacts] == [LEFT]
    assert intents.history == ["drop", "keep", "drop"]


async def test_a_query_too_removes_what_is_ours() -> None:
    registrar = Registrar({LEFT: 30, PHONE: 42})
    left = Intent(LEFT, "sip:127.0.0.1", "line1@127.0.0.1", "127.0.0.1", 1, 0.0)
    async with serving(registrar) as peer:
        done = await tried(account(peer), intents=Kept(left), leftover=left)
    assert done.outcome.state is State.OK
    assert registrar.contacts == {PHONE: 42}
    assert done.intents.now is None


async def test_the_leftover_is_removed_from_where_it_was_registered() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    left = Intent(LEFT, "sip:127.0.0.1", "line1@127.0.0.1", "127.0.0.1", port, 0.0)
    registrar = Registrar({LEFT: 30})
    async with serving(registrar) as peer:
        await tried(account(peer), leftover=left)
    assert {r.via.port for r in registrar.seen} == {port}


async def test_without_a_disk_nothing_is_registered() -> None:
    registrar = Registrar()
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"), intents=Kept(broken=True))
    assert done.outcome.state is State.OK  # as far as it was asked
    assert done.steps[-1].text == "not tried: the database takes nothing"
    assert all(r.contacts == () for r in registrar.seen)


async def test_a_refused_contact_leaves_no_intent() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: [respond(r, 403, "Too Many")] if r.contacts else None
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert (done.outcome.state, done.outcome.cause) == (
        State.REJECTED,
        Cause.FORBIDDEN,
    )
    assert done.outcome.sentence == (
        "127.0.0.1 lets line1 ask, but not register a contact: 403 Too Many"
    )
    assert done.intents.now is None


async def test_an_answer_that_is_lost_leaves_the_intent_and_one_more_try() -> None:
    registrar = Registrar()

    def lose(request: Request) -> list[bytes] | None:
        if not request.contacts or "Authorization" not in request.headers:
            return None
        for contact in request.contacts:
            registrar._bind(contact, int(contact.params["expires"] or 0))
        return []

    registrar.refuse = lose
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind", timeout=0.3))
    assert done.outcome.cause is Cause.TIMEOUT
    assert registrar.contacts == {}  # the removal came through
    assert done.intents.now is not None  # nobody has seen that it did


@pytest.mark.parametrize("status", [408, 500, 503, 504])
async def test_what_a_proxy_says_for_a_registrar_proves_no_refusal(status: int) -> None:
    registrar = Registrar()

    def lose(request: Request) -> list[bytes] | None:
        if not request.expires or "Authorization" not in request.headers:
            return None
        registrar._bind(request.contacts[0], request.expires)
        return [respond(request, status, "No Answer In Time")]

    registrar.refuse = lose
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.state is State.FAILING
    assert registrar.contacts == {}
    assert done.intents.now is not None


async def test_who_is_stopped_in_the_middle_removes_its_contact() -> None:
    registrar, bound = Registrar(), asyncio.Event()

    def hang(request: Request) -> list[bytes] | None:
        if request.expires and "Authorization" in request.headers:
            registrar._bind(request.contacts[0], 60)
            bound.set()
            return []
        return None

    registrar.refuse = hang
    async with serving(registrar) as peer:
        intents = Kept()
        task = asyncio.create_task(tried(account(peer, "bind"), intents=intents))
        await bound.wait()
        assert registrar.contacts
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert registrar.contacts == {}
    assert intents.now is not None


# --- refusals -------------------------------------------------------------------------


async def test_min_expires_is_taken_and_said() -> None:
    registrar = Registrar(least=120)
    async with serving(registrar) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.state is State.OK
    assert "423, so for 120 s instead of 60 s (Min-Expires)" in [
        step.text for step in done.steps
    ]
    assert "registered for 120 s, its Min-Expires" in done.outcome.evidence
    assert registrar.contacts == {}


async def test_a_min_expires_of_hours_is_not_taken() -> None:
    async with serving(Registrar(least=7200)) as peer:
        done = await tried(account(peer, "bind"))
    assert done.outcome.cause is Cause.INTERVAL_TOO_BRIEF
    assert done.outcome.sentence == (
        "423: 127.0.0.1 registers for 7200 s or more; 60 s were asked for"
    )
    assert done.intents.now is None


async def test_a_wrong_password_is_not_tried_twice() -> None:
    registrar = Registrar(password="other")
    async with serving(registrar) as peer:
        done = await tried(account(peer))
    assert (done.outcome.state, done.outcome.cause) == (
        State.REJECTED,
        Cause.UNAUTHORIZED,
    )
    assert (
        done.outcome.sentence == "401 after a correct digest (realm example.com, MD5)"
    )
    assert len(registrar.seen) == 2


async def test_what_the_pbx_tells_of_it_refines_the_verdict() -> None:
    asked: list[str] = []

    async def hint(exchange: Exchange) -> Cause | None:
        asked.append(exchange.call_id)
        return Cause.UNKNOWN_USER

    registrar = Registrar(password="other")
    async with serving(registrar) as peer:
        done = await tried(account(peer), hint=hint)
    assert done.outcome.cause is Cause.UNKNOWN_USER
    assert asked == [registrar.seen[0].call_id]


def stale(registrar: Registrar) -> Iterator[str]:
    """Nonces, each of them stale when it is used."""
    for number in range(2, 100):
        registrar.nonces = [f"n{number}"]
        yield f"n{number}"


async def test_a_nonce_that_is_always_stale_is_no_wrong_password() -> None:
    registrar = Registrar()
    fresh = stale(registrar)

    def refuse(request: Request) -> list[bytes]:
        text = (
            f'Digest realm="example.com", nonce="{next(fresh)}", qop="auth", stale=true'
        )
        return [respond(request, 401, "Unauthorized", www_authenticate=text)]

    registrar.refuse = refuse
    async with serving(registrar) as peer:
        done = await tried(account(peer))
    assert done.outcome.cause is Cause.STALE_NONCE
    assert len(registrar.seen) <= 4


async def test_an_unknown_digest_is_named() -> None:
    async with serving(Registrar(algorithm="AKAv1-MD5")) as peer:
        done = await tried(account(peer))
    assert done.outcome.cause is Cause.UNKNOWN_DIGEST
    assert done.outcome.sentence == (
        "401 Unauthorized: it asks for AKAv1-MD5, which is not spoken here"
    )


async def test_retry_after_is_handed_on() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: [
        respond(r, 503, "Service Unavailable", retry_after="120", server="proxy/1")
    ]
    async with serving(registrar) as peer:
        done = await tried(account(peer))
    assert (done.outcome.state, done.outcome.cause, done.outcome.retry_after) == (
        State.FAILING,
        Cause.OVERLOADED,
        120,
    )
    assert done.outcome.sentence == (
        "127.0.0.1 answers 503 Service Unavailable (proxy/1), and wants to be left "
        "alone for 120 s"
    )


async def test_a_redirection_is_told_and_not_followed() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: [
        respond(r, 302, "Moved", contact="<sip:sip2.example.com>")
    ]
    async with serving(registrar) as peer:
        done = await tried(account(peer))
    assert done.outcome.cause is Cause.REDIRECTED
    assert done.outcome.sentence == (
        "127.0.0.1 sends us elsewhere: 302 Moved to sip:sip2.example.com"
    )
    assert len(registrar.seen) == 1


async def test_nonsense_is_told_as_nonsense() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: [b"\x16\x03\x01 hello"]
    async with serving(registrar) as peer:
        done = await tried(account(peer, timeout=0.3))
    assert (done.outcome.state, done.outcome.cause) == (State.FAILING, Cause.MALFORMED)


async def test_a_blocked_transport_is_told_with_the_one_that_answers() -> None:
    registrar = Registrar()
    async with serving(registrar, "tcp") as peer:
        settings = replace(
            account(peer), registrar=f"sip:127.0.0.1:{peer.address.port}"
        )
        done = await tried(settings)
    port = peer.address.port
    assert (done.outcome.state, done.outcome.cause) == (
        State.FAILING,
        Cause.TRANSPORT_BLOCKED,
    )
    assert done.outcome.sentence == f"UDP {port} is closed, TCP {port} answers"
    assert done.outcome.step == (
        f"let UDP {port} to 127.0.0.1 pass in the firewalls, or write ;transport=tcp"
    )


async def test_other_transports_are_left_alone_once_it_is_known() -> None:
    registrar = Registrar()
    async with serving(registrar, "tcp") as peer:
        settings = replace(
            account(peer), registrar=f"sip:127.0.0.1:{peer.address.port}"
        )
        done = await tried(settings, thorough=False)
    assert done.outcome.cause is Cause.ICMP_UNREACHABLE
    assert registrar.seen == []


async def test_silence_is_told_with_the_number_of_sends() -> None:
    registrar = Registrar()
    registrar.refuse = lambda r: []
    async with serving(registrar) as peer:
        done = await tried(account(peer, timeout=0.2), thorough=False)
    assert done.outcome.cause is Cause.TIMEOUT
    assert "no final response from 127.0.0.1" in done.outcome.sentence


async def test_a_name_that_does_not_exist_is_told() -> None:
    settings = AccountSettings(
        registrar="sip:a..b", username="line1", password=Secret("x"), timeout=2.0
    )
    done = await tried(settings)
    assert (done.outcome.state, done.outcome.cause) == (
        State.FAILING,
        Cause.DNS_NXDOMAIN,
    )


async def test_a_file_of_certificates_that_is_gone_is_told(tmp_path: Path) -> None:
    async with serving(Registrar()) as peer:
        done = await tried(account(peer, ca=str(tmp_path / "ca.pem")))
    assert done.outcome.cause is Cause.TLS_VERIFY
    assert "No such file" in done.outcome.sentence


async def test_no_secret_is_in_what_is_told() -> None:
    async with serving(Registrar(password="other")) as peer:
        done = await tried(account(peer))
    assert "secret" not in repr(done.outcome).replace("example", "")
