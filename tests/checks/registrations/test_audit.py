"""The audit's table, and when a change of it is told."""

from __future__ import annotations

import json

import pytest

from checks.observation import Binding, Event, Fact, Kind, Scope, State, Subject
from checks.registrations.audit import (
    KINDS,
    OTHERS,
    Audit,
    Granted,
    Row,
    Summary,
    shown,
    vendor,
    verdict,
)
from checks.registrations.expiry import Breach
from checks.registrations.habit import Points
from checks.registrations.memory import Memory, Remembered
from tests.checks.registrations.judging import Timeline

HQ = Subject(Kind.REGISTRAR, "hq", Scope("hq"))


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        ("Yealink SIP-T46U 108.86.0.75", "Yealink"),
        ("Grandstream GXP2170 1.0.11.3", "Grandstream"),
        ("PolycomVVX-VVX_411-UA/5.9.5.0614", "Polycom"),
        ("snom720/8.7.5.35", "snom"),
        ("Cisco/SPA504G-7.6.2", "Cisco"),
        ("LinphoneAndroid/4.6.14 (Pixel)", "Linphone"),
        ("Z 5.5.12 v2.10.17.3", "Zoiper"),
        ("AVM FRITZ!Box 7590 154.07.29", "AVM"),
        ("baresip v1.0.0 (x86_64/linux)", "baresip"),
        ("Überphone 1", "Überphone"),
        ("x" * 100, "x" * 16),
        ("", "unknown"),
        ("1.2.3", "unknown"),
        ("\N{REPLACEMENT CHARACTER}[2J", "unknown"),
    ],
)
def test_a_vendor_is_what_a_user_agent_begins_with(agent: str, family: str) -> None:
    assert vendor(agent) == family


@pytest.mark.parametrize(
    ("breach", "words"),
    [
        (None, "not known yet"),
        (Breach.NONE, "well"),
        (Breach.SHORT, "too short"),
        (Breach.LONG | Breach.LATE, "too long, late"),
    ],
)
def test_a_verdict_in_words(breach: int | None, words: str) -> None:
    assert verdict(breach) == words


@pytest.mark.parametrize(
    ("granted", "words"),
    [
        (Granted(120, 120, True), "120 s"),
        (Granted(110, 120, True), "110 to 120 s"),
        (Granted(3540.2, 3591.7, False), "at least 3540 to 3592 s"),
        (Granted(3591.2, 3591.7, False), "at least 3592 s"),
    ],
)
def test_expires_in_words(granted: Granted, words: str) -> None:
    assert str(granted) == words


def test_a_kind_in_one_line() -> None:
    row = Row("snom", "TLS", Breach.LATE, 12, 0, Granted(120, 120, True))
    assert str(row) == "12 snom over TLS: 120 s granted (late)"
    row.refresh = Points(0.9, 0.955, 1.0)
    assert str(row) == ("12 snom over TLS: 120 s granted, refreshed at 96 % (late)")
    assert str(Row("snom", "UDP", None, 1)) == (
        "1 snom over UDP: Expires unknown (not known yet)"
    )


# --- the table ------------------------------------------------------------------------


def phone(aor: str, agent: str, end: float, granted: int, over: str = "") -> Binding:
    uri = f"sip:{aor}@10.20.0.31:5060{over}"
    return Binding(aor, uri, end, granted, None, agent, "10.20.0.31:5060")


def site(*phones: tuple[str, str, int, float, str]) -> Timeline:
    """Phones (AOR, agent, granted, share, transport) after ten refreshes of each."""
    t = Timeline(*(aor for aor, *_ in phones))
    for now in range(10, 1600, 10):
        rows = []
        for aor, agent, granted, share, over in phones:
            last = now - now % max(1, round(granted * share))
            rows.append(phone(aor, agent, last + granted, granted, over))
        t.at(now).list(*rows)
    return t


def table(t: Timeline) -> list[Row]:
    audit = Audit(t.judge.refreshes.policy)
    for extension in t.judge.extensions.values():
        audit.add(extension)
    return audit.rows()


def test_phones_alike_are_one_line_and_what_is_outside_comes_first() -> None:
    t = site(
        ("1001", "Yealink SIP-T46U 108.86", 120, 0.5, ""),
        ("1002", "Yealink SIP-T42S 66.85", 120, 0.5, ""),
        ("1003", "Yealink SIP-T42S 66.85", 600, 0.5, ""),
        ("1004", "snom720/8.7", 120, 0.9, ";transport=tls"),
    )
    assert table(t) == [
        Row("Yealink", "UDP", Breach.LONG, 1, 0, *known(600, 0.5)),
        Row("snom", "TLS", Breach.LATE, 1, 0, *known(120, 0.9)),
        Row("Yealink", "UDP", Breach.NONE, 2, 0, *known(120, 0.5)),
    ]


def known(granted: float, share: float) -> tuple[Granted, Points]:
    return Granted(granted, granted, True), Points(share, share, share)


def test_what_is_not_known_is_said_to_be() -> None:
    t = Timeline("1001", "1002")
    t.at(10).list(phone("1001", "baresip", 60, 60))
    t.at(20).list(
        Binding("1002", "sip:1002@10.20.0.32", None), phone("1001", "baresip", 60, 60)
    )
    assert table(t) == [
        Row("baresip", "UDP", None, 1, 0, Granted(60, 60, True)),
        Row("unknown", "UDP", None, 1),
    ]


def test_what_may_be_far_too_short_is_not_called_well() -> None:
    t = Timeline("1001")
    for now in range(10, 400, 5):  # granted 20 s, as only its reads show
        end = now - now % 10 + 20
        t.at(now).list(Binding("1001", "sip:1001@10.20.0.31", end, None, None, "x"))
    [found] = table(t)
    assert found.breach is None
    assert found.granted == Granted(20, 20, False)


def test_made_up_user_agents_make_no_endless_table() -> None:
    names = [a + b for a in "abcdefghij" for b in "abcdefghij"]
    t = Timeline(*names)
    t.at(10).list(*(phone(name, name, 3600, 3600) for name in names))
    rows = table(t)
    assert len(rows) == KINDS + 1
    assert (rows[0].vendor, rows[0].registrations) == (OTHERS, 100 - KINDS)


def test_a_row_as_json() -> None:
    row = Row("snom", "TLS", Breach.LATE, 12, 1, *known(120, 0.9))
    assert json.loads(json.dumps(shown(row))) == {
        "vendor": "snom",
        "transport": "TLS",
        "registrations": 12,
        "granted": {"least": 120, "most": 120, "exact": True},
        "refresh": {"first": 0.9, "median": 0.9, "last": 0.9},
        "overdue": 1,
        "verdict": "late",
        "outside": True,
    }
    assert shown(Row("snom", "TLS", None, 1))["granted"] is None


# --- the summary ----------------------------------------------------------------------


def row(vendor: str, most: int, breach: int = Breach.LONG, count: int = 3) -> Row:
    return Row(vendor, "UDP", breach, count, 0, Granted(most, most, True))


def read(at_least: int, breach: int | None = Breach.LONG, count: int = 3) -> Row:
    """Of a PBX that does not tell what it granted."""
    granted = Granted(at_least, at_least, False)
    return Row("Yealink", "UDP", breach, count, 0, granted)


WELL = row("snom", 120, Breach.NONE, 5)


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ([[WELL], [WELL]], [None, None]),
        ([[], [WELL]], [None, None]),
        # The first table is told where something is outside, and then no more.
        ([[row("Yealink", 3600), WELL]] * 2, ["3 of 8 are outside the policy", None]),
        # How many they are is no news.
        (
            [[row("Yealink", 3600)], [row("Yealink", 3600, count=9)]],
            ["3 of 3 are outside the policy", None],
        ),
        # Nor is Expires that a registrar draws by lot.
        (
            [[row("Yealink", 3600)], [row("Yealink", 3550)]],
            ["3 of 3 are outside the policy", None],
        ),
        (
            [[row("Yealink", 3600)], [row("Yealink", 1800)]],
            ["3 of 3 are outside the policy"] * 2,
        ),
        (
            [[WELL], [WELL, row("Yealink", 3600)], [row("snom", 600)]],
            [
                None,
                "3 of 8 are outside the policy",
                "3 of 3 are outside the policy",
            ],
        ),
        # Those that are all off are neither gone nor back; one that is well again is.
        (
            [[row("Yealink", 3600)], [], [WELL], [row("Yealink", 3600)]],
            ["3 of 3 are outside the policy", None, None, None],
        ),
        (
            [[row("Yealink", 3600)], [row("Yealink", 120, Breach.NONE)]],
            [
                "3 of 3 are outside the policy",
                "all 3 are within the policy now, or not known yet",
            ],
        ),
        # After a restart of ours less is known, or nothing: that is no news either.
        (
            [[read(3590)], [read(1900)], [read(90, None)], [read(3590)]],
            ["3 of 3 are outside the policy", None, None, None],
        ),
        (
            [[read(3590)], [read(90, None, 2), read(110, Breach.NONE, 1)]],
            ["3 of 3 are outside the policy", None],
        ),
        (
            [[read(3590)], [read(90, None, 1), read(110, Breach.NONE, 2)]],
            [
                "3 of 3 are outside the policy",
                "all 3 are within the policy now, or not known yet",
            ],
        ),
        # Nor that it is known by now; what is known to be another amount is.
        (
            [[read(1900)], [row("Yealink", 3600)], [read(200)], [row("Yealink", 600)]],
            [
                "3 of 3 are outside the policy",
                None,
                None,
                "3 of 3 are outside the policy",
            ],
        ),
    ],
)
def test_a_table_is_told_when_other_kinds_are_outside(
    days: list[list[Row]], told: list[str | None]
) -> None:
    summary, remembered = Summary({}), list[Remembered]()
    for day, (rows, detail) in enumerate(zip(days, told, strict=True)):
        now = 86400.0 * day
        events = summary.tell(rows, HQ, 5.0, now)
        assert [o.detail for o in events] == ([detail] if detail else [])
        for o in events:
            assert (o.state, o.since, o.at) == (State.READABLE, 5.0, now)
            assert o.event is Event.AUDITED
        remembered += summary.take()
        summary = Summary(Memory(remembered).audit)  # a restart of ours every night


def test_the_kinds_that_are_outside_stand_in_the_evidence() -> None:
    rows = [row(f"V{n}", 3600) for n in range(6)]
    [event] = Summary({}).tell(rows, HQ, 0.0, 0.0)
    assert event.evidence == (
        Fact(None, "3 V0 over UDP: 3600 s granted (too long)"),
        Fact(None, "3 V1 over UDP: 3600 s granted (too long)"),
        Fact(None, "3 V2 over UDP: 3600 s granted (too long)"),
        Fact(None, "and 3 more kinds"),
    )
    [event] = Summary({}).tell(rows[:4], HQ, 0.0, 0.0)
    assert len(event.evidence) == 4


@pytest.mark.parametrize("kept", ['{"told": 7}', "[]", "{", '{"told": [1, null]}'])
def test_a_memory_that_makes_no_sense_is_none(kept: str) -> None:
    summary = Summary(Memory([Remembered("audit/told", kept)]).audit)
    assert len(summary.tell([row("Yealink", 3600)], HQ, 0.0, 0.0)) == 1
