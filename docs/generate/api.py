"""The HTTP API, from the OpenAPI document of the application itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from docs.generate.metrics import Anything
from docs.generate.tables import table
from sipwatch.web.app import application

INTRO = """\
# API routes

Made of the OpenAPI document that the daemon has at `/openapi.json`. How to reach it,
who may ask and what lists look like is told in [Page and API](../api.md).

## Answers of all routes

These stand for every route; of a route alone its own are named. A refusal is
`{"detail": "a sentence"}`.

"""
METHODS = ("get", "post", "put", "delete")
SHAPES = "\n## Shapes\n\nWhat the answers above are made of, by their names.\n"

Json = Mapping[str, Any]
Answer = tuple[str, str]  # a status, and what it means


def document() -> Json:
    """The OpenAPI document of all that the Unix socket offers."""
    anything: Any = Anything()
    found: dict[str, Any] = application(
        anything, operate=True, people=anything
    ).openapi()
    return found


def routes(of: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method and operation, of all routes."""
    for path, item in of["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _name(schema: Json) -> str:
    """The name of a shape that a schema refers to; empty where it is none."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def anchor(shape: str) -> str:
    """Where a shape is told of."""
    return f"shape-{shape.lower().strip('_')}"


def _type(schema: Json) -> str:
    if name := _name(schema):
        shown = name.removeprefix("Page_").rstrip("_")
        page = "page of " if name.startswith("Page_") else ""
        return f"{page}[{shown}](#{anchor(shown)})"
    if "const" in schema:
        return f"`{schema['const']}`" if schema["const"] != "" else "nothing"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if several := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(one) for one in several))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return f"{_type(inner)} by name"
    return str(schema.get("type", "any"))


def _parameter(one: Json) -> Sequence[str]:
    schema = one.get("schema", {})
    default = schema.get("default")
    shown = "" if default in (None, "") else f"`{default}`"
    needed = " *" if one.get("required") else ""
    about = str(one.get("description", ""))
    return f"`{one['name']}`{needed}", one["in"], _type(schema), shown, about


def _keys(shape: Json) -> Iterator[Sequence[str]]:
    for key, one in shape.get("properties", {}).items():
        needed = " *" if key in shape.get("required", ()) else ""
        yield f"`{key}`{needed}", _type(one), str(one.get("description", ""))


def _body(of: Json, one: Json) -> str:
    schema = _content(one.get("requestBody", {}))
    shape = of["components"]["schemas"].get(_name(schema), schema)
    rows = list(_keys(shape))
    return "\nBody, JSON:\n\n" + table(("key", "type", "meaning"), rows) if rows else ""


def _content(of: Json) -> Json:
    """The schema of what is sent as JSON."""
    found: Json = of.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def _answers(one: Json) -> list[Answer]:
    return [
        (status, str(answer.get("description", "")))
        for status, answer in one["responses"].items()
    ]


def common(of: Json) -> list[Answer]:
    """The answers that every route may give."""
    every = [one for _, _, one in routes(of)]
    counts = Counter(answer for one in every for answer in _answers(one))
    return [answer for answer, count in counts.items() if count == len(every)]


def _operation(of: Json, one: Json, everywhere: Collection[Answer]) -> Iterator[str]:
    yield f"\n{one.get('description') or one.get('summary', '')}\n\n"
    asked = map(_parameter, one.get("parameters", ()))
    yield table(("parameter", "in", "type", "default", "meaning"), asked)
    yield _body(of, one)
    rows = []
    for status, meaning in _answers(one):
        if (status, meaning) not in everywhere:
            schema = _content(one["responses"][status])
            shape = _type(schema) if schema and _name(schema) != "Refusal" else ""
            rows.append((f"`{status}`", meaning, shape))
    yield "\n" + table(("answer", "meaning", "shape"), rows)


def _shapes(of: Json) -> Iterator[str]:
    yield SHAPES
    for name, shape in of["components"]["schemas"].items():
        if not name.startswith("Page_"):
            yield f"\n### {name} {{ #{anchor(name)} }}\n"
            yield f"\n{shape.get('description', '')}\n\n"
            yield table(("key", "type", "meaning"), _keys(shape))


def page() -> str:
    """The page of all routes."""
    of = document()
    everywhere = sorted(common(of))
    rows = [(f"`{status}`", meaning) for status, meaning in everywhere]
    parts = [INTRO, table(("answer", "meaning"), rows)]
    for path, method, one in routes(of):
        parts.append(f"\n## {method.upper()} {path}\n")
        parts += _operation(of, one, everywhere)
    return "".join([*parts, *_shapes(of)])
