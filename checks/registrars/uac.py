"""What Kamailio registers at other servers: the records of its uac module.

They tell by flags whether a registration stands or is under way, never why one failed:
OPTIONS of ours to its server are to tell a refusal from silence. A REGISTER that is not
answered is sent anew every `reg_retry_interval`, so its age says little: what is under
way in one list and in the next is not answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import msgspec

from checks.observation import Cause, State
from checks.registrars.usrloc import Whole
from checks.registrations.readings import Outbound

ANSWER = 10.0  # s in which a live server has long answered a REGISTER
NONE = "none"  # no proxy
LONG_AGO = 3600.0  # s; an attempt that was made before we looked

FAILED = "its registration failed, the log of Kamailio says why"
SILENT = "its REGISTER is not answered"
GIVEN_UP = (
    "its registration failed and Kamailio does not try again: modparam(uac, "
    "reg_retry_interval, 60) makes it, `kamcmd uac.reg_enable l_uuid {uuid}` does once"
)


class Flag(IntFlag):
    """What is set in `flags`."""

    DISABLED = 1
    ONGOING = 2
    ONLINE = 4
    STARTED = 16  # a first attempt was made


class Record(msgspec.Struct):
    """One record of uac.reg_dump. Its password is in there too, and is not taken."""

    l_uuid: str
    flags: Whole
    r_username: str = ""
    r_domain: str = ""
    auth_proxy: str = NONE
    expires: Whole = 0  # s asked for
    diff_expires: Whole = 0  # s until it ends, or is tried again; below 0: s ago
    timer_expires: Whole = 0  # that as a time of Kamailio's clock

    @property
    def kept(self) -> bool:
        """Whether it is to be registered. One that failed is switched off by Kamailio
        itself where `reg_retry_interval` is 0; that has tried and is not online."""
        if not self.flags & Flag.DISABLED:
            return True
        return self.flags & (Flag.STARTED | Flag.ONLINE) == Flag.STARTED


@dataclass(slots=True)
class Seen:
    """What the lists before had of a record."""

    timer: int
    tried: float  # an attempt was made then, or later
    ongoing: float | None = None  # since when, in every list


class Uac:
    """The records of one Kamailio, and what they were before."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._read_at: float | None = None

    def outbounds(self, records: list[Record], now: float) -> list[Outbound]:
        """The whole list, but for what was switched off."""
        before, self._seen = self._seen, {}
        for record in records:
            self._seen[record.l_uuid] = self._see(
                before.get(record.l_uuid), record, now
            )
        self._read_at = now
        return [self._outbound(record, now) for record in records if record.kept]

    def _see(self, seen: Seen | None, record: Record, now: float) -> Seen:
        tried = now - LONG_AGO if self._read_at is None else self._read_at
        if seen is None:
            seen = Seen(record.timer_expires, tried)
        elif seen.timer != record.timer_expires:
            seen.timer, seen.tried = record.timer_expires, tried
        if not record.flags & Flag.ONGOING:
            seen.ongoing = None
        elif seen.ongoing is None:
            seen.ongoing = now + min(0, record.diff_expires)
        return seen

    def _outbound(self, record: Record, now: float) -> Outbound:
        """What is known of one registration."""
        server, proxy = f"sip:{record.r_domain}", record.auth_proxy
        row = Outbound(
            record.l_uuid,
            None,
            now,
            server=server,
            client=f"{record.r_username}@{record.r_domain}",
            trusted=False,  # online is as old as its refresh; a failure has no reason
            proxy="" if proxy in (NONE, server) else proxy,
        )
        flags, left = record.flags, float(record.diff_expires)
        seen = self._seen[record.l_uuid]
        if flags & Flag.DISABLED:
            row.state, row.detail = State.REJECTED, GIVEN_UP.format(uuid=record.l_uuid)
        elif flags & Flag.ONLINE and left > 0:
            row.state, row.expires = State.OK, now + left
            row.lag = max(0.0, record.expires - left)
        elif seen.ongoing is not None:
            if now - seen.ongoing > ANSWER:
                row.state, row.cause, row.detail = State.FAILING, Cause.TIMEOUT, SILENT
        elif flags & Flag.STARTED:
            row.state, row.detail = State.REJECTED, FAILED
        if row.state is State.REJECTED:
            row.lag = now - seen.tried
        return row
