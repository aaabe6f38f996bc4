"""What becomes of calls: TwiML for the phone, the hour, and how the <Dial> ended."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from alerting.muting.hours import week
from alerting.muting.schedule import Schedule, ScheduleSettings
from checks.observation import State
from checks.settings import Glob, Secret
from checks.twilio.alerts import Alert
from checks.twilio.judge import Local
from checks.twilio.settings import TwilioSettings
from checks.twilio.twiml import TwimlAction, TwimlFallback, TwimlSettings
from sipwatch.clock import Clock
from sipwatch.config.settings import Config, WebSettings
from sipwatch.twilio.calls import Calls
from tests.wires.twilio import ACCOUNT, TOKEN

PARIS = ZoneInfo("Europe/Paris")
DOMAIN = "acme.sip.twilio.com"
BASE = "https://sipwatch.example.com"
ACTIONS = {
    "voicemail": TwimlAction(say="Please leave a message.", record=120.0),
    "reception": TwimlAction(dial=(f"sip:200@{DOMAIN}",)),
    "mobile": TwimlAction(dial=("+33612345678",)),
    "support": TwimlAction(say="One moment.", queue="support"),
    "night": TwimlAction(say="Nous sommes fermés.", language="fr-FR"),
    "tune": TwimlAction(play="https://example.com/closed.mp3"),
}


def settings(*fallbacks: TwimlFallback, otherwise: str = "voicemail") -> TwimlSettings:
    return TwimlSettings(
        domain=DOMAIN,
        actions=ACTIONS,
        otherwise=otherwise,
        fallbacks=fallbacks,
        numbers={"+33123456789": "204"},
    )


@dataclass
class Desk:
    """The calls of a site whose phones are `away`."""

    twiml: TwimlSettings
    away: tuple[str, ...] = ()
    seen: bool = True
    at: str = "2026-11-20 10:00"
    alerts: list[Alert] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        hours = ScheduleSettings(hours=week({"mon-sun": "02:30-18:00"}))
        self.office = Schedule(hours, PARIS)
        config = Config(
            twilio=TwilioSettings(account_sid=ACCOUNT, auth_token=Secret(TOKEN)),
            twiml=self.twiml,
            web=WebSettings(external_url=BASE),
        )
        clock = Clock(self.now, self.now)
        clock.offset = 0.0
        self.calls = Calls(lambda: config, clock, self, self._is_open)  # type: ignore[arg-type]

    def now(self) -> float:
        return datetime.fromisoformat(self.at).replace(tzinfo=PARIS).timestamp()

    def _is_open(self, name: str, at: float) -> bool:
        assert name == "office"
        return self.office.is_open(at)

    def local(self, user: str) -> Local | None:
        if user == "999":
            return None
        state = State.UNREGISTERED if user in self.away else State.REGISTERED
        return Local(user, "", "hq", state, 0.0, False, self.seen)

    def failed_call(self, alert: Alert) -> None:
        self.alerts.append(alert)

    # What Twilio asks.

    def rings(self, to: str = f"sip:204@{DOMAIN}") -> str:
        return short(self.calls.answer("call", {"To": to, "CallSid": "CA1"}, {}))

    def ended(
        self, status: str, code: str = "", user: str = "204", **query: str
    ) -> str:
        said = {
            "CallSid": "CA1",
            "DialCallSid": "CA2",
            "DialCallStatus": status,
            "DialSipResponseCode": code,
        }
        asked = {"extension": user} | query
        return short(self.calls.answer("action", said, asked))


def short(text: str) -> str:
    """TwiML in a line: Say 'x' Record 120 Hangup."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = ElementTree.fromstring(text)
    assert root.tag == "Response"
    return " ".join(_verb(verb) for verb in root)


def _verb(verb: Any) -> str:
    inner = [one.text for one in verb] or ([verb.text] if verb.text else [])
    if verb.tag == "Record":
        assert verb.get("action") == f"{BASE}/twiml/done"
        inner = [verb.get("maxLength")]
    return f"{verb.tag} {' '.join(inner)}".rstrip()


RINGS = f"Dial sip:204@{DOMAIN}"
VOICEMAIL = "Say Please leave a message. Record 120 Hangup"


# --- the beginning of a call ----------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        f"sip:204@{DOMAIN}",
        f"sip:204@{DOMAIN};transport=tls",
        "sip:204@acme.sip.dublin.twilio.com",
        "client:204",
        "+33123456789",
    ],
)
def test_a_phone_that_is_there_is_rung(to: str) -> None:
    assert Desk(settings()).rings(to) == RINGS


def test_what_is_asked_when_the_ringing_ends_is_our_own_address() -> None:
    desk = Desk(settings())
    text = desk.calls.answer("call", {"To": f"sip:204@{DOMAIN}"}, {})
    assert text == (
        '<?xml version="1.0" encoding="UTF-8"?><Response>'
        f'<Dial action="{BASE}/twiml/action?extension=204" method="POST" timeout="20">'
        f"<Sip>sip:204@{DOMAIN}</Sip></Dial></Response>"
    )


def test_a_phone_that_would_answer_480_is_not_rung() -> None:
    assert Desk(settings(), away=("204",)).rings() == VOICEMAIL
    reception = TwimlFallback(status=("unregistered",), then="reception")
    desk = Desk(settings(reception), away=("204",))
    assert desk.rings() == f"Dial sip:200@{DOMAIN}"
    assert Desk(settings(reception), away=("204", "200")).rings() == VOICEMAIL


def test_who_was_away_when_the_pbx_was_last_read_is_rung() -> None:
    desk = Desk(settings(), away=("204",), seen=False)
    assert desk.rings() == f"Dial sip:204@{DOMAIN}"


def test_whom_nobody_watches_is_rung() -> None:
    assert Desk(settings()).rings(f"sip:999@{DOMAIN}") == f"Dial sip:999@{DOMAIN}"


@pytest.mark.parametrize(
    "to",
    [
        "",
        "sip:204@evil.example.com",
        f"sip:2%0a4@{DOMAIN}",
        "+4420",
        "sip:@x",
        "client:",
    ],
)
def test_what_is_no_extension_of_ours_is_left_to_the_fallback_url(to: str) -> None:
    with pytest.raises(ValueError):
        Desk(settings()).rings(to)


# --- the end of a <Dial> --------------------------------------------------------------

FALLBACKS = (
    TwimlFallback(extensions=(Glob("3*"),), then="support"),
    TwimlFallback(status=("busy",), then="mobile"),
    TwimlFallback(codes=(480,), then="reception"),
    TwimlFallback(status=("no-answer",), extensions=(Glob("20*"),), then="tune"),
)


@pytest.mark.parametrize(
    ("status", "code", "user", "answer"),
    [
        ("completed", "200", "204", "Hangup"),
        ("answered", "", "204", "Hangup"),
        ("no-answer", "480", "204", f"Dial sip:200@{DOMAIN}"),
        ("failed", "480", "204", f"Dial sip:200@{DOMAIN}"),
        ("busy", "486", "204", "Dial +33612345678"),
        ("no-answer", "408", "204", "Play https://example.com/closed.mp3 Hangup"),
        ("failed", "404", "204", VOICEMAIL),
        ("canceled", "", "204", VOICEMAIL),
        ("no-answer", "480", "301", "Say One moment. Enqueue support"),
        ("", "x", "204", VOICEMAIL),
    ],
)
def test_the_first_fallback_that_fits_is_taken(
    status: str, code: str, user: str, answer: str
) -> None:
    assert Desk(settings(*FALLBACKS)).ended(status, code, user) == answer


def test_who_was_rung_instead_is_the_last_who_is_rung() -> None:
    desk = Desk(settings(*FALLBACKS))
    text = desk.calls.answer(
        "action",
        {"DialCallStatus": "busy", "CallSid": "CA1"},
        {"extension": "204"},
    )
    assert f'action="{BASE}/twiml/action?extension=204&amp;tried=1"' in text
    assert desk.ended("busy", "486", tried="1") == VOICEMAIL
    desk = Desk(settings(*FALLBACKS, otherwise="mobile"))
    assert desk.ended("busy", "486", tried="1") == "Hangup"


def test_after_a_message_there_is_nothing_more() -> None:
    assert short(Desk(settings()).calls.answer("done", {}, {})) == "Hangup"


@pytest.mark.parametrize(("step", "user"), [("other", "204"), ("action", "2\n4")])
def test_what_is_no_step_of_a_call_is_refused(step: str, user: str) -> None:
    with pytest.raises(ValueError):
        Desk(settings()).calls.answer(step, {"CallSid": "CA1"}, {"extension": user})


def test_every_480_is_seen_once_for_its_call() -> None:
    desk = Desk(settings())
    desk.ended("no-answer", "480")
    desk.ended("busy", "486")
    desk.ended("no-answer", "480", tried="1")  # of another phone
    (alert,) = desk.alerts
    assert (alert.code, alert.who, alert.resource) == (31480, f"204@{DOMAIN}", "CA2")
    assert re.fullmatch(r"dial-[0-9a-f]{32}", alert.sid)
    desk.ended("no-answer", "480")
    assert desk.alerts[1].sid == alert.sid  # it is known again by that


# --- hours ----------------------------------------------------------------------------

NIGHT = TwimlFallback(
    extensions=(Glob("2*"),), outside="office", at_once=True, then="night"
)
CLOSED = "Say Nous sommes fermés. Hangup"


@pytest.mark.parametrize(
    ("at", "answer"),
    [
        ("2026-11-20 02:29", CLOSED),
        ("2026-11-20 02:30", RINGS),
        ("2026-11-20 17:59", RINGS),
        ("2026-11-20 18:00", CLOSED),
        # The clock is put forward from 02:00 to 03:00: it opens at the jump.
        ("2026-03-29 01:59", CLOSED),
        ("2026-03-29 03:00", RINGS),
        # It is put back from 03:00 to 02:00: the first 02:30 counts.
        ("2026-10-25 02:29", CLOSED),
        ("2026-10-25 02:30", RINGS),
    ],
)
def test_who_is_not_there_at_this_hour_is_not_rung(at: str, answer: str) -> None:
    assert Desk(settings(NIGHT), at=at).rings() == answer


def test_the_hour_that_comes_twice_is_open_both_times() -> None:
    desk = Desk(settings(NIGHT))
    first = datetime(2026, 10, 25, 2, 15, tzinfo=PARIS)
    closed = first.timestamp()
    again = first.replace(fold=1).timestamp()
    assert again - closed == 3600
    assert [desk.office.is_open(at) for at in (closed, again)] == [False, True]


def test_hours_are_those_of_the_named_extensions() -> None:
    desk = Desk(settings(NIGHT), at="2026-11-20 23:00")
    assert desk.rings(f"sip:301@{DOMAIN}") == f"Dial sip:301@{DOMAIN}"


def test_a_schedule_also_chooses_among_the_fallbacks_of_a_call() -> None:
    day = TwimlFallback(during="office", then="reception")
    night = TwimlFallback(outside="office", then="voicemail")
    chosen = settings(day, night, otherwise="night")
    assert Desk(chosen).ended("busy", "486") == f"Dial sip:200@{DOMAIN}"
    late = Desk(chosen, at="2026-11-20 20:00")
    assert late.ended("busy", "486") == VOICEMAIL


def test_what_was_answered_is_counted() -> None:
    desk = Desk(settings(*FALLBACKS))
    desk.rings()
    desk.ended("busy")
    desk.ended("failed")
    desk.ended("completed")
    assert desk.answers == {"ring": 1, "dial": 1, "record": 1, "hangup": 1}


# --- settings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ({}, "does nothing"),
        ({"record": 60.0, "queue": "x"}, "one of them"),
        ({"record": 0.5}, "between 1s and 4h"),
        ({"say": "x" * 1001}, "over 1000"),
        ({"play": "closed.mp3"}, "URL of a sound"),
        ({"queue": "<x>"}, "letters"),
        ({"dial": tuple("+3361234567" for _ in range(11))}, "at most 10"),
    ],
)
def test_an_action_is_one_that_can_be_done(action: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TwimlAction(**action)
