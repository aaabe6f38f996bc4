"""YAML as it is written: places, bounds, secrets, and nothing of YAML 1.1."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checks.settings import Secret
from sipwatch.config import load as config
from sipwatch.config.credentials import reveal
from sipwatch.config.load import ConfigError, load
from sipwatch.config.yaml import Document, Problem, parse, resolved


def read(text: str | bytes) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return parse(data, Document("f"))


def problems(text: str | bytes) -> list[str]:
    return [str(problem) for problem in read(text).problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12", 12),
        ("-1", -1),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ("", None),
        ("0123", "0123"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        (".inf", ".inf"),
        ("+1", "+1"),
        ("9" * 400, "9" * 400),
        ("2xx", "2xx"),
    ],
)
def test_a_plain_scalar_is_what_json_would_read(written: str, value: Any) -> None:
    found = resolved(written)
    assert found == value
    assert isinstance(found, type(value))


@pytest.mark.parametrize("written", ["1.50", "1e3", "-0", "10", "0.10"])
def test_a_number_remembers_how_it_was_written(written: str) -> None:
    assert str(resolved(written)) == written


def test_every_value_has_its_place() -> None:
    document = read("a:\n  - b: [x, 'y']\n    c: |\n      z\n")
    node = document.find(("a", 0, "b", 1))
    assert node is not None
    assert (node.line, node.column, node.value) == (2, 12, "y")
    assert document.place(("a", 0, "c"), key=True)[:2] == (3, 5)
    assert document.root is not None
    assert document.root.plain == {"a": [{"b": ["x", "y"], "c": "z\n"}]}


def test_columns_count_characters() -> None:
    assert problems("é: {a: 1, a: 2}") == [
        "f:1:11: é.a: duplicate key (first on line 1)"
    ]


def test_all_duplicates_are_told() -> None:
    assert len(problems("a: 1\na: 2\nb: {c: 1, c: 2, c: 3}\n")) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "f:1:34: nested deeper than 32 levels"),
        ("a: &a [*a]", "f:1:8: *a: no &a before it"),
        ("? [a]\n: b", "f:1:3: a key must be plain text"),
        ("<<: x\n", "f:1:1: <<: takes a mapping: write <<: *name"),
        ("a: \0", "f:1:4: a control character (U+0000)"),
        ("a: 1\n\x07b: 2", "f:2:1: a control character (U+0007)"),
        (b"\xef\xbb\xbfa: \xc3", "f:1:4: is not UTF-8 from here on"),
        ("%YAML 3.0\n---\na", "f:1:1: is not YAML: found incompatible YAML document"),
        ("a: 'x", "f:1:6: a quote that is not closed"),
    ],
)
def test_what_cannot_be_read_is_told_once(text: str | bytes, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_a_bomb_of_aliases_ends_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 30):
        several = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} [{several}]")
    (found,) = problems("\n".join(lines))
    assert "holds more than 2,000,000 values" in found


def test_an_anchor_can_be_used_again() -> None:
    document = read("a: &x {k: 1}\nb: *x\nc: {<<: [*x, {l: 2}], k: 3}\n")
    assert document.root is not None
    assert document.root.plain == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 3, "l": 2}}


def test_a_quoted_merge_key_is_a_key() -> None:
    document = read("'<<': x")
    assert document.root is not None
    assert document.root.plain == {"<<": "x"}


def revealed(text: str, **environ: str) -> tuple[Any, list[str]]:
    document = read(text)
    reveal(document, environ)
    return document.root and document.root.plain, [str(p) for p in document.problems]


def test_a_secret_is_a_credential_before_it_is_a_file(tmp_path: Path) -> None:
    credentials, folder = tmp_path / "credentials", tmp_path / "secrets"
    for place, names in ((credentials, "a secrets_b"), (folder, "a b c")):
        place.mkdir()
        for name in names.split():
            (place / name).write_text(f"{place.name}/{name}\r\n")
    text = f"{{x: [!secret a, !secret b, !secret c], secrets_dir: '{folder}'}}"
    value, wrong = revealed(text, CREDENTIALS_DIRECTORY=str(credentials))
    assert not wrong
    assert [secret.reveal() for secret in value["x"]] == [
        "credentials/a",
        "credentials/secrets_b",
        "secrets/c",
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty or not a text"),
        (b"\n", "is empty or not a text"),
        (b"a\0b", "is empty or not a text"),
        (b"\xff", "is not UTF-8"),
        (b"x" * 65_537, "is larger than 64 kB"),
    ],
)
def test_a_secret_that_is_none_is_told(
    tmp_path: Path, content: bytes, text: str
) -> None:
    (tmp_path / "pw").write_bytes(content)
    _, wrong = revealed(f"{{a: !secret pw, secrets_dir: '{tmp_path}'}}")
    assert wrong == [f"f:1:5: a: !secret pw: {text}"]


def test_a_secret_keeps_its_inner_lines_and_loses_the_last_end(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("one\ntwo\n\n")
    value, _ = revealed(f"{{a: !secret pw, secrets_dir: '{tmp_path}'}}")
    assert value["a"] == Secret("one\ntwo\n")


@pytest.mark.parametrize("name", ["../pw", "a/b", "/etc/shadow", "", ".hidden", "a\nb"])
def test_the_name_of_a_secret_is_no_path(name: str) -> None:
    (found,) = revealed(f"a: !secret {name!r}")[1]
    assert "a name has letters, digits, - _ and . only" in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_secret_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x")
    (tmp_path / "pw").chmod(0)
    (found,) = revealed(f"{{a: !secret pw, secrets_dir: '{tmp_path}'}}")[1]
    assert found.endswith("pw: Permission denied")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !env NONE", "!env NONE: no such variable in the environment"),
        ("a: !env EMPTY", "!env EMPTY: the variable is empty"),
        ("a: !env 'A B'", "!env A B: is no name of a variable"),
    ],
)
def test_a_variable_that_is_not_there_is_told(text: str, problem: str) -> None:
    assert revealed(text, EMPTY="")[1] == [f"f:1:4: a: {problem}"]


def test_problems_sort_by_place() -> None:
    first, second = Problem("f", 9, 1, "b", "x"), Problem("f", 10, 1, "a", "x")
    assert sorted([second, first]) == [first, second]


WORDS = [
    "60s",
    "sip:10.0.0.5",
    "asterisk",
    "email",
    "kamailio",
    "hq",
    "critical",
    "*x",
    "&x",
    "<<",
    "10*",
    "tests.sipwatch.strangers:Board",
]
KEYS = [
    "uri",
    "type",
    "address",
    "extensions",
    "include",
    "smtp",
    "to",
    "from",
    "notify",
    "match",
    "severity",
    "site",
    "for",
    "on",
    "state",
    "listen",
    "metrics",
    "allow",
    "file",
    "interval",
    "above",
    "where",
    "by",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["!env A", "!secret b", *WORDS]),
)
NAMES = st.sampled_from([*config.SECTIONS, *KEYS]) | st.text(max_size=6)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, max_size=4)
    return several | st.dictionaries(NAMES, inner, max_size=5)


TREES = st.dictionaries(
    st.sampled_from(list(config.SECTIONS)),
    st.dictionaries(NAMES, st.recursive(SCALARS, nested, max_leaves=12), max_size=4)
    | st.recursive(SCALARS, nested, max_leaves=8),
    max_size=6,
)


def flow(value: Any) -> str:
    """YAML's flow form, quoted by chance of the value only."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    return str(value)


def attempt(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        load(path, {"A": "value of A"})
    except ConfigError as error:
        lines = str(error).splitlines()
    else:
        return
    assert lines
    assert all(line.startswith(f"{path}:") for line in lines)
    assert "value of A" not in "".join(lines)


@settings(deadline=None)
@given(TREES)
def test_no_tree_raises_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    attempt(path, flow(tree).encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"\xff\xfe")
@example(b"? ? ?")
@example(b"--- !env A\n")
@example(b"&a {<<: *a}")
@example(b"targets: {<<: [[1]]}")
def test_no_bytes_raise_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    attempt(tmp_path_factory.getbasetemp() / "bytes.yaml", data)
