"""Rows of who has answered, where a binding does not explain it."""

from __future__ import annotations

from checks.cause.evidence import Sender
from checks.cause.fits import (
    BUSY,
    HELD_BACK,
    NOBODY,
    Q850_BARRED,
    Q850_BUSY,
    Q850_NO_WAY,
    Q850_REJECTED,
    Q850_SILENT,
    Q850_UNKNOWN,
    SUSPENDED,
    by,
    closed,
    either,
    every,
    here,
    method,
    of_a_server,
    overloaded,
    q850,
    refuses,
    says,
    status,
)
from checks.cause.row import (
    ACCOUNT,
    CERTAIN,
    LIKELY,
    LOAD,
    PHONE,
    POSSIBLE,
    UNDO_DND,
    Row,
)
from checks.observation import Cause

DEVICE, PBX, PROVIDER = Sender

ANSWERED: tuple[Row, ...] = (
    # The phone itself has answered.
    Row(
        every(by(DEVICE), status(*BUSY), lambda e: e.in_call is True),
        Cause.BUSY,
        CERTAIN,
        "{who} is in a call: the phone answers {said}",
        ("allow call waiting, if a second call should ring",),
    ),
    Row(
        every(by(DEVICE), status(*HELD_BACK), closed),
        Cause.OUT_OF_HOURS,
        POSSIBLE,
        "the phone answers {said} itself, and {closed} is closed",
        ("nothing is broken; if this is wrong, " + UNDO_DND,),
    ),
    Row(
        every(
            by(DEVICE),
            status(*BUSY),
            either(q850(Q850_BUSY), lambda e: method(e) == "INVITE"),
            lambda e: e.in_call is None,
        ),
        Cause.BUSY,
        POSSIBLE,
        "the phone answers {said} itself: it is in a call, or do not disturb is on",
        ("see whether the user is in a call", "else " + UNDO_DND),
    ),
    Row(
        every(by(DEVICE), status(*HELD_BACK)),
        Cause.DO_NOT_DISTURB,
        LIKELY,
        "the phone is there and answers {said} itself{quoted}: do not disturb is on, or"
        " its user has refused the call",
        (UNDO_DND,),
    ),
    # What the network behind says.
    Row(
        every(refuses, q850(Q850_BUSY)),
        Cause.BUSY,
        CERTAIN,
        "{sender} says that {who} is in a call: {said}{quoted}",
        ("allow call waiting, if a second call should ring",),
    ),
    Row(
        every(refuses, q850(Q850_UNKNOWN)),
        Cause.NOT_FOUND,
        CERTAIN,
        "{sender} does not know the number: {said}{quoted}",
        ("check how the number is written, and the routes of {place}",),
    ),
    Row(
        every(refuses, q850(Q850_NO_WAY)),
        Cause.UNREACHABLE_CONTACT,
        LIKELY,
        "{sender} finds no way to {who}: {said}{quoted}",
        ("look at the trunk or gateway behind {place}, and its routes",),
    ),
    Row(
        every(refuses, either(q850(Q850_BARRED), says(SUSPENDED))),
        Cause.FORBIDDEN,
        CERTAIN,
        "{sender} does not let the call through: {said}{quoted}",
        ("see what {place} allows this caller, and whether the account is suspended",),
    ),
    # Hours, and dialplans.
    Row(
        every(status(*HELD_BACK), closed),
        Cause.OUT_OF_HOURS,
        LIKELY,
        "{sender} answers {said}, and {closed} is closed",
        ("nothing is broken; check the time condition of {place} if this is wrong",),
    ),
    # Rights and names.
    Row(
        status(401, 407),
        Cause.UNAUTHORIZED,
        CERTAIN,
        "{sender} wants to know who calls, and takes no answer for it: {said}",
        ("check user name and password of the caller at {place} (case counts)",),
    ),
    Row(
        every(status(403), by(PROVIDER)),
        Cause.FORBIDDEN,
        CERTAIN,
        "the provider refuses the call: {said}{quoted}",
        (
            "see the provider's console: credit, geographic permissions, the address "
            "or credentials that calls must come from",
        ),
    ),
    Row(
        status(403),
        Cause.FORBIDDEN,
        CERTAIN,
        "{sender} refuses: {said}{quoted}",
        ("see what {place} allows this caller: its context, ACL, route",),
    ),
    Row(
        every(status(603), by(PROVIDER)),
        Cause.FORBIDDEN,
        POSSIBLE,
        "the provider declines: {said}{quoted}",
        ("see in its console whether the account is suspended, and for blocked calls",),
    ),
    Row(
        every(status(404, 410, 604), lambda e: not here(e)),
        Cause.NOT_FOUND,
        LIKELY,
        "{sender} does not know {whom}: {said}{quoted}",
        (
            "check how user and domain are written",
            "see that the user exists on {place}, and that the caller's dialplan has "
            "it; some servers say 404 of whoever is not registered",
        ),
    ),
    # Registered, and a server says otherwise.
    Row(
        every(here, lambda e: e.reachable is True, status(*NOBODY), of_a_server),
        Cause.STALE_BINDING,
        POSSIBLE,
        "{who} is registered and the phone answers, yet {sender} answers {said}{quoted}"
        " by itself: it does not look where the phone is registered",
        (
            "see which user, domain and server the call is looked up at: a second "
            "registrar, another domain, a dialplan that gives up",
            "then have the phone re-register",
        ),
    ),
    Row(
        every(here, status(*NOBODY), of_a_server),
        Cause.STALE_BINDING,
        LIKELY,
        "{who} is registered, yet {sender} answers {said}{quoted}: the binding is"
        " stale, or the registrar out of step{ends}",
        (
            "see that the phone{at} is on and can be reached",
            "remove the binding on {place}, or have the phone re-register",
        ),
    ),
    Row(
        every(here, status(*HELD_BACK), of_a_server),
        Cause.DO_NOT_DISTURB,
        POSSIBLE,
        "{who} is registered, and {sender} answers {said}{quoted} for it: do not"
        " disturb, or a dialplan that does not ring it",
        (
            "look for do not disturb of {who} on {place} (FreePBX: *78, database DND)",
            "then read its dialplan for this number",
        ),
    ),
    # Nobody knows whether there is a binding.
    Row(
        status(*BUSY),
        Cause.BUSY,
        POSSIBLE,
        "{sender} answers {said}{quoted}: a call is up, or do not disturb is on",
        ("see whether the user is in a call", "else " + UNDO_DND),
    ),
    Row(
        either(status(603), every(refuses, q850(Q850_REJECTED))),
        Cause.DO_NOT_DISTURB,
        POSSIBLE,
        "the call was declined: {said}{quoted} from {sender}",
        ("ask the user; then look for do not disturb on phone and PBX",),
    ),
    Row(
        either(status(408, 504), every(refuses, q850(Q850_SILENT))),
        Cause.UNREACHABLE_CONTACT,
        LIKELY,
        "{sender} passed the call on, and nobody answered it: {said}{quoted}",
        ("see whether the phone is on, and whether {place} can reach it",),
    ),
    Row(
        every(status(480), overloaded),
        Cause.OVERLOADED,
        POSSIBLE,
        "{sender} answers {said}, and {place} answers 503, or not at all, to {share} of"
        " what it is asked",
        (LOAD,),
    ),
    Row(
        every(status(480), by(PBX, PROVIDER)),
        Cause.UNREGISTERED,
        LIKELY,
        "{sender} itself answers {said}{quoted}: nobody is registered as {whom} there",
        (PHONE, ACCOUNT),
    ),
    Row(
        status(480),
        Cause.UNREGISTERED,
        POSSIBLE,
        "{said}{quoted} from {sender}: most likely nobody is registered as {whom}",
        (
            "ask {place} who is registered: sipwatch bindings {whom}",
            "if there is a phone: do not disturb, or a time condition",
        ),
    ),
    Row(
        lambda e: e.passed_on and here(e),
        Cause.STALE_BINDING,
        LIKELY,
        "{who} is registered, and {place} passes on what is for it, but nobody answers:"
        " the binding is stale{ends}",
        (
            "see that the phone{at} is on and can be reached",
            "remove the binding on {place}, or have the phone re-register",
        ),
    ),
    Row(
        lambda e: e.passed_on,
        Cause.STALE_BINDING,
        LIKELY,
        "{place} takes what is for {whom} and passes it on, but nobody answers: a phone"
        " is still registered there, and gone",
        (
            "check power and network of the phone",
            "remove its binding on {place}, or wait for its end",
        ),
    ),
    # No answer that says anything of it.
    Row(
        lambda e: e.registrar_down,
        Cause.UNKNOWN,
        LIKELY,
        "{place} itself does not answer: whether {who} is there cannot be told",
        ("look after {place} first",),
    ),
    Row(
        lambda e: bool(e.blind),
        Cause.UNKNOWN,
        POSSIBLE,
        "{place} cannot be read: {blind}; whether {who} is there cannot be told",
        ("have {place} read again: its address, user and rights",),
    ),
    Row(
        either(refuses, lambda e: e.unanswered is not None),
        Cause.UNKNOWN,
        POSSIBLE,
        "nothing that is known explains it{outcome}",
        ("read the log of {place} for this call, and of the phone",),
    ),
    Row(
        here,
        None,
        LIKELY,
        "{who} is registered{answers}: nothing is wrong now",
        ("if calls fail nevertheless: sipwatch diagnose --call rings it once",),
    ),
    Row(
        lambda e: 200 <= e.status < 300,
        None,
        LIKELY,
        "{sender} answers {said}: nothing is wrong now",
        (),
    ),
    Row(
        lambda e: True,
        Cause.UNKNOWN,
        POSSIBLE,
        "nothing is known of {who}",
        ("name its registrar in the configuration, or ask with --call",),
    ),
)
