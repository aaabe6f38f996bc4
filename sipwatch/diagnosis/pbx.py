"""A PBX looked at from the daemon: whether it is read, and what it registers elsewhere.

What the PBX says comes first, then the way to the server in question, from here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from alerting.notification.causes import reason
from alerting.notification.headline import name_of
from alerting.notification.wording import span, wording
from checks.accounts import twilio
from checks.observation import Cause, State, Subject, plain
from checks.registrations.judge import Judge
from checks.registrations.member import Member
from checks.registrations.outbound import Registration
from checks.sip.uri import SipUri
from sipwatch.diagnosis.network import Network, Quest
from sipwatch.diagnosis.rung import Rung, Verdict
from sipwatch.diagnosis.verdict import Problem, problems_of, sentence
from sipwatch.sources import Sources, readable

RULE = "OutboundRegistrationLost"
MEMBERS = 8  # of a cluster that have a line of their own
COUNTED = 4  # states of extensions: there are no more

Asks = Callable[[SipUri], Quest]
Rungs = list[Coroutine[Any, Any, Rung | None]]


class Pbx:
    """One registrar: each of its members, who is there, and OPTIONS if it is a target.

    `quest` asks the target that it is; None: no target is.
    """

    def __init__(self, daemon: Sources, judge: Judge, quest: Quest | None) -> None:
        self._daemon, self._judge = daemon, judge
        self._network = None if quest is None else Network(quest)

    def close(self) -> None:
        """Close every socket."""
        if self._network is not None:
            self._network.close()

    def rungs(self) -> Rungs:
        """All that are to be looked at, in the order in which they are told."""
        members = [*self._judge.members.values()][:MEMBERS]
        found: Rungs = [self._member(member) for member in members]
        found.append(self._extensions())
        return found + (self._network.rungs() if self._network else [])

    async def _member(self, member: Member) -> Rung:
        name, kind = plain(member.name, 60), self._judge.settings.type
        if member.readable:
            ago = ""
            if member.read_at is not None:
                ago = f", {span(self._daemon.clock.now() - member.read_at)} ago"
            return Rung("registrar", True, f"{name} ({kind}) is read{ago}")
        if member.readable is None:
            return Rung("registrar", None, f"{name} ({kind}) has not been read yet")
        why = plain(member.detail) or "cannot be read"
        return Rung("registrar", False, f"{name} ({kind}): {why}")

    async def _extensions(self) -> Rung | None:
        counts: dict[State, int] = {}
        for extension in self._judge.extensions.values():
            if extension.state is not None:
                counts[extension.state] = counts.get(extension.state, 0) + 1
        words = [f"{n} {str(s).replace('_', ' ')}" for s, n in counts.items()]
        known = "" if readable(self._judge, self._daemon.alarms) else " (as last read)"
        text = ", ".join(sorted(words, key=_by_count)[:COUNTED]) + known
        return Rung("extensions", None, text) if words else None

    def verdict(self) -> Verdict:
        """What all that comes to."""
        judge = self._judge
        problems = list(_unread(judge, self._daemon))
        problems += problems_of(self._network) if self._network else []
        well = f"nothing is wrong: {plain(judge.name)} is read"
        if self._network is not None and self._network.answer is not None:
            well += f", and answers OPTIONS with {self._network.answer.status}"
        reached = judge.state is State.READABLE or _answers(self._network)
        return _verdict(judge.subject, problems, well, reached)


class Outward:
    """One registration that a PBX keeps at another server."""

    def __init__(self, daemon: Sources, subject: Subject, asks: Asks) -> None:
        """`asks` says how a server is asked; LookupError for what is none."""
        judge = daemon.judges.get(subject.scope.name)
        found = judge.outgoing.registrations.get(subject.name) if judge else None
        if judge is None or found is None:
            raise LookupError(f"{plain(subject.key)} is not watched any more")
        self._daemon, self._judge, self._registration = daemon, judge, found
        self._network = _to_server(found, asks)

    def close(self) -> None:
        """Close every socket."""
        if self._network is not None:
            self._network.close()

    def rungs(self) -> Rungs:
        """All that are to be looked at, in the order in which they are told."""
        found: Rungs = [self._registrar(), self._word()]
        return found + (self._network.rungs() if self._network else [])

    async def _registrar(self) -> Rung:
        judge = self._judge
        unread = next(_unread(judge, self._daemon), None)
        if unread is not None:
            return Rung("registrar", False, unread.clause)
        text = f"{plain(judge.name)} ({judge.settings.type}) is read"
        return Rung("registrar", True, text)

    async def _word(self) -> Rung:
        """What the PBX says of it, as it is judged."""
        r = self._registration
        where = " at ".join(plain(part) for part in (r.client, r.server) if part)
        if r.state is None:
            return Rung("PBX view", None, f"{where or 'it'}: nothing is known yet")
        lasted = span(max(0.0, self._daemon.clock.now() - r.since))
        parts = [f"{r.state} for {lasted}", where, plain(r.detail)]
        text = ", ".join(part for part in parts if part)
        if not readable(self._judge, self._daemon.alarms):
            return Rung("PBX view", None, f"{text} (as last read)")
        return Rung("PBX view", r.state is State.OK, text)

    def verdict(self) -> Verdict:
        """What all that comes to."""
        r, name = self._registration, name_of(self._registration.subject)
        problems = list(_unread(self._judge, self._daemon))
        if not problems and r.state not in (None, State.OK):
            problems.append(_lost(r, name))
        problems += problems_of(self._network) if self._network else []
        known = "stands" if r.state is State.OK else "has not been told of yet"
        well = f"nothing is wrong: {name} {known}"
        reached = r.state in (State.OK, State.REJECTED) or _answers(self._network)
        return _verdict(r.subject, problems, well, reached)


def _to_server(r: Registration, asks: Asks) -> Network | None:
    """The way to where it is sent; None where that is no URI."""
    word = next(iter(r.words.values()), None)
    if word is None:
        return None
    try:
        uri = SipUri.parse(word.row.proxy or word.row.server)
    except ValueError:
        return None
    network = Network(asks(replace(uri, user=None)))
    network.wrong_name = twilio.check(uri.host)  # who registers needs no trunk's name
    return network


def _unread(judge: Judge, daemon: Sources) -> Iterator[Problem]:
    """Why a registrar cannot be read, as far as that makes its word doubtful."""
    name = plain(judge.name)
    for member in judge.members.values():
        if member.readable is False:
            why = plain(member.detail) or "it does not say why"
            of = "" if len(judge.members) == 1 else f" ({plain(member.name, 60)})"
            step = reason(member.cause or Cause.UNKNOWN).step
            yield Problem(f"{name}{of} cannot be read: {why}", (step,), member.cause)
            return
    if not readable(judge, daemon.alarms):
        step = "wait for its first reading, or see what else is down on the way there"
        yield Problem(f"{name} cannot be read now", (step,))


def _lost(r: Registration, name: str) -> Problem:
    refused = r.state is State.REJECTED
    clause = f"{name} is {'refused' if refused else 'lost'}"
    detail = plain(r.detail)
    words = wording(RULE, r.subject.kind, r.state or State.FAILING)
    step = words.steps.get(r.state or State.FAILING, words.step)
    return Problem(f"{clause}{': ' if detail else ''}{detail}", (step,), r.cause)


def _answers(network: Network | None) -> bool:
    return network is not None and network.answer is not None


def _verdict(
    subject: Subject, problems: list[Problem], well: str, reached: bool
) -> Verdict:
    if not problems:
        return Verdict(subject=subject.key, ok=True, reached=True, sentence=well)
    steps = [step for problem in problems for step in problem.steps]
    return Verdict(
        subject=subject.key,
        ok=False,
        reached=reached,
        sentence=sentence([problem.clause for problem in problems]),
        cause=next((p.cause for p in problems if p.cause is not None), None),
        steps=tuple(dict.fromkeys(one for step in steps for one in step.split("; "))),
    )


def _by_count(words: str) -> int:
    return -int(words.partition(" ")[0])
