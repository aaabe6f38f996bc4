"""What judges want asked: rows beside the targets, told to who asked alone."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from checks.cause import fits
from checks.observation import Cause
from checks.options import heard
from checks.options.asks import Inquiry
from checks.options.heard import Heard
from checks.options.targets import ProbeSettings
from checks.registrations.readings import Ask
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from tests.checks.options.sweeping import (
    START,
    Answers,
    Network,
    header,
    saying,
    silent,
    well,
)

PHONE, OTHER = "10.20.0.31", "10.20.0.32"
ONCE_A_MINUTE = ProbeSettings(interval=60.0, timeout=5.0, confirm=15.0)


class Told(NamedTuple):
    """What who asked was told."""

    at: float  # s since the start, when it was told
    name: str
    ok: bool | None
    cause: Cause | None
    rtt: float | None
    when: float  # s since the start, when it happened


@dataclass
class Names:
    """Whom the check wants resolved."""

    watched: dict[int, SipUri] = field(default_factory=dict)

    def watch(self, index: int, uri: SipUri) -> None:
        self.watched[index] = uri

    def forget(self, index: int) -> None:
        del self.watched[index]


class Phones:
    """Contacts that are asked over a simulated network."""

    def __init__(self, settings: ProbeSettings = ONCE_A_MINUTE) -> None:
        self.network, self.names = Network(), Names()
        self.told: list[Told] = []
        self.opened = 0
        self.asks = self.network.asks(self.names)
        self.inquiry = self.open(settings)

    def open(self, settings: ProbeSettings = ONCE_A_MINUTE) -> Inquiry:
        self.opened += 1
        return self.asks.inquiry(f"hq{self.opened}", settings, self._hear)

    def _hear(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> None:
        now = round(self.network.now - START, 3)
        self.told.append(Told(now, name, ok, cause, rtt, round(at - START, 3)))

    def ask(self, ip: str = PHONE, answers: Answers = well, *, route: str = "") -> str:
        """Ask one phone; the name of the ask."""
        made = contact(ip, route=route)
        self.network.answers[place(made)] = answers
        self.inquiry.update({made.name: made})
        return made.name

    def run_until(self, at: float) -> None:
        self.network.run_until(at)

    @property
    def sent(self) -> list[bytes]:
        return [sent.data for sent in self.network.sent]


def contact(ip: str, port: int = 5060, *, route: str = "") -> Ask:
    uri = f"sip:1001@{ip}:{port};ob"
    return Ask(f"contact/1001/{uri}", uri, f"{ip}:{port}", route)


def place(ask: Ask) -> tuple[str, int]:
    host, _, port = ask.address.rpartition(":")
    return host, int(port)


# --- one contact ----------------------------------------------------------------------


def test_a_new_contact_is_asked_at_once_and_then_once_an_interval() -> None:
    phones = Phones()
    name = phones.ask()
    phones.run_until(200)
    times = [round(sent.at - START) for sent in phones.network.sent]
    assert times == [0, 60, 120, 180]
    assert phones.told == [Told(0.048, name, True, None, pytest.approx(0.04), 0.048)]


def test_the_question_is_an_options_to_the_contact_itself() -> None:
    phones = Phones()
    phones.ask()
    phones.run_until(0.1)
    question = phones.sent[0]
    assert question.startswith(b"OPTIONS sip:1001@10.20.0.31:5060;ob SIP/2.0\r\n")
    assert header(question, "To") == "<sip:1001@10.20.0.31>"
    assert b"\r\nRoute:" not in question
    assert phones.network.sent[0].address == (PHONE, 5060)


def test_through_a_proxy_it_has_a_route_and_goes_there() -> None:
    phones = Phones()
    uri = "sip:1001@192.168.7.7:5060;transport=tcp"
    route = "<sip:10.0.0.9;lr>, <sip:10.0.0.8;lr>"
    phones.network.answers["10.0.0.9", 5060] = well
    phones.inquiry.update({"a": Ask("a", uri, "10.0.0.9:5060", route)})
    phones.run_until(0.1)
    question = phones.sent[0]
    assert question.startswith(f"OPTIONS {uri} SIP/2.0\r\n".encode())
    assert header(question, "To") == "<sip:1001@192.168.7.7>"
    assert header(question, "Route") == route
    assert phones.network.sent[0].address == ("10.0.0.9", 5060)
    assert [told.ok for told in phones.told] == [True]


def test_an_ipv6_contact_is_asked_there() -> None:
    phones = Phones()
    ask = Ask("a", "sip:1001@[2001:db8::7]:5070", "[2001:db8::7]:5070")
    phones.inquiry.update({"a": ask})
    phones.run_until(0.1)
    assert phones.network.sent[0].address == ("2001:db8::7", 5070, 0, 0)
    assert header(phones.sent[0], "To") == "<sip:1001@[2001:db8::7]>"


@pytest.mark.parametrize(
    ("status", "direct", "routed"),
    [
        ("200 OK", True, True),
        ("302 Moved Temporarily", True, True),
        ("401 Unauthorized", True, None),
        ("403 Preload Route denied", True, None),
        ("404 Not Found", True, None),
        ("405 Method Not Allowed", True, True),
        ("408 Request Timeout", True, False),
        ("430 Flow Failed", True, False),
        ("477 Unfortunately error on sending", True, False),
        ("480 Temporarily Unavailable", True, True),
        ("481 Call/Transaction Does Not Exist", True, True),
        ("486 Busy Here", True, True),
        ("501 Not Implemented", True, True),
        ("503 Service Unavailable", True, False),
        ("504 Server Time-out", True, False),
        ("603 Decline", True, True),
    ],
)
def test_any_answer_of_a_phone_is_life_but_a_proxy_may_answer_for_it(
    status: str, direct: bool, routed: bool | None
) -> None:
    for route, ok in (("", direct), ("<sip:10.0.0.9;lr>", routed)):
        phones = Phones()
        phones.ask(answers=saying(status), route=route)
        phones.run_until(1)
        assert [told.ok for told in phones.told] == [ok], route


def test_silence_is_told_with_the_time_of_the_question_and_confirmed_soon() -> None:
    phones = Phones()
    name = phones.ask()
    phones.run_until(30)
    phones.network.answers[PHONE, 5060] = silent
    phones.run_until(61 + 5 + 16 + 5)
    first, second = phones.told[1:]
    assert (first.name, first.ok, first.cause, first.rtt) == (
        name,
        False,
        Cause.TIMEOUT,
        None,
    )
    assert first.when == pytest.approx(60, abs=0.1)
    assert first.at == pytest.approx(65, abs=0.1)
    assert second.when == pytest.approx(75, abs=0.1)  # `confirm` after the first
    assert second.at == pytest.approx(80, abs=0.1)


def test_who_comes_back_is_told_once() -> None:
    phones = Phones()
    phones.ask()
    phones.run_until(30)
    phones.network.answers[PHONE, 5060] = silent
    phones.run_until(68)
    phones.network.answers[PHONE, 5060] = well
    phones.run_until(300)
    assert [told.ok for told in phones.told] == [True, False, True]
    assert phones.told[-1].at == pytest.approx(75, abs=0.1)


def test_who_never_answered_is_not_asked_more_often_for_long() -> None:
    phones = Phones()
    phones.ask(answers=silent)
    phones.run_until(240)
    begun = sorted({header(data, "Call-ID") for data in phones.sent})
    assert len(begun) == 2 + 3  # one confirmation, then in its turn
    assert [told.ok for told in phones.told] == [False] * 5


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EPERM, errno.EHOSTUNREACH])
def test_what_this_machine_cannot_send_says_nothing_of_the_phone(number: int) -> None:
    phones = Phones()
    phones.ask()
    phones.run_until(30)
    phones.network.refusals[PHONE, 5060] = OSError(number, "no way")
    phones.run_until(70)
    assert [(told.ok, told.cause) for told in phones.told] == [
        (True, None),
        (None, Cause.ICMP_UNREACHABLE),
    ]
    del phones.network.refusals[PHONE, 5060]
    phones.run_until(130)
    assert [told.ok for told in phones.told] == [True, None, True]


def test_the_last_round_trip_is_read_when_it_is_wanted() -> None:
    phones = Phones()
    name = phones.ask()
    assert phones.inquiry.rtt(name) is None
    phones.run_until(1)
    phones.network.delay = 0.05
    phones.run_until(62)
    assert len(phones.told) == 1  # a success is no news
    assert phones.inquiry.rtt(name) == pytest.approx(0.1, abs=0.001)
    phones.network.answers[PHONE, 5060] = silent
    phones.run_until(130)
    assert phones.inquiry.rtt(name) is None
    assert phones.inquiry.rtt("contact/nobody") is None


@pytest.mark.parametrize("code", [480, 486, 600, 603])
def test_what_a_phone_that_does_not_want_to_ring_says_is_kept(code: int) -> None:
    """It lives, and nobody is told otherwise; once it is itself again, nothing is."""
    phones = Phones()
    reason = 'Reason: Q.850;cause=21;text="Call Rejected"'
    held_back = saying(f"{code} Do Not Disturb", reason)
    name = phones.ask(answers=held_back)
    phones.run_until(130)
    assert [told.ok for told in phones.told] == [True]
    told = phones.inquiry.told(name)
    assert told is not None
    assert (told.said, told.q850, told.text) == (
        *(f"{code} Do Not Disturb", 21, "Call Rejected"),
    )
    assert (told.source, told.method) == (f"{PHONE}:5060", "OPTIONS")
    phones.network.answers[PHONE, 5060] = silent
    phones.run_until(170)  # asked in vain once
    assert phones.inquiry.told(name) is not None
    phones.run_until(200)
    assert phones.inquiry.told(name) is None
    phones.network.answers[PHONE, 5060] = held_back
    phones.run_until(330)
    assert phones.inquiry.told(name) is not None
    phones.network.answers[PHONE, 5060] = well
    phones.run_until(400)
    assert phones.inquiry.told(name) is None
    assert phones.inquiry.told("contact/nobody") is None


def test_an_answer_that_is_kept_goes_with_its_phone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("checks.options.heard.EXPLAINED", 2)
    phones = Phones()
    several = [phones.ask(f"10.20.0.4{n}", saying("486 Busy Here")) for n in range(3)]
    phones.run_until(1)
    assert [phones.inquiry.told(name) is not None for name in several].count(True) == 2
    phones.inquiry.update(dict.fromkeys(several))
    again = phones.ask("10.20.0.49")
    phones.run_until(2)
    assert phones.inquiry.told(again) is None
    assert not phones.asks._heard._kept


def test_the_answers_of_phones_that_do_not_want_to_ring_are_the_same_everywhere() -> (
    None
):
    assert heard.HELD_BACK == fits.HELD_BACK


def test_when_anybody_was_last_heard_is_known_though_it_is_not_told() -> None:
    phones = Phones()
    phones.ask()
    other = phones.open()
    assert (phones.inquiry.heard_at, other.heard_at) == (0, 0)
    phones.run_until(130)
    assert phones.inquiry.heard_at == pytest.approx(START + 120, abs=0.1)
    assert other.heard_at == 0
    phones.network.answers[PHONE, 5060] = silent
    phones.run_until(250)
    assert phones.inquiry.heard_at == pytest.approx(START + 120, abs=0.1)


# --- changes --------------------------------------------------------------------------


def test_a_contact_that_moves_to_another_port_is_asked_there_from_now_on() -> None:
    phones = Phones()
    old, new = contact(PHONE), contact(PHONE, 5099)
    phones.network.answers |= {place(old): well, place(new): well}
    phones.inquiry.update({old.name: old})
    phones.run_until(1)
    phones.inquiry.update({old.name: None, new.name: new})
    phones.run_until(200)
    later = {sent.address for sent in phones.network.sent if sent.at > START + 1}
    assert later == {place(new)}
    assert [told.name for told in phones.told] == [old.name, new.name]
    assert len(phones.inquiry) == 1


def test_nothing_is_told_of_a_contact_that_has_gone() -> None:
    phones = Phones()
    name = phones.ask(answers=silent)
    phones.run_until(1)
    phones.inquiry.update({name: None})
    phones.run_until(120)
    assert phones.told == []
    assert len(phones.inquiry) == 0
    assert list(phones.network.rows) == []


def test_one_that_is_changed_is_asked_anew_and_only_so() -> None:
    phones = Phones()
    name = phones.ask()
    phones.run_until(1)
    changed = contact(PHONE)._replace(
        address="10.0.0.9:5060", route="<sip:10.0.0.9;lr>"
    )
    phones.network.answers["10.0.0.9", 5060] = well
    phones.inquiry.update({name: changed})
    phones.run_until(130)
    later = {sent.address for sent in phones.network.sent if sent.at > START + 1}
    assert later == {("10.0.0.9", 5060)}


def test_two_who_ask_have_nothing_to_do_with_each_other() -> None:
    phones = Phones()
    other = phones.open()
    ask = contact(PHONE)
    phones.network.answers[place(ask)] = well
    phones.inquiry.update({ask.name: ask})
    other.update({ask.name: ask})
    phones.run_until(1)
    assert [told.name for told in phones.told] == [ask.name] * 2
    other.close()
    assert (len(phones.inquiry), len(other)) == (1, 0)
    phones.run_until(61)
    assert len(phones.network.sent) in (3, 4, 5)
    assert phones.inquiry.rtt(ask.name) is not None


def test_targets_know_nothing_of_what_is_asked_beside_them() -> None:
    phones = Phones()
    phones.network.add("t.example.com", ["192.0.2.1"], soon=True)
    phones.ask(answers=silent)
    phones.run_until(30)
    assert [o.subject.name for o in phones.network.told] == ["t.example.com"]
    assert list(phones.network.targets) == [0]
    assert phones.network.targets.unjudged == 0
    inbox = phones.network.sweep.inbox
    assert [sum(counts) for counts in inbox.histograms] == [1, 0, 0, 0, 0]


def test_the_least_time_between_questions_holds_for_both_together() -> None:
    phones = Phones(ProbeSettings(interval=60.0, min_interval=20.0))
    phones.network.add("t", [PHONE], soon=True, floor=20.0, interval=60.0)
    phones.ask()
    phones.run_until(150)
    times = [sent.at - START for sent in phones.network.sent]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) >= 5
    assert min(pauses) >= 19.9


# --- names ----------------------------------------------------------------------------


def at(*ips: str) -> tuple[Address, ...]:
    return tuple(Address(ip, 5060, "udp") for ip in ips)


def test_a_server_is_asked_at_each_of_its_addresses_and_one_will_do() -> None:
    phones = Phones()
    ask = Ask("server/sip:itsp.example.com", "sip:itsp.example.com")
    phones.inquiry.update({ask.name: ask})
    ((number, uri),) = phones.names.watched.items()
    assert str(uri) == "sip:itsp.example.com"
    phones.network.answers["192.0.2.1", 5060] = well
    phones.network.answers["192.0.2.2", 5060] = silent
    phones.asks.placed(number, at("192.0.2.1", "192.0.2.2"))
    phones.run_until(40)
    assert {told.ok for told in phones.told} == {True}
    phones.network.answers["192.0.2.1", 5060] = silent
    phones.run_until(150)
    failures = [told for told in phones.told if told.ok is False]
    assert len(failures) >= 3
    assert all(told.cause is Cause.TIMEOUT for told in failures)


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        ("200 OK", True),
        ("403 Forbidden", True),
        ("503 Out", False),
        ("408 Away", False),
    ],
)
def test_a_server_is_judged_as_a_target_is(status: str, ok: bool) -> None:
    phones = Phones()
    ask = Ask("server/sip:192.0.2.1", "sip:192.0.2.1", "192.0.2.1:5060")
    phones.network.answers["192.0.2.1", 5060] = saying(status)
    phones.inquiry.update({ask.name: ask})
    phones.run_until(1)
    assert [told.ok for told in phones.told] == [ok]


def test_a_server_without_an_address_fails_of_that() -> None:
    phones = Phones()
    phones.inquiry.update({"server/x": Ask("server/x", "sip:x.example.com")})
    (number,) = phones.names.watched
    assert phones.asks.nameless(number, Cause.DNS_NXDOMAIN, "no such name") == 60.0
    assert phones.told == [Told(0.0, "server/x", False, Cause.DNS_NXDOMAIN, None, 0.0)]


def test_a_thousand_behind_one_proxy_resolve_its_name_once() -> None:
    phones = Phones()
    route = "<sip:edge.example.com;lr>"
    uris = [f"sip:{n}@192.168.0.{n % 250}:5060" for n in range(1000)]
    asks = {uri: Ask(uri, uri, "", route) for uri in uris}
    phones.inquiry.update(asks)
    ((number, uri),) = phones.names.watched.items()
    assert uri.host == "edge.example.com"
    phones.network.answers["10.0.0.9", 5060] = well
    phones.asks.placed(number, at("10.0.0.9", "10.0.0.10"))
    phones.run_until(70)
    assert {sent.address for sent in phones.network.sent} == {("10.0.0.9", 5060)}
    assert Counter(told.ok for told in phones.told) == {True: 1000}
    phones.asks.placed(number, at("10.0.0.10"))
    phones.network.answers["10.0.0.10", 5060] = well
    before = len(phones.network.sent)
    phones.run_until(140)
    later = {sent.address for sent in phones.network.sent[before:]}
    assert later == {("10.0.0.10", 5060)}
    phones.told.clear()
    phones.asks.nameless(number, Cause.DNS_FAILURE, "no resolver")
    assert {(told.ok, told.cause) for told in phones.told} == {
        (None, Cause.DNS_FAILURE)
    }
    phones.inquiry.close()
    assert phones.names.watched == {}


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1", "host:5060", "10.0.0.1:5060\r\nX", "10.0.0.1:123456"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    phones = Phones()
    if address:
        with pytest.raises(ValueError):
            phones.inquiry.update({"a": Ask("a", "sip:10.0.0.1", address)})


# --- many -----------------------------------------------------------------------------

MANY = 20_000


def many(numbers: Iterable[int], port: int = 5060) -> dict[str, Ask | None]:
    found: dict[str, Ask | None] = {}
    for n in numbers:
        where = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:{port}"
        uri = f"sip:{n}@{where}"
        found[f"contact/{n}/{uri}"] = Ask(f"contact/{n}/{uri}", uri, where)
    return found


class Everybody(dict[Any, Any]):
    """Every address answers well."""

    def get(self, key: Any, default: Any = None) -> Any:
        return well


def test_twenty_thousand_contacts_come_and_go() -> None:
    phones = Phones()
    phones.network.answers = Everybody()
    phones.inquiry.update(many(range(MANY)))
    phones.run_until(61)
    first = Counter(sent.address for sent in phones.network.sent)
    assert len(first) == MANY
    assert Counter(told.ok for told in phones.told) == {True: MANY}
    moving: dict[str, Ask | None] = dict.fromkeys(many(range(5000)))
    phones.inquiry.update({**moving, **many(range(5000), port=5070)})
    gone: dict[str, Ask | None] = dict.fromkeys(many(range(5000, 6000)))
    phones.inquiry.update(gone)
    phones.network.sent.clear()
    phones.run_until(61 + 65)
    asked = Counter(sent.address for sent in phones.network.sent)
    assert len(phones.inquiry) == MANY - 1000
    assert len(asked) == MANY - 1000
    assert sum(port == 5070 for _, port in asked) == 5000
    assert max(asked.values()) <= 2
    phones.inquiry.close()
    assert list(phones.network.rows) == []


def test_a_number_that_is_free_again_is_somebody_elses() -> None:
    phones = Phones()
    heard: Heard = phones.network.heard
    first = phones.ask()
    phones.run_until(1)
    phones.inquiry.update({first: None})
    phones.told.clear()
    second = phones.ask(OTHER)
    phones.run_until(2)
    assert heard.subjects == [second]
    assert [told.name for told in phones.told] == [second]
