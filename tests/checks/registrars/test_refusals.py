"""Why Asterisk refused somebody, by its security events."""

from __future__ import annotations

import pytest

from checks.observation import Cause
from checks.registrars.refusals import refused
from checks.registrations.readings import Refused

RECORDED = {
    "Service": "PJSIP",
    "SessionID": "1005///1-13085@127.0.131.9",
    "RemoteAddress": "IPV4/UDP/127.0.131.9/5060",
}


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ({"Event": "InvalidAccountID", "AccountID": "1999"}, Cause.UNKNOWN_USER),
        (
            {"Event": "ChallengeResponseFailed", "AccountID": "1005"},
            Cause.WRONG_PASSWORD,
        ),
        (
            {"Event": "ChallengeResponseFailed", "AccountID": "<unknown>"},
            Cause.UNKNOWN_USER,
        ),
        (
            {"Event": "FailedACL", "ACLName": "not_match_endpoint_acl"},
            Cause.ADDRESS_DENIED,
        ),
        (
            {
                "Event": "FailedACL",
                "ACLName": "registrar_attempt_without_configured_aors",
            },
            Cause.NOT_FOUND,
        ),
        (
            {
                "Event": "FailedACL",
                "ACLName": "registrar_attempt_exceeds_maximum_configured_contacts",
            },
            Cause.IN_USE,
        ),
    ],
)
def test_an_event_is_a_cause_of_a_call_id(event: dict[str, str], cause: Cause) -> None:
    assert refused(RECORDED | event, 5.0) == Refused(
        "1005///1-13085@127.0.131.9", cause, 5.0
    )


def test_what_is_no_sip_is_nobody_s() -> None:
    ami = RECORDED | {"Event": "InvalidAccountID", "Service": "AMI"}
    assert refused(ami, 5.0) is None
    assert refused({"Event": "FailedACL", "Service": "PJSIP"}, 5.0) is None
