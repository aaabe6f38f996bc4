"""The HTTP API, from the OpenAPI document of the application itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from docs.generate.metrics import Anything
from docs.generate.tables import table
from sipwatch.web.app import application

INTRO = """\
# API routes

Made of the OpenAPI document that the daemon has at `/openapi.json`. How to reach it,
who may ask and what lists look like is told in [Page and API](../api.md).
"""
METHODS = ("get", "post", "put", "delete")


def document() -> Mapping[str, Any]:
    """The OpenAPI document of all that the Unix socket offers."""
    anything: Any = Anything()
    found: dict[str, Any] = application(
        anything, operate=True, people=anything
    ).openapi()
    return found


def routes(of: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and operation, of all routes."""
    for path, item in of["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if several := schema.get("anyOf"):
        named = [_type(one) for one in several if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(named))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _parameter(one: Mapping[str, Any]) -> Sequence[str]:
    schema = one.get("schema", {})
    default = schema.get("default")
    shown = "" if default in (None, "") else f"`{default}`"
    needed = " *" if one.get("required") else ""
    about = str(one.get("description", ""))
    return f"`{one['name']}`{needed}", one["in"], _type(schema), shown, about


def _fields(
    of: Mapping[str, Any], content: Mapping[str, Any]
) -> Iterator[Sequence[str]]:
    """The keys of a body that is described by one schema."""
    schema = content.get("application/json", {}).get("schema", {})
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    shape = of.get("components", {}).get("schemas", {}).get(name, schema)
    for key, one in shape.get("properties", {}).items():
        needed = " *" if key in shape.get("required", ()) else ""
        yield f"`{key}`{needed}", _type(one), str(one.get("description", ""))


def _operation(
    of: Mapping[str, Any], path: str, method: str, one: Mapping[str, Any]
) -> Iterator[str]:
    yield f"\n## {method.upper()} {path}\n"
    about = one.get("description") or one.get("summary", "")
    yield f"\n{about}\n\n"
    asked = map(_parameter, one.get("parameters", ()))
    yield table(("parameter", "in", "type", "default", "meaning"), asked)
    body = list(_fields(of, one.get("requestBody", {}).get("content", {})))
    if body:
        yield "\nBody, JSON:\n\n" + table(("key", "type", "meaning"), body)
    answers = [
        (f"`{status}`", str(answer.get("description", "")))
        for status, answer in one.get("responses", {}).items()
    ]
    yield "\n" + table(("answer", "meaning"), answers)


def page() -> str:
    """The page of all routes."""
    of = document()
    parts = [INTRO]
    for path, method, one in routes(of):
        parts += _operation(of, path, method, one)
    return "".join(parts)
