"""The table of what the outcome of a REGISTER means. Pure.

The rows are tried in their order, the first that fits speaks. What PBXs say alike is
told apart by what else was seen: whether a digest was sent, which other port answers,
what the PBX's own log of security events names.
"""

from __future__ import annotations

from typing import NamedTuple

from checks.accounts.evidence import (
    UNREACHED,
    Fits,
    Phase,
    at_twilio,
    both,
    caused,
    hinted,
    is_asterisk,
    is_named_wrongly,
    is_nameless,
    of_class,
    refused,
    status,
)
from checks.observation import Cause, State


class Row(NamedTuple):
    """One line of the table; `sentence` and `step` are filled from `Seen`."""

    fits: Fits
    state: State
    cause: Cause | None  # None: the one that was seen
    sentence: str
    step: str


OK, REJECTED, FAILING = State.OK, State.REJECTED, State.FAILING

_FIREWALL = (
    "check that {host} is up, then the firewalls on the way, then whether it has "
    "banned this host (fail2ban, ACL)"
)
_CERTIFICATE = "openssl s_client -connect {place} shows it"

TABLE: tuple[Row, ...] = (
    # What we did, would not do, or could not.
    Row(
        lambda s: bool(s.ours),
        FAILING,
        None,
        "{ours}",
        "correct `ca` or `source`, or what they name on this host",
    ),
    Row(
        lambda s: bool(s.others) and s.vanished,
        FAILING,
        Cause.IN_USE,
        "a phone registered as {aor} ({others}) while the test contact was there, and "
        "is gone from the list now; nothing is registered again before a reload",
        "see that the phone is registered; give sipwatch an account of its own, or set "
        "mode: query; then reload",
    ),
    Row(
        lambda s: bool(s.others) and s.during,
        FAILING,
        Cause.IN_USE,
        "a phone registered as {aor} ({others}) while the test contact was there; ours "
        "was removed, and nothing is registered again before a reload",
        "give sipwatch an account of its own, or set mode: query; then reload",
    ),
    Row(
        lambda s: bool(s.others) and s.earlier,
        FAILING,
        Cause.IN_USE,
        "a phone has used {aor} ({others}), and may come back; the test contact is not "
        "registered again before a reload",
        "give sipwatch an account of its own, or set mode: query; then reload",
    ),
    Row(
        lambda s: bool(s.others),
        FAILING,
        Cause.IN_USE,
        "a phone is registered as {aor} ({others}); the test contact was not "
        "registered, so as not to throw it out",
        "give sipwatch an account of its own, or set mode: query; then reload",
    ),
    Row(
        lambda s: bool(s.left),
        FAILING,
        Cause.NOT_REMOVED,
        "the test contact {left} is still registered{warned}",
        "remove it on {host}, or wait: it expires by itself within {granted} s",
    ),
    Row(
        lambda s: s.phase is Phase.REMOVE and s.cause is not None,
        FAILING,
        Cause.NOT_REMOVED,
        "the test contact was registered, and its removal failed: {said}{detail}",
        "it expires by itself within {granted} s, and is removed at the next test; "
        "read the log of {host} for this REGISTER",
    ),
    Row(
        lambda s: s.cause is None and s.phase is Phase.QUERY,
        OK,
        None,
        "{host} accepts {user} and holds {n} of {aor}",
        "nothing is wrong",
    ),
    Row(
        lambda s: s.cause is None,
        OK,
        None,
        "{host} registered a test contact of {aor} for {granted} s, and removed it",
        "nothing is wrong",
    ),
    # Names.
    Row(
        is_named_wrongly,
        REJECTED,
        Cause.WRONG_NAME,
        "{problem}",
        "write {meant}, if that is the domain that was meant",
    ),
    Row(
        is_nameless,
        REJECTED,
        Cause.WRONG_NAME,
        "{host} is no SIP Domain of Twilio; {problem}",
        "write the domain as the Twilio console shows it: NAME.sip.twilio.com",
    ),
    Row(
        caused(Cause.DNS_NXDOMAIN),
        FAILING,
        None,
        "{detail}",
        "check the spelling of {host}, and that the domain has not lapsed",
    ),
    Row(
        caused(Cause.DNS_FAILURE),
        FAILING,
        None,
        "{host} cannot be looked up: {detail}",
        "check the resolvers of this host (/etc/resolv.conf)",
    ),
    # No answer.
    Row(
        lambda s: s.cause in UNREACHED and bool(s.answering),
        FAILING,
        Cause.TRANSPORT_BLOCKED,
        "{port} is {how}, {answering} {answers}",
        "let {port} to {host} pass in the firewalls, or write ;transport={other}",
    ),
    Row(
        lambda s: s.cause in UNREACHED and s.phase is Phase.BIND and s.known,
        FAILING,
        None,
        "{host} answers a query of {aor}, and not the registration of a contact: "
        "{detail}",
        "read the log of {host} for this REGISTER; the way to it is well",
    ),
    Row(
        at_twilio(caused(Cause.TIMEOUT)),
        FAILING,
        None,
        "{detail}; Twilio drops what is not in an IP access control list of the domain",
        "see that this host's public address is in the domain's IP access control "
        "list, or that it has none; then the firewalls on the way",
    ),
    Row(caused(Cause.TIMEOUT), FAILING, None, "{detail}", _FIREWALL),
    Row(
        caused(Cause.ICMP_UNREACHABLE),
        FAILING,
        None,
        "{place} cannot be reached: {detail}",
        "check that {host} is on, that it listens on {port}, and the route to it",
    ),
    Row(
        caused(Cause.CONNECTION_REFUSED),
        FAILING,
        None,
        "{host} is up, but nothing listens on {port}",
        "start the service there, or correct port and transport",
    ),
    Row(
        caused(Cause.CONNECTION_RESET),
        FAILING,
        None,
        "{detail}",
        "see whether the registrar has restarted; then what on the way cuts {port}",
    ),
    Row(
        caused(Cause.TLS_VERIFY),
        FAILING,
        None,
        "the certificate is not valid for {host}: {detail}",
        "write the name that the certificate has, or its CA as `ca`; " + _CERTIFICATE,
    ),
    Row(
        caused(Cause.TLS_EXPIRED),
        FAILING,
        None,
        "the certificate of {host} has expired: {detail}",
        "renew it there; " + _CERTIFICATE,
    ),
    Row(
        caused(Cause.TLS_HANDSHAKE),
        FAILING,
        None,
        "TLS with {host} fails: {detail}",
        "check that {port} speaks TLS, and which versions it offers; " + _CERTIFICATE,
    ),
    Row(
        caused(Cause.WEBSOCKET_HANDSHAKE),
        FAILING,
        None,
        "no WebSocket for SIP at {place}: {detail}",
        "check port and path (;path=/ws), and whom the server lets in",
    ),
    Row(
        caused(Cause.MALFORMED),
        FAILING,
        None,
        "{detail}",
        "check that {port} is the right one, and what answers there",
    ),
    # 401 and 407.
    Row(
        hinted(Cause.UNKNOWN_USER),
        REJECTED,
        Cause.UNKNOWN_USER,
        "the PBX has no endpoint for {user}; its security event names an unknown "
        "account",
        "check username, and on the PBX: pjsip show endpoints",
    ),
    Row(
        hinted(Cause.ADDRESS_DENIED),
        REJECTED,
        Cause.ADDRESS_DENIED,
        "the PBX knows {user}, but an ACL refuses this host's address",
        "add this host's address to permit or acl of the endpoint, then reload the PBX",
    ),
    Row(
        hinted(Cause.WRONG_PASSWORD),
        REJECTED,
        Cause.WRONG_PASSWORD,
        "the PBX knows {user}, and the password is wrong",
        "compare the password on each side (case counts), and auth_username",
    ),
    Row(
        hinted(Cause.NOT_FOUND),
        REJECTED,
        Cause.FORBIDDEN,
        "nobody may register at the endpoint that the PBX takes us for: it has no AOR",
        "check that the endpoint {user} exists and has `aors`; of a user that does not "
        "exist an identify that matches this host's address is taken",
    ),
    Row(
        hinted(Cause.IN_USE),
        FAILING,
        Cause.IN_USE,
        "the PBX holds as many contacts of {aor} as it may, and took no other",
        "give sipwatch an account of its own, or raise max_contacts; then reload",
    ),
    Row(
        lambda s: refused(s) and not s.answerable,
        REJECTED,
        Cause.UNKNOWN_DIGEST,
        "{said}: it asks for {algorithm}, which is not spoken here",
        "offer Digest with MD5, SHA-256 or SHA-512-256 on {host}",
    ),
    Row(
        lambda s: refused(s) and s.proven and s.stale,
        REJECTED,
        Cause.STALE_NONCE,
        "{host} calls each nonce stale; the one it has just given as well ({digest})",
        "check its clock, and whether several servers that share no nonces answer "
        "under this name",
    ),
    Row(
        is_asterisk,
        REJECTED,
        None,
        "{status} after a correct digest ({digest}); Asterisk says so of a wrong "
        "password, an unknown user and an ACL alike",
        "check the password (case counts), then that the endpoint {user} exists, then "
        "its ACL; read = security for sipwatch in manager.conf tells which it is",
    ),
    Row(
        lambda s: s.status == 407 and s.proven,
        REJECTED,
        None,
        "a proxy before {host} refuses {user} after a correct digest ({digest})",
        "check user name and password at the proxy (case counts), and auth_username",
    ),
    Row(
        at_twilio(lambda s: refused(s) and s.proven),
        REJECTED,
        None,
        "{status} after a correct digest ({digest})",
        "check that {user} is in a credential list that is mapped to the domain's "
        "registration, and its password (case counts)",
    ),
    Row(
        lambda s: refused(s) and s.proven,
        REJECTED,
        None,
        "{status} after a correct digest ({digest})",
        "check the password (case counts), the user name and auth_username; and that "
        "realm {realm} is the one this account belongs to",
    ),
    Row(
        refused,
        REJECTED,
        Cause.UNKNOWN_DIGEST,
        "{said} without a challenge that can be read",
        "read the log of {host}: a challenge has a realm and a nonce (RFC 3261 22)",
    ),
    # Other refusals.
    Row(
        both(status(403), lambda s: s.phase is Phase.BIND and s.known),
        REJECTED,
        None,
        "{host} lets {user} ask, but not register a contact: {said}{warned}",
        "check the limit of contacts of {aor}, an ACL on contacts, and that the "
        "account may register from here",
    ),
    Row(
        both(status(403), lambda s: s.proven),
        REJECTED,
        None,
        "{host} refuses {user} after a correct digest{by}: {said}{warned}",
        "check the password too: FreeSWITCH and others say 403 of a wrong one; then "
        "that {user} exists, that {aor} is its address, and that this host is let in",
    ),
    Row(
        status(403),
        REJECTED,
        None,
        "{host} refuses before it asks who we are{by}: {said}{warned}",
        "check that this host's address is let in, and that {aor} may register",
    ),
    Row(
        at_twilio(status(404)),
        REJECTED,
        None,
        "Twilio knows no SIP Domain {host}, or it takes no registrations: {said}",
        "check the domain in the Twilio console, and that SIP Registration is enabled",
    ),
    Row(
        status(404, 604),
        REJECTED,
        Cause.NOT_FOUND,
        "{host} does not know {aor}{by}: {said}{warned}",
        "check the user name, and whether {host} serves this domain (`domain`)",
    ),
    Row(
        both(status(423), lambda s: s.min_expires is not None),
        REJECTED,
        Cause.INTERVAL_TOO_BRIEF,
        "423: {host} registers for {min_expires} s or more; {expires} s were asked for",
        "raise `expires`, up to 1h, or lower the least time on {host}",
    ),
    Row(
        status(423),
        REJECTED,
        Cause.INTERVAL_TOO_BRIEF,
        "423 without a Min-Expires: {host} registers for longer than {expires} s only",
        "raise `expires`",
    ),
    Row(
        status(405, 501),
        REJECTED,
        None,
        "{host} is no registrar{by}: {said}",
        "write the address of the registrar; a proxy or trunk takes no REGISTER",
    ),
    Row(
        status(480),
        FAILING,
        None,
        "{host} answers REGISTER with {said}{by}{warned}",
        "see whether the registrar behind {host} runs: a proxy says this for it",
    ),
    Row(
        status(408, 504),
        FAILING,
        None,
        "{said}: what answers at {place} got no answer from the registrar behind it",
        "see whether the registrar behind {host} runs",
    ),
    Row(
        status(503),
        FAILING,
        None,
        "{host} answers {said}{by}{wait}",
        "look at its load and at announced maintenance; it is asked again after that",
    ),
    Row(
        of_class(3),
        REJECTED,
        Cause.REDIRECTED,
        "{host} sends us elsewhere: {said} to {elsewhere}",
        "write {elsewhere} as registrar or outbound_proxy, if you trust it",
    ),
    Row(
        at_twilio(status(603)),
        REJECTED,
        None,
        "Twilio declines: {said}{warned}",
        "see in the Twilio console whether the account is suspended",
    ),
    Row(
        of_class(5),
        FAILING,
        None,
        "{host} fails{by}: {said}{warned}",
        "read the log of {host} for this REGISTER",
    ),
    Row(
        lambda s: True,
        REJECTED,
        None,
        "{host} refuses the REGISTER{by}: {said}{warned}",
        "read the log of {host} for this REGISTER",
    ),
)
