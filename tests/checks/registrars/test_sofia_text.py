from __future__ import annotations

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.registrars.directory import Users
from checks.registrars.esl import RefusedError
from checks.registrars.sofia_text import LINE_LIMIT, Document, Element, readable
from tests.wires import freeswitch as fs


def read(body: bytes, root: str, *wanted: str, step: int = 0) -> list[Element]:
    """A document to its end, in pieces of so many bytes."""
    document = Document(root, wanted)
    found = []
    step = step or len(body) or 1
    for at in range(0, len(body), step):
        found += document.feed(body[at : at + step])
    document.close()
    return found


def body(name: str, command: str) -> bytes:
    """A recorded answer without its headers."""
    return fs.answers(name)[command].partition(b"\n\n")[2]


@pytest.mark.parametrize("version", fs.VERSIONS)
@pytest.mark.parametrize("step", [0, 1, 7, 100])
def test_the_overview_tells_profiles_from_gateways_and_aliases(
    version: str, step: int
) -> None:
    recorded = body(f"{version}-auth-ok-cmds", fs.OVERVIEW)
    assert b"</gateway>\n (retry: " in recorded
    wanted = ("profile", "gateway", "alias")
    found = read(recorded, "profiles", *wanted, step=step)
    assert [(kind, row["name"]) for kind, row in found] == [
        ("alias", "default"),
        ("profile", "external"),
        ("gateway", "gw-noreg-noping"),
        ("gateway", "gw-noreg-deadping"),
        ("gateway", "gw-noreg-ping"),
        ("gateway", "gw-dead"),
        ("gateway", "gw-badpw"),
        ("gateway", "gw-up"),
        ("alias", "fs.lab.test"),
        ("profile", "internal"),
    ]


@pytest.mark.parametrize("step", [0, 1, 33])
def test_a_row_is_its_elements_as_they_are_written(step: int) -> None:
    recorded = body("1.10.12-auth-ok-cmds", fs.REG)
    found = read(recorded, "profile", "registration", step=step)
    assert len(found) == 11
    assert found[-1] == (
        "registration",
        {
            "call-id": "1d17a0463449e1c@127.0.50.52",
            "user": "1001@fs.lab.test",
            "contact": "&quot;&quot; &lt;sip:1001@127.0.50.52:6820&gt;",
            "agent": "LabPhone/1.1001",
            "status": (
                "Registered(UDP)(unknown) exp(2026-11-20 09:54:57) expsecs(115)"
            ),
            "ping-status": "Reachable",
            "ping-time": "1.06",
            "host": "fslab110",
            "network-ip": "127.0.50.52",
            "network-port": "6820",
            "sip-auth-user": "1001",
            "sip-auth-realm": "fs.lab.test",
            "mwi-account": "1001@fs.lab.test",
        },
    )


def test_no_registrations_are_none() -> None:
    recorded = body("1.11.1-after-restart", fs.REG)
    assert read(recorded, "profile", "registration") == []


@pytest.mark.parametrize(
    "call",
    [
        "<a>@10.0.0.31",  # RFC 3261 25.1 allows `<`, `>`, `"` and `&` of none
        "a&b;<!--",
        "x</call-id><user>1002@example.com</user>",
        "</registration>",
        "<!DOCTYPE a>",
        "&amp;&#65;",
        "]]>",
    ],
)
def test_what_phones_write_is_not_taken_for_elements(call: str) -> None:
    row = fs.registration("1001@example.com", call=call)
    ((_, found),) = read(fs.xmlstatus([row]), "profile", "registration")
    assert found["call-id"] == call
    assert found["user"] == "1001@example.com"


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_a_name_is_read_in_the_encoding_it_was_written_in(encoding: str) -> None:
    rows = [
        fs.registration("1001@example.com", agent="Café 1.0", encoding=encoding),
        fs.registration("1002@example.com", agent="Phone"),
    ]
    found = read(fs.xmlstatus(rows), "profile", "registration", step=3)
    assert [readable(row["agent"]) for _, row in found] == ["Café 1.0", "Phone"]


@pytest.mark.parametrize(
    "words", ["Invalid Profile!\n", "-ERR sofia Command not found!\n", "-USAGE: x"]
)
def test_words_in_place_of_a_document_are_a_refusal(words: str) -> None:
    with pytest.raises(RefusedError, match=words.strip()[:10]):
        read(words.encode(), "profile", "registration")


HEAD = b'<?xml version="1.0"?>\n'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (HEAD + b"<profile>\n", "ends before </profile>"),
        (HEAD, "ends before"),
        (b"", "ends before"),
        (HEAD + b"<profiles>\n</profiles>\n", "<profiles> where none belongs"),
        (HEAD + b"<profile>\n</registrations>\n", "</registrations> where none"),
        (HEAD + b"<profile>\n</profile>\n<profile>\n", "goes on after"),
        (HEAD + b'<!DOCTYPE a [<!ENTITY b "c">]>\n<profile>\n', "document type"),
        (HEAD + b"<profile>\n<!-- x -->\n</profile>", "document type or a comment"),
        (HEAD + b"<profile>\n" + b"<a>\n" * 9, "<a> where none belongs"),
        (HEAD + b"<" * (LINE_LIMIT + 1), "a line of over"),
    ],
)
def test_what_is_no_whole_document_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(body, "profile", "registration")


def test_a_list_that_breaks_off_anywhere_is_no_list() -> None:
    whole = body("1.11.1-two-contacts", fs.REG).rstrip()
    for end in range(0, len(whole) - 1, 13):
        with pytest.raises(ValueError, match="ends before"):
            read(whole[:end], "profile", "registration")


@given(st.lists(st.binary(max_size=60), max_size=30), st.booleans())
def test_whatever_comes_is_rows_or_a_value_error(
    pieces: list[bytes], begun: bool
) -> None:
    document = Document("profile", {"registration"})
    if begun:
        document.feed(HEAD + b"<profile>\n  <registrations>\n    <registration>\n")
    try:
        for piece in pieces:
            document.feed(piece)
        document.close()
    except (ValueError, RefusedError):
        pass


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))
def test_any_contact_comes_back_as_it_was(text: str) -> None:
    row = fs.registration("1001@example.com", f'"{text}" <sip:1001@10.0.0.31>')
    found = read(fs.xmlstatus([row]), "profile", "registration")
    assert unescape(readable(found[0][1]["contact"])) == (
        f'"{text}" <sip:1001@10.0.0.31>'
    )


def listed(body: str, step: int = 9) -> Users:
    users = Users()
    data = body.encode()
    for at in range(0, len(data), step):
        assert users.take(data[at : at + step]) == ""
    return users


def test_the_directory_is_its_users_with_their_names() -> None:
    users = listed(
        fs.users(
            "1001@example.com|Réception",
            "1001@example.com|Réception",  # in two groups
            "1002@example.com|",
            "1003@example.com|1003",
            "1004@example.com|A | B",
        )
    )
    assert users.whole
    assert users.titles == {
        "1001@example.com": "Réception",
        "1002@example.com": "",
        "1003@example.com": "",
        "1004@example.com": "A | B",
    }


def test_a_directory_that_breaks_off_is_not_whole() -> None:
    assert not listed(fs.users("1001@example.com|Reception")[:-5]).whole


def test_a_refusal_to_list_users_is_told() -> None:
    assert "not found" in Users().take(b"-ERR list_users Command not found!\n")
