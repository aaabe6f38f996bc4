"""The runbook's page: hostile text, bounds, where secrets are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checks.settings import Secret
from sipwatch.runbook import contents
from sipwatch.runbook.contents import Contents, _kept, _secrets, _transport
from sipwatch.runbook.page import Entry, Page, Section, html, markdown
from sipwatch.runbook.written import replace_file
from tests.sipwatch.watching import Watching

EVIL = "<script>alert(1)</script> | `x` [a](http://evil.example.com) *b*\n# c\x1b[31m"


def page() -> Page:
    entry = Entry(EVIL)
    entry.row("user agent", EVIL)
    entry.row("nothing", "")
    table = Section("Devices", columns=("extension", "name"), table=[("1001", EVIL)])
    table.more = 3
    return Page("Runbook", [EVIL], [Section("PBXs", [entry]), table, Section("Empty")])


def test_what_came_from_the_network_is_only_text_in_markdown() -> None:
    text = markdown(page())
    assert "<script>" not in text
    assert "\\[a\\](http" in text  # no link
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| 1001")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 3
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# Runbook"
    ]
    assert "nothing" not in text
    assert "## Empty" not in text
    assert "and 3 more" in text


def test_and_in_html() -> None:
    text = html(page())
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert 'href="http' not in text


def test_the_same_as_json() -> None:
    found = page().json()
    assert found["sections"][0]["entries"][0]["user agent"].startswith("<script>")
    assert found["sections"][1]["table"][0]["extension"] == "1001"
    assert found["sections"][1]["more"] == 3


@pytest.mark.parametrize(
    ("secret", "where"),
    [
        (Secret("x", "file /etc/sipwatch/secrets/hq"), "file /etc/sipwatch/secrets/hq"),
        (Secret("x", "variable HQ"), "variable HQ"),
        (Secret("x"), "the configuration itself"),
    ],
)
def test_a_secret_is_where_it_is_kept(secret: Secret, where: str) -> None:
    assert _kept(secret) == where
    assert secret == Secret("x")  # where it is makes no other one of it


@pytest.mark.parametrize(
    ("uri", "transport"),
    [
        ("sip:a.example.com;transport=tls", "TLS"),
        ("sips:a.example.com", "TLS"),
        ("sip:a.example.com", "as DNS says, else UDP"),
        ("sip:10.0.0.5", "UDP"),
        ("sip:[2001:db8::1]:5060", "UDP"),
        ("10.0.0.5:5060", "as DNS says, else UDP"),
    ],
)
def test_the_transport_is_what_the_uri_says(uri: str, transport: str) -> None:
    assert _transport(uri) == transport


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "runbook.md"
    replace_file(file, "one")
    replace_file(file, "two")
    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o640
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "folder", "three")
    assert sorted(os.listdir(tmp_path)) == ["folder", "runbook.md"]


def test_secrets_are_found_wherever_settings_have_them() -> None:
    from alerting.notifiers.email import EmailSettings, SmtpSettings

    smtp = SmtpSettings(
        host="mail.example.com", password=Secret("x", "file a"), username="u"
    )
    email = EmailSettings(to=("a@example.com",), from_="b@example.com", smtp=smtp)
    assert [(key, s.kept) for key, s in _secrets(email)] == [("password", "file a")]


async def test_of_many_devices_the_first_are_listed_and_the_rest_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contents, "DEVICES", 2)
    site = Watching()
    phones = {"1001": True, "1002": False, "1003": True}
    site.judges = {"hq": site.registrar("hq", phones)}
    devices = next(s for s in Contents(site).page().sections if s.title == "Devices")
    assert {row[0] for row in devices.table} < set(phones)
    assert (len(devices.table), devices.more) == (2, 1)
    assert devices.note == "Told of them: hq: oncall."
