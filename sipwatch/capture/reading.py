"""`sipwatch diagnose --pcap FILE`: the story of a capture, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checks.observation import Cause, Fact, plain
from sipwatch.capture import savefile
from sipwatch.capture.heard import Hearing
from sipwatch.capture.story import Call, Registration, Story
from sipwatch.diagnosis.rung import Rung, Verdict, rung_json, verdict_json

SHOWN = 50  # failures of a kind that are told one by one
TOLD = 3  # that are named in the verdict
STEPS = 5

Iso = Callable[[float], str]


def lines(path: str, who: str, iso: Iso) -> Iterator[dict[str, Any]]:
    """Rungs, then the verdict; OSError, ValueError where it is no capture at all.

    `who` is a user, or an AOR, whose part alone is wanted; empty: all.
    """
    story, hearing, broken = _read(Path(path))
    registrations = [r for r in story.registrations if _concerns(who, r.aor)]
    calls = [c for c in story.calls if _concerns(who, c.called, c.caller)]
    for rung in _rungs(story, hearing, broken, registrations, calls):
        yield {"rung": rung_json(rung)}
    yield {"verdict": verdict_json(_verdict(path, story, registrations, calls), iso)}


def _read(path: Path) -> tuple[Story, Hearing, str]:
    """What is in a file, as far as it can be read, and why no further."""
    story, hearing, broken = Story(), Hearing(), ""
    with path.open("rb") as file:
        try:
            for number, frame in enumerate(savefile.read(file)):
                story.take_all(hearing.take(number, frame))
        except ValueError as error:
            if not hearing.frames:
                raise ValueError(f"{path}: {error}") from None
            broken = str(error)
    return story, hearing, broken


def _concerns(who: str, *aors: str) -> bool:
    if not who:
        return True
    wanted = who.removeprefix("sip:").removeprefix("sips:")
    return any(wanted in (aor, aor.partition("@")[0]) for aor in aors)


def _rungs(
    story: Story,
    hearing: Hearing,
    broken: str,
    registrations: list[Registration],
    calls: list[Call],
) -> Iterator[Rung]:
    yield _file(story, hearing, broken)
    for host, port in sorted(hearing.encrypted):
        text = f"what goes to {host} port {port} is TLS: nobody in between can read it"
        yield Rung("TLS", None, text)
    bad = [one for one in registrations if one.ok is False]
    if well := sum(one.ok is True for one in registrations):
        yield Rung("REGISTER", True, f"{_count(well, 'phone')} accepted")
    for one in bad[:SHOWN]:
        yield Rung("REGISTER", False, _registration(one))
    if more := len(bad) - SHOWN:
        yield from _more("REGISTER", more)
    failed = [call for call in calls if call.failed]
    if well := sum(_is_well(call) for call in calls):
        yield Rung("calls", True, f"{_count(well, 'call')} answered")
    for call in failed[:SHOWN]:
        yield Rung("call", False, _call(call))
    if more := len(failed) - SHOWN:
        yield from _more("call", more)


def _more(what: str, more: int) -> Iterator[Rung]:
    if more > 0:
        yield Rung(what, False, f"and {more} more")


def _file(story: Story, hearing: Hearing, broken: str) -> Rung:
    parts = [f"{_count(hearing.frames, 'frame')}, {_count(story.messages, 'message')}"]
    if story.first is not None and story.last is not None:
        parts.append(f"{_clock(story.first)} to {_clock(story.last)}")
    if story.unread:
        parts.append(f"{story.unread} of them cannot be read")
    if broken:
        parts.append(broken)
    return Rung("file", bool(story.messages) and not broken, ", ".join(parts))


def _registration(one: Registration) -> str:
    said = one.diagnosis.sentence
    often = f"{one.attempts} times from" if one.attempts > 1 else "at"
    return (
        f"{one.aor} from {one.phone} at {one.registrar}: {said} "
        f"({often} {_clock(one.first)})"
    )


def _call(call: Call) -> str:
    said = call.answer.said if call.answer else ""
    text = (
        f"{_clock(call.at)} {call.caller} to {call.called}: {said} from {call.sender}"
    )
    finding = call.finding
    return (
        text
        if finding.cause in (None, Cause.UNKNOWN)
        else (f"{text}; {finding.sentence}")
    )


def _is_well(call: Call) -> bool:
    return call.answer is not None and call.answer.status < 300


def _verdict(
    path: str, story: Story, registrations: list[Registration], calls: list[Call]
) -> Verdict:
    bad = [one for one in registrations if one.ok is False]
    failed = [call for call in calls if call.failed]
    clauses = [*_said_of_registrations(bad), *_said_of_calls(failed)]
    if not clauses:
        nothing = "there is no SIP in it that can be read"
        well = "no registration and no call failed in it"
        sentence = well if story.messages else nothing
        return Verdict(
            subject=path,
            ok=bool(story.messages),
            reached=bool(story.messages),
            sentence=sentence,
        )
    found = [call.finding for call in failed]
    said: list[tuple[Cause | None, tuple[str, ...]]] = []
    said += [(one.diagnosis.cause, (one.diagnosis.step,)) for one in bad]
    said += [(finding.cause, finding.steps) for finding in found]
    steps = dict.fromkeys(step for _, several in said for step in several)
    return Verdict(
        subject=path,
        ok=False,
        reached=True,
        sentence=", and ".join(clauses),
        cause=next((c for c, _ in said if c not in (None, Cause.UNKNOWN)), None),
        confidence=found[0].confidence if found and not bad else None,
        steps=tuple(steps)[:STEPS],
        evidence=tuple(_facts(bad, failed)),
    )


def _said_of_registrations(bad: list[Registration]) -> Iterator[str]:
    if len(bad) == 1:
        yield f"{bad[0].aor} could not register: {bad[0].diagnosis.sentence}"
    elif bad:
        yield f"{len(bad)} phones could not register ({_named(o.aor for o in bad)})"


def _said_of_calls(failed: list[Call]) -> Iterator[str]:
    if len(failed) == 1:
        [call] = failed
        said = call.answer.said if call.answer else ""
        yield f"the call to {call.called} got {said} from {call.sender}"
    elif failed:
        yield f"{len(failed)} calls failed ({_named(c.called for c in failed)})"


def _named(names: Iterable[str]) -> str:
    several = list(dict.fromkeys(names))
    more = f" and {len(several) - TOLD} more" if len(several) > TOLD else ""
    return f"{', '.join(several[:TOLD])}{more}"


def _facts(bad: list[Registration], failed: list[Call]) -> Iterator[Fact]:
    for one in bad[:TOLD]:
        found = one.failure or one.response
        said = f"{found.status} {plain(found.reason)}" if found else "no answer"
        yield Fact(one.last, f"REGISTER of {one.aor}: {said}")
    for call in failed[:TOLD]:
        said = call.answer.said if call.answer else ""
        yield Fact(call.at, f"INVITE to {call.called}: {said} from {call.sender}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"  # a clock of nowhere
