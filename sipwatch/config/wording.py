"""What is wrong with a value, in words of our own: the validator's never get out."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from checks.settings import Secret
from sipwatch.config.yaml import Document, KeyPath, Node, shorten

_QUOTED = re.compile(r"'([^']*)'")
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
_MAPPINGS = ("dict_type", "mapping_type", "dataclass_type", "dataclass_exact_type")
_SECRETS = ("password", "secret", "auth_token")  # keys of what is never shown
_FRACTIONS = ("int_from_float", "int_type", "int_parsing", "int_parsing_size")


def did_you_mean(word: str, known: Collection[str]) -> str:
    """` (did you mean interval?)`, or nothing where nothing is near."""
    close = get_close_matches(word[:100], known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def shown(value: Any) -> str:
    """A value as the file has it, short; a secret is not shown."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Secret):
        return "a secret"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else shorten(str(value))


def _list_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    example = "a, b" if isinstance(value, Mapping) or value is None else shown(value)
    return f"{shown(value)} is not a list (write [{example}])"


def _mapping_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    return f"{shown(value)} is not a mapping (write key: value)"


def _text_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    hint = f' (write "{shown(value)}")' if isinstance(value, bool) else ""
    return f"{shown(value)} is not text{hint}"


def _whole_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    return f"{shown(value)} is not a whole number"


def _number_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    return f"{shown(value)} is not a number"


def _choice_wanted(value: Any, ctx: Mapping[str, Any]) -> str:
    choices = _QUOTED.findall(str(ctx.get("expected", "")))
    hint = did_you_mean(str(value), choices)
    if len(choices) == 1:
        return f"{shown(value)} is not {choices[0]}"
    return f"{shown(value)} is none of {', '.join(choices)}{hint}"


def _own_words(value: Any, ctx: Mapping[str, Any]) -> str:
    return str(ctx.get("error") or "is not valid here")


def _bound(words: str, key: str) -> Callable[[Any, Mapping[str, Any]], str]:
    def text(value: Any, ctx: Mapping[str, Any]) -> str:
        return f"{shown(value)} is not {words} {ctx.get(key)}"

    return text


def _count(words: str, key: str) -> Callable[[Any, Mapping[str, Any]], str]:
    def text(value: Any, ctx: Mapping[str, Any]) -> str:
        return f"{words} {ctx.get(key)}"

    return text


# By the validator's name of the error; what is not here is "not valid here".
_TEXTS: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda value, ctx: "is missing",
    "list_type": _list_wanted,
    "tuple_type": _list_wanted,
    "set_type": _list_wanted,
    "frozen_set_type": _list_wanted,
    "iterable_type": _list_wanted,
    "dict_type": _mapping_wanted,
    "mapping_type": _mapping_wanted,
    "dataclass_type": _mapping_wanted,
    "dataclass_exact_type": _mapping_wanted,
    "string_type": _text_wanted,
    "bool_type": lambda value, ctx: f"{shown(value)} is not true or false",
    "bool_parsing": lambda value, ctx: f"{shown(value)} is not true or false",
    **dict.fromkeys(_FRACTIONS, _whole_wanted),
    "float_type": _number_wanted,
    "float_parsing": _number_wanted,
    "finite_number": _number_wanted,
    "literal_error": _choice_wanted,
    "enum": _choice_wanted,
    "value_error": _own_words,
    "assertion_error": _own_words,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "multiple_of": _bound("a multiple of", "multiple_of"),
    "too_short": _count("too few: at least", "min_length"),
    "too_long": _count("too many: at most", "max_length"),
    "string_too_short": _count("too short, in characters: at least", "min_length"),
    "string_too_long": _count("too long, in characters: at most", "max_length"),
    "string_pattern_mismatch": lambda value, ctx: f"{shown(value)} is malformed",
}


def tell(
    document: Document, base: KeyPath, wanted: Any, errors: Sequence[Mapping[str, Any]]
) -> None:
    """Put the validator's errors into the document, one for each place."""
    told: set[KeyPath] = set()
    for error in errors:
        path = _path(document, base, error)
        if path in told:  # the other branches of a union
            continue
        told.add(path)
        if error["type"] in _UNKNOWN_KEY:
            known = keys_at(wanted, path[len(base) : -1])
            hint = did_you_mean(str(path[-1]), known)
            document.add(path, f"unknown key{hint}", key=True)
        else:
            known = keys_at(wanted, path[len(base) :])
            text = _unsaid(error, known) or _text(error)
            document.add(*_at_its_key(document, path, text))


def _unsaid(error: Mapping[str, Any], known: Collection[str]) -> str:
    """Of a text in place of a mapping, which may be the secret that belongs into it."""
    secret = next((key for key in known if key in _SECRETS), "")
    is_text = isinstance(error.get("input"), str)
    if not secret or not is_text or error["type"] not in _MAPPINGS:
        return ""
    return f"is not a mapping (write {secret}: ...)"


def _at_its_key(document: Document, path: KeyPath, text: str) -> tuple[KeyPath, str]:
    """Where settings as a whole name the key that is wrong, or its value."""
    word, space, rest = text.partition(" ")
    key = word.removesuffix(":")
    if space and document.find((*path, key)) is not None:
        return (*path, key), rest if word.endswith(":") else text
    leaves = [leaf for leaf in _leaves(document.find(path), path) if leaf[1] in text]
    return max(leaves, key=lambda leaf: len(leaf[1]), default=(path, ""))[0], text


def _leaves(node: Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """The texts below a mapping that are long enough to be known again."""
    value = node.value if node else None
    if isinstance(value, Secret):
        value = value.reveal()
    if node is None or isinstance(value, str):
        if isinstance(value, str) and len(value) > 2:
            yield path, value
    elif isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield from _leaves(entry.node, (*path, key))
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _leaves(item, (*path, index))


def _text(error: Mapping[str, Any]) -> str:
    value = error.get("input")
    if value is None and error["type"] not in ("missing", "value_error"):
        return "has no value"
    words = _TEXTS.get(error["type"])
    text = words(value, error.get("ctx") or {}) if words else "is not valid here"
    return shorten(text, 300)


def _path(document: Document, base: KeyPath, error: Mapping[str, Any]) -> KeyPath:
    """The path in the file: the validator's, less its own names of branches."""
    path, loc = base, error["loc"]
    for index, step in enumerate(loc):
        last = index == len(loc) - 1
        is_missing = last and error["type"] == "missing"
        if is_missing or document.find((*path, step)) is not None:
            path = (*path, step)
    return path


def keys_at(wanted: Any, path: KeyPath) -> list[str]:
    """The keys that the settings of this type have at a path."""
    found = [wanted]
    for step in path:
        found = [inner for one in found for inner in _inside(one, step)]
    return [key for one in found for cls in _plain(one) for key in _hints(cls)]


def _inside(wanted: Any, step: str | int) -> Iterator[Any]:
    for one in _plain(wanted):
        arguments = typing.get_args(one)
        if step in _hints(one):
            yield _hints(one)[str(step)]
        elif arguments and not is_dataclass(one):
            yield arguments[0 if isinstance(step, int) else -1]


def _plain(wanted: Any) -> Iterator[Any]:
    """The types that a type stands for, without Annotated and unions."""
    origin = typing.get_origin(wanted)
    if origin is Annotated:
        yield from _plain(typing.get_args(wanted)[0])
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(wanted):
            yield from _plain(one)
    else:
        yield wanted


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """The keys of settings and their types; none of anything else."""
    if not is_dataclass(cls):
        return {}
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.metadata.get("alias", f.name): hints[f.name] for f in fields(cls)}
