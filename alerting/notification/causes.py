"""The words for why: each cause and each loss in plain English, and what to do."""

from __future__ import annotations

from typing import NamedTuple

from alerting.notification.twilio import words_of
from checks.observation import Cause, Loss


class Reason(NamedTuple):
    """A cause as two words, as a sentence, and what to do about it."""

    short: str
    words: str
    step: str


_TLS_STEP = "look at its certificate: openssl s_client -connect HOST:5061"
LOG_STEP = "read the peer's own log for this answer"

CAUSES: dict[Cause, Reason] = {
    Cause.TIMEOUT: Reason(
        "timeout",
        "nothing answered in time",
        "check that it is up; then firewalls and routing on the way; "
        "then whether it has banned this host (fail2ban, ACL)",
    ),
    Cause.ICMP_UNREACHABLE: Reason(
        "unreachable",
        "a router or the host itself said that it cannot be reached",
        "check that the host is on and that something listens on the port",
    ),
    Cause.CONNECTION_REFUSED: Reason(
        "connection refused",
        "the host is up, but nothing listens on the port",
        "start the service there, or correct the port",
    ),
    Cause.CONNECTION_RESET: Reason(
        "connection reset",
        "the connection was cut by the other side",
        "see whether the service there has restarted; then firewalls on the way",
    ),
    Cause.DNS_NXDOMAIN: Reason(
        "no such name in DNS",
        "DNS says that the name does not exist",
        "check the spelling of the name, and that the domain has not lapsed",
    ),
    Cause.DNS_FAILURE: Reason(
        "DNS failure",
        "the DNS servers gave no usable answer",
        "check the resolvers of this host (/etc/resolv.conf)",
    ),
    Cause.TLS_VERIFY: Reason(
        "certificate not valid for it",
        "its TLS certificate is not trusted or is for another name",
        f"{_TLS_STEP}; compare the names and the issuer",
    ),
    Cause.TLS_EXPIRED: Reason(
        "certificate expired",
        "its TLS certificate has expired",
        f"renew it there; {_TLS_STEP}",
    ),
    Cause.TLS_HANDSHAKE: Reason(
        "TLS handshake failed",
        "TLS could not be agreed on",
        "check that the port speaks TLS, and which versions it offers",
    ),
    Cause.WEBSOCKET_HANDSHAKE: Reason(
        "WebSocket handshake failed",
        "what listens there does not speak SIP over WebSocket with us",
        "check port and path (`;path=/ws`), and whom the server lets in",
    ),
    Cause.MALFORMED: Reason(
        "malformed answer",
        "something answered, but nothing that can be read, or not completely",
        "check that the port is the right one, and who else answers there",
    ),
    Cause.OVERLOADED: Reason(
        "503 Service Unavailable",
        "it answers 503: overloaded, starting, or in maintenance",
        "look at its load and at announced maintenance",
    ),
    Cause.UNAUTHORIZED: Reason(
        "credentials refused",
        "it refused the user name or password",
        "check both on each side (case counts)",
    ),
    Cause.FORBIDDEN: Reason(
        "forbidden",
        "it says no: rights are missing",
        "allow this host's address and user there",
    ),
    Cause.NOT_FOUND: Reason(
        "404 Not Found",
        "it does not know what was asked for",
        "check the user, domain or path in the configured address",
    ),
    Cause.UNAVAILABLE: Reason(
        "480 Temporarily Unavailable",
        "it answers 480: nobody is there to take a call",
        "see whether the phone behind it is registered",
    ),
    Cause.UNREGISTERED: Reason(
        "not registered",
        "no phone is registered there",
        "check power and network of the phone, then its account",
    ),
    Cause.DO_NOT_DISTURB: Reason(
        "do not disturb",
        "its user has switched on do not disturb",
        "nothing is broken; ask the user",
    ),
    Cause.OUT_OF_HOURS: Reason(
        "out of hours",
        "the PBX says that it is closed at this hour",
        "nothing is broken; check the time condition if this is wrong",
    ),
    Cause.MAINTENANCE: Reason(
        "maintenance",
        "it is in maintenance",
        "wait for the end of the maintenance, or ask who runs it",
    ),
    Cause.STALE_BINDING: Reason(
        "stale binding",
        "the PBX still holds a registration of a phone that is gone",
        "remove the binding on the PBX, or wait for its end",
    ),
    Cause.UNREACHABLE_CONTACT: Reason(
        "contact unreachable",
        "the phone is registered, but does not answer at its address",
        "check the network between PBX and phone, NAT first",
    ),
    Cause.EXPIRED: Reason(
        "registration expired",
        "its registration expired, and the phone did not refresh it",
        "check power and network of the phone",
    ),
    Cause.BUSY: Reason(
        "busy",
        "it is in a call, or says that it is",
        "ask whether the user is in a call; else look for do not disturb",
    ),
    Cause.FORWARDING_FAILED: Reason(
        "forwarding failed",
        "the call was forwarded, and where it was forwarded to nobody took it",
        "check the forwarding of the phone and of the PBX, and where it leads",
    ),
    Cause.UNKNOWN: Reason(
        "not explained",
        "nothing that is known explains it",
        LOG_STEP,
    ),
    Cause.WRONG_PASSWORD: Reason(
        "wrong password",
        "the registrar knows the user, and the password is wrong",
        "compare the password on each side (case counts)",
    ),
    Cause.UNKNOWN_USER: Reason(
        "unknown user",
        "the registrar has no such user",
        "check the user name, and that the PBX has loaded this user",
    ),
    Cause.ADDRESS_DENIED: Reason(
        "address not allowed",
        "the registrar does not let this user register from this host's address",
        "let this host's address in there (permit, ACL)",
    ),
    Cause.STALE_NONCE: Reason(
        "nonce always stale",
        "the registrar calls each nonce stale, the one it has just given as well",
        "check its clock, and whether several servers answer under one name",
    ),
    Cause.UNKNOWN_DIGEST: Reason(
        "unknown digest",
        "the registrar asks for a kind of authentication that is not spoken here",
        "offer Digest with MD5, SHA-256 or SHA-512-256 there",
    ),
    Cause.INTERVAL_TOO_BRIEF: Reason(
        "423 Interval Too Brief",
        "the registrar takes only longer registrations",
        "raise `expires` of the account, or lower the least time there",
    ),
    Cause.REDIRECTED: Reason(
        "redirected",
        "the registrar says that the account is served elsewhere",
        "write the address that it names as `registrar` or `outbound_proxy`",
    ),
    Cause.WRONG_NAME: Reason(
        "wrong name",
        "a name like this cannot be a registrar",
        "correct the name in the configuration",
    ),
    Cause.TRANSPORT_BLOCKED: Reason(
        "transport blocked",
        "it does not answer over this transport, and does over another",
        "let the port pass in the firewalls, or use the transport that answers",
    ),
    Cause.IN_USE: Reason(
        "account in use",
        "a phone is registered with the account that was called dedicated",
        "give sipwatch an account of its own, or set mode: query; then reload",
    ),
    Cause.NOT_REMOVED: Reason(
        "test contact not removed",
        "the test contact is still registered",
        "remove it on the PBX, or wait until it expires",
    ),
    Cause.NO_LIST: Reason(
        "no list of registrations",
        "the PBX is up, but does not tell who is registered",
        "see whether the module that it names is loaded and runs, then the PBX's log",
    ),
}

LOSSES: dict[Loss, Reason] = {
    Loss.EXPIRED: Reason(
        "expired",
        "its registration expired without a refresh",
        "check power and network of the phone{at}",
    ),
    Loss.DEREGISTERED: Reason(
        "logged out",
        "the phone itself de-registered",
        "see who logged it out or turned it off{at}; where that is usual, "
        "list it under extensions.logout_ok",
    ),
    Loss.CONNECTION_LOST: Reason(
        "connection lost",
        "the connection over which it was registered broke",
        "check network, switch and VPN of the phone{at}",
    ),
    Loss.UNKNOWN: Reason(
        "gone",
        "its registration is gone; the PBX does not say how it ended",
        "check power and network of the phone{at}",
    ),
}


def reason(cause: Cause) -> Reason:
    """The words for a cause; any final response has them."""
    known = CAUSES.get(cause)
    if known:
        return known
    if cause.startswith("twilio_"):
        code = cause.removeprefix("twilio_")
        short, words, step = words_of(int(code))
        return Reason(f"{code} {short}", words, step)
    code = cause.removeprefix("response_")
    return Reason(f"answers {code}", f"it answers {code}", LOG_STEP)


def explain(cause: Cause) -> tuple[str, str]:
    """A cause in plain words, and the next step: for mails, the CLI, the manual."""
    _, words, step = reason(cause)
    return words, step
