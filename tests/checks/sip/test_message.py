from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.sip.fields import CSeq, Reason, Warning, delta_seconds
from checks.sip.headers import Headers, canonical, written
from checks.sip.message import HEADER_LIMIT, MESSAGE_LIMIT, Request, Response, parse
from checks.sip.params import Params
from checks.sip.uri import NameAddr
from checks.sip.via import Via

DATA = Path(__file__).parents[2] / "data" / "sip"
CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "rfc4475"

VALID = {
    *("wsinv", "intmeth", "esc01", "escnull", "esc02", "lwsdisp", "longreq"),
    *("dblreq", "semiuri", "transports", "mpart01", "unreason", "noreason"),
}

# RFC 4475 3.1.2 and after: what is wrong, by the section's own words; None: not SIP.
FAULTY: dict[str, tuple[str, ...] | None] = {
    "badinv01": ("bad via",),
    "clerr": ("content_length_long",),
    "ncl": ("bad content-length",),
    "scalar02": ("bad cseq", "bad max-forwards", "bad expires"),
    "scalarlg": ("bad cseq", "bad retry-after", "bad warning"),
    "quotbal": ("bad to",),
    "ltgtruri": ("bad request-uri",),
    "lwsruri": ("start_line_space", "bad request-uri"),
    "lwsstart": ("start_line_space",),
    "trws": ("start_line_space",),
    "escruri": ("bad request-uri",),
    "baddate": ("bad date",),
    "regbadct": ("bad contact",),
    "badaspec": ("bad to",),
    "baddn": ("unterminated", "bad from", "bad to"),
    "badvers": ("version",),
    "mismatch01": ("cseq_method",),
    "mismatch02": ("cseq_method",),
    "bigcode": None,
    "badbranch": ("bad branch",),
    "insuf": ("missing from", "missing to", "missing call-id"),
    "mcl01": ("duplicate content-length",),
    "multi01": (
        "duplicate call-id",
        "duplicate cseq",
        "duplicate from",
        "duplicate max-forwards",
        "duplicate to",
    ),
}


def torture(name: str) -> bytes:
    own = DATA / "rfc4475" / f"{name}.dat"
    return (own if own.exists() else CORPUS / f"{name}.dat").read_bytes()


def torture_names() -> list[str]:
    folders = [DATA / "rfc4475", *([CORPUS] if CORPUS.exists() else [])]
    return sorted({path.stem for folder in folders for path in folder.glob("*.dat")})


@pytest.mark.parametrize("name", torture_names())
def test_the_torture_messages_are_read_and_their_faults_named(name):
    expected = FAULTY.get(name, ())
    if expected is None:
        with pytest.raises(ValueError):
            parse(torture(name))
    else:
        assert parse(torture(name)).faults == expected


def test_the_own_copies_hold_valid_and_faulty_ones():
    own = {path.stem for path in (DATA / "rfc4475").glob("*.dat")}
    assert len(own & VALID) >= 8
    assert len(own & FAULTY.keys()) >= 8


def test_a_tortuous_invite_is_read_right():
    message = parse(torture("wsinv"))
    assert message.start_line == (
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0"
    )
    assert message.to == NameAddr(
        "sip:vivekg@chair-dnrc.example.com", "", Params([("tag", "1918181833n")])
    )
    assert message.from_ == NameAddr(
        "sip:jdrosen@example.com", 'J Rosenberg \\"', Params([("tag", "98asjd8")])
    )
    assert message.get("max-forwards") == "0068"
    assert message.call_id == "wsinv.ndaksdj@192.0.2.1"
    assert message.cseq == CSeq(9, "INVITE")
    assert [(v.transport, v.host, v.branch) for v in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert message.get("subject") == ""
    assert (
        message.get("newfangledheader") == "newfangled value continued newfangled value"
    )
    assert message.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    (contact,) = message.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.params["q"] == "0.33"
    assert contact.params["newparam"] == "newvalue"
    assert len(message.body) == 150
    assert message.oddities == (
        "folded",
        "space_before_colon",
        "compact",
        "several_in_line via",
        "branch_of_rfc2543",
    )


def test_every_token_character_may_name_a_method_and_a_header():
    message = parse(torture("intmeth"))
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    uri = message.sip_uri
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert uri.host == "example.com"
    assert message.to.display.startswith("BEL:\x07 NUL:\x00 DEL:\x7f")
    assert message.get("extensionHeader-!.%*+_`'~").startswith("\ufeff")


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("esc01", "sips:user@example.com"),
        ("semiuri", "user;par=u@example.net"),
    ],
)
def test_escapes_belong_to_the_user_part(name, user):
    assert parse(torture(name)).sip_uri.user == user


def test_an_escaped_nul_is_a_character_like_others():
    message = parse(torture("escnull"))
    assert message.to.sip.user == "null-\0-null"
    assert [c.sip.user for c in message.contacts] == ["\0", "\0\0"]


def test_octets_behind_content_length_are_no_body():
    message = parse(torture("dblreq"))
    assert message.method == "REGISTER"
    assert message.body == b""
    assert "trailing_octets" in message.oddities


def test_a_response_needs_no_reason_and_may_have_a_long_one():
    assert parse(torture("noreason")).reason == ""
    assert parse(torture("unreason")).reason.startswith("= 2**3 * 5**2 но сто")


def test_a_binary_body_is_kept_octet_by_octet():
    message = parse(torture("mpart01"))
    assert len(message.body) == int(message.get("content-length"))
    assert message.body in torture("mpart01")


def recorded(name: str) -> list[bytes]:
    text = (DATA / name).read_text().replace("\n", "\r\n")
    parts = (
        text.replace("\r\n-----", "\0").replace(" bytes :\r\n\r\n", "\0").split("\0")
    )
    return [part.encode() for part in parts if part.startswith("SIP/2.0")]


def test_recorded_answers_of_asterisk_are_read():
    challenge, accepted = (parse(data) for data in recorded("asterisk_register.txt"))
    assert challenge.status == 401
    assert challenge.via.received == "127.0.131.9"
    assert challenge.via.rport == 5060
    assert accepted.status == 200
    assert accepted.expires == 120
    assert accepted.contacts[0].params["expires"] == "119"
    assert accepted.agent == "LabPBX"
    assert accepted.faults == ()


def test_the_recorded_answer_of_kamailio_names_who_sent_it():
    message = parse(recorded("kamailio_480.txt")[0])
    assert (message.status, message.reason) == (480, "Temporarily Unavailable")
    assert message.agent == "LabKamailio"
    assert message.to.tag == "8ff40013a580b075140cdf58bf389064.6c7524a4"
    assert message.faults == ()


RESPONSE = (
    b"SIP/2.0 480 Temporarily Unavailable\r\n"
    b"v: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKa;received=192.0.2.9;rport=1024\r\n"
    b"f: <sip:a@example.com>;tag=1\r\n"
    b't: "B, the second" <sip:b@example.com>;tag=2\r\n'
    b"i: abc@example.com\r\n"
    b"CSeq: 7 OPTIONS\r\n"
    b'Warning: 399 pbx "no, not now", 370 pbx "Insufficient Bandwidth"\r\n'
    b'Reason: Q.850;cause=20;text="DND Activated", SIP;cause=480\r\n'
    b"Retry-After: 120 (in a meeting);duration=60\r\n"
    b'm: "A, B" <sip:1,2@192.0.2.7>;expires=60, <sip:c@192.0.2.8>, bad"one\r\n'
    b'WWW-Authenticate: Digest realm="a, b", nonce="c"\r\n'
    b"l: 0\r\n\r\n"
)


def test_fields_of_a_response_are_read_by_type():
    message = parse(RESPONSE)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (480, "Temporarily Unavailable")
    assert message.final
    assert message.via.sent_by == ("192.0.2.1", 5070)
    assert message.to.display == "B, the second"
    assert message.to.tag == "2"
    assert message.warnings == (
        Warning(399, "pbx", "no, not now"),
        Warning(370, "pbx", "Insufficient Bandwidth"),
    )
    assert message.reasons == (Reason("Q.850", 20, "DND Activated"), Reason("SIP", 480))
    assert message.retry_after == 120
    assert [str(c) for c in message.contacts] == [
        '"A, B" <sip:1,2@192.0.2.7>;expires=60',
        "<sip:c@192.0.2.8>",
    ]
    assert message.all("www-authenticate") == ['Digest realm="a, b", nonce="c"']
    assert message.expires is None
    assert message.faults == ("bad contact",)


@pytest.mark.parametrize(
    ("change", "oddity"),
    [
        ((b"\r\n", b"\n"), "lf_only"),
        ((b"SIP/2.0 480", b"\r\n\r\nSIP/2.0 480"), "leading_crlf"),
        ((b"\r\n\r\n", b"\r\n"), "unterminated"),
        ((b"Temporarily", b"Tempor\xe4r"), "not_utf8"),
        ((b"CSeq:", b"CSeq :"), "space_before_colon"),
        ((b"l: 0", b"l: 5"), "content_length_long"),
        ((b"l: 0\r\n", b""), "content_length_missing"),
        ((b"l: 0", b"l: x"), "bad content-length"),
        ((b"i: abc", b"i: d\r\ni: abc"), "duplicate call-id"),
        ((b"SIP/2.0 480", b"SIP/3.0 480"), "version"),
        ((b"i: abc@example.com\r\n", b""), "missing call-id"),
        ((b"l: 0", b"no colon\r\nl: 0"), "bad_header_line"),
        ((b"7 OPTIONS", b"7"), "bad cseq"),
        ((b"z9hG4bKa", b"1"), "branch_of_rfc2543"),
        ((b"Warning: 399", b"Warning: 3999"), "bad warning"),
    ],
)
def test_an_oddity_is_flagged_and_the_rest_is_read(change, oddity):
    plain = parse(RESPONSE)
    odd = parse(RESPONSE.replace(*change))
    assert oddity not in plain.oddities
    assert oddity in odd.oddities
    assert odd.status == 480
    assert odd.from_.tag == "1"


def test_octets_that_are_not_utf8_come_back_as_they_were():
    data = RESPONSE.replace(b"B, the second", b"B\xfc\xff")
    message = parse(data)
    assert b"B\xfc\xff" in bytes(message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SIP/2.0 abc\r\n\r\n",
        b"SIP/2.0 0200 OK\r\n\r\n",
        b"OPTIONS sip:a@example.com\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"SIP/2.0 200 OK\r\n" + b"A: b\r\n" * (HEADER_LIMIT // 6) + b"\r\n",
        b"SIP/2.0 200 OK\r\n\r\n" + bytes(MESSAGE_LIMIT),
    ],
)
def test_what_is_not_sip_is_refused(data):
    with pytest.raises(ValueError):
        parse(data)


def test_a_request_is_written_and_read_back():
    request = Request("OPTIONS", "sip:b@example.com", body=b"hello")
    request.headers.add("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa")
    request.headers.add("CSeq", "1 OPTIONS")
    request.headers.add("Max-Forwards", "70")
    request.headers.set("cseq", "2 OPTIONS")
    assert bytes(request) == (
        b"OPTIONS sip:b@example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n"
        b"Max-Forwards: 70\r\n"
        b"cseq: 2 OPTIONS\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    again = parse(bytes(request))
    assert (again.method, again.uri, again.body) == ("OPTIONS", request.uri, b"hello")


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X Y", "a"), ("X:", "a"), ("", "a")],
)
def test_a_header_cannot_smuggle_in_another(name, value):
    with pytest.raises(ValueError):
        Headers().add(name, value)


@pytest.mark.parametrize(
    ("name", "long", "shown"),
    [("v", "via", "Via"), ("i", "call-id", "Call-ID"), ("x-a", "x-a", "X-A")],
)
def test_a_compact_name_is_its_long_one(name, long, shown):
    assert canonical(name) == long
    assert written(name) == shown


@pytest.mark.parametrize(
    ("text", "via"),
    [
        (
            "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK1;rport",
            Via("TLS", "[2001:db8::1]", 5061, Params.parse("branch=z9hG4bK1;rport")),
        ),
        ("SIP / 2.0 / udp  a.example.com : 5070", Via("UDP", "a.example.com", 5070)),
    ],
)
def test_a_via_is_read_and_written(text, via):
    assert Via.parse(text) == via
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "HTTP/1.1/TCP a", "SIP/2.0/UDP a:0", "SIP/2.0/UDP a b"]
)
def test_what_is_no_via_is_refused(text):
    with pytest.raises(ValueError):
        Via.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "OPTIONS 1", "2147483648 X", "-1 X", "1 A B"]
)
def test_what_is_no_cseq_is_refused(text):
    with pytest.raises(ValueError):
        CSeq.parse(text)


@pytest.mark.parametrize("text", ["", "-1", "x", "4294967296", "1.5", "\u0661"])
def test_what_is_no_number_of_seconds_is_refused(text):
    with pytest.raises(ValueError):
        delta_seconds(text)


def read_everything(message: Request | Response) -> None:
    assert all(len(oddity) < 40 for oddity in message.oddities)
    for read in ("vias", "via", "cseq", "from_", "to"):
        with suppress(ValueError):
            getattr(message, read)
    _ = message.contacts, message.expires, message.retry_after, message.agent
    _ = message.warnings, message.reasons, repr(message)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_octets_are_read_or_refused(data):
    for head in (b"", b"SIP/2.0 200 OK\r\n", b"OPTIONS sip:a SIP/2.0\r\n"):
        try:
            message = parse(head + data)
        except ValueError:
            continue
        read_everything(message)


_NAMES = st.sampled_from(
    [
        *("Via", "v", "From", "t", "Contact", "m", "CSeq", "Warning", "Reason"),
        *("Date", "Expires", "l", "Retry-After", "Route", "X"),
    ]
)
_VALUES = st.text('<>"\\;=,:@?%/ \tabz0129SIP.-[]*\u00e9', max_size=60)


@settings(deadline=None)
@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8))
def test_any_header_values_are_read_without_a_crash(rows):
    head = "".join(f"{name}: {value}\r\n" for name, value in rows)
    read_everything(parse(f"SIP/2.0 200 OK\r\n{head}\r\n".encode()))


@settings(deadline=None)
@given(st.sampled_from(torture_names()), st.data())
def test_a_damaged_message_is_read_or_refused(name, data):
    octets = bytearray(torture(name))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        read_everything(parse(bytes(octets)))


@pytest.mark.parametrize(
    "value",
    [" " * 30_000 + "x", '"' * 30_000, "<" * 30_000, "\\" * 30_000, "," * 30_000],
)
@pytest.mark.parametrize("name", ["Via", "Contact", "To", "Warning", "CSeq", "Date"])
def test_no_value_costs_more_than_its_length(name, value):
    message = parse(f"SIP/2.0 200 OK\r\n{name}: a{value}\r\n\r\n".encode())
    read_everything(message)
