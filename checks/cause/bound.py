"""Rows of what is said on purpose, and of whether there is a binding at all."""

from __future__ import annotations

from checks.cause.fits import (
    BACK_LATER,
    DND,
    HOURS,
    MAINTENANCE,
    NOT_REGISTERED,
    OVERLOAD,
    Q850_ABSENT,
    Q850_FULL,
    away,
    closed,
    either,
    every,
    here,
    lost,
    mass,
    of_a_server,
    overloaded,
    paused,
    q850,
    refuses,
    restarted,
    retry,
    says,
    status,
    unreachable,
)
from checks.cause.row import (
    ACCOUNT,
    CERTAIN,
    LIKELY,
    LOAD,
    NAT,
    PHONE,
    POSSIBLE,
    UNDO_DND,
    Row,
)
from checks.observation import Cause, Loss, State

BOUND: tuple[Row, ...] = (
    # On purpose, and said by who must know.
    Row(
        either(paused(Cause.MAINTENANCE), lambda e: bool(e.maintenance)),
        Cause.MAINTENANCE,
        CERTAIN,
        "{who} is in maintenance{window}",
        ("wait for its end, or ask who runs it",),
    ),
    Row(
        every(refuses, says(MAINTENANCE)),
        Cause.MAINTENANCE,
        LIKELY,
        "{sender} says that it is in maintenance: {said}{quoted}",
        ("wait for its end{retry}, or ask who runs {place}",),
    ),
    Row(
        every(paused(Cause.DO_NOT_DISTURB), lambda e: not away(e)),
        Cause.DO_NOT_DISTURB,
        CERTAIN,
        "do not disturb is on for {who}, by the word of {place}",
        (UNDO_DND,),
    ),
    Row(
        every(refuses, says(DND)),
        Cause.DO_NOT_DISTURB,
        CERTAIN,
        "do not disturb is on: {sender} answers {said}{quoted}",
        (UNDO_DND,),
    ),
    Row(
        every(refuses, says(HOURS)),
        Cause.OUT_OF_HOURS,
        CERTAIN,
        "{sender} says that it is closed now: {said}{quoted}",
        ("nothing is broken; check the time condition there if this is wrong",),
    ),
    # Too much to do.
    Row(
        either(status(503), every(status(*BACK_LATER), retry, of_a_server)),
        Cause.OVERLOADED,
        LIKELY,
        "{sender} has too much to do, or does not serve now: {said}{quoted}{retry}",
        (LOAD, "leave it alone for that time: who asks again makes it worse"),
    ),
    Row(
        every(refuses, either(q850(Q850_FULL), says(OVERLOAD))),
        Cause.OVERLOADED,
        LIKELY,
        "{sender} has no room for the call: {said}{quoted}",
        (LOAD, "count the channels that are taken against those that there are"),
    ),
    # Forwarded: the answer is somebody else's.
    Row(
        every(refuses, lambda e: bool(e.answer and e.answer.forwarded)),
        Cause.FORWARDING_FAILED,
        CERTAIN,
        "the call was forwarded to {forwarded}, and answered {said} there",
        (
            "check where {whose} calls are forwarded: on the phone, then on {place}",
            "call {forwarded} itself",
        ),
    ),
    # No binding.
    Row(
        every(away, lambda e: bool(e.blind)),
        Cause.UNREGISTERED,
        POSSIBLE,
        "{who} was not registered when {place} could last be read ({blind})",
        ("have {place} read again first: {blind}",),
    ),
    Row(
        restarted,
        Cause.UNREGISTERED,
        CERTAIN,
        "{place} restarted and knows no binding of {who} since: the phone comes back at"
        " its next refresh",
        (
            "wait for the phone's next refresh{within}, or have it re-register",
            "keep the bindings over restarts (astdb, usrloc db_mode)",
        ),
    ),
    Row(
        every(mass, lambda e: e.registration is State.UNREGISTERED),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered, and nor are {others} others of {site}",
        ("look first at the uplink, the switch and the VPN of {site}",),
    ),
    Row(
        every(lost(Loss.EXPIRED), overloaded),
        Cause.OVERLOADED,
        LIKELY,
        "{whose} registration expired{granted} while {place} answered 503, or not at"
        " all, to {share} of what it was asked",
        (LOAD, "then " + PHONE),
    ),
    Row(
        every(lost(Loss.DEREGISTERED), closed),
        Cause.OUT_OF_HOURS,
        LIKELY,
        "{who} has logged out, and {closed} is closed",
        ("nothing is broken; if this is wrong, have the phone log in",),
    ),
    Row(
        lost(Loss.EXPIRED),
        Cause.EXPIRED,
        CERTAIN,
        "{whose} registration expired{granted}: the phone did not refresh it",
        (PHONE, ACCOUNT),
    ),
    Row(
        lost(Loss.DEREGISTERED),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered: the phone logged out before its registration ended",
        ("see who logged it out or turned it off{at}",),
    ),
    Row(
        lost(Loss.CONNECTION_LOST),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered: the connection that it had registered over has"
        " closed",
        ("check network, switch and VPN of the phone{at}",),
    ),
    Row(
        lambda e: e.registration is State.NEVER_REGISTERED,
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} has not registered since it is watched",
        (
            "check that a phone is set up for it: server, user, password",
            "read the log of {place} for refused REGISTERs of {who}",
        ),
    ),
    Row(
        lost(Loss.UNKNOWN),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered: its registration was removed, and {place} does not"
        " say why",
        (PHONE, ACCOUNT),
    ),
    Row(
        away,
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered",
        (PHONE, ACCOUNT),
    ),
    # Who sent it knows of no binding, and nobody else has looked.
    Row(
        every(
            refuses,
            lambda e: not here(e),
            either(
                q850(Q850_ABSENT),
                says(NOT_REGISTERED),
                lambda e: 32009 in e.provider_codes,
            ),
        ),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered: {sender} says so ({said}{quoted})",
        (PHONE, ACCOUNT),
    ),
    Row(
        lambda e: 32009 in e.provider_codes and not here(e),
        Cause.UNREGISTERED,
        CERTAIN,
        "{who} is not registered at the provider: it reports error 32009",
        (PHONE, ACCOUNT),
    ),
    # A binding, and nobody behind it.
    Row(
        every(unreachable, lambda e: e.refreshing is True),
        Cause.UNREACHABLE_CONTACT,
        CERTAIN,
        "{who} is registered and goes on refreshing, but does not answer {asks} at"
        " {address}: what is sent there does not arrive",
        (NAT, "see that firewalls let {place} reach {address}"),
    ),
    Row(
        every(unreachable, lambda e: e.behind_nat),
        Cause.UNREACHABLE_CONTACT,
        LIKELY,
        "{who} is registered from behind a NAT, and does not answer {asks} at"
        " {address}",
        (NAT, "then see that the phone is on"),
    ),
    Row(
        every(unreachable, lambda e: e.port_closed),
        Cause.STALE_BINDING,
        CERTAIN,
        "{who} is registered, but does not answer {asks}: nothing listens at {address}"
        " any more, and the binding is stale{ends}",
        (
            "see whether the phone has restarted on another port; have it re-register",
            "or remove the binding on {place}",
        ),
    ),
    Row(
        unreachable,
        Cause.STALE_BINDING,
        LIKELY,
        "{who} is registered, but does not answer {asks}: the phone at {address} is"
        " gone, and the binding is stale{ends}",
        (
            "check power and network of the phone{at}",
            "remove the binding on {place}, or wait for its end{within_left}",
        ),
    ),
)
