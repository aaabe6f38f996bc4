"""What Expires should be, and what is said of it where only a bound is known."""

from __future__ import annotations

import pytest

from checks.observation import Kind, Scope, Subject
from checks.registrations.expiry import Bounds, Breach, Policy
from checks.registrations.extension import Contact, Extension
from checks.registrations.habit import learned
from checks.registrations.member import Member
from checks.registrations.readings import ExpirySettings

DEFAULT = Policy(ExpirySettings())
HQ = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
PBX = Member("pbx", 1, 0.0, HQ)


def contact(
    granted: int | None = None,
    at_least: float = 0.0,
    over: str = "",
    *,
    renewed: bool = False,
) -> Contact:
    uri = "sip:1001@10.20.0.31:5060" + (f";transport={over}" if over else "")
    one = Contact(PBX, uri, "Yealink", "", 0.0, granted, 0.0, at_least=at_least)
    one.renewed = renewed
    return one


def extension(*contacts: Contact, at: float | None = None) -> Extension:
    e = Extension(Subject(Kind.EXTENSION, "1001", Scope("hq", parent=HQ)), 0.0)
    e.contacts = contacts
    for _ in range(8 if at else 0):
        e.habit = learned(e.habit, at or 0.0)
    return e


@pytest.mark.parametrize(
    ("written", "over", "bounds"),
    [
        ({}, "UDP", Bounds(60, 120)),
        ({}, "TLS", Bounds(60, 3600)),
        ({}, "WSS", Bounds(60, 3600)),
        ({"min": 300, "max": 600}, "UDP", Bounds(300, 600)),
        ({"min": 300, "max": 600}, "TCP", Bounds(300, 600)),
        ({"max": 300}, "UDP", Bounds(60, 300)),
        ({"max": 30}, "UDP", Bounds(30, 30)),
        ({"min": 600}, "UDP", Bounds(600, 600)),
    ],
)
def test_what_is_wanted(written: dict[str, float], over: str, bounds: Bounds) -> None:
    assert Policy(ExpirySettings(**written)).bounds(over) == bounds


def test_a_least_above_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match="min is more than max"):
        ExpirySettings(min=120, max=60)


@pytest.mark.parametrize(
    ("found", "breach", "words"),
    [
        (contact(60), Breach.NONE, ""),
        (contact(122), Breach.NONE, ""),
        (contact(58), Breach.NONE, ""),
        (contact(123), Breach.LONG, "123 s granted, more than 120 s"),
        (contact(57), Breach.SHORT, "57 s granted, less than 60 s"),
        (contact(3600, over="tls"), Breach.NONE, ""),
        (contact(7200, over="ws"), Breach.LONG, "7200 s granted, more than 3600 s"),
        (contact(None, 121.5), Breach.NONE, ""),
        (
            contact(None, 3571.2),
            Breach.LONG,
            "at least 3571 s granted, more than 120 s",
        ),
        # A bound never proves that too little was granted.
        (contact(None, 20.0, renewed=True), Breach.NONE, ""),
    ],
)
def test_granted_expires(found: Contact, breach: int, words: str) -> None:
    e = extension(found, at=0.5)
    assert DEFAULT.granted(found) == breach
    assert DEFAULT.words(e) == words


@pytest.mark.parametrize(
    ("e", "breach"),
    [
        (extension(contact(60), at=0.5), Breach.NONE),
        (extension(contact(60)), None),  # its habit is not known
        (extension(contact(None, 60.0), at=0.5), None),  # nor what was granted
        (extension(contact(None, 60.0, renewed=True), at=0.5), Breach.NONE),
        (extension(contact(60), at=0.76), Breach.LATE),
        (extension(contact(3600)), Breach.LONG),
        (extension(contact(3600), at=1.0), Breach.LONG | Breach.LATE),
        (extension(contact(60), contact(30), at=0.5), Breach.SHORT),
    ],
)
def test_the_verdict_on_an_extension(e: Extension, breach: int | None) -> None:
    assert DEFAULT.of(e) == breach


def test_a_late_refresh_is_told_with_its_point() -> None:
    assert DEFAULT.words(extension(contact(3600), at=0.95)) == (
        "3600 s granted, more than 120 s, refreshed at 95 % of its Expires"
    )
