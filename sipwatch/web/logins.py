"""Log-ins: passwords and tokens, and the patience with those who guess.

A password costs 0.2 s of a core, on purpose: that is spent off the loop, for a few at
once, never twice at the same time for the same, and not again for a while after it was
right. Who fails too often waits, longer each time, before anything is spent at all.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import secrets
from collections.abc import Callable, Mapping

from fastapi import HTTPException

from checks.observation import plain
from sipwatch.config.access import TokenSettings, UserSettings
from sipwatch.scrypt import COST, KEY, PASSWORD, SALT, Hash
from sipwatch.web.access import UNAUTHORIZED, Caller, Role, unmapped

AT_ONCE = 2  # passwords under test, of two cores: the daemon has other work
WAITING = 16  # more that wait for that; a page brings its log-in once
REMEMBERED = 256  # log-ins that need no test for a while: as many as sit at desks
GOOD_FOR = 900.0  # s
FREE = 5  # failures of an address that cost nothing: who has not mistyped?
LONGEST = 60.0  # s of waiting, at last
FORGIVEN = 900.0  # s after which failures are forgotten
ADDRESSES = 4096  # whose failures are counted; the oldest are forgotten first
TOO_MANY, BUSY = 429, 503

log = logging.getLogger(__name__)


class Failures:
    """How often a log-in failed, by address: each failure doubles the wait."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}  # the latest is the last

    def __len__(self) -> int:
        return len(self._counts)

    def wait(self, address: str, now: float) -> float:
        """How long an address has to wait before it may try, in s."""
        count, at = self._of(_network(address), now)
        pause = min(LONGEST, 2.0 ** min(count - FREE, 10)) if count >= FREE else 0.0
        return max(0.0, at + pause - now)

    def count(self, address: str, now: float) -> None:
        """A trial begins: a failure until it has succeeded, so that a hundred at once
        are a hundred."""
        key = _network(address)
        count, _ = self._of(key, now)
        self._counts.pop(key, None)
        self._counts[key] = (count + 1, now)
        if len(self._counts) > ADDRESSES:
            del self._counts[next(iter(self._counts))]

    def forgive(self, address: str) -> None:
        """Somebody there knows the password."""
        self._counts.pop(_network(address), None)

    def _of(self, key: str, now: float) -> tuple[int, float]:
        count, at = self._counts.get(key, (0, now))
        return (0, now) if now > at + FORGIVEN else (count, at)


def _network(address: str) -> str:
    """What one guesser has: an IPv4 address, or the 64 bits that a site is given."""
    try:
        one = unmapped(ipaddress.ip_address(address))
    except ValueError:
        return address[:64]
    return str(one) if one.version == 4 else str(int(one) >> 64)


class Logins:
    """The users and tokens of the configuration, until others are there."""

    def __init__(
        self,
        users: Mapping[str, UserSettings],
        tokens: Mapping[str, TokenSettings],
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._failures = Failures()
        self._good: dict[bytes, float] = {}  # marks, until when; the latest is the last
        self._trials: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.replace(users, tokens)

    def replace(
        self, users: Mapping[str, UserSettings], tokens: Mapping[str, TokenSettings]
    ) -> None:
        """From now on these."""
        self._users = dict(users)
        # Who does not exist is refused after the same time as who does.
        cost = next((user.password.cost for user in users.values()), COST)
        salt, key = secrets.token_bytes(SALT), secrets.token_bytes(KEY)
        self._stranger = Hash(cost, salt, key)
        self._tokens = [
            (self._mark(one.secret.reveal()), Caller(name, Role[one.role.upper()]))
            for name, one in tokens.items()
        ]

    @property
    def any(self) -> bool:
        """Whether anybody can log in, so that everybody must."""
        return bool(self._users or self._tokens)

    @property
    def any_user(self) -> bool:
        """Whether there are passwords, for which a browser asks."""
        return bool(self._users)

    def by_token(self, token: str, address: str) -> Caller:
        """Who shows it; HTTPException.

        A good token is good whoever guesses from the same address (a proxy's): nobody
        finds one by guessing.
        """
        mark, found = self._mark(token), None
        for known, caller in self._tokens:  # all of them: the time tells nothing
            if hmac.compare_digest(known, mark):
                found = caller
        if found is None:
            self._refuse_early(address)
            self._failures.count(address, self._now())
            raise self._wrong("a token", address)
        return found

    async def by_password(self, name: str, password: str, address: str) -> Caller:
        """Who knows it; HTTPException."""
        user = self._users.get(name)
        line = user.password.line if user else ""
        mark = self._mark(f"{name}\0{line}\0{password}")
        if self._good.get(mark, 0.0) <= self._now():
            if mark not in self._trials:
                self._begin(mark, user, password, address)
            if not await asyncio.shield(self._trials[mark]):
                raise self._wrong(f"a password of {plain(name, 64)!r}", address)
            self._failures.forgive(address)
            self._remember(mark)
        return Caller(name, Role[user.role.upper()] if user else Role.NONE)

    def _begin(
        self, mark: bytes, user: UserSettings | None, password: str, address: str
    ) -> None:
        self._refuse_early(address)
        if len(self._trials) >= AT_ONCE + WAITING:
            raise HTTPException(BUSY, "too many log in at once", {"Retry-After": "2"})
        self._failures.count(address, self._now())
        trial = asyncio.create_task(self._try(user, password))
        trial.add_done_callback(lambda _: self._trials.pop(mark, None))
        self._trials[mark] = trial

    async def _try(self, user: UserSettings | None, password: str) -> bool:
        known = user.password if user else self._stranger
        async with self._turns:
            fits = await asyncio.to_thread(known.fits, password[:PASSWORD])
        return fits and user is not None

    def _remember(self, mark: bytes) -> None:
        self._good.pop(mark, None)
        self._good[mark] = self._now() + GOOD_FOR
        if len(self._good) > REMEMBERED:
            del self._good[next(iter(self._good))]

    def _refuse_early(self, address: str) -> None:
        wait = self._failures.wait(address, self._now())
        if wait > 0:
            text = "too many log-ins have failed from here; wait"
            headers = {"Retry-After": str(int(wait) + 1)}
            raise HTTPException(TOO_MANY, text, headers)

    def _wrong(self, what: str, address: str) -> HTTPException:
        log.warning("%s from %s is wrong", what, plain(address, 64) or "here")
        return self.unauthorized("wrong user, password or token")

    def unauthorized(self, text: str) -> HTTPException:
        """The answer to who has to log in; a browser asks for a password."""
        scheme = 'Basic realm="sipwatch", charset="UTF-8"' if self._users else "Bearer"
        return HTTPException(UNAUTHORIZED, text, {"WWW-Authenticate": scheme})

    def _mark(self, text: str) -> bytes:
        """What is kept and compared in place of a secret: it tells nothing of it."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
