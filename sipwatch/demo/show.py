"""`sipwatch demo`: the simulated site, watched by the real daemon, with its mails."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import ipaddress
import logging
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from sipwatch.demo.site import Site

REGISTRAR, TRUNK, MAIL = 15060, 15070, 15025
EXPIRES = 10  # s, so that a dead phone is lost while the newcomer watches
ROUND = 150.0  # s from one failure to the next one of its kind


@dataclass(frozen=True, slots=True)
class Act:
    """One line of the script: after `at` seconds of a round, say and do this."""

    at: float
    words: str
    play: Callable[[Stage], None]


class Stage:
    """The site and the phone that this round is about."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.user = "1007"
        self.coming: set[asyncio.Task[object]] = set()

    def next_round(self) -> None:
        """Another phone for the next round."""
        users = sorted(self.site.phones)
        self.user = users[(users.index(self.user) + 1) % len(users)]

    def lose_phone(self) -> None:
        """The phone loses its power: it neither refreshes nor de-registers."""
        self.site.phones[self.user].die()

    def return_phone(self) -> None:
        """The phone boots and registers."""
        task: asyncio.Task[object] = asyncio.ensure_future(self.site.add(self.user))
        self.coming.add(task)
        task.add_done_callback(self.coming.discard)

    def silence_trunk(self, silent: bool) -> None:
        """The provider drops what it gets, or takes it again."""
        self.site.trunk.silent = silent


SCRIPT = (
    Act(5, "phone {user} loses its power", lambda s: s.lose_phone()),
    Act(8, "the trunk stops answering", lambda s: s.silence_trunk(True)),
    Act(42, "phone {user} is back", lambda s: s.return_phone()),
    Act(46, "the trunk answers again", lambda s: s.silence_trunk(False)),
)


def run(seconds: float | None, address: str = "127.0.0.1") -> int:
    """Play until stopped, or for so many seconds; the exit status."""
    try:
        import aiosmtpd  # noqa: F401
    except ModuleNotFoundError:
        why = "the demo needs its mail catcher: pip install 'sipwatch[demo]'"
        print(why, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.ERROR)  # the mails tell it better
    try:
        _check_loopback(address)
        return asyncio.run(_show(seconds, address))
    except OSError as e:
        print(f"the demo cannot start: {e.strerror or e}", file=sys.stderr)
        return 2


def _check_loopback(address: str) -> None:
    try:
        own = ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        own = False
    if not own:
        raise OSError(f"{address} is not an address of loopback (127.0.0.1)")


async def _show(seconds: float | None, address: str) -> int:
    from sipwatch.config.load import load
    from sipwatch.daemon import Daemon
    from sipwatch.demo.mail import MailCatcher

    site = Site(expires=EXPIRES, host=address)
    mail = MailCatcher(_print_mail)
    with tempfile.TemporaryDirectory(prefix="sipwatch-demo-") as folder:
        config = load(_write_configuration(Path(folder), address))
        try:
            await mail.start(address, MAIL)
            await site.start(REGISTRAR, TRUNK)
            daemon = Daemon(config)
            await daemon.start()
        except OSError:
            site.close()
            await mail.close()
            raise
        _introduce(config.web.listen, config.web.socket)
        playing = asyncio.create_task(_play(Stage(site)))
        try:
            await _until_stopped(seconds)
        finally:
            playing.cancel()
            await daemon.stop()
            site.close()
            await mail.close()
    return 0


def _write_configuration(folder: Path, address: str) -> str:
    packaged = importlib.resources.files("sipwatch.demo")
    for name in ("demo.yaml", "demo-extensions.csv"):
        text = packaged.joinpath(name).read_text(encoding="utf-8")
        text = text.replace("127.0.0.1", address)
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / "demo.yaml")


def _introduce(listen: str, socket: str) -> None:
    print(
        "sipwatch watches a simulated site: a registrar with 20 phones, and a trunk.\n"
        f"  page     http://{listen}/\n"
        f"  metrics  http://{listen}/metrics\n"
        f"  status   http://{listen}/api/v1/status\n"
        f"           sipwatch status --socket {socket}\n"
        "A phone will die and the trunk will stop answering. The mails to the on-call\n"
        "are printed here as they come (Ctrl-C ends it).\n",
        flush=True,
    )


async def _play(stage: Stage) -> None:
    while True:
        begun = asyncio.get_running_loop().time()
        for act in SCRIPT:
            await _sleep_until(begun + act.at)
            _say(act.words.format(user=stage.user))
            act.play(stage)
        await _sleep_until(begun + ROUND)
        stage.next_round()


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))


async def _until_stopped(seconds: float | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


def _say(words: str) -> None:
    print(f"--> {words}", flush=True)


def _print_mail(mail: EmailMessage) -> None:
    from sipwatch.demo.mail import shown

    print(f"\n{shown(mail)}\n", flush=True)
