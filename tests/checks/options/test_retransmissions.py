"""What counts as a question that needed a second send: an answered one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.observation import Cause, Kind, Observation, Scope, State, Subject
from checks.options.answers import Answer
from checks.options.check import OptionsCheck
from checks.options.targets import Target, TargetSettings


class Asked:
    """One target whose questions end as the test says."""

    def __init__(self) -> None:
        self.told: list[Observation] = []
        self.check = OptionsCheck((), self.told.append, clock=lambda: 1000.0)
        self.check.start()
        subject = Subject(Kind.TARGET, "trunk", Scope("trunk", role="trunk"))
        settings = TargetSettings(uri="sip:127.0.0.1:5070")
        self.check.replace([Target(subject, settings.uri, settings)])
        self.row = self.check.judge.members(0)[0]

    def ends(self, sends: int, code: int | None) -> None:
        self.check.rows.tries[self.row] = sends
        if code is None:
            self.check.judge.failed(self.row, Cause.TIMEOUT, "", 1000.0, 1000.0)
        else:
            address = self.check.rows.address[self.row]
            self.check.judge.answered(
                self.row, Answer(self.row, 0, code), address, 1000.0
            )


@pytest.fixture
async def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.check.close()


@pytest.mark.parametrize(
    ("ends", "resent"),
    [
        ([(1, 200), (1, 200)], 0b00),
        ([(2, 200), (1, 200)], 0b10),
        ([(3, 404), (2, 200)], 0b11),
        ([(2, 503), (1, 200)], 0b10),  # it came, at the second send
        ([(4, None), (4, None), (1, 200)], 0b000),
        ([(2, 200), (4, None)], 0b10),
    ],
)
async def test_only_an_answered_question_was_answered_at_a_later_send(
    asked: Asked, ends: list[tuple[int, int | None]], resent: int
) -> None:
    for sends, code in ends:
        asked.ends(sends, code)
    assert asked.told[-1].figures.resent == resent
    assert asked.told[-1].figures.probes == len(ends)


async def test_an_outage_is_no_loss_of_packets_once_it_is_over(asked: Asked) -> None:
    for _ in range(8):
        asked.ends(4, None)
    assert asked.told[-1].state is State.DOWN
    for _ in range(3):
        asked.ends(1, 200)
    assert asked.told[-1].state is State.UP
    assert asked.told[-1].figures.resent == 0
