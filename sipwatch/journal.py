"""The log of what happened: one line a change, from what the bus announces."""

from __future__ import annotations

import logging

from pyee.base import EventEmitter

from alerting.announcement import (
    Delivered,
    Opened,
    Resolved,
    Suppressed,
    Transition,
    Updated,
)
from alerting.incident import Incident, Outcome, Severity
from checks.accounts.account import Account
from checks.observation import State
from checks.registrations.judge import Judge
from sipwatch import outbound
from sipwatch.follow import Following

NAMED = 20  # extensions that the first summary names

log = logging.getLogger("sipwatch")


class Journal:
    """Listens on the bus and logs; a listener that fails is logged as well."""

    def __init__(self, bus: EventEmitter) -> None:
        self._said: dict[int, int] = {}  # of each open incident what was logged last
        bus.on("transition", self._transition)
        bus.on("opened", self._opened)
        bus.on("updated", self._updated)
        bus.on("resolved", self._resolved)
        bus.on("suppressed", self._suppressed)
        bus.on("delivered", self._delivered)
        bus.on("error", self._error)

    def first_pass(self, following: Following) -> None:
        """The summary of a registrar's first pass."""
        judge = following.judge
        if judge.state is not State.READABLE:
            members = judge.members.values()
            why = "; ".join(m.detail for m in members if m.detail)
            log.warning("%s: cannot be read: %s", judge.name, why)
            return
        counts = judge.counts()
        said = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        log.info("%s: %s", judge.name, said or "no extensions")
        if kept := outbound.counted(judge):
            log.info("%s registers elsewhere: %s", judge.name, kept)
        self._never(judge)

    @staticmethod
    def _never(judge: Judge) -> None:
        never = [
            aor
            for aor, e in judge.extensions.items()
            if e.state is State.NEVER_REGISTERED
        ]
        if never:
            more = f" and {len(never) - NAMED} more" if len(never) > NAMED else ""
            named = ", ".join(never[:NAMED])
            log.info(
                "%s: never registered, so no alarm: %s%s (extensions.required makes"
                " them count)",
                judge.name,
                named,
                more,
            )

    def account(self, account: Account) -> None:
        """The first outcome of an account, or another one than before."""
        outcome = account.outcome
        if outcome is None:
            return
        if outcome.state is State.OK:
            log.info("account %s: ok: %s", account.name, outcome.sentence)
            return
        log.warning(
            "account %s: %s: %s; next step: %s",
            account.name,
            outcome.state,
            outcome.sentence,
            outcome.step,
        )

    def _transition(self, t: Transition) -> None:
        old = t.old or "new"
        log.info("%s: %s -> %s", t.subject.key, old, t.new)

    def _opened(self, opened: Opened) -> None:
        i = opened.incident
        self._said[i.id] = _told(i)
        again = " again" if opened.again else ""
        log.log(
            logging.INFO if i.severity is Severity.INFO else logging.WARNING,
            "incident %d opened%s: [%s] %s: %s %s",
            i.id,
            again,
            i.severity,
            i.subject.key,
            i.rule,
            i.detail,
        )

    def _updated(self, updated: Updated) -> None:
        i = updated.incident
        if self._said.get(i.id) == _told(i):
            return  # taken, or its packets are kept: that has a line of its own
        self._said[i.id] = _told(i)
        log.info("incident %d: [%s] %s %s", i.id, i.severity, i.rule, i.detail)

    def _resolved(self, resolved: Resolved) -> None:
        i = resolved.incident
        self._said.pop(i.id, None)
        why = f": {i.closed}" if i.closed else ""
        log.info("incident %d over: %s%s", i.id, i.subject.key, why)

    def _suppressed(self, s: Suppressed) -> None:
        log.info("%s: %s suppressed: %s", s.subject.key, s.rule, s.reason)

    def _delivered(self, d: Delivered) -> None:
        if d.outcome is Outcome.ACCEPTED:
            numbers = ", ".join(str(row.incident.id) for row in d.batch.deliveries[:20])
            log.info("%s took %s of %s", d.batch.notifier, d.batch.change, numbers)

    def _error(self, error: Exception) -> None:
        log.error("a listener failed", exc_info=error)


def _told(incident: Incident) -> int:
    return hash((incident.severity, incident.rule, incident.detail))
