"""Why there is an alarm, and why there is none: asked of a running daemon."""

from __future__ import annotations

import json
from typing import Any

from sipwatch.demo.mail import MailCatcher
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import Running, command, mail_to
from tests.end_to_end.test_daemon import sections, targets
from tests.servers import eventually


async def explained(daemon: Running, what: object) -> Any:
    done = await command("explain", what, "--json", "--socket", daemon.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


async def test_an_incident_is_explained_before_and_after_a_crash(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    peer = await trunk()
    configured = {
        "targets": targets(twilio=peer),
        "routes": [
            {"match": {"site": "nice"}, "notify": ["oncall"]},
            {"notify": ["oncall"]},
        ],
    }
    daemon = running(sections(**configured) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    quiet = await explained(daemon, "target:twilio")
    assert quiet["why"] == ["it is up: no rule in force matches"]

    peer.silent = True
    await daemon.opens("OptionsFailing")
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    (message,) = catcher.mails
    text = message.get_payload(0).get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "incident 1 · sipwatch ack 1 · sipwatch explain 1" in text

    async def accepted() -> bool:
        attempts = (await explained(daemon, 1))["attempts"]
        return [a["outcome"] for a in attempts] == ["accepted"]

    await eventually(accepted, 10, "that it was accepted is stored")
    told = await explained(daemon, 1)
    assert told["incident"]["subject"] == "target:twilio"
    assert told["rule"]["name"] == "OptionsFailing"
    assert [(o["state"], o["cause"]) for o in told["observations"]][-1] == (
        "down",
        "timeout",
    )
    assert [(r["number"], r["taken"], r["why"]) for r in told["routes"]] == [
        (1, False, "it has no site"),
        (2, True, ""),
    ]
    row = told["deliveries"][0]
    assert (row["step"], row["told"], row["wanted"]) == (0, "firing", "firing")
    terms = told["considered"]
    assert told["incident"]["opened_at"] >= terms["due"]
    assert told["attempts"][0]["batch"] in str(message["Message-ID"])

    daemon.process.kill9()
    await daemon.start()
    await daemon.opens("OptionsFailing")
    again = await explained(daemon, 1)
    for part in ("considered", "attempts", "observations", "rule", "routes"):
        assert again[part] == told[part], part

    shown = await command("explain", 1, "--socket", daemon.socket)
    assert shown.stdout.startswith("incident 1: trunk twilio does not answer OPTIONS")
    unknown = await command("explain", 999, "--socket", daemon.socket)
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert unknown.stderr == "no incident 999 is known\n"
