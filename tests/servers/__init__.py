"""The real servers that sipwatch is tested against, started in place on loopback."""

from __future__ import annotations

import os

from tests.servers.process import Process, ServerError, eventually, until, within
from tests.servers.tree import Command, missing, program

__all__ = [
    "Command",
    "Process",
    "ServerError",
    "eventually",
    "missing",
    "program",
    "require",
    "until",
    "within",
]


def require(name: str) -> Command:
    """A fetched program; without it the test is skipped, or fails where CI=true."""
    import pytest  # not at the top: the fetch runs before pytest is installed

    command = program(name)
    if command is None:
        why = missing(name) or name
        if os.environ.get("CI") == "true":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    return command
