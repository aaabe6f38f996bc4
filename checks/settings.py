"""The types that configuration classes share.

Settings are plain frozen dataclasses beside the code that uses them. What pydantic
needs to know of a type rides on it as a `Parsed`, so that only `sipwatch.config.load`
imports pydantic. A key that is no Python name (`from`) is a field with
`metadata={"alias": "from"}`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
# Characters of a written duration: one of people over HTTP takes the square of its
# length to be read.
LONGEST = 64


@dataclass(frozen=True, eq=False)  # by identity: unions of types hash it
class Parsed:
    """Marks an annotated type as written in a form of its own in YAML."""

    parse: Callable[[Any], Any]  # raises ValueError with a sentence for the user
    schema: tuple[tuple[str, Any], ...]  # JSON Schema of the written form

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        """The core schema as a plain dict: parse the written form, nothing else."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": self.parse},
        }

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The JSON Schema of the written form."""
        return dict(self.schema)


def duration(written: Any) -> float:
    """Seconds of "60s", "1m30s", "500ms"; a bare number is refused."""
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError(f"{written!r} is not a duration (write 30s)")
    text = str(written).strip()
    if len(text) > LONGEST:
        raise ValueError(f"{text[:LONGEST]}... is not a duration (write 30s)")
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        hint = f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text) else "30s, 2m, 1h"
        raise ValueError(f"{text} is not a duration (write {hint})")
    return sum(float(n) * _UNITS[u] for n, u in parts)


def written_duration(seconds: float) -> str:
    """The shortest written form of a duration: 120.0 is "2m"."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)}ms"
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    float,
    Parsed(
        duration,
        (("type", "string"), ("pattern", r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$")),
    ),
]


def time_zone(written: Any) -> str:
    """The name of a time zone, as text."""
    try:
        return ZoneInfo(str(written)).key
    except (OSError, ValueError, LookupError):
        near = get_close_matches(str(written)[:100], available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "write Europe/Paris"
        raise ValueError(f"{written} is not a time zone ({hint})") from None


Zone = Annotated[str, Parsed(time_zone, (("type", "string"),))]


def as_text(written: Any) -> Any:
    """A number as its text: 1001 is a name where a name is meant; else unchanged."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        return str(written)
    return written


class Secret:
    """A value that is never printed; `.reveal()` where it is used.

    `kept` says where it is kept: "file /etc/sipwatch/secrets/hq", "variable HQ".
    """

    __slots__ = ("_value", "kept")

    def __init__(self, value: str, kept: str = "") -> None:
        self._value = value
        self.kept = kept

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": secret},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string"}


def secret(written: Any) -> Secret:
    """A secret from a string, or the one that `!secret` and `!env` have read."""
    if isinstance(written, Secret):
        return written
    written = as_text(written)
    if not isinstance(written, str) or not written:
        raise ValueError("is not a secret (write !secret name, !env NAME or a string)")
    return Secret(written)


class Glob:
    """A pattern of names as shells write them: `1*`, `10[0-4]?`."""

    __slots__ = ("_match", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._match = re.compile(fnmatch.translate(pattern)).match

    def __call__(self, name: str) -> bool:
        return self._match(name) is not None

    @property
    def name(self) -> str:
        """The one name that it stands for; "" where it may stand for several."""
        return "" if set(self.pattern) & set("*?[") else self.pattern

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Glob) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": glob},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string"}


def glob(written: Any) -> Glob:
    """A pattern from a string."""
    if isinstance(written, Glob):
        return written
    written = as_text(written)
    if not isinstance(written, str) or not written:
        raise ValueError(f"{written!r} is not a pattern (write 10* in quotes)")
    return Glob(written)
