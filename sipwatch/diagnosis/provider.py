"""The account at Twilio, as a rung: is the SIP Domain set up for who registers?"""

from __future__ import annotations

import asyncio
import time

from checks.accounts.twilio import is_twilio
from checks.twilio.account import Rung as Found
from checks.twilio.account import look
from checks.twilio.settings import TwilioSettings
from sipwatch.diagnosis.rung import Rung

TIMEOUT = 20.0  # s for all questions together


class Provider:
    """Looks once; `wrong` is what it found for the verdict."""

    def __init__(self, settings: TwilioSettings | None, host: str, user: str) -> None:
        self._settings, self._host, self._user = settings, host, user
        self.wrong: list[Found] = []

    async def rung(self) -> Rung | None:
        """What is set at Twilio; None where there is nothing to look at."""
        settings = self._settings
        if settings is None or not is_twilio(self._host) or ".pstn." in self._host:
            return None
        began = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await look(settings, self._host, self._user, settings.address)
        except TimeoutError:
            why = f"Twilio's API has not answered within {TIMEOUT:g} s"
            return Rung("Twilio", None, why, time.monotonic() - began)
        # What could not be asked of says nothing against the domain.
        self.wrong = [one for one in found if one.ok is False and one.name != "account"]
        text = "; ".join(one.said for one in self.wrong or found)
        unread = any(one.name == "account" for one in found)
        ok = False if self.wrong else None if unread else True
        return Rung("Twilio", ok, text, time.monotonic() - began)
