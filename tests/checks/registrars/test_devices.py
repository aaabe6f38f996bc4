"""Whether a phone is in a call: asked of one session, by whoever wants to know."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from checks.registrars import devices
from checks.registrars.devices import WAITING, Devices
from checks.registrars.session import RefusedError


class Answering:
    """A session that answers Getvar."""

    def __init__(self, *states: str) -> None:
        self.states, self.asked, self.nudged = list(states), list[str](), 0

    def nudge(self) -> None:
        self.nudged += 1

    async def ask(self, name: str, **values: str) -> dict[str, str]:
        self.asked.append(f"{name} {values['Variable']}")
        if not self.states:
            raise RefusedError("Permission denied")
        return {"Response": "Success", "Value": self.states.pop(0)}


async def answered(devices: Devices, session: Any, *aors: str) -> list[bool | None]:
    asks = [asyncio.create_task(devices.ask(aor, session)) for aor in aors]
    await asyncio.sleep(0)
    await devices.run(session)
    return await asyncio.gather(*asks)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("INUSE", True),
        ("BUSY", True),
        ("RINGINUSE", True),
        ("ONHOLD", True),
        ("NOT_INUSE", False),
        ("RINGING", False),
        ("UNAVAILABLE", None),
        ("INVALID", None),
        ("", None),
        ("nonsense", None),
    ],
)
async def test_a_state_of_a_device_is_a_call_or_none(
    state: str, found: bool | None
) -> None:
    session: Any = Answering(state)
    assert await answered(Devices(), session, "1001") == [found]
    assert session.asked == ["Getvar DEVICE_STATE(PJSIP/1001)"]
    assert session.nudged == 1


async def test_who_may_not_ask_knows_nothing() -> None:
    session: Any = Answering()
    assert await answered(Devices(), session, "1001") == [None]


async def test_a_name_that_a_function_would_read_is_not_passed_on() -> None:
    session: Any = Answering("INVALID")
    await answered(Devices(), session, "1001)${SHELL(id)}")
    assert session.asked == ["Getvar DEVICE_STATE(PJSIP/)"]


async def test_nobody_waits_for_a_session_that_has_ended() -> None:
    asked, session = Devices(), Answering("INUSE")
    assert await asked.ask("1001", None) is None
    waiting = asyncio.create_task(asked.ask("1001", session))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    asked.forget()
    assert await waiting is None


async def test_who_is_busy_with_a_list_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "PATIENCE", 0.01)
    asked, session = Devices(), Answering("INUSE")
    assert await asked.ask("1001", session) is None  # type: ignore[arg-type]
    await asked.run(session)  # type: ignore[arg-type]
    assert session.asked == []  # who asked has gone


async def test_a_crowd_is_not_waited_for() -> None:
    asked, session = Devices(), Answering(*["INUSE"] * WAITING)
    found = await answered(asked, session, *map(str, range(WAITING + 3)))
    assert found.count(True) == WAITING
    assert found[WAITING:] == [None] * 3
