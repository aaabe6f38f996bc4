"""Phones and trunks of an OpenSIPS, by its MI and its events, through the daemon."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from checks.observation import State
from tests.end_to_end.conftest import StartWatch
from tests.end_to_end.watch import LATEST, Watch, names, registrar, row, rules
from tests.wires.opensips import Contact, Hang, OpenSips, Usrloc, event

HERE, GONE = State.REGISTERED, State.UNREGISTERED


@pytest.fixture
def usrloc() -> Usrloc:
    """Three phones with two minutes left, and a trunk that is registered."""
    made = Usrloc(registrations=[trunk("REGISTERED")])
    ends = time.time() + 118
    for n in (1001, 1002, 1003):
        made.add(Contact(f"{n}@lab.test", f"sip:{n}@10.0.0.{n % 100}:5060", ends))
    return made


@pytest.fixture
async def opensips(usrloc: Usrloc) -> AsyncIterator[OpenSips]:
    """The server of these."""
    async with OpenSips(usrloc) as server:
        yield server


def trunk(state: str) -> dict[str, Any]:
    """The record of the trunk, in a state."""
    return {
        "AOR": "sip:acme@provider.test",
        "state": f"{state}_STATE",
        "registrar": "sip:provider.test",
        "binding": "sip:acme@10.0.0.1",
        "expires": 3600,
        "last_register_sent": time.ctime(time.time() - 5),
    }


def section(server: OpenSips, folder: Path, **keys: object) -> str:
    """The OpenSIPS as `hq`, with the names of its phones."""
    listed = names(folder, "1001,Reception", "1002,Office", "1003,Store")
    where = {"address": server.address, "domain": "lab.test", "timeout": "1s"}
    return registrar(type="opensips", **(where | listed | keys))


def deleted(usrloc: Usrloc, aor: str) -> bytes:
    """Take a phone out of the table; the event that tells of it."""
    (contact,) = usrloc.records.pop(aor)
    return event(
        "E_UL_CONTACT_DELETE",
        domain="location",
        aor=aor,
        uri=contact.uri,
        bflags=contact.bflags,
        expires=int(contact.ends),
    )


async def all_here(watch: Watch) -> None:
    await watch.sees(15, x1001=HERE, x1002=HERE, x1003=HERE)


async def test_a_phone_that_goes_by_event_is_one_mail_and_its_return_another(
    opensips: OpenSips, usrloc: Usrloc, watching: StartWatch, tmp_path: Path
) -> None:
    watch = await watching(
        section(opensips, tmp_path, interval="1h") + rules(ExtensionUnregistered=1)
    )
    await all_here(watch)
    contact = usrloc.records["1001@lab.test"][0]
    gone = time.time()
    opensips.emit(deleted(usrloc, "1001@lab.test"))
    fired = await watch.mail(1, 15)
    assert gone + 1 <= watch.arrivals[0] <= gone + 1 + LATEST
    assert watch.subjects[0].startswith("[warning] 1001 Reception unregistered since ")
    assert "logged out before its registration ended" in row(fired, "why")
    assert "10.0.0.1:5060 over UDP, LabPhone/1.0" in row(fired, "last seen")

    usrloc.add(contact)
    params = {"uri": contact.uri, "expires": int(contact.ends)}
    opensips.emit(event("E_UL_CONTACT_INSERT", aor="1001@lab.test", **params))
    over = await watch.mail(2, 15)
    assert watch.subjects[1].startswith("[resolved] 1001 Reception registered again ")
    assert watch.in_thread(over, fired)


async def test_a_list_that_never_comes_loses_nobody_but_who_is_gone(
    opensips: OpenSips, usrloc: Usrloc, watching: StartWatch, tmp_path: Path
) -> None:
    keys = {"interval": "1s", "events": "off"}
    watch = await watching(
        section(opensips, tmp_path, **keys)
        + rules(ExtensionUnregistered=1, RegistrarUnreadable=1)
    )
    await all_here(watch)
    opensips.overrides["ul_dump"] = Hang()
    passes = opensips.calls.count("get_statistics")
    await opensips.asked("get_statistics", passes + 2)
    assert (watch.blind, watch.incidents()) == (False, [])
    assert watch.moves("1002") in ([], [HERE])
    del usrloc.records["1002@lab.test"]
    await watch.mail(1, 20)
    assert watch.subjects[0].startswith("[warning] 1002 Office unregistered since ")
    assert watch.incidents() == [("ExtensionUnregistered", "1002")]
    assert watch.state("1001") is watch.state("1003") is HERE

    opensips.overrides["get_statistics"] = Hang()
    await watch.goes_blind(30)
    assert watch.state("1001") is HERE


async def test_a_trunk_that_is_refused_is_one_mail(
    opensips: OpenSips, usrloc: Usrloc, watching: StartWatch, tmp_path: Path
) -> None:
    watch = await watching(
        section(opensips, tmp_path, interval="1s", probe_servers=False)
        + rules(OutboundRegistrationLost=1)
    )
    await all_here(watch)
    known = watch.daemon.judges["hq"].outgoing.registrations
    assert {name: one.state for name, one in known.items()} == {
        "acme@provider.test": State.OK
    }
    usrloc.registrations = [trunk("REGISTERING")]
    await watch.read_again()
    assert known["acme@provider.test"].state is State.OK
    usrloc.registrations = [trunk("WRONG_CREDENTIALS")]
    fired = await watch.mail(1, 15)
    assert "acme@provider.test" in watch.subjects[0]
    assert "refuses its credentials" in row(fired, "why")
    usrloc.registrations = [trunk("REGISTERED")]
    await watch.mail(2, 30)
    assert watch.subjects[1].startswith("[resolved] ")


async def test_a_restart_is_one_event(
    opensips: OpenSips, usrloc: Usrloc, watching: StartWatch, tmp_path: Path
) -> None:
    watch = await watching(
        section(opensips, tmp_path, interval="1s")
        + rules(ExtensionUnregistered=1, RegistrarUnreadable=30)
    )
    await all_here(watch)
    await opensips.stop()
    await watch.goes_blind()
    usrloc.up_since = time.time()
    del usrloc.records["1003@lab.test"]
    await opensips.start(opensips.port)
    await watch.sees_again()
    told = await watch.mail(1, 15)
    assert watch.subjects[0].startswith("[warning] hq restarted at ")
    assert row(told, "evidence").count("the PBX started") == 1
    assert watch.incidents() == [("RegistrarRestarted", "hq")]
    await opensips.asked("event_subscribe", 2)
    assert "E_UL_CONTACT_INSERT" in opensips.subscribers
