"""The one way in which a request fails."""

from __future__ import annotations

from checks.observation import Cause
from checks.sip.trace import Exchanged


class SipError(Exception):
    """A request got no answer, or a name no address: why, in a word and a sentence."""

    def __init__(
        self,
        cause: Cause,
        detail: str,
        *,
        not_after: float | None = None,
        exchange: tuple[Exchanged, ...] = (),
    ) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail
        self.not_after = not_after  # UTC s, where the peer showed a certificate
        self.exchange = exchange  # what went over the wire until then
