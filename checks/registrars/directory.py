"""Who should be registered at a FreeSWITCH: the users of its directory.

Only one that is in files can be listed. Where a web server or a database is asked for
each user (mod_xml_curl and others), somebody is registered who is in no file: then who
should be there is learned, as where nobody tells.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from checks.observation import plain
from checks.registrars.aor import canonical
from checks.registrars.esl import RefusedError
from checks.registrars.esl_session import EslSession
from checks.registrars.sofia_text import Lines, readable, slices
from checks.registrations.judge import Expected, Unreadable

HEAD = "userid|context|domain|group|contact|callgroup|effective_caller_id_name"
COLUMNS = 8
USERS_LIMIT = 200_000  # as many as there may be registrations
EVERY = 300.0  # s between reads, where no reload is seen
LEAST = 60.0  # s between reads, whoever registers
PATIENCE = 60.0  # s for the answer: FreeSWITCH looks up the contacts of each user too

log = logging.getLogger(__name__)


class Directory:
    """The directory of one FreeSWITCH, as far as its files tell."""

    def __init__(self, address: str, domain: str) -> None:
        self._address, self._domain = address, domain
        self._static: bool | None = None  # all who register are in its files
        self._users: dict[str, str] = {}  # AOR and title
        self._guests: set[str] = set()  # who registered though they are in no file
        self._asked = self._due = 0.0

    def forget(self) -> None:
        """A new connection: it may be another directory by now."""
        self._due = 0.0
        self._users = {}

    def reload(self) -> None:
        """FreeSWITCH has read its files again."""
        self._due = 0.0
        self._static = self._static or None

    async def roster(
        self, session: EslSession, now: float, here: set[str]
    ) -> Expected | None:
        """Who should be there, where that is known and has changed; `here` are."""
        if self._static is False:
            return None
        new = here - self._users.keys() - self._guests
        changed = now >= self._due or (new and now >= self._asked + LEAST)
        if changed:
            self._asked, self._due = now, now + EVERY
            users = await self._ask(session)
            changed = users != self._users
            own = {aor: aor for aor in here}  # the same strings for both
            users = {own.get(aor, aor): title for aor, title in users.items()}
            self._users = users
            await asyncio.sleep(0)  # each of these takes some ms for 20,000
            new = here - users.keys() - self._guests
            if self._static is None and users:
                self._static = not new
                self._tell_of(new)
        if not self._static or not self._users or not (changed or new):
            return None
        await asyncio.sleep(0)
        self._guests |= new
        guests = [(aor, "") for aor in self._guests - self._users.keys()]
        return Expected([*self._users.items(), *guests])

    async def _ask(self, session: EslSession) -> dict[str, str]:
        """The users by their AORs; none where they cannot be listed."""
        users, failure = Users(self._domain), ""
        try:
            async for piece in session.pieces("api list_users", PATIENCE):
                for part in slices(piece):
                    failure = failure or users.take(part)  # all has to be heard
                    await asyncio.sleep(0)
        except Unreadable:
            self._static = False  # it may have been too much: not again
            raise
        if failure or not users.whole:
            log.warning(
                "%s: the directory cannot be listed (%s): who should be there is "
                "learned",
                self._address,
                plain(failure or "list_users breaks off", 100),
            )
            return {}
        return users.titles

    def _tell_of(self, strangers: set[str]) -> None:
        if strangers:
            log.info(
                "%s: the directory does not list all who register (%s): who should be "
                "there is learned",
                self._address,
                ", ".join(plain(aor, 60) for aor in sorted(strangers)[:3]),
            )


class Users:
    """`list_users`: the users of the directory, as far as that is in files."""

    def __init__(self, domain: str = "") -> None:
        self.titles: dict[str, str] = {}  # by AOR; "" where there is none
        self._domain = domain
        self._lines = Lines()
        self._begun = False
        self.whole = False  # it has come to its proper end

    def take(self, piece: bytes) -> str:
        """Read on; why it cannot be read, if it cannot."""
        try:
            for line in self._lines.feed(piece).split("\n"):
                self._line(line)
        except (RefusedError, ValueError) as error:
            return str(error)
        return "too many users" if len(self.titles) > USERS_LIMIT else ""

    def _line(self, line: str) -> None:
        if not line:
            return
        if not self._begun:
            if not line.startswith(HEAD):
                raise RefusedError(plain(line, 100))
            self._begun = True
            return
        self.whole = line == "+OK"
        columns = line.split("|")
        if len(columns) < COLUMNS:
            return
        user, domain = columns[0], columns[2]
        if user and domain:
            name = readable("|".join(columns[6:-1])).strip()
            aor = canonical(readable(f"{user}@{domain}"), self._domain)
            # A user of several groups stands in each of them.
            self.titles.setdefault(aor, "" if name == user else sys.intern(name))
