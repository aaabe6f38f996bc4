"""The words for what happened: each rule in plain English.

Tables only. A rule's forms are templates in which `notification` puts the name and
the times; verbs are fields too ({does}, {was}), so that one form serves one
extension and thirty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from alerting.notification.causes import LOG_STEP
from alerting.notification.twilio import CODES
from checks.observation import Cause, Kind, State


@dataclass(frozen=True, slots=True)
class Wording:
    """How one rule is told.

    `firing` takes {name} {adverb} {since}, `resolved` {name} {after}, `late` {name}
    {span}, all of them the verbs of `SINGULAR`; {is_} is left out of a subject line.
    `because` says whether the cause stands there; `forms` say it by themselves.
    """

    firing: str
    resolved: str
    late: str
    follows: str  # what it means for calls; follows the first sentence
    step: str
    because: bool = True
    worse: str = "now "  # adverb when it has become worse
    forms: dict[Cause | State, str] = field(default_factory=dict)  # other `firing`
    steps: dict[State, str] = field(default_factory=dict)  # other `step`
    means: dict[Cause, str] = field(default_factory=dict)  # other `follows`


SINGULAR = {
    "is": "is",
    "was": "was",
    "has": "has",
    "does": "does",
    "answers": "answers",
    "needs": "needs",
    "shows": "shows",
    "ends": "ends",
    "accepts": "accepts",
    "it": "it",
    "certificate": "certificate",
}
PLURAL = {
    "is": "are",
    "was": "were",
    "has": "have",
    "does": "do",
    "answers": "answer",
    "needs": "need",
    "shows": "show",
    "ends": "end",
    "accepts": "accept",
    "it": "them",
    "certificate": "certificates",
}

_CANNOT_REGISTER = "{name} {adverb}cannot register{since}"
_SAID_BY_SENTENCE = (
    Cause.WRONG_PASSWORD,
    Cause.UNKNOWN_USER,
    Cause.ADDRESS_DENIED,
    Cause.WRONG_NAME,
    Cause.TRANSPORT_BLOCKED,
    Cause.STALE_NONCE,
)

RULES: dict[str, Wording] = {
    "ExtensionUnregistered": Wording(
        firing="{name} {is_}{adverb}unregistered{since}",
        resolved="{name} {is_}registered again{after}",
        late="{name} {was} unregistered{span}",
        follows="calls to {it} now get 480 Temporarily Unavailable",
        step="check power and network of the phone{at}",
        because=False,
        forms={
            State.NEVER_REGISTERED: "{name} {has} never registered",
        },
    ),
    "ExtensionUnreachable": Wording(
        firing="{name} {is_}{adverb}unreachable{since}",
        resolved="{name} {is_}reachable again{after}",
        late="{name} {was} unreachable{span}",
        follows="registered, but nothing answers there, so calls do not ring",
        step="check the network between PBX and phone{at} (NAT, VPN); "
        "then reboot the phone",
        because=False,
    ),
    "OptionsFailing": Wording(
        firing="{name} {adverb}{does} not answer OPTIONS{since}",
        resolved="{name} {answers} OPTIONS again{after}",
        late="{name} did not answer OPTIONS{span}",
        follows="calls through {it} probably fail",
        step="check that it is up, and the way to it",
        forms={
            Cause.OVERLOADED: "{name} {adverb}{answers} OPTIONS with 503{since}",
            Cause("response_408"): "{name} {adverb}{answers} OPTIONS with 408{since}",
            Cause.MALFORMED: "{name} {adverb}{answers} OPTIONS with nonsense{since}",
            Cause.DNS_NXDOMAIN: "{name} {adverb}{does} not exist in DNS{since}",
            Cause.DNS_FAILURE: "{name} {adverb}cannot be looked up in DNS{since}",
            Cause.TLS_VERIFY: "{name} {adverb}{shows} a wrong certificate{since}",
            Cause.TLS_EXPIRED: "{name} {adverb}{shows} an expired certificate{since}",
            Cause.TLS_HANDSHAKE: "{name} {adverb}cannot agree on TLS{since}",
            Cause.WEBSOCKET_HANDSHAKE: "{name} {adverb}{shows} no SIP WebSocket{since}",
        },
    ),
    "TargetDegraded": Wording(
        firing="{name} {is_}{adverb}degraded{since}",
        resolved="{name} {answers} OPTIONS normally again{after}",
        late="{name} {was} degraded{span}",
        follows="something answers there, but not as a healthy peer does",
        step=LOG_STEP,
    ),
    "OptionsSlow": Wording(
        firing="{name} {adverb}{answers} OPTIONS slowly{since}",
        resolved="{name} {answers} OPTIONS fast again{after}",
        late="{name} answered OPTIONS slowly{span}",
        follows="calls through {it} are set up late",
        step="look at the load of the peer and of the line to it (mtr)",
        worse="still ",
    ),
    "RetransmitsHigh": Wording(
        firing="{name} {adverb}{needs} OPTIONS sent more than once{since}",
        resolved="{name} {answers} OPTIONS at the first send again{after}",
        late="{name} needed OPTIONS sent more than once{span}",
        follows="packets are lost on the way there or back, so voice may be broken up",
        step="look for loss on the line (mtr), starting at this host",
        worse="still ",
    ),
    "CertificateExpiring": Wording(
        firing="{certificate} of {name} {ends} soon",
        resolved="{certificate} of {name} {was} renewed",
        late="{certificate} of {name} {was} about to end, and {was} renewed",
        follows="from its end on, calls over TLS fail",
        step="renew it, and see that the peer serves the new one "
        "(openssl s_client -connect HOST:5061)",
        forms={Cause.TLS_EXPIRED: "{certificate} of {name} {has} expired"},
    ),
    "CertificateCritical": Wording(
        firing="{certificate} of {name} {ends} very soon",
        resolved="{certificate} of {name} {was} renewed",
        late="{certificate} of {name} {was} about to end, and {was} renewed",
        follows="from its end on, calls over TLS fail",
        step="renew it now, and see that the peer serves the new one "
        "(openssl s_client -connect HOST:5061)",
        forms={Cause.TLS_EXPIRED: "{certificate} of {name} {has} expired"},
    ),
    "OutboundRegistrationLost": Wording(
        firing="{name} {is_}{adverb}lost{since}",
        resolved="{name} {is_}registered again{after}",
        late="{name} {was} lost{span}",
        follows="calls through {it} probably fail, in both directions",
        step="check that its server is up, and the way to it from the PBX; "
        "then what the PBX's own log says of the registration",
        forms={State.REJECTED: "{name} {is_}{adverb}refused{since}"},
        steps={
            State.REJECTED: "check its user and password on the PBX (case counts), and "
            "at the provider that the account is open and the PBX's address allowed"
        },
    ),
    "RegisterFailing": Wording(
        firing=_CANNOT_REGISTER,
        resolved="{name} can register again{after}",
        late="{name} could not register{span}",
        follows="a phone that registers like this is cut off from calls",
        step="run sipwatch register by hand: it says what was asked and answered",
        worse="still ",
        forms={
            Cause.IN_USE: "{name} {is_}{adverb}in use by a phone{since}",
            Cause.NOT_REMOVED: "{name} {adverb}{has} a test contact left{since}",
            # The sentences of these say the cause themselves.
            **dict.fromkeys(_SAID_BY_SENTENCE, _CANNOT_REGISTER),
        },
        means={
            Cause.IN_USE: "sipwatch registers nothing there, so as not to throw the "
            "phone out",
            Cause.NOT_REMOVED: "calls to it may go to the test contact, which answers "
            "480, until it expires",
        },
    ),
    "RefreshOverdue": Wording(
        firing="{name} {is_}{adverb}overdue with its refresh{since}",
        resolved="{name} {has} refreshed its registration{after}",
        late="{name} {was} overdue with its refresh{span}",
        follows="if the phone has died, calls to {it} fail when the registration ends",
        step="check power and network of the phone{at}",
        because=False,
        worse="still ",
    ),
    "FewContacts": Wording(
        firing="{name} {adverb}{has} too few contacts{since}",
        resolved="{name} {has} all contacts again{after}",
        late="{name} had too few contacts{span}",
        follows="calls ring only where it is still registered",
        step="check the other phone or app of this user: power, network, account",
        because=False,
        worse="still ",
    ),
    "ContactsSilent": Wording(
        firing="{name} {adverb}{has} no phone that answers sipwatch{since}",
        resolved="{name} {has} phones that answer sipwatch again{after}",
        late="{name} had no phone that answered sipwatch{span}",
        follows="either its phones are cut off, or this host is; "
        "none is called down for it",
        step="ask a phone from here (sipwatch probe) and from the PBX; then look at "
        "switches, routes and firewalls between this host and the phones",
        because=False,
        worse="still ",
    ),
    "RegistrationPolicy": Wording(
        firing="{name} {is_}{adverb}registered outside the policy{since}",
        resolved="{name} {is_}registered within the policy again{after}",
        late="{name} {was} registered outside the policy{span}",
        follows="a phone that dies is seen late, or one lost packet costs it its place",
        step="change Expires on the phone or its range on the PBX, or `expiry` here; "
        "sipwatch audit shows all phones by kind",
        worse="still ",
    ),
    "RegistrationAudit": Wording(
        firing="{name} {has} a new audit of registrations{at_time}",
        resolved="{name} {has} a new audit of registrations{at_time}",
        late="{name} {has} a new audit of registrations{at_time}",
        follows="since the last one, kinds of phones came into the policy or left it",
        step="change Expires on the phones or its range on the PBX, or `expiry` here; "
        "sipwatch audit shows all phones by kind",
    ),
    "RegistrarUnreadable": Wording(
        firing="{name} {adverb}cannot be read{since}",
        resolved="{name} can be read again{after}",
        late="{name} could not be read{span}",
        follows="who is registered there is unknown, and nobody is called down for it",
        step="check that the PBX runs, and that it lets this host in",
        worse="still ",
    ),
    "MassUnregistration": Wording(
        firing="{name} {is_}{adverb}unregistered{since}",
        resolved="{name} {is_}registered again{after}",
        late="{name} {was} unregistered{span}",
        follows="calls to {it} now get 480 Temporarily Unavailable",
        step="look at what they share: a switch, an uplink, a VPN, a change",
        because=False,
        worse="still ",
    ),
    "Flapping": Wording(
        firing="{name} {is_}{adverb}flapping{since}",
        resolved="{name} {is_}steady again{after}",
        late="{name} {was} flapping{span}",
        follows="it comes and goes, and is not told each time until it is steady",
        step="look for what is loose: a cable, Wi-Fi, a power supply, NAT on the way; "
        "sipwatch history shows when it came and went",
        worse="still ",
    ),
    "VantageLost": Wording(
        firing="sipwatch {is_}{adverb}cut off from the network{since}",
        resolved="sipwatch {is_}on the network again{after}",
        late="sipwatch {was} cut off from the network{span}",
        follows="nothing that it watches can be seen: all of it is unknown, not down",
        step="check link, address, gateway and firewall of this host "
        "(ip link, ip route)",
        worse="still ",
    ),
    "TwilioAlert": Wording(
        firing="Twilio {adverb}reports errors about {name}{since}",
        resolved="Twilio reports no more errors about {name}{after}",
        late="Twilio reported errors about {name}{span}",
        follows="calls or registrations of {it} fail at Twilio",
        step="open the alert in Twilio's Console (Monitor, Logs, Errors)",
        because=False,
        forms={
            Cause.of_twilio(code): f"Twilio {{adverb}}reports {code} ({words.short})"
            " about {name}{since}"
            for code, words in CODES.items()
        },
    ),
    "TwilioUnreadable": Wording(
        firing="Twilio's alerts {adverb}cannot be read{since}",
        resolved="Twilio's alerts can be read again{after}",
        late="Twilio's alerts could not be read{span}",
        follows="what Twilio reports is not seen here meanwhile, and is read later",
        step="check the credentials of `twilio`, and the way to monitor.twilio.com",
        worse="still ",
    ),
    "RegistrarRestarted": Wording(
        firing="{name} restarted{at_time}",
        resolved="{name} has settled after its restart{at_time}",
        late="{name} restarted{at_time}",
        follows="phones come back one by one; who does not is told separately",
        step="if nobody restarted it, read the log of the PBX around that time",
    ),
    "RegistrarFailedOver": Wording(
        firing="{name} failed over{at_time}",
        resolved="{name} has settled after its failover{at_time}",
        late="{name} failed over{at_time}",
        follows="another member of the cluster is active now",
        step="find out why the one that was active gave up",
    ),
    "NotifierFailing": Wording(
        firing="{name} {adverb}{does} not accept notifications{since}",
        resolved="{name} {accepts} notifications again{after}",
        late="{name} did not accept notifications{span}",
        follows="what should be told that way comes late or by another way",
        step="check the mail server or service behind it and its credentials, "
        "then run sipwatch test-notify",
    ),
    "HeartbeatFailing": Wording(
        firing="the heartbeat {adverb}{does} not arrive{since}",
        resolved="the heartbeat arrives again{after}",
        late="the heartbeat did not arrive{span}",
        follows="who waits for it may alarm, though all is well here",
        step="check the way from this host to the URL of `heartbeat`, and the URL",
        worse="still ",
    ),
    "StoreFailing": Wording(
        firing="sipwatch {adverb}cannot write its database{since}",
        resolved="sipwatch writes its database again{after}",
        late="sipwatch could not write its database{span}",
        follows="alarms go on, but a restart now would forget their state",
        step="check space and rights of the database's folder (df, ls -l)",
        worse="still ",
    ),
    "ConfigNotReloaded": Wording(
        firing="the changed configuration is {adverb}not in force{since}",
        resolved="the configuration is in force again{after}",
        late="a changed configuration was not in force{span}",
        follows="sipwatch goes on by the old one, and could not start by the new one",
        step="run sipwatch check-config, put it right and reload again",
        worse="still ",
    ),
    "ResolverFailing": Wording(
        firing="sipwatch {adverb}gets no answer from DNS{since}",
        resolved="sipwatch gets answers from DNS again{after}",
        late="sipwatch got no answer from DNS{span}",
        follows="peers are asked at their last known addresses, for up to 24 h",
        step="check the resolvers of this host (/etc/resolv.conf)",
        worse="still ",
    ),
    "ClockJump": Wording(
        firing="the system clock jumped{at_time}",
        resolved="the system clock is steady since its jump{at_time}",
        late="the system clock jumped{at_time}",
        follows="alarms keep their own time; times written before it may be off",
        step="check time synchronisation of this host (chronyc tracking)",
    ),
    "UnavailableRate": Wording(
        firing="real calls are {adverb}answered 480 more than usual{since}",
        resolved="real calls are answered 480 no more than usual{after}",
        late="real calls were answered 480 more than usual{span}",
        follows="callers hear that the called party is not available",
        step="see who answers it (sipwatch status; sipwatch diagnose EXTENSION)",
        worse="still ",
    ),
    "ReceiveBufferDrops": Wording(
        firing="sipwatch {adverb}loses packets on its own host{since}",
        resolved="sipwatch no longer loses packets on its own host{after}",
        late="sipwatch lost packets on its own host{span}",
        follows="answers are lost here, not on the network",
        step="raise net.core.rmem_max, and look at the load of this host",
        worse="still ",
    ),
}

# An own rule has no words; its subject's state has.
GENERIC = Wording(
    firing="{rule} fires for {name}{since}",
    resolved="{rule} no longer fires for {name}{after}",
    late="{rule} fired for {name}{span}",
    follows="a rule of your own configuration",
    step="see what the rule says in the configuration",
    worse="still ",
)
_BY_STATE = {
    (Kind.EXTENSION, State.UNREGISTERED): "ExtensionUnregistered",
    (Kind.EXTENSION, State.NEVER_REGISTERED): "ExtensionUnregistered",
    (Kind.EXTENSION, State.UNREACHABLE): "ExtensionUnreachable",
    (Kind.TARGET, State.DOWN): "OptionsFailing",
    (Kind.TARGET, State.DEGRADED): "TargetDegraded",
    (Kind.ACCOUNT, State.REJECTED): "RegisterFailing",
    (Kind.ACCOUNT, State.FAILING): "RegisterFailing",
    (Kind.REGISTRATION, State.REJECTED): "OutboundRegistrationLost",
    (Kind.REGISTRATION, State.FAILING): "OutboundRegistrationLost",
    (Kind.REGISTRAR, State.UNREADABLE): "RegistrarUnreadable",
    (Kind.VANTAGE, State.DOWN): "VantageLost",
    (Kind.TWILIO, State.FAILING): "TwilioAlert",
    (Kind.TWILIO, State.DEGRADED): "TwilioAlert",
    (Kind.TWILIO, State.UNREADABLE): "TwilioUnreadable",
}


def wording(rule: str, kind: Kind, state: State) -> Wording:
    """How a rule is told; an own rule as the built-in one of the same state."""
    known = RULES.get(rule) or RULES.get(_BY_STATE.get((kind, state), ""))
    return known or GENERIC


def borrowed(rule: str, words: Wording | None) -> bool:
    """Whether an own rule is told in a built-in rule's words."""
    return rule not in RULES and words is not GENERIC and words is not None


NOUNS = {
    Kind.TARGET: "targets",
    Kind.EXTENSION: "extensions",
    Kind.REGISTRATION: "registrations",
    Kind.ACCOUNT: "accounts",
    Kind.REGISTRAR: "registrars",
    Kind.SITE: "sites",
    Kind.TWILIO: "SIP users",
}
# Of targets; others stand as they are written.
ROLES = {"trunk": "trunks", "pbx": "PBXs", "phone": "phones"}
SHOWN_ROLES = {"": "target", "pbx": "PBX"}

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400


def span(seconds: float) -> str:
    """A length of time as people say it: "45 s", "14 min", "2 h 5 min", "3 d 4 h"."""
    left = max(0, round(seconds))
    if left < MINUTE:
        return f"{left} s"
    if left < HOUR:
        return f"{left // MINUTE} min"
    if left < DAY:
        return _two(left, HOUR, "h", MINUTE, "min")
    return _two(left, DAY, "d", HOUR, "h")


def _two(left: int, big: int, name: str, small: int, smaller: str) -> str:
    rest = left % big // small
    return f"{left // big} {name}" + (f" {rest} {smaller}" if rest else "")


_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+)(?::\d+)?(?=[\s,]|$)")


def host_of(last_seen: str) -> str:
    """The host in "10.20.0.31:5060 over UDP, Yealink"; empty if there is none."""
    match = _HOST.match(last_seen)
    host = match[1] if match else ""
    return host if "." in host or ":" in host else ""
