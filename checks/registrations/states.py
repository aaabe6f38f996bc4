"""Which state an extension is in: here, away, or given up after a long time."""

from __future__ import annotations

from collections.abc import Iterator

from checks.observation import Observation, State
from checks.registrations.away import Away
from checks.registrations.cluster import Cluster
from checks.registrations.extension import HERE, Extension, present
from checks.registrations.ledger import STEP, Ledger, Removed
from checks.registrations.losses import unseen
from checks.registrations.roster import Roster

LEARNED = 600.0  # s registered after which an AOR is one that should be there
DORMANT = 7 * 86400.0  # s away after which nobody waits for it


class States:
    """Brings the states of a registrar's extensions up to date."""

    def __init__(
        self, cluster: Cluster, roster: Roster, ledger: Ledger, away: Away
    ) -> None:
        self._cluster, self._roster = cluster, roster
        self._ledger, self._away = ledger, away

    def changed(self, e: Extension, at: float, now: float) -> State | None:
        """Bring an extension's state up to date; the state if that is news."""
        if e.contacts:
            state, since = present(e)
            self._ledger.give_up(e, dormant=False)
            if e.state is state:
                return None
            e.state, e.since, e.not_before = state, since or at, 0.0
            if state is State.REGISTERED:
                e.lost = None
            return state
        if self._cluster.may_hold(e.aor, e.held_by, e.bound):
            return None
        if not self._expected(e):
            self._ledger.forget(e)
            return None
        found = self._absence(e, now)
        if found is None or found == (e.state, e.since, e.not_before):
            return None
        state, e.since, e.not_before = found
        e.state = state
        if state is State.UNREGISTERED:
            self.wait_for(e)
            self._ledger.give_up(e, dormant=e.since + DORMANT <= now)
        return None if e.dormant else state

    def _expected(self, e: Extension) -> bool:
        """Whether it should be there, by PBX, file or habit."""
        return e.aor in self._roster or (e.learned and not self._roster.given)

    def _absence(self, e: Extension, now: float) -> tuple[State, float, float] | None:
        if not e.bound:
            if e.subject.required:
                return State.UNREGISTERED, e.first_seen, 0.0
            return State.NEVER_REGISTERED, e.first_seen, 0.0
        if e.lost is None:
            if e.state is State.UNREGISTERED:
                return None  # as it was stored
            e.lost = unseen(now, now)
        return State.UNREGISTERED, e.lost.since, e.lost.not_before

    def learn(self, now: float) -> Iterator[list[Observation]]:
        """Learn who is there for long, in steps; nothing is told of it."""
        if self._roster.given:
            return
        for n, e in enumerate(list(self._ledger.extensions.values())):
            if n % STEP == STEP - 1:
                yield []
            old = e.contacts and e.state in HERE and now - e.since >= LEARNED
            if old and not e.learned:
                e.learned = True
                self._ledger.save(e)

    def wait_for(self, e: Extension) -> None:
        """See when it has been away for good."""
        self._away.wait_for(e, e.since + DORMANT)

    def give_up(self, now: float) -> None:
        """Wait no more for some of those who have been away for long enough."""
        known = self._ledger.extensions
        for e in self._away.due(now):
            if known.get(e.aor) is not e or e.state is not State.UNREGISTERED:
                continue
            if e.since + DORMANT > now:
                self.wait_for(e)
                continue
            self._ledger.give_up(e, dormant=True)
            reason = "dormant: unregistered for 7 days"
            self._ledger.removed.append(Removed(e.subject, reason))
