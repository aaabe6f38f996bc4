"""Log lines: one a record, harmless on a terminal and in a journal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from sipwatch import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Puts back what pytest listens with."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def broken(text: str) -> None:
    """A fault that quotes what came from the network."""
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("sipwatch").exception("a listener failed")


def test_a_line_has_time_level_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(as_json=False)
    logging.getLogger("sipwatch").warning("hq: cannot be read (%s)", "refused")
    logging.getLogger("sipwatch").critical("stopped by a fault")
    first, second = lines(capsys)
    assert first[8:] == " warning  hq: cannot be read (refused)"
    assert second[8:] == " critical stopped by a fault"


def test_what_came_from_the_network_stays_in_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.set_up(as_json=False)
    logging.getLogger("sipwatch").info("agent %s", "a\r\nb\x1b[31m\udcff" + "x" * 9000)
    (line,) = lines(capsys)
    assert line[18:].startswith("agent a��b�[31m�xx")
    assert len(line) < log.LINE_LIMIT + 30


def test_a_traceback_follows_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(as_json=False)
    broken("branch \x1b[2J")
    first, *trace = lines(capsys)
    assert first.endswith(" error    a listener failed")
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "ValueError: branch �[2J"


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(as_json=True)
    logging.getLogger("sipwatch.daemon").info("hé %d\n", 1)
    broken("why")
    first, second = map(json.loads, lines(capsys))
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "logger": "sipwatch.daemon", "text": "hé 1�"}
    assert second["level"] == "error"
    assert second["traceback"].endswith("ValueError: why")


def test_chatty_libraries_are_heard_from_warnings_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.set_up(as_json=False, level=logging.DEBUG)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("apscheduler.scheduler").debug("looking for jobs")
    logging.getLogger("sipwatch").debug("ours")
    logging.getLogger("asyncio").warning("slow callback")
    assert [line[18:] for line in lines(capsys)] == ["ours", "slow callback"]
    assert sys.stderr is not None
