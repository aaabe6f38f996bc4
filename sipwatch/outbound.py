"""What is shown of registrations that PBXs keep elsewhere: status, mails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from alerting.notification.causes import reason
from alerting.notification.headline import NAME_LIMIT
from alerting.notification.wording import SHOWN_ROLES
from checks.observation import State, Subject, plain
from checks.options.targets import full_uri
from checks.registrations.judge import Judge
from checks.registrations.outbound import Registration
from checks.sip.uri import SipUri
from sipwatch.sources import Sources, readable

LISTED = 100  # of one registrar in the status; a count beside tells of all
UNKNOWN = "unknown"  # not told yet, or not to be seen now


def shown(
    judge: Judge, sources: Sources, iso: Callable[[float], str]
) -> list[dict[str, Any]]:
    """The registrations of one registrar, those that are lost first."""
    seen = readable(judge, sources.alarms)
    several = judge.outgoing.registrations.values()
    first = sorted(several, key=lambda r: (r.state is State.OK, r.name))
    return [_shown(r, iso, seen=seen) for r in first[:LISTED]]


def _shown(
    r: Registration, iso: Callable[[float], str], *, seen: bool
) -> dict[str, Any]:
    known = seen and r.state is not None
    return {
        "name": r.name,
        "state": r.state if known else UNKNOWN,
        "cause": r.cause if known else None,
        "since": iso(r.since) if known else None,
        "detail": r.detail if known else "",
        "server": r.server,
    }


def counted(judge: Judge) -> str:
    """How many are in each state: "2 ok, 1 rejected"; empty where there are none."""
    outgoing = judge.outgoing
    counts = Counter(r.state or UNKNOWN for r in outgoing.registrations.values())
    said = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    left = outgoing.left_out
    return f"{said}; {left} more are not watched" if left else said


def around(subject: Subject, sources: Sources) -> Iterator[str]:
    """The targets that are its server, and how its neighbours are."""
    judge = sources.judges.get(subject.scope.name)
    found = judge.outgoing.registrations.get(subject.name) if judge else None
    if judge is None or found is None:
        return
    yield from _its_targets(found, sources)
    others = [r for r in judge.outgoing.registrations.values() if r is not found]
    if others:
        well = sum(r.state is State.OK for r in others)
        name = plain(judge.name, NAME_LIMIT)
        yield f"other registrations of {name}: {well} of {len(others)} ok"


def _its_targets(r: Registration, sources: Sources) -> Iterator[str]:
    """Configured targets on the host of its server."""
    host = _host(r.server)
    for name, settings in sources.config.targets.items():
        view = sources.options.targets.get(f"target:{name}")
        if not host or view is None or view.state is None:
            continue
        if _host(full_uri(settings.uri)) == host:
            why = f" ({reason(view.cause).short})" if view.cause else ""
            role = SHOWN_ROLES.get(settings.role) or plain(settings.role, NAME_LIMIT)
            yield f"its {role} {plain(name, NAME_LIMIT)} is {view.state}{why}"


def _host(uri: str) -> str:
    try:
        return SipUri.parse(uri).host.lower()
    except ValueError:  # as the PBX gives it
        return ""
