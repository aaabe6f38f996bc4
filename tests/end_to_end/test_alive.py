"""Whether sipwatch reaches anybody, and sees anything: heartbeat, tests, vantage."""

from __future__ import annotations

import json

import pytest

from sipwatch.demo.mail import MailCatcher
from tests.alerting.receiving import Receiver, receiving
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import command, mail_to
from tests.end_to_end.test_daemon import (
    RULES,
    dead_port,
    sections,
    smtp,
    targets,
    uri,
)
from tests.servers import eventually

BEATS = 10.0  # s between two: the least
QUICKLY = {"interval": "2s", "timeout": "2s", "failures": 2}  # of the vantage
CUT_OFF = {"VantageLost": {"for": "1s", "keep_firing_for": "0s"}}


def asked(receiver: Receiver, path: str) -> list[str]:
    """What was sent to a path."""
    return [got.body.decode() for got in receiver.got if got.path == path]


def marked(catcher: MailCatcher) -> int:
    """How many marked tests have come."""
    return sum(str(mail["Subject"]).startswith("[test] ") for mail in catcher.mails)


async def beats(receiver: Receiver) -> None:
    """Wait for another beat."""
    before = len(asked(receiver, "/beat"))
    await eventually(lambda: len(asked(receiver, "/beat")) > before, 60, "a beat")


@pytest.mark.wall
async def test_the_heartbeat_stops_with_the_mails_and_goes_on_with_them(
    running: MakeRunning, catcher: MailCatcher
) -> None:
    async with receiving() as receiver:
        heart = {"url": f"{receiver.url}/beat", "fail_url": f"{receiver.url}/fail"}
        heart |= {"interval": f"{BEATS:g}s", "timeout": "5s"}
        daemon = running(sections(heartbeat=heart) + mail_to(catcher))
        await daemon.start()
        await beats(receiver)
        await catcher.close()
        done = await command("test-notify", "--socket", daemon.socket)
        assert done.returncode == 2
        await eventually(lambda: asked(receiver, "/fail"), 60, "why it stops")
        assert asked(receiver, "/fail") == ["no notifier works"]
        held = len(asked(receiver, "/beat"))
        assert "heartbeat" in daemon.log

        await catcher.start(*catcher.address)
        done = await command("test-notify", "--socket", daemon.socket)
        assert done.returncode == 0
        await beats(receiver)
        assert len(asked(receiver, "/beat")) == held + 1
        assert len(asked(receiver, "/fail")) == 1


@pytest.mark.wall
async def test_without_a_network_it_alone_is_told_of_and_no_phone(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    gateway, provider = await trunk(), await trunk()
    async with receiving() as receiver:
        heart = {"url": f"{receiver.url}/beat", "fail_url": f"{receiver.url}/fail"}
        heart |= {"interval": f"{BEATS:g}s", "timeout": "5s"}
        near = {"gateway": {"options": uri(gateway)}}
        configured = sections(
            targets=targets(provider=provider),
            vantage={"targets": near, **QUICKLY},
            rules=RULES | CUT_OFF,
            heartbeat=heart,
        )
        daemon = await running(configured + mail_to(catcher)).start()
        await eventually(daemon.is_ready, 60, "the first pass")
        await beats(receiver)

        gateway.silent = provider.silent = True
        await daemon.opens("VantageLost")
        await eventually(lambda: len(catcher.mails) == 1, 20, "the mail")
        fired = str(catcher.mails[0]["Subject"])
        assert fired.startswith("[critical] sipwatch cut off from the network since ")
        await eventually(lambda: asked(receiver, "/fail"), 60, "why it stops")
        assert asked(receiver, "/fail") == ["sipwatch is cut off from the network"]
        # By now the provider has failed for far longer than its rule wants.
        assert await daemon.open() == [("VantageLost", "vantage:network")]
        assert len(catcher.mails) == 1

        gateway.silent = provider.silent = False
        await daemon.is_over("VantageLost")
        await eventually(lambda: len(catcher.mails) == 2, 20, "the end")
        over = str(catcher.mails[1]["Subject"])
        assert over.startswith("[resolved] sipwatch on the network again after ")
        await beats(receiver)
        assert await daemon.open() == []
        assert len(catcher.mails) == 2


async def test_each_route_is_tested_and_who_refuses_is_shown(
    running: MakeRunning, catcher: MailCatcher
) -> None:
    with dead_port() as port:
        other = smtp(port).replace("notifiers:\n", "").replace("oncall:", "boss:")
        routes = [
            {"match": {"severity": ["critical"]}, "notify": ["oncall"]}
            | {"escalate": [{"after": "10m", "notify": ["boss"]}]},
            {"notify": ["oncall"]},
        ]
        configured = sections(routes=routes) + mail_to(catcher) + other.lstrip("\n")
        daemon = await running(configured).start()
        where = ("--socket", daemon.socket)
        done = await command("test-notify", "--all", *where)
        assert (done.returncode, done.stderr) == (2, "")
        lines = done.stdout.splitlines()
        assert lines[0] == "route 1: severity=critical"
        assert lines[1].split() == ["oncall", "at", "once", "accepted"]
        assert lines[2].split()[:3] == ["boss", "after", "10m"]
        assert "accepted" not in lines[2]
        assert "route 2: all" in lines
        assert marked(catcher) == 1  # though it is on both
        told = json.loads(
            (await command("test-notify", "--all", "--json", *where)).stdout
        )
        steps = [one for route in told["routes"] for one in route["notifiers"]]
        assert [bool(one["error"]) for one in steps] == [False, True, False]
        done = await command("test-notify", "--route", "2", *where)
        assert done.returncode == 0
