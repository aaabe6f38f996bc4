"""Whose clock is meant where nobody says: that of this machine."""

from __future__ import annotations

import pytest

from sipwatch.config.settings import local_zone


@pytest.mark.parametrize(
    ("named", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        (":America/New_York", "America/New_York"),
        ("Etc/UTC", "UTC"),  # Debian's name of it reads oddly in a mail
        ("UTC", "UTC"),
    ],
)
def test_the_variable_names_the_zone(
    monkeypatch: pytest.MonkeyPatch, named: str, zone: str
) -> None:
    monkeypatch.setenv("TZ", named)
    assert local_zone().key == zone


def test_what_is_no_zone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "../etc/passwd")
    monkeypatch.setattr("sipwatch.config.settings._read_zone", lambda: "No/Where")
    monkeypatch.setattr("sipwatch.config.settings._linked_zone", lambda: "Asia/Tokyo")
    assert local_zone().key == "Asia/Tokyo"
    monkeypatch.setattr("sipwatch.config.settings._linked_zone", lambda: "")
    assert local_zone().key == "UTC"
