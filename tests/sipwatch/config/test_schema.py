"""The JSON Schema that editors use, held against the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sipwatch.config import load as config
from sipwatch.config.load import schema
from sipwatch.config.yaml import read

ROOT = Path(__file__).parents[3]
BAD = ROOT / "tests" / "data" / "config" / "bad"


@pytest.fixture(scope="module")
def validator() -> Any:
    return Draft202012Validator(schema())


def tree(path: Path) -> Any:
    """As an editor reads it: YAML 1.2, and !secret and !env are strings."""
    root = read(path).root
    return root.plain if root else None


def test_the_schema_is_one_itself() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", ["minimal.yaml", "sipwatch.yaml"])
def test_the_examples_fit_the_schema(validator: Any, name: str) -> None:
    path = ROOT / "configs" / name
    assert [e.message for e in validator.iter_errors(tree(path))] == []
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=sipwatch.schema.json"


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key",
        "unknown-section",
        "unknown-nested-key",
        "bare-number-duration",
        "wrong-unit",
        "missing-uri",
        "wrong-choice",
        "wrong-code",
        "number-for-bool",
        "target-no-mapping",
        "targets-a-list",
        "name-with-slash",
        "registrar-type",
        "registrar-no-type",
        "registrar-unknown-key",
        "extensions-unknown-key",
        "extensions-no-list",
        "rule-key",
        "rule-severity",
        "rule-state",
        "notifier-type",
        "notifier-missing",
        "smtp-tls",
        "route-without-notify",
        "group-by-text",
        "not-a-mapping",
    ],
)
def test_what_the_loader_refuses_by_its_form_the_schema_refuses(
    validator: Any, name: str
) -> None:
    (path,) = BAD.glob(f"[0-9][0-9]-{name}.yaml")
    assert list(validator.iter_errors(tree(path)))


def test_every_section_and_every_type_is_in_it() -> None:
    made = schema()
    assert made["properties"].keys() == config.SECTIONS.keys()
    text = str(made)
    assert all(f"'const': '{type}'" in text for type in config.REGISTRARS)
    assert "'const': 'email'" in text


def test_keys_are_explained_where_the_source_explains_them() -> None:
    made = schema()["$defs"]
    target = made["TargetSettings"]["properties"]
    assert target["interval"]["default"] == "1m"
    assert target["interval"]["description"].startswith("Time between two questions")
    assert target["from"]["description"].startswith("The From of our requests")
    assert made["RuleSettings"]["properties"]["failures"]["description"] == "In a row"


def test_secrets_are_strings_without_a_default() -> None:
    text = str(schema())
    assert "Secret(" not in text
    assert "***" not in text
