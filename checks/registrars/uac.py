"""What Kamailio registers at other servers: the records of its uac module.

They tell by flags whether a registration stands or is under way, never why one failed.
"""

from __future__ import annotations

from enum import IntFlag

import msgspec

from checks.observation import Cause, State
from checks.registrars.usrloc import Whole
from checks.registrations.readings import Outbound

ANSWER = 10.0  # s in which a live server has long answered a REGISTER
NONE = "none"  # no proxy


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


def outbounds(records: list[Record], now: float) -> list[Outbound]:
    """The whole list, but for what was switched off."""
    return [outbound(record, now) for record in records if kept(record)]


def kept(record: Record) -> bool:
    """Whether it is to be registered. One that failed is switched off by Kamailio
    itself where `reg_retry_interval` is 0, and then it has tried and is not online."""
    if not record.flags & Flag.DISABLED:
        return True
    return record.flags & (Flag.STARTED | Flag.ONLINE) == Flag.STARTED


def outbound(record: Record, now: float) -> Outbound:
    """What is known of one registration."""
    proxy = "" if record.auth_proxy == NONE else record.auth_proxy
    row = Outbound(
        record.l_uuid,
        None,
        now,
        server=f"sip:{record.r_domain}",
        client=f"{record.r_username}@{record.r_domain}",
        trusted=False,  # online is as old as its refresh; a failure has no reason
        proxy=proxy,
    )
    flags, left = Flag(record.flags & 31), float(record.diff_expires)
    if flags & Flag.DISABLED:
        row.state = State.FAILING
        row.detail = (
            "it failed and Kamailio does not try again: `kamcmd uac.reg_enable l_uuid "
            f"{record.l_uuid}` starts it, reg_retry_interval makes it try by itself"
        )
    elif flags & Flag.ONLINE and left > 0:
        row.state, row.expires = State.OK, now + left
        row.lag = max(0.0, record.expires - left)
    elif flags & Flag.ONGOING:
        if -left > ANSWER:
            row.state, row.cause = State.FAILING, Cause.TIMEOUT
            row.detail = "its REGISTER is not answered"
    elif flags & Flag.STARTED:
        row.state = State.FAILING
        row.detail = "its registration failed, Kamailio's log says why"
    return row
