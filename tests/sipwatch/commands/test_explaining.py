"""What `sipwatch explain` prints, and when there is nothing to print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sipwatch.commands import explaining
from sipwatch.commands.remote import NoAnswerError
from tests.sipwatch.commands.test_remote import daemon, http

PARIS = ZoneInfo("Europe/Paris")


def utc(clock: str) -> str:
    """A moment of the year 2019, so that its day is always told."""
    return f"2019-11-21T{clock}.000Z"


def paris(clock: str) -> str:
    return f"21 Nov 2019 {clock}"


CONSIDERED = {
    "terms": [
        {"what": "since", "words": "it began", "at": utc("09:02:14")},
        {"what": "not_before", "words": "the grace after a restart ends", "at": None},
    ],
    "for": 120.0,
    "due": utc("09:04:14"),
    "above": [
        {
            "subject": "registrar:hq",
            "state": "readable",
            "well_at": utc("09:04:13"),
            "asked_at": utc("09:04:12"),
        },
        {"subject": "site:Lyon", "state": "", "well_at": None, "asked_at": None},
    ],
}
RULE = {
    "name": "ExtensionUnregistered",
    "on": ["extension"],
    "in_force": True,
    "grades": ["warning for 2m: nothing is registered for it"],
    "settings": ["keep_firing_for 1m", "family liveness"],
}
INCIDENT: dict[str, Any] = {
    "incident": {
        "id": 4711,
        "text": "1001 Reception is unregistered - hq",
        "severity": "warning",
        "since": utc("09:02:14"),
        "opened_at": utc("09:04:14"),
        "resolved_at": None,
        "ended_at": None,
        "closed": "",
        "acknowledged_by": "",
        "note": "",
        "part_of": None,
        "muted_by": "",
        "evidence": [{"at": utc("09:01:14"), "text": "refresh, 60 s granted"}],
    },
    "packets": {
        "file": "4711.pcapng",
        "source": "capture",
        "messages": 6,
        "size": 4096,
        "sha256": "0a1b2c3d4e5f",
        "why": "",
    },
    "rule": RULE,
    "observations": [
        {
            "at": utc("09:02:14"),
            "state": "unregistered",
            "cause": None,
            "loss": "expired",
            "why": "its registration expired after the 60 s granted: the phone did"
            " not refresh it",
        }
    ],
    "considered": CONSIDERED,
    "suppressed": [],
    "routes": [
        {
            "number": 1,
            "match": "severity: [warning, critical]",
            "taken": True,
            "why": "",
            "notify": ["oncall"],
            "escalate": [{"after": "10m", "notify": ["boss"]}],
            "waits": "",
        },
        {
            "number": 2,
            "match": "site: nice",
            "taken": False,
            "why": "site is Lyon",
            "notify": ["nice"],
            "escalate": [],
            "waits": "",
        },
    ],
    "deliveries": [
        {
            "notifier": "oncall",
            "step": 0,
            "wanted": "firing",
            "told": "firing",
            "thread": "b1",
            "batch": "",
            "not_before": utc("09:04:24"),
            "attempts": 0,
            "error": "",
            "dead": False,
        },
        {
            "notifier": "boss",
            "step": -1,
            "wanted": "firing",
            "told": "nothing",
            "thread": "",
            "batch": "",
            "not_before": utc("09:14:14"),
            "attempts": 0,
            "error": "",
            "dead": False,
        },
    ],
    "attempts": [
        {
            "notifier": "oncall",
            "step": 0,
            "telling": "firing",
            "batch": "b1",
            "attempts": 2,
            "begun": utc("09:04:24"),
            "at": utc("09:04:55"),
            "outcome": "accepted",
            "error": "",
        }
    ],
}
SUBJECT: dict[str, Any] = {
    "subject": "extension:hq/1002",
    "title": "Desk",
    "state": "unregistered",
    "since": utc("09:02:14"),
    "last_seen": "10.20.0.32:5060 over UDP",
    "detail": "its registration expired",
    "evidence": [],
    "why": [f"ExtensionUnregistered is pending: due at {utc('09:04:14')}"],
    "incidents": [],
    "rules": [
        {**RULE, "state": "pending", "why": "", "considered": CONSIDERED},
        {**RULE, "name": "Flapping", "state": "not matching", "considered": None},
    ],
    "above": CONSIDERED["above"],
    "observations": [],
    "suppressed": [
        {
            "at": utc("08:00:00"),
            "what": "suppressed",
            "rule": "ExtensionUnregistered",
            "why": "hq is unreadable",
            "incident": None,
        }
    ],
}


def printed(answer: dict[str, Any], width: int = 80) -> list[str]:
    return list(explaining.lines(answer, width, PARIS))


def test_an_incident_is_explained_at_80_columns() -> None:
    shown = printed(INCIDENT)
    assert max(map(len, shown)) <= 80
    assert shown == [
        "incident 4711: 1001 Reception is unregistered - hq",
        "warning, since 21 Nov 2019 10:02:14, opened 21 Nov 2019 10:04:14",
        "",
        "rule         ExtensionUnregistered on extension",
        "             warning for 2m: nothing is registered for it",
        "             keep_firing_for 1m; family liveness",
        "observations 21 Nov 2019 10:02:14 unregistered its registration expired after",
        "             the 60 s granted: the phone did not refresh it",
        "evidence     21 Nov 2019 10:01:14 refresh, 60 s granted",
        "packets      6 messages, 4096 octets, SHA-256 0a1b2c3d4e5f: sipwatch evidence",
        "             4711",
        "considered   21 Nov 2019 10:02:14 it began",
        "             21 Nov 2019 10:04:14 it is due: 2m after the latest of these",
        "             registrar:hq: readable, asked 21 Nov 2019 10:04:12, seen well 21",
        "             Nov 2019 10:04:13",
        "             site:Lyon: is not watched by itself, so it hides nothing",
        "suppressed   nothing",
        "routes       1: severity: [warning, critical] -> oncall, after 10m boss",
        "             2: site: nice: not taken, site is Lyon",
        "outbox       oncall knows that it fires",
        "             boss (step of the ladder) is to hear that it fires, not before "
        "21",
        "             Nov 2019 10:14:14",
        "attempts     21 Nov 2019 10:04:24 oncall: that it fires, accepted after 2",
        "             attempts at 21 Nov 2019 10:04:55, batch b1",
    ]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("", "under way"),
        ("accepted", "accepted"),
        ("transient", "refused for now"),
        ("permanent", "refused for good"),
    ],
)
def test_how_an_attempt_ended_is_told_in_words(outcome: str, said: str) -> None:
    (attempt,) = INCIDENT["attempts"]
    other = {**attempt, "outcome": outcome, "attempts": 1, "error": "451 later"}
    shown = printed({**INCIDENT, "attempts": [other]}, 200)
    assert shown[-1] == (
        "attempts     21 Nov 2019 10:04:24 oncall: that it fires, "
        f"{said}, batch b1: 451 later"
    )


def test_one_message_is_no_messages() -> None:
    packets = {**INCIDENT["packets"], "messages": 1}
    shown = printed({**INCIDENT, "packets": packets}, 200)
    assert any(line.startswith("packets      1 message, 4096") for line in shown)


def test_why_there_is_no_alarm_is_told_first() -> None:
    shown = printed(SUBJECT)
    assert max(map(len, shown)) <= 80
    assert shown[:5] == [
        "extension:hq/1002 Desk: unregistered since 21 Nov 2019 10:02:14",
        "",
        "why          ExtensionUnregistered is pending: due at 21 Nov 2019 10:04:14",
        "last seen    10.20.0.32:5060 over UDP",
        "detail       its registration expired",
    ]
    assert "not matching Flapping" in shown
    assert shown[-1:] == [
        "suppressed   21 Nov 2019 09:00:00 ExtensionUnregistered: hq is unreadable",
    ]


@pytest.mark.parametrize(
    ("more", "second"),
    [
        (
            {"acknowledged_by": "Anna", "note": "on my way"},
            ", taken by Anna: on my way",
        ),
        ({"part_of": 4000}, ", part of incident 4000"),
        ({"muted_by": "maintenance night"}, "; not told now: maintenance night"),
        (
            {"over_at": utc("10:05:00")},
            ", well again, over at 21 Nov 2019 11:05:00 if that stays so",
        ),
        (
            {
                "resolved_at": utc("10:00:00"),
                "ended_at": utc("09:59:00"),
                "closed": "no longer watched",
            },
            ", over since 21 Nov 2019 10:59:00 (no longer watched)",
        ),
    ],
)
def test_how_an_incident_stands(more: dict[str, Any], second: str) -> None:
    shown = printed({**INCIDENT, "incident": {**INCIDENT["incident"], **more}}, 999)
    begin = "warning, since 21 Nov 2019 10:02:14, opened 21 Nov 2019 10:04:14"
    assert shown[1] == begin + second


def test_what_is_not_known_any_more_is_said() -> None:
    gone = {"name": "Old", "on": [], "in_force": False, "grades": [], "settings": []}
    shown = printed({**INCIDENT, "rule": gone, "considered": None, "attempts": []})
    assert "rule         Old, which is in force no more" in shown
    assert "considered   not written down: it opened before this was kept" in shown
    assert "attempts     none" in shown


def test_where_no_packets_are_kept_it_says_why() -> None:
    none = {**INCIDENT["packets"], "file": None, "why": "no packets of it were seen"}
    shown = printed({**INCIDENT, "packets": none})
    assert "packets      none: no packets of it were seen" in shown


def test_of_much_the_last_is_shown() -> None:
    one = SUBJECT["suppressed"][0]
    shown = printed({**SUBJECT, "suppressed": [one] * 45}, 999)
    start = shown.index("suppressed   5 more before these (--json has them)")
    assert len(shown) - start == 41


def test_what_came_from_the_network_cannot_move_the_cursor() -> None:
    bad = "\x1b[2J\n"
    incident = {**INCIDENT["incident"], "muted_by": bad}
    incident["evidence"] = [{"at": None, "text": bad}]
    answer = {**INCIDENT, "incident": incident}
    answer["attempts"] = [{**INCIDENT["attempts"][0], "error": bad, "batch": bad}]
    text = "".join(printed(answer) + printed({**SUBJECT, "title": bad, "why": [bad]}))
    assert text.isprintable()


# --- the command ----------------------------------------------------------------------


def test_json_is_the_answer_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path / "s", http("200 OK", json.dumps(INCIDENT))) as path:
        assert explaining.run(path, "4711", "", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == INCIDENT


def test_where_nothing_is_known_that_is_one_line_and_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = http("404 Not Found", '{"detail": "nothing is known of lobby"}')
    with daemon(tmp_path / "s", reply) as path:
        assert explaining.run(path, "lobby", "", as_json=False) == 3
    assert capsys.readouterr().err == "nothing is known of lobby\n"


INCIDENTS = "/api/v1/incidents/1001/explain"
SUBJECTS = "/api/v1/explain?subject="


@pytest.mark.parametrize(
    ("what", "registrar", "known", "asked", "status"),
    [
        ("1001", "", INCIDENTS, [INCIDENTS], 0),
        ("1001", "", SUBJECTS, [INCIDENTS, f"{SUBJECTS}1001&registrar="], 0),
        ("1001", "", "/none", [INCIDENTS, f"{SUBJECTS}1001&registrar="], 3),
        ("1001", "hq", SUBJECTS, [f"{SUBJECTS}1001&registrar=hq"], 0),
        ("a b/c", "", SUBJECTS, [f"{SUBJECTS}a+b%2Fc&registrar="], 0),
    ],
)
def test_a_number_is_that_of_an_incident_if_there_is_one(
    what: str,
    registrar: str,
    known: str,
    asked: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def ask(path: str, method: str, url: str) -> Any:
        seen.append(url)
        if not url.startswith(known):
            raise NoAnswerError("no incident 1001 is known")
        return SUBJECT if url.startswith(SUBJECTS) else INCIDENT

    monkeypatch.setattr(explaining, "ask", ask)
    assert explaining.run("socket", what, registrar, as_json=False) == status
    assert seen == asked
    assert capsys.readouterr().err == (
        "" if status == 0 else "no incident 1001 is known\n"
    )
