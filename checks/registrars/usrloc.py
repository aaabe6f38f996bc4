"""What Kamailio's and OpenSIPS' tables of contacts have in common: one ancestor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from checks.registrars.clocks import in_utc
from checks.registrations.readings import SLICE

ROW_LIMIT = 200_000  # AORs of one dump
STEP = SLICE // 2  # contacts decoded before the loop gets its turn: some 5 ms
NOT_LIVE = {"expired", "deleted"}  # in memory only until usrloc's timer passes
CTIME = "%a %b %d %H:%M:%S %Y"  # how they write times, in their own zone

# JSON's numbers have no end; a float does. Seconds to 2106, and no RTT is longer (us).
Whole = Annotated[int, msgspec.Meta(ge=-(2**32), le=2**32)]


def host_part(uri: str) -> str:
    """host:port of a SIP URI, for a reader; "" where there is none."""
    address = uri.rpartition("@")[2] if "@" in uri else uri.partition(":")[2]
    return address.partition(";")[0].partition("?")[0].strip("<>")


def clocks(
    now: str, since: str, uptime: float, asked: float, clock: Callable[[], float]
) -> tuple[float, float | None]:
    """The server's clock and its start, UTC s, by what it said when `asked`.

    A server that tells no time is believed to have ours, and to run for ever.
    """
    ours = (asked + clock()) / 2
    said = in_utc(now.strip(), CTIME, ours)
    if said is None:
        return clock(), None
    # It gives whole seconds: where they agree with ours, ours are finer.
    skew = said + 0.5 - ours
    there = clock() + (skew if abs(skew) > 1.0 else 0.0)
    return there, in_utc(since.strip(), CTIME, there - uptime)
