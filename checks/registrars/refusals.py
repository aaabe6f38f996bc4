"""Whom Asterisk refused, by its security events: its answers do not tell (all 401)."""

from __future__ import annotations

from checks.observation import Cause
from checks.registrars.ami import Message
from checks.registrations.readings import Refused

EVENTS = ("InvalidAccountID", "ChallengeResponseFailed", "FailedACL")
UNKNOWN = "<unknown>"  # AccountID of a response to a challenge that was for nobody

# Of FailedACL: what was violated, where it is no list of addresses.
_ACLS = {
    "registrar_attempt_without_configured_aors": Cause.NOT_FOUND,
    "registrar_invalid_uri_in_contact_received": Cause.FORBIDDEN,
    "registrar_attempt_exceeds_maximum_configured_contacts": Cause.IN_USE,
}


def refused(event: Message, at: float) -> Refused | None:
    """What such an event says; None of what is no SIP, or of nobody's."""
    call_id = event.get("SessionID", "")
    if event.get("Service") != "PJSIP" or not call_id:
        return None
    match event["Event"]:
        case "InvalidAccountID":
            cause = Cause.UNKNOWN_USER
        case "FailedACL":
            cause = _ACLS.get(event.get("ACLName", ""), Cause.ADDRESS_DENIED)
        case _ if event.get("AccountID") == UNKNOWN:
            cause = Cause.UNKNOWN_USER
        case _:
            cause = Cause.WRONG_PASSWORD
    return Refused(call_id, cause, at)
