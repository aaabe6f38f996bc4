"""Test something now: whoever has put it right wants to see it, not the next round.

What is asked for goes the way of the daemon's own tests, with their floors: nobody is
asked more often than he bears because somebody presses a button.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from typing_extensions import TypedDict

from checks.observation import Kind, Subject, plain
from sipwatch.accounts import Accounts
from sipwatch.registrars import Registrars
from sipwatch.sources import Sources
from sipwatch.subjects import key_of, named
from sipwatch.views import accounts, extensions, registrars, registrations, targets
from sipwatch.views.lens import NAME, Lens

PATIENCE = 15.0  # s that somebody waits for what was begun
LOOK = 0.05  # s between two looks at whether it has ended


class TooSoonError(Exception):
    """It may not be asked again yet; after so many seconds it may."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds + 0.5))
        super().__init__(f"asked just now: ask again in {self.seconds} s")


class Verified(TypedDict):
    """What came of it; where it was not seen to end, `found` is as it was before."""

    subject: str
    ended: bool
    did: list[str]
    found: dict[str, Any]  # as the list of its kind has it


class Tests(Sources, Protocol):
    """The daemon."""

    @property
    def followings(self) -> Registrars:
        """The registrars that are read."""

    @property
    def accounts(self) -> Accounts:
        """The accounts that are tested."""


class _Begun:
    """What was begun: in words, and how to see that it has ended."""

    def __init__(self, *did: str, ended: Callable[[], bool]) -> None:
        self.did, self.ended = list(did), ended

    async def wait(self) -> bool:
        """Whether it ended while somebody had patience."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.ended():  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            return False
        return True


async def verify(daemon: Tests, name: str, registrar: str = "") -> Verified:
    """Test what is named so; LookupError, TooSoonError, ValueError for what cannot be
    tested by hand."""
    subject = named(daemon, name, registrar)
    if subject is None:
        raise LookupError(
            f"nothing is watched as {plain(name, NAME) or 'an empty name'}"
        )
    if subject.kind not in _TESTS:
        raise ValueError(f"a {subject.kind} cannot be tested by hand")
    begin, show = _TESTS[subject.kind]
    begun = begin(daemon, subject)
    daemon.by_hand.want(subject)
    ended = await begun.wait()
    await daemon.by_hand.ended(subject)
    return {
        "subject": key_of(subject),
        "ended": ended,
        "did": begun.did,
        "found": show(daemon, subject),
    }


def _target(daemon: Tests, subject: Subject) -> _Begun:
    key, now, options = subject.key, daemon.clock.now(), daemon.options
    if (free_at := options.free_at(key)) > now:
        raise TooSoonError(free_at - now)
    options.probe_now(key)
    return _Begun(
        "it is asked with OPTIONS", ended=lambda: options.ended_since(key, now)
    )


def _registrar(daemon: Tests, subject: Subject) -> _Begun:
    following = daemon.followings[subject.scope.name]
    now = daemon.clock.now()
    following.relist()
    return _Begun(
        f"{following.judge.name} is read", ended=lambda: following.tried_at > now
    )


def _extension(daemon: Tests, subject: Subject) -> _Begun:
    following = daemon.followings[subject.scope.name]
    found = following.judge.extensions[subject.name]
    begun = _registrar(daemon, subject)
    if asked := following.ask(found):
        plural = "" if asked == 1 else "s"
        begun.did.append(f"{asked} contact{plural} asked with OPTIONS")
    return begun


def _account(daemon: Tests, subject: Subject) -> _Begun:
    name, now = subject.scope.name, daemon.clock.now()
    if (free_at := daemon.accounts.free_at(name)) > now:
        raise TooSoonError(free_at - now)
    test = asyncio.create_task(daemon.accounts.test(name, lambda step: None))
    _running.add(test)
    test.add_done_callback(_running.discard)
    return _Begun("it is registered, or asked for", ended=test.done)


def _row_of_extension(daemon: Tests, subject: Subject) -> Any:
    return extensions.row(Lens(daemon), *extensions.find(daemon, subject.key))


def _row_of_registration(daemon: Tests, subject: Subject) -> Any:
    judge = daemon.judges[subject.scope.name]
    found = judge.outgoing.registrations[subject.name]
    return registrations.row(Lens(daemon), judge, found)


_running: set[asyncio.Task[Any]] = set()  # a test ends also when nobody waits

Begin = Callable[[Tests, Subject], _Begun]
Show = Callable[[Tests, Subject], Any]
_TESTS: dict[Kind, tuple[Begin, Show]] = {
    Kind.TARGET: (_target, lambda d, s: targets.row(Lens(d), targets.find(d, s.key))),
    Kind.EXTENSION: (_extension, _row_of_extension),
    Kind.REGISTRATION: (_registrar, _row_of_registration),
    Kind.REGISTRAR: (_registrar, lambda d, s: registrars.one(d, s.scope.name)),
    Kind.ACCOUNT: (_account, lambda d, s: accounts.one(d, s.scope.name)),
}
