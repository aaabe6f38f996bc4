"""What phones on a real Asterisk are granted, and when they refresh, as an audit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from checks.observation import State
from sipwatch.answers.audit import summarize
from tests.conftest import StartAsterisk
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.running import command
from tests.end_to_end.watch import asterisk_at
from tests.servers import eventually
from tests.servers.asterisk import Extension

pytestmark = pytest.mark.real("asterisk")

EXPIRES, HALF, REFRESHES = 14, 7.0, 6


@pytest.mark.wall(40)
async def test_the_audit_of_a_real_asterisk(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    """1001 and 1003 were registered before we came: Asterisk tells only their ends."""
    pbx = asterisk([Extension(name) for name in ("1001", "1002", "1003")])
    agents = {"1001": "snom720/8.7", "1002": "Yealink T46U", "1003": "baresip v1"}
    one, two, three = (phone(n, pbx, user_agent=a) for n, a in agents.items())
    one.register(EXPIRES)
    three.register(3600)
    keys = {"interval": "2s", "expiry": {"min": "10s", "max": "120s"}}
    watch = await watching(asterisk_at(pbx, **keys))
    await watch.sees(20, x1001=State.REGISTERED, x1003=State.REGISTERED)
    two.register(3600)
    await watch.sees(20, x1002=State.REGISTERED)
    for _ in range(REFRESHES):
        one.register(EXPIRES)
        await asyncio.sleep(HALF)
    await watch.read_again()

    socket = f"{watch.folder}/api.sock"
    shown = await command("audit", "hq", "--json", "--socket", socket)
    assert shown.returncode == 1
    kinds: dict[str, dict[str, Any]] = {
        kind["vendor"]: kind
        for kind in json.loads(shown.stdout)["registrars"][0]["kinds"]
    }
    snom, yealink, baresip = (kinds[v] for v in ("snom", "Yealink", "baresip"))
    granted = snom["granted"]  # a busy machine hears of a REGISTER a second late
    assert EXPIRES - 1 <= granted["least"] <= granted["most"] <= EXPIRES
    assert granted["exact"]
    assert snom["refresh"]["median"] == pytest.approx(HALF / EXPIRES, abs=0.06)
    assert (snom["verdict"], snom["outside"]) == ("well", False)
    assert yealink["granted"] == {"least": 3600, "most": 3600, "exact": True}
    assert yealink["refresh"] is None
    assert (yealink["verdict"], yealink["outside"]) == ("too long", True)
    assert 3580 <= baresip["granted"]["least"] < 3600
    assert (baresip["granted"]["exact"], baresip["verdict"]) == (False, "too long")

    table = await command("audit", "--socket", socket)
    assert table.returncode == 1
    assert "2 of 3 are outside the policy" in table.stdout
    unknown = await command("audit", "nosuch", "--socket", socket)
    assert unknown.returncode == 3
    assert "there is no registrar nosuch" in unknown.stderr

    infos = [("RegistrationPolicy", "1002"), ("RegistrationPolicy", "1003")]
    await eventually(lambda: sorted(watch.incidents()) == infos, 10, "two incidents")
    assert watch.subjects == []
    await summarize(watch.daemon.followings.values())  # as it is at 07:23
    mail = await watch.mail(1, 10)
    assert str(mail["Subject"]).startswith("[warning] hq has a new audit of ")
    assert "1 Yealink over UDP: 3600 s granted (too long)" in mail.as_string()
    await summarize(watch.daemon.followings.values())
    await watch.restart()
    await watch.sees(20, x1002=State.REGISTERED, x1003=State.REGISTERED)
    await watch.read_again()
    await summarize(watch.daemon.followings.values())
    await watch.settled()
    assert len(watch.mails) == 1
    # A phone that is granted less from now on is known to be well.
    for _ in range(5):  # known where one authentication came between two lists
        two.register(60)
        await watch.read_again()
        (contact,) = watch.daemon.judges["hq"].extensions["1002"].contacts
        if contact.granted == 60:
            break
    assert contact.granted == 60
