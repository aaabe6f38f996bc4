"""What becomes of a call: ring the phone, or what is configured instead.

Asked by Twilio at the beginning of a call and at the end of its <Dial>. A phone that
would answer 480 is not rung: it is unregistered, or nobody is there at this hour. As
we may be down ourselves, Twilio needs a fallback URL that is static.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from alerting.store.database import StoreError
from checks.observation import State, plain
from checks.settings import Secret
from checks.twilio import twiml
from checks.twilio.alerts import Alert, of_webhook
from checks.twilio.twiml import TwimlAction, TwimlFallback, TwimlSettings, Urls
from sipwatch.clock import Clock
from sipwatch.config.settings import Config
from sipwatch.people import NotStoredError
from sipwatch.twilio.reports import Twilio

UNAVAILABLE = 480
NOT_HERE = frozenset({State.UNREGISTERED, State.NEVER_REGISTERED})
_TO = re.compile(r"(?:sips?:|client:)([^@;?]{1,64})(?:@([A-Za-z0-9.-]{1,253}))?")

IsOpen = Callable[[str, float], bool]


class Calls:
    """Answers Twilio on `web.public`."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        twilio: Twilio,
        is_open: IsOpen,
    ) -> None:
        """`is_open` tells of a schedule whether it is open at a moment of the wall."""
        self._config, self._clock, self._twilio = config, clock, twilio
        self._is_open = is_open

    # --- the webhook ----------------------------------------------------------------

    def token(self, what: str) -> Secret | None:
        """The auth token, where this is switched on; None: there is no such page."""
        config = self._config()
        account = config.twilio
        if account is None or not config.web.external_url:
            return None
        switched_on = account.webhook if what == "webhook" else config.twiml is not None
        return account.auth_token if switched_on else None

    @property
    def base(self) -> str:
        """What our address begins with, as Twilio knows it."""
        return self._config().web.external_url or ""

    async def alert(self, said: dict[str, Any]) -> None:
        """Take an alert in; ValueError for what is none, NotStoredError."""
        account = self._config().twilio
        ours = account is not None and account.account_sid in (
            said.get("AccountSid"),
            said.get("ParentAccountSid"),
        )
        if not ours:
            raise ValueError("it is of another account")
        alert = of_webhook(said)
        try:
            await self._twilio.received(alert)
        except (sqlite3.Error, StoreError) as error:
            raise NotStoredError from error

    # --- calls ----------------------------------------------------------------------

    def answer(self, step: str, said: dict[str, Any], query: dict[str, str]) -> str:
        """TwiML for a call; ValueError for what is no call of ours."""
        settings = self._config().twiml
        find = _STEPS.get(step)
        if settings is None or find is None:
            raise ValueError("there is no such step of a call")
        return find(self, settings, said, query)

    def _begin(
        self, settings: TwimlSettings, said: dict[str, Any], query: dict[str, str]
    ) -> str:
        """The first request of a call."""
        user = _called(settings, said)
        fallback = self._fallback(settings, user, twiml.CLOSED, 0, begins=True)
        if fallback is not None:
            return self._act(settings, user, fallback, tried=False)
        if not self._here(user):
            # As if it had been rung, and had answered what it would have.
            then = self._choose(settings, user, twiml.UNREGISTERED, UNAVAILABLE, False)
            return self._act(settings, user, then, tried=False)
        self._twilio.answers["ring"] += 1
        return twiml.ring(settings, user, self._urls(user, tried=False))

    def _after(
        self, settings: TwimlSettings, said: dict[str, Any], query: dict[str, str]
    ) -> str:
        """The end of a <Dial>."""
        user = query.get("extension", "")
        if not twiml.USER.fullmatch(user):
            raise ValueError("of which extension is not said")
        status = str(said.get("DialCallStatus", ""))
        written = str(said.get("DialSipResponseCode", ""))
        code = int(written) if re.fullmatch(r"[1-6]\d\d", written) else 0
        tried = query.get("tried") == "1"
        if status in twiml.TAKEN:
            self._twilio.answers["hangup"] += 1
            return twiml.hang_up()
        if code == UNAVAILABLE and not tried:
            self._unavailable(settings, user, said)
        then = self._choose(settings, user, status, code, tried)
        return self._act(settings, user, then, tried=tried)

    def _over(
        self, settings: TwimlSettings, said: dict[str, Any], query: dict[str, str]
    ) -> str:
        """A message was left, or a queue."""
        return twiml.hang_up()

    def _unavailable(
        self, settings: TwimlSettings, user: str, said: dict[str, Any]
    ) -> None:
        """A phone answered 480: counted with what Twilio's alerts tell of it."""
        call = said.get("DialCallSid") or said.get("CallSid") or ""
        if not isinstance(call, str) or not call:
            raise ValueError("it has no CallSid")
        alert = Alert(
            sid="dial-" + hashlib.sha256(call.encode()).hexdigest()[:32],
            code=31480,
            level="warning",
            at=self._clock.to_wall(self._clock.now()),
            who=f"{user}@{settings.domain}",
            resource=plain(call, 64),
            text="480 to its <Dial>",
        )
        self._twilio.failed_call(alert)

    # --- what then ------------------------------------------------------------------

    def _choose(
        self, settings: TwimlSettings, user: str, status: str, code: int, tried: bool
    ) -> TwimlAction | None:
        """The first action that fits; None: hang up."""
        found = self._fallback(settings, user, status, code, tried=tried)
        if found is not None:
            return found
        last = settings.actions[settings.otherwise]
        return last if self._possible(settings, last, tried) else None

    def _fallback(
        self,
        settings: TwimlSettings,
        user: str,
        status: str,
        code: int,
        *,
        begins: bool = False,
        tried: bool = False,
    ) -> TwimlAction | None:
        now = self._clock.to_wall(self._clock.now())
        for one in settings.fallbacks:
            if begins and not one.at_once:
                continue
            action = settings.actions[one.then]
            fits = _fits(one, user, status, code) and self._in_hours(one, now)
            if fits and self._possible(settings, action, tried):
                return action
        return None

    def _in_hours(self, one: TwimlFallback, now: float) -> bool:
        if one.during and not self._is_open(one.during, now):
            return False
        return not (one.outside and self._is_open(one.outside, now))

    def _possible(
        self, settings: TwimlSettings, action: TwimlAction, tried: bool
    ) -> bool:
        """Nobody is rung after another, and nobody who is not there."""
        if not action.dial:
            return True
        return not tried and any(self._takes(settings, one) for one in action.dial)

    def _takes(self, settings: TwimlSettings, target: str) -> bool:
        user, _, domain = target.partition(":")[2].partition("@")
        ours = domain.partition(";")[0] == settings.domain
        return self._here(user) if ours else True

    def _here(self, user: str) -> bool:
        """Whether a phone would ring, as far as we know: who is unknown is rung, and
        so is whose PBX cannot be read, since it may have come back unseen."""
        found = self._twilio.local(user)
        return found is None or not found.seen or found.state not in NOT_HERE

    def _act(
        self,
        settings: TwimlSettings,
        user: str,
        action: TwimlAction | None,
        *,
        tried: bool,
    ) -> str:
        if action is None:
            self._twilio.answers["hangup"] += 1
            return twiml.hang_up()
        self._twilio.answers[_name(action)] += 1
        return twiml.act(settings, action, self._urls(user, tried=True))

    def _urls(self, user: str, *, tried: bool) -> Urls:
        query = urlencode({"extension": user} | ({"tried": "1"} if tried else {}))
        base = f"{self.base}/twiml"
        return Urls(f"{base}/action?{query}", f"{base}/done")


_STEPS: dict[
    str, Callable[[Calls, TwimlSettings, dict[str, Any], dict[str, str]], str]
] = {
    "call": Calls._begin,
    "action": Calls._after,
    "done": Calls._over,
}


def _called(settings: TwimlSettings, said: dict[str, Any]) -> str:
    """The extension that a call is for; ValueError."""
    to = str(said.get("To", "")).strip()[:512]
    if to in settings.numbers:
        return settings.numbers[to]
    found = _TO.match(to)
    user = found[1] if found else ""
    domain = (found[2] or settings.domain) if found else ""
    # The domain may have an edge in it: acme.sip.dublin.twilio.com.
    same = domain.lower().partition(".")[0] == settings.domain.partition(".")[0]
    if not (twiml.USER.fullmatch(user) and same):
        raise ValueError(f"{plain(to, 80)} is no extension of ours")
    return user


def _fits(one: TwimlFallback, user: str, status: str, code: int) -> bool:
    if one.extensions and not any(glob(user) for glob in one.extensions):
        return False
    if one.status and status not in one.status:
        return False
    return not one.codes or code in one.codes


def _name(action: TwimlAction) -> str:
    """What kind of answer it is, for the metrics."""
    if action.record is not None:
        return "record"
    return "dial" if action.dial else "queue" if action.queue else "say"
