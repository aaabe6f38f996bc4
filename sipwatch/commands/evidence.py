"""`sipwatch evidence`: what was on the wire when an incident opened."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from checks.observation import plain
from sipwatch.commands.remote import NoAnswerError, ask

SOURCES = {"capture": "from the network", "probe": "of our own"}


def run(
    *, incident: int, output: str | None, text: bool, socket: str, as_json: bool
) -> int:
    """Print or write it; 3 where there is none to be had, or it is not whole."""
    query = "?file=true" if output else ""
    try:
        answer = ask(socket, "GET", f"/api/v1/incidents/{incident}/evidence{query}")
        if output:
            _write(Path(output), answer)
    except (NoAnswerError, ValueError) as error:
        print(f"sipwatch evidence: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"sipwatch evidence: {output}: {error.strerror}", file=sys.stderr)
        return 3
    answer.pop("pcapng", None)
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(lines(answer, output, text=text)))
    return 0


def _write(path: Path, answer: dict[str, Any]) -> None:
    """OSError; ValueError where it is not what was kept."""
    data = base64.b64decode(answer.get("pcapng", ""), validate=True)
    if hashlib.sha256(data).hexdigest() != answer["sha256"]:
        raise ValueError("the file is not what was kept: its SHA-256 is another")
    path.write_bytes(data)


def lines(answer: dict[str, Any], output: str | None, *, text: bool) -> Iterator[str]:
    """What it is, and with `text` all of it."""
    at = datetime.fromisoformat(answer["at"]).astimezone()
    source = SOURCES.get(answer["source"], plain(answer["source"]))
    subject, plural = plain(answer["subject"]), "" if answer["messages"] == 1 else "s"
    yield (
        f"incident {answer['incident']}, {subject}: {answer['messages']} "
        f"message{plural} {source}, kept {at:%d %b %H:%M:%S}"
    )
    yield f"SHA-256 {answer['sha256']}, {answer['size']} octets"
    yield from (plain(note) for note in answer["notes"])
    if output:
        yield f"written to {plain(output)}"
    if text:
        yield ""
        yield from (plain(line) for line in answer["text"].split("\n"))
