"""Who follows the events of the real daemon, until a reload or the end."""

from __future__ import annotations

import asyncio

from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.test_daemon import sections, targets
from tests.end_to_end.test_people import free_port
from tests.servers import eventually
from tests.sipwatch.test_events import Client
from tests.sipwatch.test_web import ask

WITH_TOKEN = """
group: {{wait: 0s, interval: 0s}}
web:
  listen: "127.0.0.1:PORT"
  socket: {folder}/api.sock
  tokens: {{noc: {{secret: TOKEN, role: read}}}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""
OLD, NEW = "old-token-0123456789", "new-token-0123456789"


async def test_a_trunk_dies_before_the_eyes_of_who_may_look(
    running: MakeRunning, trunk: StartTrunk
) -> None:
    peer, port = await trunk(), free_port()
    frame = WITH_TOKEN.replace("PORT", str(port))
    configuration = sections(targets=targets(twilio=peer))
    daemon = running(configuration, frame=frame.replace("TOKEN", OLD))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    client = await Client.connect(port, fields=f"Authorization: Bearer {OLD}\r\n")
    await client.begin()
    reading = asyncio.create_task(client.follow())
    peer.silent = True

    def states() -> list[str]:
        told = [data for _, kind, data in client.events if kind == "states"]
        return [row["state"] for one in told for row in one["rows"]]

    def incidents() -> list[tuple[str, str]]:
        told = [data for _, kind, data in client.events if kind == "incident"]
        return [(one["rule"], one["state"]) for one in told]

    await eventually(lambda: states()[-1:] == ["down"], 20, "the trunk is down")
    await eventually(lambda: bool(incidents()), 20, "the incident")
    assert incidents()[0] == ("OptionsFailing", "firing")
    assert client.events[0][1] == "overview"

    daemon._frame = frame.replace("TOKEN", NEW)
    await daemon.reload(configuration)
    async with asyncio.timeout(20):
        await reading  # who was let in by the old one is let go
    path = "/api/v1/status"
    assert (await ask(port, path, Authorization=f"Bearer {OLD}")).status == 401
    assert (await ask(port, path, Authorization=f"Bearer {NEW}")).status == 200
    reload = [data for _, kind, data in client.events if kind == "reload"]
    assert [one["ok"] for one in reload] in ([], [True])
    assert "changes with the next restart" not in daemon.log

    last = await Client.connect(port, fields=f"Authorization: Bearer {NEW}\r\n")
    await last.begin()
    reading = asyncio.create_task(last.follow())
    assert await daemon.stop() < 5
    async with asyncio.timeout(20):
        await reading
    assert "rror" not in daemon.log
