"""From evidence to a cause: one line for each combination that the field has shown."""

from __future__ import annotations

import string

import pytest

from checks.cause import CAUSES, Answer, Confidence, Evidence, Finding, Sender, classify
from checks.cause.lines import words_of
from checks.cause.table import TABLE
from checks.observation import Cause, Fact, Kind, Loss, State

DEVICE, PBX, PROVIDER = Sender
CERTAIN, LIKELY, POSSIBLE = Confidence
HERE, SILENT, GONE, NEVER = (
    State.REGISTERED,
    State.UNREACHABLE,
    State.UNREGISTERED,
    State.NEVER_REGISTERED,
)
PHONE = "10.20.0.31:5060"


def said(status: int, reason: str = "", **more: object) -> Answer:
    """An answer to an INVITE."""
    return Answer(**({"status": status, "reason": reason, "method": "INVITE"} | more))  # type: ignore[arg-type]


def known(**more: object) -> Evidence:
    """Of 1001 at hq."""
    given = {"who": "1001", "place": "hq", "kind": Kind.EXTENSION, "address": PHONE}
    return Evidence(**(given | more))  # type: ignore[arg-type]


def asked(status: int, reason: str = "", **more: object) -> Evidence:
    """Somebody answered, and nothing else is known."""
    return Evidence(who="1001", place="hq", answer=said(status, reason, **more))


def here(status: int, reason: str = "", **more: object) -> Evidence:
    """1001 is registered, and somebody answered."""
    return known(registration=HERE, answer=said(status, reason, **more))


C = Cause

COMBINATIONS: list[tuple[Evidence, Cause | None, Confidence, str]] = [
    # No binding, and how the last one ended.
    (known(registration=GONE, loss=Loss.EXPIRED), C.EXPIRED, CERTAIN, "did not refr"),
    (
        known(registration=GONE, loss=Loss.EXPIRED, granted=60),
        C.EXPIRED,
        CERTAIN,
        "1001's registration expired after the 60 s granted",
    ),
    (
        known(registration=GONE, loss=Loss.DEREGISTERED),
        C.UNREGISTERED,
        CERTAIN,
        "logged out",
    ),
    (
        known(registration=GONE, loss=Loss.CONNECTION_LOST),
        C.UNREGISTERED,
        CERTAIN,
        "the connection that it had registered over has closed",
    ),
    (
        known(registration=GONE, loss=Loss.UNKNOWN),
        C.UNREGISTERED,
        CERTAIN,
        "its registration was removed, and hq does not say why",
    ),
    (known(registration=GONE), C.UNREGISTERED, CERTAIN, "1001 is not registered"),
    (known(registration=NEVER), C.UNREGISTERED, CERTAIN, "since it is watched"),
    (
        known(registration=GONE, answer=said(480, sender=PBX)),
        C.UNREGISTERED,
        CERTAIN,
        "1001 is not registered",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, answer=said(404, sender=PBX)),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, answer=said(403, sender=PBX)),
        C.UNREGISTERED,
        CERTAIN,
        "1001 is not registered",
    ),
    # Who went with it.
    (
        known(
            registration=GONE, loss=Loss.EXPIRED, site="Lyon", site_lost=31, site_of=40
        ),
        C.UNREGISTERED,
        CERTAIN,
        "1001 is not registered, and nor are 30 others of Lyon",
    ),
    (
        known(
            registration=GONE, loss=Loss.EXPIRED, site="Lyon", site_lost=3, site_of=40
        ),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(
            registration=GONE, loss=Loss.EXPIRED, site="Lyon", site_lost=2, site_of=2
        ),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, since=200.0, restarted_at=100.0),
        C.UNREGISTERED,
        CERTAIN,
        "hq restarted and knows no binding of 1001 since",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, since=90.0, restarted_at=100.0),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, outages=0.3),
        C.OVERLOADED,
        LIKELY,
        "while hq answered 503, or not at all, to 30 % of what it was asked",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, outages=0.05),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, loss=Loss.DEREGISTERED, closed="office"),
        C.OUT_OF_HOURS,
        LIKELY,
        "has logged out, and office is closed",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, closed="office"),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, blind="AMI: connection refused"),
        C.UNREGISTERED,
        POSSIBLE,
        "when hq could last be read (AMI: connection refused)",
    ),
    # On purpose.
    (
        known(registration=HERE, paused=C.DO_NOT_DISTURB),
        C.DO_NOT_DISTURB,
        CERTAIN,
        "do not disturb is on for 1001, by the word of hq",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, paused=C.DO_NOT_DISTURB),
        C.EXPIRED,
        CERTAIN,
        "expired",
    ),
    (
        known(registration=GONE, paused=C.MAINTENANCE),
        C.MAINTENANCE,
        CERTAIN,
        "1001 is in maintenance",
    ),
    (
        known(registration=GONE, loss=Loss.EXPIRED, maintenance="patch day"),
        C.MAINTENANCE,
        CERTAIN,
        "1001 is in maintenance (patch day)",
    ),
    (
        asked(503, "Down for Maintenance", sender=PBX),
        C.MAINTENANCE,
        LIKELY,
        "hq says that it is in maintenance",
    ),
    (
        asked(480, "Temporarily Unavailable", text="DND Activated"),
        C.DO_NOT_DISTURB,
        CERTAIN,
        "do not disturb is on",
    ),
    (
        here(480, "Do Not Disturb", sender=DEVICE),
        C.DO_NOT_DISTURB,
        CERTAIN,
        "the phone answers 480 Do Not Disturb",
    ),
    (
        here(486, "Busy Here", sender=PBX, warning="DND is set"),
        C.DO_NOT_DISTURB,
        CERTAIN,
        "hq answers 486",
    ),
    (
        here(480, "Office Closed", sender=PBX),
        C.OUT_OF_HOURS,
        CERTAIN,
        "hq says that it is closed now",
    ),
    (
        asked(603, "Decline", text="out of business hours", sender=PBX),
        C.OUT_OF_HOURS,
        CERTAIN,
        "closed now",
    ),
    # Too much to do.
    (asked(503, "Service Unavailable", sender=PBX), C.OVERLOADED, LIKELY, "too much"),
    (
        asked(503, "Service Unavailable", retry_after=30, sender=PROVIDER),
        C.OVERLOADED,
        LIKELY,
        "the provider has too much to do, or does not serve now: 503 Service "
        "Unavailable, and wants to be left alone for 30 s",
    ),
    (
        asked(480, "Temporarily Unavailable", retry_after=10, sender=PBX),
        C.OVERLOADED,
        LIKELY,
        "left alone for 10 s",
    ),
    (
        here(480, "Temporarily Unavailable", retry_after=600, sender=DEVICE),
        C.DO_NOT_DISTURB,
        LIKELY,
        "the phone is there and answers 480",
    ),
    (
        here(503, "Service Unavailable", sender=DEVICE),
        C.OVERLOADED,
        LIKELY,
        "the phone has too much to do",
    ),
    (asked(500, retry_after=5, sender=PBX), C.OVERLOADED, LIKELY, "alone for 5 s"),
    # RFC 3261 20.33: so does a callee who knows when he is back.
    (asked(486, retry_after=600), C.BUSY, POSSIBLE, "a call is up"),
    (asked(480, q850=34, sender=PBX), C.OVERLOADED, LIKELY, "(Q.850 cause 34)"),
    (asked(500, q850=42, text="congestion"), C.OVERLOADED, LIKELY, "no room"),
    (asked(480, "Too Many Calls", sender=PBX), C.OVERLOADED, LIKELY, "no room"),
    (
        Evidence(place="hq", answer=said(480), outages=0.25),
        C.OVERLOADED,
        POSSIBLE,
        "to 25 % of what it is asked",
    ),
    # Forwarded.
    (
        here(480, "Temporarily Unavailable", forwarded="sip:204@hq", sender=PBX),
        C.FORWARDING_FAILED,
        CERTAIN,
        "the call was forwarded to sip:204@hq, and answered 480",
    ),
    (
        here(404, "Not Found", forwarded="another number"),
        C.FORWARDING_FAILED,
        CERTAIN,
        "forwarded to another number",
    ),
    # No binding, by the word of who must know.
    (asked(480, q850=20), C.UNREGISTERED, CERTAIN, "1001 is not registered: hq says"),
    (
        asked(404, "User not registered", sender=PBX),
        C.UNREGISTERED,
        CERTAIN,
        "1001 is not registered: hq says so (404 User not registered)",
    ),
    (
        Evidence(who="204", provider_codes=(32009,)),
        C.UNREGISTERED,
        CERTAIN,
        "204 is not registered at the provider: it reports error 32009",
    ),
    (asked(480, sender=PBX), C.UNREGISTERED, LIKELY, "hq itself answers 480"),
    (asked(480, sender=PROVIDER), C.UNREGISTERED, LIKELY, "the provider itself"),
    (asked(480), C.UNREGISTERED, POSSIBLE, "most likely nobody is registered"),
    # A binding, and nobody behind it.
    (
        known(registration=SILENT, reachable=False),
        C.STALE_BINDING,
        LIKELY,
        "the phone at 10.20.0.31:5060 is gone, and the binding is stale",
    ),
    (
        known(registration=SILENT, reachable=False, left=45.0, asker="our"),
        C.STALE_BINDING,
        LIKELY,
        "1001 is registered, but does not answer our OPTIONS: the phone at "
        "10.20.0.31:5060 is gone, and the binding is stale, for 45 s more",
    ),
    (
        known(registration=HERE, reachable=False, port_closed=True),
        C.STALE_BINDING,
        CERTAIN,
        "nothing listens at 10.20.0.31:5060 any more",
    ),
    (
        known(registration=SILENT, reachable=False, refreshing=True),
        C.UNREACHABLE_CONTACT,
        CERTAIN,
        "goes on refreshing, but does not answer OPTIONS at 10.20.0.31:5060",
    ),
    (
        known(registration=SILENT, reachable=False, behind_nat=True),
        C.UNREACHABLE_CONTACT,
        LIKELY,
        "from behind a NAT",
    ),
    (
        known(registration=SILENT, reachable=False, answer=said(480, sender=PBX)),
        C.STALE_BINDING,
        LIKELY,
        "is gone",
    ),
    (
        here(480, "Temporarily Unavailable", sender=PBX),
        C.STALE_BINDING,
        LIKELY,
        "1001 is registered, yet hq answers 480 Temporarily Unavailable: the binding",
    ),
    (here(408, sender=PBX), C.STALE_BINDING, LIKELY, "yet hq answers 408"),
    (here(404, sender=PBX), C.STALE_BINDING, LIKELY, "yet hq answers 404"),
    (here(480), C.STALE_BINDING, LIKELY, "the registrar out of step"),
    (
        known(registration=HERE, reachable=True, answer=said(480, sender=PBX)),
        C.STALE_BINDING,
        POSSIBLE,
        "it does not look where the phone is registered",
    ),
    # The phone itself.
    (here(480, sender=DEVICE), C.DO_NOT_DISTURB, LIKELY, "the phone is there"),
    (here(603, "Decline", sender=DEVICE), C.DO_NOT_DISTURB, LIKELY, "603 Decline"),
    (
        here(486, "Busy Here", sender=DEVICE, method="OPTIONS"),
        C.DO_NOT_DISTURB,
        LIKELY,
        "486 Busy Here",
    ),
    (here(486, "Busy Here", sender=DEVICE), C.BUSY, POSSIBLE, "it is in a call, or"),
    (here(600, sender=DEVICE), C.BUSY, POSSIBLE, "or do not disturb is on"),
    (
        known(registration=HERE, in_call=True, answer=said(486, sender=DEVICE)),
        C.BUSY,
        CERTAIN,
        "1001 is in a call",
    ),
    (
        known(registration=HERE, in_call=False, answer=said(486, sender=DEVICE)),
        C.DO_NOT_DISTURB,
        LIKELY,
        "do not disturb is on",
    ),
    (
        known(registration=HERE, closed="office", answer=said(480, sender=DEVICE)),
        C.OUT_OF_HOURS,
        POSSIBLE,
        "office is closed",
    ),
    # The network behind.
    (asked(486, q850=17, sender=PBX), C.BUSY, CERTAIN, "hq says that 1001 is in a"),
    (asked(404, q850=1, sender=PROVIDER), C.NOT_FOUND, CERTAIN, "not know the number"),
    (asked(480, q850=3, sender=PBX), C.UNREACHABLE_CONTACT, LIKELY, "finds no way"),
    (asked(502, q850=27), C.UNREACHABLE_CONTACT, LIKELY, "finds no way"),
    (asked(480, q850=18), C.UNREACHABLE_CONTACT, LIKELY, "nobody answered it"),
    (asked(480, q850=19), C.UNREACHABLE_CONTACT, LIKELY, "nobody answered it"),
    (asked(403, q850=57, sender=PBX), C.FORBIDDEN, CERTAIN, "not let the call through"),
    (asked(480, q850=21), C.DO_NOT_DISTURB, POSSIBLE, "the call was declined"),
    (asked(480, q850=31), C.UNREGISTERED, POSSIBLE, "most likely nobody"),
    # Hours and dialplans.
    (
        known(registration=HERE, closed="office", answer=said(480, sender=PBX)),
        C.OUT_OF_HOURS,
        LIKELY,
        "hq answers 480, and office is closed",
    ),
    (here(486, sender=PBX), C.DO_NOT_DISTURB, POSSIBLE, "a dialplan that does not"),
    (here(603, sender=PBX), C.DO_NOT_DISTURB, POSSIBLE, "a dialplan that does not"),
    # Rights and names.
    (asked(401, sender=PBX), C.UNAUTHORIZED, CERTAIN, "hq wants to know who calls"),
    (asked(407, sender=PROVIDER), C.UNAUTHORIZED, CERTAIN, "who calls"),
    (asked(403, "Forbidden", sender=PROVIDER), C.FORBIDDEN, CERTAIN, "the provider"),
    (asked(403, "Forbidden", sender=PBX), C.FORBIDDEN, CERTAIN, "hq refuses: 403"),
    (here(403, sender=PBX), C.FORBIDDEN, CERTAIN, "hq refuses"),
    (
        asked(603, "Account suspended", sender=PROVIDER),
        C.FORBIDDEN,
        CERTAIN,
        "the provider does not let the call through",
    ),
    (asked(603, "Decline", sender=PROVIDER), C.FORBIDDEN, POSSIBLE, "declines"),
    (asked(404, "Not Found", sender=PBX), C.NOT_FOUND, LIKELY, "does not know 1001"),
    (asked(604), C.NOT_FOUND, LIKELY, "does not know 1001"),
    (asked(410, "Gone"), C.NOT_FOUND, LIKELY, "does not know 1001"),
    # Little is known.
    (asked(486), C.BUSY, POSSIBLE, "a call is up, or do not disturb is on"),
    (asked(600), C.BUSY, POSSIBLE, "a call is up"),
    (asked(603), C.DO_NOT_DISTURB, POSSIBLE, "the call was declined"),
    (asked(408, sender=PBX), C.UNREACHABLE_CONTACT, LIKELY, "hq passed the call on"),
    (asked(504), C.UNREACHABLE_CONTACT, LIKELY, "nobody answered it"),
    (asked(500, "Server Error"), C.UNKNOWN, POSSIBLE, "explains it: 500 Server Error"),
    (
        Evidence(unanswered=C.TIMEOUT),
        C.UNKNOWN,
        POSSIBLE,
        "nothing that is known explains it: no answer (timeout)",
    ),
    (
        Evidence(place="hq", registrar_down=True),
        C.UNKNOWN,
        LIKELY,
        "hq itself does not",
    ),
    (Evidence(place="hq", blind="no rights"), C.UNKNOWN, POSSIBLE, "hq cannot be read"),
    (
        known(registration=HERE, passed_on=True),
        C.STALE_BINDING,
        LIKELY,
        "hq passes on what is for it, but nobody answers",
    ),
    (
        Evidence(who="1001", place="hq", passed_on=True),
        C.STALE_BINDING,
        LIKELY,
        "hq takes what is for 1001 and passes it on",
    ),
    (Evidence(), C.UNKNOWN, POSSIBLE, "nothing is known of it"),
    # Nothing is wrong.
    (known(registration=HERE), None, LIKELY, "1001 is registered: nothing is wrong"),
    (
        known(registration=HERE, reachable=True),
        None,
        LIKELY,
        "1001 is registered and answers: nothing is wrong now",
    ),
    (asked(200, "OK", sender=PBX), None, LIKELY, "hq answers 200 OK"),
]


@pytest.mark.parametrize(("evidence", "cause", "sure", "words"), COMBINATIONS)
def test_evidence_has_one_cause(
    evidence: Evidence, cause: Cause | None, sure: Confidence, words: str
) -> None:
    found = classify(evidence)
    assert (found.cause, found.confidence) == (cause, sure)
    assert words in found.sentence
    assert not found.sentence.endswith((".", ":", " "))
    assert found.steps or cause is None


def test_there_are_many_combinations_and_every_row_is_one_of_them() -> None:
    assert len(COMBINATIONS) >= 60
    first = [
        next(row for row in TABLE if row.fits(evidence))
        for evidence, *_ in COMBINATIONS
    ]
    assert [row.sentence for row in TABLE if row not in first] == []


def test_every_template_uses_only_words_that_are_filled() -> None:
    filled = words_of(Evidence()).keys()
    for row in TABLE:
        for text in (row.sentence, *row.steps):
            names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert names <= filled, text


def test_the_causes_of_the_table_are_those_that_are_counted() -> None:
    named = {
        *(C.UNREGISTERED, C.EXPIRED, C.DO_NOT_DISTURB, C.OUT_OF_HOURS, C.OVERLOADED),
        *(C.MAINTENANCE, C.STALE_BINDING, C.UNREACHABLE_CONTACT, C.BUSY, C.UNKNOWN),
        *(C.FORWARDING_FAILED, C.FORBIDDEN, C.NOT_FOUND, C.UNAUTHORIZED),
    }
    assert named == CAUSES


def test_a_finding_shows_its_evidence_the_most_telling_first() -> None:
    answer = said(
        480,
        "Temporarily Unavailable",
        sender=PBX,
        agent="Kamailio",
        source="10.0.0.5:5060",
        at=100.0,
        q850=20,
        text="subscriber absent",
    )
    evidence = known(
        registration=GONE,
        since=60.0,
        loss=Loss.EXPIRED,
        granted=60,
        answer=answer,
        history=(Fact(0.0, "refresh, 60 s granted"), Fact(60.0, "end")),
    )
    assert classify(evidence) == Finding(
        Cause.EXPIRED,
        CERTAIN,
        "1001's registration expired after the 60 s granted: the phone did not "
        "refresh it",
        (
            Fact(
                100.0,
                "480 Temporarily Unavailable to INVITE from 10.0.0.5:5060, the PBX "
                "(Kamailio)",
            ),
            Fact(100.0, "Reason: Q.850 cause 20, subscriber absent"),
            Fact(60.0, "not registered at hq"),
            Fact(0.0, "refresh, 60 s granted"),
            Fact(60.0, "end"),
        ),
        (
            "check power and network of the phone at 10.20.0.31; it should re-register "
            "within 60 s",
            "then its account on the phone: server, user, password",
        ),
    )


def test_a_mail_that_names_the_subject_needs_no_name_in_the_finding() -> None:
    evidence = Evidence(place="hq", registration=GONE, loss=Loss.EXPIRED, granted=60)
    assert classify(evidence).sentence == (
        "its registration expired after the 60 s granted: the phone did not refresh it"
    )


@pytest.mark.parametrize(
    ("phrase", "purpose"),
    [
        ("Closed", True),
        ("We are now closed", True),
        ("Currently closed, call again at 9", True),
        ("Outside office hours", True),
        ("Connection closed", False),
        ("Server closed the connection", False),
        ("Closed by peer", False),
        ("The circuit is closed", False),
    ],
)
def test_a_connection_that_was_closed_is_no_closing_time(
    phrase: str, purpose: bool
) -> None:
    found = classify(Evidence(place="hq", answer=Answer(status=480, reason=phrase)))
    assert (found.cause is Cause.OUT_OF_HOURS) is purpose


@pytest.mark.parametrize(
    ("phrase", "barred"),
    [
        ("Account suspended", True),
        ("Your account has been suspended", True),
        ("Suspended account", True),
        ("Blocked", True),
        ("Outgoing calls barred", True),
        ("Calls to this destination are not permitted", True),
        ("Destination not permitted", True),
        ("Not allowed", True),
        ("Call barring is active", True),
        ("Not blocked", False),
        ("Number not blocked", False),
        ("Number unblocked", False),
        ("No suspended account", False),
        ("Worker thread blocked", False),
        ("Transport suspended", False),
        ("Method Not Allowed", False),
    ],
)
def test_only_who_is_said_to_be_barred_is_forbidden_for_certain(
    phrase: str, barred: bool
) -> None:
    found = classify(Evidence(place="hq", answer=Answer(status=404, reason=phrase)))
    certain = (found.cause, found.confidence) == (Cause.FORBIDDEN, Confidence.CERTAIN)
    assert certain is barred
