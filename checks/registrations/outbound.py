"""The judge of what a PBX registers elsewhere: its trunks' registrations.

Pure. What it holds to:

- A registration under way (every refresh is) keeps the state that it had, for as long
  as an attempt may take.
- Where the PBX's own word may be late (`Outbound.trusted` is False), OPTIONS of ours to
  the server join the verdict. A server that answered and does not any more overrules
  "registered", unless the PBX has been answered since. "Rejected" is a refusal where
  the server answers OPTIONS, and silence where it does not.
- It is kept when any member keeps it; of an active and a standby, when the active one
  does. A member that cannot be read may keep what it kept.
- Only the complete list of a PBX ends the watch over a registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from checks.observation import (
    Cause,
    Fact,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
    plain,
)
from checks.registrations.cluster import Cluster
from checks.registrations.ledger import Removed
from checks.registrations.member import Member
from checks.registrations.memory import Remembered, of_servers
from checks.registrations.readings import Ask, Outbound, Outbounds, RegistrarSettings
from checks.registrations.renewals import Renewals
from checks.registrations.servers import Server
from checks.registrations.words import Finding, Word, judged
from checks.sip.uri import SipUri

EMPTY_LISTS = 2  # in a row until "none" is believed: a PBX that still loads says so too
SILENT_LISTS = 3  # full lists without a word of registrations: this PBX keeps none
KEPT = 2_000  # registrations of one registrar: 10 ms of the loop at each list
ASKED = 1_000  # servers that are asked for one registrar, each once a minute
ASK = "server/"  # what the names of our asks begin with
NAME_LIMIT = 128  # characters of a name, which is a label and a key
GONE = "the PBX no longer has it"


@dataclass(slots=True, eq=False)
class Registration:
    """One registration of the PBX, as it is judged."""

    subject: Subject
    state: State | None = None  # None: not known yet
    since: float = 0.0
    cause: Cause | None = None
    detail: str = ""
    words: dict[str, Word] = field(default_factory=dict)  # by member
    told: tuple[object, ...] = ()
    renewals: Renewals = field(default_factory=Renewals)

    @property
    def name(self) -> str:
        """As the PBX names it."""
        return self.subject.name

    @property
    def server(self) -> str:
        """The URI of the server at which it is registered."""
        return next((w.row.server for w in self.words.values()), "")

    @property
    def client(self) -> str:
        """The AOR that is registered there."""
        return next((w.row.client for w in self.words.values()), "")


class Outgoing:
    """All registrations that the members of one registrar keep at others."""

    def __init__(
        self,
        settings: RegistrarSettings,
        cluster: Cluster,
        answered: Iterable[str] | None = None,
    ) -> None:
        """`answered` are the servers that did before a restart; None: nobody knows."""
        self.registrations: dict[str, Registration] = {}
        self.removed: list[Removed] = []
        self.left_out = 0  # rows of the last list that are more than are watched
        self._cluster = cluster
        self._asks = settings.probe_servers
        self._standby = settings.mode == "active_standby"
        labels = {**cluster.subject.scope.labels, "registrar": cluster.name}
        self._scope = Scope(cluster.name, labels=labels, parent=cluster.subject)
        self._servers: dict[str, Server] = {}
        self._knows = answered is not None
        self._answered = set(islice(answered or (), ASKED))  # ever, of those in use
        self._unsaved = False
        self._changes: dict[str, Ask | None] = {}  # of what is asked, by its name
        self._listed: set[str] = set()  # members that have told their list
        self._empty: dict[str, int] = {}  # by member: lists without any, in a row
        self._unjudged: set[str] = set()  # members whose list came before they are well

    # --- memory ---------------------------------------------------------------------

    def restore(
        self, name: str, state: State, since: float, cause: Cause | None = None
    ) -> Subject:
        """Put a registration into its stored state, until the PBX tells of it."""
        registration = self._admit(name)
        registration.state, registration.since = state, since
        registration.cause = cause
        return registration.subject

    def _admit(self, name: str) -> Registration:
        subject = Subject(Kind.REGISTRATION, name, self._scope)
        made = self.registrations[name] = Registration(subject)
        return made

    def take(self) -> list[Remembered]:
        """What has to be stored since the last call: who can be held to an answer."""
        changed, self._unsaved = self._unsaved, False
        return [of_servers(sorted(self._answered))] if changed else []

    # --- what comes -----------------------------------------------------------------

    def take_event(self, m: Member, row: Outbound, now: float) -> list[Observation]:
        """One registration changed."""
        name = self._take(m, row, now, listed=False)
        return self._settle([name], now) if name and m.readable else []

    def take_list(self, m: Member, reading: Outbounds, now: float) -> list[Observation]:
        """The complete list of a member; judged now, or when the member is readable."""
        if not reading.told:
            self._empty[m.name] = 0  # it is not as if it kept none
            return []
        empty = 0 if reading.rows else self._empty.get(m.name, 0) + 1
        self._empty[m.name] = empty
        if empty and empty < EMPTY_LISTS and self.registrations:
            return []
        self._listed.add(m.name)
        names = {self._take(m, row, now, listed=True) for row in reading.rows}
        self.left_out = len(reading.rows) - len(names - {None})
        for registration in list(self.registrations.values()):
            if registration.name not in names:
                registration.words.pop(m.name, None)
                self._remove_unless_kept(registration)
        self._find_servers()
        if not m.readable:
            self._unjudged.add(m.name)
            return []
        return self._settle(self.registrations, now)

    def list_ended(self, m: Member, now: float) -> list[Observation]:
        """A member was read in full: what it told of registrations counts now."""
        if m.name not in self._listed:
            silent = self._empty.get(m.name, 0) + 1
            self._empty[m.name] = silent
            return (
                self.take_list(m, Outbounds([]), now) if silent >= SILENT_LISTS else []
            )
        if m.name not in self._unjudged:
            return []
        self._unjudged.discard(m.name)
        return self._settle(self.registrations, now)

    def heard(
        self, ask: str, ok: bool | None, cause: Cause | None, at: float, now: float
    ) -> list[Observation]:
        """How OPTIONS to a server ended that `asks` named; None: nobody knows."""
        server = self._servers.get(ask.removeprefix(ASK))
        if server is None or ok is None:
            return []
        server.heard(ok, cause, min(at, now))
        if server.answered and server.uri not in self._answered:
            self._answered.add(server.uri)
            self._unsaved = True
        return self._settle(sorted(server.used_by), now)

    @property
    def wants_asked(self) -> bool:
        """Whether `asks` has changes to tell."""
        return bool(self._changes)

    def asks(self) -> dict[str, Ask | None]:
        """The servers that OPTIONS of ours should go to, by the names of the asks: what
        has changed since the last call; None: not any more."""
        changes, self._changes = self._changes, {}
        return changes

    def _take(
        self, m: Member, row: Outbound, now: float, *, listed: bool
    ) -> str | None:
        name = plain(row.name, NAME_LIMIT)
        registration = self.registrations.get(name)
        if registration is None:
            if not name or len(self.registrations) >= KEPT:
                return None
            registration = self._admit(name)
        row.at = min(row.at, now)
        row.detail = plain(row.detail)
        row.server, row.client = plain(row.server), plain(row.client)
        word = registration.words.get(m.name)
        if word is None:
            word = Word(Outbound(name, None, row.at, trusted=row.trusted), row.at)
            registration.words[m.name] = word
        word.take(row, listed=listed)
        if row.state is State.OK and row.expires is not None:
            registration.renewals.take(row.expires, row.at)
        return name

    def _remove_unless_kept(self, registration: Registration) -> None:
        """By no member that can be asked, and by none that has not told yet."""
        if registration.words or any(m.name not in self._listed for m in self._cluster):
            return
        del self.registrations[registration.name]
        if registration.state is not None:
            self.removed.append(Removed(registration.subject, GONE))

    # --- servers --------------------------------------------------------------------

    def _find_servers(self) -> None:
        """Which servers are to be asked, and for whom; what is known of them stays."""
        used: dict[str, set[str]] = {}
        for registration in self.registrations.values() if self._asks else ():
            for word in registration.words.values():
                if uri := _asked(word):
                    used.setdefault(uri, set()).add(registration.name)
        old, self._servers = self._servers, {}
        for uri, names in used.items():
            if len(self._servers) >= ASKED or not (uri in old or _is_uri(uri)):
                continue
            if uri not in old:
                self._changes[ASK + uri] = Ask(ASK + uri, uri)
            server = self._servers[uri] = old.get(uri) or Server(uri)
            server.used_by = names
            server.answered |= uri in self._answered
            for name in names:
                found = self.registrations[name]
                if found.state is State.FAILING and found.cause and not found.told:
                    answered = server.answered or not self._knows
                    server.resume(found.since, found.cause, answered=answered)
        unused = self._answered - self._servers.keys()
        if unused and all(m.name in self._listed for m in self._cluster):
            self._answered -= unused
            self._unsaved = True
        gone = [uri for uri in old if uri not in self._servers]
        self._changes.update({ASK + uri: None for uri in gone})

    # --- the verdict ----------------------------------------------------------------

    def _settle(self, names: Iterable[str], now: float) -> list[Observation]:
        told = []
        for name in list(names):
            registration = self.registrations[name]
            finding = self._judge(registration, now)
            if finding is not None and self._moves(registration, finding, now):
                told.append(self._observed(registration, now))
        return told

    def _judge(self, registration: Registration, now: float) -> Finding | None:
        """What it is now; None: it cannot be told, so it is what it was."""
        known, blind = [], []
        for m, word in self._counting(registration):
            if m.readable:
                server = self._servers.get(_asked(word))
                known.append(judged(word, server, registration.state, now))
            else:
                blind.append(word)
        findings = [f for f in known if f is not None]
        for finding in findings:
            if finding.state is State.OK:
                return finding
        if len(findings) < len(known) or any(w.row.state is State.OK for w in blind):
            return None
        return min(findings, key=lambda f: (f.cause is None, f.since), default=None)

    def _counting(self, registration: Registration) -> Iterator[tuple[Member, Word]]:
        """The members whose word counts."""
        active = self._cluster.active
        if self._standby and active and (word := registration.words.get(active.name)):
            yield active, word
            return
        for m in self._cluster:
            if word := registration.words.get(m.name):
                yield m, word

    def _moves(self, r: Registration, f: Finding, now: float) -> bool:
        """Take over a finding; whether it is news."""
        if r.state is None:
            r.since = f.since
        elif (r.state is State.OK) is not (f.state is State.OK):
            later = f.state is not State.OK or f.since > r.since
            r.since = max(f.since, r.since) if later else now
        r.state, r.cause, r.detail = f.state, f.cause, plain(f.detail)
        as_told = (r.state, r.since, r.cause, r.detail)
        if as_told == r.told:
            return False
        r.told = as_told
        return True

    def _observed(self, r: Registration, now: float) -> Observation:
        assert r.state is not None  # noqa: S101  # a finding has one
        account = f"{r.client} at {r.server}" if r.client and r.server else r.server
        return Observation(
            r.subject,
            r.state,
            r.since,
            now,
            cause=r.cause,
            detail=r.detail,
            last_seen=plain(account),
            evidence=tuple(self._evidence(r)),
        )

    def _evidence(self, r: Registration) -> Iterator[Fact]:
        """At most four lines: the words of one member, and what OPTIONS told."""
        if r.state is State.OK or not r.words:
            return
        word = next(word for _, word in self._counting(r))
        facts = []
        if word.ok_at is not None:
            facts.append(Fact(word.ok_at, "the PBX said that it is registered"))
        if word.row.state not in (None, State.OK):
            facts.append(Fact(word.row.at, f"the PBX said {word.row.state}"))
        if word.trying is not None:
            facts.append(Fact(word.trying, "an attempt began"))
        server = self._servers.get(_asked(word))
        if server and server.failures:
            times = f"{server.failures} in a row"
            what = f"OPTIONS to {server.uri} fails, {times}"
            facts.append(Fact(server.failing_since, plain(what)))
        yield from sorted(facts, key=lambda fact: fact.at or 0.0)


def _asked(word: Word) -> str:
    """The URI that OPTIONS go to; "" where they would say nothing."""
    return word.row.proxy or word.row.server if word.late else ""


def _is_uri(text: str) -> bool:
    """Whether OPTIONS can go there; it is as the PBX gives it."""
    try:
        SipUri.parse(text)
    except ValueError:
        return False
    return True
