"""Charts as whole SVGs: what was measured is drawn, what was not is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from alerting.store.points import Point
from checks.observation import State
from sipwatch.web.charts import (
    Change,
    rtt_chart,
    seconds,
    sparkline,
    state_strip,
    ticks,
)

BEGIN = 1_789_992_000  # 2026-09-21 12:00 UTC
HOUR, DAY = 3600, 86400
PARIS = ZoneInfo("Europe/Paris")


def answered(minute: int, rtt: float = 0.02, **more: float) -> Point:
    least, most = more.get("least", rtt), more.get("most", rtt)
    return Point(BEGIN + 60 * minute, 1, 0, least, rtt, most)


def lost(minute: int, sent: int = 1) -> Point:
    return Point(BEGIN + 60 * minute, sent, sent, None, None, None)


def test_a_sparkline() -> None:
    points = [answered(0, 0.01), answered(20, 0.02), lost(40), answered(60, 0.01)]
    assert sparkline(points, BEGIN, BEGIN + 80 * 60) == (
        '<svg class="chart spark" viewBox="0 0 160 32" role="img" font-size="11">'
        "<title>RTT and loss</title>"
        "<desc>RTT 10 ms to 20 ms, mean 13 ms; 1 of 4 questions lost (25 %)</desc>"
        '<path class="line" fill="none" stroke-linecap="round"'
        ' stroke-linejoin="round" d="M1 13.5L40.5 2M119.5 13.5L119.6 13.5"/>'
        '<path class="loss" d="M80 32v-5h2v5z"/>'
        "</svg>"
    )


def test_nothing_measured_is_said_and_not_drawn() -> None:
    assert sparkline([]) == (
        '<svg class="chart spark" viewBox="0 0 160 32" role="img" font-size="11">'
        "<title>RTT and loss</title><desc>nothing measured</desc></svg>"
    )


def test_an_rtt_chart() -> None:
    points = [
        answered(0, 0.01, least=0.005, most=0.02),
        answered(20, 0.02, least=0.01, most=0.04),
    ]
    states = [Change(BEGIN - DAY, "up"), Change(BEGIN + 45 * 60, "down")]
    assert rtt_chart(points, states, UTC, BEGIN, BEGIN + HOUR) == (
        '<svg class="chart rtt" viewBox="0 0 480 184" role="img" font-size="11">'
        "<title>RTT, loss and states</title>"
        "<desc>RTT 5 ms to 40 ms, mean 15 ms; 0 of 2 questions lost (0 %)</desc>"
        '<path class="axis" d="M50 116h424"/>'
        '<text class="tick" x="44" y="120" text-anchor="end">0</text>'
        '<path class="grid" d="M50 62h424"/>'
        '<text class="tick" x="44" y="66" text-anchor="end">25 ms</text>'
        '<path class="grid" d="M50 8h424"/>'
        '<text class="tick" x="44" y="12" text-anchor="end">50 ms</text>'
        '<path class="grid" d="M50 8v152"/>'
        '<text class="tick" x="50" y="178" text-anchor="middle">12:00</text>'
        '<path class="grid" d="M120.7 8v152"/>'
        '<text class="tick" x="120.7" y="178" text-anchor="middle">12:10</text>'
        '<path class="grid" d="M191.3 8v152"/>'
        '<text class="tick" x="191.3" y="178" text-anchor="middle">12:20</text>'
        '<path class="grid" d="M262 8v152"/>'
        '<text class="tick" x="262" y="178" text-anchor="middle">12:30</text>'
        '<path class="grid" d="M332.7 8v152"/>'
        '<text class="tick" x="332.7" y="178" text-anchor="middle">12:40</text>'
        '<path class="grid" d="M403.3 8v152"/>'
        '<text class="tick" x="403.3" y="178" text-anchor="middle">12:50</text>'
        '<path class="band" d="M50 72.8L191.3 29.6L191.3 94.4L50 105.2Z"/>'
        '<path class="line" fill="none" stroke-linecap="round"'
        ' stroke-linejoin="round" d="M50 94.4L191.3 72.8"/>'
        '<text class="tick" x="44" y="138" text-anchor="end">lost</text>'
        '<text class="tick" x="44" y="158" text-anchor="end">state</text>'
        '<path class="axis" d="M50 140h424"/>'
        '<rect class="state good" x="50" y="155.2" width="318" height="4.8">'
        "<title>up 20 Sep 12:00 to 21 Sep 12:45</title></rect>"
        '<rect class="state bad" x="368" y="148" width="106" height="12">'
        "<title>down since 21 Sep 12:45</title></rect>"
        "</svg>"
    )


def test_a_strip_of_states() -> None:
    changes = [
        Change(BEGIN + 600, "registered"),
        Change(BEGIN + 1200, "registered"),
        Change(BEGIN + 1800, "never_registered"),
        Change(BEGIN + 2700, "unreachable"),
    ]
    assert state_strip(changes, BEGIN, BEGIN + HOUR, PARIS) == (
        '<svg class="chart strip" viewBox="0 0 480 14" role="img" font-size="11">'
        "<title>States</title>"
        "<desc>registered 21 Sep 14:10 to 21 Sep 14:30;"
        " never registered 21 Sep 14:30 to 21 Sep 14:45;"
        " unreachable since 21 Sep 14:45</desc>"
        '<rect class="state good" x="80" y="8.4" width="160" height="5.6">'
        "<title>registered 21 Sep 14:10 to 21 Sep 14:30</title></rect>"
        '<rect class="state never" x="240" y="8.4" width="120" height="5.6">'
        "<title>never registered 21 Sep 14:30 to 21 Sep 14:45</title></rect>"
        '<rect class="state warn" x="360" y="4.2" width="120" height="9.8">'
        "<title>unreachable since 21 Sep 14:45</title></rect>"
        "</svg>"
    )
    assert "nothing is known" in state_strip([], BEGIN, BEGIN + HOUR)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_grade(state: State) -> None:
    strip = state_strip([Change(BEGIN, state)], BEGIN, BEGIN + HOUR)
    assert "state unknown" not in strip


def test_a_state_that_cannot_be_seen_has_its_own() -> None:
    strip = state_strip([Change(BEGIN, "unknown")], BEGIN, BEGIN + HOUR)
    assert 'class="state unknown"' in strip
    assert "&lt;b&gt;" in state_strip([Change(BEGIN, "<b>")], BEGIN, BEGIN + HOUR)


def test_a_missing_minute_is_bridged_and_two_are_a_gap() -> None:
    def pieces(*minutes: int) -> int:
        drawn = sparkline([answered(n) for n in minutes], BEGIN, BEGIN + HOUR)
        found = re.search(r'class="line"[^>]* d="([^"]*)"', drawn)
        assert found is not None
        return found[1].count("M")

    assert pieces(0, 1, 2, 3, 4) == 1
    assert pieces(0, 1, 3, 4, 5) == 1  # a question that slid over its minute
    assert pieces(0, 1, 4, 5, 6) == 2
    assert pieces(0, 5, 10, 15) == 1  # who is asked every five minutes
    assert pieces(0, 5, 10, 25, 30, 35) == 2


def whole_day() -> list[Point]:
    points = [answered(n, 0.02, least=0.01, most=0.03) for n in range(1440)]
    points[700] = answered(700, 0.02, most=1.5)
    points[900] = lost(900, 3)
    return points


def test_a_day_keeps_its_peak_its_loss_and_its_bounds() -> None:
    drawn = rtt_chart(whole_day(), [], PARIS, BEGIN, BEGIN + DAY)
    assert "RTT 10 ms to 1.5 s, mean 20 ms; 3 of 1,442 questions lost (0.2 %)" in drawn
    assert drawn.count('class="loss"') == 1
    band = re.search(r'class="band" d="([^"]*)"', drawn)
    assert band is not None
    assert min(float(y) for y in re.findall(r" ([\d.]+)", band[1])) == 35.0
    assert len(drawn) < 20_000
    assert drawn == rtt_chart(whole_day(), [], PARIS, BEGIN, BEGIN + DAY)


@pytest.mark.parametrize("hours", [1, 24, 168, 720])
def test_charts_of_any_time_are_bounded(hours: int) -> None:
    minutes = [
        answered(n, 0.02 + n % 7 / 100, least=0.01 + n % 5 / 900, most=0.2 + n % 3)
        for n in range(60 * hours)
    ]
    spiked = [point if n % 9 else lost(n) for n, point in enumerate(minutes)]
    until = BEGIN + hours * HOUR
    assert len(rtt_chart(spiked, [], UTC, BEGIN, until)) < 20_000
    assert len(sparkline(spiked, BEGIN, until)) < 8_000


def test_they_are_well_formed_and_bear_no_style() -> None:
    changes = [Change(BEGIN + n * 60, ("up", "down")[n % 2]) for n in range(500)]
    until = BEGIN + DAY
    for drawn in (
        sparkline(whole_day(), BEGIN, until),
        rtt_chart(whole_day(), changes, PARIS, BEGIN, until),
        rtt_chart([], [], UTC),
        state_strip(changes, BEGIN, until),
    ):
        svg = ElementTree.fromstring(drawn)
        assert [child.tag for child in svg][:2] == ["title", "desc"]
        assert "style=" not in drawn
        assert "nan" not in drawn


@pytest.mark.parametrize(
    ("since", "hours", "zone", "said"),
    [
        ("2026-09-21 12:00", 1, UTC, "12:00 12:10 12:20 12:30 12:40 12:50"),
        ("2026-09-21 12:07", 24, PARIS, "18:00 22 Sep 06:00 12:00"),
        ("2026-09-18 09:30", 72, PARIS, "12:00 19 Sep 12:00 20 Sep 12:00 21 Sep"),
        ("2026-09-01 09:30", 168, UTC, "3 Sep 5 Sep 7 Sep"),
        ("2026-09-01 00:00", 720, UTC, "1 Sep 6 Sep 11 Sep 16 Sep 21 Sep 26 Sep"),
        # The nights with another hour: no tick is there twice, none is crooked.
        ("2026-10-24 12:00", 24, PARIS, "12:00 18:00 25 Oct 06:00"),
        ("2026-03-28 22:30", 6, PARIS, "23:00 29 Mar 01:00 03:00 04:00 05:00"),
    ],
)
def test_ticks_are_round_times_of_the_zone(
    since: str, hours: int, zone: tzinfo, said: str
) -> None:
    begin = datetime.fromisoformat(since).replace(tzinfo=zone).timestamp()
    found = ticks(begin, begin + hours * HOUR, zone)
    assert " ".join(text for _, text in found) == said
    assert all(
        datetime.fromtimestamp(at, zone).strftime("%M") in ("00", "10", "20", "30")
        or hours == 1
        for at, _ in found
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.00041, "0.41 ms"),
        (0.0025, "2.5 ms"),
        (0.0211, "21 ms"),
        (0.9994, "999 ms"),
        (1.0, "1 s"),
        (1.53, "1.5 s"),
        (31.6, "32 s"),
    ],
)
def test_times_are_short(value: float, said: str) -> None:
    assert seconds(value) == said
