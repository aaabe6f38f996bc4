"""A diagnosis from its first rung to the verdict, and its lines as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from checks.accounts.settings import AccountSettings
from checks.observation import Kind, Subject, plain
from checks.options.targets import TargetSettings, floor_of, full_uri
from checks.sip.resolver import Resolver
from checks.sip.uri import SipUri
from sipwatch import __version__
from sipwatch.accounts import Accounts
from sipwatch.diagnosis.network import Network, Quest, Register
from sipwatch.diagnosis.pbx import Outward, Pbx
from sipwatch.diagnosis.phone import Daemon, Phone
from sipwatch.diagnosis.rung import (
    Iso,
    Rung,
    Tell,
    Verdict,
    climbed,
    rung_json,
    verdict_json,
)
from sipwatch.diagnosis.verdict import of_network
from sipwatch.subjects import BusyError, named

AGENT = f"sipwatch/{__version__}"
KINDS = (
    "an extension, a target, an account, a registrar, a registration of its own or a "
    "SIP URI"
)

Walk = Callable[[Tell], Awaitable[Verdict]]


class Asked(Daemon, Protocol):
    """The daemon."""

    @property
    def accounts(self) -> Accounts:
        """Who is tested, with his secrets."""

    @property
    def resolver(self) -> Resolver:
        """As it is configured."""


def walk_of(daemon: Asked, name: str, *, call: bool) -> Walk:
    """How something configured is looked at; LookupError where it is not, BusyError
    where it is to be called, and is being called."""
    subject = _subject(daemon, name)
    walk = _walk(daemon, subject, call=call)
    if not call:
        return walk
    if subject in _calling:
        raise BusyError(
            f"{plain(subject.name)} is being called by another diagnosis: a phone is"
            " called by one at a time, so try again in a minute"
        )
    return lambda tell: _alone(subject, walk, tell)


_calling: dict[Subject, asyncio.Event] = {}  # who is called now, and its end


async def _alone(subject: Subject, walk: Walk, tell: Tell) -> Verdict:
    while (other := _calling.get(subject)) is not None:  # asked in the same moment
        await other.wait()
    ended = _calling[subject] = asyncio.Event()
    try:
        return await walk(tell)
    finally:
        del _calling[subject]
        ended.set()


def _subject(daemon: Asked, name: str) -> Subject:
    for account, one in daemon.accounts.items():
        if name in (account, one.settings.identity.aor):
            return one.subject
    subject = named(daemon, name)
    if subject is None:
        raise LookupError(f"nothing is watched as {plain(name) or 'an empty name'}")
    return subject


def _walk(daemon: Asked, subject: Subject, *, call: bool) -> Walk:
    if subject.kind is Kind.ACCOUNT:
        account = subject.scope.name
        return lambda tell: of_uri(_of_account(daemon, account, call), tell)
    if subject.kind is Kind.EXTENSION:
        phone = Phone(daemon, subject, AGENT, call)
        return lambda tell: _of_whole(phone, tell)
    if subject.kind is Kind.TARGET:
        return lambda tell: of_uri(_of_target(daemon, subject, call), tell)
    if subject.kind is Kind.REGISTRATION:
        outward = Outward(daemon, subject, lambda uri: _of_server(daemon, uri))
        return lambda tell: _of_whole(outward, tell)
    if subject.kind is Kind.REGISTRAR:
        pbx = _pbx(daemon, subject)
        return lambda tell: _of_whole(pbx, tell)
    raise LookupError(f"{plain(subject.key)} cannot be diagnosed: name {KINDS}")


async def of_uri(quest: Quest, tell: Tell) -> Verdict:
    """Look at a URI; OSError for a bad file of certificates."""
    network = Network(quest)
    try:
        await climbed(network.rungs(), tell)
        return of_network(network)
    finally:
        network.close()


async def _of_whole(one: Phone | Pbx | Outward, tell: Tell) -> Verdict:
    try:
        await climbed(one.rungs(), tell)
        return one.verdict()
    finally:
        one.close()


# --- quests ---------------------------------------------------------------------------


def quest_of_account(
    settings: AccountSettings, register: Register, **more: Any
) -> Quest:
    """What is to be found out of an account."""
    return Quest(
        uri=settings.next_hop,
        agent=settings.user_agent or AGENT,
        account=settings,
        register=register,
        who=settings.username,
        source=settings.source,
        ca=settings.ca,
        **more,
    )


def quest_of_target(settings: TargetSettings, **more: Any) -> Quest:
    """What is to be found out of a target."""
    return Quest(
        uri=SipUri.parse(full_uri(settings.uri)),
        agent=settings.user_agent or AGENT,
        timeout=settings.timeout,
        source=settings.source or None,
        ca=settings.tls.ca or None,
        healthy_codes=settings.healthy_codes,
        **more,
    )


def _of_account(daemon: Asked, name: str, call: bool) -> Quest:
    async def register(settings: AccountSettings) -> Any:
        return await daemon.accounts.ask(name, settings.registrar)

    settings = daemon.accounts[name].settings
    return quest_of_account(
        settings,
        register,
        call=call,
        resolver=daemon.resolver,
        twilio=daemon.config.twilio,
        claim=daemon.options.claim,
    )


def _of_target(daemon: Asked, subject: Subject, call: bool) -> Quest:
    settings = daemon.config.targets.get(subject.name)
    if settings is not None and subject.scope.name == subject.name:
        return quest_of_target(
            settings,
            call=call,
            resolver=daemon.resolver,
            twilio=daemon.config.twilio,
            floor=floor_of(settings.uri, settings.min_interval),
            claim=daemon.options.claim,
        )
    uri = daemon.options.targets[subject.key].uri  # a line of a file
    return Quest(
        uri=SipUri.parse(full_uri(uri)),
        agent=AGENT,
        call=call,
        resolver=daemon.resolver,
        claim=daemon.options.claim,
    )


def _pbx(daemon: Asked, subject: Subject) -> Pbx:
    judge = daemon.judges[subject.scope.name]
    view = daemon.findings.pbx(judge.name)
    quest = None if view is None else _of_target(daemon, view.subject, call=False)
    return Pbx(daemon, judge, quest)


def _of_server(daemon: Asked, uri: SipUri) -> Quest:
    return Quest(
        uri=uri, agent=AGENT, resolver=daemon.resolver, claim=daemon.options.claim
    )


# --- lines ----------------------------------------------------------------------------

_running: set[asyncio.Task[Any]] = set()  # an asyncio task is kept by who began it


async def stream(walk: Walk, iso: Iso) -> AsyncIterator[bytes]:
    """The rungs as they come and the verdict, one JSON text a line.

    Who stops listening stops the diagnosis: a phone that was called is hung up first.
    """
    rungs: asyncio.Queue[Rung | None] = asyncio.Queue()

    async def run() -> Verdict:
        try:
            return await walk(rungs.put_nowait)
        finally:
            rungs.put_nowait(None)

    task = asyncio.create_task(run())
    _running.add(task)
    task.add_done_callback(_running.discard)
    try:
        while (rung := await rungs.get()) is not None:
            yield json.dumps({"rung": rung_json(rung)}).encode() + b"\n"
        verdict = verdict_json(await task, iso)
        yield json.dumps({"verdict": verdict}).encode() + b"\n"
    finally:
        task.cancel()
