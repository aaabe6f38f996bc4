"""What answers mean: states, causes, verdicts over addresses, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from checks.observation import Cause, Fact, State, Subject
from checks.options.rows import CALM, SPOTLESS
from checks.options.verdict import SETTLED, Marks
from checks.options.views import view
from tests.checks.options.sweeping import (
    START,
    Network,
    response,
    saying,
    silent,
    well,
)

A, B = "192.0.2.1", "192.0.2.2"


def only(network: Network) -> Any:
    """The view of the one target."""
    return view(network.targets, 0, network.now)


@pytest.mark.parametrize(
    ("status", "state", "cause"),
    [
        ("200 OK", State.UP, None),
        ("202 Accepted", State.UP, None),
        ("302 Moved Temporarily", State.UP, None),
        ("401 Unauthorized", State.UP, None),
        ("404 Not Found", State.UP, None),
        ("405 Method Not Allowed", State.UP, None),
        ("407 Proxy Authentication Required", State.UP, None),
        ("486 Busy Here", State.UP, None),
        ("501 Not Implemented", State.UP, None),
        ("403 Forbidden", State.DEGRADED, Cause.FORBIDDEN),
        ("480 Temporarily Unavailable", State.DEGRADED, Cause.UNAVAILABLE),
        ("500 Server Internal Error", State.DEGRADED, Cause("response_500")),
        ("502 Bad Gateway", State.DEGRADED, Cause("response_502")),
        ("603 Decline", State.DEGRADED, Cause("response_603")),
        ("408 Request Timeout", State.DOWN, Cause("response_408")),
        ("503 Service Unavailable", State.DOWN, Cause.OVERLOADED),
    ],
)
def test_each_final_answer_has_its_state_and_cause(
    status: str, state: State, cause: Cause | None
) -> None:
    network = Network()
    network.add("t.example.com", [A], saying(status), soon=True)
    network.run_until(0.2)
    (told,) = network.told
    assert (told.state, told.cause) == (state, cause)
    assert told.since == pytest.approx(START + 0.05, abs=0.01)
    assert only(network).addresses[0].code == int(status[:3])


@pytest.mark.parametrize(
    ("codes", "status", "state"),
    [
        (["2xx"], "404 Not Found", State.DEGRADED),
        ([404], "404 Not Found", State.UP),
        ([404], "200 OK", State.DEGRADED),
        (["2xx", 503], "503 Service Unavailable", State.UP),
        (["2xx", 480], "480 Temporarily Unavailable", State.UP),
    ],
)
def test_healthy_codes_are_what_is_configured(
    codes: list[Any], status: str, state: State
) -> None:
    from checks.options.targets import healthy_codes

    network = Network()
    codes_set = healthy_codes(codes)
    network.add(
        "t.example.com", [A], saying(status), soon=True, healthy_codes=codes_set
    )
    network.run_until(0.2)
    assert network.told[0].state is state


def test_an_answer_says_who_gave_it() -> None:
    network = Network()
    answers = saying("480 Temporarily Unavailable", "Server: Kamailio 5.6")
    network.add("t.example.com", [A], answers, soon=True)
    network.run_until(0.2)
    (told,) = network.told
    assert told.detail == (
        "480 Temporarily Unavailable from 192.0.2.1:5060 (Server: Kamailio 5.6)"
    )
    assert told.last_seen == "192.0.2.1:5060 over UDP, Kamailio 5.6"
    assert told.evidence == (
        Fact(told.at, "480 Temporarily Unavailable (Kamailio 5.6)"),
    )


def test_what_a_peer_writes_is_bounded_and_printable() -> None:
    network = Network()
    answers = saying("480 " + "x" * 500 + "\x1b[31m", "Server: a\x07b" + "y" * 500)
    network.add("t.example.com", [A], answers, soon=True)
    network.run_until(0.2)
    (told,) = network.told
    assert len(told.detail) < 300
    assert told.detail.isprintable()


def test_a_target_that_answered_keeps_its_state_after_one_timeout() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(200)
    network.answers[A, 5060] = silent
    network.run_until(246)
    told = network.told[-1]
    assert (told.state, told.figures.failures) == (State.UP, 1)
    assert told.detail == "4 sends to 192.0.2.1:5060 over UDP, no answer"
    network.answers[A, 5060] = well
    network.run_until(290)
    assert network.states("t.example.com") == [State.UP]


def test_it_is_down_since_the_first_question_in_vain() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(200)
    network.answers[A, 5060] = silent
    network.run_until(300)
    downs = [o for o in network.told if o.state is State.DOWN]
    assert downs[0].figures.failures == 2
    assert {round(o.since - START) for o in downs} == {240}
    assert downs[0].at == pytest.approx(START + 260, abs=0.5)
    assert downs[1].at == pytest.approx(START + 275, abs=0.5)
    assert downs[0].last_seen == "192.0.2.1:5060 over UDP"
    assert [text for _, text in downs[1].evidence] == [
        "no answer to 4 sends to 192.0.2.1:5060 over UDP"
    ] * 3


def test_a_refusal_counts_at_once() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(200)
    network.answers[A, 5060] = saying("503 Service Unavailable")
    network.run_until(241)
    told = network.told[-1]
    assert (told.state, told.cause) == (State.DOWN, Cause.OVERLOADED)
    assert told.detail == "503 Service Unavailable from 192.0.2.1:5060"


@pytest.mark.parametrize(
    ("lives", "suspicion"),
    [
        (
            True,
            "; it answered 401 before, and its registrations can be read:"
            " it is suspected of having banned us",
        ),
        (False, ""),
    ],
)
def test_silence_after_a_401_of_who_lives_is_suspected_to_be_a_ban(
    lives: bool, suspicion: str
) -> None:
    network = Network(lives=always if lives else None)
    network.add("t.example.com", [A], saying("401 Unauthorized"))
    network.run_until(200)
    network.answers[A, 5060] = silent
    network.run_until(262)
    told = network.told[-1]
    assert told.cause is Cause.TIMEOUT
    assert told.detail == (f"4 sends to 192.0.2.1:5060 over UDP, no answer{suspicion}")


@pytest.mark.parametrize(
    ("verdict", "first", "second", "state"),
    [
        ("any", well, well, State.UP),
        ("any", well, silent, State.DEGRADED),
        ("any", silent, well, State.DEGRADED),
        ("any", silent, silent, State.DOWN),
        ("any", well, saying("480 Away"), State.DEGRADED),
        ("any", silent, saying("480 Away"), State.DEGRADED),
        ("all", well, well, State.UP),
        ("all", well, silent, State.DOWN),
        ("all", silent, silent, State.DOWN),
        ("all", well, saying("480 Away"), State.DEGRADED),
        ("all", silent, saying("480 Away"), State.DOWN),
    ],
)
def test_the_verdict_over_two_addresses(
    verdict: str, first: Any, second: Any, state: State
) -> None:
    network = Network()
    network.answers = {(A, 5060): first, (B, 5060): second}
    network.add("t.example.com", [A, B], soon=True, verdict=verdict)
    network.run_until(10)
    assert network.told[-1].state is state
    assert [a.address for a in only(network).addresses] == [f"{A}:5060", f"{B}:5060"]


def test_a_partial_outage_names_the_address() -> None:
    network = Network()
    network.answers = {(A, 5060): well, (B, 5060): silent}
    network.add("t.example.com", [A, B], soon=True)
    network.run_until(10)
    told = network.told[-1]
    assert told.cause is Cause.TIMEOUT
    assert told.detail == (
        "1 of 2 addresses up; 4 sends to 192.0.2.2:5060 over UDP, no answer;"
        " it has never answered: check ACL, firewall, ban"
    )
    assert told.figures.failures == 0  # any: the target itself does not fail


def always(subject: Subject) -> bool:
    """Of every target."""
    return True


def test_who_answered_before_a_restart_has_answered() -> None:
    for before in (True, False):
        network = Network(answered={True: always, False: None}[before])
        network.add("t.example.com", [A], silent, soon=True)
        network.run_until(40)
        told = network.told[-1]
        assert told.figures.answered is before
        assert ("it has never answered" in told.detail) is not before


def test_who_answered_at_an_address_that_is_gone_has_answered() -> None:
    network = Network()
    index = network.add("t.example.com", [A], soon=True)
    network.run_until(10)
    (row,) = network.targets.members(index)
    network.targets.leaves(row)
    network.sweep.leave([row])
    network.rows.drop(row)
    network.targets.assign(index, [], network.now)
    assert not network.targets.figures(index, network.now).failures
    network.place(index, [B], silent)
    network.run_until(60)
    told = network.told[-1]
    assert (told.state, told.figures.answered) == (State.DOWN, True)


def test_who_is_left_with_its_dead_address_is_down_since_the_other_one_left() -> None:
    network = Network()
    network.answers = {(A, 5060): well, (B, 5060): silent}
    index = network.add("t.example.com", [A, B], soon=True)
    network.run_until(300)
    assert network.told[-1].state is State.DEGRADED
    dead = network.targets.members(index)[1]
    network.sweep.leave([network.targets.members(index)[0]])
    network.targets.assign(index, [dead], network.now)  # the DNS names only B now
    network.run_until(400)
    told = network.told[-1]
    assert (told.state, told.since) == (State.DOWN, START + 300)
    assert network.rows.since[dead] < START + 10


def test_failures_of_a_target_are_those_that_its_verdict_counts() -> None:
    for verdict, failures in (("any", 0), ("all", 3)):
        network = Network()
        network.answers = {(A, 5060): well, (B, 5060): silent}
        network.add("t.example.com", [A, B], soon=True, verdict=verdict)
        network.run_until(36)
        assert network.told[-1].figures.failures == failures


# What is told


def test_a_quiet_target_is_told_until_it_is_settled() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(60 * 40)
    assert [o.figures.successes for o in network.told] == [1, 2, 3]
    assert len(network.told) == SETTLED
    assert network.rows.calm[0] == SPOTLESS
    assert network.targets.figures(0, network.now).successes == 40


def test_nobody_is_told_of_a_quiet_beginning_that_is_not_wanted() -> None:
    network = Network()
    network.targets._wanted = lambda subject: subject.name == "b.example.com"
    network.add("a.example.com", [A])
    network.add("b.example.com", [B])
    network.run_until(300)
    assert network.observations("a.example.com") == []
    assert len(network.observations("b.example.com")) == SETTLED
    network.answers[A, 5060] = silent
    network.run_until(500)
    assert network.states("a.example.com") == [State.UP, State.DOWN]


def test_every_failure_and_the_recovery_after_it_are_told() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(300)
    del network.told[:]
    network.answers[A, 5060] = silent
    network.run_until(400)
    network.answers[A, 5060] = well
    network.run_until(900)
    figures = [(o.figures.failures, o.figures.successes) for o in network.told]
    down = max(failures for failures, _ in figures)
    assert figures[:down] == [(n + 1, 0) for n in range(down)]
    assert figures[down:] == [(0, 1), (0, 2), (0, 3)]
    assert network.rows.calm[0] == CALM


def test_a_slow_target_is_told_while_its_mean_is_above_the_mark() -> None:
    network = Network(delay=0.2)
    network.add("t.example.com", [A])
    network.targets.marks = Marks(rtt=0.3)
    network.sweep.inbox.slow = 0.3
    network.run_until(600)
    slow = [o for o in network.told if (o.figures.rtt_mean or 0) > 0.3]
    assert len(slow) == 10
    network.delay = 0.01
    network.run_until(1800)
    assert network.rows.calm[0]
    assert (network.told[-1].figures.rtt_mean or 0) < 0.3
    assert len(network.told) < 20


def test_one_slow_answer_of_a_fast_target_is_no_news() -> None:
    network = Network(delay=0.01)
    network.add("t.example.com", [A])
    network.sweep.inbox.slow = 0.1
    network.targets.marks = Marks(rtt=0.1)
    network.run_until(300)
    told = len(network.told)
    network.delay = 0.1
    network.run_until(301)
    network.delay = 0.01
    network.run_until(700)
    assert len(network.told) == told


def test_retransmissions_are_told_from_the_mark_on() -> None:
    network = Network()
    network.add("t.example.com", [A])
    network.run_until(60 * 30)
    del network.told[:]
    asked: dict[bytes, int] = {}

    def second_time(request: bytes) -> bytes | None:
        asked[request] = asked.get(request, 0) + 1
        return response(request) if asked[request] > 1 else None

    network.answers[A, 5060] = second_time
    network.run_until(60 * 40)
    shares = [o.figures.resent.bit_count() for o in network.told]
    assert shares[:3] == [6, 7, 8]  # below 30 % of 20 nothing is told
    assert {o.state for o in network.told} == {State.UP}


def test_counters_hold_what_happened() -> None:
    network = Network()
    network.add("t.example.com", [A], saying("480 Away"))
    network.run_until(125)
    network.answers[A, 5060] = silent
    network.run_until(190)
    rows = network.rows
    assert (rows.answered[0], rows.degraded[0], rows.failed[0]) == (3, 3, 1)
    assert rows.retransmits[0] == 3
    assert sum(map(sum, network.sweep.inbox.histograms)) == 3
    assert sum(network.sweep.inbox.sums) == pytest.approx(3 * 0.04, abs=0.03)


def test_figures_are_kept_of_the_last_thirty_two_probes() -> None:
    network = Network()
    network.add("t.example.com", [A], silent)
    network.run_until(120)
    network.answers[A, 5060] = well
    network.run_until(60 * 12)
    figures = network.targets.figures(0, network.now)
    assert figures.outcomes.bit_count() == network.rows.failed[0]
    assert figures.probes == min(32, network.rows.probes(0))
    network.run_until(60 * 60)
    assert network.targets.figures(0, network.now).outcomes == 0
