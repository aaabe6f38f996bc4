"""The JSON Schema of the configuration, for editors: made of the settings' own."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from checks.settings import written_duration
from sipwatch.capture.sizes import written_size

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "sipwatch.yaml"
TAGS = (
    "Secrets are written `!secret name` (a systemd credential, or a file in"
    " secrets_dir) or `!env NAME`; tell the editor:"
    ' "yaml.customTags": ["!secret scalar", "!env scalar"]'
)
_FIELD = re.compile(r"\s+(\w+): [^#]*#\s*(.+)")


def document(
    sections: Mapping[str, dict[str, Any]], definitions: dict[str, Any]
) -> dict[str, Any]:
    """The schema of the file from those of its sections."""
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "description": TAGS,
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {name: _or_nothing(one) for name, one in sections.items()},
        "$defs": dict(sorted(definitions.items())),
    }


def _or_nothing(section: dict[str, Any]) -> dict[str, Any]:
    """A section may be there with all of its lines commented out."""
    return {"anyOf": [section, {"type": "null"}]}


def named(entry: dict[str, Any]) -> dict[str, Any]:
    """A section of names."""
    return {
        "type": "object",
        "propertyNames": {"pattern": r"^[^\W_][\w.-]{0,63}$"},
        "additionalProperties": entry,
    }


def listed(entry: dict[str, Any]) -> dict[str, Any]:
    """A section that is a list."""
    return {"type": "array", "items": entry}


def typed(entries: dict[str, Any]) -> dict[str, Any]:
    """A section of names whose `type` says what else they have."""
    cases = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": entry,
        }
        for name, entry in entries.items()
    ]
    return named(
        {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": list(entries)}},
            "allOf": cases,
        }
    )


def open_to_others(section: dict[str, Any]) -> None:
    """Let a `type` be the path of a stranger's class: its keys are not known here."""
    properties = section["additionalProperties"]["properties"]
    path = {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"}
    properties["type"] = {"anyOf": [properties["type"], path]}


def with_type(definition: dict[str, Any]) -> None:
    """Let settings that have no `type` of their own be found by one."""
    definition["properties"] = {"type": {"type": "string"}} | definition["properties"]


def strict(schema: Any) -> Any:
    """No unknown key; a number where text is meant; durations as one writes them."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: strict(v) for k, v in schema.items() if k != "title" or v is None}
    if isinstance(schema.get("title"), dict):  # a key of that name
        made["title"] = strict(schema["title"])
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        made["additionalProperties"] = False
    if schema.get("type") == "string" and not schema.keys() & {"enum", "const"}:
        if "pattern" not in schema:
            made["type"] = ["string", "number"]
        elif isinstance(schema.get("default"), int | float):
            made["default"] = _written(schema["default"], schema["pattern"])
    return made


def _written(value: float, pattern: str) -> str:
    """A duration or a size as one writes it."""
    return written_duration(value) if "ms" in pattern else written_size(int(value))


def describe(core: Any, definitions: dict[str, Any]) -> None:
    """Give the keys of settings the words that their source has for them."""
    if isinstance(core, list | tuple):
        for one in core:
            describe(one, definitions)
    elif isinstance(core, dict):
        cls = core.get("cls")
        if cls is not None and cls.__name__ in definitions:
            _describe(definitions[cls.__name__], cls)
        for key, inner in core.items():
            if key != "metadata":
                describe(inner, definitions)


def _describe(definition: dict[str, Any], cls: Any) -> None:
    words: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if is_dataclass(one):
            words |= _comments(one) | _docstrings(one)
    for name, text in words.items():
        key = cls.__dataclass_fields__[name].metadata.get("alias", name)
        if found := definition.get("properties", {}).get(key):
            found.setdefault("description", text)


def _docstrings(cls: Any) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    found: dict[str, str] = {}
    if not isinstance(body, ast.ClassDef):
        return found
    for before, after in zip(body.body, body.body[1:], strict=False):
        if not isinstance(before, ast.AnnAssign) or not isinstance(after, ast.Expr):
            continue
        if isinstance(before.target, ast.Name) and isinstance(
            after.value, ast.Constant
        ):
            found[before.target.id] = str(after.value.value)
    return found


def _comments(cls: Any) -> dict[str, str]:
    lines = inspect.getsource(cls).splitlines()
    matches = [found for line in lines if (found := _FIELD.match(line))]
    matches = [found for found in matches if found[1] in cls.__dataclass_fields__]
    return {found[1]: found[2][0].upper() + found[2][1:] for found in matches}
