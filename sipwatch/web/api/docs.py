"""`/docs`: the OpenAPI document for people, without a script and without a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


class Field(NamedTuple):
    """One parameter of a request, or one member of a value."""

    name: str
    kind: str
    needed: bool
    text: str


class Answer(NamedTuple):
    """What comes back under one status."""

    code: str
    text: str
    kinds: tuple[str, ...]
    shape: str  # the name of a schema, or nothing


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    text: str
    parameters: tuple[Field, ...]
    body: str
    answers: tuple[Answer, ...]

    @property
    def anchor(self) -> str:
        """Where on the page it is."""
        return f"{self.method}{self.path}".strip("/")


class Shape(NamedTuple):
    """A schema by its name."""

    name: str
    text: str
    fields: tuple[Field, ...]


def add_docs(app: FastAPI) -> None:
    """The page and its style."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_page(app), headers=POLICY)

    @app.get("/docs/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(
            _environment().get_template("docs.css").render(),
            200,
            None,
            "text/css; charset=utf-8",
        )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("sipwatch.web.api", "."),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(app: FastAPI) -> str:
    document = app.openapi()
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[Route]] = {}
    for group, route in _routes(document):
        groups.setdefault(group, []).append(route)
    shapes = [_shape(name, schema) for name, schema in sorted(schemas.items())]
    return (
        _environment()
        .get_template("docs.html")
        .render(
            title=document["info"]["title"],
            version=document["info"]["version"],
            groups=groups,
            shapes=shapes,
        )
    )


def _routes(document: dict[str, Any]) -> Iterator[tuple[str, Route]]:
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            body = said.get("requestBody", {}).get("content", {})
            yield (
                next(iter(said.get("tags", ())), "other"),
                Route(
                    method.upper(),
                    path,
                    said.get("description") or said.get("summary", ""),
                    tuple(map(_parameter, said.get("parameters", ()))),
                    next((_kind(one.get("schema", {})) for one in body.values()), ""),
                    tuple(
                        _answer(code, one)
                        for code, one in sorted(said["responses"].items())
                    ),
                ),
            )


def _parameter(said: dict[str, Any]) -> Field:
    schema = said.get("schema", {})
    needed = bool(said.get("required"))
    return Field(said["name"], _kind(schema), needed, said.get("description", ""))


def _answer(code: str, said: dict[str, Any]) -> Answer:
    content = said.get("content", {})
    shape = next((_kind(one.get("schema", {})) for one in content.values()), "")
    return Answer(code, said.get("description", ""), tuple(content), shape)


def _shape(name: str, schema: dict[str, Any]) -> Shape:
    needed = schema.get("required", ())
    fields = tuple(
        Field(field, _kind(said), field in needed, said.get("description", ""))
        for field, said in schema.get("properties", {}).items()
    )
    return Shape(name, schema.get("description", ""), fields)


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words: `string, null`, `list of ExtensionRow`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if several := schema.get("anyOf"):
        return ", ".join(dict.fromkeys(map(_kind, several)))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else ()):
        return " | ".join(
            repr(value) if value == "" else str(value) for value in values
        )
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(
        of := schema.get("additionalProperties"), dict
    ):
        return f"object of {_kind(of)}"
    return str(schema.get("type", "any value"))
