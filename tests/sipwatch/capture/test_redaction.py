"""Nothing secret leaves: what is overwritten of a message, and what stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.capture.redaction import overwritten, secrets_in
from tests.sipwatch.capture.packets import sip

SECRET = "6629fae49393a05397450978507c4ef1"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 10.20.0.31\r\nm=audio 4000 RTP/SAVP 0\r\n"
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20\r\nk=clear:{key}\r\n"
)


def clean(message: bytes, *, numbers: bool = False) -> str:
    """The message as it leaves."""
    text = overwritten(message, secrets_in(message, numbers=numbers))
    assert len(text) == len(message)
    return text.decode()


@pytest.mark.parametrize(
    "field",
    [
        f'Authorization: Digest username="1001", realm="pbx", response="{SECRET}"',
        f"Authorization: Digest username=1001, response={SECRET}, uri=sip:x",
        f'Proxy-Authorization: Digest\r\n username="1", response="{SECRET}"',
        f'AUTHORIZATION : Digest response = "{SECRET}"',
        f"Authorization: Basic {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Authorization:{SECRET}",
        f"Authorization: Basic\r\n {SECRET}",
        f'Authentication-Info: rspauth="{SECRET}", qop=auth',
        f'Authorization: Digest response="{SECRET}',
        f"Contact: <sip:1001:{SECRET}@10.20.0.31>",
        f"Route: <sips:u:{SECRET}@10.20.0.31>",
    ],
)
def test_credentials_are_overwritten(field: str) -> None:
    text = clean(sip("REGISTER sip:pbx.example.com SIP/2.0", field))

    assert SECRET not in text
    assert field.partition(":")[0] in text
    assert "x" * len(SECRET) in text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/sdp", SDP.format(key=SECRET)),
        ("Application/SDP;charset=utf-8", SDP.format(key=SECRET)),
        ("text/plain", f"the code is {SECRET}"),
        ("multipart/mixed;boundary=b", f"--b\r\n\r\n{SDP.format(key=SECRET)}\r\n--b--"),
        ("application/dtmf-relay", f"Signal={SECRET}"),
        ("", SECRET),
    ],
)
def test_keys_and_words_of_people_are_overwritten(kind: str, body: str) -> None:
    message = sip("MESSAGE sip:x SIP/2.0", f"Content-Type: {kind}", body=body)

    assert SECRET not in clean(message)


def test_what_sip_says_in_the_clear_stays() -> None:
    challenge = 'WWW-Authenticate: Digest realm="pbx", nonce="abc123", qop="auth"'
    reason = 'Reason: Q.850;cause=20;text="Subscriber absent"'
    sdp = "v=0\r\no=- 1 1 IN IP4 10.20.0.31\r\nm=audio 4000 RTP/AVP 0 8\r\n"
    message = sip(
        "SIP/2.0 480 Temporarily Unavailable",
        challenge,
        reason,
        "Content-Type: application/sdp",
        body=sdp,
    )

    assert clean(message) == message.decode()


def test_of_an_answer_only_the_digest_is_overwritten() -> None:
    field = f'Authorization: Digest username="1001", realm="p", response="{SECRET}"'

    text = clean(sip("REGISTER sip:pbx.example.com SIP/2.0", field))

    assert f'username="1001", realm="p", response="{"x" * 32}"' in text


def test_numbers_are_kept_unless_they_are_not_wanted() -> None:
    message = sip(
        "INVITE sip:+4930123456@pbx.example.com SIP/2.0",
        'P-Asserted-Identity: "0151 2345678" <tel:+4915123456>',
        user="100123",
    )

    assert clean(message) == message.decode()
    text = clean(message, numbers=True)
    assert "INVITE sip:+xxxxxxxx56@pbx.example.com SIP/2.0" in text
    assert "<sip:xxxx23@pbx.example.com>" in text
    assert 'Identity: "xx51 xxxxx78" <tel:+xxxxxxxx56>' in text
    assert "10.20.0.31:5060;branch=z9hG4bK776asdhds" in text


@given(st.binary(max_size=400))
def test_any_octets_keep_their_length(data: bytes) -> None:
    message = b"REGISTER sip:x SIP/2.0\r\nAuthorization: " + data

    spans = secrets_in(message, numbers=True)

    assert all(0 <= begin < end <= len(message) for begin, end in spans)
    assert len(overwritten(message, spans)) == len(message)
