"""Why a subject cannot be called: all that the daemon knows of it, and the cause."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from alerting.incident import Incident
from alerting.muting.muting import ON_PURPOSE, Mute
from alerting.notification.explained import Explained
from alerting.notification.shape import iso
from checks.cause import Answer, Confidence, Evidence, Finding, Sender, classify
from checks.cause.fits import BUSY, DND, HELD_BACK, HOURS, MAINTENANCE, NOBODY
from checks.cause.lines import lines_beside
from checks.observation import Cause, Event, Fact, Kind, State, Subject, plain
from checks.options.targets import full_uri
from checks.options.views import AddressView, TargetView
from checks.registrations.extension import Contact, Extension, place
from checks.registrations.judge import Judge
from checks.registrations.losses import seen_as
from checks.registrations.reaching import Sight as Reached
from checks.registrations.readings import Ask
from checks.sip.uri import SipUri
from sipwatch.sources import Sources, readable
from sipwatch.subjects import key_of, named

LIVENESS = "liveness"  # the family of incidents that a cause is found for
TOGETHER = 600.0  # s within which the phones of a site are lost together
SLOW = 0.5  # s, the mean time of an answer that is out of the ordinary
AGREED = 2.0  # s that a refresh may be told late, and still be before
# Answers that a cause is found for; of all others the answer itself is the cause.
EXPLAINED = frozenset((*NOBODY, *HELD_BACK, 403, 410, 503, 604))
_BY_ROLE = {"trunk": Sender.PROVIDER, "pbx": Sender.PBX, "phone": Sender.DEVICE}


Reports = Callable[[Subject], Iterable[Fact]]


class Findings:
    """Asked when an incident is told, or by somebody."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.reporters: list[Reports] = []  # who else hears of calls that failed

    def explained(self, incident: Incident) -> Explained | None:
        """What a mail says of an open incident; None where the incident says it."""
        if not _explains(incident):
            return None
        known = self.evidence(incident.subject, incident)
        if known is None:
            return None
        found = classify(known)
        if found.cause in (None, Cause.UNKNOWN):
            return None
        extension = self._extension(incident.subject)
        lost = extension.lost if extension else None
        why = (lost and lost.why) or found.sentence  # the PBX may have said it
        if incident.subject.kind is Kind.TWILIO:
            why = f"{plain(incident.detail)}; {why}"  # what it reports, and why
        return Explained(why, found.steps, lines_beside(known))

    def on_purpose(self, incident: Incident) -> Cause | None:
        """Why a target answers as it does on purpose, where that is certain.

        Of an extension the registrar says so (`Subject.paused`).
        """
        reported = incident.subject.kind is Kind.TWILIO  # calls did fail
        if incident.state is not State.DEGRADED or reported:
            return None
        found = self.of(incident.subject, incident, around=False)
        if found is None or found.confidence is not Confidence.CERTAIN:
            return None
        return found.cause if found.cause in ON_PURPOSE else None

    def of(
        self,
        subject: Subject,
        incident: Incident | None = None,
        *,
        around: bool = True,
    ) -> Finding | None:
        """Why a subject is as it is; None where no cause is sought.

        Without `around` nobody counts its site: that is a walk over all extensions.
        """
        if incident is not None and not _explains(incident):
            return None
        known = self.evidence(subject, incident, around=around)
        found = None if known is None else classify(known)
        if subject.kind is Kind.TWILIO and found is not None and found.cause is None:
            return None  # that the phone is well now explains no call that failed
        return found

    async def look(self, subject: Subject) -> None:
        """Ask the PBX whether a phone that says it is busy is in a call."""
        known = self.evidence(subject, around=False)
        phone = self._phone(subject)
        if known is None or phone is None or known.status not in BUSY:
            return
        await self._sources.followings[phone.scope.name].look_for_call(phone.name)

    def _phone(self, subject: Subject) -> Subject | None:
        """The extension that a subject is about, where it is one of ours."""
        if subject.kind is Kind.TWILIO:
            return self._sources.twilio.phone(subject)
        if subject.kind is not Kind.TARGET:
            return subject if subject.kind is Kind.EXTENSION else None
        view = self._sources.options.targets.get(subject.key)
        found = self._registered(_uri(view.uri)) if view else None
        return found.subject if found else None

    def shown(self, name: str, registrar: str = "") -> dict[str, Any]:
        """The answer of /api/v1/finding, by key or name; LookupError."""
        subject = named(self._sources, name, registrar)
        if subject is None:
            raise LookupError(f"nothing is watched as {plain(name) or 'an empty name'}")
        found = self.of(subject)
        shown = None if found is None else finding_json(found, self._iso)
        return {"subject": key_of(subject), "finding": shown}

    def _iso(self, at: float) -> str:
        return iso(self._sources.clock.to_wall(at))

    def evidence(
        self,
        subject: Subject,
        incident: Incident | None = None,
        *,
        around: bool = True,
    ) -> Evidence | None:
        """All that is known of a subject; None where it is of another kind."""
        known: Evidence | None = None
        if subject.kind is Kind.TWILIO:  # the phone whose calls failed, if it is ours
            subject = self._sources.twilio.phone(subject) or subject
        if subject.kind is Kind.EXTENSION:
            known = self._of_extension(subject, around)
        elif subject.kind is Kind.TARGET:
            known = self._of_target(subject)
        if known is None:
            return None
        recent = [fact for told in self.reporters for fact in told(subject)]
        recent.sort(key=lambda fact: fact.at or 0.0)
        return replace(
            known,
            maintenance=self._maintenance(incident),
            recent=tuple(recent),
            provider_codes=self._sources.twilio.codes(subject.name),
        )

    # --- extensions -----------------------------------------------------------------

    def _extension(self, subject: Subject) -> Extension | None:
        judge = self._sources.judges.get(subject.scope.name)
        if judge is None or subject.kind is not Kind.EXTENSION:
            return None
        return judge.extensions.get(subject.name)

    def _of_extension(self, subject: Subject, around: bool) -> Evidence | None:
        judge = self._sources.judges.get(subject.scope.name)
        extension = judge.extensions.get(subject.name) if judge else None
        if judge is None or extension is None:
            return None
        now = self._sources.clock.now()
        site, lost, of = self._site(extension) if around else ("", 0, 0)
        hours = self._closed(subject, now)
        return replace(
            self._registrar(judge),
            **_bound(extension, now),
            answer=_answered(extension, judge.reaching.sight),
            kind=Kind.EXTENSION,
            in_call=self._sources.followings[judge.name].in_call(extension.aor),
            restarted_at=_restarted(judge, extension),
            paused=subject.paused,
            closed=hours.reason.removeprefix("outside ") if hours else "",
            opens_at=hours.until if hours else None,
            site=site,
            site_lost=lost,
            site_of=of,
        )

    def _registrar(self, judge: Judge) -> Evidence:
        """How the registrar itself does, by what OPTIONS to it say."""
        known = Evidence(place=plain(judge.name), blind=self._blind(judge))
        view = self.pbx(judge.name)
        if view is None:
            return known
        figures = view.figures
        bits = figures.outcomes.bit_count()
        mean = figures.rtt_mean
        return replace(
            known,
            registrar_down=view.state is State.DOWN,
            outages=bits / figures.probes if figures.probes else None,
            slow=mean if mean is not None and mean > SLOW else None,
        )

    def _blind(self, judge: Judge) -> str:
        if readable(judge, self._sources.alarms):
            return ""
        why = [m.detail for m in judge.members.values() if m.detail and not m.readable]
        return plain(why[0]) if why else "it cannot be read now"

    def pbx(self, registrar: str) -> TargetView | None:
        """The target that is this registrar, if one is."""
        for target, followings in self._sources.peers.items():
            if any(following.judge.name == registrar for following in followings):
                return self._sources.options.targets.get(f"target:{target}")
        return None

    def _site(self, extension: Extension) -> tuple[str, int, int]:
        """Its site, how many there were lost with it, and of how many."""
        site = extension.subject.scope.labels.get("site", "")
        if not site or extension.state is not State.UNREGISTERED:
            return plain(site), 0, 0
        lost = of = 0
        for other in self._of_site(site):
            of += 1
            gone = other.state is State.UNREGISTERED
            lost += gone and abs(other.since - extension.since) <= TOGETHER
        return plain(site), lost, of

    def _of_site(self, site: str) -> Iterable[Extension]:
        for judge in self._sources.judges.values():
            for extension in judge.extensions.values():
                known = extension.state not in (None, State.NEVER_REGISTERED)
                here = extension.subject.scope.labels.get("site", "") == site
                if known and here and not extension.dormant:
                    yield extension

    # --- targets --------------------------------------------------------------------

    def _of_target(self, subject: Subject) -> Evidence | None:
        view = self._sources.options.targets.get(subject.key)
        told = _last_told(view.addresses) if view else None
        if view is None or told is None or told.status not in EXPLAINED:
            return None
        answer = replace(told, sender=told.sender or _BY_ROLE.get(subject.scope.role))
        uri = _uri(view.uri)
        if not _about_a_user(uri, subject.scope.role) and not _says_why(answer):
            return None
        own = self._registered(uri)
        if own is not None:
            known = self._of_extension(own.subject, around=False)
            if known is not None:
                return replace(known, answer=answer, kind=Kind.TARGET)
        hours = self._closed(subject, self._sources.clock.now())
        return Evidence(
            kind=Kind.TARGET,
            place=plain(uri.host) if uri else "",
            answer=answer,
            closed=hours.reason.removeprefix("outside ") if hours else "",
            opens_at=hours.until if hours else None,
        )

    def _registered(self, uri: SipUri | None) -> Extension | None:
        """The extension that a target's URI names, where its registrar is watched."""
        if uri is None or not uri.user:
            return None
        for judge in self._sources.judges.values():
            found = judge.extensions.get(uri.aor)
            if found is None and judge.settings.domain == uri.host:
                found = judge.extensions.get(uri.user)
            if found is not None:
                return found
        return None

    # --- hours ----------------------------------------------------------------------

    def _closed(self, subject: Subject, now: float) -> Mute | None:
        """The hours of one of its rules that are over now."""
        alarms = self._sources.alarms
        for rule in alarms.rules.of(subject).rules:
            if rule.during and (mute := alarms.muting.outside(rule.during, now)):
                return mute
        return None

    def _maintenance(self, incident: Incident | None) -> str:
        """The window of ours that is open for it."""
        if incident is None:
            return ""
        muting = self._sources.alarms.muting
        wall = self._sources.clock.to_wall(self._sources.clock.now())
        for window in muting.windows:
            if window.until(wall) is not None and window.fits(incident):
                return window.name
        return ""


def _explains(incident: Incident) -> bool:
    """Whether a cause is sought: of who is away, and of calls that Twilio saw fail."""
    alert = incident.subject.kind is Kind.TWILIO
    return (alert or incident.family == LIVENESS) and not incident.crowd


def _answered(e: Extension, sight: Reached) -> Answer | None:
    """How its phones answered our OPTIONS that they do not want to ring, where all of
    them did that we ask: of several one that rings will do."""
    asked = [(c, c.ask) for c in e.contacts if c.ask is not None]
    told = [(c, ask, sight.told(ask.name)) for c, ask in asked]
    found = [_by_phone(c, ask, answer) for c, ask, answer in told if answer is not None]
    if len(found) < sum(c.reachable is not False for c, _ in asked):
        return None
    return max(found, key=lambda answer: answer.at or 0.0, default=None)


def _by_phone(contact: Contact, ask: Ask, answer: Answer) -> Answer:
    """Who sent it: the phone that was asked, where no proxy stands before it."""
    itself = not ask.route or answer.agent == contact.user_agent != ""
    return replace(answer, sender=Sender.DEVICE) if itself else answer


def finding_json(found: Finding, iso: Callable[[float], str]) -> dict[str, Any]:
    """A finding as the API has it."""
    return {
        "cause": found.cause,
        "confidence": found.confidence,
        "sentence": found.sentence,
        "steps": list(found.steps),
        "evidence": [
            {"at": None if fact.at is None else iso(fact.at), "text": fact.text}
            for fact in found.evidence
        ],
    }


def _bound(e: Extension, now: float) -> dict[str, Any]:
    """What its binding, or the last one that it had, says."""
    contact = _newest(e.contacts)
    granted = e.granted if e.exact else contact.granted if contact else None
    known: dict[str, Any] = {
        "registration": e.state,
        "since": e.since,
        "loss": e.lost.loss if e.lost and e.state is State.UNREGISTERED else None,
        "granted": round(granted) if granted else None,
        "reachable": e.reachable,
    }
    if e.lost and e.state is State.UNREGISTERED:
        known["history"] = e.lost.evidence
    if contact is None:
        if e.lost and e.lost.last_seen:
            known["address"], known["device"] = seen_as(e.lost.last_seen)
        return known
    ends, asking = contact.ends, contact.asking
    closed = asking is not None and asking.cause is Cause.ICMP_UNREACHABLE
    return known | {
        "address": plain("".join(place(contact))),
        "device": contact.user_agent,
        "left": None if ends is None else ends - now,
        "port_closed": closed and contact.reachable is False,
        "refreshing": _refreshing(contact),
        "asker": "our" if any(c.ask for c in e.contacts) else "the PBX's",
        "behind_nat": behind_nat(contact.uri, contact.received),
    }


def _newest(contacts: Iterable[Contact]) -> Contact | None:
    return max(contacts, key=lambda contact: contact.seen, default=None)


def _refreshing(contact: Contact) -> bool | None:
    """Whether it was refreshed after it fell silent; None where it is not silent."""
    if contact.reachable is not False or not contact.unreachable_since:
        return None
    refreshed = contact.refreshed
    return refreshed is not None and refreshed > contact.unreachable_since + AGREED


def _restarted(judge: Judge, e: Extension) -> float | None:
    for member in judge.members.values():
        back = member.restart
        if back and back.event is Event.RESTARTED and e.aor in back.missing:
            return back.at
    return None


def behind_nat(contact: str, received: str) -> bool:
    """Whether a contact names another address than the one it came from."""
    hosts = [_host(contact), _host(received)]
    return None not in hosts and hosts[0] != hosts[1]


def _host(where: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not where:
        return None
    text = where if where.lower().startswith(("sip:", "sips:")) else f"sip:{where}"
    try:
        return ipaddress.ip_address(SipUri.parse(text.partition(">")[0]).host)
    except ValueError:
        return None


def _last_told(addresses: Iterable[AddressView]) -> Answer | None:
    told = [one.told for one in addresses if one.told is not None]
    return max(told, key=lambda answer: answer.at or 0.0, default=None)


def _about_a_user(uri: SipUri | None, role: str) -> bool:
    """Whether an answer may be about who is registered; a host's is about the host."""
    return role == "phone" or (uri is not None and uri.user is not None)


def _says_why(answer: Answer) -> bool:
    """Whether there is more in it than its status."""
    known = (answer.q850, answer.retry_after)
    told = answer.text or answer.warning or answer.forwarded
    spoken = any(one.search(answer.words) for one in (DND, HOURS, MAINTENANCE))
    return bool(told) or spoken or known != (None, None)


def _uri(written: str) -> SipUri | None:
    try:
        return SipUri.parse(full_uri(written))
    except ValueError:
        return None
