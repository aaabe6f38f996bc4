"""Documents of the reg event package, and what they say has changed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Binding, Loss
from checks.registrars.regchanges import Changes, Followed
from checks.registrars.reginfo import (
    CONTACT_LIMIT,
    REGISTRATION_LIMIT,
    URI_LIMIT,
    Document,
    Registered,
    Registration,
    read_reginfo,
)
from checks.registrations.readings import Added, Gone
from checks.sip.message import MESSAGE_LIMIT

AOR = "1001@example.com"
PHONE = "sip:1001@10.0.0.31:5060"
OTHER = "sip:1001@10.0.0.32:5060;transport=tcp"


def reginfo(body: str, version: int = 0, state: str = "full") -> bytes:
    return (
        '<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" '
        f'version="{version}" state="{state}">{body}</reginfo>'
    ).encode()


def test_the_document_of_rfc_3680_is_read() -> None:
    document = read_reginfo(
        b"""<?xml version="1.0"?>
     <reginfo xmlns="urn:ietf:params:xml:ns:reginfo"
          xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
              version="1" state="partial">
       <registration aor="sip:joe@example.com" id="a7" state="active">
         <contact id="76" state="active" event="registered"
                  duration-registered="0" expires="3600">
            <uri>sip:joe@pc34.example.com</uri>
            <display-name>Joe</display-name>
         </contact>
         <contact id="77" state="terminated" event="expired" q="0.5"
                  duration-registered="3600">
              <uri> sip:joe@pc2.example.com </uri>
         </contact>
       </registration>
     </reginfo>"""
    )
    assert document == Document(
        1,
        False,
        [
            Registration(
                "sip:joe@example.com",
                "active",
                [
                    Registered("sip:joe@pc34.example.com", True, "registered", 3600),
                    Registered("sip:joe@pc2.example.com", False, "expired", None),
                ],
            )
        ],
    )


def test_what_kamailio_adds_is_read_and_other_namespaces_are_passed_over() -> None:
    document = read_reginfo(
        reginfo(
            '<registration aor="sip:1001@example.com" id="0x1" state="active">'
            '<contact id="c" state="active" event="created" expires="30" callid="x"'
            ' cseq="2" received="sip:10.0.0.31:5060" path="" user_agent="Yealink">'
            '<x:uri xmlns:x="urn:x">sip:no@example.com</x:uri>'
            f"<uri>{PHONE}</uri><unknown-param name='a'/></contact>"
            '<x:contact xmlns:x="urn:x" state="maybe"/></registration>'
        )
    )
    [registration] = document.registrations
    assert registration.contacts == [
        Registered(PHONE, True, "created", 30, "Yealink", "sip:10.0.0.31:5060")
    ]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "no reginfo"),
        (b"SIP/2.0 200 OK", "no reginfo"),
        (b"<reginfo version='0' state='full'>", "no reginfo"),
        (b"<presence/>", "no reginfo, but 'presence'"),
        (reginfo("", state="half"), "a reginfo that is 'half'"),
        (b"<reginfo state='full'/>", "without a version"),
        (b"<reginfo state='full' version='-1'/>", "without a version"),
        (b"<reginfo state='full' version='99999999999'/>", "without a version"),
        (
            reginfo("<registration aor='a'><contact state='odd'/></registration>"),
            "a contact that is 'odd'",
        ),
        (
            b'<!DOCTYPE reginfo [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
            b'<reginfo version="0" state="full">&b;</reginfo>',
            "a document type",
        ),
        (
            b'<!DOCTYPE reginfo SYSTEM "file:///etc/passwd"><reginfo/>',
            "a document type",
        ),
        (reginfo("<registration/>" * (REGISTRATION_LIMIT + 1)), "registrations"),
        (
            reginfo(
                "<registration>"
                + "<contact state='active'/>" * (CONTACT_LIMIT + 1)
                + "</registration>"
            ),
            "contacts",
        ),
        (
            reginfo(
                "<registration><contact state='active'>"
                f"<uri>{'<a/>x' * (URI_LIMIT + 1)}</uri></contact></registration>"
            ),
            "characters",
        ),
        (b"<a>" + b"x" * MESSAGE_LIMIT, "octets"),
        (b'<?xml version="1.0" encoding="utf-7"?><a>+ADw-</a>', "no reginfo"),
        (reginfo("caf\xe9").replace("é".encode(), b"\xe9"), "no reginfo"),
    ],
)
def test_what_is_no_reginfo_or_too_much_of_one_is_refused(
    body: bytes, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        read_reginfo(body)


_PIECES = st.sampled_from(
    [
        b"<registration aor='sip:1001@example.com' state='active'>",
        b"</registration>",
        b"<contact state='active' event='created' expires='60'>",
        b"<contact state='terminated' event='expired'>",
        b"</contact>",
        b"<uri>sip:1001@10.0.0.31</uri>",
        b"&amp;",
        b"&x;",
        b"<![CDATA[<uri>]]>",
        b"<!-- -->",
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=20), max_size=20))
def test_any_document_is_read_or_refused(pieces: list[bytes]) -> None:
    begin = b"<reginfo version='0' state='full'>"
    with suppress(ValueError):
        Followed().apply(
            read_reginfo(begin + b"".join(pieces) + b"</reginfo>"), AOR, "1001", 0.0
        )


# --- changes ------------------------------------------------------------------------


def contact(
    uri: str = PHONE,
    event: str = "registered",
    expires: int | None = 60,
    state: str = "active",
) -> str:
    seconds = "" if expires is None else f' expires="{expires}"'
    return (
        f'<contact id="{uri}" state="{state}" event="{event}"{seconds}>'
        f"<uri>{uri}</uri></contact>"
    )


def over(uri: str = PHONE, event: str = "expired") -> str:
    return contact(uri, event, 0, "terminated")


class Told:
    """The documents of one subscription, and what they brought."""

    def __init__(self) -> None:
        self.followed = Followed()

    def __call__(
        self,
        now: float,
        *contacts: str,
        version: int = 0,
        state: str = "full",
        registration: str = "active",
        aor: str = "sip:1001@EXAMPLE.com",
    ) -> Changes:
        body = f'<registration aor="{aor}" id="a" state="{registration}">'
        body += "".join(contacts) + "</registration>"
        document = read_reginfo(reginfo(body, version, state))
        return self.followed.apply(document, AOR, "1001", now)


def added(now: float, uri: str, expires: float | None, granted: int | None) -> Added:
    end = None if expires is None else now + expires
    received = "10.0.0.31:5060" if uri == PHONE else "10.0.0.32:5060"
    return Added(Binding("1001", uri, end, granted, received=received), now)


def test_the_first_document_is_only_compared_with() -> None:
    told = Told()
    assert told(100.0, contact(), over(OTHER)) == Changes()


def test_after_no_document_the_first_one_is_a_change() -> None:
    told = Told()
    told.followed.nothing()
    assert told(100.0, contact(event="created")) == Changes(
        [added(100.0, PHONE, 60, 60)]
    )


def test_full_documents_tell_what_is_new_moved_and_gone() -> None:
    told = Told()
    told(100.0, contact())
    # What is left counts down: that is no refresh.
    assert told(130.0, contact(expires=29)) == Changes()
    assert told(130.0, contact(event="refreshed")) == Changes(
        [added(130.0, PHONE, 60, 60)]
    )
    assert told(140.0, contact(expires=50), contact(OTHER, "created", 30)) == Changes(
        [added(140.0, OTHER, 30, 30)]
    )
    assert told(150.0, contact(event="shortened", expires=5), over(OTHER)) == Changes(
        [
            added(150.0, PHONE, 5, 5),
            Gone("1001", OTHER, 150.0, Loss.EXPIRED),
        ]
    )


def test_what_a_full_document_lacks_without_a_word_is_queried() -> None:
    told = Told()
    told(100.0, contact(), contact(OTHER))
    assert told(110.0, contact(expires=50)) == Changes(doubted=True)
    assert told(111.0, contact(expires=49)) == Changes()
    assert told(120.0, registration="terminated") == Changes(doubted=True)
    assert told(121.0, registration="terminated") == Changes()


@pytest.mark.parametrize(
    ("event", "loss", "why"),
    [
        ("expired", Loss.EXPIRED, ""),
        ("unregistered", Loss.DEREGISTERED, ""),
        ("deactivated", Loss.UNKNOWN, "the registrar deactivated it"),
        ("probation", Loss.UNKNOWN, "the registrar put it off until later"),
        ("rejected", Loss.UNKNOWN, "the registrar rejected it"),
        ("x-own", Loss.UNKNOWN, "the registrar deactivated it"),
    ],
)
def test_the_end_of_a_contact_says_how_it_was_lost(
    event: str, loss: Loss, why: str
) -> None:
    told = Told()
    told(100.0, contact(), version=0)
    assert told(110.0, over(event=event), version=1, state="partial") == Changes(
        [Gone("1001", PHONE, 110.0, loss, why=why)]
    )


def test_partial_documents_tell_what_they_name_and_nothing_of_the_rest() -> None:
    told = Told()
    told(100.0, contact(), version=4)
    new = contact(OTHER, expires=30)
    assert told(110.0, new, version=5, state="partial") == Changes(
        [added(110.0, OTHER, 30, 30)]
    )
    assert told(115.0, contact(expires=None), version=6, state="partial") == Changes(
        [added(115.0, PHONE, None, None)]
    )
    assert told(116.0, contact(), contact(OTHER, expires=24), version=7) == Changes()


def test_an_older_document_is_nothing_and_a_gap_asks_for_the_state() -> None:
    told = Told()
    told(100.0, contact(), version=4)
    assert told(101.0, over(), version=4, state="partial") == Changes()
    gap = Changes(doubted=True, missed=True)
    assert told(102.0, over(), version=6, state="partial") == gap
    assert told(103.0, over(), version=7, state="partial") == gap
    assert told(104.0, over(), version=8) == Changes(
        [Gone("1001", PHONE, 104.0, Loss.EXPIRED)]
    )


def test_a_partial_document_without_a_full_one_before_it_asks_for_the_state() -> None:
    assert Told()(100.0, contact(), state="partial") == Changes(
        doubted=True, missed=True
    )


def test_a_contact_that_ended_and_is_there_again_is_there() -> None:
    told = Told()
    told(100.0, contact(expires=10))
    assert told(110.0, over(), contact(event="created")) == Changes(
        [added(110.0, PHONE, 60, 60)]
    )


def test_of_several_registrations_the_one_of_the_aor_counts() -> None:
    told = Told()
    told(100.0, contact())
    body = (
        '<registration aor="tel:+33123" state="active"/>'
        '<registration aor="sip:1002@example.com" state="active"/>'
    )
    document = read_reginfo(reginfo(body))
    assert told.followed.apply(document, AOR, "1001", 101.0) == Changes(doubted=True)
    assert told(102.0, contact(expires=58), aor="sip:alias@example.com") == Changes()
