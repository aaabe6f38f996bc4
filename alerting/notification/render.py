"""Incidents as a human reads them: a subject that tells the story, and one screen.

The order is that of a reader at 3 a.m.: what happened, since when, why, where it was
last seen, whether its neighbours are well, what to do. Everything that came from the
network passes through `plain`.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from alerting.incident import Batch, Crowd, Incident, Notification, Told
from alerting.notification.causes import LOSSES, reason
from alerting.notification.explained import (
    STEPS,
    Explained,
    unexplained,
    with_evidence,
)
from alerting.notification.headline import (
    NAME_LIMIT,
    SUBJECT_LIMIT,
    Tale,
    Times,
    both,
    common_site,
    ended,
    headline,
    name_of,
    registrar_of,
    sentence,
    tale,
)
from alerting.notification.html import page
from alerting.notification.wording import host_of, span
from checks.observation import Fact, Kind, Subject, plain

# Their names begin with a noun ("trunk twilio"), not with a name that has its own case.
_COMMON_NOUNS = (Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT, Kind.SELF)
# Who judged these has said the reason whole.
_EXPLAINED = (Kind.EXTENSION, Kind.REGISTRATION)

# What `last_seen` is called, where it is nobody's who could be seen.
_WHERE = {Kind.REGISTRATION: "account", Kind.ACCOUNT: "registrar"}

# By what those have in common who were lost together.
_CROWD_STEPS = {
    "": "look first at what they share: the uplink, a switch, a VPN, a change",
    "subnet": "look at the uplink, the switch and the VPN of {where}, in that subnet",
    "site": "look at the uplink, the switch and the VPN of that site",
    "agent": "look at what has changed on these phones: firmware, provisioning",
    "transport": "look at how phones reach the PBX over it: port, certificate, "
    "firewall, a proxy in between",
}

NUMBERED = 5  # incident ids in the footer
LISTED = 20  # incidents named in one notification; more is a list nobody reads
ONE_LINE = 160  # characters of evidence that still read as one line


@dataclass(slots=True)
class Story:
    """A notification before it is text or HTML."""

    lead: str
    rows: list[tuple[str, list[str]]] = field(default_factory=list)  # label, lines
    listing: list[str] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)
    color: str = "info"  # a severity, or "resolved"

    def row(self, label: str, *lines: str) -> None:
        """Add what is known; what is not takes no line."""
        if any(lines):
            self.rows.append((label, list(lines)))


def nothing_around(subject: Subject) -> str:
    """The answer where nobody knows the neighbours."""
    return ""


def nothing_kept(incident: Incident) -> str:
    """The answer where no exchange of an incident is kept."""
    return ""


def not_counted(subject: Subject) -> int | None:
    """The answer where nobody counts the extensions."""
    return None


def render(
    batch: Batch,
    *,
    instance: str,
    zone: ZoneInfo,
    around: Callable[[Subject], str] = nothing_around,
    extensions: Callable[[Subject], int | None] = not_counted,
    explained: Callable[[Incident], Explained | None] = unexplained,
    exchange: Callable[[Incident], str] = nothing_kept,
    external_url: str | None = None,
    runbooks: Mapping[str, str] | None = None,
    acknowledge: str = "",
    now: float,
    skew: float = 0.0,
) -> Notification:
    """A batch as subject, text and HTML, in the words of its rules.

    `around` says in a line how a subject's neighbours are, `extensions` how many a
    registrar or site should have, `explained` why one incident is, where somebody
    knows more than it says, `exchange` which messages of it are kept, `runbooks` maps
    rules to URLs, `acknowledge` is the URL by which the reader takes it; `skew` is how
    far the wall clock is ahead of our times, once it was set.
    """
    told = tale(batch, Times(zone, now, skew), instance, extensions)
    more = explained(told.first) if told.single and not told.over else None
    story = _one(told, more) if told.single else _several(told)
    if told.words:
        story.row("around it", plain(around(told.first.subject)))
    if not told.over:
        steps = more.steps[:STEPS] if more else ()
        story.row("next step", *(steps or (next_step(told),)))
    if told.words:
        story.row("runbook", (runbooks or {}).get(told.first.rule, ""))
    story.row("take it", acknowledge)
    if told.single:
        shown = with_evidence(told.first.evidence, more.evidence if more else ())
        story.row("evidence", *_evidence(shown, told.times))
        story.row("packets", plain(exchange(told.first)))
    story.footer = _footer(told, external_url)
    subject = headline(told)
    return Notification(
        id=batch.id,
        thread=batch.thread,
        instance=instance,
        change=batch.change,
        incidents=told.incidents,
        subject=subject,
        text=text(story),
        html=page(subject, story),
        labels=_labels(told),
        page=external_url or "",
        acknowledge=acknowledge,
        runbooks=runbooks or {},
        skew=skew,
    )


def text(story: Story) -> str:
    """The plain part: labels aligned, one line for each thing."""
    lines = [story.lead, ""]
    for label, values in story.rows:
        lines += [
            f"  {label if i == 0 else '':<11} {value}" for i, value in enumerate(values)
        ]
    if story.listing:
        lines += ["", *(f"  {line}" for line in story.listing)]
    return "\n".join([*lines, "", " · ".join(story.footer)]) + "\n"


def _one(told: Tale, more: Explained | None = None) -> Story:
    incident, times = told.first, told.times
    story = Story(_lead(told), color=_color(told))
    if told.over:
        story.row("lasted", _lasted(told))
    else:
        since = f"{times.full(incident.since)} {times.zone.key}"
        story.row("since", f"{since} ({times.ago(incident.since)})")
    if incident.crowd is not None:
        _crowd(told, story, incident.crowd)
        return story
    story.row("why", more.why if more else why(incident))
    where = _WHERE.get(incident.subject.kind, "last seen")
    story.row(where, plain(incident.last_seen))
    story.row("taken by", plain(incident.acknowledged_by, NAME_LIMIT))
    return story


def _crowd(told: Tale, story: Story, crowd: Crowd) -> None:
    """Who was lost together: what they share, who they are."""
    story.row("in common", plain(crowd.common))
    if crowd.told_before:
        theirs = "is told" if crowd.told_before == 1 else "are told"
        story.row("known", f"{crowd.told_before} of them {theirs} already, one by one")
    story.row("taken by", plain(told.first.acknowledged_by, NAME_LIMIT))
    if told.over and crowd.listed:
        still = "is still missing" if crowd.missing == 1 else "are still missing"
        story.row("left", f"{crowd.missing} {still}: told one by one if that lasts")
    for fact in crowd.listed:
        name, comma, rest = plain(fact.text).partition(", ")
        since = "" if fact.at is None else f" since {told.times.full(fact.at)}"
        story.listing.append(f"{name}{since}{comma}{rest}")
    if crowd.missing > len(crowd.listed):
        story.listing.append(f"and {crowd.missing - len(crowd.listed)} more")


def _several(told: Tale) -> Story:
    times = told.times
    story = Story(_lead(told), color=_color(told))
    if told.over:
        story.row("lasted", _lasted(told))
    else:
        latest = max(incident.since for incident in told.incidents)
        first, last = times.full(told.since), times.full(latest)
        began = first if first == last else f"{first} to {last}"
        story.row("since", f"{began} {times.zone.key} ({times.ago(told.since)})")
    reasons = Counter(_short(incident) for incident in told.incidents)
    reasons.pop("", None)
    story.row("why", ", ".join(f"{why} ({n})" for why, n in reasons.most_common(4)))
    story.row("in common", in_common(told.incidents))
    if told.folded:
        story.row("as one", "its route has told as much within the hour as it may")
    story.listing = [_listed(told, incident) for incident in told.incidents[:LISTED]]
    if len(told.incidents) > LISTED:
        story.listing.append(f"and {len(told.incidents) - LISTED} more")
    return story


def _lead(told: Tale) -> str:
    whole = sentence(told, long=True)
    if told.first.subject.kind in _COMMON_NOUNS and not whole.startswith("sipwatch"):
        whole = whole[0].upper() + whole[1:]
    if told.late:
        return f"{whole}. This could not be told while it lasted."
    if told.over or told.words is None:
        return f"{whole}."
    alone = told.single and told.first.crowd is None
    verbs = {"it": "it" if alone else "them"}
    causes = {incident.cause for incident in told.incidents}
    means = {told.words.means.get(cause) for cause in causes if cause}
    follows = means.pop() if len(means) == 1 else None
    return f"{whole}: {(follows or told.words.follows).format(**verbs)}."


def _color(told: Tale) -> str:
    return "resolved" if told.over else str(told.severity)


def _lasted(told: Tale) -> str:
    times = told.times
    began, until = times.full(told.since), times.full(told.until)
    longest = "" if told.single else "the longest "
    return f"{began} to {until} {times.zone.key} ({longest}{span(told.lasted)})"


def why(incident: Incident) -> str:
    """The reason as a sentence: how it was lost or what failed, and the detail."""
    detail = plain(incident.detail)
    if incident.subject.kind in (*_EXPLAINED, Kind.ACCOUNT) and detail:
        return detail
    words = ""
    if incident.loss:
        words = LOSSES[incident.loss].words
    elif incident.cause:
        words = reason(incident.cause).words
    return both(words, detail, "; ")


def _short(incident: Incident) -> str:
    if incident.loss:
        return LOSSES[incident.loss].short
    return reason(incident.cause).short if incident.cause else ""


def next_step(told: Tale) -> str:
    """What to do first."""
    first = told.first
    if not told.single:
        return _shared_step(told)
    step = told.words.step if told.words else ""
    if first.crowd is not None:
        where = plain(first.subject.name, NAME_LIMIT)
        return _CROWD_STEPS[first.crowd.factor].format(where=where)
    if first.next_step:
        return plain(first.next_step)
    if first.loss:
        step = LOSSES[first.loss].step
    elif first.cause and first.subject.kind not in _EXPLAINED:
        step = reason(first.cause).step
    elif told.words:
        step = told.words.steps.get(first.state, step)
    host = host_of(first.last_seen)
    return step.replace("{at}", f" at {host}" if host else "")


def _shared_step(told: Tale) -> str:
    shared = in_common(told.incidents) or "a switch, an uplink, a VPN, a change"
    return f"look first at what they share: {shared}"


def in_common(incidents: Sequence[Incident]) -> str:
    """What all have in common: their site, their network."""
    found = []
    if site := common_site(incidents):
        found.append(f"site {site}")
    if network := _common_network([host_of(i.last_seen) for i in incidents]):
        found.append(f"network {network}")
    return ", ".join(found)


def _common_network(hosts: Sequence[str]) -> str:
    """The IPv4 /24 or IPv6 /64 in which all of them were last seen."""
    first, *others = set(hosts)
    try:
        one = ipaddress.ip_address(first.strip("[]"))
        prefix = 24 if one.version == 4 else 64
        network = ipaddress.ip_network(f"{one}/{prefix}", strict=False)
        # Ends at the first stranger: a mass event may have thousands of hosts.
        same = all(ipaddress.ip_address(h.strip("[]")) in network for h in others)
    except ValueError:
        return ""
    return str(network) if same else ""


def _listed(told: Tale, incident: Incident) -> str:
    """One of several: its name, when, why, where."""
    parts = [f"{name_of(incident.subject)} since {told.times.full(incident.since)}"]
    if told.over:
        lasted = span(ended(incident) - incident.since)
        parts = [f"{name_of(incident.subject)} after {lasted}"]
    if told.words is None:
        parts.append(plain(incident.rule, NAME_LIMIT))
    parts += [
        plain(incident.closed, NAME_LIMIT),
        _short(incident),
        plain(incident.last_seen),
    ]
    return ", ".join(part for part in parts if part)


def _evidence(facts: Sequence[Fact], times: Times) -> list[str]:
    """Joined by dots while it reads as one line, else a line for each."""
    lines = []
    for fact in facts:
        when = "" if fact.at is None else f"{times.full(fact.at)} "
        lines.append(when + plain(fact.text))
    joined = " · ".join(lines)
    return [joined] if len(joined) <= ONE_LINE else lines


def _footer(told: Tale, external_url: str | None) -> list[str]:
    ids = [str(incident.id) for incident in told.incidents[:NUMBERED]]
    more = len(told.incidents) - NUMBERED
    numbers = f"incident{'' if told.single else 's'} {', '.join(ids)}"
    if more > 0:
        numbers += f" and {more} more"
    taken = told.over or told.first.acknowledged_by
    take = f"sipwatch ack {told.first.id}" if told.single and not taken else ""
    look = f"sipwatch explain {told.first.id}" if told.single else "sipwatch status"
    parts = (numbers, take, look, external_url or "")
    return [part for part in parts if part]


def _labels(told: Tale) -> dict[str, str]:
    """What programs sort by: headers of a mail, fields of a webhook."""
    rules = {incident.rule for incident in told.incidents}
    registrars = {registrar_of(incident.subject) for incident in told.incidents}
    labels = {"severity": str(told.severity)}
    if len(rules) == 1:
        labels["rule"] = plain(told.first.rule, NAME_LIMIT)
    if len(registrars) == 1 and (registrar := registrars.pop()):
        labels["registrar"] = registrar
    return labels


def bare(
    batch: Batch,
    instance: str,
    *,
    external_url: str | None = None,
    runbooks: Mapping[str, str] | None = None,
    skew: float = 0.0,
) -> Notification:
    """The least that can be said: where `render` has failed, or nobody reads it."""
    incidents = tuple(delivery.incident for delivery in batch.deliveries)
    lines = [
        f"{batch.change} {plain(i.rule)} {plain(i.subject.key)}"
        for i in incidents[:LISTED]
    ]
    body = "\n".join(lines) + f"\n\n{len(incidents)} in all · sipwatch status\n"
    return Notification(
        id=batch.id,
        thread=batch.thread,
        instance=instance,
        change=batch.change,
        incidents=incidents,
        subject=plain(
            f"[{max(i.severity for i in incidents)}] {lines[0]}", SUBJECT_LIMIT
        ),
        text=body,
        html=page("sipwatch", Story(lines[0], listing=lines)),
        page=external_url or "",
        runbooks=runbooks or {},
        skew=skew,
    )


def trial(
    *, instance: str, notifier: str, zone: ZoneInfo, now: float, ways: str = ""
) -> Notification:
    """What `sipwatch test-notify` sends: no incident, only that the way is open."""
    times = Times(zone, now)
    id = f"test-{secrets.token_hex(8)}"
    host = plain(instance, NAME_LIMIT)
    subject = f"[test] sipwatch on {host} can reach you"
    story = Story(
        f"sipwatch on {host} can reach you: this is what an alarm will look like.",
        footer=["sent by sipwatch test-notify"],
    )
    story.row("sent", f"{times.full(now)} {zone.key}")
    story.row("notifier", plain(notifier, NAME_LIMIT))
    if ways:
        story.row("told by", plain(ways))
    story.row("next step", "none; nothing is wrong")
    return Notification(
        id=id,
        thread=id,
        instance=instance,
        change=Told.NOTHING,
        incidents=(),
        subject=subject,
        text=text(story),
        html=page(subject, story),
        labels={"severity": "info", "rule": "test"},
    )
