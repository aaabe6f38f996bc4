"""`sipwatch register` and `sipwatch bindings`: a REGISTER by hand, and what is held.

A configured account is tested in the daemon, from where it is and with its secrets,
and its lines come as they happen; a SIP URI, or `--local`, is tested here by the same
function. What came from the network passes through `plain`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

from checks.accounts.contact import OwnContact
from checks.accounts.settings import (
    BIND,
    FLOOR,
    AccountSettings,
    aor_uri,
    ip_address,
    sip_uri,
)
from checks.accounts.trial import Around, Outcome, Trial
from checks.observation import Cause, State, plain
from checks.settings import Secret, duration
from sipwatch import __version__
from sipwatch.commands.remote import NoAnswerError, ask, lines
from sipwatch.commands.terminal import columns, wrapped
from sipwatch.outcomes import Tell, outcome_json, stream

MISUSED = 3  # UNKNOWN to a monitoring system
MARKS = {True: "✓", False: "✗", None: "·"}
SAID = {
    State.UNREACHABLE: "is registered, and does not answer",
    State.NEVER_REGISTERED: "has never registered",
}
WHAT = 10  # characters of the column that says what was done
LABEL = "  next step  "
SECRET_LIMIT = 4096  # bytes read of a password's file

Line = dict[str, Any]  # {"step": ...} or, last, {"outcome": ...}


def run(*, account: str | None, local: bool, config: str, **options: Any) -> int:
    """Test and print; 0 ok, 1 in use or not removed, 2 refused or silent, 3 misuse."""
    try:
        tests = _tests(account, local, config, options)
        return _print_tests(tests, options)
    except (ValueError, OSError, NoAnswerError) as error:
        for line in _said(error).split("\n"):
            print(f"sipwatch register: {line}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("sipwatch register: stopped", file=sys.stderr)
        return MISUSED


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    return "\n".join(map(plain, str(error).split("\n")))


Test = tuple[str, Callable[[], Iterator[Line]]]


def _tests(
    account: str | None, local: bool, config: str, options: dict[str, Any]
) -> list[Test]:
    """What is to be tested, by name, each as its lines."""
    verbose = options["verbose"]
    if account is not None and (options["user"] or ":" in account):
        given = account_of(account, options)
        return [(account, lambda: _here(account, given, verbose))]
    if local:
        from sipwatch.config.load import load

        known = load(config).accounts
        names = _chosen(account, list(known))
        return [(name, lambda n=name: _here(n, known[n], verbose)) for name in names]  # type: ignore[misc]
    socket = options["socket"]
    status = ask(socket, "GET", "/api/v1/status")
    names = _chosen(account, [one["name"] for one in status["accounts"]])
    return [(n, lambda n=n: _there(socket, n, verbose)) for n in names]  # type: ignore[misc]


def _chosen(account: str | None, known: list[str]) -> list[str]:
    if account is None and not known:
        raise ValueError("no account is configured; give a SIP URI and -u USER")
    if account is not None and account not in known:
        there = f" (there are {', '.join(known[:5])})" if known else ""
        raise ValueError(f"no account is named {plain(account)}{there}")
    return known if account is None else [account]


def account_of(uri: str, options: dict[str, Any]) -> AccountSettings:
    """The account that a SIP URI and options describe; ValueError, OSError."""
    if not options["user"]:
        raise ValueError("whose registration? give -u USER")
    user, aor = options["user"], options["aor"]
    if "@" in user and not aor:  # written as it is on the phone
        user, aor = user.partition("@")[0], user
    bind = options["bind"]
    if bind and not options["dedicated"]:
        raise ValueError(
            "--bind registers a contact, which may throw a phone out: add --dedicated "
            "if no phone uses this account"
        )
    return AccountSettings(
        registrar=sip_uri(uri),
        username=user,
        password=_password(options),
        auth_username=options["auth_user"] or "",
        aor=aor_uri(aor) if aor else None,
        outbound_proxy=sip_uri(options["proxy"], "proxy") if options["proxy"] else None,
        mode=BIND if bind else "query",
        dedicated=bool(options["dedicated"]),
        expires=duration(options["expires"]),
        timeout=duration(options["timeout"]),
        user_agent=options["user_agent"] or "",
        source=ip_address(options["source"]) if options["source"] else None,
        ca=options["ca_file"],
    )


def _password(options: dict[str, Any]) -> Secret:
    """From a file or the environment, or asked for: never an argument."""
    if file := options["password_file"]:
        return _password_of(file)
    if name := options["password_env"]:
        if name not in os.environ:
            raise ValueError(f"the environment has no {name}")
        return Secret(os.environ[name])
    if not sys.stdin.isatty():
        raise ValueError("no password: give --password-file or --password-env")
    from getpass import getpass

    return Secret(getpass("Password: "))


def _password_of(file: str) -> Secret:
    with open(file, "rb") as opened:
        read = opened.read(SECRET_LIMIT).rstrip(b"\r\n")
    if not read or b"\n" in read:
        count = "more than one line" if read else "nothing in it"
        raise ValueError(f"{file} has {count} (write the password alone)")
    try:
        return Secret(read.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None


# --- to test --------------------------------------------------------------------------


def _there(socket: str, name: str, verbose: bool) -> Iterator[Line]:
    """In the daemon."""
    query = "?verbose=true" if verbose else ""
    yield from lines(socket, "POST", f"/api/v1/accounts/{quote(name)}/register{query}")


def _here(name: str, settings: AccountSettings, verbose: bool) -> Iterator[Line]:
    """In this process; who stops it has the test contact removed all the same."""
    found = stream(lambda tell: _tried(name, settings, tell), verbose=verbose)
    with asyncio.Runner() as runner:
        while (line := runner.run(_next(found))) is not None:
            yield json.loads(line)


async def _next(found: AsyncIterator[bytes]) -> bytes | None:
    return await anext(found, None)


async def _tried(name: str, settings: AccountSettings, tell: Tell) -> Outcome:
    claim(settings)
    own = OwnContact.of(f"by-hand@{os.uname().nodename}", name)
    around = Around(clock=time.time, agent=f"sipwatch/{__version__}", tell=tell)
    return await Trial(settings, own, around).run()


def claim(settings: AccountSettings) -> None:
    """Leave alone who bans those that register too often; TooSoonError."""
    if settings.floor > FLOOR:
        from sipwatch import floors

        aor = settings.identity.aor
        floors.claim([floors.Claim("REGISTER", aor, settings.floor)])


# --- to print -------------------------------------------------------------------------


def _print_tests(tests: list[Test], options: dict[str, Any]) -> int:
    as_json, width = options["as_json"], columns()
    worst, shown = 0, []
    for n, (name, test) in enumerate(tests):
        if len(tests) > 1 and not as_json:
            print(f"{'' if n == 0 else chr(10)}{plain(name)}")
        outcome: Line = {}
        steps = []
        for line in test():
            outcome = line.get("outcome", outcome)
            if "step" in line:
                steps.append(line["step"])
                if not as_json:
                    print("\n".join(_step_lines(line["step"], width)), flush=True)
        if not outcome:
            raise NoAnswerError("the daemon broke the test off; its log says why")
        worst = max(worst, _status(outcome))
        shown.append({"account": name, **outcome, "steps": steps})
        if not as_json:
            print("\n".join(_outcome_lines(outcome, width)))
    if as_json:
        print(json.dumps(shown, indent=2))
    return worst


def _status(outcome: Line) -> int:
    if outcome["state"] == State.OK:
        return 0
    return 1 if outcome["cause"] in (Cause.IN_USE, Cause.NOT_REMOVED) else 2


def _step_lines(step: Line, width: int) -> Iterator[str]:
    took = "" if step["seconds"] is None else f"{step['seconds'] * 1000:.1f} ms"
    first = f"{MARKS[step['ok']]} {step['what']:<{WHAT}} "
    found = list(wrapped(first, plain(step["text"]), width))
    if took and len(found) == 1 and width < 1000:
        found = [f"{found[0]:<{min(width, 80) - 9}} {took:>8}"]
    elif took:
        found[-1] += f"  {took}"
    yield from found


def _outcome_lines(outcome: Line, width: int) -> Iterator[str]:
    yield ""
    sentence = outcome["sentence"]
    if sentence.partition(" ")[0].isalpha():  # else it is a name, or a status
        sentence = f"{sentence[:1].upper()}{sentence[1:]}"
    yield from wrapped("", f"{sentence}.", width)
    if outcome["state"] != State.OK:
        yield from wrapped(LABEL, outcome["next_step"], width)
    for row in outcome["bindings"]:
        yield from _binding_lines(row, width)
    if "exchange" in outcome:
        yield f"\n{outcome['exchange']}"


def _binding_lines(row: Line, width: int) -> Iterator[str]:
    left = row["expires_in"]
    told = [
        row["contact"],
        "" if left is None else f"{left} s left",
        f"from {row['received']}" if row["received"] else "",
        row["user_agent"],
        "" if row["reachable"] is not False else "does not answer the PBX",
    ]
    yield from wrapped("  contact    ", ", ".join(t for t in told if t), width)


# --- bindings -------------------------------------------------------------------------


def bindings(*, aor: str, registrar: str | None, **options: Any) -> int:
    """Print who is registered; 0 where somebody is, 1 nobody, 2 no answer, 3 misuse."""
    try:
        answer = _asked(aor, registrar, options)
    except (ValueError, OSError, NoAnswerError) as error:
        print(f"sipwatch bindings: {_said(error)}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("sipwatch bindings: stopped", file=sys.stderr)
        return MISUSED
    if options["as_json"]:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(_answer_lines(answer, columns())))
    found = [*answer["registrars"], *answer["accounts"]]
    if any(one["bindings"] for one in found):
        return 0
    failed = [one for one in answer["accounts"] if one["state"] != State.OK]
    return 2 if failed and not answer["registrars"] else 1


def _asked(aor: str, registrar: str | None, options: dict[str, Any]) -> Line:
    if registrar is None:
        found: Line = ask(
            options["socket"], "POST", f"/api/v1/bindings?aor={quote(aor)}"
        )
        if not (found["registrars"] or found["accounts"]):
            raise ValueError(
                f"no registrar and no account here knows {plain(aor)}; ask one by "
                "--registrar SIP-URI -u USER"
            )
        return found
    user = options["user"] or aor.partition("@")[0]
    whole = aor if "@" in aor else None
    absent = dict.fromkeys(("proxy", "user_agent", "source", "bind", "dedicated"))
    given = {**absent, **options, "user": user, "aor": whole, "expires": "60s"}
    if not whole:
        given["auth_user"], given["user"] = user, aor
    settings = account_of(registrar, given)
    outcome = asyncio.run(_tried(registrar, settings, lambda step: None))
    account = {"account": registrar, **outcome_json(outcome)}
    return {"aor": plain(aor), "registrars": [], "accounts": [account]}


def _answer_lines(answer: Line, width: int) -> Iterator[str]:
    for held in answer["registrars"]:
        name = f"{held['aor']} {held['title']}".strip()
        said = SAID.get(held["state"], f"is {held['state'] or 'unknown'}")
        yield from wrapped("", f"{held['registrar']}: {name} {said}", width)
        for row in held["bindings"]:
            yield from _binding_lines(row, width)
    for account in answer["accounts"]:
        yield from wrapped("", f"{account['account']}: {account['sentence']}", width)
        if account["state"] != State.OK:
            yield from wrapped(LABEL, account["next_step"], width)
        for row in account["bindings"]:
            yield from _binding_lines(row, width)
