"""A crowd on an Asterisk: the rows of its lists as Asterisk 22 sends them.

Every tenth contact is the second of its AOR, and every 50th does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.registrars.ami import Message

CONTACTS = "PJSIPShowRegistrationInboundContactStatuses"
ROSTER = "PJSIPShowRegistrationsInbound"


def aor_of(n: int) -> str:
    """Whose contact the nth is."""
    return f"{n - 1 if n % 10 == 9 else n:06}"


def crowd(count: int, ends: float) -> Iterator[Message]:
    """So many contacts, of which the last ends at `ends`."""
    for n in range(count):
        aor = aor_of(n)
        place = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:5060"
        silent = n % 50 == 7
        yield {
            "AOR": aor,
            "URI": f"sip:{aor}-{n:012x}@{place}",
            "UserAgent": f"Yealink SIP-T{40 + n % 7}U 108.86.0.{n % 7}",
            "RegExpire": str(int(ends) - n % 60),
            "ViaAddress": place,
            "CallID": f"{n:016x}",
            "Status": "Unreachable" if silent else "Reachable",
            "RoundtripUsec": "N/A" if silent else str(1000 + n % 500),
            "EndpointName": aor,
            "ID": f"{aor};@{n:032x}",
            "AuthenticateQualify": "0",
            "OutboundProxy": "",
            "Path": "",
            "QualifyFrequency": "60",
            "QualifyTimeout": "3.000",
            "Qualify2xxOnly": "0",
        }


def roster(count: int) -> Iterator[Message]:
    """The AORs of so many contacts, each with the contacts that it has."""
    uris: dict[str, list[str]] = {}
    for row in crowd(count, 0.0):
        uris.setdefault(row["AOR"], []).append(f"{row['AOR']}/{row['URI']}")
    for aor, several in uris.items():
        joined = ",".join(several)
        yield {
            "ObjectType": "aor",
            "ObjectName": aor,
            "MinimumExpiration": "60",
            "DefaultExpiration": "3600",
            "QualifyTimeout": "3.000000",
            "Qualify2xxOnly": "false",
            "Mailboxes": "",
            "SupportPath": "false",
            "RemoveUnavailable": "false",
            "VoicemailExtension": "",
            "MaxContacts": "2",
            "AuthenticateQualify": "false",
            "Contact": joined,
            "MaximumExpiration": "7200",
            "QualifyFrequency": "60",
            "RemoveExisting": "true",
            "OutboundProxy": "",
            "Contacts": joined,
        }
