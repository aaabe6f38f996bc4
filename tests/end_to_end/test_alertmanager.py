"""An outage through the whole daemon into a real Alertmanager, crashes included."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.alerting.receiving import Receiver, receiving
from tests.conftest import StartAlertmanager
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import command
from tests.end_to_end.test_daemon import sections, targets
from tests.servers import eventually

# An alert that is not sent again lapses after four of these: time for a restart here.
RESEND = 6.0  # s


def said(receiver: Receiver) -> list[tuple[str, str]]:
    """What the Alertmanager told: status and target of each alert."""
    alerts = [a for got in receiver.got for a in json.loads(got.body)["alerts"]]
    named = [(a["status"], a["labels"].get("target", "")) for a in alerts]
    return [one for one in named if one[1]]


@pytest.mark.wall(40)
@pytest.mark.real("alertmanager")
async def test_a_dead_trunk_fires_until_it_answers_whoever_crashes_meanwhile(
    alertmanager: StartAlertmanager, running: MakeRunning, trunk: StartTrunk
) -> None:
    provider = await trunk()
    async with receiving() as receiver:
        server = await asyncio.to_thread(alertmanager, receiver.url)
        prom: dict[str, Any] = {"type": "alertmanager", "urls": [server.url]}
        prom |= {"resend": f"{RESEND:g}s", "labels": {"team": "voice"}}
        daemon = running(
            sections(targets=targets(provider=provider), notifiers={"prom": prom})
        )
        await daemon.start()
        tested = await command("test-notify", "prom", "--socket", daemon.socket)
        assert (tested.returncode, tested.stderr) == (0, ""), tested.stdout

        provider.silent = True
        await eventually(lambda: said(receiver) == [("firing", "provider")], 60)
        (alert,) = await firing(server)
        assert alert["labels"]["alertname"] == "OptionsFailing"
        assert alert["labels"]["team"] == "voice"
        assert "does not answer OPTIONS" in alert["annotations"]["summary"]

        # It outlives its own end, a crash of sipwatch, a restart of Alertmanager.
        await eventually(lambda: lasts(server, ends(alert)), 60, "sent again")
        daemon.process.kill9()
        (left,) = await firing(server)
        await daemon.start()
        await eventually(lambda: lasts(server, ends(left)), 60, "sent by the next")
        await eventually(lambda: datetime.now(UTC) > ends(left), 60, "its end before")
        assert await firing(server)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await eventually(lambda: firing(server), 60, "told again")
        assert said(receiver) == [("firing", "provider")]

        provider.silent = False
        over = [("firing", "provider"), ("resolved", "provider")]
        await eventually(lambda: said(receiver) == over, 60)
        await eventually(lambda: none(server), 20)
        await daemon.stop()


async def firing(server: Any) -> list[dict[str, Any]]:
    """The alerts about the trunk that are active."""
    alerts = await asyncio.to_thread(server.alerts)
    return [a for a in alerts if a["labels"].get("target") == "provider"]


def ends(alert: dict[str, Any]) -> datetime:
    """When it lapses, as last told."""
    return datetime.fromisoformat(alert["endsAt"])


async def lasts(server: Any, end: datetime) -> bool:
    """Whether it was told of a later end since."""
    return any(ends(alert) > end for alert in await firing(server))


async def none(server: Any) -> bool:
    """Whether it has forgotten the trunk."""
    return not await firing(server)
