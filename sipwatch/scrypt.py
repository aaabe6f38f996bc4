"""Passwords as hashes of scrypt (RFC 7914), in a line for the configuration.

The line has nothing in it that YAML reads as its own: `scrypt$14$8$5$SALT$HASH`, the
cost as log2(N), r and p, then salt and hash in base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any

COST = (14, 8, 5)  # 16 MB and some 0.2 s of one core: OWASP's second choice of equals
SALT, KEY = 16, 32  # bytes
MEMORY = 64 * 1024 * 1024  # bytes that one log-in may take, however it was hashed
WORK = 2**22  # N r p of one log-in: some 2 s
PASSWORD = 1024  # bytes: no person's is longer
MALFORMED = "is not a hash of a password (`sipwatch password` makes one)"


@dataclass(frozen=True)
class Hash:
    """What a password is compared with; never printed."""

    cost: tuple[int, int, int]
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def fits(self, password: str) -> bool:
        """Whether it is this password; it takes a while, and no loop may wait."""
        tried = _derived(password, self.salt, self.cost, len(self.key))
        return hmac.compare_digest(tried, self.key)

    @property
    def line(self) -> str:
        """As the configuration has it."""
        numbers = "$".join(map(str, self.cost))
        return f"scrypt${numbers}${_written(self.salt)}${_written(self.key)}"


def hashed(password: str) -> Hash:
    """A new hash of a password; ValueError for what is none."""
    if not password:
        raise ValueError("an empty password keeps nobody out")
    if len(_bytes(password)) > PASSWORD:
        raise ValueError(f"a password has at most {PASSWORD} bytes")
    salt = secrets.token_bytes(SALT)
    return Hash(COST, salt, _derived(password, salt, COST, KEY))


def parse(written: Any) -> Hash:
    """The hash in a line; ValueError, which does not repeat it."""
    name, *parts = str(written).split("$")
    if name != "scrypt" or len(parts) != 5 or not all(map(_is_number, parts[:3])):
        raise ValueError(MALFORMED)
    cost = (int(parts[0]), int(parts[1]), int(parts[2]))
    salt, key = _read(parts[3]), _read(parts[4])
    if len(salt) < 8 or not 16 <= len(key) <= 64:
        raise ValueError(MALFORMED)
    _check_cost(*cost)
    return Hash(cost, salt, key)


def _check_cost(ln: int, r: int, p: int) -> None:
    if not (1 <= ln < 32 and r and p):
        raise ValueError(MALFORMED)
    if 2**ln * r * 128 > MEMORY or 2**ln * r * p > WORK:
        raise ValueError(f"costs more than a log-in may: {MEMORY >> 20} MB, or 2 s")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 4


def _derived(
    password: str, salt: bytes, cost: tuple[int, int, int], size: int
) -> bytes:
    ln, r, p = cost
    return hashlib.scrypt(
        _bytes(password),
        salt=salt,
        n=2**ln,
        r=r,
        p=p,
        maxmem=2 * MEMORY,
        dklen=size,
    )


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _written(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _read(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(MALFORMED) from None
