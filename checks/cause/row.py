"""One row of the table, and the steps that several rows share."""

from __future__ import annotations

from typing import NamedTuple

from checks.cause.evidence import Confidence
from checks.cause.fits import Fits
from checks.observation import Cause


class Row(NamedTuple):
    """One line of the table; `sentence` and `steps` are filled by `words_of`."""

    fits: Fits
    cause: Cause | None
    confidence: Confidence
    sentence: str
    steps: tuple[str, ...]


CERTAIN, LIKELY, POSSIBLE = Confidence

PHONE = "check power and network of the phone{at}; it should re-register{within}"
ACCOUNT = "then its account on the phone: server, user, password"
UNDO_DND = "ask the user, or switch do not disturb off on the phone (or the PBX)"
NAT = (
    "have the phone keep its NAT binding open (keep-alive, a shorter Expires), and the "
    "PBX answer where the phone came from (rewrite_contact, nathelper)"
)
LOAD = "look at CPU, file descriptors and workers of {place}, and who asks it so often"
