"""TwiML: what a call does next, written by the VoiceResponse of Twilio's library."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from checks.settings import Duration, Glob, Parsed
from checks.twilio.library import library
from checks.twilio.settings import needed

TEXT_LIMIT = 1000  # characters that are said; TwiML has 4000 at most
TARGETS = 10  # that one <Dial> rings at once, Twilio's own limit
USER = re.compile(r"[A-Za-z0-9_.+~-]{1,64}")  # of a SIP URI that we write
_NUMBER = re.compile(r"\+?[0-9]{3,15}")
_SIP = re.compile(r"sips?:[^\s<>\"]{1,200}")
_QUEUE = re.compile(r"[\w .-]{1,64}")
_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")

# What has become of a <Dial>, in Twilio's words, and two of ours, when we do not dial.
Status = Literal["busy", "no-answer", "failed", "canceled", "unregistered", "closed"]
UNREGISTERED, CLOSED = "unregistered", "closed"
TAKEN = ("completed", "answered")


def called(written: Any) -> str:
    """Somebody who can be dialled: a SIP URI, or a number in E.164."""
    text = str(written).strip()
    if not (_SIP.fullmatch(text) or _NUMBER.fullmatch(text)):
        raise ValueError(f"{text[:80]} can not be dialled (sip:200@..., +44...)")
    return text


Called = Annotated[str, Parsed(called, (("type", "string"),))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwimlAction:
    """What a caller hears instead: a text or a sound, then one of the others."""

    say: str = ""  # read to the caller
    language: str = ""  # of `say`: en-GB, fr-FR
    play: str = ""  # URL of a sound
    record: Duration | None = None  # take a message of this length at most
    dial: tuple[Called, ...] = ()  # ring these instead
    queue: str = ""  # put the caller into this queue of Twilio's

    def __post_init__(self) -> None:
        kinds = [self.record is not None, bool(self.dial), bool(self.queue)]
        if sum(kinds) > 1:
            raise ValueError("record, dial and queue: one of them")
        if not (any(kinds) or self.say or self.play):
            raise ValueError("does nothing (write say, play, record, dial or queue)")
        if len(self.say) > TEXT_LIMIT:
            raise ValueError(f"say: has over {TEXT_LIMIT} characters")
        if self.play and not re.match(r"https?://\S{1,500}$", self.play):
            raise ValueError("play: is not the URL of a sound")
        if self.record is not None and not 1 <= self.record <= 14_400:
            raise ValueError("record: is between 1s and 4h")
        if len(self.dial) > TARGETS:
            raise ValueError(f"dial: rings at most {TARGETS} at once")
        if self.queue and not _QUEUE.fullmatch(self.queue):
            raise ValueError("queue: has letters, digits, spaces, - _ and . only")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwimlFallback:
    """When which action is taken; all that is given must fit."""

    then: str  # the action
    extensions: tuple[Glob, ...] = ()  # who was called; empty: anybody
    status: tuple[Status, ...] = ()  # of the call
    codes: tuple[int, ...] = ()  # SIP codes of the phone: 480, 486
    during: str = ""  # a schedule
    outside: str = ""  # a schedule: while it is closed
    at_once: bool = False  # without ringing the phone first


@dataclass(frozen=True, slots=True, kw_only=True)
class TwimlSettings:
    """TwiML for calls to our extensions, on web.public."""

    domain: str  # phones are dialled as user@domain
    actions: dict[str, TwimlAction]  # by names of your own
    otherwise: str  # the action where no fallback fits
    fallbacks: tuple[TwimlFallback, ...] = ()  # the first that fits
    numbers: dict[str, str] = field(default_factory=dict)  # called number: extension
    timeout: Duration = 20.0  # that a phone rings
    caller_id: str = ""  # shown to the phone; default: the caller's

    def __post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.domain):
            raise ValueError("domain: is no SIP Domain (acme.sip.twilio.com)")
        if not 5 <= self.timeout <= 600:
            raise ValueError("timeout: is between 5s and 10m")
        for user in self.numbers.values():
            if not USER.fullmatch(user):
                raise ValueError(f"numbers: {user[:40]} is no extension")
        needed("twiml")


@dataclass(frozen=True, slots=True)
class Urls:
    """Where Twilio asks what comes next."""

    action: str  # after a <Dial>
    done: str  # after a message, or a queue


def ring(settings: TwimlSettings, user: str, urls: Urls) -> str:
    """Dial a phone, and ask what to do when nobody took the call."""
    answer = _response()
    _dial(answer, settings, (f"sip:{user}@{settings.domain}",), urls)
    return str(answer)


def act(settings: TwimlSettings, action: TwimlAction, urls: Urls) -> str:
    """An action as TwiML."""
    answer = _response()
    if action.say:
        answer.say(
            action.say, **({"language": action.language} if action.language else {})
        )
    if action.play:
        answer.play(action.play)
    if action.record is not None:
        # Without `action` the same page would be asked again, without an end.
        answer.record(max_length=round(action.record), action=urls.done, method="POST")
    elif action.dial:
        _dial(answer, settings, action.dial, urls)
        return str(answer)
    elif action.queue:
        answer.enqueue(action.queue, action=urls.done, method="POST")
        return str(answer)
    answer.hangup()
    return str(answer)


def hang_up() -> str:
    """Nothing more."""
    answer = _response()
    answer.hangup()
    return str(answer)


def _response() -> Any:
    return library("twiml.voice_response").VoiceResponse()


def _dial(
    answer: Any, settings: TwimlSettings, targets: tuple[str, ...], urls: Urls
) -> None:
    more = {"caller_id": settings.caller_id} if settings.caller_id else {}
    dial = answer.dial(
        action=urls.action, method="POST", timeout=round(settings.timeout), **more
    )
    for one in targets:
        if one.startswith("sip"):
            dial.sip(one)
        else:
            dial.number(one)
