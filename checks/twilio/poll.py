"""One look at the alerts of an account: all that happened between two moments."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from checks.twilio.alerts import Alert, of_api
from checks.twilio.client import MONITOR, Client, Trouble, TwilioError

CAP = 10_000  # alerts that Twilio gives for one question: more of them are halved
SHORTEST = 2.0  # s; what has more alerts than CAP within it is not divided further
FIRST_WAIT, LONGEST_WAIT = 30.0, 900.0  # s after failures in a row
REFUSED_WAIT = 300.0  # s after wrong credentials: each attempt more may lock us out

log = logging.getLogger(__name__)


async def alerts(
    client: Client, start: float, end: float, *, cap: int = CAP
) -> list[Alert]:
    """Every alert of this time, in no order, some perhaps twice; TwilioError."""
    query = {"StartDate": _stamp(start), "EndDate": _stamp(end + 1.0)}
    found: list[Alert] = []
    listed = 0
    async for page in client.pages(MONITOR, "/v1/Alerts", "alerts", query):
        listed += len(page)
        found += filter(None, map(_alert, page))
        if listed >= cap and end - start > SHORTEST:
            middle = (start + end) / 2
            first = await alerts(client, start, middle, cap=cap)
            return first + await alerts(client, middle, end, cap=cap)
    return found


def _alert(row: dict[str, object]) -> Alert | None:
    """A row that can be read; one that cannot does not keep the others from us."""
    try:
        return of_api(row)
    except ValueError as error:
        log.debug("twilio: %s", error)
        return None


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wait(error: TwilioError, failures: int, interval: float, random: float) -> float:
    """s until the next look after so many failures in a row; `random` in 0..1."""
    if error.trouble is Trouble.UNAUTHORIZED:
        least = REFUSED_WAIT
    else:
        least = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 10))
    # Never sooner than Twilio says, and not in step with all others it said so to.
    return max(least, interval, error.retry_after) * (1.0 + 0.2 * random)
