"""`sipwatch runbook`: the page of the running daemon."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sipwatch.commands.remote import NoAnswerError, ask, fetched
from sipwatch.runbook.written import replace_file


def run(socket: str, output: str, *, as_html: bool, as_json: bool) -> int:
    """Print it, or write it; 0, or 3 where there is no daemon or no such file."""
    try:
        if as_json:
            found = ask(socket, "GET", "/api/v1/runbook?format=json")
            text = json.dumps(found, indent=2) + "\n"
        else:
            format = "html" if as_html else "markdown"
            text = fetched(socket, f"/api/v1/runbook?format={format}")
    except NoAnswerError as error:
        print(error, file=sys.stderr)
        return 3
    if not output:
        sys.stdout.write(text)
        return 0
    try:
        replace_file(Path(output), text)
    except OSError as error:
        print(f"{output}: {error.strerror or error}", file=sys.stderr)
        return 3
    print(f"{output}: written")
    return 0
