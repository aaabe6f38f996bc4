"""The daemon as a process: it starts whatever is dead, stops at once, reloads."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sqlite3
import time
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from checks.observation import Cause
from checks.registrars import REGISTRARS, Kind
from checks.registrations.judge import Bindings, Reading, Unreadable
from sipwatch.clock import Clock
from sipwatch.config.load import load
from sipwatch.config.settings import local_zone
from sipwatch.daemon import Daemon
from sipwatch.demo.mail import MailCatcher
from sipwatch.demo.site import Site, Trunk
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import FRAME, Running, mail_to
from tests.servers import eventually

QUICK = {"interval": "2s", "confirm": "500ms", "timeout": "1s"}
RULES = {"OptionsFailing": {"failures": 2, "for": "1s", "recover": 1}}


def targets(**several: Trunk | str) -> dict[str, Any]:
    """The section of these peers or URIs, asked often."""
    return {
        name: {"uri": one if isinstance(one, str) else uri(one), **QUICK}
        for name, one in several.items()
    }


def uri(peer: Trunk) -> str:
    return f"sip:127.0.0.1:{peer.address[1]}"


def sections(**several: Any) -> str:
    """A configuration of these sections, with quick rules."""
    told = {"rules": RULES, **several}
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in told.items())


@contextmanager
def dead_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[int]:
    """A port that is ours, so that nobody else takes it, and that refuses."""
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@asynccontextmanager
async def mute(greeting: bytes = b"") -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A TCP server that says one thing and nothing more; and whether one came."""
    came = asyncio.Event()
    open_: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)
        writer.write(greeting)
        came.set()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        for writer in open_:
            writer.close()
        server.close()


def smtp(port: int) -> str:
    catcher = MailCatcher()
    catcher.address = ("127.0.0.1", port)
    return mail_to(catcher)


# --- start ------------------------------------------------------------------------


async def test_nothing_dead_keeps_it_from_being_ready(running: MakeRunning) -> None:
    with (
        dead_port() as no_smtp,
        dead_port(socket.SOCK_DGRAM) as no_dns,
        dead_port() as no_pbx,
    ):
        async with mute() as (silent_pbx, came):
            common = {"type": "asterisk", "username": "a", "password": "b"}
            registrars = {
                "refused": {"address": f"127.0.0.1:{no_pbx}", **common},
                "silent": {
                    "address": f"127.0.0.1:{silent_pbx}",
                    "timeout": "2s",
                    **common,
                },
            }
            daemon = running(
                sections(
                    targets=targets(named="sip:provider.example.com:5060"),
                    registrars=registrars,
                    resolver={
                        "nameservers": ["127.0.0.1"],
                        "port": no_dns,
                        "timeout": "1s",
                    },
                    rules={"RegistrarUnreadable": {"for": "1s"}, **RULES},
                )
                + smtp(no_smtp)
            )
            await daemon.start()
            assert (await daemon.get("/-/healthy"))[0] == 200
            await asyncio.wait_for(came.wait(), 30)
            await eventually(daemon.is_ready, 30, "the first pass")
            await daemon.opens("RegistrarUnreadable")
            await daemon.opens("OptionsFailing")
            await eventually(lambda: "WATCHDOG=1" in daemon.hear(), 5, "the watchdog")
            assert await daemon.stop() < 2
    assert daemon.told[0] == "READY=1"
    assert daemon.told[-1] == "STOPPING=1"
    assert "Traceback" not in daemon.log


async def test_it_is_not_ready_before_the_first_pass(running: MakeRunning) -> None:
    async with mute() as (silent_pbx, came):
        hq = {
            "type": "asterisk",
            "address": f"127.0.0.1:{silent_pbx}",
            "username": "a",
            "password": "b",
            "timeout": "3s",
        }
        daemon = await running(sections(registrars={"hq": hq})).start()
        await asyncio.wait_for(came.wait(), 30)
        assert (await daemon.get("/-/ready"))[0] == 503
        assert not (await daemon.status())["ready"]
        await eventually(daemon.is_ready, 30, "the first pass")
        assert (await daemon.status())["ready"]


async def test_what_hinders_a_start_is_one_line(
    running: MakeRunning, tmp_path: Path
) -> None:
    first = await running(sections()).start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        occupied = FRAME.replace("127.0.0.1:0", f"127.0.0.1:{port}")
        line = await running(sections(), frame=occupied).refuses()
        assert line.endswith(
            f"error    cannot listen on 127.0.0.1:{port}: Address already in use"
        )
    same_socket = FRAME.replace("{folder}/api", f"{first.folder}/api")
    line = await running(sections(), frame=same_socket).refuses()
    assert line.endswith(
        f"cannot listen on {first.folder}/api.sock: Address already in use"
    )
    same_database = FRAME.replace("{folder}/sipwatch.db", str(first.database))
    line = await running(sections(), frame=same_database).refuses()
    assert line.endswith(
        f"{first.database} cannot be used as database: another sipwatch uses it"
    )
    assert (await first.get("/-/healthy"))[0] == 200  # nobody took anything from it


@pytest.mark.parametrize(
    ("database", "why"),
    [
        ("/sys/sipwatch.db", "Permission denied"),
        ("/nowhere/sipwatch.db", "No such file or directory"),
        ("{folder}", "unable to open database file"),
        ("{folder}/garbage.db", "file is not a database"),
    ],
)
async def test_a_database_that_cannot_be_used_is_one_line(
    running: MakeRunning, tmp_path: Path, database: str, why: str
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"no database of ours " * 500)
    path = database.format(folder=tmp_path)
    frame = FRAME.replace("{folder}/sipwatch.db", path)
    line = await running(sections(), frame=frame).refuses()
    assert line.endswith(f"error    {path} cannot be used as database: {why}")


async def test_an_address_that_is_not_ours_is_one_line(running: MakeRunning) -> None:
    away = {"t": {"uri": "sip:127.0.0.1", "source": "192.0.2.1"}}
    line = await running(sections(targets=away)).refuses()
    assert line.endswith(
        "cannot ask from source 192.0.2.1: Cannot assign requested address"
    )


async def test_a_target_without_a_route_is_down_and_not_the_daemon(
    running: MakeRunning,
) -> None:
    nowhere = {"v6": "sip:[2001:db8::1]", "v4": "sip:240.0.0.1", "ok": "sip:127.0.0.1"}
    daemon = await running(sections(targets=targets(**nowhere))).start()
    await daemon.opens("OptionsFailing")
    assert await daemon.stop() < 2


# --- stop -------------------------------------------------------------------------


async def test_a_stop_takes_under_two_seconds_and_loses_nothing(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    provider = await trunk()
    provider.silent = True
    with dead_port() as port:
        pass
    listening = FRAME.replace("127.0.0.1:0", f"127.0.0.1:{port}")
    watched = sections(targets=targets(provider=provider))
    async with mute(b"220 mail.example.com\r\n") as (slow, came):
        daemon = running(watched + smtp(slow), frame=listening)
        await daemon.start()
        idle, asking = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(2)
        ]
        idle[1].write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await idle[0].readline()).startswith(b"HTTP/1.1 200")
        asking[1].write(b"GET /metrics HTTP/1.1\r\n")  # and no end of it
        await asyncio.wait_for(came.wait(), 20)  # a delivery is in flight
        assert await daemon.stop() < 2
        idle[1].close()
        asking[1].close()
    (owed,) = daemon.rows("SELECT wanted, told, batch FROM deliveries")
    assert owed[:2] == (1, 0)
    before = daemon.rows("SELECT since FROM incidents")
    daemon.write(watched + mail_to(catcher))
    await daemon.start()
    await eventually(lambda: catcher.mails, 60, "the mail that is owed")
    assert catcher.mails[0]["Message-ID"] == f"<{owed[2]}@watcher.example.com>"
    assert daemon.rows("SELECT since FROM incidents") == before
    assert await daemon.stop() < 2
    assert len(catcher.mails) == 1
    assert "api.sock" not in os.listdir(daemon.folder)


# --- reload -----------------------------------------------------------------------


async def test_a_reload_leaves_alone_what_did_not_change(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    kept, ill, gone, new = [await trunk() for _ in range(4)]
    ill.silent = gone.silent = True
    sources: list[int] = []
    kept.respond = _noting(kept, sources)  # type: ignore[method-assign]
    first = sections(targets=targets(kept=kept, ill=ill, gone=gone)) + mail_to(catcher)
    daemon = await running(first).start()
    await eventually(lambda: len(_subjects(catcher)) == 2, 20, "two mails")
    before = await daemon.metrics()
    stored = daemon.stored("target:ill")
    opened = daemon.rows("SELECT id, since, opened_at FROM incidents WHERE name='ill'")

    changed = targets(kept=kept, ill=ill, new=new)
    await daemon.reload(sections(targets=changed) + mail_to(catcher))
    assert "reload: added targets.new; removed targets.gone" in daemon.log
    await eventually(lambda: new.requests > 1, 10, "the new one is asked")
    await eventually(lambda: len(catcher.mails) == 3, 60, "the end of the removed one")
    after = await daemon.metrics()
    up = {"target": "kept", "outcome": "up"}
    probes = "sipwatch_options_probes_total"
    assert (after.of(probes, **up) or 0) >= (before.of(probes, **up) or 0) >= 1
    assert after.of("sipwatch_config_last_reload_successful") == 1
    assert after.of(probes, target="gone", outcome="down") is None
    assert daemon.stored("target:ill") == stored
    assert daemon.stored("target:gone") is None
    assert opened == daemon.rows(
        "SELECT id, since, opened_at FROM incidents WHERE name='ill'"
    )
    asked = kept.requests
    await eventually(lambda: kept.requests > asked, 10, "the kept one is asked")
    assert len(set(sources)) == 1  # by one socket
    closed = _subjects(catcher)[2]
    assert closed.startswith("[closed] trunk gone: no longer watched")
    assert [subject for _, subject in await daemon.open()] == ["target:ill"]


def _noting(peer: Trunk, sources: list[int]) -> Any:
    answers = peer.respond

    def respond(request: Any, source: tuple[str, int]) -> Any:
        sources.append(source[1])
        return answers(request, source)

    return respond


def _subjects(catcher: MailCatcher) -> list[str]:
    """Of the mails, each incident of a grouped one counted by its words."""
    return [str(mail["Subject"]) for mail in catcher.mails]


@pytest.mark.parametrize(
    ("wrong", "place", "words"),
    [
        (
            'targets: {t: {uri: "sip:127.0.0.1", intervall: 60s}}\n',
            ":1:",
            "targets.t.intervall: unknown key (did you mean interval?)",
        ),
        ("\n\nroutes: [}\n", ":3:", ""),
        ('targets: {t: {uri: "sip:127.0.0.1", source: 192.0.2.1}}\n', "", "192.0.2.1"),
        (
            'target_files: [{file: "nowhere.txt"}]\n',
            ":1:",
            "No such file or directory",
        ),
    ],
)
async def test_a_wrong_reload_changes_nothing_and_says_where(
    running: MakeRunning, trunk: StartTrunk, wrong: str, place: str, words: str
) -> None:
    provider = await trunk()
    well = sections(targets=targets(provider=provider))
    daemon = await running(well).start()
    await eventually(daemon.is_ready, 60, "the first pass")
    await daemon.reload(wrong)
    name = "sipwatch_config_last_reload_successful"
    assert (await daemon.metrics()).of(name) == 0
    await daemon.opens("ConfigNotReloaded")
    lines = [line for line in daemon.log.splitlines() if "reload: " in line]
    assert lines
    assert any(words in line for line in lines)
    if place:
        assert all(f"{daemon.path}{place}" in line for line in lines)
    asked = provider.requests
    await eventually(lambda: provider.requests > asked, 10, "it goes on")
    await daemon.reload(well)
    assert (await daemon.metrics()).of(name) == 1
    await daemon.is_over("ConfigNotReloaded")
    assert "Traceback" not in daemon.log
    assert await daemon.stop() < 2


REGISTRAR_RULES = {"ExtensionUnregistered": {"for": "1s", "keep_firing_for": "0s"}}


@asynccontextmanager
async def offices(*names: str) -> AsyncIterator[dict[str, Site]]:
    """Registrars with two phones each, of which 1002 soon is lost."""
    sites = {name: Site(2, expires=3, domain=f"{name}.example.com") for name in names}
    try:
        for site in sites.values():
            await site.start()
        yield sites
    finally:
        for site in sites.values():
            site.close()


def registrar(folder: Path, site: Site, **more: Any) -> dict[str, Any]:
    """The section of one office."""
    (folder / "names.csv").write_text("extension\n1001\n1002\n")
    return {
        "type": "sip",
        "address": f"sip:127.0.0.1:{site.registrar.address[1]}",
        "domain": site.domain,
        "interval": "1s",
        "extensions": {"file": str(folder / "names.csv")},
        **more,
    }


async def test_registrars_come_change_and_go(
    running: MakeRunning, catcher: MailCatcher, tmp_path: Path
) -> None:
    async with offices("hq", "lyon", "rome") as sites:

        def watched(*names: str, **more: Any) -> str:
            several = {n: registrar(tmp_path, sites[n], **more) for n in names}
            sectioned = sections(registrars=several, rules=REGISTRAR_RULES)
            return sectioned + mail_to(catcher)

        daemon = await running(watched("hq", "lyon")).start()
        await eventually(daemon.is_ready, 60, "the first pass")
        await eventually(lambda: _state(daemon, "hq") == "registered", 10, "1002")
        await eventually(lambda: _state(daemon, "lyon") == "registered", 10, "1002")
        for name in ("hq", "lyon"):
            sites[name].phones["1002"].die()
        await eventually(lambda: len(catcher.mails) == 2, 60, "a mail of each")
        opened = daemon.rows("SELECT id, key, since, opened_at FROM incidents")
        state = daemon.stored("extension:hq/1002")

        await daemon.reload(watched("hq", "lyon", "rome", timeout="3s"))
        assert "changed registrars.hq, registrars.lyon; added registrars.rome" in (
            daemon.log
        )
        await eventually(lambda: _state(daemon, "rome") == "registered", 10, "rome")
        assert len(await daemon.open()) == 2
        assert daemon.rows("SELECT id, key, since, opened_at FROM incidents") == opened
        assert daemon.stored("extension:hq/1002") == state
        assert len(catcher.mails) == 2

        await daemon.reload(watched("hq", "rome", timeout="3s"))
        await eventually(lambda: len(catcher.mails) == 3, 60, "lyon is closed")
        closed = catcher.mails[2]
        assert str(closed["Subject"]).startswith("[closed] 1002: no longer watched")
        assert "lyon" in str(closed["Subject"])
        assert [subject for _, subject in await daemon.open()] == ["extension:hq/1002"]
        assert daemon.stored("extension:lyon/1001") is None

        await sites["hq"].add("1002")
        await eventually(lambda: len(catcher.mails) == 4, 60, "1002 is back")
        over, first = catcher.mails[3], catcher.mails[:2]
        assert str(over["Subject"]).startswith("[resolved] 1002 registered again")
        assert over["In-Reply-To"] in [mail["Message-ID"] for mail in first]
        assert await daemon.open() == []


def _state(daemon: Running, name: str) -> str:
    found = daemon.stored(f"extension:{name}/1002")
    return found[0] if found else ""


async def test_notifiers_come_and_go(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    provider, other = await trunk(), MailCatcher()
    await other.start()
    watched = sections(targets=targets(provider=provider))
    second = mail_to(other).replace("oncall:", "night:").replace("notifiers:", "")
    try:
        daemon = await running(watched + mail_to(catcher)).start()
        await daemon.reload(watched + mail_to(catcher) + second.lstrip("\n"))
        assert "added notifiers.night" in daemon.log
        provider.silent = True
        await eventually(lambda: catcher.mails and other.mails, 20, "a mail to both")
        await daemon.reload(watched + mail_to(catcher))
        assert "removed notifiers.night" in daemon.log
        provider.silent = False
        await eventually(lambda: len(catcher.mails) == 2, 60, "the end")
        await eventually(lambda: _owed(daemon) == 0, 5, "nothing is owed")
        assert len(other.mails) == 1
        shown = await daemon.metrics()
        sent = "sipwatch_notifications_total"
        assert shown.of(sent, notifier="oncall", outcome="accepted") == 2
        assert shown.of(sent, notifier="night", outcome="accepted") is None
    finally:
        await other.close()


def _owed(daemon: Running) -> int:
    rows = daemon.rows(
        "SELECT count(*) FROM deliveries WHERE wanted<>told AND NOT dead"
        " AND notifier='oncall'"
    )
    count: int = rows[0][0]
    return count


# --- the wall clock is set ---------------------------------------------------------


async def test_times_are_those_of_the_wall_once_it_was_set(
    trunk: StartTrunk, catcher: MailCatcher, tmp_path: Path
) -> None:
    provider, step = await trunk(), 0.0
    path = tmp_path / "sipwatch.yaml"
    frame = FRAME.format(folder=tmp_path)
    configuration = sections(targets=targets(provider=provider)) + mail_to(catcher)
    path.write_text(configuration + frame)
    daemon = Daemon(load(path), Clock(wall=lambda: time.time() + step))
    await daemon.start()
    try:
        await eventually(lambda: daemon.ready, 10, "the first pass")
        night = daemon.scheduler._jobs.get_job("clean")
        night.modify(next_run_time=datetime.now(UTC) + timedelta(days=9))
        step = 3 * 86400.0
        await eventually(lambda: catcher.mails, 60, "what is told of the clock")
        assert "set forward by 259200 s" in str(catcher.mails[0]["Subject"])
        night = daemon.scheduler._jobs.get_job("clean")
        assert night.next_run_time < datetime.now(UTC) + timedelta(days=2)
        provider.silent = True
        await eventually(lambda: len(catcher.mails) == 2, 60, "the outage")
    finally:
        await daemon.stop()
    about = pytest.approx(time.time() + step, abs=60)
    connection = sqlite3.connect(tmp_path / "sipwatch.db")
    rows = connection.execute("SELECT since, opened_at FROM incidents").fetchall()
    states = connection.execute("SELECT since FROM subjects WHERE state = 'down'")
    assert rows == [(about, about)] * 2
    assert states.fetchall() == [(about,)]
    connection.close()
    shown = (await daemon.status())["incidents"]
    told = [incident["since"] for incident in shown]
    assert [datetime.fromisoformat(at).timestamp() for at in told] == [about] * 2
    in_three_days = datetime.now(local_zone()) + timedelta(days=3)
    text = catcher.mails[1].get_body(preferencelist=("plain",))
    assert text is not None
    (since,) = re.findall(r"since +(\d\d:\d\d):\d\d", text.get_content())
    assert since in [
        (in_three_days - timedelta(minutes=ago)).strftime("%H:%M") for ago in range(3)
    ]


# --- faults of our own ------------------------------------------------------------


def of_module(name: str) -> types.FunctionType:
    """A callback that fails, as if it were of this module."""

    def fails() -> None:
        raise RuntimeError("a callback of ours broke")

    return types.FunctionType(fails.__code__, {**globals(), "__name__": name})


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    path = tmp_path / "sipwatch.yaml"
    path.write_text(sections() + FRAME.format(folder=tmp_path))
    made = Daemon(load(path))
    await made.start()
    yield made
    await made.stop()


class Deaf:
    """A registrar in a library that forgets a cancelling, and then fails."""

    def __init__(self, settings: Any, address: str, **others: Any) -> None:
        self.asked = 0

    async def watch(self) -> AsyncIterator[Reading]:
        self.asked += 1
        if self.asked > 1:
            raise RuntimeError("asked again after the stop")
        yield Bindings([])
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise Unreadable(Cause.TIMEOUT, "no answer")


async def test_a_stop_ends_who_forgot_that_it_was_cancelled(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = REGISTRARS["asterisk"].settings
    monkeypatch.setitem(REGISTRARS, "asterisk", Kind(kind, Deaf))  # type: ignore[arg-type]
    path = tmp_path / "other.yaml"
    hq = {"hq": {"type": "asterisk", "address": "127.0.0.1", "password": "x"}}
    path.write_text(sections(registrars=hq) + FRAME.format(folder=tmp_path))
    await daemon.reload(load(path))
    (deaf,) = daemon.followings["hq"]._registrars.values()
    await eventually(lambda: getattr(deaf, "asked", 0), 5, "the registrar is read")
    async with asyncio.timeout(5):
        await daemon.stop()
    assert getattr(deaf, "asked", 0) == 1


@pytest.mark.parametrize(
    "module", ["checks.options.sweep", "alerting.alarms.core", "sipwatch.flow"]
)
async def test_a_callback_of_ours_that_breaks_ends_the_daemon(
    daemon: Daemon, module: str
) -> None:
    asyncio.get_running_loop().call_later(0, of_module(module))
    await asyncio.wait([daemon.broken], timeout=5)
    assert str(daemon.broken.exception()) == "a callback of ours broke"
    assert daemon.unwell() == "a part has failed"


async def test_a_call_that_cannot_even_begin_ends_it_as_well(daemon: Daemon) -> None:
    asyncio.get_running_loop().call_soon(len)  # without its argument
    await asyncio.wait([daemon.broken], timeout=5)
    assert isinstance(daemon.broken.exception(), TypeError)


async def test_a_librarys_callback_is_its_own_trouble(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.get_running_loop().call_soon(of_module("uvicorn.protocols"))
    await eventually(lambda: "a callback of ours broke" in caplog.text, 5)
    assert not daemon.broken.done()


async def test_a_part_that_ends_ends_the_daemon_with_status_1(
    running: MakeRunning, tmp_path: Path
) -> None:
    # A stranger's notifier may not; a task of ours that is gone is a crash.
    (tmp_path / "sitecustomize.py").write_text(
        "import asyncio, sipwatch.itself.selfwatch as s\n"
        "def look(self, now):\n"
        "    raise RuntimeError('out of order')\n"
        "s.SelfWatch.look = look\n"
    )
    daemon = running(sections(), environment={"PYTHONPATH": str(tmp_path)})
    daemon.process.start()
    assert await asyncio.to_thread(daemon.process.wait, 30) == 1
    assert "stopped by a fault" in daemon.log
    assert "out of order" in daemon.log
    assert daemon.hear()[-1] == "STOPPING=1"
