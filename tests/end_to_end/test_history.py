"""`sipwatch history` of phones on real PBXs, over moves, refreshes and restarts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from checks.observation import State
from tests.conftest import StartAsterisk, StartKamailio
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.running import command
from tests.end_to_end.watch import Watch, asterisk_at, kamailio_at, names
from tests.servers.asterisk import Extension
from tests.servers.phones import ScriptedPhone

HERE, GONE = State.REGISTERED, State.UNREGISTERED


async def history(watch: Watch, *words: str) -> list[Any]:
    """The rows that the command prints as JSON, each as state and changes."""
    done = await command(
        "history", *words, "--json", "--socket", watch.folder / "api.sock"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    return [
        (r["state"], [(c["what"], c["from"], c["to"]) for c in r["changes"]])
        for r in rows
    ]


def came(phone: ScriptedPhone) -> list[tuple[str, str | None, str | None]]:
    """What changes when a phone is first there."""
    return [
        ("contact", None, f"sip:2001@{phone.contact}"),
        ("address", None, phone.contact),
        ("user_agent", None, phone.user_agent),
    ]


@pytest.mark.real("kamailio")
async def test_a_phone_that_moves_has_a_history_and_one_that_refreshes_has_none(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio({"2001": "secret", "2002": "secret"})
    desk, other = phone("2001", server), phone("2002", server)
    for one in (desk, other):
        one.register(60)
    listed = names(tmp_path, "2001,Reception", "2002,Lobby")
    watch = await watching(kamailio_at(server, interval="1h", **listed))
    await watch.sees(15, x2001=HERE, x2002=HERE)
    await asyncio.to_thread(other.register, 60)
    await asyncio.to_thread(desk.deregister)
    await watch.read_again()
    await watch.sees(15, x2001=GONE)
    moved = phone("2001", server, user_agent="another phone")
    await asyncio.to_thread(moved.register, 60)
    await watch.read_again()
    await watch.sees(15, x2001=HERE)
    await watch.restart()
    await watch.sees(15, x2001=HERE, x2002=HERE)
    await watch.read_again()

    first, lost, back = await history(watch, "2001")
    assert first == ("registered", [("state", None, "registered"), *came(desk)])
    assert lost == ("unregistered", [("state", "registered", "unregistered")])
    assert back == (
        "registered",
        [
            ("state", "unregistered", "registered"),
            ("contact", f"sip:2001@{desk.contact}", f"sip:2001@{moved.contact}"),
            ("address", desk.contact, moved.contact),
            ("user_agent", "scripted phone", "another phone"),
        ],
    )
    assert len(await history(watch, "2002", "--registrar", "hq")) == 1

    done = await command("history", "2001", "--socket", watch.folder / "api.sock")
    lines = done.stdout.splitlines()
    assert lines[0] == "extension 2001 Reception - hq"
    assert "state       registered -> unregistered" in done.stdout
    assert "user agent  scripted phone -> another phone" in done.stdout
    done = await command("history", "2009", "--socket", watch.folder / "api.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "nothing is known of 2009\n"


@pytest.mark.real("asterisk")
async def test_what_an_event_of_asterisk_lacks_is_no_second_row(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001")])
    watch = await watching(asterisk_at(pbx, interval="1h"))
    await watch.sees(20, x1001=State.NEVER_REGISTERED)
    desk = phone("1001", pbx)
    await asyncio.to_thread(desk.register, 60)
    await watch.sees(10, x1001=HERE)
    await watch.read_again()
    await asyncio.to_thread(desk.register, 60)
    await watch.read_again()
    await watch.daemon.chronicle._idle.wait()
    never, here = await history(watch, "1001")
    assert never == ("never_registered", [("state", None, "never_registered")])
    assert here == (
        "registered",
        [
            ("state", "never_registered", "registered"),
            ("contact", None, f"sip:1001@{desk.contact}"),
            ("address", None, desk.contact),
            ("user_agent", None, "scripted phone"),
        ],
    )
