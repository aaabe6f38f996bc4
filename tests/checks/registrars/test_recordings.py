"""What else was recorded of FreeSWITCH and OpenSIPS: forms of events, and sizes."""

from __future__ import annotations

import json
import re
import time
from contextlib import aclosing
from typing import NamedTuple
from urllib.parse import quote, unquote

import pytest

from checks.observation import State
from checks.registrars.esl import FIELDS, event
from checks.registrars.freeswitch import Freeswitch, FreeswitchSettings
from checks.registrations.judge import Added, Gone, ListEnd
from checks.registrations.readings import Reading
from checks.settings import Secret
from tests import wire
from tests.checks.registrars import reading_opensips as opensips
from tests.checks.registrars.test_freeswitch import healthy, judge, until_end
from tests.checks.registrars.test_sofia import Follower
from tests.wires import freeswitch as fs
from tests.wires.opensips import OpenSips, Usrloc, crowd

Fields = dict[str, str]
PLAIN = "1.11.1-events-plain"
START = 1795167360.0  # of the recording


def blocks(form: str) -> list[bytes]:
    """The events of the recording in one of FreeSWITCH's forms, with their heads."""
    data = wire.read(f"freeswitch/1.11.1-events-{form}.txt.gz")
    head = rb"Content-Length: (\d+)\nContent-Type: text/event-%b\n\n" % form.encode()
    found = re.finditer(head, data)
    return [data[head.start() : head.end() + int(head[1])] for head in found]


def in_json() -> list[Fields]:
    return [json.loads(block.partition(b"\n\n")[2]) for block in blocks("json")]


def in_xml() -> list[Fields]:
    texts = (block.partition(b"\n\n")[2].decode("latin-1") for block in blocks("xml"))
    rows = (re.findall(r"<([\w-]+)>([^<]*)</\1>", text) for text in texts)
    return [{name: unquote(value) for name, value in row} for row in rows]


def plain(fields: Fields) -> bytes:
    """An event in the form that we ask for, its values URL-encoded."""
    body = "".join(f"{k}: {quote(v, safe=',@/()')}\n" for k, v in fields.items())
    head = f"Content-Length: {len(body) + 1}\nContent-Type: text/event-plain\n\n"
    return f"{head}{body}\n".encode()


def key(fields: Fields) -> tuple[str, str]:
    return fields["Event-Date-Timestamp"], json.dumps(fields, sort_keys=True)


def read_of(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name in FIELDS.values()}


@pytest.mark.parametrize("form", [in_json, in_xml])
def test_an_event_says_the_same_in_each_form(form: object) -> None:
    """JSON is not URL-encoded, so it shows that the plain form is read as meant."""
    heard = [event(block.partition(b"\n\n")[2]) for block in fs.events(PLAIN)]
    told = {key(read_of(one)) for one in form()}  # type: ignore[operator]
    both = told & {key(one) for one in heard}
    assert len(both) == (len(heard) if form is in_json else len(told))


def test_what_only_the_longer_recording_has_is_judged_as_it_went() -> None:
    """Its last 20 events: the phone that died after 486 is removed."""
    follower = Follower(START)
    phones = {"1001": 20.753, "1002": 14.813, "1004": 65.713, "1005": 145.953}
    for aor in phones:
        assert follower.judge.restore(aor, State.REGISTERED, START - 1000)
        follower.judge.extensions[aor].learned = True
    for fields in in_json():
        follower.hear(plain(fields))
    for aor, end in phones.items():
        since = pytest.approx(START + end, abs=0.01)
        assert follower.of(aor)[:2] == (State.UNREGISTERED, since)


def watched(server: fs.EslServer) -> Freeswitch:
    made = FreeswitchSettings(
        password=Secret(fs.PASSWORD), domain="fs.lab.test", timeout=10.0
    )
    return Freeswitch(made, server.address, clock=time.monotonic)


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_events_in_a_form_that_nobody_asked_for_are_passed_over(
    form: str,
) -> None:
    registered, left = (
        next(block for block in fs.events(PLAIN) if said in block)
        for said in (b"sofia%3A%3Aregister\n", b"sofia%3A%3Aunregister\n")
    )
    async with fs.EslServer(healthy(), seed=3) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            await server.push(*blocks(form), registered, *blocks(form)[:3], left)
            told: list[Reading] = []
            async for reading in readings:
                told += [reading] if isinstance(reading, Added | Gone) else []
                if isinstance(reading, Gone):
                    break
    assert [type(reading) for reading in told] == [Added, Gone]
    assert isinstance(told[0], Added)
    assert told[0].binding.aor == "1001"


async def test_the_recorded_phones_with_two_contacts_are_flushed() -> None:
    recorded = fs.turns("1.11.1-two-contacts")
    first, last = (t.sent for t in recorded if t.command == fs.REG)
    lists = iter((first, last))
    judged = judge(domain="fs.lab.test")
    states = []
    users = fs.api(fs.users("1001@fs.lab.test|One", "1002@fs.lab.test|Two"))
    answers = {**healthy(USERS=users), fs.REG: lambda: next(lists)}
    async with fs.EslServer(answers) as server:
        registrar = watched(server)
        async with aclosing(registrar.watch()) as readings:
            async for reading in readings:
                judged.apply("pbx", reading, time.monotonic())
                if isinstance(reading, ListEnd):
                    several = judged.extensions.items()
                    states.append({a: (e.state, len(e.contacts)) for a, e in several})
                    if len(states) == 2:
                        break
                    registrar.relist()
    here, gone = State.REGISTERED, State.UNREGISTERED
    assert states[0]["1001"] == (here, 2)
    assert states[0]["1002"] == (here, 1)
    assert states[1] == {"1001": (gone, 0), "1002": (gone, 0)}


# --- size -----------------------------------------------------------------------------


def listed_sizes() -> list[tuple[int, int]]:
    """How many registrations FreeSWITCH had, and how long its list of them was."""
    text = wire.read("freeswitch/1.11.1-bulk-timing.txt.gz").decode()
    said = r"== after (\d+)\n(?:.*\n)*?sofia xmlstatus profile bulk reg: (\d+) bytes"
    return [(int(count), int(size)) for count, size in re.findall(said, text)]


@pytest.mark.parametrize(("count", "size"), listed_sizes())
async def test_lists_as_long_as_the_recorded_ones_are_judged(
    count: int, size: int
) -> None:
    rows = list(fs.crowd(count, time.time(), domain="fs.lab.test"))
    assert len(fs.xmlstatus(rows)) == pytest.approx(size, rel=0.25)
    judged = judge(domain="fs.lab.test")
    async with fs.EslServer(healthy(*rows), seed=1) as server:
        async with aclosing(watched(server).watch()) as readings:
            for reading in await until_end(readings):
                judged.apply("pbx", reading, time.monotonic())
    while judged.next_deadline() == 0.0:
        judged.advance(time.monotonic())
    states = judged.counts()
    assert states[State.REGISTERED] == count * 9 // 10


class Dump(NamedTuple):
    """One line of what OpenSIPS was measured by."""

    buffer: int  # of httpd, bytes
    contacts: int
    size: int  # of the list, bytes; 0: it never came


def dumps() -> list[Dump]:
    buffers = {"4.0.1-big-dump": 2_000_000, "4.0.1-big-dump-buf20M": 20_000_000}
    said = re.compile(r"n=(\d+) .*? ul_dump status=(\w+) bytes=(\d+)")
    return [
        Dump(buffer, int(found[1]), int(found[3]) if found[2] == "200" else 0)
        for name, buffer in buffers.items()
        for found in said.finditer(wire.read(f"opensips/{name}.txt.gz").decode())
    ]


@pytest.mark.parametrize("dump", dumps())
async def test_a_list_comes_or_not_as_it_was_recorded_and_nobody_is_lost(
    dump: Dump,
) -> None:
    now = time.time()
    usrloc = Usrloc(buffer=dump.buffer)
    usrloc.add(*crowd(dump.contacts, now + 3600))
    everyone = [f"u{n}@lab.test" for n in range(dump.contacts)]
    gone = [f"u{n}@lab.test" for n in range(dump.contacts, dump.contacts + 5)]
    known = everyone[:20] + gone
    judged = opensips.Judged(now, *known)
    async with OpenSips(usrloc) as server:
        patience = 20.0 if dump.size else 3.0
        registrar = opensips.watched(server, aors=lambda: known, timeout=patience)
        async with aclosing(registrar.watch()) as readings:
            read = await opensips.until_end(readings)
        judged.take(read, time.time())
    assert isinstance(read[-1], ListEnd)
    assert (read[-1].aors is None) == bool(dump.size)
    states = judged.states()
    # Without a list those who are not there are known first, by a brief one.
    there = State.REGISTERED if dump.size else None
    assert {states[aor] for aor in everyone[:20]} == {there}
    assert {states[aor] for aor in gone} == {State.NEVER_REGISTERED}
