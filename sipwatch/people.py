"""What people do to alarms: acknowledge, silence. It is on the disk before they hear
that it is done."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from alerting.alarms.core import Alarms
from alerting.incident import Incident
from alerting.muting.silences import Silence
from alerting.store.database import StoreError
from checks.observation import Subject, plain
from checks.settings import duration
from sipwatch.clock import Clock
from sipwatch.flow import Flow
from sipwatch.links import Claim, Links, Shown
from sipwatch.sources import sliced
from sipwatch.views.silences import row, rows, seconds

NAME_LIMIT = 100  # characters of who acknowledges
LOOKED_AT = 500  # subjects in one turn of the loop, some ms
LOGGED = 20  # numbers of incidents in one line
NOTE_LIMIT = 300  # characters of what they say

log = logging.getLogger(__name__)


class NotStoredError(Exception):
    """It is in force, but a restart would forget it."""


class People:
    """The core, for those who act on it by hand."""

    def __init__(
        self,
        alarms: Alarms,
        flow: Flow,
        clock: Clock,
        links: Links,
        wake: Callable[[], None],
        renew: Callable[[], None] = lambda: None,
        silenced: Callable[[dict[str, Any]], None] = lambda one: None,
        subjects: Callable[[], Iterable[Subject]] = tuple,
    ) -> None:
        """All that is watched are the `subjects`. `wake` who delivers, `renew` what
        they told: an incident was taken; a silence that was made or ended is
        `silenced`."""
        self.links = links
        self._alarms = alarms
        self._flow = flow
        self._clock = clock
        self._wake = wake
        self._renew = renew
        self._silenced = silenced
        self._subjects = subjects

    # --- acknowledging --------------------------------------------------------------

    async def acknowledge(self, id: int, by: str, note: str = "") -> dict[str, Any]:
        """Take an open incident; LookupError, ValueError, NotStoredError."""
        by, note = plain(by.strip(), NAME_LIMIT), plain(note.strip(), NOTE_LIMIT)
        if not by:
            raise ValueError("say who takes it")
        found = self._alarms.acknowledge(id, by, self._clock.now(), note)
        if found is None:
            raise LookupError(f"no incident {id} is open")
        log.info("incident %d (%s) is taken by %s", id, found.subject.key, by)
        self._renew()
        await self._stored()
        return self._incident(found)

    def claim(self, token: str) -> Claim | None:
        """What a link says; None where it is not one of ours."""
        try:
            return self.links.read(token)
        except ValueError:
            return None

    async def follow(self, claim: Claim, as_: int, note: str) -> tuple[str, Shown]:
        """Acknowledge by a link, as one of its recipients; LookupError for none of
        them, NotStoredError."""
        who, shown = self.links.follow(claim, as_, plain(note.strip(), NOTE_LIMIT))
        if not shown.gone:
            numbers = ", ".join(str(i.id) for i in shown.incidents[:LOGGED])
            log.info("incidents %s are taken by %s, by a link", numbers, plain(who))
            self._renew()
            await self._stored()
        return who, shown

    def _incident(self, found: Incident) -> dict[str, Any]:
        at = found.acknowledged_at
        return {
            "id": found.id,
            "subject": found.subject.key,
            "rule": found.rule,
            "severity": str(found.severity),
            "acknowledged_by": found.acknowledged_by,
            "acknowledged_at": None if at is None else self._iso(at),
            "note": found.note,
        }

    # --- silencing ------------------------------------------------------------------

    def silences(self, *, ended: bool = False) -> dict[str, Any]:
        """The silences, those that begin first at the top, and what else mutes now."""
        wall = self._wall()
        shown = rows(self._alarms, wall, ended=ended)
        windows = [
            {
                "name": w.name,
                "until": seconds(until),
                "reason": plain(w.settings.reason),
            }
            for w in self._alarms.muting.windows
            if (until := w.until(wall)) is not None
        ]
        return {"silences": shown, "maintenance": windows}

    async def silence(
        self,
        matchers: Sequence[str],
        *,
        author: str,
        reason: str,
        starts: str = "",
        ends: str = "",
        lasts: str = "",
    ) -> dict[str, Any]:
        """Silence what fits all matchers, until `ends` or as long as it `lasts`;
        ValueError, NotStoredError."""
        wall = self._wall()
        begin = _moment(starts) if starts else None
        if bool(ends) is bool(lasts):
            raise ValueError("say until when, or for how long")
        end = _moment(ends) if ends else (begin or wall) + duration(lasts)
        made = self._alarms.silences.add(
            matchers,
            author=author,
            reason=reason,
            starts=begin,
            ends=end,
            now=self._clock.now(),
        )
        words = ", ".join(map(str, made.matchers))
        log.info("silence %s by %s: %s (%s)", made.id, made.author, words, made.reason)
        await self._stored()
        # It begins a moment after `wall`.
        shown = dict(row(self._alarms, made, self._wall()))
        self._silenced(shown)
        return shown | {"subjects": await self._concerned(made)}

    async def _concerned(self, made: Silence) -> int:
        """How many of all that is watched it is about."""
        found, silences = 0, self._alarms.silences
        for some in sliced(self._subjects(), LOOKED_AT):
            rules = self._alarms.rules
            found += sum(silences.concerns(made, subject, rules) for subject in some)
            await asyncio.sleep(0)
        return found

    async def unsilence(self, id: str) -> dict[str, Any]:
        """End a silence; LookupError, NotStoredError."""
        ended = self._alarms.silences.end(id, self._clock.now())
        if ended is None:
            raise LookupError(f"no silence {plain(id, 40)} is in force or to come")
        log.info("silence %s is ended", ended.id)
        await self._stored()
        shown = dict(row(self._alarms, ended, self._wall()))
        self._silenced(shown)
        return shown

    async def tidy(self) -> None:
        """Forget the silences and the links that ended long ago."""
        self._alarms.silences.prune(self._clock.now())
        self._alarms.links.prune(self._wall())
        self._flow.flush()

    # --- to the disk ----------------------------------------------------------------

    async def _stored(self) -> None:
        try:
            await self._flow.commit()
        except (sqlite3.Error, OSError, StoreError) as error:
            why = f"it is done, but not stored: {plain(str(error))}"
            raise NotStoredError(why) from None
        finally:
            self._wake()

    def _wall(self) -> float:
        return self._clock.to_wall(self._clock.now())

    def _iso(self, at: float) -> str:
        return seconds(self._clock.to_wall(at))


def _moment(written: str) -> float:
    try:
        at = datetime.fromisoformat(written)
        if at.tzinfo is None:
            raise ValueError
        return at.timestamp()
    except (ValueError, OverflowError):
        text = f"{plain(written, 40)} is not a time (write 2026-03-07T20:00:00+01:00)"
        raise ValueError(text) from None
