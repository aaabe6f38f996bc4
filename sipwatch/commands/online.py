"""`sipwatch check-config --online`: whether what is configured is so at Twilio."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from checks.accounts.twilio import is_twilio
from checks.twilio.account import Rung, look, without_edge
from checks.twilio.settings import TwilioSettings
from sipwatch.config.settings import Config

MARKS = {True: "✓", False: "✗", None: "·"}


@dataclass(frozen=True, slots=True)
class Looked:
    """One domain, and one user of it, as they are at Twilio."""

    domain: str
    username: str
    rungs: list[Rung]


def asked(config: Config) -> list[tuple[str, str]]:
    """The domains, each with a user, that the configuration speaks of."""
    found: dict[tuple[str, str], None] = {}
    for account in config.accounts.values():
        if is_twilio(account.uri.host):
            user = account.auth_username or account.username
            found[without_edge(account.uri.host), user] = None
    named = [*(config.twilio.domains if config.twilio else ())]
    named += [config.twiml.domain] if config.twiml else []
    for domain in map(without_edge, named):
        if all(domain != known for known, _ in found):
            found[domain, ""] = None
    return list(found)


def run(config: Config, *, as_json: bool = False) -> int:
    """Look at each, and print it; 0 where all is well, 1 where it is not, 3 where
    there is nothing to look at."""
    if config.twilio is None:
        why = "`twilio:` with account_sid and auth_token is missing"
        print(f"nothing is looked at: {why}", file=sys.stderr)
        return 3
    wanted = asked(config)
    if not wanted:
        why = "no account at Twilio, and no twilio.domains"
        print(f"nothing is looked at: {why}", file=sys.stderr)
        return 3
    several = asyncio.run(_all(config.twilio, wanted))
    if as_json:
        print(json.dumps([_json(one) for one in several], indent=2))
    else:
        print("\n".join(line for one in several for line in _lines(one)))
    wrong = any(rung.ok is False for one in several for rung in one.rungs)
    return 1 if wrong else 0


async def _all(settings: TwilioSettings, wanted: list[tuple[str, str]]) -> list[Looked]:
    return [
        Looked(domain, user, await look(settings, domain, user, settings.address))
        for domain, user in wanted
    ]


def _lines(one: Looked) -> Iterator[str]:
    yield f"{one.username}@{one.domain}" if one.username else one.domain
    for rung in one.rungs:
        yield f"{MARKS[rung.ok]} {rung.name:<13} {rung.said}"
        if rung.step and rung.ok is not True:
            yield f"  {'':<13} {rung.step}"


def _json(one: Looked) -> dict[str, object]:
    rungs = [dict(rung._asdict()) for rung in one.rungs]
    return {"domain": one.domain, "username": one.username, "rungs": rungs}
