"""The sweep on timelines: when it asks, asks again, gives up, and what it forgives."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from checks.observation import Cause, State
from checks.options.sweep import LATE, TICK
from tests.checks.options.sweeping import (
    START,
    Network,
    header,
    response,
    saying,
    silent,
)


def times(network: Network) -> list[float]:
    """When requests left, s after the start, to the nearest tick."""
    return [round(sent.at - START, 2) for sent in network.sent]


def test_a_request_is_what_a_provider_would_accept() -> None:
    network = Network()
    network.add("pbx.example.com", from_='"Watch" <sip:watch@example.com>')
    network.run_until(0.1)
    request = network.sent[0].data
    branch = header(request, "Via").partition("branch=z9hG4bK")[2].partition(";")[0]
    nonce = branch[8:]
    lines = request.decode().split("\r\n")
    assert len(branch) == 24
    assert lines[0] == "OPTIONS sip:pbx.example.com:5060 SIP/2.0"
    assert lines[1:3] == [
        f"Via: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bK{branch};rport",
        "Max-Forwards: 70",
    ]
    assert header(request, "From").startswith("Watch <sip:watch@example.com>;tag=")
    assert lines[4:] == [
        "To: <sip:pbx.example.com>",
        f"Call-ID: {nonce}@127.0.0.1",
        "CSeq: 1 OPTIONS",
        "Contact: <sip:sipwatch@127.0.0.1:5099>",
        "User-Agent: test",
        "Accept: application/sdp",
        "Content-Length: 0",
        "",
        "",
    ]


def test_a_percent_sign_in_a_setting_is_only_a_percent_sign() -> None:
    network = Network()
    network.add("pbx.example.com", user_agent="100 % up", from_="sip:a%20b@example.com")
    network.run_until(0.1)
    assert header(network.sent[0].data, "User-Agent") == "100 % up"
    assert "sip:a%20b@example.com" in header(network.sent[0].data, "From")


def test_each_target_is_asked_once_an_interval_evenly_spread() -> None:
    network = Network()
    for number in range(600):
        network.add(f"t{number}.example.com", [f"127.0.{number // 250}.{number % 250}"])
    network.run_until(60)
    asked = Counter(sent.address for sent in network.sent)
    seconds = Counter(int(at) for at in times(network))
    assert set(asked.values()) == {1}
    assert len(asked) == 600
    assert set(seconds.values()) <= {9, 10, 11}
    network.run_until(120)
    assert set(Counter(sent.address for sent in network.sent).values()) == {2}


def test_neighbours_in_a_file_are_not_neighbours_in_time() -> None:
    network = Network()
    for number in range(100):
        network.add(f"t{number}.example.com", [f"127.0.0.{number}"])
    network.run_until(60)
    order = [int(sent.address[0].rpartition(".")[2]) for sent in network.sent]
    steps = [abs(a - b) for a, b in pairwise(order)]
    assert order != sorted(order)
    assert sum(steps) / len(steps) > 20


def test_silence_is_asked_again_at_once_twice_and_four_times_t1() -> None:
    network = Network()
    network.add("t.example.com", answers=silent)
    network.run_until(14)
    assert times(network) == pytest.approx([0.01, 0.51, 1.51, 3.52], abs=0.03)
    assert len({sent.data for sent in network.sent}) == 1  # the same request
    (told,) = network.told
    assert told.state is State.DOWN
    assert told.cause is Cause.TIMEOUT
    assert told.since == pytest.approx(START, abs=0.01)
    assert told.at == pytest.approx(START + 5, abs=0.02)
    assert told.detail == (
        "4 sends to 127.0.0.1:5060 over UDP, no answer; it has never answered:"
        " check ACL, firewall, ban"
    )


def test_a_long_timeout_reaches_t2_and_stays_there() -> None:
    network = Network()
    network.add("t.example.com", answers=silent, timeout=20.0)
    network.run_until(19.9)
    assert times(network) == pytest.approx(
        [0.01, 0.51, 1.51, 3.52, 7.52, 11.53, 15.54, 19.54], abs=0.05
    )


def test_a_timeout_under_t1_is_one_send() -> None:
    network = Network()
    network.add("t.example.com", answers=silent, timeout=0.3)
    network.run_until(0.5)
    assert len(network.sent) == 1
    assert network.told[0].at == pytest.approx(START + 0.3, abs=0.02)


def test_a_provisional_answer_sets_the_timer_to_t2_and_ends_nothing() -> None:
    network = Network()
    network.add("t.example.com", answers=saying("100 Trying"), timeout=10.0)
    network.run_until(9.9)
    # RFC 3261 17.1.2.2: it fires once more as it was set, then every T2.
    assert times(network) == pytest.approx([0.01, 0.51, 4.52, 8.53], abs=0.04)
    assert network.told == []
    network.run_until(10.2)
    assert network.told[0].cause is Cause.TIMEOUT


def test_over_a_stream_nothing_is_sent_again() -> None:
    network = Network()
    network.add("t.example.com", answers=silent, stream=True)
    network.run_until(10)
    assert len(network.sent) == 1
    assert "SIP/2.0/TCP 127.0.0.1;branch=" in header(network.sent[0].data, "Via")
    assert network.told[0].cause is Cause.TIMEOUT


def test_a_failure_is_confirmed_before_its_turn_and_not_for_ever() -> None:
    network = Network()
    network.add("t.example.com", answers=silent, interval=600.0, timeout=2.0)
    network.run_until(590)
    asked = times(network)
    first = asked[:1] + [b for a, b in pairwise(asked) if b - a > 3]
    assert first == pytest.approx([15 * n for n in range(9)], abs=0.3)


def test_a_recovery_is_confirmed_before_its_turn() -> None:
    network = Network()
    network.add("t.example.com", answers=silent, interval=600.0)
    network.run_until(20)
    network.answers["127.0.0.1", 5060] = saying("200 OK")
    network.run_until(100)
    successes = [o.figures.successes for o in network.told if o.state is State.UP]
    assert successes == [1, 2]
    assert network.told[-1].at == pytest.approx(START + 45, abs=0.5)


def test_a_first_look_asks_few_targets_at_once() -> None:
    network = Network()
    for number in range(50):
        network.add(f"t{number}.example.com", [f"127.0.0.{number}"], soon=True)
    network.run_until(1)
    assert len({sent.address for sent in network.sent}) == 50


def test_one_lost_packet_in_ten_changes_no_state_in_an_hour() -> None:
    network = Network(loss=0.1, seed=7)
    names = [f"t{number}.example.com" for number in range(200)]
    for number, name in enumerate(names):
        network.add(name, [f"127.0.0.{number}"])
    network.run_until(3600, step=0.05)
    assert {state for name in names for state in network.states(name)} == {State.UP}
    assert max(o.figures.failures for o in network.told) <= 1
    assert sum(network.rows.failed) > 0  # the loss was there
    assert sum(network.rows.retransmits) > 1000


def test_sends_after_a_late_tick_never_exceed_twice_the_mean() -> None:
    network = Network()
    for number in range(2000):
        name = f"t{number}.example.com"
        network.add(name, [f"127.0.{number // 250}.{number % 250}"], interval=2.0,
                    timeout=1.0)  # fmt: skip
    network.run_until(1.0)
    network.now += 0.15  # late, but not so late that it is a gap
    network.run_until(3.0)
    per_window = Counter(int((sent.at - START) / 0.032) for sent in network.sent)
    assert max(per_window.values()) <= 2 * 1000 * 0.032
    assert len(network.sent) == pytest.approx(3000, abs=30)  # it caught up


@pytest.mark.parametrize("pause", [0.25, 1.0, 10.0, 300.0])
def test_a_stopped_process_calls_nobody_down(pause: float) -> None:
    network = Network(delay=0.05)
    for number in range(300):
        name = f"t{number}.example.com"
        network.add(name, [f"127.0.0.{number % 250}"], interval=6.0)
    network.run_until(20)
    sent = len(network.sent)
    network.now += pause
    network.drain()
    network.sweep.tick(network.now)
    assert len(network.sent) - sent <= 10  # nothing bursts
    network.run_until(20 + pause + 20)
    assert network.sweep.gaps == 1
    assert {o.state for o in network.told} == {State.UP}
    assert sum(network.rows.failed) == 0


def test_what_a_pause_cut_short_gets_its_time_back() -> None:
    network = Network()
    network.add("t.example.com", answers=silent)
    network.run_until(0.4)  # asked once
    network.now += 4.5  # the send at 0.5 s would have come, and most of the timeout
    network.run_until(8)
    assert network.told == []
    network.run_until(9.7)
    assert network.told[0].cause is Cause.TIMEOUT
    assert len(network.sent) >= 3


def test_what_would_have_timed_out_in_a_pause_is_asked_again() -> None:
    network = Network()
    network.add("t.example.com", answers=silent)
    network.run_until(4.9)
    before = {sent.data for sent in network.sent}
    network.answers["127.0.0.1", 5060] = saying("200 OK")
    network.now += 1.0
    network.run_until(7)
    assert {sent.data for sent in network.sent} > before  # a question of its own
    assert [o.state for o in network.told] == [State.UP]


def test_a_tick_that_is_a_little_late_is_no_pause() -> None:
    network = Network()
    network.add("t.example.com")
    network.run_until(10)
    network.run_until(12, step=LATE - TICK)
    assert network.sweep.gaps == 0


def test_an_address_is_not_asked_more_often_than_its_least_interval() -> None:
    network = Network()
    for number in range(4):
        network.add(f"t{number}.example.com", ["192.0.2.1"], floor=15.0, soon=True)
    network.add("other.example.com", ["192.0.2.2"], floor=15.0, soon=True)
    network.run_until(200)
    shared = [sent for sent in network.sent if sent.address[0] == "192.0.2.1"]
    gaps = [b.at - a.at for a, b in pairwise(shared)]
    assert min(gaps) >= 15.0
    assert max(gaps) < 15.1  # and no slower than need be
    uris = Counter(sent.data.split(b" ", 2)[1] for sent in shared)
    assert max(uris.values()) - min(uris.values()) <= 1  # all get their turn


def test_who_asks_beside_the_sweep_is_one_of_those_that_wait_for_an_address() -> None:
    network = Network()
    for number in range(2):
        network.add(f"t{number}.example.com", ["192.0.2.1"], floor=15.0, soon=True)
    network.run_until(1)  # one was asked at once, the other one waits for its floor
    assert network.sweep.claim(["192.0.2.1", "192.0.2.7"], network.now) == (
        pytest.approx(14, abs=0.1)
    )
    assert network.sweep.claim(["192.0.2.1"], network.now) == (
        pytest.approx(29, abs=0.1)
    )
    network.run_until(70)
    times = [round(sent.at - START) for sent in network.sent]
    assert times[:3] == [0, 45, 60]
    assert network.sweep.claim(["192.0.2.7"], network.now) == 0.0


def test_the_longest_floor_of_an_address_holds_for_all_its_rows() -> None:
    network = Network()
    network.add("a.example.com", ["192.0.2.1"], floor=5.0, soon=True)
    network.add("b.example.com", ["192.0.2.1"], floor=20.0, soon=True)
    network.run_until(100)
    gaps = [b.at - a.at for a, b in pairwise(network.sent)]
    assert min(gaps) >= 20.0


def test_rows_that_leave_are_asked_no_more_and_heard_no_more() -> None:
    network = Network()
    index = network.add("t.example.com", soon=True, answers=silent)
    network.run_until(0.1)
    request = network.sent[0]
    (row,) = network.targets.members(index)
    network.sweep.leave([row])
    network.rows.drop(row)
    network.deliver(response(request.data), request.address)
    network.run_until(100)
    assert len(network.sent) == 1
    assert network.told == []
    assert network.sweep.inbox.strays == 1
    assert network.sweep.rate == pytest.approx(0)


def test_rows_that_come_do_not_disturb_the_turns_of_others() -> None:
    network = Network()
    for number in range(60):
        network.add(f"t{number}.example.com", [f"127.0.0.{number}"])
    network.run_until(90)
    for number in range(60, 90):
        network.add(f"t{number}.example.com", [f"127.0.0.{number}"])
    network.run_until(240)
    at: dict[str, list[float]] = {}
    for sent in network.sent:
        at.setdefault(sent.address[0], []).append(sent.at)
    old = [at[f"127.0.0.{number}"] for number in range(60)]
    gaps = [b - a for seen in old for a, b in pairwise(seen)]
    assert max(gaps) < 65
    assert len(at) == 90


def test_a_machine_that_cannot_send_says_so_of_the_target() -> None:
    network = Network()
    network.refusals["127.0.0.1", 5060] = OSError(101, "Network is unreachable")
    network.add("t.example.com", soon=True)
    network.run_until(0.1)
    (told,) = network.told
    assert told.cause is Cause.ICMP_UNREACHABLE
    assert told.detail.startswith(
        "this machine cannot send to it: Network is unreachable"
    )


def test_a_full_send_buffer_is_no_failure_of_the_target() -> None:
    network = Network()
    network.refusals["127.0.0.1", 5060] = BlockingIOError(11, "again")
    network.add("t.example.com", soon=True)
    network.run_until(0.1)
    del network.refusals["127.0.0.1", 5060]
    network.run_until(1)
    assert [o.state for o in network.told] == [State.UP]
