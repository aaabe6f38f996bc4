"""Notifiers by name and by path."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from alerting.incident import Notification
from alerting.notifiers import NOTIFIERS, load
from alerting.notifiers.email import Email, EmailSettings


class Teams:
    """A stranger's notifier."""

    @dataclass(frozen=True)
    class Settings:
        url: str

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url

    async def send(self, notification: Notification) -> None:
        """Take everything."""


class Deaf:
    Settings = Teams.Settings


class Shapeless:
    Settings = dict

    async def send(self, notification: Notification) -> None:
        """Take everything."""


def test_a_built_in_notifier_is_found_by_its_name() -> None:
    assert load("email") == (EmailSettings, Email) == NOTIFIERS["email"]


def test_a_stranger_is_found_by_its_path() -> None:
    assert load(f"{__name__}:Teams") == (Teams.Settings, Teams)


@pytest.mark.parametrize(
    ("type", "sentence"),
    [
        ("emial", "emial: no such notifier"),
        ("acme.teams:", "no such notifier"),
        (":Teams", "no such notifier"),
        ("acme.teams:Teams", "No module named 'acme'"),
        (f"{__name__}:Team", "has no Team"),
        (f"{__name__}:Deaf", "has no `async def send"),
        (f"{__name__}:Shapeless", "Shapeless.Settings is not a dataclass"),
    ],
)
def test_a_wrong_type_is_refused_with_a_sentence(type: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load(type)
