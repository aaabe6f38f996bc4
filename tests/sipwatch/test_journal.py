"""The log of what happened: a line for each change, and harmless ones."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from pyee.base import EventEmitter

from alerting.announcement import (
    Announcement,
    Delivered,
    Opened,
    Resolved,
    Suppressed,
    Transition,
    Updated,
)
from alerting.incident import Batch, Delivery, Incident, Outcome, Severity, Told
from checks.observation import Cause, Kind, Scope, State, Subject
from sipwatch.journal import NAMED, Journal
from sipwatch.log import Json, Plain
from tests.checks.registrations.judging import Timeline, bound

PHONE = Subject(Kind.EXTENSION, "1001", Scope("hq"))


def incident(subject: Subject = PHONE, **changes: Any) -> Incident:
    """An open incident of a phone."""
    values = {
        "id": 7,
        "subject": subject,
        "family": "liveness",
        "rule": "ExtensionUnregistered",
        "severity": Severity.WARNING,
        "state": State.UNREGISTERED,
        "since": 1000.0,
        "opened_at": 1120.0,
        "detail": "it expired",
    }
    return Incident(**(values | changes))


def delivered(outcome: Outcome, number: int = 2) -> Delivered:
    """A batch of so many incidents that was attempted."""
    rows = tuple(
        Delivery(incident(id=n), "oncall", "", Told.FIRING) for n in range(number)
    )
    return Delivered(Batch("b", "oncall", Told.FIRING, rows, "b"), outcome, 1130.0)


LINES: list[tuple[Announcement, str, list[str]]] = [
    (
        Transition(PHONE, State.REGISTERED, State.UNREGISTERED, 1000.0, 1000.0),
        "INFO",
        ["extension:hq/1001: registered -> unregistered"],
    ),
    (
        Transition(PHONE, None, State.UNREGISTERED, 1000.0, 1000.0),
        "INFO",
        ["extension:hq/1001: new -> unregistered"],
    ),
    (
        Opened(incident(), 1120.0),
        "WARNING",
        [
            "incident 7 opened: [warning] extension:hq/1001: ExtensionUnregistered "
            "it expired"
        ],
    ),
    (
        Opened(incident(), 1120.0, again=True),
        "WARNING",
        [
            "incident 7 opened again: [warning] extension:hq/1001: "
            "ExtensionUnregistered it expired"
        ],
    ),
    (
        Updated(incident(), 1125.0),
        "INFO",
        ["incident 7: [warning] ExtensionUnregistered it expired"],
    ),
    (
        Resolved(incident(closed="no longer watched"), 1200.0),
        "INFO",
        ["incident 7 over: extension:hq/1001: no longer watched"],
    ),
    (
        Suppressed(PHONE, "ExtensionUnregistered", "hq is unreadable", 1120.0),
        "INFO",
        ["extension:hq/1001: ExtensionUnregistered suppressed: hq is unreadable"],
    ),
    (delivered(Outcome.ACCEPTED), "INFO", ["oncall took firing of 0, 1"]),
    (delivered(Outcome.TRANSIENT), "", []),
]


@pytest.fixture
def bus(caplog: pytest.LogCaptureFixture) -> EventEmitter:
    caplog.set_level(logging.INFO, "sipwatch")
    bus = EventEmitter()
    Journal(bus)
    return bus


def tell(bus: EventEmitter, one: Announcement) -> None:
    bus.emit(type(one).__name__.lower(), one)


@pytest.mark.parametrize(("one", "level", "lines"), LINES)
def test_one_line_for_each_change(
    bus: EventEmitter,
    caplog: pytest.LogCaptureFixture,
    one: Announcement,
    level: str,
    lines: list[str],
) -> None:
    tell(bus, one)
    assert caplog.messages == lines
    assert [record.levelname for record in caplog.records] == [level] * len(lines)


def test_what_is_as_it_was_logged_is_not_logged_again(
    bus: EventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    tell(bus, Opened(incident(), 1120.0))
    tell(bus, Updated(incident(acknowledged_by="Anna"), 1121.0))
    tell(bus, Updated(incident(detail="it logged out"), 1122.0))
    tell(bus, Updated(incident(detail="it logged out"), 1123.0))
    tell(bus, Resolved(incident(), 1124.0))
    tell(bus, Updated(incident(), 1125.0))
    assert caplog.messages[1:] == [
        "incident 7: [warning] ExtensionUnregistered it logged out",
        "incident 7 over: extension:hq/1001",
        "incident 7: [warning] ExtensionUnregistered it expired",
    ]


def test_a_mass_event_is_one_short_line(
    bus: EventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    tell(bus, delivered(Outcome.ACCEPTED, 2000))
    (line,) = caplog.messages
    assert len(line) < 120


def test_text_from_the_network_stays_one_harmless_line(
    bus: EventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "1001\r\n10:02:14 critical all is lost \x1b[2J"
    subject = Subject(Kind.EXTENSION, evil, Scope("hq"))
    tell(bus, Transition(subject, None, State.UNREGISTERED, 1.0, 1.0))
    tell(bus, Opened(incident(subject, detail="a\nb" * 9000), 1.0))
    for record in caplog.records:
        for form in (Plain(), Json()):
            line = form.format(record)
            assert line.isprintable()
            assert len(line) < 2_500


def test_a_listener_that_failed_is_logged_with_its_trace(
    bus: EventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    bus.emit("error", ZeroDivisionError("oops"))
    assert caplog.messages == ["a listener failed"]
    assert "ZeroDivisionError: oops" in Plain().format(caplog.records[0])


def first_pass(t: Timeline, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the first pass is summed up as."""
    caplog.set_level(logging.INFO, "sipwatch")
    following: Any = SimpleNamespace(judge=t.judge)
    Journal(EventEmitter()).first_pass(following)
    return caplog.messages


def test_the_first_pass_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    t = Timeline("1001", "1002", "1003").at(10)
    t.list(bound("1001", 70), bound("1002", 70))
    assert first_pass(t, caplog) == [
        "hq: 1 never_registered, 2 registered",
        "hq: never registered, so no alarm: 1003 (extensions.required makes them"
        " count)",
    ]


def test_of_many_that_were_never_there_some_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    t = Timeline(*(str(1000 + n) for n in range(NAMED + 80))).at(10)
    t.list()
    while not t.judge.settled:
        t.advance()
    assert "1000, 1001, " in first_pass(t, caplog)[1]
    assert f"{1000 + NAMED - 1} and 80 more" in caplog.messages[1]


def test_a_registrar_without_phones(caplog: pytest.LogCaptureFixture) -> None:
    t = Timeline().at(10)
    t.list()
    assert first_pass(t, caplog) == ["hq: no extensions"]


def test_a_dead_registrar_is_a_warning_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    t = Timeline("1001").at(10)
    t.lost(Cause.CONNECTION_REFUSED, "AMI at 10.0.0.5:5038: connection refused")
    assert first_pass(t, caplog) == [
        "hq: cannot be read: AMI at 10.0.0.5:5038: connection refused"
    ]
    assert caplog.records[0].levelname == "WARNING"
