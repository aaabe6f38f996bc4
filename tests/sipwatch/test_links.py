"""Links of mails: signed, once, for a time; their pages over real sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from alerting.incident import Batch, Delivery, Incident, Outcome, Severity, Told
from alerting.store.rows import Memo, Restored
from checks.observation import Kind, Scope, State, Subject
from sipwatch.clock import Clock
from sipwatch.config.settings import Config, WebSettings
from sipwatch.links import LASTS, LONGEST, Claim, Links
from sipwatch.people import People
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket
from tests.alerting.calm import Calm
from tests.sipwatch.test_web import Answer, Shown, ask

KEY = b"k" * 32
URL = "https://sipwatch.example.com"
ANNA = ("anna@example.com",)


class Desk:
    """A site on paper with an incident that was told, its links and their pages."""

    def __init__(self, to: tuple[str, ...] = ANNA, phones: int = 1) -> None:
        self.site = Calm()
        several = [self.site.phone(f"100{n}") for n in range(phones)]
        for phone in several:
            self.site.lost("10:00", phone)
        self.site.until(self.site.time("10:05"))
        (self.mail,) = self.site.mails["oncall"]
        self.config = Config(
            web=WebSettings(external_url=URL),
            notifiers={"oncall": SimpleNamespace(to=to)},
        )
        self.ahead = 0.0
        self.clock = Clock(lambda: self.site.now, lambda: self.site.now + self.ahead)
        self.clock.offset = 0.0
        self.stored = self.renewed = 0
        self.links = Links(KEY, self.site.alarms, self.clock, lambda: self.config)
        flow: Any = SimpleNamespace(commit=self._commit, flush=lambda: None)
        self.people = People(
            self.site.alarms, flow, self.clock, self.links, lambda: None, self._renew
        )

    async def _commit(self) -> None:
        self.stored += 1

    def _renew(self) -> None:
        self.renewed += 1

    @property
    def path(self) -> str:
        return self.links.url(self.mail.batch, self.mail.at).removeprefix(URL)

    def claim(self) -> Claim:
        return self.links.read(self.path.removeprefix("/a/"))

    @asynccontextmanager
    async def served(self, **rights: Any) -> AsyncIterator[int]:
        sock = tcp_socket("127.0.0.1:0")
        app = application(Shown(), people=self.people, **rights)
        listener = Listener(app, sock)
        listener.start()
        try:
            yield sock.getsockname()[1]
        finally:
            await listener.close()

    @property
    def taken_by(self) -> set[str]:
        return {i.acknowledged_by for i in self.site.alarms.incidents}


async def post(port: int, path: str, body: str = "as=0") -> Answer:
    kind = "application/x-www-form-urlencoded"
    return await ask(port, path, "POST", body.encode(), Content_Type=kind)


# --- tokens ---------------------------------------------------------------------------


def test_a_link_says_of_what_it_is_and_how_long_it_is_good() -> None:
    desk = Desk()
    batch = desk.mail.batch
    assert desk.claim() == Claim(desk.mail.at + LASTS, batch.id, batch.thread, "oncall")
    assert desk.path == desk.path  # a repeated mail has the same link
    assert len(desk.path) < 200


def test_a_name_in_any_letters_comes_through() -> None:
    desk = Desk()
    claim = Claim(5.0, "b" * 32, "t" * 32, "équipe-été.1")
    assert desk.links.read(desk.links.sign(claim)) == claim


def test_what_is_changed_in_any_place_is_refused() -> None:
    desk = Desk()
    token = desk.path.removeprefix("/a/")
    whole = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for n in range(len(whole)):
        changed = bytes([*whole[:n], whole[n] ^ 1, *whole[n + 1 :]])
        with pytest.raises(ValueError, match="is not signed by us"):
            desk.links.read(base64.urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize(
    "token", ["", "a", "!!!!", "é" * 30, "A" * 60, "A" * LONGEST * 2]
)
def test_what_is_no_token_is_a_value_error(token: str) -> None:
    with pytest.raises(ValueError):
        Desk().links.read(token)


def test_another_daemons_links_are_not_ours() -> None:
    desk = Desk()
    other = Links(b"o" * 32, desk.site.alarms, desk.clock, lambda: desk.config)
    with pytest.raises(ValueError, match="is not signed by us"):
        other.read(desk.path.removeprefix("/a/"))


def test_without_an_external_url_there_are_no_links() -> None:
    desk = Desk()
    desk.config = replace(desk.config, web=WebSettings())
    assert desk.links.url(desk.mail.batch, desk.mail.at) == ""


def test_what_is_over_or_taken_has_no_link() -> None:
    desk = Desk()
    (incident,) = desk.site.alarms.incidents
    row = Delivery(incident, "oncall", "", Told.RESOLVED)
    over = Batch("b", "oncall", Told.RESOLVED, (row,), "b")
    assert desk.links.url(over, desk.site.now) == ""
    incident.acknowledged_by = "Sam"
    assert desk.links.url(desk.mail.batch, desk.site.now) == ""


# --- pages ----------------------------------------------------------------------------


async def test_looking_changes_nothing_however_often() -> None:
    desk = Desk()
    async with desk.served() as port:
        for _ in range(3):
            page = await ask(port, desk.path)
            assert page.status == 200
    assert desk.taken_by == {""}
    assert desk.stored == 0
    text = page.body.decode()
    assert "Acknowledge as anna@example.com" in text
    assert "[warning] 1000 (lyon): ExtensionUnregistered" in text
    assert "script" not in text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "form-action 'self'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


async def test_who_shows_it_elsewhere_hears_that_it_was_taken() -> None:
    desk = Desk()
    claim = desk.claim()
    await desk.people.follow(claim, 0, "")
    assert desk.renewed == 1
    await desk.people.follow(claim, 0, "")  # used up
    assert desk.renewed == 1
    await desk.people.acknowledge(desk.site.alarms.incidents[0].id, "Ben")
    assert (desk.renewed, desk.stored) == (2, 2)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_only_the_button_does_anything(method: str) -> None:
    desk = Desk()
    async with desk.served() as port:
        assert (await ask(port, desk.path, method)).status == 405
    assert desk.taken_by == {""}


async def test_the_button_takes_it_for_the_recipient_once() -> None:
    desk = Desk()
    path = desk.path
    async with desk.served() as port:
        done = await post(port, path, "note=on+my+way&as=0")
        assert done.status == 200
        assert b"yours now, anna@example.com" in done.body
        assert desk.stored == 1  # before it was answered
        (incident,) = desk.site.alarms.incidents
        assert (incident.acknowledged_by, incident.note) == (*ANNA, "on my way")
        again = await post(port, path)
        assert again.status == 410
        assert b"It is taken already, by anna@example.com." in again.body
    assert desk.stored == 1


async def test_of_several_recipients_each_has_a_button() -> None:
    desk = Desk(to=("anna@example.com", "ben@example.com"))
    async with desk.served() as port:
        page = (await ask(port, desk.path)).body.decode()
        assert page.count("<button") == 2
        assert (
            b"yours now, ben@example.com" in (await post(port, desk.path, "as=1")).body
        )
    assert desk.taken_by == {"ben@example.com"}


@pytest.mark.parametrize("as_", ["1", "-1", "9999999", "x", "²"])
async def test_nobody_else_can_take_it(as_: str) -> None:
    desk = Desk()
    async with desk.served() as port:
        assert (await post(port, desk.path, f"as={as_}")).status == 400
    assert desk.taken_by == {""}


async def test_all_that_the_mail_told_of_is_taken_together() -> None:
    desk = Desk(phones=2)
    async with desk.served() as port:
        assert b"All 2 are yours now" in (await post(port, desk.path)).body
    assert desk.taken_by == set(ANNA)


async def test_a_link_does_not_outlive_its_time() -> None:
    desk = Desk()
    path = desk.path
    desk.site.until(desk.mail.at + LASTS)
    async with desk.served() as port:
        for answer in (await ask(port, path), await post(port, path)):
            assert answer.status == 410
            assert b"This link is too old" in answer.body
    assert desk.taken_by == {""}


async def test_its_time_is_that_of_the_wall_clock() -> None:
    desk = Desk()
    path = desk.path
    desk.ahead = LASTS  # set forward three days
    desk.clock.measure()
    async with desk.served() as port:
        assert (await post(port, path)).status == 410


async def test_what_is_over_cannot_be_taken() -> None:
    desk = Desk()
    path = desk.path
    desk.site.back("10:10", desk.site.alarms.incidents[0].subject)
    desk.site.until(desk.site.time("10:20"))
    async with desk.served() as port:
        answer = await post(port, path)
    assert (answer.status, desk.stored) == (410, 0)
    assert b"It is over" in answer.body


async def test_a_used_link_does_not_take_what_recurs() -> None:
    desk = Desk()
    path = desk.path
    (incident,) = desk.site.alarms.incidents
    async with desk.served() as port:
        assert (await post(port, path)).status == 200
        desk.site.back("10:10", incident.subject)
        desk.site.lost("10:15", incident.subject)
        desk.site.until(desk.site.time("10:20"))
        assert desk.taken_by == {""}
        answer = await post(port, path)
        assert answer.status == 410
        assert b"This link was used" in answer.body
        assert desk.taken_by == {""}
        desk.mail = desk.site.mails["oncall"][-1]  # which has one of its own
        assert (await post(port, desk.path)).status == 200


def test_a_used_link_stays_used_after_a_restart() -> None:
    desk = Desk()
    claim = desk.claim()
    written: list[Any] = []
    desk.site.on_write = written.extend
    desk.links.follow(claim, 0, "")
    desk.site.flush()
    (memo,) = [w for w in written if isinstance(w, Memo)]
    again = Calm(restored=Restored(memos={memo.name: memo.json}))
    assert again.alarms.links.used(claim.link)
    again.alarms.links.prune(claim.expires)
    assert not again.alarms.links.used(claim.link)


@pytest.mark.parametrize("path", ["/a/", "/a/x", "/a/" + "A" * 5000, "/a/../metrics"])
async def test_what_is_no_link_is_not_found(path: str) -> None:
    desk = Desk()
    async with desk.served(public_only=True) as port:
        assert (await ask(port, path)).status == 404
        assert (await post(port, path)).status == 404


async def test_a_form_is_bounded() -> None:
    desk = Desk()
    async with desk.served() as port:
        assert (await post(port, desk.path, "as=0&note=" + "x" * 5000)).status == 413
        many = "&".join(f"f{n}=1" for n in range(50))
        assert (await post(port, desk.path, many)).status == 413
    assert desk.taken_by == {""}


async def test_the_public_listener_has_nothing_but_links() -> None:
    desk = Desk()
    async with desk.served(public_only=True) as port:
        for path in (
            *("/", "/metrics", "/-/healthy", "/-/ready", "/openapi.json"),
            *("/api/v1/status", "/api/v1/silences", "/api/v1/history?subject=1001"),
        ):
            assert (await ask(port, path)).status == 404
        for path in ("/api/v1/silences", "/api/v1/incidents/1/acknowledge"):
            assert (await post(port, path)).status == 404
        assert (await ask(port, desk.path)).status == 200


async def test_what_came_from_the_network_is_escaped() -> None:
    desk = Desk(to=('"<script>alert(1)</script>',))
    name = "<img src=x onerror=alert(1)>\x1b[2J"
    phone = Subject(Kind.EXTENSION, name, Scope("hq", labels={"registrar": "hq"}))
    desk.site.alarms.incidents[0].subject.title = "</li><b>x"
    desk.site.at(desk.site.now, phone, State.REGISTERED, since=0.0)
    async with desk.served() as port:
        page = (await ask(port, desk.path)).body.decode()
        done = (await post(port, desk.path)).body.decode()
    for text in (page, done):
        assert "<script" not in text
        assert "<b>" not in text
        assert "&lt;script&gt;" in text


# --- the API --------------------------------------------------------------------------


async def test_silences_are_shown_to_all_and_made_by_those_who_may() -> None:
    desk = Desk()
    wanted = b'{"matchers": ["site=lyon"], "author": "A", "reason": "B", "lasts": "2h"}'
    async with desk.served() as port:
        made = await ask(
            port, "/api/v1/silences", "POST", wanted, Content_Type="application/json"
        )
        assert made.status == 403
        assert b'"silences":[]' in (await ask(port, "/api/v1/silences")).body
    async with desk.served(operate=True) as port:
        made = await ask(
            port, "/api/v1/silences", "POST", wanted, Content_Type="application/json"
        )
        assert made.status == 200
        assert desk.stored == 1
        shown = (await ask(port, "/api/v1/silences")).body
        assert b'"matchers":["site=lyon"]' in shown
        assert b'"incidents":1' in shown


def test_a_failed_mail_is_not_needed_for_a_link() -> None:
    # In doubt: the mail may have arrived although nobody knows.
    site = Calm(answers=lambda name, now: Outcome.TRANSIENT)
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("10:03"))
    (incident,) = site.alarms.incidents
    (row,) = site.alarms.deliveries(incident)
    assert site.alarms.links.told("oncall", row.batch) == [incident]
    assert site.alarms.links.told("other", row.batch) == []
    assert isinstance(incident, Incident)
    assert incident.severity is Severity.WARNING
