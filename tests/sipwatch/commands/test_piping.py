"""What is printed for nobody ends the program, and without a word."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from sipwatch.commands.piping import GONE, Piped, piped


@pytest.mark.parametrize(
    "words",
    [
        ("check-config", "--schema"),
        ("--help",),
        ("diagnose", "sip:x@127.0.0.1:9", "--timeout", "1s", "--json"),
        ("diagnose", "sip:x@127.0.0.1:9", "--timeout", "1s"),
        ("probe", "127.0.0.1:9", "--timeout", "1s"),
    ],
)
def test_a_command_whose_reader_has_gone_says_nothing_of_it(
    words: tuple[str, ...],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sipwatch", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (GONE, b"")


def test_who_reads_gets_it_all() -> None:
    out = io.StringIO()
    stream = Piped(out)
    assert stream.write("whole") == 5
    stream.flush()
    assert (out.getvalue(), stream.isatty()) == ("whole", False)


def test_standard_output_is_itself_again_afterwards() -> None:
    before = sys.stdout
    with piped():
        assert sys.stdout is not before
    assert sys.stdout is before
