"""A notifier of one's own, as the docs show it, and what the docs say of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alerting.incident import DeliveryError
from alerting.notification.render import render
from alerting.notifiers import NOTIFIERS, load, made
from alerting.notifiers.command import NEVER
from alerting.notifiers.sip_message import TRY_AGAIN
from alerting.notifiers.webhook import FIELDS, Webhook, WebhookSettings
from checks.settings import Secret
from sipwatch.config.load import load as configured
from tests.alerting.mails import CASES, INSTANCE, NOW, PARIS
from tests.alerting.receiving import receiving

PAGE = (Path(__file__).parents[3] / "docs" / "notifiers.md").read_text()
TOLD = render(CASES["unregistered"], instance=INSTANCE, zone=PARIS, now=NOW)


def block(language: str, word: str) -> str:
    """The one code block of a language that has this word in it."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
    (found,) = [text for of, text in blocks if of == language and word in text]
    return str(found)


def row(type: str) -> str:
    (found,) = re.findall(rf"^\| `{type}` \|.*\|$", PAGE, re.M)
    return str(found)


async def test_the_class_of_the_docs_is_a_notifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_board.py").write_text(block("python", "class Board"))
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tmp_path / "sipwatch.yaml"
    config.write_text(
        "targets: {a: {uri: 'sip:10.0.0.5'}}\n"
        f"notifiers: {{mine: {{type: 'acme_board:Board', board: {tmp_path}/board}}}}\n"
    )
    settings = configured(config).notifiers["mine"]
    assert load("acme_board:Board")[0] is type(settings)
    board = made(settings)
    await board.send(TOLD)
    assert (tmp_path / "board").read_text() == f"{TOLD.subject}\n\n{TOLD.text}"
    (tmp_path / "board").unlink()
    (tmp_path / "board").mkdir()
    with pytest.raises(DeliveryError, match="Is a directory"):
        await board.send(TOLD)


async def test_the_templates_of_the_docs_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        for name in ("slack", "mattermost", "teams"):
            (tmp_path / name).write_text(f"{receiver.url}/{name}")
        text = block("yaml", "ntfy:").replace("https://ntfy.example.com", receiver.url)
        config = tmp_path / "sipwatch.yaml"
        config.write_text(f"secrets_dir: {tmp_path}\n{text}")
        for settings in configured(config).notifiers.values():
            await Webhook(settings).send(TOLD)
    bodies = {got.path: json.loads(got.body) for got in receiver.got}
    assert bodies.keys() == {"/slack", "/mattermost", "/", "/teams"}
    assert bodies["/slack"]["text"] == f"*{TOLD.subject}*\n{TOLD.text}"
    assert bodies["/"]["priority"] == 2
    (card,) = bodies["/teams"]["attachments"]
    assert card["content"]["body"][0]["text"] == TOLD.subject


@pytest.mark.parametrize("type", NOTIFIERS)
def test_every_notifier_stands_in_the_table(type: str) -> None:
    assert row(type)


def test_the_docs_name_every_field_and_every_status() -> None:
    assert all(f"`${name}`" in PAGE for name in FIELDS)
    said = re.findall(r"\d+", row("command").split("|")[3])
    assert tuple(map(int, said)) == NEVER
    said = re.findall(r"\d{3}", row("sip_message").split("but")[1])
    assert tuple(map(int, said)) == TRY_AGAIN


async def test_the_shape_in_the_docs_has_every_key() -> None:
    async with receiving() as receiver:
        await Webhook(WebhookSettings(url=Secret(receiver.url))).send(TOLD)
    body = json.loads(receiver.got[0].body)
    shown = block("", '"version": 1')
    for keys in (body, body["incidents"][0]):
        assert [key for key in keys if f'"{key}": ' not in shown] == []
