"""An exchange of our own as evidence: where nobody listens on the wire, or nothing was
seen there, what we ask ourselves shows who answers, and what."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from checks.observation import Kind, Subject
from checks.options.probe import probe_once
from checks.options.views import TargetView
from checks.registrations.extension import Contact, Extension
from checks.sip.resolver import Address, Resolver
from checks.sip.trace import Exchanged
from checks.sip.uri import SipUri
from sipwatch import __version__
from sipwatch.diagnosis.phone import address_of
from sipwatch.sources import Sources

ADDRESSES = 8  # of a target
CONTACTS = 3  # of an extension that are asked
TIMEOUT = 5.0  # s for a phone to answer
PATIENCE = 30.0  # s more for a whole question
_OF_PROBE = ("timeout", "from_", "user_agent", "source", "tls", "healthy_codes")


class Daemon(Sources, Protocol):
    """What is needed of it."""

    @property
    def resolver(self) -> Resolver:
        """Where names lead."""


async def exchange(daemon: Daemon, subject: Subject) -> tuple[Exchanged, ...]:
    """The last test of an account; else one more question, every message of it."""
    if subject.kind is Kind.ACCOUNT:
        account = daemon.accounts.get(subject.scope.name)
        outcome = account.outcome if account is not None else None
        return outcome.exchange if outcome is not None else ()
    if subject.kind is Kind.TARGET:
        return await _of_target(daemon, subject)
    if subject.kind is Kind.EXTENSION:
        return await _of_phone(daemon, subject)
    return ()


async def _of_target(daemon: Daemon, subject: Subject) -> tuple[Exchanged, ...]:
    settings = daemon.config.targets.get(subject.name)
    view = daemon.options.targets.get(subject.key)
    if settings is None or view is None:
        return ()
    await asyncio.sleep(daemon.options.claim(addresses(view)))
    options = {key: getattr(settings, key) for key in _OF_PROBE}
    return await _asked(daemon, [settings.uri], **options)


async def _of_phone(daemon: Daemon, subject: Subject) -> tuple[Exchanged, ...]:
    """Its contacts are asked; of who has none any more, where it was last."""
    judge = daemon.judges.get(subject.scope.name)
    extension = judge.extensions.get(subject.name) if judge else None
    if judge is None or extension is None:
        return ()
    by_uri = judge.settings.type == "asterisk"
    places = list(dict.fromkeys(_places(extension, by_uri)))[:CONTACTS]
    return await _asked(daemon, map(str, places), timeout=TIMEOUT) if places else ()


def _places(extension: Extension, by_uri: bool) -> Iterator[SipUri]:
    user = extension.aor.partition("@")[0]
    for contact in extension.contacts:
        if (place := address_of(contact, by_uri)) is not None:
            yield _uri(contact, user, place)
    lost = extension.lost
    if not extension.contacts and lost is not None:
        where, _, over = lost.last_seen.partition(" over ")
        if over.partition(", ")[0] == "UDP" and (found := _place(where)):
            yield SipUri(found.ip, user, found.port)


def _uri(contact: Contact, user: str, place: Address) -> SipUri:
    """As its Contact calls it, there where it can be asked."""
    with suppress(ValueError):
        user = SipUri.parse(contact.uri).user or user
    return SipUri(place.ip, user, place.port)


def _place(where: str) -> Address | None:
    host, _, port = where.rpartition(":")
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
        return Address(ip, int(port), "udp")
    except ValueError:
        return None


async def _asked(
    daemon: Daemon, uris: Iterable[str], **options: Any
) -> tuple[Exchanged, ...]:
    try:
        async with asyncio.timeout(options["timeout"] + PATIENCE):
            results = await probe_once(
                uris,
                agent=f"sipwatch/{__version__}",
                resolver=daemon.resolver,
                exchange=True,
                **options,
            )
    except (OSError, ValueError):
        return ()
    messages = [message for result in results for message in result.exchange]
    return tuple(sorted(messages, key=lambda message: message.at))


def addresses(view: TargetView) -> tuple[str, ...]:
    """The IP addresses of a target."""
    return tuple(dict.fromkeys(_ips(one.address for one in view.addresses)))[:ADDRESSES]


def _ips(places: Iterable[str]) -> Iterator[str]:
    """The addresses of `54.172.60.0:5060 over UDP`."""
    for place in places:
        host = place.partition(" ")[0].rpartition(":")[0].strip("[]")
        try:
            yield str(ipaddress.ip_address(host))
        except ValueError:
            continue
