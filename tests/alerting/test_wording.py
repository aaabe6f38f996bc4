"""The tables of words are whole: no cause, loss or span without its sentence."""

from __future__ import annotations

import string

import pytest

from alerting.notification.causes import LOSSES, explain
from alerting.notification.wording import (
    GENERIC,
    PLURAL,
    RULES,
    SINGULAR,
    Wording,
    host_of,
    span,
)
from checks.observation import Cause, Loss

FIELDS = {"name", "adverb", "since", "after", "span", "at_time", "is_", "rule"}


@pytest.mark.parametrize("cause", [*Cause, Cause("response_488")])
def test_every_cause_has_plain_words_and_a_next_step(cause: Cause) -> None:
    words, step = explain(cause)
    assert len(words) > 10
    assert len(step) > 10
    assert cause not in words or cause.isalpha()


def test_a_response_without_a_name_is_explained_by_its_code() -> None:
    assert explain(Cause("response_488"))[0] == "it answers 488"


def test_every_loss_has_its_words() -> None:
    assert set(LOSSES) == set(Loss)


@pytest.mark.parametrize("rule", [*RULES.values(), GENERIC])
def test_every_form_uses_only_fields_that_are_filled(rule: Wording) -> None:
    known = FIELDS | SINGULAR.keys()
    assert SINGULAR.keys() == PLURAL.keys()
    for form in (rule.firing, rule.resolved, rule.late, *rule.forms.values()):
        used = {name for _, name, _, _ in string.Formatter().parse(form) if name}
        assert used <= known


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (14 * 60 + 6, "14 min"),
        (3600, "1 h"),
        (2 * 3600 + 5 * 60, "2 h 5 min"),
        (86400, "1 d"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_length_of_time_is_said_as_people_do(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("last_seen", "host"),
    [
        ("10.20.0.31:5060 over UDP, Yealink SIP-T46U", "10.20.0.31"),
        ("[2001:db8::1]:5060 over TLS", "[2001:db8::1]"),
        ("phone.example.com", "phone.example.com"),
        ("sip:1001@10.0.0.1", ""),
        ("Yealink", ""),
        ("", ""),
    ],
)
def test_the_host_is_read_from_where_it_was_last_seen(
    last_seen: str, host: str
) -> None:
    assert host_of(last_seen) == host
