from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.settings import Secret
from checks.sip.digest import (
    CHALLENGE_LIMIT,
    Challenge,
    Credentials,
    Session,
    _schemes,
    answer,
    challenges,
    choose,
)
from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from checks.sip.params import Params

MUFASA = Credentials("Mufasa", Secret("Circle of Life"))
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def rfc7616(algorithm: str) -> str:
    return (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="{NONCE}", opaque="{OPAQUE}"'
    )


def fields(value: str) -> Params:
    ((scheme, items),) = _schemes(value)
    assert scheme == "Digest"
    return Params(items)


def test_the_answer_of_rfc_2617_is_given():
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    credentials = Credentials("Mufasa", Secret("Circle Of Life"))
    value = answer(challenge, credentials, "GET", "/dir/index.html", cnonce="0a4f113b")
    assert fields(value) == Params(
        [
            ("username", "Mufasa"),
            ("realm", "testrealm@host.com"),
            ("nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
            ("uri", "/dir/index.html"),
            ("response", "6629fae49393a05397450978507c4ef1"),
            ("algorithm", "MD5"),
            ("cnonce", "0a4f113b"),
            ("qop", "auth"),
            ("nc", "00000001"),
            ("opaque", "5ccc069c403ebaf9f0171e9517f40e41"),
        ]
    )


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
)
def test_the_answers_of_rfc_7616_are_given(algorithm, response):
    challenge = Challenge.parse(rfc7616(algorithm))
    value = answer(challenge, MUFASA, "GET", "/dir/index.html", cnonce=CNONCE)
    assert fields(value)["response"] == response
    assert fields(value)["algorithm"] == algorithm


def test_the_sha_512_256_answer_of_rfc_7616_is_given():
    # RFC 7616 3.9.2; the response is erratum 4897's: the printed one was of a draft
    # of the hash. It takes the plain user name, which userhash only hides.
    challenge = Challenge.parse(
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8'
    )
    credentials = Credentials("J\u00e4s\u00f8n Doe", Secret("Secret, or not?"))
    value = answer(
        challenge,
        credentials,
        "GET",
        "/doe.json",
        cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    )
    assert fields(value)["response"] == (
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    )


@pytest.mark.parametrize(
    ("algorithm", "qop", "response"),
    [
        # reckoned apart, by the formulas of RFC 7616 3.4 and RFC 2069
        ("MD5-sess", "auth", "6986e53ea3d86152119330715f42b4a1"),
        (
            "SHA-256-sess",
            "auth-int",
            "b1e2851dc61d349193384a30d8c8d135a15ffbcc8df143fb94b0bf616ff28b32",
        ),
        ("MD5", "", "226a27ed8c4121fc7b2cbcbefc7595b1"),
    ],
)
def test_sessions_bodies_and_old_servers_are_answered(algorithm, qop, response):
    challenge = Challenge("r", "n", algorithm, (qop,) if qop else ())
    value = answer(
        challenge, MUFASA, "REGISTER", "sip:r", body=b"body", nc=26, cnonce="c"
    )
    given = fields(value)
    assert given["response"] == response
    assert given.get("nc") == ("0000001a" if qop else None)
    assert given.get("qop") == (qop or None)
    assert ("cnonce" in given) is bool(qop)


def test_auth_is_preferred_to_auth_int():
    value = answer(Challenge.parse(rfc7616("MD5")), MUFASA, "A", "b")
    assert fields(value)["qop"] == "auth"


def test_quotes_in_a_realm_are_sent_back_escaped():
    challenge = Challenge.parse('Digest realm="a \\"b\\", c", nonce="n\\\\"')
    assert (challenge.realm, challenge.nonce) == ('a "b", c', "n\\")
    value = answer(challenge, MUFASA, "A", "b")
    assert 'realm="a \\"b\\", c", nonce="n\\\\"' in value


@pytest.mark.parametrize(
    ("text", "challenge"),
    [
        ('Digest realm="r",nonce="n"', Challenge("r", "n")),
        ("digest  NONCE=n , realm = r", Challenge("r", "n")),
        (
            'Digest realm="r", nonce="n", stale=TRUE, algorithm="sha-256", opaque="", '
            'qop="Auth-Int", charset=UTF-8, domain="sip:x", userhash=true, new=1',
            Challenge("r", "n", "sha-256", ("auth-int",), "", True, "UTF-8"),
        ),
        ('Basic realm="r", Digest realm="s", nonce="n"', Challenge("s", "n")),
        ('Digest realm="", nonce="n",', Challenge("", "n")),
    ],
)
def test_a_challenge_is_read(text, challenge):
    assert Challenge.parse(text) == challenge


@pytest.mark.parametrize(
    "text",
    ["", "Digest", 'Digest realm="r"', 'Basic realm="r"', 'realm="r", nonce="n"',
     'Digest realm="r, nonce="n"', "Digest =", '"'],
)  # fmt: skip
def test_what_is_no_digest_challenge_is_refused(text):
    with pytest.raises(ValueError):
        Challenge.parse(text)


@settings(deadline=None)
@given(st.text(max_size=80), st.text('Digest realm="nonce,=\\ \t', max_size=80))
def test_any_challenge_is_read_or_refused(text, likely):
    quoted = f'Digest realm="{text}", nonce=n'
    for candidate in (text, likely, f"Digest {likely}", quoted):
        try:
            read = Challenge.parse_all(candidate)
        except ValueError:
            continue
        for challenge in read:
            if challenge.known:
                answer(challenge, MUFASA, "OPTIONS", "sip:a")


def test_a_long_challenge_costs_no_more_than_its_length():
    for character in (" ", ",", "a", '"'):
        text = character * 30_000 + ";"
        with pytest.raises(ValueError):
            Challenge.parse(f"Digest realm=r, nonce=n, {text}")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["MD5", "SHA-256"], ["SHA-256"]),
        (["SHA-512-256", "SHA-256", "MD5"], ["SHA-512-256"]),
        (["AKAv1-MD5", "MD5"], ["MD5"]),
        (["SHA-256-sess", "SHA-256"], ["SHA-256-sess"]),
        (["token"], []),
        ([], []),
    ],
)
def test_the_strongest_known_is_chosen_and_of_equals_the_first(offered, chosen):
    found = choose(Challenge("r", "n", algorithm) for algorithm in offered)
    assert [challenge.algorithm for challenge in found] == chosen


def test_each_realm_is_answered():
    found = choose(
        [Challenge("a", "1"), Challenge("b", "2"), Challenge("a", "3", "SHA-256")]
    )
    assert [(c.realm, c.nonce) for c in found] == [("a", "3"), ("b", "2")]


def test_a_qop_that_is_not_known_cannot_be_answered():
    assert choose([Challenge("r", "n", qop=("auth-conf",))]) == []


def response(status: int, *rows: tuple[str, str]) -> Response:
    return Response(status, "", Headers(rows))


def test_unreadable_challenges_are_left_out_and_their_number_is_bounded():
    rows = [("WWW-Authenticate", "nonsense;")]
    rows += [("WWW-Authenticate", f'Digest realm="{n}", nonce="n"') for n in range(99)]
    found = challenges(response(401, *rows))
    assert len(found["WWW-Authenticate"]) <= CHALLENGE_LIMIT


def request() -> Request:
    return Request("REGISTER", "sip:example.com")


def test_a_proxy_and_a_server_are_both_answered():
    session = Session(MUFASA)
    taken = session.learn(
        response(
            407,
            ("Proxy-Authenticate", 'Digest realm="proxy", nonce="p"'),
            ("WWW-Authenticate", 'Digest realm="server", nonce="s", stale=true'),
        )
    )
    assert taken == {
        ("WWW-Authenticate", "server", True),
        ("Proxy-Authenticate", "proxy", False),
    }
    sent = request()
    session.authorize(sent)
    assert 'realm="server"' in sent.get("Authorization")
    assert 'realm="proxy"' in sent.get("Proxy-Authorization")


def test_a_nonce_counts_its_uses_and_a_new_one_begins_again():
    session = Session(MUFASA)
    counts = []
    for nonce in ("a", "b"):
        challenge = f'Digest realm="r", nonce="{nonce}", qop=auth'
        session.learn(response(401, ("WWW-Authenticate", challenge)))
        for _ in range(2):
            sent = request()
            session.authorize(sent)
            counts.append(fields(sent.get("authorization"))["nc"])
    assert counts == ["00000001", "00000002"] * 2
    session.forget()
    assert session.fresh


def test_a_password_shows_in_no_representation():
    assert "Circle" not in repr(MUFASA)
    assert "Circle" not in repr(Session(MUFASA))
