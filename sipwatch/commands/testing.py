"""`sipwatch test-notify`: who took the test, by notifier or route by route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from checks.observation import plain
from sipwatch.commands.remote import ask, tell
from sipwatch.commands.terminal import columns, wrapped


def notifiers(path: str, names: Sequence[str], *, as_json: bool) -> int:
    """Send a test by each notifier; 0 when all accepted it, 2 otherwise."""
    return tell(
        lambda: ask(path, "POST", "/api/v1/test-notify", list(names)),
        _show,
        lambda answer: 2 if any(answer.values()) or not answer else 0,
        as_json=as_json,
    )


def _show(answer: dict[str, str]) -> None:
    column = max(map(len, answer), default=0) + 2
    for name, error in answer.items():
        said = plain(error) or "accepted"
        print("\n".join(wrapped(name.ljust(column), said, columns())))
    if not answer:
        print("no notifiers are configured")


def routes(path: str, numbers: Sequence[int], *, as_json: bool) -> int:
    """Test these routes, or all; 0 when all notifiers took it, 2 otherwise."""
    return tell(
        lambda: ask(path, "POST", "/api/v1/test-routes", list(numbers)),
        lambda answer: print("\n".join(_lines(answer["routes"], columns()))),
        _judged,
        as_json=as_json,
    )


def _judged(answer: dict[str, Any]) -> int:
    asked = [one for route in answer["routes"] for one in route["notifiers"]]
    return 2 if not asked or any(one["error"] for one in asked) else 0


def _lines(several: list[dict[str, Any]], width: int) -> Iterator[str]:
    names = [one["notifier"] for route in several for one in route["notifiers"]]
    column = max(map(len, names), default=0) + 2
    for route in several:
        yield from wrapped(f"route {route['route']}: ", _match(route["match"]), width)
        if not route["notifiers"]:
            yield "  no notifiers are configured"
        for one in route["notifiers"]:
            when = f"after {one['after']}" if one["after"] else "at once"
            first = f"  {one['notifier']:<{column}}{when:<12}"
            yield from wrapped(first, plain(one["error"]) or "accepted", width)


def _match(match: dict[str, list[str]]) -> str:
    told = [f"{key}={','.join(map(plain, of))}" for key, of in match.items()]
    return " ".join(told) or "all"
