"""The table of diagnoses: what was seen, and the sentence and step that it becomes."""

from __future__ import annotations

import re
import string

import pytest

from alerting.notification.headline import BECAUSE_LIMIT
from checks.accounts.diagnosis import Diagnosis, diagnose
from checks.accounts.evidence import Phase, Seen
from checks.accounts.table import TABLE
from checks.observation import Cause, State

OK, REJECTED, FAILING = State.OK, State.REJECTED, State.FAILING
TWILIO = "acme.sip.twilio.com"


def seen(phase: Phase = Phase.QUERY, **more: object) -> Seen:
    """What a test of line1 at a registrar saw."""
    fields: dict[str, object] = {
        "phase": phase,
        "aor": "line1@sip.example.com",
        "user": "line1",
        "host": "sip.example.com",
        "place": "203.0.113.9:5060",
        "port": "UDP 5060",
        "expires": 60,
        "granted": 60,
    } | more
    return Seen(**fields)  # type: ignore[arg-type]


def answered(status: int, reason: str = "", **more: object) -> Seen:
    """A final response."""
    phase = more.pop("phase", Phase.QUERY)
    said = f"{status} {reason}".rstrip()
    cause = Cause.of_response(status)
    return seen(phase, status=status, said=said, cause=cause, **more)  # type: ignore[arg-type]


def refused(**more: object) -> Seen:
    """401 after a digest."""
    fields: dict[str, object] = {"proven": True, "algorithm": "MD5", "realm": "r"}
    return answered(401, "Unauthorized", **(fields | more))


CASES: list[tuple[Seen, State, Cause | None, str, str]] = [
    (
        seen(bindings=2),
        OK,
        None,
        "sip.example.com accepts line1 and holds 2 bindings of line1@sip.example.com",
        "nothing is wrong",
    ),
    (
        seen(Phase.BIND),
        OK,
        None,
        "sip.example.com registered a test contact of line1@sip.example.com for 60 s, "
        "and removed it",
        "nothing is wrong",
    ),
    (
        seen(ours="/etc/ca.pem cannot be read: gone", cause=Cause.TLS_VERIFY),
        FAILING,
        Cause.TLS_VERIFY,
        "/etc/ca.pem cannot be read: gone",
        "correct `ca` or `source`, or what they name on this host",
    ),
    (
        seen(
            Phase.BIND,
            host=TWILIO,
            known=True,
            cause=Cause.TIMEOUT,
            detail="no final response from 203.0.113.9:5060 to 4 sends",
        ),
        FAILING,
        Cause.TIMEOUT,
        "acme.sip.twilio.com answers a query of line1@sip.example.com, and not the "
        "registration of a contact: no final response from 203.0.113.9:5060 to 4 sends",
        "read the log of acme.sip.twilio.com for this REGISTER; the way to it is well",
    ),
    # names
    (
        seen(host="acme.pstn.twilio.com", cause=Cause.TIMEOUT, detail="silence"),
        REJECTED,
        Cause.WRONG_NAME,
        "acme.pstn.twilio.com is an Elastic SIP Trunk; it takes calls and no REGISTER",
        "write acme.sip.twilio.com, if that is the domain that was meant",
    ),
    (
        seen(host="sip.twilio.com", cause=Cause.NOT_FOUND, status=404, said="404"),
        REJECTED,
        Cause.WRONG_NAME,
        "sip.twilio.com is no SIP Domain of Twilio; the name of the SIP Domain is "
        "missing in front of sip",
        "write the domain as the Twilio console shows it: NAME.sip.twilio.com",
    ),
    (
        seen(
            cause=Cause.DNS_NXDOMAIN, detail="sip.example.com does not exist in the DNS"
        ),
        FAILING,
        Cause.DNS_NXDOMAIN,
        "sip.example.com does not exist in the DNS",
        "check the spelling of sip.example.com, and that the domain has not lapsed",
    ),
    (
        seen(cause=Cause.DNS_FAILURE, detail="no answer within 5 s"),
        FAILING,
        Cause.DNS_FAILURE,
        "sip.example.com cannot be looked up: no answer within 5 s",
        "check the resolvers of this host (/etc/resolv.conf)",
    ),
    # no answer
    (
        seen(cause=Cause.TIMEOUT, detail="silence", answering=("TLS 5061",)),
        FAILING,
        Cause.TRANSPORT_BLOCKED,
        "UDP 5060 is blocked, TLS 5061 answers",
        "let UDP 5060 to sip.example.com pass in the firewalls, or write "
        ";transport=tls",
    ),
    (
        seen(cause=Cause.CONNECTION_REFUSED, answering=("TCP 5060", "TLS 5061")),
        FAILING,
        Cause.TRANSPORT_BLOCKED,
        "UDP 5060 is closed, TCP 5060 and TLS 5061 answer",
        "let UDP 5060 to sip.example.com pass in the firewalls, or write "
        ";transport=tcp",
    ),
    (
        seen(cause=Cause.TIMEOUT, detail="no final response from 203.0.113.9:5060"),
        FAILING,
        Cause.TIMEOUT,
        "no final response from 203.0.113.9:5060",
        "check that sip.example.com is up, then the firewalls on the way, then whether "
        "it has banned this host (fail2ban, ACL)",
    ),
    (
        seen(host=TWILIO, cause=Cause.TIMEOUT, detail="silence"),
        FAILING,
        Cause.TIMEOUT,
        "silence; Twilio drops what is not in an IP access control list of the domain",
        "see that this host's public address is in the domain's IP access control "
        "list, or that it has none; then the firewalls on the way",
    ),
    (
        seen(cause=Cause.ICMP_UNREACHABLE, detail="203.0.113.9:5060: ICMP: no route"),
        FAILING,
        Cause.ICMP_UNREACHABLE,
        "203.0.113.9:5060 cannot be reached: ICMP: no route",
        "check that sip.example.com is on, that it listens on UDP 5060, and the route "
        "to it",
    ),
    (
        seen(cause=Cause.CONNECTION_REFUSED, port="TCP 5060"),
        FAILING,
        Cause.CONNECTION_REFUSED,
        "sip.example.com is up, but nothing listens on TCP 5060",
        "start the service there, or correct port and transport",
    ),
    (
        seen(cause=Cause.TLS_VERIFY, detail="it is for other.example.com"),
        FAILING,
        Cause.TLS_VERIFY,
        "the certificate is not valid for sip.example.com: it is for other.example.com",
        "write the name that the certificate has, or its CA as `ca`; openssl s_client "
        "-connect 203.0.113.9:5060 shows it",
    ),
    (
        seen(cause=Cause.TLS_EXPIRED, detail="on 3 May"),
        FAILING,
        Cause.TLS_EXPIRED,
        "the certificate of sip.example.com has expired: on 3 May",
        "renew it there; openssl s_client -connect 203.0.113.9:5060 shows it",
    ),
    # 401 and 407
    (
        refused(),
        REJECTED,
        Cause.UNAUTHORIZED,
        "401 after a correct digest (realm r, MD5)",
        "check the password (case counts), the user name and auth_username; and that "
        "realm r is the one this account belongs to",
    ),
    (
        refused(realm="asterisk"),
        REJECTED,
        Cause.UNAUTHORIZED,
        "401 after a correct digest (realm asterisk, MD5); Asterisk says so of a wrong "
        "password, an unknown user and an ACL alike",
        "check the password (case counts), then that the endpoint line1 exists, then "
        "its ACL; read = security for sipwatch in manager.conf tells which it is",
    ),
    (
        refused(hint=Cause.UNKNOWN_USER),
        REJECTED,
        Cause.UNKNOWN_USER,
        "the PBX has no endpoint for line1; its security event names an unknown "
        "account",
        "check username, and on the PBX: pjsip show endpoints",
    ),
    (
        refused(hint=Cause.WRONG_PASSWORD),
        REJECTED,
        Cause.WRONG_PASSWORD,
        "the PBX knows line1, and the password is wrong",
        "compare the password on each side (case counts), and auth_username",
    ),
    (
        refused(hint=Cause.ADDRESS_DENIED),
        REJECTED,
        Cause.ADDRESS_DENIED,
        "the PBX knows line1, but an ACL refuses this host's address",
        "add this host's address to permit or acl of the endpoint, then reload the PBX",
    ),
    (
        refused(stale=True),
        REJECTED,
        Cause.STALE_NONCE,
        "sip.example.com calls each nonce stale; the one it has just given as well "
        "(realm r, MD5)",
        "check its clock, and whether several servers that share no nonces answer "
        "under this name",
    ),
    (
        answered(407, "Proxy Authentication Required", proven=True, realm="p"),
        REJECTED,
        Cause.UNAUTHORIZED,
        "a proxy before sip.example.com refuses line1 after a correct digest "
        "(realm p, )",
        "check user name and password at the proxy (case counts), and auth_username",
    ),
    (
        refused(host=TWILIO),
        REJECTED,
        Cause.UNAUTHORIZED,
        "401 after a correct digest (realm r, MD5)",
        "check that line1 is in a credential list that is mapped to the domain's "
        "registration, and its password (case counts)",
    ),
    (
        answered(401, "Unauthorized", algorithm="AKAv1-MD5", answerable=False),
        REJECTED,
        Cause.UNKNOWN_DIGEST,
        "401 Unauthorized: it asks for AKAv1-MD5, which is not spoken here",
        "offer Digest with MD5, SHA-256 or SHA-512-256 on sip.example.com",
    ),
    (
        answered(401, "Unauthorized"),
        REJECTED,
        Cause.UNKNOWN_DIGEST,
        "401 Unauthorized without a challenge that can be read",
        "read the log of sip.example.com: a challenge has a realm and a nonce (RFC "
        "3261 22)",
    ),
    # other refusals
    (
        answered(403, "Forbidden", agent="PBX 1"),
        REJECTED,
        Cause.FORBIDDEN,
        "sip.example.com refuses before it asks who we are (PBX 1): 403 Forbidden",
        "check that this host's address is let in, and that line1@sip.example.com may "
        "register",
    ),
    (
        answered(403, "Forbidden", proven=True, warning="account closed"),
        REJECTED,
        Cause.FORBIDDEN,
        "sip.example.com refuses line1 after a correct digest: 403 Forbidden: account "
        "closed",
        "check the password too: FreeSWITCH and others say 403 of a wrong one; then "
        "that line1 exists, that line1@sip.example.com is its address, and that this "
        "host is let in",
    ),
    (
        answered(403, "Forbidden", phase=Phase.BIND, known=True, proven=True),
        REJECTED,
        Cause.FORBIDDEN,
        "sip.example.com lets line1 ask, but not register a contact: 403 Forbidden",
        "check the limit of contacts of line1@sip.example.com, an ACL on contacts, and "
        "that the account may register from here",
    ),
    (
        answered(404, "Not Found", agent="PBX 1"),
        REJECTED,
        Cause.NOT_FOUND,
        "sip.example.com does not know line1@sip.example.com (PBX 1): 404 Not Found",
        "check the user name, and whether sip.example.com serves this domain "
        "(`domain`)",
    ),
    (
        answered(404, "Not Found", host=TWILIO),
        REJECTED,
        Cause.NOT_FOUND,
        "Twilio knows no SIP Domain acme.sip.twilio.com, or it takes no registrations: "
        "404 Not Found",
        "check the domain in the Twilio console, and that SIP Registration is enabled",
    ),
    (
        answered(423, "Interval Too Brief", min_expires=7200),
        REJECTED,
        Cause.INTERVAL_TOO_BRIEF,
        "423: sip.example.com registers for 7200 s or more; 60 s were asked for",
        "raise `expires`, up to 1h, or lower the least time on sip.example.com",
    ),
    (
        answered(423, "Interval Too Brief"),
        REJECTED,
        Cause.INTERVAL_TOO_BRIEF,
        "423 without a Min-Expires: sip.example.com registers for longer than "
        "60 s only",
        "raise `expires`",
    ),
    (
        answered(405, "Method Not Allowed"),
        REJECTED,
        Cause("response_405"),
        "sip.example.com is no registrar: 405 Method Not Allowed",
        "write the address of the registrar; a proxy or trunk takes no REGISTER",
    ),
    (
        answered(480, "Temporarily Unavailable"),
        FAILING,
        Cause.UNAVAILABLE,
        "sip.example.com answers REGISTER with 480 Temporarily Unavailable",
        "see whether the registrar behind sip.example.com runs: a proxy says "
        "this for it",
    ),
    (
        answered(408, "Request Timeout"),
        FAILING,
        Cause("response_408"),
        "408 Request Timeout: what answers at 203.0.113.9:5060 got no answer from the "
        "registrar behind it",
        "see whether the registrar behind sip.example.com runs",
    ),
    (
        answered(503, "Service Unavailable", retry_after=30),
        FAILING,
        Cause.OVERLOADED,
        "sip.example.com answers 503 Service Unavailable, and wants to be left alone "
        "for 30 s",
        "look at its load and at announced maintenance; it is asked again after that",
    ),
    (
        answered(305, "Use Proxy", elsewhere="sip:proxy.example.com"),
        REJECTED,
        Cause.REDIRECTED,
        "sip.example.com sends us elsewhere: 305 Use Proxy to sip:proxy.example.com",
        "write sip:proxy.example.com as registrar or outbound_proxy, if you trust it",
    ),
    (
        answered(603, "Decline", host=TWILIO),
        REJECTED,
        Cause("response_603"),
        "Twilio declines: 603 Decline",
        "see in the Twilio console whether the account is suspended",
    ),
    (
        answered(500, "Server Internal Error"),
        FAILING,
        Cause("response_500"),
        "sip.example.com fails: 500 Server Internal Error",
        "read the log of sip.example.com for this REGISTER",
    ),
    (
        answered(420, "Bad Extension"),
        REJECTED,
        Cause("response_420"),
        "sip.example.com refuses the REGISTER: 420 Bad Extension",
        "read the log of sip.example.com for this REGISTER",
    ),
    # what is left behind
    (
        seen(Phase.REMOVE, cause=Cause.TIMEOUT, detail="no final response"),
        FAILING,
        Cause.NOT_REMOVED,
        "the test contact was registered, and its removal failed: no final response",
        "it expires by itself within 60 s, and is removed at the next test; read the "
        "log of sip.example.com for this REGISTER",
    ),
]


@pytest.mark.parametrize(
    ("what", "state", "cause", "sentence", "step"),
    CASES,
    ids=[f"{n}-{case[2] or 'ok'}" for n, case in enumerate(CASES)],
)
def test_what_was_seen_is_one_sentence_and_a_next_step(
    what: Seen, state: State, cause: Cause | None, sentence: str, step: str
) -> None:
    assert diagnose(what) == Diagnosis(state, cause, sentence, step)


def test_no_row_asks_for_a_word_that_nobody_fills() -> None:
    known = set(Seen.__slots__) | {
        *("transport", "other", "answers", "how", "by", "digest", "warned"),
        *("problem", "meant", "wait", "n"),
    }
    for row in TABLE:
        for text in (row.sentence, row.step):
            used = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert used <= known, text


@pytest.mark.parametrize("code", range(300, 700))
def test_every_final_response_has_a_diagnosis(code: int) -> None:
    found = diagnose(answered(code, "Whatever"))
    assert found.state is not State.OK
    assert found.cause is not None
    assert found.sentence
    assert found.step


@pytest.mark.parametrize("cause", [c for c in Cause if not c.startswith("response_")])
def test_every_failure_has_a_diagnosis(cause: Cause) -> None:
    assert diagnose(seen(cause=cause, detail="why")).state is not State.OK


def test_braces_of_the_peer_are_text() -> None:
    found = diagnose(answered(500, "{user} {0} {"))
    assert found.sentence == "sip.example.com fails: 500 {user} {0} {"


@pytest.mark.parametrize(
    "case",
    [
        seen(host="acme.pstn.twilio.com", cause=Cause.TIMEOUT, detail="silence"),
        seen(host="sip.twilio.com", cause=Cause.NOT_FOUND, status=404, said="404"),
        refused(stale=True),
        refused(hint=Cause.UNKNOWN_USER),
    ],
)
def test_what_a_headline_says_by_the_sentence_alone_begins_briefly(case: Seen) -> None:
    begins = re.split(r"[;—]|\. ", diagnose(case).sentence)[0]
    assert len(begins) <= BECAUSE_LIMIT
