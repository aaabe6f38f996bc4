"""What Twilio reports: looked for, received, joined with what we know ourselves."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from alerting.alarms.core import Alarms
from alerting.notification.headline import Times
from alerting.notification.twilio import words_of
from alerting.store.database import Store
from alerting.store.rows import Memo
from checks.observation import Fact, Observation, State, Subject
from checks.registrars.clocks import pause
from checks.registrations.judge import Judge as Registrar
from checks.twilio.alerts import Alert
from checks.twilio.client import Client, TwilioError
from checks.twilio.judge import ACCOUNT, Case, Judge, Local, standing, subject
from checks.twilio.ledger import Ledger, dumped
from checks.twilio.poll import alerts as listed
from checks.twilio.poll import wait
from checks.twilio.settings import TwilioSettings
from sipwatch.clock import Clock
from sipwatch.config.settings import local_zone
from sipwatch.flow import Flow
from sipwatch.tasks import Tasks
from sipwatch.twilio.locals import Locals

TASK = "twilio"
MEMO = "twilio/"
TICK = 5.0  # s between two looks at what has changed here
AT_ONCE = 100  # alerts in one transaction: some 5 ms of the loop
JOINED = "it is told with the incident about the phone itself"
RECENT = 4  # alerts about one user that others are told of

log = logging.getLogger(__name__)


class Twilio:
    """One account, or none; a resident task looks for its alerts."""

    def __init__(
        self,
        clock: Clock,
        flow: Flow,
        alarms: Alarms,
        store: Store,
        tasks: Tasks,
        *,
        registrars: Callable[[], Mapping[str, Registrar]],
        network: Subject | None = None,
    ) -> None:
        """`registrars` are the judges of our own, by name; the API is seen through
        our `network`."""
        self._clock, self._flow, self._alarms = clock, flow, alarms
        self._store, self._tasks = store, tasks
        self.settings: TwilioSettings | None = None
        self._network = network
        self.account: Subject = subject(ACCOUNT, network)
        self.read_at: float | None = None  # the last look that succeeded
        self.error = ""  # of the last look
        self.alerts: Counter[int] = Counter()  # handled, by code
        self.answers: Counter[str] = Counter()  # of TwiML, by kind
        self._locals = Locals(registrars, alarms)
        self._judge: Judge | None = None
        self._ledger = Ledger.begun(0.0)
        self._changed = asyncio.Event()
        self._failures = 0
        self._unread_since = 0.0
        self._zone = local_zone()

    # --- life -----------------------------------------------------------------------

    def start(self, settings: TwilioSettings | None) -> None:
        """Take up what was handled before, and look from there on."""
        self._begin(settings)
        self._tasks.spawn(TASK, self._run())

    def _begin(self, settings: TwilioSettings | None) -> None:
        self.settings, self._judge = settings, None
        self._failures, self.error = 0, ""
        if settings is None:
            return
        self._judge = Judge(settings)
        self._ledger = Ledger.begun(self._wall())
        self._recall(settings.account_sid)
        self._alarms.adopt(self.account)
        for case in self._judge.cases.values():
            row = self._alarms.adopt(case.subject)
            case.open = row is not None and row.state is not State.OK

    def _recall(self, account: str) -> None:
        assert self._judge is not None  # noqa: S101  # called by _begin
        stored = self._store.remembered(MEMO + account)
        if stored is None:
            return
        try:
            found = json.loads(stored)
            self._ledger = Ledger.load(found)
            self._judge.load(found.get("cases", []))
        except ValueError as error:
            log.warning("twilio: %s; what happened before now is not looked at", error)

    def replace(self, settings: TwilioSettings | None, now: float) -> None:
        """Go on with other settings, at once."""
        if settings == self.settings:
            return
        self.look()
        old, judge = self.settings, self._judge
        same = old and settings and old.account_sid == settings.account_sid
        if same and settings is not None and judge is not None:
            self.settings = judge.settings = settings
            self._failures = 0
        else:
            for case in judge.cases.values() if judge else ():
                self._alarms.unwatch(case.subject, now)
            self._alarms.unwatch(self.account, now)
            self.account = subject(ACCOUNT, self._network)
            self._begin(settings)
        self._changed.set()

    # --- looking --------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            settings = self.settings
            if settings is None:
                await self._changed.wait()
                continue
            await pause(self._changed, await self._poll(settings))

    async def _poll(self, settings: TwilioSettings) -> float:
        """One look; s until the next."""
        until = self._wall()
        start = self._ledger.start(until, settings.overlap)
        try:
            async with Client(settings) as client:
                found = await listed(client, start, until)
        except TwilioError as error:
            return self._failed(settings, error)
        if self.settings is settings:  # no reload meanwhile
            self._take(found)
            self._ledger.listed(until)
            self._keep()
            self._succeeded()
        return settings.interval

    def _failed(self, settings: TwilioSettings, error: TwilioError) -> float:
        self._failures += 1
        if str(error) != self.error:
            log.warning("twilio: %s", error)
        self.error = str(error)
        self._say(State.UNREADABLE, self.error)
        return wait(error, self._failures, settings.interval, random.random())

    def _succeeded(self) -> None:
        if self.error:
            log.info("twilio: its alerts can be read again")
        self._failures, self.error = 0, ""
        self.read_at = self._clock.now()
        self._say(State.READABLE)

    def _say(self, state: State, detail: str = "") -> None:
        now = self._clock.now()
        since = now
        if state is State.UNREADABLE and self._failures > 1:
            since = self._unread_since
        self._unread_since = since
        self._flow.observe(Observation(self.account, state, since, now, detail=detail))

    # --- alerts ---------------------------------------------------------------------

    async def received(self, alert: Alert) -> None:
        """One that the webhook brought; it is on the disk when this returns."""
        self._take([alert])
        await self._flow.commit()

    def failed_call(self, alert: Alert) -> None:
        """A call that Twilio itself told us of, at the end of its <Dial>."""
        self._take([alert])

    def _take(self, found: Iterable[Alert]) -> None:
        judge = self._judge
        if judge is None:
            return
        wanted = []
        for alert in found:
            if judge.wants(alert):
                wanted.append(alert)
            else:
                judge.ignored += 1
        new = self._ledger.new(wanted, self._wall())
        for begin in range(0, len(new), AT_ONCE):
            part = new[begin : begin + AT_ONCE]
            for alert in part:
                self.alerts[alert.code] += 1
                ours = replace(alert, at=alert.at - self._clock.skew)
                judge.take(ours, self._clock.now())
            self._ledger.handled(part)
            self._keep()
            self.look()
            self._flow.flush()

    def _keep(self) -> None:
        """What was handled is stored with what has come of it, or not at all."""
        if self.settings is not None and self._judge is not None:
            text = dumped(self._ledger, cases=self._judge.dump())
            self._alarms.remember(Memo(MEMO + self.settings.account_sid, text))

    def look(self) -> None:
        """Tell what has changed: here, or by the time."""
        if self._judge is None:
            return
        now = self._clock.now()
        self._let_go(self._judge, now)
        if not self._judge.cases:
            return
        self._locals.look(now)
        told, joins = self._judge.look(now, self._locals.find, self._words)
        for o in told:
            self._flow.observe(o)
        for who, fact in joins:
            found = self._locals.subject(who)
            if found is not None:
                self._alarms.attest(found, fact, now)
        for moved in self._judge.moved:
            self._alarms.unwatch(moved, now, JOINED)
        self._judge.moved.clear()
        if told or joins:
            self._keep()
            self._flow.flush()

    def _let_go(self, judge: Judge, now: float) -> None:
        """What is over is watched no more, once nothing of it is open."""
        if judge.gone:
            still = {incident.subject for incident in self._alarms.incidents}
            for name, gone in list(judge.gone.items()):
                if gone not in still:
                    del judge.gone[name]
                    self._alarms.unwatch(gone, now)
            self._flow.flush()

    async def tick(self) -> None:
        """The one job of all cases."""
        self.look()

    def _words(self, case: Case, here: Local | None) -> str:
        """Twilio 32009 for 204 at 10:02; 204 unregistered at hq since 09:58."""
        times = Times(self._zone, self._clock.now(), self._clock.skew)
        latest = case.calls[-1]
        user = case.who.partition("@")[0]
        whom = f" for {user}" if user else ""
        often = f" ({len(case.calls)} times)" if len(case.calls) > 1 else ""
        text = f"Twilio {latest.code}{whom} at {times.short(latest.at)}{often}"
        if here is None:
            return text
        return f"{text}; {standing(here)} since {times.short(here.since)}"

    # --- what is shown --------------------------------------------------------------

    def recent(self, user: str) -> tuple[Fact, ...]:
        """What Twilio reported of a user of late, for those who look for a cause."""
        return tuple(
            Fact(call.at, f"Twilio {call.code}: {words_of(call.code).words}")
            for case in self._of(user)
            for call in case.calls[-RECENT:]
        )[-RECENT:]

    def latest(self, most: int) -> list[Case]:
        """What was reported last, the newest first."""
        cases = self._judge.cases.values() if self._judge else ()
        told = (case for case in cases if case.calls)
        return heapq.nlargest(most, told, key=lambda case: case.calls[-1].at)

    def phone(self, case: Subject) -> Subject | None:
        """The extension of ours whose calls failed, of an alert; None: not known."""
        cases = self._judge.cases.values() if self._judge else ()
        who = next((c.who for c in cases if c.subject is case), "")
        return self._locals.subject(who) if who else None

    def local(self, user: str) -> Local | None:
        """A user as an extension of ours; None where there is none."""
        self._locals.look(self._clock.now())
        return self._locals.find(user)

    def codes(self, user: str) -> tuple[int, ...]:
        """The codes of it, each once."""
        calls = (call for case in self._of(user) for call in case.calls)
        return tuple(dict.fromkeys(call.code for call in calls))

    def _of(self, user: str) -> list[Case]:
        cases = self._judge.cases.values() if self._judge else ()
        bare = user.partition("@")[0]
        return [c for c in cases if c.who and c.who.partition("@")[0] == bare]

    def status(self) -> dict[str, Any] | None:
        """How it is read, as JSON values; None where it is not configured."""
        if self.settings is None:
            return None
        read = self.read_at is not None and self._clock.to_wall(self.read_at)
        return {
            "account": self.settings.account_sid,
            "state": "unreadable" if self.error else "readable" if read else "starting",
            "detail": self.error,
            "alerts": {str(code): n for code, n in sorted(self.alerts.items())},
        }

    def _wall(self) -> float:
        return self._clock.to_wall(self._clock.now())
