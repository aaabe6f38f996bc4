"""What happened last, for those who follow it: one ring, in which each has a place.

Nothing is copied for a follower, and nothing is queued for one: who is slow falls
behind in the ring, and who has fallen too far behind is told to read everything again.
An event is written out when the first follower comes to it, once for all of them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

RING = 4096  # events that one may have missed and still resume
WEIGHT = 5_000  # rows in all of them: 1 MB; who missed more reads the page again
ALONE = 1_000  # the same while nobody follows, but may from a page that was just read
BEHIND = 256  # events that a follower may be slow by
FOLLOWERS = 256  # at once: a wall of screens, and everybody's tabs
PIECE = 65_536  # bytes written at once, or one event
STILL = 15.0  # s between two moments at which who hears nothing gets a comment
COMMENT = b":\n\n"
RETRY = b"retry: 2000\n\n"  # ms until a browser tries again
RESYNC = "resync"

Make = Callable[[], Any]


class FullError(Exception):
    """As many follow as may."""


class Event:
    """One of them, written out when it is asked for."""

    __slots__ = ("_make", "_written", "kind", "weight")

    def __init__(self, kind: str, make: Make, weight: int = 1) -> None:
        self.kind = kind
        self.weight = weight
        self._make = make
        self._written = b""

    def written(self, id: str, *, keep: bool) -> bytes:
        """As it goes over the wire; to `keep` where others will want it too."""
        if self._written:
            return self._written
        found = written(self.kind, self._make(), id)
        self._written = found if keep else b""
        return found

    def forget(self) -> None:
        """Most have it: the few that come late have it written for them again."""
        self._written = b""


def written(kind: str, data: Any, id: str = "") -> bytes:
    """An event of an event stream; JSON has no line break in it."""
    head = f"id: {id}\n" if id else ""
    body = msgspec.json.encode(data)
    return b"%sevent: %s\ndata: %s\n\n" % (head.encode(), kind.encode(), body)


class Backlog:
    """The ring; `boot` tells its numbers from those of an earlier daemon."""

    def __init__(self, boot: str = "") -> None:
        self.boot = boot or secrets.token_hex(4)
        self.last = 0  # number of the latest event
        self._ring: dict[int, Event] = {}
        self._weight = 0
        self.followers: set[Follower] = set()
        self.closed = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def first(self) -> int:
        """Number of the oldest event that is still there, or of the next one."""
        return next(iter(self._ring), self.last + 1)

    @property
    def id(self) -> str:
        """Where who begins now begins."""
        return self.id_of(self.last)

    def id_of(self, number: int) -> str:
        """What a follower resumes by."""
        return f"{self.boot}-{number}"

    def add(self, event: Event) -> None:
        """One more; whoever follows is woken."""
        self.last += 1
        self._ring[self.last] = event
        self._weight += event.weight
        if (late := self._ring.get(self.last - BEHIND)) is not None:
            late.forget()
        most = WEIGHT if self.followers else ALONE
        while len(self._ring) > RING or self._weight > most > event.weight:
            self._weight -= self._ring.pop(self.first).weight
        for follower in self.followers:
            follower.wake()

    def written(self, number: int) -> bytes:
        """One that is there."""
        keep = number > self.last - BEHIND
        return self._ring[number].written(self.id_of(number), keep=keep)

    def follow(self, after: str, greeting: bytes = b"") -> Follower:
        """Follow from behind this id, or from now, until one leaves; FullError."""
        if len(self.followers) >= FOLLOWERS:
            raise FullError(f"{FOLLOWERS} follow already")
        follower = Follower(self, self._place(after), RETRY + greeting)
        self.followers.add(follower)
        if self._timer is None:
            self._show()
        return follower

    def _show(self) -> None:
        """Show all that we are there, by one timer, while there is anybody."""
        self._timer = None
        if self.followers:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(STILL, self._remind)

    def _remind(self) -> None:
        for follower in self.followers:
            follower.wake()
        self._show()

    def _place(self, after: str) -> int | None:
        """The number behind which to go on; None where what followed is not there."""
        if not after:
            return self.last
        boot, _, number = after.rpartition("-")
        if boot != self.boot or not (number.isascii() and number.isdecimal()):
            return None
        known = len(number) < 16 and self.first - 1 <= int(number) <= self.last
        return int(number) if known else None

    def close(self) -> None:
        """No more events, and nobody who follows."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.dismiss()

    def dismiss(self) -> None:
        """Whoever follows has to come again, if they still may."""
        for follower in list(self.followers):
            follower.end()


class Follower:
    """One who follows: from where, and how far behind it may be."""

    def __init__(self, backlog: Backlog, place: int | None, greeting: bytes) -> None:
        self._backlog = backlog
        self._lost = place is None
        self._at = backlog.last if place is None else place
        self._room = BEHIND + backlog.last - self._at
        self._greeting = greeting
        self._news = asyncio.Event()
        self._ended = backlog.closed
        if self._lost or self._at < backlog.last:
            self.wake()
        self.abort: Callable[[], None] = lambda: None  # who cannot be written to

    def wake(self) -> None:
        """There is something new, or has been nothing for a while."""
        self._news.set()

    def end(self) -> None:
        """It is over, also while a piece is being written."""
        self._ended = True
        self.wake()
        self.abort()

    def leave(self) -> None:
        """Follow no more."""
        self._backlog.followers.discard(self)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is to be written, as it comes, until the end."""
        yield self._greeting
        while not self._ended:
            await self._news.wait()
            self._news.clear()
            if not self._ended:
                yield self._next() or COMMENT

    def _next(self) -> bytes:
        """All that is new, up to a piece."""
        backlog = self._backlog
        if backlog.last == self._at and not self._lost:
            self._room = BEHIND  # from now on it is as quick as the others
            return b""
        missed = self._at + 1 < backlog.first and self._at < backlog.last
        if self._lost or missed or backlog.last - self._at > self._room:
            self._at, self._lost = backlog.last, False
            return written(RESYNC, {"scope": ""}, backlog.id)
        found = bytearray()
        while self._at < backlog.last and len(found) < PIECE:
            self._at += 1
            found += backlog.written(self._at)
        if self._at < backlog.last:
            self.wake()
        return bytes(found)
