"""What people read, whole: tests/data/mail has one file for each case."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerting.incident import Batch, Incident, Notification, Severity, Told
from alerting.notification.render import bare, in_common, render, trial
from alerting.notification.wording import RULES
from checks.observation import Cause, Fact, Kind, Scope, State, Subject

from .mails import (
    BACK,
    CASES,
    HQ,
    INSTANCE,
    LYON,
    NOW,
    PARIS,
    at,
    batch,
    incident,
    phones,
    reception,
)

UTC = ZoneInfo("UTC")
MAILS = Path(__file__).parent.parent / "data" / "mail"


def around(subject: Subject) -> str:
    if subject.kind is Kind.EXTENSION:
        return (
            "Lyon: 39 of 40 registered; hq: 211 of 212; "
            "the PBX answers OPTIONS in 0.4 ms"
        )
    return ""


def told(what: Batch, now: float | None = None) -> Notification:
    over = what.late or what.change is Told.RESOLVED
    return render(
        what,
        instance=INSTANCE,
        zone=PARIS,
        around=around,
        extensions={HQ: 212}.get,
        external_url="https://sipwatch.example.com",
        runbooks={"OptionsFailing": "https://wiki.example.com/trunk"},
        now=now or (BACK if over else NOW),
    )


@pytest.mark.parametrize("name", CASES)
def test_a_mail_reads_as_written(name: str) -> None:
    mail = told(CASES[name])
    assert f"Subject: {mail.subject}\n\n{mail.text}" == (
        (MAILS / f"{name}.txt").read_text()
    )


def test_every_rule_has_a_mail_in_the_cases() -> None:
    shown = {
        delivery.incident.rule for b in CASES.values() for delivery in b.deliveries
    }
    assert set(RULES) <= shown


def test_the_same_moment_is_named_in_the_zone_of_the_reader() -> None:
    mail = render(CASES["unregistered"], instance=INSTANCE, zone=UTC, now=NOW)
    assert "unregistered since 09:02 - hq" in mail.subject
    assert "since       09:02:14 UTC (2 min ago)" in mail.text


def test_a_moment_of_last_year_carries_its_year() -> None:
    old = reception(since=at("10:02:14") - 366 * 86400)
    assert "since 20 Nov 2025 10:02 - hq" in told(batch(old)).subject


def test_a_name_that_repeats_its_site_or_lacks_a_title_is_short() -> None:
    desk = Subject(Kind.EXTENSION, "1002", Scope("hq", labels={"site": "hq"}))
    assert told(batch(incident(desk))).subject == (
        "[warning] 1002 unregistered since 10:02 - hq"
    )


def test_many_of_a_registrar_with_several_sites_are_counted_against_all() -> None:
    lyon, other = phones(4), Scope("hq", labels={"site": "Nice"}, parent=HQ)
    nice = incident(Subject(Kind.EXTENSION, "3001", other))
    assert told(batch(*lyon, nice)).subject == (
        "[warning] 5 of 212 extensions unregistered since 10:02 - hq"
    )


def test_a_pbx_and_several_phones_are_called_by_their_role() -> None:
    pbx = Subject(Kind.TARGET, "main", Scope("main", role="pbx"))
    scope = Scope("phones.txt", role="phone")
    two = [
        incident(Subject(Kind.TARGET, f"10.0.0.{n}", scope), "OptionsFailing")
        for n in (1, 2)
    ]
    one = incident(pbx, "OptionsFailing", State.DOWN)
    assert "PBX main does not answer OPTIONS" in told(batch(one)).subject
    assert "2 phones do not answer OPTIONS since" in told(batch(*two)).subject


def test_the_worst_of_a_group_names_its_severity() -> None:
    group = [*phones(2), incident(severity=Severity.CRITICAL)]
    assert told(batch(*group)).subject.startswith("[critical] 3 extensions")


def test_a_reason_that_is_too_long_for_a_subject_leaves_its_cause_and_the_rest() -> (
    None
):
    hangs = "AMI does not answer PJSIPShow in 10 s: Asterisk hangs or is stopped"
    one = incident(HQ, "RegistrarUnreadable", State.UNREADABLE, cause=Cause.TIMEOUT)
    one.detail = hangs
    assert told(batch(one)).subject == (
        "[warning] hq cannot be read since 10:02 (timeout); "
        "its 212 extensions are unknown, not down"
    )


HOSTILE = (
    "\r\nBcc: victim@example.com",
    "\x1b[31mred\x1b[0m",
    "\u202egnihsihp\u202c",
    "<script>alert(1)</script>",
    "{name.__class__} %s %(x)s",
    "\ud800",
    "x" * 5000,
    "https://phish.example.com/",
)


@pytest.mark.parametrize("evil", HOSTILE)
def test_what_came_from_the_network_does_nothing(evil: str) -> None:
    scope = Scope("hq", labels={"registrar": "hq", "site": evil}, parent=HQ)
    one = incident(
        Subject(Kind.EXTENSION, evil, scope, title=evil),
        detail=evil,
        last_seen=evil,
        evidence=(Fact(NOW, evil), Fact(None, evil)),
        acknowledged_by=evil,
        closed=evil,
    )
    for what in (batch(one), batch(one, one), batch(one, change=Told.RESOLVED)):
        _is_harmless(told(what))
        _is_harmless(bare(what, evil))


def _is_harmless(mail: Notification) -> None:
    assert mail.subject.isprintable()
    assert len(mail.subject) <= 150
    assert all(line.isprintable() for line in mail.text.splitlines())
    assert len(mail.text) < 6000
    assert "<script" not in mail.html
    assert "phish.example.com" not in "".join(re.findall(r'href="[^"]*"', mail.html))
    assert all(line.isprintable() for line in mail.html.splitlines())
    mail.html.encode()


class Balance(HTMLParser):
    """Counts what is open; br and meta have no end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["unregistered", "many", "options-failing"])
def test_the_html_part_is_well_formed_and_fetches_nothing(name: str) -> None:
    page = told(CASES[name]).html
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert not re.search(r"<(img|link|script|style|iframe)|url\(|src=", page)
    assert "10:02:14" in page


def test_only_our_own_addresses_become_links() -> None:
    page = told(CASES["options-failing"]).html
    assert re.findall(r'href="([^"]*)"', page) == [
        "https://wiki.example.com/trunk",
        "https://sipwatch.example.com",
    ]


def test_programs_find_severity_rule_and_registrar_in_labels() -> None:
    assert told(CASES["unregistered"]).labels == {
        "severity": "warning",
        "rule": "ExtensionUnregistered",
        "registrar": "hq",
    }
    assert told(CASES["mixed"]).labels == {"severity": "critical"}


def test_a_batch_that_cannot_be_worded_is_told_in_bare_words() -> None:
    mail = bare(CASES["unregistered"], INSTANCE)
    assert mail.subject == ("[warning] firing ExtensionUnregistered extension:hq/1001")
    assert (mail.id, mail.thread) == ("b1", "b1")


def test_a_test_mail_says_who_sends_it_and_that_nothing_is_wrong() -> None:
    mail = trial(instance="watcher", notifier="oncall", zone=PARIS, now=NOW)
    assert mail.subject == "[test] sipwatch on watcher can reach you"
    assert "nothing is wrong" in mail.text
    assert mail.id == mail.thread
    assert mail.id.startswith("test-")


def test_a_restored_subject_without_parent_is_told_too() -> None:
    lone = Subject(Kind.EXTENSION, "1001", Scope("hq", labels=LYON.labels))
    mail = told(batch(replace_subject(reception(), lone)))
    assert mail.subject == "[warning] 1001 (Lyon) unregistered since 10:02 - hq"


def replace_subject(one: Incident, subject: Subject) -> Incident:
    return replace(one, subject=subject)


@pytest.mark.parametrize(
    ("seen", "common"),
    [
        (["10.0.0.1:5060 over UDP", "10.0.0.9:5060"], "network 10.0.0.0/24"),
        (["10.0.0.1:5060", "10.0.1.1:5060"], ""),
        (["[2001:db8::1]:5060", "[2001:db8::2]:5060"], "network 2001:db8::/64"),
        (["10.0.0.1:5060", "[2001:db8::2]:5060"], ""),
        (["10.0.0.1:5060", ""], ""),
        (["phone.example.com:5060", "phone.example.com:5060"], ""),
    ],
)
def test_a_network_is_common_only_if_all_were_seen_in_it(
    seen: list[str], common: str
) -> None:
    here = Subject(Kind.EXTENSION, "1002", Scope("hq", labels={"site": "hq"}))
    assert in_common([incident(here, last_seen=one) for one in seen]) == common
