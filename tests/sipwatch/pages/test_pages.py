"""The pages of a real daemon, as a browser without JavaScript sees them."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest

from sipwatch.web.pages.shell import STATIC, static
from tests.servers import eventually
from tests.sipwatch.pages.conftest import PHONES, Pages
from tests.sipwatch.pages.hostile import NEVER, STRINGS

TEXT = re.compile(r"<[^>]*>")


def words(html: str) -> str:
    """What is read of it."""
    return " ".join(TEXT.sub(" ", html).split())


async def test_the_first_page_shows_all_that_is_watched(pages: Pages) -> None:
    html = await pages.text("/")
    assert "<h1>All is well</h1>" in html
    assert "<p>6 of 7 extensions registered · 1 of 1 targets up</p>" in html
    assert "No incident is open." in html
    assert html.count('class="c r"') == PHONES
    assert html.count('class="c n"') == 1
    assert 'aria-label="1009 Nobody &lt;b&gt;: never registered"' in html
    for site in ("lyon", "paris"):
        assert f'<details class="place" id="place-site-{site}"' in html
    assert '<tr id="target:provider" data-row>' in html
    assert '<tr id="registrar:hq" data-row>' in html
    assert html.rstrip().endswith("</html>")


async def test_nothing_is_inline_and_nothing_comes_from_elsewhere(pages: Pages) -> None:
    for path in (
        "/",
        "/e/extension:hq/1001",
        "/e/hq/1001",
        "/e/1001",
        "/t/provider",
        "/search",
        "/incidents",
    ):
        answer = await pages.get(path)
        html = answer.body.decode()
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type)", html), path
        assert re.findall(r"<script[^>]*>", html) == [
            f'<script type="module" src="{static("page.js")}">'
        ]
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', html), path


async def test_a_static_file_is_kept_for_as_long_as_it_is_the_same(
    pages: Pages,
) -> None:
    for name, kind in STATIC.items():
        answer = await pages.get(static(name))
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        old = await pages.get(f"/static/{name}?v=old")
        assert old.headers["cache-control"] == "no-cache"


async def test_what_there_is_not_is_said_with_the_search_at_hand(pages: Pages) -> None:
    for path in ("/e/extension:hq/9999", "/t/nosuch", "/i/99", "/i/nonsense"):
        answer = await pages.get(path)
        assert (answer.status, path) == (404, path)
        assert "<h1>Not found</h1>" in answer.body.decode()
        assert 'role="search"' in answer.body.decode()
    for path in ("/static/nosuch", "/parts/nosuch", "/grid?registrar=nosuch"):
        assert (await pages.get(path)).status == 404


async def test_who_may_only_read_sees_no_button_and_changes_nothing(
    pages: Pages,
) -> None:
    pages.site.trunk.silent = True
    number = await pages.incident("target:provider")
    html = await pages.text(f"/i/{number}", port=pages.read)
    assert 'method="post"' not in html
    assert 'method="post"' in await pages.text(f"/i/{number}")
    for path, fields in (
        (f"/i/{number}/acknowledge", {"by": "anna"}),
        ("/silences", {"subject": "target:provider", "lasts": "2h", "reason": "x"}),
        ("/silences/1/end", {}),
        ("/t/target:provider/verify", {}),
        ("/e/extension:hq/1001/verify", {}),
    ):
        answer = await pages.post(path, port=pages.read, **fields)
        assert (answer.status, path) == (403, path)
    assert not pages.daemon.alarms.muting.silences
    assert not any(one.acknowledged_by for one in pages.daemon.alarms.incidents)


async def test_an_incident_of_who_is_well_again_says_when_it_is_over(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.site.trunk.silent = True
    number = await pages.incident("target:provider")
    for path in ("/", f"/i/{number}"):
        assert "well again" not in await pages.text(path)
    monkeypatch.setattr(
        "sipwatch.answers.reasons.over_at", lambda incident, sources: 1_790_000_000.0
    )
    for path in ("/", f"/i/{number}"):
        html = await pages.text(path)
        assert "well again, over at <time" in html
        assert "</time> if that stays so" in html


async def test_an_incident_is_taken_and_silenced_by_its_buttons(pages: Pages) -> None:
    pages.site.trunk.silent = True
    number = await pages.incident("target:provider")
    html = await pages.text("/")
    assert "1 critical incident open" in html
    assert f'<article class="incident critical" id="incident-{number}" data-row>' in (
        html
    )
    assert "nobody is on it" in html
    taken = await pages.post(
        f"/i/{number}/acknowledge", by="anna <b>", note="on it", back=f"/i/{number}"
    )
    assert taken.status == 303
    assert taken.headers["location"] == f"/i/{number}?said=taken"
    html = await pages.text(taken.headers["location"])
    assert "It is yours now" in html
    assert "anna &lt;b&gt; is on it since" in html
    hushed = await pages.post(
        "/silences", subject="target:provider", author="anna", reason="work", lasts="2h"
    )
    assert hushed.headers["location"] == "/?said=silenced"
    (silence,) = pages.daemon.alarms.muting.silences.values()
    assert list(map(str, silence.matchers)) == ["target=provider"]
    assert "target=provider" in await pages.text("/")
    ended = await pages.post(f"/silences/{silence.id}/end")
    assert ended.headers["location"] == "/?said=ended"


async def test_a_form_that_lacks_something_is_led_back_and_told_so(
    pages: Pages,
) -> None:
    for path, fields, said in (
        ("/silences", {"subject": "target:provider", "lasts": "2h"}, "incomplete"),
        ("/silences", {"lasts": "99d"}, "incomplete"),
        ("/silences", {"subject": "nonsense", "lasts": "2h"}, "incomplete"),
        ("/i/77/acknowledge", {"by": "anna"}, "over"),
        ("/silences/77/end", {}, "over"),
        ("/e/extension:hq/9999/verify", {}, "over"),
    ):
        answer = await pages.post(path, port=pages.operate, **fields)
        assert (answer.status, answer.headers["location"]) == (303, f"/?said={said}")
    assert "Something was not filled in" in await pages.text("/?said=incomplete")
    html = await pages.text("/?said=nonsense")
    assert not any(f'class="notice {look}' in html for look in ("done", "wrong"))
    assert (await pages.post("/silences", reason="x" * 10_000)).status == 413


async def test_the_page_of_a_phone_that_died_tells_why_and_draws_it(
    pages: Pages,
) -> None:
    pages.site.phones["1003"].die()
    number = await pages.incident("extension:hq/1003")
    html = await pages.text("/e/extension:hq/1003")
    read = words(html)
    assert "unregistered since" in read
    assert "its registration expired" in read
    assert 'class="arrow' in html
    # Where it was last is asked for evidence: what comes of that may be there by now.
    assert (
        "as the registrar tells it" in read or f"packets of incident {number}" in read
    )
    assert f'href="/i/{number}"' in html
    assert 'action="/e/extension:hq/1003/verify"' in html
    assert 'class="c u" id="extension:hq/1003"' in await pages.text("/")


async def test_the_page_of_a_trunk_draws_what_its_incident_kept(pages: Pages) -> None:
    pages.site.trunk.silent = True
    number = await pages.incident("target:provider")
    await eventually(lambda: number in pages.daemon.gathering.kept, 20, "an exchange")
    for path in ("/t/target:provider", f"/i/{number}"):
        html = await pages.text(path)
        assert "<b>OPTIONS</b>" in html
        assert "OPTIONS sip:" in html
        # As the API has it: packets hold more than is shown to all.
        html = await pages.text(path, port=pages.read)
        assert "<b>OPTIONS</b>" in html
        assert "sip:" not in html.partition('class="ladder"')[2].partition("</ol>")[0]
    assert "oncall is told that it is firing" in words(html)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/t/target:provider", "OPTIONS sip:"),
        ("/e/extension:hq/1002", "OPTIONS sip:1002@"),
    ],
)
async def test_who_is_tested_by_hand_shows_what_was_said(
    pages: Pages, path: str, said: str
) -> None:
    assert "asked by hand" not in words(await pages.text(path))
    answer = await pages.post(f"{path}/verify", back=path)
    assert answer.headers["location"] == f"{path}?said=verified"

    async def shown() -> bool:
        return "asked by hand" in words(await pages.text(path))

    await eventually(shown, 20, "the exchange")
    html = await pages.text(path)
    assert "<b>OPTIONS</b>" in html
    assert "<b>200 OK</b>" in html
    assert said in html
    reader = await pages.text(path, port=pages.read)
    assert "<b>200 OK</b>" in reader
    assert "Max-Forwards" in html
    assert "Max-Forwards" not in reader
    api = path.replace("/t/", "/api/v1/targets/").replace("/e/", "/api/v1/extensions/")
    whole = json.loads((await pages.get(api)).body)["exchange"]
    assert (whole["messages"], "SIP/2.0 200 OK" in whole["text"]) == (2, True)
    part = json.loads((await pages.get(api, port=pages.read)).body)["exchange"]
    assert part == {**whole, "text": None}


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("1003", "/e/extension:hq/1003"),
        (" PHONE 1004 ", "/e/extension:hq/1004"),
        ("Nobody", "/e/extension:hq/1009"),
        ("provider", "/t/target:provider"),
        ("rovide", "/t/target:provider"),
    ],
)
async def test_search_leads_to_the_one_that_is_meant(
    pages: Pages, asked: str, path: str
) -> None:
    answer = await pages.get(f"/search?{urlencode({'q': asked})}")
    assert (answer.status, answer.headers["location"]) == (303, path)


async def test_search_finds_by_address_and_lists_what_is_several(
    pages: Pages,
) -> None:
    (contact,) = pages.daemon.judges["hq"].extensions["1005"].contacts
    answer = await pages.get(f"/search?{urlencode({'q': contact.received})}")
    assert answer.headers["location"] == "/e/extension:hq/1005"
    for asked, said in (("phone", "6 extensions"), ("", "7 extensions")):
        html = await pages.text(f"/search?q={asked}")
        assert f'<p class="soft">{said}</p>' in html
    assert "Nothing. A part of a number" in await pages.text("/search?q=nosuchthing")
    strange = await pages.text("/search?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in strange
    assert "Found for “&lt;script&gt;alert(1)&lt;/script&gt;”" in strange


async def test_search_finds_an_incident_by_its_number(pages: Pages) -> None:
    pages.site.trunk.silent = True
    number = await pages.incident("target:provider")
    for asked in (f"#{number}", f"incident {number}"):
        answer = await pages.get(f"/search?{urlencode({'q': asked})}")
        assert answer.headers["location"] == f"/i/{number}", asked
    html = await pages.text(f"/search?q={number}")  # extensions have it in their names
    assert f'href="/i/{number}"' in html
    assert "Nothing." in await pages.text("/search?q=%23999")
    own = await pages.get("/search?q=rovide")  # its incident is found as well
    assert own.headers["location"] == "/t/target:provider"


async def test_hours_and_maintenance_are_on_the_first_page(pages: Pages) -> None:
    read = words(await pages.text("/"))
    assert "office open" in read
    assert "winter closed until" in read
    assert "maintenance upgrade until" in read
    assert "a new PBX" in read
    assert "the old PBX" not in read


async def test_whatever_is_searched_for_is_shown_and_does_nothing(pages: Pages) -> None:
    for text in STRINGS:
        for page in ("search", "incidents"):
            html = await pages.text(f"/{page}?{urlencode({'q': text[:1000]})}")
            assert not [bad for bad in NEVER if bad in html]


async def test_each_part_is_what_the_page_has(pages: Pages) -> None:
    page = await pages.text("/")
    for part in ("head", "incidents", "extensions", "aside"):
        html = await pages.text(f"/parts/{part}")
        assert "<html" not in html
        for id in re.findall(r'id="([^"]+)"', html):
            assert f'id="{id}"' in page
    cells = await pages.text("/parts/cells?registrar=hq")
    assert cells.count("<a ") == PHONES + 1
    assert (await pages.text("/parts/cells?site=lyon")).count("<a ") == 4
    assert "<html" in await pages.text("/grid?registrar=hq")
