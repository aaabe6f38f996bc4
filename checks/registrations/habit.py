"""When a phone refreshes its registration: its habit, in 16 bytes.

A phone refreshes at about the same share of the Expires that it was granted, be it
half, nine tenths or five seconds before the end, each time a little sooner or later.
A habit holds the shares of the last refreshes, a byte each, and for longer than that
the latest of them and how many there were. From these follows how late the next may be
without being strange:

- It may be later than the latest by as much as its own jitter makes likely. Were the
  points spread evenly, then after n of them the next is beyond the latest by more than
  c times their spread with a chance of (1 + c) ** (1 - n) / (n + 1). `_SLACK` is c for
  a chance of CHANCE: wide after four refreshes, narrow after forty. It is never less
  than AGAIN, since a rare point may lie beyond those that are spread evenly.
- The spread is taken from the lower quarter up, so that a reboot, which registers
  early, widens nothing.
- Lost packets delay a REGISTER by some seconds (LOST).

What was late once raises the bar until it is forgotten.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

SIZE = 16  # bytes: the count, the latest, and the last refreshes
LEARNED = 4  # refreshes from which a habit can be told
ANEW = 250  # refreshes after which the latest is that of the last ones again
UNITS = 200  # of the whole Expires: half a percent
LATEST = 1.25  # of Expires; PBXs keep a binding for up to 35 s after its end
CHANCE = 1e-6  # that a regular phone is called late at one of its refreshes
AGAIN = 0.5  # of their spread, that the next point may be later at the least
LOST = 8.0  # s that a REGISTER takes whose first four packets were lost (17.1.2.1)
EVENLY = 4 / 3  # the spread of all, where three quarters of them have 1


class Points(NamedTuple):
    """Where in its Expires a phone refreshes, in shares of it."""

    first: float
    median: float
    last: float


def learned(habit: bytes, share: float) -> bytes:
    """The habit after one more refresh, at this share of what had been granted."""
    count, latest = habit[:2] or (0, 0)
    point = min(255, round(share * UNITS))
    last = (habit[2:] + bytes((point,)))[2 - SIZE :]
    if count >= ANEW:
        count, latest = len(last) - 1, max(last)
    return bytes((count + 1, max(latest, point))) + last


def points(habit: bytes) -> Points | None:
    """The last refreshes in short."""
    if not habit:
        return None
    ordered = sorted(habit[2:])
    median = (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
    return Points(ordered[0] / UNITS, median / UNITS, ordered[-1] / UNITS)


def is_known(habit: bytes) -> bool:
    """Whether there were enough refreshes to tell."""
    return bool(habit) and habit[0] >= LEARNED


def patience(habit: bytes, granted: float) -> float | None:
    """s after a refresh by which the next one comes; None: it is not known yet."""
    if not is_known(habit):
        return None
    count, latest = habit[:2]
    ordered = sorted(habit[2:])
    spread = EVENLY * (ordered[-1] - ordered[len(ordered) // 4] + 1)
    return granted * (latest + spread * _SLACK[count]) / UNITS + LOST


def packed(habits: Mapping[str, bytes]) -> dict[str, Any]:
    """Habits by AOR as JSON has them: 16 bytes each, in one string."""
    joined = b"".join(habit.ljust(SIZE, b"\0") for habit in habits.values())
    return {"aors": list(habits), "habits": b64encode(joined).decode("ascii")}


def unpacked(kept: Mapping[str, Any]) -> dict[str, bytes]:
    """Habits by AOR; what is not as `packed` has it is none."""
    aors, text = kept.get("aors"), kept.get("habits")
    if not (isinstance(aors, list) and isinstance(text, str)):
        return {}
    try:
        joined = b64decode(text, validate=True)
    except ValueError:
        return {}
    if len(joined) != SIZE * len(aors):
        return {}
    found = (joined[at : at + SIZE] for at in range(0, len(joined), SIZE))
    return {
        aor: habit[: 2 + min(habit[0], SIZE - 2)]
        for aor, habit in zip(aors, found, strict=True)
        if isinstance(aor, str) and 0 < habit[0] <= ANEW
    }


def _slack(n: int) -> float:
    if n < LEARNED:
        return math.inf
    return max(AGAIN, math.pow(CHANCE * (n + 1), -1 / (n - 1)) - 1)


_SLACK = tuple(_slack(n) for n in range(ANEW + 1))
