"""A restart of a PBX, or a failover: one event, and patience with who is away."""

from __future__ import annotations

from checks.observation import Event, Observation
from checks.registrations.cluster import Cluster
from checks.registrations.extension import HERE, Extension
from checks.registrations.ledger import Ledger
from checks.registrations.losses import unseen
from checks.registrations.member import REBOOT, Member, Return
from checks.registrations.readings import ListEnd

_NOT_BACK = {
    Event.RESTARTED: "it has not come back since the PBX restarted",
    Event.FAILED_OVER: "it has not come back since the failover",
}


def started_at(m: Member, reading: ListEnd, now: float) -> float | None:
    """When the PBX started, if it did since the last list; on our clock."""
    boot, before = reading.boot, m.boot
    if boot is None:
        return None
    if reading.run and m.run:  # by its name: uptime and clock drift apart
        same = reading.run == m.run
    else:
        same = before is not None and abs(boot - before) <= REBOOT
    m.kept, m.run = reading.kept, reading.run or m.run
    if same:
        return None
    m.boot = boot
    if before is None:
        return None
    at = m.clock.ours(boot)
    return min(now, at if m.read_at is None else max(at, m.read_at))


class Returns:
    """The way back of the phones of one registrar."""

    def __init__(self, cluster: Cluster, ledger: Ledger) -> None:
        self._cluster, self._ledger = cluster, ledger

    def begin(
        self,
        m: Member,
        started: float | None,
        there: set[str],
        touched: set[str],
        now: float,
    ) -> list[Observation]:
        """A restart or failover: one event, and patience with those who are missing."""
        event = Event.RESTARTED
        if old := self._cluster.take_over(m):
            # Who has moved already is one that is back.
            event, started, there = Event.FAILED_OVER, now, self.there(None)
            if not old.readable:
                self._ledger.abandon(old)
        if started is None:
            return []
        m.restart = Return(event, started, len(there), due_by=started)
        m.restart.kept = m.kept and event is Event.RESTARTED
        for aor in there:
            if (e := self._ledger.extensions.get(aor)) and not e.contacts:
                self._miss_since(e, m.restart, now)
        touched |= there
        o = self._cluster.happened(m, now)
        return [o] if o else []

    def there(self, m: Member | None) -> set[str]:
        """The AORs that were there; at a member, or it is not known where."""
        bit = m.bit if m else ~0
        return {
            e.aor
            for e in self._ledger.extensions.values()
            if e.state in HERE and (e.held_by & bit or not e.held_by)
        }

    def _miss_since(self, e: Extension, restart: Return, now: float) -> None:
        due, lost = restart.at + self._ledger.patience(e), e.lost
        if lost is None or lost.noticed == now or lost.since < restart.at:
            lost = unseen(restart.at, now, _NOT_BACK[restart.event], lost)
        lost.not_before = due
        e.lost = lost
        restart.missing.add(e.aor)
        restart.due_by = max(restart.due_by, due)
