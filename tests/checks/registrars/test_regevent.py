"""Subscriptions on a timeline: dialogs, refreshes, refusals, NOTIFYs."""

from __future__ import annotations

import math

import pytest

from checks.observation import Loss
from checks.registrars import regevent
from checks.registrars.regevent import (
    EXPIRES,
    LEAST,
    RETRY,
    STRIKES,
    TIMER_N,
    TRY_AGAIN,
    Subscriptions,
)
from checks.registrations.readings import Added, Gone
from checks.sip.headers import Headers
from checks.sip.message import Request, Response, parse
from checks.sip.resolver import Address
from checks.sip.uri import SipUri

PLACE = Address("10.0.0.6", 5060, "udp")
CONTACT = SipUri.parse("sip:sipwatch@10.0.0.9:40000")
PHONE = "sip:1001@10.0.0.31:5060"


def named(aor: str) -> str:
    return aor.removesuffix("@example.com")


class Registrar:
    """The other side: grants, refuses, notifies."""

    def __init__(self, *aors: str, username: str = "") -> None:
        self.now = 1000.0
        self.ours = Subscriptions(
            "example.com", "sipwatch", username=username, name=named
        )
        self.ours.watch(aors or ("1001",), self.now)
        self.ours.lead(PLACE, CONTACT, self.now)
        self.cseq = 0

    def due(self, most: int = 8) -> list[str]:
        return self.ours.due(self.now, most)

    def ask(self, aor: str = "1001") -> Request:
        return self.ours.request(aor, self.now)

    def grant(self, request: Request, expires: int = 600, **more: str) -> Response:
        response = answered(request, 200, expires=str(expires), **more)
        self.ours.accepted(request, response, self.now)
        return response

    def refuse(self, request: Request, status: int | None) -> None:
        self.ours.refused(request, status, self.now)

    def notify(
        self,
        request: Request,
        body: str = "",
        *,
        state: str = "active;expires=600",
        cseq: int | None = None,
        **changes: str,
    ) -> int:
        """The status that a NOTIFY gets."""
        self.cseq = self.cseq + 1 if cseq is None else cseq
        fields = {
            "Via": "SIP/2.0/UDP 10.0.0.6;branch=z9hG4bKa",
            "From": f"{request.to.uri};tag=theirs",
            "To": request.get("from") or "",
            "Call-ID": request.call_id,
            "CSeq": f"{self.cseq} NOTIFY",
            "Event": "reg",
            "Subscription-State": state,
            "Content-Type": "application/reginfo+xml",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        notify = Request("NOTIFY", str(CONTACT), Headers(fields.items()), body.encode())
        got = parse(bytes(notify))
        assert isinstance(got, Request)
        response = self.ours.answer(got, self.now)
        assert response is not None
        assert parse(bytes(response)).faults == ()
        return response.status

    def subscribed(self, aor: str = "1001", expires: int = 600) -> Request:
        assert aor in self.due()
        request = self.ask(aor)
        self.grant(request, expires)
        assert self.notify(request) == 200
        return request


def answered(request: Request, status: int, **more: str) -> Response:
    fields = {
        "From": request.get("from") or "",
        "To": f"{request.to};tag=theirs" if not request.to.tag else str(request.to),
        "Call-ID": request.call_id,
        "CSeq": request.get("cseq") or "",
        "Contact": "<sip:presence@10.0.0.6:5060>",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return Response(status, "Said", Headers(fields.items()))


def contact(event: str, state: str = "active", expires: int = 60) -> str:
    return (
        f'<contact id="c" state="{state}" event="{event}" expires="{expires}">'
        f"<uri>{PHONE}</uri></contact>"
    )


def reginfo(*contacts: str, version: int = 0, state: str = "full") -> str:
    return (
        '<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" '
        f'version="{version}" state="{state}"><registration '
        f'aor="sip:1001@example.com" id="a" state="active">{"".join(contacts)}'
        "</registration></reginfo>"
    )


def test_a_subscribe_asks_for_reg_events_of_the_aor() -> None:
    r = Registrar("1001", username="watcher")
    request = r.ask()
    assert request.faults == ("missing via",)  # which the client adds
    assert (request.method, request.uri) == ("SUBSCRIBE", "sip:1001@example.com")
    assert request.to.uri == "sip:1001@example.com"
    assert request.to.tag is None
    assert request.from_.uri == "sip:watcher@example.com"
    assert request.from_.tag
    assert request.get("event") == "reg"
    assert request.get("accept") == "application/reginfo+xml"
    assert request.expires == EXPIRES
    assert request.get("contact") == f"<{CONTACT}>"


def test_without_a_user_the_aor_asks_for_itself() -> None:
    assert Registrar("1001@lab").ask("1001@lab").from_.uri == "sip:1001@lab"


def test_one_is_tried_before_all_are_subscribed() -> None:
    r = Registrar("1001", "1002", "1003")
    assert r.due() == ["1001"]
    r.subscribed("1001")
    assert r.due() == ["1002", "1003"]
    assert r.due(1) == ["1002"]


def test_a_refresh_comes_at_half_within_the_dialog() -> None:
    r = Registrar()
    first = r.ask()
    r.grant(
        first,
        expires=200,
        Record_Route="<sip:near@10.0.0.7;lr>, <sip:far@10.0.0.6;lr>",
    )
    r.notify(first)
    assert r.ours.next_due() == 1100.0
    r.now = 1099.0
    assert r.due() == []
    r.now = 1100.0
    assert r.due() == ["1001"]
    again = r.ask()
    assert again.uri == "sip:presence@10.0.0.6:5060"
    assert again.call_id == first.call_id
    assert again.from_.tag == first.from_.tag
    assert again.to.tag == "theirs"
    assert again.cseq.number == first.cseq.number + 1
    assert again.all("route") == ["<sip:far@10.0.0.6;lr>", "<sip:near@10.0.0.7;lr>"]
    r.grant(again, 200)
    assert r.ours.next_due() == 1200.0


def test_a_challenge_that_was_answered_moves_the_cseq() -> None:
    r = Registrar()
    request = r.ask()
    r.grant(request, CSeq="2 SUBSCRIBE")
    r.notify(request)
    r.now += 300
    assert r.due() == ["1001"]
    assert r.ask().cseq.number == 3


def test_a_short_time_is_not_refreshed_without_a_pause() -> None:
    r = Registrar()
    r.subscribed(expires=1)
    assert r.ours.next_due() == 1000.0 + LEAST


def test_a_notify_before_the_answer_belongs_to_it() -> None:
    r = Registrar()
    request = r.ask()
    assert r.notify(request, reginfo()) == 200
    r.grant(request)
    assert r.notify(request, reginfo(contact("created"))) == 200
    readings, doubted = r.ours.take()
    assert [type(reading) for reading in readings] == [Added]
    assert doubted == set()
    r.now += TIMER_N + 1
    assert r.due() == []  # it is not deaf


def test_documents_become_readings_by_the_name_of_the_aor() -> None:
    r = Registrar("1001@example.com")
    request = r.subscribed("1001@example.com")
    r.notify(request, reginfo(contact("created")))
    r.now += 10
    r.notify(request, reginfo(contact("unregistered", "terminated", 0)))
    readings, doubted = r.ours.take()
    assert isinstance(readings[0], Added)
    assert (readings[0].at, readings[0].binding.aor) == (1000.0, "1001")
    assert readings[1:] == [Gone("1001", PHONE, 1010.0, Loss.DEREGISTERED)]
    assert doubted == set()
    assert r.ours.take() == ([], set())


def test_a_gap_queries_the_aor_and_refreshes_the_subscription() -> None:
    r = Registrar()
    request = r.subscribed()
    r.notify(request, reginfo(contact("created"), version=1))
    r.now += 100
    gap = reginfo(contact("expired", "terminated"), version=3, state="partial")
    assert r.notify(request, gap) == 200
    assert r.ours.take()[1] == {"1001"}
    assert r.due() == ["1001"]
    assert r.ask().call_id == request.call_id


def test_a_document_that_cannot_be_read_queries_the_aor() -> None:
    for body, changes in (
        ("<presence/>", {}),
        (reginfo(), {"Content_Type": "application/pidf+xml"}),
    ):
        r = Registrar()
        request = r.subscribed()
        assert r.notify(request, body, **changes) == 200
        assert r.ours.take() == ([], {"1001"})


def test_the_same_notify_again_is_answered_and_counts_once() -> None:
    r = Registrar()
    request = r.subscribed()
    body = reginfo(contact("created"))
    assert r.notify(request, body, cseq=7) == 200
    assert len(r.ours.take()[0]) == 1
    r.now += 30
    again = reginfo(contact("refreshed"))
    assert r.notify(request, again, cseq=7) == 200
    assert r.notify(request, again, cseq=6) == 500
    assert r.ours.take() == ([], set())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Call_ID": "another"}, 481),
        ({"To": "<sip:1001@example.com>;tag=another"}, 481),
        ({"To": "<sip:1001@example.com>"}, 481),
        ({"From": "<sip:1001@example.com>;tag=another"}, 481),
        ({"Event": "presence"}, 489),
        ({"Event": "reg;id=1"}, 200),
    ],
)
def test_a_notify_of_another_dialog_is_refused(
    changes: dict[str, str], status: int
) -> None:
    r = Registrar()
    request = r.subscribed()
    assert r.notify(request, reginfo(contact("created")), **changes) == status
    assert bool(r.ours.take()[0]) == (status == 200)


def test_other_requests_are_refused_and_what_has_no_answer_gets_none() -> None:
    ours = Registrar().ours
    fields = {
        "Via": "SIP/2.0/UDP 10.0.0.6;branch=z9hG4bKa",
        "From": "<sip:a@b>;tag=x",
        "To": "<sip:c@d>",
        "Call-ID": "1",
    }

    def answer(method: str, **more: str) -> Response | None:
        headers = Headers({**fields, "CSeq": f"1 {method}", **more}.items())
        return ours.answer(Request(method, "sip:c@d", headers), 0.0)

    refusal = answer("INVITE")
    assert refusal is not None
    assert (refusal.status, refusal.get("allow")) == (405, "NOTIFY")
    assert refusal.to.tag
    assert answer("ACK") is None
    assert answer("NOTIFY", To="") is None


@pytest.mark.parametrize(
    ("state", "wait"),
    [
        ("terminated;reason=deactivated", 0.0),
        ("terminated;reason=timeout", 0.0),
        ("terminated", 0.0),
        ("Terminated ;reason=Probation", 60.0),
        ("terminated;reason=giveup;retry-after=120", 120.0),
        ("terminated;reason=probation;retry-after=99999999", 60.0),
        ("terminated;reason=rejected", TRY_AGAIN),
        ("terminated;reason=noresource;retry-after=1", TRY_AGAIN),
    ],
)
def test_a_subscription_that_was_ended_begins_anew_when_it_may(
    state: str, wait: float
) -> None:
    r = Registrar()
    request = r.subscribed()
    r.now += 50
    assert r.notify(request, state=state) == 200
    assert r.ours.next_due() == 1050.0 + wait
    assert r.notify(request) == 481
    r.now += wait
    assert r.due() == ["1001"]
    again = r.ask()
    assert again.call_id != request.call_id
    assert again.to.tag is None


def test_a_registrar_that_ends_each_at_once_is_not_asked_without_a_pause() -> None:
    r = Registrar()
    request = r.subscribed()
    r.notify(request, state="terminated;reason=timeout")
    assert r.ours.next_due() == 1000.0 + LEAST


@pytest.mark.parametrize("status", [489, 405, 501, 420])
def test_a_registrar_without_the_package_is_asked_again_after_an_hour(
    status: int,
) -> None:
    r = Registrar("1001", "1002")
    r.refuse(r.ask(), status)
    assert r.due() == []
    assert r.ours.next_due() == 1000.0 + TRY_AGAIN
    r.now += TRY_AGAIN
    assert r.due() == ["1002"]
    assert r.ours.take() == ([], set())


@pytest.mark.parametrize("status", [403, 404, 401, 480, 503, None])
def test_refusals_of_a_few_in_a_row_speak_for_the_registrar(
    status: int | None,
) -> None:
    aors = [f"{number}" for number in range(1001, 1010)]
    r = Registrar(*aors)
    for aor in aors[:STRIKES]:
        assert r.due() == [aor]
        r.refuse(r.ask(aor), status)
    assert r.due() == []
    assert r.ours.next_due() == 1000.0 + TRY_AGAIN


@pytest.mark.parametrize(
    ("status", "wait"), [(403, TRY_AGAIN), (503, RETRY), (None, RETRY)]
)
def test_where_others_are_granted_a_refusal_is_of_its_own(
    status: int | None, wait: float
) -> None:
    aors = [f"{number}" for number in range(1001, 1010)]
    r = Registrar(*aors)
    r.subscribed("1001")
    for aor in aors[1 : STRIKES + 1]:
        r.refuse(r.ask(aor), status)
    assert r.due() == aors[STRIKES + 1 :]
    r.now += wait
    assert set(aors[1:]) <= set(r.due(9))


def test_who_grants_and_then_never_notifies_is_left() -> None:
    r = Registrar("1001", "1002", "1003", "1004")
    for aor in ("1001", "1002", "1003"):
        assert r.due() == [aor]
        r.grant(r.ask(aor))
        r.now += TIMER_N
    assert r.due() == []
    assert r.ours.next_due() == r.now + TRY_AGAIN


def test_a_time_of_nothing_is_a_refusal() -> None:
    r = Registrar()
    r.grant(r.ask(), expires=0)
    assert r.due() == []


def test_a_refresh_that_fails_leaves_the_subscription_until_its_end() -> None:
    r = Registrar()
    request = r.subscribed(expires=200)
    r.now = 1100.0
    r.refuse(r.ask(), None)
    assert r.due() == []
    assert r.notify(request) == 200
    r.now = 1200.0
    assert r.due() == ["1001"]
    assert r.ask().call_id != request.call_id


def test_a_dialog_that_is_not_known_any_more_begins_anew() -> None:
    r = Registrar()
    request = r.subscribed(expires=200)
    r.now = 1100.0
    r.refuse(r.ask(), 481)
    assert r.ours.next_due() == 1100.0 + LEAST
    r.now += LEAST
    assert r.due() == ["1001"]
    assert r.ask().call_id != request.call_id


def test_what_was_seen_before_is_compared_with_the_next_subscription() -> None:
    r = Registrar()
    request = r.subscribed()
    r.notify(request, reginfo(contact("created")))
    r.notify(request, state="terminated;reason=deactivated")
    r.ours.take()
    r.now += 50
    again = r.ask()
    r.grant(again)
    r.notify(again, reginfo(contact("expired", "terminated")))
    assert r.ours.take()[0] == [Gone("1001", PHONE, 1050.0, Loss.EXPIRED)]


def test_a_new_way_to_the_registrar_refreshes_all_a_new_place_begins_anew() -> None:
    r = Registrar("1001", "1002")
    first = r.subscribed("1001")
    r.subscribed("1002")
    r.now += 10
    r.ours.lead(PLACE, CONTACT, r.now)
    assert r.due() == []
    moved = SipUri.parse("sip:sipwatch@10.0.0.9:50000")
    r.ours.lead(PLACE, moved, r.now)
    assert r.due() == ["1001", "1002"]
    refresh = r.ask("1001")
    assert (refresh.call_id, refresh.get("contact")) == (first.call_id, f"<{moved}>")
    r.grant(refresh)
    r.ours.lead(Address("10.0.0.7", 5060, "udp"), moved, r.now + 5)
    r.now += 5
    assert r.ask("1001").call_id != first.call_id


def test_who_is_watched_no_more_is_refused() -> None:
    r = Registrar("1001", "1002")
    request = r.subscribed("1001")
    r.ours.watch(["1002"], r.now)
    assert r.notify(request) == 481
    r.grant(request)  # it came late
    assert r.due() == ["1002"]


def test_an_answer_to_a_subscription_that_was_ended_meanwhile_is_nothing() -> None:
    r = Registrar()
    first = r.subscribed()
    r.now += 300
    refresh = r.ask()
    r.notify(first, state="terminated;reason=giveup;retry-after=90")
    r.refuse(refresh, 481)
    assert r.ours.next_due() == 1390.0


def test_readings_that_nobody_takes_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = 100
    assert limit < regevent.READING_LIMIT < 20_000
    monkeypatch.setattr(regevent, "READING_LIMIT", limit)
    r = Registrar()
    request = r.subscribed()
    for number in range(limit + 5):
        event = "created" if number % 2 else "expired"
        state = "active" if number % 2 else "terminated"
        body = reginfo(contact(event, state), version=number, state="partial")
        r.notify(request, body if number else reginfo())
    readings, doubted = r.ours.take()
    assert len(readings) == limit
    assert doubted == {"1001"}


def test_nothing_watched_is_never_due() -> None:
    ours = Subscriptions("example.com", "sipwatch", name=named)
    assert ours.due(0.0, 8) == []
    assert ours.next_due() == math.inf


def test_no_more_time_is_believed_than_was_asked_for() -> None:
    registrar = Registrar()
    request = registrar.ask()
    registrar.grant(request, 2**32 - 1)
    assert registrar.notify(request) == 200
    assert registrar.ours.next_due() <= registrar.now + EXPIRES / 2
    registrar.now += EXPIRES / 2
    assert registrar.due() == ["1001"]
