"""YAML read as it is written: every value with its place, no surprises of YAML 1.1.

Only what JSON would read as a number, true, false or null is one; all else is text, and
a number remembers how it was written, so that `0123` and `no` stay `0123` and `no`.
Problems are collected, not raised: a reader of the file wants to see all of them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILE_LIMIT = 10_000_000  # bytes: a hundred thousand targets with all their keys
DEPTH_LIMIT = 32  # levels; the deepest setting has six
PROBLEM_LIMIT = 1000  # told at once; nobody reads more
SIZE_LIMIT = 2_000_000  # values once aliases are written out: an alias bomb ends here

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_REAL = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,20})?([eE][-+]?\d{1,3})?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None}
_WORDS[""] = None
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
_UNPRINTABLE = re.compile(  # YAML 1.2 5.1, less the byte order mark within a text
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PROSE = (  # what the parser says, and what helps
    ("could not find expected ':'", "this line is no `key: value` (a colon missing?)"),
    ("mapping values are not allowed", "a second colon, or a wrong indentation"),
    ("did not find expected key", "wrong indentation, or text after a closing quote"),
    ("expected '-' indicator", "wrong indentation, or a `- ` missing"),
    ("expected ',' or ']'", "a list [...] that is not closed, or a comma missing"),
    ("expected ',' or '}'", "a mapping {...} that is not closed, or a comma missing"),
    ("expected node content", "a value is missing, or a [ or { is not closed"),
    ("end of stream", "a quote that is not closed"),
    ("expected alphabetic or numeric", "* begins an alias: write a pattern in quotes"),
)

KeyPath = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing that is wrong in a configuration, and where; sorts by place."""

    file: str
    line: int  # from 1
    column: int  # from 1
    path: str  # targets.twilio.interval
    text: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.text}"


class Whole(int):
    """A whole number that remembers how it was written."""

    text: str

    def __str__(self) -> str:
        return self.text


class Real(float):
    """A number with a fraction that remembers how it was written."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True, eq=False)
class Node:
    """A value of the file and its place; `value` is scalar, Mapping or list."""

    line: int
    column: int
    value: Any
    size: int = 1  # values within, aliases written out
    tag: str = ""  # "!secret name", "!env NAME"
    broken: bool = False  # its problem is told already

    @property
    def plain(self) -> Any:
        """The value as Python's own types."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain for node in self.value]
        return self.value

    def child(self, step: str | int) -> Node | None:
        """What a key or an index leads to."""
        if isinstance(self.value, dict):
            entry = self.value.get(str(step))
            return entry.node if entry else None
        if isinstance(self.value, list) and isinstance(step, int):
            return self.value[step] if step < len(self.value) else None
        return None


class Entry(NamedTuple):
    """A key of a mapping: its place and its value."""

    line: int
    column: int
    node: Node


@dataclass(slots=True)
class Document:
    """A file as nodes, and what is wrong with it so far."""

    file: str
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)  # never in a problem's text

    def add(self, path: KeyPath, text: str, *, key: bool = False) -> None:
        """A problem at the value of this path, or at its key; once per value."""
        line, column, node = self.place(path, key=key)
        if node is not None and node.broken:
            return
        if node is not None and node.tag and not key:
            text = f"what {node.tag} holds is not valid here"  # and is not shown
        self.report(line, column, text, path)

    def report(self, line: int, column: int, text: str, path: KeyPath = ()) -> None:
        """A problem at this place."""
        for hidden in self.secrets:
            text = text.replace(hidden, "***")
        problem = Problem(self.file, line, column, written_path(path), text)
        if problem not in self.problems and len(self.problems) < PROBLEM_LIMIT:
            self.problems.append(problem)

    def find(self, path: KeyPath) -> Node | None:
        """The node of this path, if the file has it."""
        node = self.root
        for step in path:
            node = node.child(step) if node else None
        return node

    def place(self, path: KeyPath, *, key: bool) -> tuple[int, int, Node | None]:
        """Where this path is in the file, or the deepest part of it that is there."""
        line, column, node = 1, 1, self.root
        for index, step in enumerate(path):
            child = node.child(step) if node else None
            if child is None or node is None:
                return line, column, None
            line, column = child.line, child.column
            last = index == len(path) - 1
            if isinstance(node.value, dict) and (key or not last or _opens(child)):
                entry = node.value[str(step)]
                line, column = entry.line, entry.column
            node = child
        return line, column, node


def _opens(node: Node) -> bool:
    """Whether its problem is better shown at its key: it has lines or nothing."""
    return isinstance(node.value, dict | list) or node.value is None


def written_path(path: KeyPath) -> str:
    """targets.twilio.interval, routes[0].notify."""
    text = ""
    for step in path:
        shown = shorten(str(step))
        text += f"[{shown}]" if isinstance(step, int) else f".{shown}"
    return text.removeprefix(".")


def shorten(text: str, limit: int = 60) -> str:
    """Text from the file as a message may carry it: one line, bounded."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text and text.isprintable():
        return text
    return repr(text)


def read(path: Path | str) -> Document:
    """Read a file: its nodes, or the problems that keep it from having any."""
    document = Document(str(path))
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        document.report(1, 1, f"cannot be read: {error.strerror or error}")
        return document
    return parse(data, document)


def parse(data: bytes, document: Document) -> Document:
    """Fill a document from the bytes of its file."""
    text = _decoded(data, document)
    if text is None:
        return document
    try:
        document.root = _Composer(text, document).document()
    except _StopError as stop:
        document.report(stop.line, stop.column, stop.text)
        document.root = None
    except yaml.MarkedYAMLError as error:
        _report_syntax(document, error, text)
        document.root = None
    return document


def _decoded(data: bytes, document: Document) -> str | None:
    if len(data) > FILE_LIMIT:
        document.report(1, 1, f"is larger than {FILE_LIMIT // 1_000_000} MB")
        return None
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        document.report(*_position(before), "is not UTF-8 from here on")
        return None
    if found := _UNPRINTABLE.search(text):
        line, column = _position(text[: found.start()])
        code = f"U+{ord(found.group()):04X}"
        document.report(line, column, f"a control character ({code})")
        return None
    return text


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _report_syntax(document: Document, error: Any, text: str) -> None:
    problem = error.problem or "cannot be read"
    said = f"{error.context or ''} {problem}"
    ours = next((ours for theirs, ours in _PROSE if theirs in said), None)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if mark and "cannot start any token" in said:
        ours = _cannot_begin(text[mark.index : mark.index + 1])
    document.report(line, column, ours or f"is not YAML: {problem}")


def _cannot_begin(character: str) -> str:
    if character == "\t":
        return "a tab: indent with spaces"
    return f"{character} cannot begin a value: write it in quotes"


class _StopError(Exception):
    """Nothing after this place can be read."""

    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.line, self.column, self.text = mark.line + 1, mark.column + 1, text


class _Composer:
    """Makes nodes of the parser's events: its own bounds, duplicate keys seen."""

    def __init__(self, text: str, document: Document) -> None:
        self._parser = _LOADER(text)
        self._next = self._parser.get_event
        self._document = document
        self._anchors: dict[str, Node] = {}
        self._path: list[str | int] = []  # of what is being composed

    def document(self) -> Node:
        """The one document of the file."""
        self._next()  # stream start
        event: Any = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            raise _StopError(event.start_mark, "is empty")
        root = self._node(self._next(), 0)
        self._next()  # document end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _StopError(
                event.start_mark, "a second document (---): only one is read"
            )
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > DEPTH_LIMIT:
            raise _StopError(
                event.start_mark, f"nested deeper than {DEPTH_LIMIT} levels"
            )
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        else:
            node = self._collection(event, depth)
        if node.size > SIZE_LIMIT:
            raise _StopError(event.start_mark, f"holds more than {SIZE_LIMIT:,} values")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _collection(self, event: Any, depth: int) -> Node:
        mark = event.start_mark
        node = Node(mark.line + 1, mark.column + 1, None)
        if event.tag is not None:
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
            if event.tag not in ("!", f"tag:yaml.org,2002:{kind}"):
                self._unknown_tag(event)
        if isinstance(event, yaml.MappingStartEvent):
            node.value = self._mapping(depth)
            node.size += sum(entry.node.size for entry in node.value.values())
        else:
            node.value = self._sequence(depth)
            node.size += sum(item.size for item in node.value)
        return node

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            name = shorten(event.anchor)
            text = (
                f"*{name}: no &{name} before it (is it a pattern? write it in quotes)"
            )
            raise _StopError(event.start_mark, text)
        return node

    def _sequence(self, depth: int) -> list[Node]:
        nodes: list[Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path.append(len(nodes))
            nodes.append(self._node(event, depth + 1))
            self._path.pop()
        return nodes

    def _mapping(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: list[tuple[Any, Node]] = []
        event: Any = None
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _StopError(event.start_mark, "a key must be plain text")
            mark: Any = event.start_mark
            name = event.value
            self._path.append(name)
            self._check_key(event, entries)
            node = self._node(self._next(), depth + 1)
            self._path.pop()
            if name == "<<" and event.implicit[0]:
                merged.append((mark, node))
            else:
                entry = Entry(mark.line + 1, mark.column + 1, node)
                entries.setdefault(name, entry)
        for mark, node in merged:
            self._merge(entries, node, mark)
        return entries

    def _check_key(self, event: Any, entries: Mapping[str, Entry]) -> None:
        mark = event.start_mark
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            self._unknown_tag(event)
        if first := entries.get(event.value):
            self._report(mark, f"duplicate key (first on line {first.line})")

    def _merge(self, entries: dict[str, Entry], node: Node, mark: Any) -> None:
        """`<<: *base` (YAML 1.1 merge): the keys of the base that are not given."""
        bases = node.value if isinstance(node.value, list) else [node]
        for base in bases:
            if not isinstance(base.value, dict):
                raise _StopError(mark, "<<: takes a mapping: write <<: *name")
            for key, entry in base.value.items():
                entries.setdefault(key, entry)

    def _scalar(self, event: Any) -> Node:
        mark = event.start_mark
        node = Node(mark.line + 1, mark.column + 1, event.value)
        if event.tag is None:
            if event.implicit[0]:
                node.value = resolved(event.value)
        elif event.tag in ("!secret", "!env"):
            node.tag = f"{event.tag} {shorten(event.value)}"
        elif event.tag not in _TEXT_TAGS:
            self._unknown_tag(event)
            node.broken = True
        return node

    def _unknown_tag(self, event: Any) -> None:
        mark = event.start_mark
        tag = shorten(event.tag.replace("tag:yaml.org,2002:", "!!"))
        self._report(mark, f"{tag}: unknown tag (there are !secret and !env)")

    def _report(self, mark: Any, text: str) -> None:
        path = tuple(self._path)
        self._document.report(mark.line + 1, mark.column + 1, text, path)


def resolved(text: str) -> Any:
    """A plain scalar as JSON would read it; anything else is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        whole = Whole(text)
        whole.text = text
        return whole
    if _REAL.fullmatch(text):
        real = Real(text)
        real.text = text
        return real
    return text
