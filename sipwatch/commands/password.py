"""`sipwatch password`: the hash of a password, for `web.users`."""

from __future__ import annotations

import getpass
import json
import sys

from sipwatch.scrypt import PASSWORD, hashed


def run(*, as_json: bool) -> int:
    """Ask twice at a terminal, else read a line; 0, or 3 where there is none."""
    try:
        line = hashed(_asked() if sys.stdin.isatty() else _read()).line
    except (ValueError, EOFError) as error:
        print(str(error) or "no password was given", file=sys.stderr)
        return 3
    print(json.dumps({"password": line}) if as_json else line)
    return 0


def _asked() -> str:
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Once more: "):
        raise ValueError("these are two passwords; nothing is made of them")
    return password


def _read() -> str:
    """The first line of what is piped in."""
    return sys.stdin.readline(PASSWORD + 2).rstrip("\r\n")
