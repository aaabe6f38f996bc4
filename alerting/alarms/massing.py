"""Mass events as incidents: begun, described, ended, and what is part of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from alerting.alarms.changes import Changes
from alerting.alarms.crowds import Census, changed_much, describe, nobody
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.group import MASS, Group
from alerting.alarms.masses import GROUPS, Masses
from alerting.alarms.watched import Trouble, Watched
from alerting.incident import Batch, Delivery, Incident
from checks.observation import Kind, Observation, State, Subject

LIVENESS = "liveness"  # the family of those that are part of a mass event


class Massing:
    """Follows the groups with their incidents."""

    def __init__(
        self,
        masses: Masses,
        deliveries: Deliveries,
        changes: Changes,
        incidents: Mapping[int, Incident],
        census: Census = nobody,
    ) -> None:
        """`incidents` are the open ones by their ids."""
        self._masses = masses
        self._deliveries = deliveries
        self._changes = changes
        self._open = incidents
        self._census = census
        self._wholes: dict[Incident, Incident] = {}  # over, of parts that are not yet

    def observed(self, group: Group, w: Watched, now: float) -> None:
        """Let the rule see how many are missing now."""
        if w.trouble is None:
            state = w.state or State.OK  # a site has no state of its own
            since = now if w.state is None else w.since
            w.trouble = Trouble(Observation(w.subject, state, since, now))
        else:
            w.trouble.last = replace(w.trouble.last, at=now, event=None)
        if w.subject.kind is Kind.SITE:
            w.fresh = False
        self._masses.count(w.trouble.last)

    def follow(self, w: Watched, now: float) -> Iterable[Watched]:
        """After a review of a registrar or site: who is to be looked at by it."""
        group = self._masses.find(w.subject)
        if group is None:
            return ()
        found = w.trouble.incidents.get(MASS) if w.trouble else None
        if found is not None:
            self._goes_on(group, found)
            self._tell(group, now)
            return ()
        if group.incident is not None:
            return self._ended(group, now)
        if group.whole is not None:
            self._tell(group.whole, now)
        handed, group.handed = group.handed, False
        return self._masses.release(group) if handed or group.begun is None else ()

    def belongs(self, w: Watched, now: float) -> None:
        """After a review of an extension: what opened of it may be part of a whole."""
        if self._wholes:
            self._leave(w, now)
        for group in w.groups:
            if group.incident is not None and w in group.members:
                self._link(group, group.incident, w)
            self._tell(group, now)

    def _tell(self, group: Group, now: float) -> None:
        """Who would be told of what is covered is told of the whole, once."""
        if group.incident is None or group.begun is None or not group.asked:
            return  # it may never open, or be over in a moment
        names, group.asked = list(group.asked), {}
        group.heard.update(names)
        self._deliveries.instead(group.incident, names, now)

    def _leave(self, w: Watched, now: float) -> None:
        """Who was back when the whole ended, and is gone again, is told by itself."""
        for rule, track in w.trouble.tracks.items() if w.trouble else ():
            part = w.trouble.incidents.get(rule.family) if w.trouble else None
            if part not in self._wholes or track.grade is None:
                continue
            if track.matching and now >= w.since + rule.grades[track.grade].for_:
                del self._wholes[part]
                part.part_of = None
                self._changes.incident(part)
                self._deliveries.release(now)

    def _goes_on(self, group: Group, incident: Incident) -> None:
        if group.incident is not incident:
            group.incident = incident
            group.joined = list(group.members)
            if group.begun is not None:
                incident.since = min(incident.since, group.begun)
            self._changes.incident(incident)
        for w in group.joined:
            self._link(group, incident, w)
        group.joined.clear()
        if group.members and changed_much(group, incident.crowd):
            self._describe(group, incident)

    def _link(self, group: Group, whole: Incident, w: Watched) -> None:
        """What was told of one before is part of the whole from now on."""
        for incident in w.trouble.incidents.values() if w.trouble else ():
            if incident.family != LIVENESS or incident in group.linked:
                continue
            if incident.part_of not in self._open:  # of another whole it stays
                incident.part_of = whole.id
                self._changes.incident(incident)
            if incident.part_of == whole.id:
                group.linked[incident] = None
                group.tell(self._deliveries.untold(incident))

    def _ended(self, group: Group, now: float) -> Iterable[Watched]:
        """It is over: who is still missing is told by itself, after a fair time."""
        if group.incident is not None:
            self._describe(group, group.incident)
        self._part(group)
        if group.linked:
            self._deliveries.release(now)
        group.linked.clear()
        group.asked.clear()
        group.heard.clear()
        group.over, group.incident = group.incident, None
        group.most = len(group.members)
        group.ended_at = now
        return self._masses.release(group)

    def _part(self, group: Group) -> None:
        """Who is still missing is told by itself from now on; that others are back is
        told with the whole, even those whose own incident ends a little later."""
        left = {w.subject for w in group.left}
        self._wholes = {p: whole for p, whole in self._wholes.items() if p.firing}
        for part in group.linked:
            if part.subject in left or group.incident is None:
                part.part_of = None
                self._changes.incident(part)
            elif part.firing:
                self._wholes[part] = group.incident

    def _describe(self, group: Group, incident: Incident) -> None:
        crowd = describe(group, incident.crowd, self._census)
        group.described = group.story
        if crowd != incident.crowd:
            incident.crowd = crowd
            self._changes.incident(incident)

    def refresh(self, batch: Batch) -> None:
        """What is told now is told as it is now."""
        for incident in {row.incident: None for row in batch.deliveries}:
            group = self._masses.find(incident.subject)
            if group is None:
                continue
            if group.over is incident and group.begun is None:
                group.left = self._masses.still_missing(group)
                self._describe(group, incident)
            elif group.incident is incident and group.described != group.story:
                # Else it was just done, for another notifier: all of a large site are
                # looked at, and both are told in the same turn of the loop.
                self._describe(group, incident)

    def part_of(self, row: Delivery) -> str:
        """Why a row is not told by itself: of what whole it is, which is told."""
        if row.incident.part_of is None:
            return ""
        part = row.incident
        whole = self._open.get(part.part_of or 0) or self._wholes.get(part)
        if whole is None or whole is row.incident:
            return ""
        told = any(r.notifier == row.notifier for r in self._deliveries.of(whole))
        return f"part of incident {whole.id}, {whole.rule}" if told else ""

    def parts(self, row: Delivery) -> Iterator[Incident]:
        """For what its notifier is told of a whole, as far as that is known."""
        group = self._masses.find(row.incident.subject)
        if group is None or group.incident is not row.incident:
            return
        linked = [i for i in group.linked if i.firing]
        untold = (i for i in linked if row.notifier in self._deliveries.untold(i))
        last = group.stood.pop(row.notifier, None)
        for part in chain(self._masses.parts(group, row.notifier), untold):
            group.stood[row.notifier] = part
            yield part
        if last is not None and row.notifier not in group.stood:
            group.stood[row.notifier] = last  # it is back; its hours are the same
            yield last

    # After a restart

    def resume(self, w: Watched) -> None:
        """A subject is watched again: take up the mass event that it is, or is in."""
        if w.subject.kind in GROUPS and w.trouble:
            incident = w.trouble.incidents.get(MASS)
            if incident is not None:
                group = self._masses.resume(w.subject, incident.since)
                group.incident = incident
                group.most = incident.crowd.lost if incident.crowd else 0
        elif w.subject.kind is Kind.EXTENSION:
            self._masses.admit(w)
            for part in w.trouble.incidents.values() if w.trouble else ():
                for group in w.groups:
                    if group.incident and part.part_of == group.incident.id:
                        group.linked[part] = None

    def forget(self, subject: Subject, now: float) -> Iterator[Watched]:
        """A registrar or a site is watched no more."""
        group = self._masses.forget(subject)
        if group is not None:
            yield from self._ended(group, now)
