"""Who should be there: the PBX's roster, a file, habit; and who is given up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks.observation import Loss, State
from checks.registrations.judge import Listed, Remembered, read_list
from checks.registrations.memory import shifted
from checks.registrations.roster import AOR_LIMIT, parse_list
from tests.checks.registrations.judging import Timeline, bound
from tests.checks.registrations.test_restart import again

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
NEVER = State.NEVER_REGISTERED
DAY = 86400.0


# --- the file -------------------------------------------------------------------------


def test_a_file_gives_extensions_names_and_sites(tmp_path: Path):
    file = tmp_path / "names.csv"
    file.write_text(
        '\ufeffextension,name,site,owner\n1001, "Reception, front",lyon,a@example.com\n'
        "0123,,,\n1003@example.com,Caf\u00e9\x07\n",
        encoding="utf-8",
    )
    assert read_list(file) == [
        Listed("1001", "Reception, front", "lyon"),
        Listed("0123"),
        Listed("1003@example.com", "Caf\u00e9\N{REPLACEMENT CHARACTER}"),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "names.csv:1: the header must name `extension`"),
        ("1001,Reception", "names.csv:1: the header must name `extension`"),
        ("extension,phone", "names.csv:1: unknown column phone"),
        ("extension\n1001\n,", "names.csv:3: more fields than the header names"),
        ("extension,name\n1001,A\n,B", "names.csv:3: no extension"),
        ('extension\n"1001', "names.csv:2: unexpected end of data"),
    ],
)
def test_a_wrong_file_is_named_by_its_line(text: str, error: str):
    with pytest.raises(ValueError, match=error.replace(".", r"\.")):
        parse_list(text.splitlines(), "names.csv")


# --- who is watched -------------------------------------------------------------------


def names(t: Timeline) -> list[str]:
    return sorted(t.judge.extensions)


def test_the_file_and_the_pbxs_roster_say_who_should_be_there():
    t = Timeline(file=[Listed("1002", "Kitchen", "lyon")])
    t.expect(("1001", "Reception"), ("1002", "Other"), ("1003", ""))
    t.at(10).list(bound("1001", 60))
    subjects = {aor: e.subject for aor, e in t.judge.extensions.items()}
    assert {a: (s.title, s.scope.labels.get("site")) for a, s in subjects.items()} == {
        "1001": ("Reception", None),
        "1002": ("Kitchen", "lyon"),
        "1003": ("", None),
    }
    assert subjects["1001"].scope is subjects["1003"].scope
    assert subjects["1002"].scope.labels == {"registrar": "hq", "site": "lyon"}
    assert subjects["1002"].key == "extension:hq/1002"
    assert subjects["1002"].parent is t.subject
    assert [t.state(aor) for aor in ("1001", "1002", "1003")] == [
        REGISTERED,
        NEVER,
        NEVER,
    ]


def test_patterns_choose_who_is_watched_required_and_may_log_out():
    t = Timeline(include=["1*"], exclude=["19*"], required=["100?"], logout_ok=["1002"])
    t.expect("1001", "1002", "1901", "2001", "1100@example.com")
    t.at(10).list(bound("1901", 60), bound("2001", 60))
    assert names(t) == ["1001", "1002", "1100@example.com"]
    e = t.judge.extensions
    assert [e[aor].subject.required for aor in names(t)] == [True, True, False]
    assert [e[aor].subject.logout_ok for aor in names(t)] == [False, True, False]


def test_a_pattern_fits_the_user_part_of_an_aor_too():
    t = Timeline(include=["1001"])
    t.at(10).list(bound("1001@example.com", 60), bound("1002@example.com", 60))
    assert names(t) == ["1001@example.com"]


def test_who_never_registered_is_told_once_and_counts_only_where_required():
    t = Timeline("1001", "1002", required=["1002"])
    for now in (10, 40, 70):
        t.at(now).list()
    assert t.states("1001") == [(NEVER, 0.0)]
    assert t.states("1002") == [(UNREGISTERED, 0.0)]
    assert t.last("1002").detail == "it has not registered since it is watched"
    assert t.judge.counts() == {NEVER: 1, UNREGISTERED: 1}


def test_a_contact_that_outlived_its_endpoint_is_a_ghost():
    t = Timeline()
    t.expect("1001")
    t.at(10).list(bound("1001", 60), bound("ghost", 9000))
    t.at(20).added(bound("ghost", 9000))
    assert names(t) == ["1001"]


def test_an_extension_that_appears_in_the_roster_is_watched_with_its_binding():
    t = Timeline()
    t.expect("1001")
    t.at(10).list(bound("1001", 60))
    t.expect("1001", "1002")
    t.at(40).list(bound("1001", 60), bound("1002", 100))
    assert t.states("1002") == [(REGISTERED, 40.0)]


def test_an_extension_removed_from_the_roster_is_watched_until_its_binding_ends():
    t = Timeline()
    t.expect("1001", "1002", "1003")
    t.at(10).list(bound("1002", 60), bound("1003", 60))
    t.at(11).gone("1003", Loss.DEREGISTERED)
    t.expect("1001x")
    t.at(40).list(bound("1002", 60))
    removed = t.judge.take_removed()
    assert {(r.subject.name, r.reason) for r in removed} == {
        ("1001", "no longer watched"),
        ("1003", "no longer watched"),
    }
    assert names(t) == ["1001x", "1002"]
    before = t.of("1002")
    t.at(61).gone("1002")
    assert [r.subject.name for r in t.judge.take_removed()] == ["1002"]
    assert t.of("1002") == before  # it is not told as lost
    assert t.judge.take_removed() == []


def test_an_empty_roster_is_a_pbx_that_still_loads():
    t = Timeline()
    t.expect("1001")
    t.at(10).list(bound("1001", 60))
    t.expect()
    t.at(40).list()
    assert t.state("1001") is UNREGISTERED


# --- habit ----------------------------------------------------------------------------


def lives(t: Timeline, until: float) -> None:
    while t.now < until:
        t.at(t.now + 30).list(bound("1001", t.now + 90))


def test_without_a_roster_an_aor_is_learned_after_ten_minutes():
    t = Timeline()
    lives(t, 660)
    t.at(t.now + 30).list()
    assert t.state("1001") is UNREGISTERED


def test_one_that_goes_earlier_is_forgotten():
    t = Timeline()
    lives(t, 600)
    t.at(t.now + 30).list()
    assert names(t) == []
    assert [r.subject.name for r in t.judge.take_removed()] == ["1001"]
    assert t.states("1001") == [(REGISTERED, 30.0)]


def test_a_listed_one_need_not_be_learned():
    t = Timeline("1001")
    lives(t, 30)
    t.at(60).list()
    assert t.state("1001") is UNREGISTERED


def test_what_was_learned_is_remembered():
    t = Timeline()
    lives(t, 660)
    after = again(t, 700)
    after.at(701).list()
    assert after.states("1001") == [(UNREGISTERED, 660.0)]
    assert [row.name for row in after.judge.take()] == ["member/pbx"]


def test_what_was_forgotten_is_remembered_no_more():
    t = Timeline()
    lives(t, 60)
    assert "aor/1001" in [row.name for row in t.judge.take()]
    t.at(90).list()
    rows = {row.name: row.json for row in t.judge.take()}
    assert rows["aor/1001"] == "null"


def test_what_was_learned_is_dropped_where_the_pbx_has_a_roster_now():
    t = Timeline()
    lives(t, 660)
    after = again(t, 700)
    after.expect("1002")
    after.at(701).list()
    assert names(after) == ["1002"]


# --- dormant --------------------------------------------------------------------------


def test_after_seven_days_nobody_waits_until_it_registers_again():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60))
    t.at(61.5).list()
    assert t.at(60 + 7 * DAY - 1).advance() == []
    assert t.judge.take_removed() == []
    t.at(60 + 7 * DAY + 1).advance()
    [removed] = t.judge.take_removed()
    assert removed == (
        t.judge.extensions["1001"].subject,
        "dormant: unregistered for 7 days",
    )
    assert t.judge.extensions["1001"].dormant
    t.at(8 * DAY).list(bound("1001", 8 * DAY + 60))
    assert t.last("1001").state is REGISTERED
    assert not t.judge.extensions["1001"].dormant


def test_one_that_comes_and_goes_keeps_one_place_among_the_deadlines():
    t = Timeline("1001")
    t.list()
    for n in range(1, 1000):
        t.at(n * 1000.0).added(bound("1001", None))
        t.at(n * 1000.0 + 500).gone("1001", Loss.DEREGISTERED)
        t.advance()
    assert t.judge.next_deadline() is not None
    assert len(t.judge._away) == 1
    t.at(t.now + 7 * DAY).advance()
    assert t.judge.extensions["1001"].dormant


def test_one_that_was_away_for_long_when_we_start_is_dormant_and_silent():
    t = Timeline("1001", now=10 * DAY)
    t.judge.restore("1001", UNREGISTERED, 1 * DAY)
    t.list()
    t.advance()
    assert t.of("1001") == []
    assert t.judge.extensions["1001"].dormant


def test_a_stored_state_of_what_is_excluded_now_is_not_restored():
    t = Timeline(exclude=["1001"])
    assert t.judge.restore("1001", REGISTERED, 5.0) is None


def away_for_long() -> Timeline:
    """1001 was given up."""
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60))
    t.at(61.5).list()
    t.at(60 + 7 * DAY + 1).advance()
    t.judge.take_removed()
    return t


def restarted(t: Timeline, now: float) -> Timeline:
    """Of one that was given up the store has no state, only what we remember."""
    return Timeline("1001", now=now, remembered=t.judge.take())


def test_a_dormant_one_stays_silent_after_our_restart():
    after = restarted(away_for_long(), 8 * DAY)
    after.at(8 * DAY + 1).list()
    assert after.states("1001") == []
    extension = after.judge.extensions["1001"]
    assert (extension.state, extension.since) == (UNREGISTERED, 60.0)
    assert extension.dormant


def test_one_that_woke_up_is_missed_again_after_our_restart():
    t = away_for_long()
    t.at(8 * DAY).list(bound("1001", 8 * DAY + 60))
    after = restarted(t, 8 * DAY + 30)
    after.at(8 * DAY + 61.5).list()
    assert [state for state, _ in after.states("1001")] == [UNREGISTERED]


def test_when_a_dormant_one_went_moves_with_the_wall_clock():
    [kept] = [row for row in away_for_long().judge.take() if row.name == "aor/1001"]
    assert json.loads(shifted(kept, 5.0).json)["dormant"] == 65.0
    awake = Remembered("aor/1001", '{"dormant": null}')
    assert json.loads(shifted(awake, 5.0).json)["dormant"] is None


def test_one_that_was_dormant_and_left_the_roster_comes_back_awake():
    t = Timeline(now=8 * DAY, remembered=away_for_long().judge.take())
    t.expect("1001", "1002")
    t.at(8 * DAY + 1).list()
    for roster in (["1002"], ["1001", "1002"]):
        t.expect(*roster)
        t.at(t.now + 300).list()
    assert not t.judge.extensions["1001"].dormant


def test_a_name_of_64_kb_is_no_extension() -> None:
    line = Timeline()
    line.half(bound("1" * AOR_LIMIT), bound("1" * (AOR_LIMIT + 1)))
    assert list(line.judge.extensions) == ["1" * AOR_LIMIT]
