"""What shows a cause, in lines; and the words of which the table makes sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from checks.cause.evidence import Answer, Evidence, Sender
from checks.cause.fits import HERE, mass, overloaded
from checks.observation import Fact, State, plain

LINES = 8  # of one finding; a mail shows the first ones
RECENT = 2  # answers before this one that are worth a line
HISTORY = 3  # the last things that happened to a binding

_STATES = {
    State.REGISTERED: "registered",
    State.UNREACHABLE: "registered, and not reachable",
    State.UNREGISTERED: "not registered",
    State.NEVER_REGISTERED: "never registered",
}


def lines_of(e: Evidence) -> tuple[Fact, ...]:
    """The evidence as a human reads it, the most telling first."""
    found = [fact for part in _PARTS for fact in part(e)]
    return tuple(Fact(at, plain(text)) for at, text in found[:LINES])


def lines_beside(e: Evidence) -> tuple[Fact, ...]:
    """What shows it beside the registration and how that went."""
    own = (_of_registration, _of_history)
    found = [fact for part in _PARTS if part not in own for fact in part(e)]
    return tuple(Fact(at, plain(text)) for at, text in found[:LINES])


def words_of(e: Evidence) -> dict[str, object]:
    """What the templates of the table are filled with."""
    answer = e.answer or Answer(status=0)
    place = e.place or (
        "the PBX" if e.sender is not Sender.PROVIDER else "the provider"
    )
    return {
        "who": e.who or "it",
        "whose": f"{e.who}'s" if e.who else "its",
        "whom": e.who or "this user",
        "place": place,
        "sender": _sender(e, place),
        "said": answer.said,
        "quoted": _quoted(answer),
        "retry": _retry(answer),
        "forwarded": answer.forwarded,
        "window": f" ({e.maintenance})" if e.maintenance else "",
        "blind": e.blind,
        "within": f" within {e.granted} s" if e.granted else "",
        "within_left": f" in {e.left:.0f} s" if e.left and e.left > 0 else "",
        "granted": f" after the {e.granted} s granted" if e.granted else "",
        "others": e.site_lost - 1,
        "site": e.site,
        "share": f"{(e.outages or 0.0) * 100:.0f} %",
        "closed": e.closed,
        "at": f" at {e.address.rpartition(':')[0]}" if e.address else "",
        "address": e.address or "its address",
        "asks": f"{e.asker} OPTIONS".lstrip(),
        "ends": _ends(e),
        "answers": " and answers" if e.reachable else "",
        "outcome": _outcome(e),
    }


def _sender(e: Evidence, place: str) -> str:
    match e.sender:
        case Sender.DEVICE:
            return "the phone"
        case Sender.PROVIDER:
            return "the provider"
        case Sender.PBX:
            return place
        case _:
            source = e.answer.source if e.answer else ""
            return source or e.place or "the other side"


def _quoted(answer: Answer) -> str:
    """What its Reason or Warning adds to the status line."""
    parts = []
    if answer.q850 is not None:
        parts.append(f"Q.850 cause {answer.q850}{_spaced(answer.text)}")
    elif answer.text:
        parts.append(answer.text)
    if answer.warning:
        parts.append(answer.warning)
    return f" ({'; '.join(parts)})" if parts else ""


def _spaced(text: str) -> str:
    return f" {text}" if text else ""


def _retry(answer: Answer) -> str:
    wait = answer.retry_after
    return "" if wait is None else f", and wants to be left alone for {wait} s"


def _ends(e: Evidence) -> str:
    return f", for {e.left:.0f} s more" if e.left is not None and e.left > 0 else ""


def _outcome(e: Evidence) -> str:
    if e.answer is not None:
        return f": {e.answer.said}{_quoted(e.answer)}"
    return f": no answer ({e.unanswered})" if e.unanswered else ""


# --- lines ---------------------------------------------------------------------------

_BY = {
    Sender.DEVICE: ", the phone itself",
    Sender.PBX: ", the PBX",
    Sender.PROVIDER: ", the provider",
}


def _of_answer(e: Evidence) -> Iterator[Fact]:
    answer = e.answer
    if answer is None:
        if e.unanswered is not None:
            yield Fact(None, f"no final answer ({e.unanswered})")
        elif e.passed_on:
            yield Fact(None, "passed on, and not answered")
        return
    to = f" to {answer.method}" if answer.method else ""
    source = f" from {answer.source}" if answer.source else ""
    who = _BY[answer.sender] if answer.sender else ""
    agent = f" ({answer.agent})" if answer.agent else ""
    yield Fact(answer.at, f"{answer.said}{to}{source}{who}{agent}")
    if answer.q850 is not None or answer.text or answer.sip is not None:
        yield Fact(answer.at, f"Reason: {_reason(answer)}")
    if answer.warning:
        yield Fact(answer.at, f"Warning: {answer.warning}")
    if answer.retry_after is not None:
        yield Fact(answer.at, f"Retry-After: {answer.retry_after} s")
    if answer.forwarded:
        yield Fact(answer.at, f"forwarded to {answer.forwarded}")


def _reason(answer: Answer) -> str:
    parts = []
    if answer.q850 is not None:
        parts.append(f"Q.850 cause {answer.q850}")
    if answer.sip is not None:
        parts.append(f"SIP cause {answer.sip}")
    if answer.text:
        parts.append(answer.text)
    return ", ".join(parts)


def _of_registration(e: Evidence) -> Iterator[Fact]:
    if e.registration is not None:
        where = f" at {e.place}" if e.place else ""
        left = f", {e.left:.0f} s left" if e.left is not None else ""
        phone = f" by {e.address}" if e.address and e.registration in HERE else ""
        device = f" ({e.device})" if e.device and phone else ""
        yield Fact(e.since, f"{_STATES[e.registration]}{where}{phone}{device}{left}")
    if e.blind:
        yield Fact(None, f"{e.place or 'the PBX'} cannot be read: {e.blind}")
    if e.paused is not None:
        said = str(e.paused).replace("_", " ")
        yield Fact(None, f"{e.place or 'the PBX'} says: {said}")


def _of_history(e: Evidence) -> Iterator[Fact]:
    yield from e.history[-HISTORY:]


def _of_load(e: Evidence) -> Iterator[Fact]:
    place = e.place or "the PBX"
    if e.registrar_down:
        yield Fact(None, f"{place} does not answer OPTIONS")
    elif overloaded(e):
        share = (e.outages or 0.0) * 100
        yield Fact(None, f"{share:.0f} % of what {place} is asked is 503 or unanswered")
    if e.slow is not None:
        yield Fact(None, f"{place} takes {e.slow * 1000:.0f} ms to answer")
    if e.restarted_at is not None:
        yield Fact(e.restarted_at, f"{place} restarted")


def _of_surroundings(e: Evidence) -> Iterator[Fact]:
    if mass(e):
        yield Fact(None, f"{e.site_lost} of {e.site_of} of {e.site} lost together")
    if e.closed:
        yield Fact(e.opens_at, f"{e.closed} is closed" + _until(e))
    if e.maintenance:
        yield Fact(None, f"maintenance: {e.maintenance}")


def _until(e: Evidence) -> str:
    return ", until then" if e.opens_at is not None else ""


def _of_recent(e: Evidence) -> Iterator[Fact]:
    yield from e.recent[-RECENT:]


_PARTS: tuple[Callable[[Evidence], Iterator[Fact]], ...] = (
    _of_answer,
    _of_registration,
    _of_surroundings,
    _of_load,
    _of_recent,
    _of_history,
)
