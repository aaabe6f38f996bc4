"""`sipwatch test-notify --route`: who took the test, route by route."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from checks.observation import plain
from sipwatch.commands.remote import NoAnswerError, ask
from sipwatch.commands.terminal import columns, wrapped


def routes(path: str, numbers: Sequence[int], *, as_json: bool) -> int:
    """Test these routes, or all; 0 when all notifiers took it, 2 otherwise."""
    try:
        answer = ask(path, "POST", "/api/v1/test-routes", list(numbers))
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(_lines(answer["routes"], columns())))
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
