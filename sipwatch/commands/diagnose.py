"""`sipwatch diagnose`: every rung from the name to the phone, and what it comes to.

What is configured is looked at by the daemon, from where it is and with its secrets,
and its lines come as they are found; a SIP URI, or `--local`, from here by the same
functions.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Around, Outcome, Trial
from checks.observation import plain
from checks.options.targets import full_uri
from checks.settings import duration
from checks.sip.uri import SipUri
from sipwatch import floors
from sipwatch.commands.remote import NoAnswerError, lines
from sipwatch.commands.terminal import WHOLE, columns, wrapped

MISUSED = 3  # UNKNOWN to a monitoring system
MARKS = {True: "✓", False: "✗", None: "·"}
BUSY = 409  # of HTTP: it knows of several, or it is being called
WHAT = 12  # characters of the column that says what was looked at
TOOK = 9  # characters of the column of times
EDGE = 100  # where it ends, however wide the terminal is
EVIDENCE = 6  # lines of it that are shown; `--json` has all

WARNING = "--call rings the phone for a moment: whoever sits there will hear it"

Line = dict[str, Any]  # {"rung": ...} or, last, {"verdict": ...}


def run(*, subject: str, as_json: bool, **options: Any) -> int:
    """Look and print; 0 nothing is wrong, 1 something, 2 nothing there, 3 misuse."""
    if options["call"]:
        print(WARNING, file=sys.stderr)
    try:
        return _print(_lines(subject, options), as_json)
    except (ValueError, OSError, NoAnswerError) as error:
        for line in _said(error).split("\n"):
            print(f"sipwatch diagnose: {line}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("sipwatch diagnose: stopped", file=sys.stderr)
        return MISUSED


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return "\n".join(map(plain, str(error).split("\n")))


def _lines(subject: str, options: dict[str, Any]) -> Iterator[Line]:
    """The lines of a diagnosis, from the daemon or from here."""
    if options.get("pcap"):
        return _of_file(options["pcap"], subject)
    if not subject:
        raise ValueError("say what to look at: an extension, a SIP URI, or --pcap FILE")
    if options["local"]:
        return _here(_configured(subject, options))
    if _is_uri(subject) or options["user"]:
        return _here(_given(subject, options))
    query = urlencode({"subject": subject, "call": str(options["call"]).lower()})
    there = lines(options["socket"], "POST", f"/api/v1/diagnose?{query}")
    return _or_here(there, subject, options)


def _of_file(path: str, subject: str) -> Iterator[Line]:
    """The story of a capture, of all or of one."""
    from alerting.notification.shape import iso
    from sipwatch.capture.reading import lines as told

    return told(path, subject, iso)


def _or_here(
    there: Iterator[Line], subject: str, options: dict[str, Any]
) -> Iterator[Line]:
    """By the daemon; a host, or a user at one, that it does not know from here."""
    try:
        first = next(there)
    except NoAnswerError as error:
        if error.status == BUSY or not _is_host(subject):
            raise
        yield from _here(_given(subject, options))
        return
    yield first
    yield from there


def _is_uri(subject: str) -> bool:
    return subject.lower().startswith(("sip:", "sips:"))


def _is_host(subject: str) -> bool:
    """Whether somebody means a host, or a user at one: these have dots."""
    host = subject.rpartition("@")[2]
    try:
        SipUri.parse(full_uri(subject))
    except ValueError:
        return False
    return "." in host or "[" in host


# --- from here ------------------------------------------------------------------------


def _given(subject: str, options: dict[str, Any]) -> Any:
    """What a URI and options describe; ValueError, OSError."""
    from sipwatch.diagnosis.network import Quest
    from sipwatch.diagnosis.walk import AGENT

    uri = SipUri.parse(full_uri(subject))
    _check_here(options["ca_file"], options["source"])
    account = _account(uri, options) if options["user"] else None
    given = options["from_uri"]
    return Quest(
        uri=uri,
        agent=options["user_agent"] or AGENT,
        account=account,
        register=_register if account else None,
        call=options["call"],
        from_uri=SipUri.parse(given) if given else None,
        timeout=duration(options["timeout"]),
        source=options["source"],
        ca=options["ca_file"],
        who=options["user"] or "",
    )


def _check_here(ca_file: str | None, source: str | None) -> None:
    """What is wrong on this machine is told now, not as the peer's fault; OSError."""
    if ca_file:
        with open(ca_file, "rb"):
            pass
    if source:
        from checks.options.targets import address_family

        with socket.socket(address_family(source), socket.SOCK_DGRAM) as ours:
            try:
                ours.bind((source, 0))
            except OSError as error:
                what = f"cannot send from {source}"
                raise OSError(error.errno, error.strerror, what) from None


def _account(uri: SipUri, options: dict[str, Any]) -> AccountSettings:
    from sipwatch.commands.registering import account_of

    bare = SipUri(uri.host, None, uri.port, uri.params, uri.scheme)
    absent = dict.fromkeys(("aor", "proxy", "bind", "dedicated"))
    return account_of(str(bare), {**absent, **options, "expires": "60s"})


async def _register(settings: AccountSettings) -> Outcome:
    from checks.accounts.contact import OwnContact
    from sipwatch.commands.registering import claim
    from sipwatch.diagnosis.walk import AGENT

    claim(settings)
    own = OwnContact.of(f"by-hand@{os.uname().nodename}", settings.username)
    return await Trial(settings, own, Around(clock=time.time, agent=AGENT)).run()


def _configured(subject: str, options: dict[str, Any]) -> Any:
    """An account or a target of the configuration, looked at from here."""
    from sipwatch.config.load import load
    from sipwatch.diagnosis.walk import quest_of_account, quest_of_target

    unwritten = _is_host(subject) and not os.path.exists(options["config"])
    if _is_uri(subject) or unwritten:
        return _given(subject, options)
    config = load(options["config"])
    for name, account in config.accounts.items():
        if subject in (name, account.identity.aor):
            return quest_of_account(account, _register, call=options["call"])
    if subject in config.targets:
        return quest_of_target(config.targets[subject], call=options["call"])
    if _is_host(subject):
        return _given(subject, options)
    raise ValueError(
        f"{plain(subject)} is no account and no target of {options['config']}; an "
        "extension is known to the daemon alone: leave --local out"
    )


def _here(quest: Any) -> Iterator[Line]:
    """In this process; who stops it has a phone that rings hung up all the same."""
    from alerting.notification.shape import iso
    from sipwatch.diagnosis.network import wrong_name
    from sipwatch.diagnosis.walk import of_uri, stream

    if wrong_name(quest) is None:  # else nobody is asked
        floors.claim(floors.options([str(quest.uri)]))
    found = stream(lambda tell: of_uri(quest, tell), iso)
    with asyncio.Runner() as runner:
        while (line := runner.run(_next(found))) is not None:
            yield json.loads(line)


async def _next(found: AsyncIterator[bytes]) -> bytes | None:
    return await anext(found, None)


# --- to print -------------------------------------------------------------------------


def _print(found: Iterator[Line], as_json: bool) -> int:
    width = columns()
    rungs, verdict = [], None
    for line in found:
        if "rung" in line:
            rungs.append(line["rung"])
            if not as_json:
                print("\n".join(rung_lines(line["rung"], width)), flush=True)
        verdict = line.get("verdict", verdict)
    if verdict is None:
        raise NoAnswerError("the diagnosis was broken off; the daemon's log says why")
    if as_json:
        print(json.dumps({**verdict, "rungs": rungs}, indent=2))
    else:
        print("\n".join(verdict_lines(verdict, width)))
    return int(verdict["status"])


def rung_lines(rung: Line, width: int) -> Iterator[str]:
    """One rung: a mark, what it is, what was found, and how long it took at the end."""
    took = "" if rung["seconds"] is None else _took(rung["seconds"])
    first = f"{MARKS[rung['ok']]} {rung['what']:<{WHAT}} "
    found = list(wrapped(first, plain(rung["text"], 1000), width))
    edge, last = min(width, EDGE), found[-1]
    if took and len(last) + 2 + len(took) <= edge and width != WHOLE:
        found[-1] = f"{last:<{edge - TOOK}}{took:>{TOOK}}"
        if len(last) > edge - TOOK:
            found[-1] = f"{last}{took:>{edge - len(last)}}"
    elif took and len(last) + 2 + len(took) <= width:
        found[-1] = f"{last}  {took}"
    elif took:
        found.append(f"{took:>{edge}}")
    yield from found


def _took(seconds: float) -> str:
    """5 000 ms, 12 ms, 0.4 ms."""
    ms = seconds * 1000
    return f"{ms:,.0f} ms".replace(",", " ") if ms >= 10 else f"{ms:.1f} ms"


def verdict_lines(verdict: Line, width: int) -> Iterator[str]:
    """What it comes to, what to do, and what shows it."""
    yield ""
    yield from wrapped("", f"{_capital(verdict['sentence'])}.", width)
    for number, step in enumerate(verdict["steps"], 1):
        yield from wrapped(f"  {number}. ", f"{_capital(step)}.", width)
    if verdict["evidence"]:
        yield ""
    for fact in verdict["evidence"][:EVIDENCE]:
        when = "" if fact["at"] is None else f"{_clock(fact['at'])} "
        yield from wrapped("  ", f"{when}{plain(fact['text'])}", width)


def _capital(text: str) -> str:
    """A sentence begins with a capital, unless with a name or a number."""
    text = plain(text, 1000)
    if text.partition(" ")[0].rstrip("',").isalpha():
        return text[:1].upper() + text[1:]
    return text


def _clock(at: str) -> str:
    from datetime import datetime

    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
