"""Text that fits the reader's terminal."""

from __future__ import annotations

import pytest

from sipwatch.commands import terminal


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["- short"]),
        ("", ["-"]),
        ("one two three", ["- one two", "  three"]),
        ("x" * 30, ["- " + "x" * 30]),
        ("a " + "x" * 30 + " b", ["- a", "  " + "x" * 30, "  b"]),
    ],
)
def test_words_are_wrapped_whole(text: str, lines: list[str]) -> None:
    assert list(terminal.wrapped("- ", text, 10)) == lines
