from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.sip.params import Params, quoted, split, unquoted
from checks.sip.uri import NameAddr, SipUri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:example.com", SipUri("example.com")),
        ("SIP:a@Example.com", SipUri("Example.com", "a")),
        (
            "sips:a:b@example.com:5061",
            SipUri("example.com", "a", 5061, scheme="sips", password="b"),
        ),
        (
            "sip:a@example.com;transport=tcp;lr?Subject=hi%20there&x=",
            SipUri(
                "example.com",
                "a",
                params=Params([("transport", "tcp"), ("lr", None)]),
                headers=Params([("Subject", "hi there"), ("x", "")]),
            ),
        ),
        ("sip:[2001:DB8::1]:5060", SipUri("2001:db8::1", None, 5060)),
        (
            "sip:+1-212-555-1212@192.0.2.1;user=phone",
            SipUri("192.0.2.1", "+1-212-555-1212", params=Params.parse("user=phone")),
        ),
        ("sip:%61lice%40corp@example.com", SipUri("example.com", "alice@corp")),
        ("sip:a;day=tuesday@example.com", SipUri("example.com", "a;day=tuesday")),
        ("sip:*97@pbx", SipUri("pbx", "*97")),
        ("sip:@example.com", SipUri("example.com", "")),
        ("sip:example.com;", SipUri("example.com")),
        ("sip:%ff@example.com", SipUri("example.com", "\udcff")),
    ],
)
def test_a_uri_is_read_and_written_again(text, uri):
    assert SipUri.parse(text) == uri
    assert SipUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "", "sip:", "tel:+12125551212", "example.com", "sip:a@", "sip:a b@example.com",
        "sip:a@b@example.com", "sip:example.com:0", "sip:example.com:65536",
        "sip:example.com:123456", "sip:[::1", "sip:[192.0.2.1]", "sip:[zz]", "sip:::1",
        "sip:a@example.com;x=<y>", " sip:example.com", "sip:exa mple.com",
        "sip:b\u00fccher.example", "sip:example.com\r\nX: y",
    ],
)  # fmt: skip
def test_what_is_no_sip_uri_is_refused(text):
    with pytest.raises(ValueError):
        SipUri.parse(text)


@pytest.mark.parametrize(
    ("text", "transport"),
    [
        ("sip:a", None),
        ("sip:a;transport=TCP", "tcp"),
        ("sip:a;Transport=tls", "tls"),
        ("sips:a", "tls"),
        ("sips:a;transport=tcp", "tls"),
        ("sip:a;transport=ws", "ws"),
    ],
)
def test_the_transport_is_what_the_uri_asks_for(text, transport):
    assert SipUri.parse(text).transport == transport


def test_an_aor_has_neither_port_nor_parameters():
    assert SipUri.parse("sip:Bob@EXAMPLE.com:5070;lr").aor == "Bob@example.com"
    assert SipUri.parse("sip:EXAMPLE.com").aor == "example.com"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@b>", NameAddr("sip:a@b")),
        ("sip:a@b;tag=1", NameAddr("sip:a@b", "", Params([("tag", "1")]))),
        (
            '"A \\"the\\" B" <sip:a@b;lr>;tag=1;x',
            NameAddr("sip:a@b;lr", 'A "the" B', Params([("tag", "1"), ("x", None)])),
        ),
        ("A B<sip:a@b>", NameAddr("sip:a@b", "A B")),
        ('"<sip:x@y>" <tel:+1>', NameAddr("tel:+1", "<sip:x@y>")),
        ('"" <sip:a@b>', NameAddr("sip:a@b")),
    ],
)
def test_an_address_is_read_and_written_again(text, address):
    assert NameAddr.parse(text) == address
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", '"a <sip:b>', "<sip:b", "a <b> c", "<", '"a" sip:b']
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError):
        NameAddr.parse(text)


def test_parameters_compare_without_case_and_order_but_keep_both():
    params = Params([("Tag", "1"), ("lr", None), ("tag", "2")])
    assert params == Params([("LR", None), ("tag", "1")])
    assert hash(params) == hash(Params([("LR", None), ("tag", "1")]))
    assert params["TAG"] == "1"
    assert str(params) == ";Tag=1;lr;tag=2"
    assert str(params.with_("tag", "a b")) == ';lr;tag="a b"'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("a, b ,c", ["a", "b", "c"]),
        ('"a, b" <c,d>, e', ['"a, b" <c,d>', "e"]),
        ('"a\\", b", c', ['"a\\", b"', "c"]),
        ('"a, b', ['"a, b']),
        ("<a, b", ["<a, b"]),
        (",,", ["", "", ""]),
    ],
)
def test_a_list_is_split_outside_of_quotes_and_brackets(text, parts):
    assert split(text, ",") == parts


@settings(deadline=None)
@given(st.text())
def test_what_is_quoted_reads_as_it_was(text):
    assert unquoted(quoted(text)) == text


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(_TEXT, _TEXT)
def test_any_user_and_parameter_survives_a_uri(user, value):
    uri = SipUri("example.com", user, params=Params([("x", value)]))
    assert SipUri.parse(str(uri)) == uri


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_uri_or_refused(text):
    for candidate in (text, f"sip:{text}", f"sip:a@{text}", f"<sip:{text}>;{text}"):
        for read in (SipUri.parse, NameAddr.parse):
            try:
                assert read(str(read(candidate))) == read(candidate)
            except ValueError:
                continue


@settings(deadline=None)
@given(st.text('",<>;\\ ab', max_size=40))
def test_the_parts_of_a_list_hold_every_character(text):
    kept = "".join(split(text, ",")).replace(" ", "").replace(",", "")
    assert kept == text.replace(" ", "").replace(",", "")
