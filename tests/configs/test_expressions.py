"""What dashboards and rules ask, asked of a Prometheus that has scraped a sipwatch."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.grafana.boards import FOLDER
from tests.configs.promtool import RULES, promtool
from tests.configs.rich import Rich, rich
from tests.conftest import StartAsterisk
from tests.servers import until
from tests.servers.loopback import Loopback
from tests.servers.prometheus import Prometheus

VARIABLES = {
    "$__rate_interval": "10s",
    "$__range": "1m",
    "$job": ".+",
    "$instance": ".+",
    "$target": ".+",
    "$registrar": ".+",
    "$extension": ".+",
}
REGISTERED = 'sipwatch_extension_registered{extension="1003"}'
WITHIN = 60.0  # s till all of it has been there; usually seven
OWN = r"\bsipwatch_[a-z_]*[a-z]"
PARTS = ("_bucket", "_count", "_sum")


def boards() -> Iterator[dict[str, Any]]:
    for file in sorted(FOLDER.glob("*.json")):
        yield json.loads(file.read_text())


def expressions() -> set[str]:
    """Of all panels, with all that can be chosen chosen."""
    return {
        substituted(target["expr"])
        for board in boards()
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }


def questions() -> set[tuple[str, str]]:
    """A selector and a label of it, of each variable."""
    found = set()
    for board in boards():
        for variable in board["templating"]["list"]:
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            if asked:
                found.add((substituted(asked[1]), asked[2]))
    return found


def substituted(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def scraped(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: bytes = answer.read()
        return text


async def without_data(
    prometheus: Prometheus, site: Rich, wanted: set[str]
) -> set[str]:
    """What has no number at any moment; things happen till each has one."""
    began, left = time.time(), set(wanted)
    while left and time.time() < began + WITHIN:
        await site.happen()
        newer = f"timestamp({REGISTERED}) > {time.time():.3f}"
        await asyncio.to_thread(wait_for, prometheus, newer)
        for expression in sorted(left):
            ask, now = prometheus.query_range, time.time()
            found = await asyncio.to_thread(ask, expression, began, now)
            if any(map(has_number, found)):
                left.discard(expression)
    return left


def has_number(series: dict[str, Any]) -> bool:
    return any(not math.isnan(float(value)) for _, value in series["values"])


@pytest.mark.wall
@pytest.mark.real("prometheus", "promtool", "asterisk")
async def test_all_that_dashboards_and_rules_ask_is_there(
    tmp_path: Path, loopback: Loopback, asterisk: StartAsterisk
) -> None:
    async with rich(tmp_path, asterisk) as site:
        jobs = {"sipwatch": f"127.0.0.1:{site.port}"}
        folder, address = tmp_path / "prometheus", loopback.address()
        with Prometheus(folder, address, jobs, [RULES]) as prometheus:
            await asyncio.to_thread(wait_for, prometheus, f"{REGISTERED} == 1")
            site.site.phones["1003"].die()

            assert await without_data(prometheus, site, expressions()) == set()
            assert await without_choice(prometheus) == set()
            text = await asyncio.to_thread(scraped, site.port)
            check_metrics(text, tmp_path)
            check_names(text)
            await asyncio.to_thread(check_rules, prometheus)


def wait_for(prometheus: Prometheus, expression: str) -> None:
    """Till the expression has data."""
    until(lambda: prometheus.query(expression), 40, expression)


async def without_choice(prometheus: Prometheus) -> set[tuple[str, str]]:
    return {
        (selector, label)
        for selector, label in questions()
        if not await asyncio.to_thread(prometheus.values, label, selector)
    }


def check_metrics(text: bytes, folder: Path) -> None:
    assert promtool(folder, "check", "metrics", given=text) == (0, "")


def check_names(text: bytes) -> None:
    """No series that no dashboard shows, and no rule about what is not there."""
    there = set(re.findall(r"^# TYPE (sipwatch_\w+)", text.decode(), re.MULTILINE))
    shown = {family(name) for name in re.findall(OWN, " ".join(expressions()))}
    assert there - shown == set()
    written = yaml.safe_load(RULES.read_text())["groups"]
    asked = " ".join(rule["expr"] for group in written for rule in group["rules"])
    bare = re.sub(r'"[^"]*"|\w+:\w+:\w+', "", asked)
    assert {family(name) for name in re.findall(OWN, bare)} <= there


def family(name: str) -> str:
    for part in PARTS:
        name = name.removesuffix(part)
    return name


def check_rules(prometheus: Prometheus) -> None:
    """Each was evaluated, and those fire that are right."""
    wait_for(prometheus, 'ALERTS{alertname="TwilioAlert",alertstate="firing"}')
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules if rule["health"] == "err"} == set()
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert not firing & {"SipwatchDown", "RegistrarUnreadable", "NotifierFailing"}
