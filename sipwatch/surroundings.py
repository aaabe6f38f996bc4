"""How a subject's neighbours are, in one line: is it alone, or is it everything?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from alerting.notification.causes import reason
from alerting.notification.headline import NAME_LIMIT
from alerting.notification.wording import ROLES
from checks.observation import Kind, State, Subject, plain
from checks.options.rows import UNKNOWN, UP
from checks.options.views import TargetView
from checks.registrations.extension import HERE, Extension
from checks.registrations.judge import Judge
from sipwatch import outbound
from sipwatch.sources import Sources, readable

COMPARED = 5_000  # targets above which those of one role are not told apart: 3 ms

Counted = tuple[int, int]  # well, of all


class Surroundings:
    """Looks around in what the daemon watches; a look walks over all of a kind."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def around(self, subject: Subject) -> str:
        """Lyon: 39 of 40 registered; hq: 211 of 212; the PBX answers in 0.4 ms."""
        look = _LOOKS.get(subject.kind)
        return "; ".join(look(self, subject)) if look else ""

    def extensions(self, subject: Subject) -> int | None:
        """How many extensions a registrar or a site should have; None for others."""
        if subject.kind is Kind.REGISTRAR:
            judge = self._sources.judges.get(subject.scope.name)
            return None if judge is None else _count(judge.extensions.values())[1]
        if subject.kind is Kind.SITE:
            several = self._sources.judges.values()
            return sum(_count(_of_site(judge, subject.name))[1] for judge in several)
        return None

    # One for each kind.

    def _around_extension(self, subject: Subject) -> Iterator[str]:
        judge = self._sources.judges.get(subject.scope.name)
        if judge is None:
            return
        name = plain(judge.name, NAME_LIMIT)
        if not readable(judge, self._sources.alarms):
            yield f"{name} cannot be read now"
            return
        found = judge.extensions.get(subject.name)
        well: tuple[State, ...] = HERE
        said = " registered"
        if found is not None and found.state is State.UNREACHABLE:
            well, said = (State.REGISTERED,), " reachable"
        total = _count(judge.extensions.values(), well)
        site = subject.scope.labels.get("site", "")
        if site and (near := _count(_of_site(judge, site), well)) != total:
            yield f"{plain(site, NAME_LIMIT)}: {_of(near)}{said}"
            said = ""
        yield f"{name}: {_of(total)}{said}"
        yield from self._pbx(judge.name)

    def _around_registrar(self, subject: Subject) -> Iterator[str]:
        judge = self._sources.judges.get(subject.scope.name)
        if judge is None:
            return
        for member in judge.members.values():
            other = member.subject not in (subject, judge.subject)
            if other and member.readable is not None:
                can = "can be read" if member.readable else "cannot be read"
                yield f"{plain(member.name, NAME_LIMIT)} {can}"
        yield from self._pbx(judge.name)
        others = [j for j in self._sources.judges.values() if j is not judge]
        if others:
            well = sum(j.state is State.READABLE for j in others)
            yield f"other registrars: {_of((well, len(others)))} readable"

    def _around_site(self, subject: Subject) -> Iterator[str]:
        """The rest of the registrars that serve it: is it the site alone?"""
        for judge in self._sources.judges.values():
            several = judge.extensions.values()
            rest = [e for e in several if _site(e) != subject.name]
            if len(rest) < len(several):
                name = plain(judge.name, NAME_LIMIT)
                if not readable(judge, self._sources.alarms):
                    yield f"{name} cannot be read now"
                elif (others := _count(rest))[1]:
                    yield f"the rest of {name}: {_of(others)} registered"
                yield from self._pbx(judge.name)

    def _around_registration(self, subject: Subject) -> Iterator[str]:
        yield from outbound.around(subject, self._sources)
        yield from self._pbx(subject.scope.name)

    def _around_target(self, subject: Subject) -> Iterator[str]:
        role = subject.scope.role
        others = self._others(subject)
        judge = self._sources.options.judge
        if others[1] < COMPARED and role in ROLES:
            alike = _up(
                judge.state[index]
                for index, s in enumerate(judge.subjects)
                if s is not None and s is not subject and s.scope.role == role
            )
            if alike[1] and alike != others:
                yield f"other {ROLES[role]}: {_of(alike)} up"
        if others[1]:
            yield f"other targets: {_of(others)} up"

    def _around_account(self, subject: Subject) -> Iterator[str]:
        states = [
            account.state
            for account in self._sources.accounts.values()
            if account.subject is not subject and account.state is not None
        ]
        if states:
            yield f"other accounts: {_of((states.count(State.OK), len(states)))} ok"

    def _others(self, subject: Subject) -> Counted:
        """How many other targets are up; by the array, since there may be many."""
        states = self._sources.options.judge.state
        view = self._sources.options.targets.get(subject.key)
        own = None if view is None else view.state
        up, known = states.count(UP), len(states) - states.count(UNKNOWN)
        return up - (own is State.UP), known - (own is not None)

    def _pbx(self, registrar: str) -> Iterator[str]:
        """What OPTIONS says of the PBX that is this registrar, if it is a target."""
        for target, followings in self._sources.peers.items():
            if any(following.judge.name == registrar for following in followings):
                view = self._sources.options.targets.get(f"target:{target}")
                if view is not None and view.state is not None:
                    yield _answers(view)
                    return


_LOOKS: dict[Kind, Callable[[Surroundings, Subject], Iterator[str]]] = {
    Kind.EXTENSION: Surroundings._around_extension,
    Kind.REGISTRATION: Surroundings._around_registration,
    Kind.REGISTRAR: Surroundings._around_registrar,
    Kind.SITE: Surroundings._around_site,
    Kind.TARGET: Surroundings._around_target,
    Kind.ACCOUNT: Surroundings._around_account,
}


def _answers(view: TargetView) -> str:
    short = f" ({reason(view.cause).short})" if view.cause else ""
    if view.state is State.DOWN:
        return f"the PBX does not answer OPTIONS{short}"
    rtt = view.figures.rtt
    took = "" if rtt is None else f" in {rtt * 1000:.1f} ms"
    return f"the PBX answers OPTIONS{took}{short}"


def _up(states: Iterable[int]) -> Counted:
    found = list(states)
    return found.count(UP), len(found) - found.count(UNKNOWN)


def _of(counted: Counted) -> str:
    return f"{counted[0]} of {counted[1]}"


def _of_site(judge: Judge, site: str) -> Iterator[Extension]:
    several = judge.extensions.values()
    return (e for e in several if _site(e) == site)


def _site(extension: Extension) -> str:
    return extension.subject.scope.labels.get("site", "")


def _count(extensions: Iterable[Extension], well: tuple[State, ...] = HERE) -> Counted:
    """Who is well, of those who should be there: who never was is not missed."""
    states = [
        e.state
        for e in extensions
        if e.state not in (None, State.NEVER_REGISTERED) and not e.dormant
    ]
    return sum(state in well for state in states), len(states)
