"""The OpenAPI document against the daemon that it describes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sipwatch.web_api.conftest import Api

LONGEST = 280.0  # s; it takes 20 where nobody else computes
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def schemathesis(
    url: str, folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """Ask all that the document of a daemon says, in all ways that it allows, and in
    some that it does not; the same questions each time."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{url}/openapi.json",
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "5"),
            *("--checks", ",".join(CHECKS), "--generation-deterministic"),
            *(
                "--seed",
                "1",
                "--continue-on-failure",
                "--warnings",
                "off",
                "--no-color",
            ),
            # A stream has no end that could be waited for.
            *("--exclude-path", "/api/v1/events", "--request-timeout", "60", *words),
        ],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
        cwd=folder,
    )


@pytest.mark.timeout(300)
async def test_each_answer_is_one_that_the_document_says(
    api: Api, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{api.operate}"
    done = await asyncio.to_thread(schemathesis, url, tmp_path)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-20000:]
