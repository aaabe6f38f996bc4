"""Long lists are decoded some rows at a time, and are what they are as a whole."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.registrars import cutting, kamailio, mi
from checks.registrars.cutting import Cut, Marks
from tests.wires import kamailio as kam
from tests.wires.opensips import Contact, shown

EVIL = (
    ']},{"name":"x","AORs":[',
    '],"Stats":{"Records":0}',
    '"AoRs":[{"Info":{}},{"Info":1}]',
    ',{"AOR":',
    ']}]},"id":1}',
    '\\"AoRs\\":[',
    "\\",
)
FORMS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {},
    {"indent": "\t"},
    {"indent": 2, "separators": (" , ", " : ")},
]


def of_kamailio(*tables: list[str]) -> dict[str, Any]:
    domains = []
    for n, agents in enumerate(tables):
        aors = list(kam.crowd(len(agents), 9e8, 8e8))
        for row, agent in zip(aors, agents, strict=False):
            row["Info"]["Contacts"][0]["Contact"]["User-Agent"] = agent
        stats = {"Records": len(aors), "Max-Slots": 8}
        domains.append({"Domain": f"t{n}", "Size": 8, "AoRs": aors, "Stats": stats})
    result = {"Domains": [{"Domain": domain} for domain in domains]}
    return {"jsonrpc": "2.0", "result": result, "id": 1}


def of_opensips(*tables: list[str]) -> dict[str, Any]:
    domains = []
    for n, agents in enumerate(tables):
        several = [
            Contact(f"{m}@lab", f"sip:{m}@10.0.0.1", 9e8, agent)
            for m, agent in enumerate(agents)
        ]
        rows = [{"AOR": c.aor, "Contacts": [shown(c, 8e8)]} for c in several]
        domains.append({"name": f"t{n}", "hash_size": 512, "AORs": rows})
    return {"jsonrpc": "2.0", "result": {"Domains": domains}, "id": 1}


def cut_rows(answer: dict[str, Any], marks: Marks, **form: Any) -> Any:
    """What the cut-out rows and the rest of an answer hold."""
    found = Cut(json.dumps(answer, **form).encode(), marks)
    several = [json.loads(rows) for rows in found.rows()]
    return [row for rows in several for row in rows], json.loads(found.rest)


def aors_of(answer: dict[str, Any], name: str) -> list[Any]:
    """The rows of an answer, which are taken out of it."""
    rows: list[Any] = []
    for domain in answer["result"]["Domains"]:
        table = domain.get("Domain", domain)
        rows += table[name]
        table[name] = []
    return rows


KINDS = [
    pytest.param(of_kamailio, kamailio.AORS, "AoRs", id="kamailio"),
    pytest.param(of_opensips, mi.AORS, "AORs", id="opensips"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("make", "marks", "name"), KINDS)
@pytest.mark.parametrize(
    "tables", [[[]], [["a"]], [["a", "b"], [], ["c"]], [list(EVIL), list(EVIL)]]
)
def test_what_is_cut_out_is_what_was_there(
    make: Any,
    marks: Marks,
    name: str,
    tables: list[list[str]],
    form: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "BATCH", 1)
    answer = make(*tables)
    rows, rest = cut_rows(answer, marks, **form)
    assert rows == aors_of(answer, name)
    assert rest == answer


@pytest.mark.parametrize(("make", "marks", "name"), KINDS)
@given(st.lists(st.text(), max_size=6))
def test_no_word_of_a_phone_is_taken_for_a_mark(
    make: Any, marks: Marks, name: str, agents: list[str]
) -> None:
    answer = make(agents, agents)
    rows, rest = cut_rows(answer, marks, ensure_ascii=False)
    assert rows == aors_of(answer, name)
    assert rest == answer


@pytest.mark.parametrize(("make", "marks", "name"), KINDS)
def test_a_long_list_comes_in_pieces(make: Any, marks: Marks, name: str) -> None:
    found = Cut(json.dumps(make(["Phone"] * 2_000)).encode(), marks)
    sizes = [len(rows) for rows in found.rows()]
    assert len(sizes) > 3
    assert max(sizes) < cutting.BATCH + 2_000
    assert len(found.rest) < 300


@pytest.mark.parametrize("marks", [kamailio.AORS, mi.AORS])
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'"AoRs":[', b'"AORs":[{"AOR":1}', b'{"result":{"AoRs":[{"Info":'],
)
def test_what_is_otherwise_is_left_whole(marks: Marks, body: bytes) -> None:
    found = Cut(body, marks)
    assert list(found.rows()) == []
    assert found.rest == body


@given(st.binary())
def test_any_bytes_are_cut_in_time(body: bytes) -> None:
    marks = Marks(re.compile(rb"\["), re.compile(rb"\]"), re.compile(rb","))
    found = Cut(body, marks)
    rows = list(found.rows())
    assert len(found.rest) + sum(map(len, rows)) <= 3 * len(body)
