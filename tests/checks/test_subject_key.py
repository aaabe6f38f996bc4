"""The keys of subjects: stable, and no two of them alike."""

from __future__ import annotations

import pytest

from checks.observation import Kind, Scope, Subject

HQ = Subject(Kind.REGISTRAR, "hq", Scope("hq", "asterisk"))
MEMBER = Scope("hq", "member", parent=HQ)
PHONES = Scope("hq", parent=HQ)
FILE = Scope("phones.txt", "phone")

CASES = {
    "registrar:hq": HQ,
    "registrar:hq/a": Subject(Kind.REGISTRAR, "a", MEMBER),
    "registrar:hq/hq": Subject(Kind.REGISTRAR, "hq", MEMBER),
    "extension:hq/1001": Subject(Kind.EXTENSION, "1001", PHONES),
    "extension:hq/hq": Subject(Kind.EXTENSION, "hq", PHONES),
    "registration:hq/trunk": Subject(Kind.REGISTRATION, "trunk", PHONES),
    "registration:hq/hq": Subject(Kind.REGISTRATION, "hq", PHONES),
    "target:twilio": Subject(Kind.TARGET, "twilio", Scope("twilio", "trunk")),
    "target:phones.txt/10.0.0.5": Subject(Kind.TARGET, "10.0.0.5", FILE),
    "site:lyon": Subject(Kind.SITE, "lyon", Scope("lyon")),
    "self:store": Subject(Kind.SELF, "store", Scope("store")),
}


@pytest.mark.parametrize("key", CASES)
def test_a_subject_has_its_own_key(key: str) -> None:
    assert CASES[key].key == key
