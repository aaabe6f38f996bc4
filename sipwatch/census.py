"""Who is still there of a registrar or a site: where, what, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from alerting.alarms.common import Factors, agent_of, subnet_of
from checks.observation import Kind, Subject
from checks.registrations.extension import Extension, place, transport
from checks.registrations.judge import Judge
from sipwatch.sources import Sources

MOST = 5_000  # extensions that are looked at: 10 ms; of more, every so many

Looked = Iterator[Extension]


def census(sources: Sources, group: Subject) -> Iterator[Factors]:
    """The factors of those of a registrar or site that are registered."""
    several = [
        judge
        for judge in sources.judges.values()
        if group.kind is Kind.SITE or judge.subject is group
    ]
    total = sum(len(judge.extensions) for judge in several)
    step = max(1, -(-total // MOST))
    for judge in several:
        yield from _of(judge, group, step)


def _of(judge: Judge, group: Subject, step: int) -> Iterator[Factors]:
    for extension in islice(judge.extensions.values(), 0, None, step):
        site = extension.subject.scope.labels.get("site", "")
        if group.kind is Kind.SITE and site != group.name:
            continue
        if extension.contacts:
            contact = extension.contacts[-1]
            host = place(contact)[0]
            agent = agent_of(contact.user_agent)
            yield Factors(subnet_of(host), site, agent, transport(contact))
