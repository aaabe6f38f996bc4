"""The reference leaves nothing out: what the code has stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from alerting.rules.builtin import BUILT_IN
from checks.cause.row import Row
from checks.cause.table import TABLE
from checks.observation import Cause
from docs.generate import PAGES, api, commands, metrics
from docs.generate.causes import of_a_call, section
from docs.generate.tables import cell
from sipwatch.cli import main
from sipwatch.config import load
from tests.configs.rich import rich
from tests.conftest import StartAsterisk
from tests.docs.written import README

CONFIGURATION = PAGES["reference/configuration.md"]()
METRICS = PAGES["reference/metrics.md"]()
SCHEMA = load.schema()
NUMBERS = ("_bucket", "_count", "_sum")


def of(shape: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The keys of a JSON Schema, by their paths."""
    if name := shape.get("$ref"):
        yield from of(SCHEMA["$defs"][name.rpartition("/")[2]], above)
        return
    for one in [*shape.get("anyOf", ()), *shape.get("allOf", ())]:
        yield from of(one, above)
    for branch in ("then", "items", "additionalProperties"):
        if isinstance(shape.get(branch), dict):
            through = {"items": "[]", "additionalProperties": ".NAME"}.get(branch, "")
            yield from of(shape[branch], above + through)
    for name, one in shape.get("properties", {}).items():
        path = f"{above}.{name}" if above else name
        yield path
        yield from of(one, path)


def wanted() -> set[str]:
    """Every key, as the reference names it: by its section and its own path."""
    found = set()
    for section_, shape in SCHEMA["properties"].items():
        for path in of(shape, ""):
            own = re.sub(r"^(\[\]|\.NAME)\.", "", path)
            found.add(f"{section_} {own}")
    return found


def shown() -> set[str]:
    found = set()
    for part in CONFIGURATION.split("\n## ")[1:]:
        name = part.partition("\n")[0]
        for path in re.findall(r"(?m)^\| `([\w.\[\]]+)`\{", part):
            found.add(f"{name} {path}")
    return found


def test_every_key_stands_in_the_reference() -> None:
    assert sorted(wanted() - shown()) == []


def test_every_section_stands_in_the_reference() -> None:
    heads = re.findall(r"(?m)^## (\w+)$", CONFIGURATION)
    assert heads == list(load.SECTIONS)


def test_every_key_has_a_meaning() -> None:
    bare = re.findall(r"(?m)^\| (`\S+`).*\| – \|$", CONFIGURATION)
    assert bare == []


def test_no_default_is_shown_as_python_writes_it() -> None:
    rows = re.findall(r"(?m)^\| `(\S+)`\{.*\} \*? ?\|(.*)\|.*\|$", CONFIGURATION)
    assert len(rows) > 100
    assert not [row for row in rows if re.search(r"None|True|False|\(|<", row[1])]


@pytest.mark.parametrize("rule", BUILT_IN)
def test_every_rule_stands_in_the_reference(rule: str) -> None:
    assert f"| `{rule}`{{ #{rule.lower()} }} | " in PAGES["reference/rules.md"]()


def test_every_cause_stands_in_the_reference_as_in_the_readme() -> None:
    page = PAGES["reference/causes.md"]()
    assert section(README.read_text()).split("\n")[-2] in page
    for cause in Cause:
        if not cause.startswith("response_"):
            assert f"\n| `{cause}` | " in page


@pytest.mark.parametrize("row", TABLE)
def test_what_is_found_of_who_cannot_be_called_stands_in_the_reference(
    row: Row,
) -> None:
    says, cause, sure, steps = (cell(one) for one in of_a_call(row))
    page = PAGES["reference/causes.md"]()
    assert f"| {says} | {cause} | {sure} | {steps} |" in page
    assert not re.search(r"[{}]", says + steps)


def test_every_command_stands_in_the_reference_with_its_help() -> None:
    page = PAGES["reference/commands.md"]()
    named = {name.split()[1] for name, _ in commands.every()}
    hidden = {name for name, one in main.commands.items() if one.hidden}
    assert named == set(main.commands) - hidden
    for name, _ in commands.every():
        assert f"\n## {name}\n\n```text\nUsage: {name} " in page


def test_every_route_stands_in_the_reference() -> None:
    page, document = PAGES["reference/api.md"](), api.document()
    for path, method, _ in api.routes(document):
        assert f"\n## {method.upper()} {path}\n" in page


def test_every_metric_that_is_written_has_its_labels_in_the_table() -> None:
    source: Any = metrics.Everything()
    written = {family.name for family in metrics.families(source)}
    assert written == set(metrics.LABELS)
    assert set(metrics.OF_DETAIL) <= written


@pytest.mark.real("asterisk")
async def test_what_a_running_daemon_exposes_is_what_the_reference_says(
    tmp_path: Any, asterisk: StartAsterisk
) -> None:
    said = {one.name: (one.type, set(one.labels)) for one in metrics.shown()}
    async with rich(tmp_path, asterisk) as site:
        await site.happen()
        text = (await site.daemon.get("/metrics"))[1]
    types = dict(re.findall(r"(?m)^# TYPE (\S+) (\w+)$", text))
    for name, written in re.findall(r"(?m)^(sipwatch_\w+)(?:\{(.*)\})? \S+$", text):
        family = next(
            (
                name.removesuffix(end)
                for end in NUMBERS
                if types.get(name.removesuffix(end)) == "histogram"
            ),
            name,
        )
        if family.endswith("_created"):
            continue
        labels = set(re.findall(r'(?:^|,)(\w+)="', written)) - {"le"}
        assert (family, *said[family]) == (family, types[family], labels)
