"""Are we on the network: rounds of answers in, whole observations out."""

from __future__ import annotations

import pytest

from checks.observation import Fact, Figures, Kind, Observation, State
from checks.vantage.judge import Reply, Vantage, own_network
from checks.vantage.settings import Landmark, VantageSettings

OK = Reply(ok=True)
SILENT = Reply(ok=False, detail="no answer in 2 s")
NO_ROUTE = Reply(ok=False, detail="no route to host", own=True)
NAMES = ("gateway", "dns", "pbx-b")


def judge(**more: object) -> Vantage:
    targets = {name: Landmark(tcp=f"10.0.0.{n}:22") for n, name in enumerate(NAMES, 1)}
    settings = VantageSettings(targets=targets, **more)  # type: ignore[arg-type]
    return Vantage(settings, own_network(), now=0.0)


def round(vantage: Vantage, at: float, *replies: Reply) -> Observation | None:
    """Asked then, judged 2 s later."""
    return vantage.round(dict(zip(NAMES, replies, strict=True)), at, at + 2)


def told(o: Observation | None) -> tuple[State, float, float, int, str]:
    assert o is not None
    return o.state, o.since, o.at, o.figures.failures, o.detail


def test_the_subject_is_the_network_of_this_machine() -> None:
    assert own_network().key == "vantage:network"
    assert own_network().kind is Kind.VANTAGE


def test_one_answer_is_enough() -> None:
    vantage = judge()
    found = round(vantage, 10, SILENT, OK, NO_ROUTE)
    assert told(found) == (State.UP, 12, 12, 0, "")
    assert found is not None
    assert found.evidence == ()
    assert found.figures == Figures(failures=0)
    assert vantage.settled


def test_it_is_up_since_the_first_round_that_was_well() -> None:
    vantage = judge()
    round(vantage, 10, OK, OK, OK)
    assert told(round(vantage, 15, OK, SILENT, OK)) == (State.UP, 12, 17, 0, "")


def test_one_silent_round_is_no_loss_and_the_second_is_since_the_first() -> None:
    vantage = judge()
    round(vantage, 10, OK, OK, OK)
    assert told(round(vantage, 15, SILENT, SILENT, SILENT)) == (
        State.UP, 12, 17, 1, "",
    )  # fmt: skip
    assert not vantage.settled  # the next one is asked soon
    lost = round(vantage, 18, SILENT, SILENT, SILENT)
    assert told(lost) == (State.DOWN, 15, 20, 2, "0 of 3 answer")
    assert lost is not None
    assert lost.evidence == tuple(
        Fact(20, f"{name}: no answer in 2 s") for name in NAMES
    )
    assert vantage.settled


def test_as_long_as_it_lasts_it_began_when_it_began() -> None:
    vantage = judge()
    for at in (10, 15, 20, 25):
        lost = round(vantage, at, SILENT, SILENT, SILENT)
    assert told(lost) == (State.DOWN, 10, 27, 4, "0 of 3 answer")


def test_no_way_out_of_this_host_is_proof_at_once() -> None:
    vantage = judge()
    round(vantage, 10, OK, OK, OK)
    lost = round(vantage, 15, NO_ROUTE, NO_ROUTE, NO_ROUTE)
    detail = "0 of 3 answer, and this host has no way to the others"
    assert told(lost) == (State.DOWN, 15, 17, 1, detail)


def test_one_that_is_silent_for_others_is_no_such_proof() -> None:
    vantage = judge()
    round(vantage, 10, OK, OK, OK)
    doubted = round(vantage, 15, NO_ROUTE, NO_ROUTE, SILENT)
    assert told(doubted) == (State.UP, 12, 17, 1, "")


@pytest.mark.parametrize(
    ("quorum", "answering", "state"),
    [(1, 1, State.UP), (2, 1, State.DOWN), (2, 2, State.UP), (3, 2, State.DOWN)],
)
def test_so_many_must_answer(quorum: int, answering: int, state: State) -> None:
    vantage = judge(quorum=quorum, failures=1)
    replies = [OK] * answering + [SILENT] * (3 - answering)
    found = round(vantage, 10, *replies)
    assert found is not None
    assert found.state is state
    if state is State.DOWN:
        assert found.detail == f"{answering} of 3 answer"
        assert len(found.evidence) == 3 - answering


def test_with_a_quorum_those_that_answer_do_not_hide_that_there_is_no_way() -> None:
    vantage = judge(quorum=3)
    lost = round(vantage, 10, OK, OK, NO_ROUTE)
    detail = "2 of 3 answer, and this host has no way to the others"
    assert told(lost) == (State.DOWN, 10, 12, 1, detail)


def test_before_it_ever_was_well_a_first_failure_says_nothing_yet() -> None:
    vantage = judge()
    assert round(vantage, 10, SILENT, SILENT, SILENT) is None
    assert vantage.state is None
    assert not vantage.settled
    assert told(round(vantage, 13, SILENT, SILENT, SILENT))[:2] == (State.DOWN, 10)


def test_a_good_round_between_begins_the_count_anew() -> None:
    vantage = judge(failures=3)
    round(vantage, 10, OK, OK, OK)
    for at, reply in ((15, SILENT), (20, SILENT), (25, OK), (30, SILENT), (35, SILENT)):
        found = round(vantage, at, reply, reply, reply)
    assert told(found) == (State.UP, 12, 37, 2, "")


def test_back_again_it_is_well_since_it_answered() -> None:
    vantage = judge()
    for at in (10, 15):
        round(vantage, at, SILENT, SILENT, SILENT)
    assert told(round(vantage, 60, SILENT, OK, SILENT)) == (State.UP, 62, 62, 0, "")
    assert told(round(vantage, 65, OK, OK, OK)) == (State.UP, 62, 67, 0, "")


def test_what_was_answered_last_is_kept_for_who_asks() -> None:
    vantage = judge()
    round(vantage, 10, SILENT, OK, NO_ROUTE)
    assert vantage.replies == dict(zip(NAMES, (SILENT, OK, NO_ROUTE), strict=True))


def test_hostile_words_of_a_system_are_harmless_and_few() -> None:
    names = [f"landmark-{n}" for n in range(10)]
    vantage = judge(failures=1)
    bad = Reply(ok=False, detail="\x1b[31m\nboom" + "x" * 1000)
    found = vantage.round(dict.fromkeys(names, bad), 10, 12)
    assert found is not None
    assert len(found.evidence) == 4
    for fact in found.evidence:
        assert fact.text.isprintable()
        assert len(fact.text) <= 300
