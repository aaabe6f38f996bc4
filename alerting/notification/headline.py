"""The subject line: who, what, since when, why, where, in at most 150 characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from alerting.incident import EVENT_OVER, Batch, Incident, Severity, Told
from alerting.notification.causes import reason
from alerting.notification.wording import (
    NOUNS,
    PLURAL,
    ROLES,
    SHOWN_ROLES,
    SINGULAR,
    Wording,
    borrowed,
    span,
    wording,
)
from checks.observation import Kind, Subject, plain

SUBJECT_LIMIT = 150  # characters; phones show about 80 of them, archives keep all
NAME_LIMIT = 64  # of one name; an AOR may be longer, a title anything
MANY = 5  # from here on it matters how many there are in all
BECAUSE_LIMIT = 70  # what still leaves room for name and time

_OURS = (Kind.SELF, Kind.VANTAGE)  # what is a matter of this host

# Not strftime's, which follow the locale of the daemon.
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


@dataclass(frozen=True, slots=True)
class Times:
    """The reader's clock: what a moment is called in their zone, today."""

    zone: ZoneInfo
    now: float
    skew: float = 0.0  # s that the reader's clock is ahead of ours

    def short(self, at: float) -> str:
        """A moment in a subject: "10:02", with its date when that is not today."""
        return self._dated(at) + self._local(at).strftime("%H:%M")

    def full(self, at: float) -> str:
        """A moment in a body: "10:02:14", with its date when that is not today."""
        return self._dated(at) + self._local(at).strftime("%H:%M:%S")

    def ago(self, at: float) -> str:
        """How long it has been: "2 min ago"."""
        return f"{span(self.now - at)} ago"

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at + self.skew, self.zone)

    def _dated(self, at: float) -> str:
        day, today = self._local(at).date(), self._local(self.now).date()
        if day == today:
            return ""
        return _day(day) + (f" {day.year} " if day.year != today.year else " ")


class Utc(Times):
    """The clock of who reads somewhere: its zone is said with every moment."""

    def full(self, at: float) -> str:
        """A moment in a body: "09:02:14 UTC"."""
        return f"{super().full(at)} UTC"


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS.split()[day.month - 1]}"


def name_of(subject: Subject, *, place: bool = True) -> str:
    """What humans call it: "1001 Reception (Lyon)", "trunk twilio", "hq"."""
    words = [plain(subject.name, NAME_LIMIT), plain(subject.title, NAME_LIMIT)]
    if subject.kind is Kind.TARGET:
        role = subject.scope.role
        words.insert(0, SHOWN_ROLES.get(role) or plain(role, NAME_LIMIT))
    elif subject.kind in (Kind.REGISTRATION, Kind.ACCOUNT):
        words.insert(0, str(subject.kind))
    elif subject.kind is Kind.TWILIO:
        # 204@acme.sip.twilio.com, 32202/204@acme.sip.twilio.com, 32010/, account
        code, slash, who = words[0].partition("/")
        whole = (slash and not who) or words[0] == "account"
        words[0] = "the account" if whole else who or code
    elif subject.kind is Kind.SELF:
        words[0] = words[0].replace("/", " ", 1)
    site = plain(subject.scope.labels.get("site", ""), NAME_LIMIT)
    if place and site and site not in (registrar_of(subject), subject.name):
        words.append(f"({site})")
    return " ".join(word for word in words if word)


def registrar_of(subject: Subject) -> str:
    """The registrar through which a subject is seen; empty if it is by none."""
    name = subject.scope.labels.get("registrar", "")
    if not name and subject.kind is Kind.EXTENSION:
        name = subject.scope.name
    return plain(name, NAME_LIMIT)


def names_of(incidents: Sequence[Incident], total: int | None) -> str:
    """The subjects of several incidents in words: "3 extensions of Lyon"."""
    subjects = [incident.subject for incident in incidents]
    kinds = {subject.kind for subject in subjects}
    roles = {subject.scope.role for subject in subjects}
    noun = NOUNS.get(subjects[0].kind, "subjects") if len(kinds) == 1 else "subjects"
    if kinds == {Kind.TARGET} and len(roles) == 1:
        noun = ROLES.get(subjects[0].scope.role, noun)
    if site := common_site(incidents):
        return f"{len(subjects)} {noun} of {site}"
    several = f" of {total}" if total and len(subjects) >= MANY else ""
    return f"{len(subjects)}{several} {noun}"


def crowds_of(
    incidents: Sequence[Incident], *, over: bool, closed: bool = False
) -> str:
    """Those of mass events in words: "31 of 40 extensions of Lyon"; "" of others.

    Of one that is `closed` nobody is said to be back, or not.
    """
    crowds = [incident.crowd for incident in incidents if incident.crowd]
    if len(crowds) < len(incidents):
        return ""
    lost = sum(crowd.lost if over else crowd.missing for crowd in crowds)
    missing = sum(crowd.missing for crowd in crowds)
    where = plain(incidents[0].subject.name, NAME_LIMIT)
    if len(crowds) > 1:
        where = f"{len(crowds)} {NOUNS.get(incidents[0].subject.kind, 'places')}"
    if not over:
        return f"{lost} of {sum(c.of for c in crowds)} extensions of {where}"
    back = f"{lost - missing} of {lost}" if missing else f"all {lost}"
    if missing == lost:
        back = str(lost) if closed else f"none of {lost}"
    return f"{back} lost extensions of {where}"


def common_site(incidents: Sequence[Incident]) -> str:
    """The site that all share, where that says more than the registrar does."""
    sites = {i.subject.scope.labels.get("site", "") for i in incidents}
    if len(sites) != 1:
        return ""
    site = plain(sites.pop(), NAME_LIMIT)
    return "" if site == registrar_of(incidents[0].subject) else site


def closed(story: Tale) -> str:
    """Why it is over though nothing recovered; empty where all did."""
    reasons = {incident.closed for incident in story.incidents}
    reason = "" if len(reasons) > 1 else reasons.pop()
    return "" if story.late or reason == EVENT_OVER else plain(reason, NAME_LIMIT)


def ended(incident: Incident) -> float:
    """When the trouble ended; when we closed it, where nobody knows better."""
    return incident.ended_at or incident.resolved_at or incident.since


@dataclass(frozen=True, slots=True)
class Tale:
    """What is put into words: incidents of one change, their forms, the reader."""

    incidents: tuple[Incident, ...]  # worst first, then oldest
    change: Told
    late: bool  # over before it could be told
    repeat: bool  # told before, and still so
    folded: bool  # more than was allowed within an hour, told as one
    words: Wording | None  # None: several rules at once
    own: str  # an own rule that borrows the words of a built-in one
    total: int | None  # how many extensions there are, where that is known
    times: Times
    instance: str

    @property
    def first(self) -> Incident:
        """The one that stands for all where they are alike."""
        return self.incidents[0]

    @property
    def single(self) -> bool:
        """Whether it is about one incident alone."""
        return len(self.incidents) == 1

    @property
    def over(self) -> bool:
        """Whether the trouble has ended."""
        return self.late or self.change is Told.RESOLVED

    @property
    def severity(self) -> Severity:
        """The worst of all."""
        return max(incident.severity for incident in self.incidents)

    @property
    def since(self) -> float:
        """The first of all."""
        return min(incident.since for incident in self.incidents)

    @property
    def until(self) -> float:
        """When the last of all ended."""
        return max(ended(incident) for incident in self.incidents)

    @property
    def lasted(self) -> float:
        """The longest of all, in s."""
        return max(ended(incident) - incident.since for incident in self.incidents)


def tale(
    batch: Batch, times: Times, instance: str, count: Callable[[Subject], int | None]
) -> Tale:
    """The incidents of a batch in the order and with the words to tell them in."""
    incidents = tuple(
        sorted(
            (delivery.incident for delivery in batch.deliveries),
            key=lambda i: (-i.severity, i.since, i.id),
        )
    )
    first = incidents[0]
    alike = len({(i.rule, i.subject.kind) for i in incidents}) == 1
    alike = alike and not batch.folded
    words = wording(first.rule, first.subject.kind, first.state) if alike else None
    return Tale(
        incidents=incidents,
        change=batch.change,
        late=batch.late,
        repeat=all(delivery.step > 0 for delivery in batch.deliveries),
        folded=batch.folded,
        words=words,
        own=first.rule if alike and borrowed(first.rule, words) else "",
        total=_total(incidents, count),
        times=times,
        instance=instance,
    )


def alone(incident: Incident, instance: str) -> Tale:
    """One incident as it is now, to be told by itself and where no clock is at hand."""
    words = wording(incident.rule, incident.subject.kind, incident.state)
    return Tale(
        incidents=(incident,),
        change=Told.FIRING if incident.firing else Told.RESOLVED,
        late=False,
        repeat=False,
        folded=False,
        words=words,
        own=incident.rule if borrowed(incident.rule, words) else "",
        total=None,
        times=Utc(ZoneInfo("UTC"), incident.since),
        instance=instance,
    )


def brief(story: Tale) -> str:
    """The headline without tag and time: "1001 Reception is unregistered - hq"."""
    line = f"{_own(story)}{sentence(story, long=True)}{_because(story)}{_where(story)}"
    return plain(line, SUBJECT_LIMIT)


def _total(
    incidents: Sequence[Incident], count: Callable[[Subject], int | None]
) -> int | None:
    """How many there are of what is told: of a registrar's extensions, nothing else."""
    first = incidents[0].subject
    if first.kind is Kind.REGISTRAR:
        # Of a member nobody knows: some of its phones may live at another.
        return count(first) if len(incidents) == 1 and not member(first) else None
    parents = {i.subject.parent for i in incidents}
    parent = parents.pop()
    if len(incidents) == 1 or parents or parent is None:
        return None
    return count(parent) if first.kind is Kind.EXTENSION else None


def _through(incident: Incident) -> str:
    """The one registrar through which a crowd is seen, where it is not the place."""
    crowd = incident.crowd
    if crowd is None or incident.subject.kind is not Kind.SITE:
        return ""
    return plain(crowd.through[0], NAME_LIMIT) if len(crowd.through) == 1 else ""


def member(subject: Subject) -> bool:
    """Whether it is one of the members of a registrar."""
    return subject.kind is Kind.REGISTRAR and subject.scope.role == "member"


def headline(story: Tale) -> str:
    """The whole subject line; it alone tells the story."""
    line = f"[{_tag(story)}] {_own(story)}{sentence(story)}"
    where = _where(story)
    tail = _unknown(story) + where
    tails = (_because(story) + tail, _because(story, brief=True) + tail, where)
    for tail in tails:  # what may go first where it is too long
        if len(line + tail) <= SUBJECT_LIMIT:
            return plain(line + tail)
    return plain(line + where, SUBJECT_LIMIT)


def _tag(story: Tale) -> str:
    if not story.over:
        return str(story.severity)
    return "closed" if closed(story) else "resolved"


def _own(story: Tale) -> str:
    return f"{plain(story.own, NAME_LIMIT)}: " if story.own else ""


def sentence(story: Tale, *, long: bool = False) -> str:
    """What happened; `long` as a whole sentence of a body, else as in a subject."""
    names = name_of(story.first.subject, place=not long)
    if not story.single:
        names = names_of(story.incidents, None if story.over else story.total)
    why = closed(story) if story.over else ""
    names = crowds_of(story.incidents, over=story.over, closed=bool(why)) or names
    if why:
        return f"{names}: {why}"
    if story.words is None:
        return _mixed(story)
    form = _form(story, story.words)
    said = form.format(rule=plain(story.first.rule), name=names, **_fields(story, long))
    left = sum(i.crowd.missing for i in story.incidents if i.crowd and story.over)
    return f"{said}, {left} still missing" if left else said


def _form(story: Tale, words: Wording) -> str:
    if story.late:
        return words.late
    if story.change is Told.RESOLVED:
        return words.resolved
    return _special(story, words) or words.firing


def _special(story: Tale, words: Wording) -> str | None:
    """The form that says the state or cause, where all have the same."""
    forms = {
        words.forms.get(i.state) or words.forms.get(i.cause or i.state)
        for i in story.incidents
    }
    return forms.pop() if len(forms) == 1 else None


def _fields(story: Tale, long: bool) -> dict[str, str]:
    verbs = SINGULAR if story.single and not story.first.crowd else PLURAL
    adverb = _adverb(story)
    moment = story.times.full if long else story.times.short
    began, until = moment(story.since), moment(story.until)
    since = f", in trouble since {began}" if adverb == "now " else f" since {began}"
    lasted = span(story.lasted)
    return {
        **verbs,
        "is_": f"{verbs['is']} " if long else "",
        "adverb": adverb,
        "since": "" if long else since,  # a body has a line for it
        "at_time": f" at {began}",
        "after": f" after {lasted}" if story.single else f" after up to {lasted}",
        "span": f" from {began} to {until} ({lasted})",
    }


def _adverb(story: Tale) -> str:
    if story.change is Told.WORSE and story.words:
        return story.words.worse
    return "still " if story.repeat and not story.over else ""


def _mixed(story: Tale) -> str:
    """Several rules at once: how many of each."""
    rules = Counter(plain(i.rule, NAME_LIMIT) for i in story.incidents)
    what = ", ".join(f"{rule} {count}" for rule, count in rules.most_common(4))
    fields = _fields(story, long=False)
    many = f"{'and ' if story.folded else ''}{len(story.incidents)}"
    many += " more problems" if story.folded else " problems"
    if story.late:
        return f"{many} came and went{fields['span']}: {what}"
    if story.over:
        return f"{many} over{fields['after']}: {what}"
    return f"{many}{fields['since']}: {what}"


def _because(story: Tale, *, brief: bool = False) -> str:
    """The cause in brackets: "(timeout, 4 sends to 54.172.60.0)", brief "(timeout)"."""
    if story.over or story.words is None or not story.words.because:
        return ""
    said = _special(story, story.words) is not None
    causes = {because(i, said=said, brief=brief) for i in story.incidents}
    why = causes.pop()
    return f" ({why})" if why and not causes else ""


def because(incident: Incident, *, said: bool = False, brief: bool = False) -> str:
    """Why in a few words: the cause's unless said, the detail's where they are few."""
    detail = re.split(r"[;—]|\. ", plain(incident.detail))[0].strip().rstrip(".")
    if brief or len(detail) > BECAUSE_LIMIT:
        detail = ""
    short = reason(incident.cause).short if incident.cause and not said else ""
    return both(short, detail, ", ")


def both(words: str, detail: str, joint: str) -> str:
    """Two texts as one; the second alone where it already says the first."""
    if words.casefold() in detail.casefold():
        return detail
    return f"{words}{joint}{detail}" if detail else words


def _unknown(story: Tale) -> str:
    """Blind is not down: said where it could be misread."""
    blind = story.first.rule == "RegistrarUnreadable" and not story.over
    if not (blind and story.single and story.total):
        return ""
    if story.total == 1:
        return "; its 1 extension is unknown, not down"
    return f"; its {story.total} extensions are unknown, not down"


def _where(story: Tale) -> str:
    """The registrar of extensions, or this host where it is about ourselves."""
    if all(incident.subject.kind in _OURS for incident in story.incidents):
        return f" - {plain(story.instance, NAME_LIMIT)}"
    registrars = {_through(i) or registrar_of(i.subject) for i in story.incidents}
    where = registrars.pop()
    first = story.first.subject
    is_it = first.kind is Kind.REGISTRAR and not member(first)
    return f" - {where}" if where and not registrars and not is_it else ""
