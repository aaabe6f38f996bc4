"""Where a button leads, and whom it is about."""

from __future__ import annotations

import pytest

from alerting.muting.matchers import matcher
from sipwatch.web.pages.acts import matchers_of, own_path


@pytest.mark.parametrize(
    ("back", "path"),
    [
        ("/", "/"),
        ("/e/extension:hq/1001@example.com", "/e/extension:hq/1001@example.com"),
        ("/i/7?said=taken#top", "/i/7"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: b", "/"),
        ("i/7", "/"),
        ("///evil.example", "/"),
        ("/.//evil.example", "/.//evil.example"),
        ("//[", "/"),
    ],
)
def test_one_is_led_to_a_page_of_ours(back: str, path: str) -> None:
    assert own_path(back) == path


@pytest.mark.parametrize(
    ("key", "matchers"),
    [
        ("extension:hq/1001@a", ["extension=1001@a", "registrar=hq"]),
        ("registration:hq/out", ["registration=out", "registrar=hq"]),
        ("target:twilio", ["target=twilio"]),
        ("target:phones.txt/sip:10.0.0.1", ["target=sip:10.0.0.1"]),
        ("registrar:hq", ["registrar=hq"]),
        ("site:lyon", ["site=lyon"]),
    ],
)
def test_a_silence_fits_one_subject(key: str, matchers: list[str]) -> None:
    assert matchers_of(key) == matchers
    for one in matchers:
        assert str(matcher(one)) == one
