from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Binding, Kind, Loss, Scope, State, Subject
from checks.registrars.esl import Event, event
from checks.registrars.sofia import (
    CUT_SHORT,
    MARGINS_KEPT,
    NO_ANSWER,
    Listing,
    Registrations,
    key,
    uri_of,
)
from checks.registrars.sofia_text import Document
from checks.registrations.judge import (
    Added,
    Bindings,
    Gone,
    Judge,
    ListEnd,
    Reach,
    Reading,
    RegistrarSettings,
)
from tests.wires import freeswitch as fs

AOR, URI = "1001@example.com", "sip:1001@10.0.0.31:5060"
CALL = "call-1001"


def registrations(offset: float | None = 0.0, domain: str = "") -> Registrations:
    made = Registrations(domain)
    made.offset = offset
    return made


def rows(
    known: Registrations, now: float, *several: bytes, events: Iterable[Event] = ()
) -> list[Binding]:
    """A whole list of one profile, settled."""
    return listed(known, now, fs.xmlstatus(several), events=events)


def listed(
    known: Registrations, now: float, body: bytes, *, events: Iterable[Event] = ()
) -> list[Binding]:
    document, listing = Document("profile", {"registration"}), Listing(known)
    found = [listing.take("internal", fields, now) for _, fields in document.feed(body)]
    document.close()
    found += listing.rest(now)
    listing.settle(events)
    return [binding for binding in found if binding]


def told(name: str, at: float, **values: str) -> Event:
    return event(fs.event(name, at, **values).partition(b"\n\n")[2])


def registered(at: float, expires: int = 60, uri: str = URI, **values: str) -> Event:
    named = {
        "profile_name": "internal",
        "from_user": "1001",
        "from_host": "example.com",
        "contact": f'"" <{uri}>',
        "call_id": CALL,
        "status": "Registered(UDP)",
        "expires": str(expires),
        "network_ip": "10.0.0.31",
        "network_port": "5060",
        "user_agent": "Phone 1.0",
    }
    return told("sofia::register", at, **named | values)


def expired(at: float, expires: float, uri: str = URI, call: str = CALL) -> Event:
    return told(
        "sofia::expire",
        at,
        profile_name="internal",
        user="1001",
        host="example.com",
        contact=f'"" <{uri}>',
        call_id=call,
        expires=str(int(expires)),
    )


def pinged(at: float, answer: str, call: str = CALL) -> Event:
    return told(
        "sofia::sip_user_state",
        at,
        sip_contact=f'"" <{URI}>',
        profile_name="internal",
        from_user="1001",
        from_host="example.com",
        call_id=call,
        Ping_Status=answer,
    )


# --- rows ----------------------------------------------------------------------------

SIGNS = {True: "+", False: "-", None: "?"}


@pytest.mark.parametrize(
    ("name", "command", "states"),
    [
        (
            "1.10.12-auth-ok-cmds",
            fs.REG,
            "1001+ 1002+ 1003+ 1004+ 1005+ 1006+ 1007+ 1008+ 1009+ 1010+ 1001+",
        ),
        (
            "1.11.1-auth-ok-cmds",
            fs.REG,
            "1001+ 1002+ 1003+ 1004+ 1005+ 1006+ 1007+ 1008+ 1009+ 1010+",
        ),
        ("1.11.1-two-contacts", fs.REG + " 1001", "1001+ 1001+"),
        ("1.11.1-two-contacts", fs.REG, "1001+ 1002? 1001+"),
        ("1.11.1-events-plain", fs.REG, "1005+"),
        ("1.11.1-after-restart", fs.REG, ""),
    ],
)
def test_every_recorded_list_is_read_as_it_was(
    name: str, command: str, states: str
) -> None:
    body = fs.answers(name)[command].partition(b"\n\n")[2]
    read = listed(registrations(domain="fs.lab.test"), 1795167365.0, body)
    assert " ".join(b.aor + SIGNS[b.reachable] for b in read) == states


def test_a_row_is_a_binding() -> None:
    known = registrations()
    known.learn("internal", 60)
    row = fs.registration(
        AOR,
        '"Réception" <sip:1001@10.0.0.31:5060;x="a&b">',
        end=1160.0,
        left=160,
        agent='Phone <1> & "2"',
    )
    assert rows(known, 1000.0, row) == [
        Binding(
            AOR,
            'sip:1001@10.0.0.31:5060;x="a&b"',
            expires_at=1100.0,
            reachable=True,
            user_agent='Phone <1> & "2"',
            received="10.0.0.31:5060",
            rtt=pytest.approx(0.0008),
            asked=True,
        )
    ]


@pytest.mark.parametrize(
    ("status", "time", "reachable", "rtt"),
    [
        ("Reachable", "0.80", True, 0.0008),
        ("Reachable", "0.00", None, None),  # not asked yet: sofia begins with the word
        ("Reachable", "32003.10", None, None),  # that is a time-out's
        ("Unreachable", "0.80", False, None),
        ("", "", None, None),
        ("Something", "x", None, None),
    ],
)
def test_reachable_is_who_has_answered(
    status: str, time: str, reachable: bool | None, rtt: float | None
) -> None:
    row = fs.registration(AOR, end=1160.0, left=160, ping=(status, time))
    (read,) = rows(registrations(), 1000.0, row)
    assert (read.reachable, read.rtt) == (reachable, pytest.approx(rtt))


@pytest.mark.parametrize(
    ("transport", "uri", "received"),
    [
        ("UDP", URI, "10.0.0.31:5060"),
        ("UDP-NAT", URI, "10.0.0.31:5060"),
        ("TLS", URI, "10.0.0.31:5060;transport=tls"),
        ("TCP-NAT", URI + ";transport=tcp", "10.0.0.31:5060"),
        ("WSS", "sip:x@abc.invalid;transport=ws", "10.0.0.31:5060"),
    ],
)
def test_where_it_was_seen_tells_the_transport(
    transport: str, uri: str, received: str
) -> None:
    row = fs.registration(AOR, uri, end=1160.0, left=160, transport=transport)
    (read,) = rows(registrations(), 1000.0, row)
    assert read.received == received


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ('"" <sip:1001@h:5060>', "sip:1001@h:5060"),
        ('"A < B" <sip:1001@h;fs_path=sip%3Ax>', "sip:1001@h;fs_path=sip%3Ax"),
        ("sip:1001@h", "sip:1001@h"),
        ('"" <sip:cut@off', "sip:cut@off"),
        ("", ""),
    ],
)
def test_a_contact_has_its_uri_between_brackets(contact: str, uri: str) -> None:
    assert uri_of(contact) == uri


def test_rows_without_user_or_contact_are_left_out() -> None:
    odd = [fs.registration("@example.com", URI), fs.registration(AOR, "<>")]
    assert rows(registrations(), 1000.0, *odd) == []


@pytest.mark.parametrize("offset", [0.0, 500.25, -86400.0])
@pytest.mark.parametrize("ahead", [0, 2 * 3600, -9.5 * 3600, 5.75 * 3600])
def test_the_end_is_a_whole_second_whatever_the_zone(
    offset: float, ahead: float
) -> None:
    known = registrations(offset)
    known.learn("internal", 5)
    end = round(1e9 + offset) + 90
    row = fs.registration(AOR, end=end).replace(
        fs.zoned(end).encode(), fs.zoned(end, ahead).encode()
    )
    (read,) = rows(known, 1e9, row.replace(b"expsecs(0)", b"expsecs(90)"))
    assert read.expires_at == end - 5


def test_a_row_that_a_refresh_made_anew_keeps_the_answer_before_it() -> None:
    # Without multiple registrations each REGISTER replaces the row.
    known = registrations()
    rows(known, 1000.0, fs.registration(AOR, end=1160.0, left=160))
    fresh = fs.registration(AOR, end=1190.0, left=160, ping=("Reachable", "0.00"))
    (read,) = rows(known, 1030.0, fresh)
    assert (read.reachable, read.rtt) == (True, pytest.approx(0.0008))
    silent = fs.registration(AOR, end=1190.0, left=150, ping=("Unreachable", "0.30"))
    rows(known, 1040.0, silent)
    (read,) = rows(known, 1060.0, fresh)
    assert (read.reachable, read.asked) == (None, True)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        (";fs_path=sip%3A10.0.0.9%3Blr", "<sip:10.0.0.9;lr>"),
        (";fs_nat=yes;fs_path=sip%3A1001%40198.51.100.7%3A40000", ""),
        (";transport=tcp", ""),
    ],
)
def test_proxies_on_the_way_are_in_the_contact(params: str, path: str) -> None:
    row = fs.registration(AOR, URI + params, end=1160.0, left=160)
    (read,) = rows(registrations(), 1000.0, row)
    assert read.path == path


# --- the margin ----------------------------------------------------------------------


def test_without_the_margin_no_end_is_claimed() -> None:
    row = fs.registration(AOR, end=1160.0, left=160)
    (read,) = rows(registrations(), 1000.0, row)
    assert (read.expires_at, read.granted) == (None, None)


def test_without_a_clock_no_end_is_claimed() -> None:
    known = registrations(None)
    known.learn("internal", 60)
    (read,) = rows(known, 1000.0, fs.registration(AOR, end=1160.0, left=160))
    assert read.expires_at is None


def test_a_register_and_its_row_teach_the_margin_for_all() -> None:
    known = registrations()
    known.register(registered(1000.7), 1000.8)
    mine, other = rows(
        known,
        1001.0,
        fs.registration(AOR, end=1120.0, left=119),
        fs.registration("1002@example.com", end=1150.0, left=149),
    )
    assert (mine.expires_at, mine.granted) == (1060.7, 60)
    assert other.expires_at is None  # it was not known yet
    assert known.margin("internal") == 60
    _, other = rows(
        known,
        1002.0,
        fs.registration(AOR, end=1120.0, left=118),
        fs.registration("1002@example.com", end=1150.0, left=148),
    )
    assert (other.expires_at, other.granted) == (1090.0, None)


def test_a_refresh_beside_the_list_is_not_taken_for_margin() -> None:
    known = registrations()
    known.register(registered(1000.0), 1000.0)
    # Refreshed at 1030, just before the row was read; its event came behind the list.
    refresh = registered(1030.0)
    row = fs.registration(AOR, end=1150.0, left=120)
    rows(known, 1030.1, row, events=[refresh])
    assert known.margin("internal") is None
    known.register(refresh, 1030.2)
    (read,) = rows(known, 1031.0, row)
    assert read.expires_at == 1090.0
    assert known.margin("internal") == 60


def test_the_least_margin_is_believed_until_it_is_forgotten() -> None:
    known = registrations()
    for margin in (60, 90, 59, 60):
        known.learn("internal", margin)
    assert known.margin("internal") == 59
    known.learn("internal", 5)
    assert known.margin("internal") == 5
    for _ in range(MARGINS_KEPT):
        known.learn("internal", 30)
    assert known.margin("internal") == 30
    assert known.margin("external") is None


def test_an_unseen_refresh_ends_what_the_event_told() -> None:
    known = registrations()
    known.register(registered(1000.0), 1000.0)
    rows(known, 1001.0, fs.registration(AOR, end=1120.0, left=119))
    (read,) = rows(known, 1050.0, fs.registration(AOR, end=1160.0, left=110))
    assert (read.expires_at, read.granted) == (1100.0, None)


# --- two rows of one contact ---------------------------------------------------------


def test_two_contacts_of_one_user_are_two_bindings() -> None:
    second = "sip:1001@10.0.0.32:5060"
    read = rows(
        registrations(),
        1000.0,
        fs.registration(AOR, end=1160.0, left=160),
        fs.registration(AOR, second, end=1170.0, left=170, call="other"),
    )
    assert [b.contact for b in read] == [URI, second]


def test_of_two_rows_of_one_contact_the_later_stands() -> None:
    # A phone that restarted: another Call-ID, the same contact.
    known = registrations()
    known.learn("internal", 60)
    old = fs.registration(AOR, end=1100.0, left=100, call="old")
    new = fs.registration(AOR, end=1170.0, left=170, call="new")
    assert rows(known, 1000.0, old, new)[-1].expires_at == 1110.0
    for order in ([old, new], [new, old]):
        (read,) = rows(known, 1001.0, *order)
        assert read.expires_at == 1110.0


def test_the_end_of_an_older_row_of_a_contact_is_no_loss() -> None:
    known = registrations()
    known.register(registered(1000.0, call_id="old"), 1000.0)
    known.register(registered(1050.0, call_id="new"), 1050.0)
    assert known.expire(expired(1120.0, 1120.0, call="old"), 1120.0) is None
    assert known.state(pinged(1121.0, "UNREACHABLE", "old"), 1121.0) is None
    gone = known.expire(expired(1171.0, 1170.0, call="new"), 1171.0)
    assert gone == Gone(AOR, URI, 1171.0, Loss.EXPIRED, end=1110.0)


def test_a_row_that_replaced_the_known_one_is_found() -> None:
    known = registrations()
    known.learn("internal", 60)
    rows(known, 1000.0, fs.registration(AOR, end=4600.0, left=3600, call="old"))
    (read,) = rows(
        known, 1001.0, fs.registration(AOR, end=1121.0, left=120, call="new")
    )
    assert read.expires_at == 1061.0


# --- events --------------------------------------------------------------------------


def test_a_register_is_a_binding_with_what_was_granted() -> None:
    known = registrations(offset=500.0)
    added, new = known.register(registered(1500.25), 1000.5) or (None, None)
    assert new
    assert added == Added(
        Binding(
            AOR,
            URI,
            expires_at=1560.25,
            granted=60,
            user_agent="Phone 1.0",
            received="10.0.0.31:5060",
        ),
        1000.25,
    )
    again = known.register(registered(1530.25), 1030.5)
    assert again
    assert not again[1]


def test_a_refresh_keeps_what_its_options_have_found() -> None:
    known = registrations()
    rows(known, 1000.0, fs.registration(AOR, end=1160.0, left=160))
    added, _ = known.register(registered(1030.0), 1030.0) or (None, None)
    assert added
    assert (added.binding.reachable, added.binding.rtt) == (True, pytest.approx(8e-4))
    known.state(pinged(1040.0, "UNREACHABLE"), 1040.0)
    added, _ = known.register(registered(1060.0), 1060.0) or (None, None)
    assert added
    assert added.binding.reachable is False


@pytest.mark.parametrize("changed", [{"expires": "0"}, {"contact": ""}])
def test_a_register_that_binds_nothing_says_nothing(changed: dict[str, str]) -> None:
    assert registrations().register(registered(1000.0, **changed), 1000.0) is None


def test_a_phone_that_logs_out_is_gone_by_its_own_will() -> None:
    known = registrations(domain="example.com")
    known.register(registered(1000.0), 1000.0)
    left = registered(1010.0, expires=0)
    assert known.unregister(left, 1010.5) == Gone(
        "1001", URI, 1010.0, Loss.DEREGISTERED
    )
    assert known.held == {}


def test_a_log_out_of_all_contacts_is_told_by_the_next_list() -> None:
    known = registrations()
    known.register(registered(1000.0), 1000.0)
    assert known.unregister(registered(1010.0, contact="*"), 1010.0) is None


@pytest.mark.parametrize(
    ("answer", "reachable"), [("UNREACHABLE", False), ("REACHABLE", True)]
)
def test_options_that_are_not_answered_are_told(answer: str, reachable: bool) -> None:
    known = registrations()
    known.register(registered(1000.0), 1000.0)
    assert known.state(pinged(1038.0, answer), 1039.0) == Reach(
        AOR, URI, reachable, None, 1038.0
    )
    assert known.state(pinged(1038.0, "?"), 1039.0) is None


def test_an_end_is_that_of_the_binding_not_of_the_row() -> None:
    known = registrations()
    known.register(registered(1000.5), 1000.5)
    gone = known.expire(expired(1140.0, 1120.0), 1140.0)
    assert gone == Gone(AOR, URI, 1140.0, Loss.EXPIRED, end=1060.5)
    assert known.margin("internal") == 60


def test_an_end_of_a_row_that_no_event_told_of_is_by_the_margin() -> None:
    known = registrations()
    row = fs.registration(AOR, end=1120.0, left=120)
    rows(known, 1000.0, row)
    gone = known.expire(expired(1140.0, 1120.0), 1140.0)
    assert gone
    assert gone.end == 1120.0  # not known to have been earlier
    known.learn("internal", 60)
    rows(known, 1000.0, row)
    gone = known.expire(expired(1140.0, 1120.0), 1140.0)
    assert gone
    assert gone.end == 1060.0


def test_a_phone_that_does_not_answer_is_removed_for_that() -> None:
    known = registrations()
    known.register(registered(1000.0, 3600), 1000.0)
    known.state(pinged(1038.0, "UNREACHABLE"), 1038.0)
    gone = known.expire(expired(1040.0, 1038.0), 1040.0)
    assert gone == Gone(AOR, URI, 1040.0, Loss.UNKNOWN, why=NO_ANSWER)
    assert known.margin("internal") is None


def test_the_row_of_one_that_does_not_answer_ends_at_once_but_not_its_binding() -> None:
    known = registrations()
    known.register(registered(1000.0, 3600), 1000.0)
    rows(known, 1010.0, fs.registration(AOR, end=4660.0, left=3650))
    cut = fs.registration(AOR, end=1038.0, left=0, ping=("Unreachable", "0.30"))
    (read,) = rows(known, 1039.0, cut)
    assert (read.reachable, read.expires_at) == (False, 4600.0)
    gone = known.expire(expired(1040.0, 1038.0), 1040.0)
    assert gone == Gone(AOR, URI, 1040.0, Loss.UNKNOWN, why=NO_ANSWER)


def test_a_row_that_was_cut_before_we_came_has_no_end() -> None:
    known = registrations()
    known.learn("internal", 60)
    cut = fs.registration(AOR, end=1038.0, left=-1, ping=("Unreachable", "0.30"))
    (read,) = rows(known, 1039.0, cut)
    assert read.expires_at is None
    gone = known.expire(expired(1040.0, 1038.0), 1040.0)
    assert gone == Gone(AOR, URI, 1040.0, Loss.EXPIRED)


@pytest.mark.parametrize(
    ("uri", "loss", "why"),
    [
        (URI, Loss.UNKNOWN, CUT_SHORT),
        (URI + ";transport=tls", Loss.CONNECTION_LOST, ""),
    ],
)
def test_a_row_that_is_flushed_has_not_expired(uri: str, loss: Loss, why: str) -> None:
    known = registrations()
    known.register(registered(1000.0, uri=uri), 1000.0)
    gone = known.expire(expired(1010.0, 1120.0, uri), 1010.0)
    assert gone == Gone(AOR, uri, 1010.0, loss, why=why)


FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *("call-id", "user", "contact", "agent", "status", "ping-status"),
            *("ping-time", "network-ip", "network-port", "from-user", "from-host"),
            *("host", "expires", "Event-Date-Timestamp", "Ping-Status"),
            *("sip_contact", "profile-name"),
        ]
    ),
    st.one_of(
        st.text(st.characters(max_codepoint=255), max_size=30),
        st.sampled_from([AOR, "1001", "example.com", f"<{URI}>", "9" * 17, "60"]),
        st.sampled_from(
            [
                "Registered(UDP) exp(2026-11-20 09:54:57) expsecs(-115)",
                "exp(9999-12-31 23:59:59) expsecs(9999999999)",
                "exp(0001-01-01) expsecs(0)",
                "Unreachable",
                "UNREACHABLE",
            ]
        ),
    ),
)


@given(st.lists(st.tuples(st.integers(0, 4), FIELDS), max_size=30))
def test_whatever_rows_and_events_hold_they_are_readings_or_nothing(
    several: list[tuple[int, dict[str, str]]],
) -> None:
    known = registrations()
    hear = [known.register, known.unregister, known.expire, known.state]
    for what, fields in several:
        if what < len(hear):
            hear[what](fields, 1000.0)
            continue
        listing = Listing(known)
        listing.take("internal", fields, 1000.0)
        for binding in listing.rest(1000.0):
            assert binding.aor
        listing.settle([fields])


# --- what the judge makes of it ------------------------------------------------------


class Follower:
    """The pure half of the whole path: events in, states of the judge out."""

    def __init__(self, now: float) -> None:
        settings = RegistrarSettings(
            type="freeswitch", address="pbx", domain="fs.lab.test"
        )
        scope = Scope("hq", labels={"registrar": "hq"})
        subject = Subject(Kind.REGISTRAR, "hq", scope)
        self.known = registrations(domain="fs.lab.test")
        self.judge = Judge("hq", settings, subject, now)
        self.apply(ListEnd(now, now, 1000.0, run=fs.RUN, kept=True), now)

    def apply(self, reading: Reading | None, now: float) -> None:
        if reading:
            self.judge.apply("pbx", reading, now)

    def list(self, body: bytes, now: float) -> None:
        self.apply(Bindings(listed(self.known, now, body)), now)
        self.apply(ListEnd(now, now, 1000.0, run=fs.RUN, kept=True), now)

    def hear(self, block: bytes) -> None:
        e = event(block.partition(b"\n\n")[2])
        now = int(e["Event-Date-Timestamp"]) / 1e6
        match e.get("Event-Subclass"):
            case "sofia::register":
                found = self.known.register(e, now)
                self.apply(found[0] if found else None, now)
            case "sofia::unregister":
                self.apply(self.known.unregister(e, now), now)
            case "sofia::expire":
                self.apply(self.known.expire(e, now), now)
            case "sofia::sip_user_state":
                self.apply(self.known.state(e, now), now)

    def of(self, aor: str) -> tuple[State | None, float, Loss | None]:
        extension = self.judge.extensions[aor]
        loss = extension.lost.loss if extension.lost else None
        return extension.state, extension.since, loss


@pytest.mark.parametrize(
    ("name", "start", "ends"),
    [
        (
            "1.10.12-events-plain",
            1795168390.0,
            {
                # 15 s granted at 53:12.559, the row was removed 5 s after its end.
                "1003": (1795168407.559, Loss.EXPIRED),
                "1005": (1795168401.659, Loss.DEREGISTERED),
            },
        ),
        (
            "1.11.1-events-plain",
            1795167360.0,
            {
                "1001": (1795167380.753, Loss.EXPIRED),
                "1002": (1795167374.813, Loss.DEREGISTERED),
                "1004": (1795167425.713, Loss.UNKNOWN),  # it never answered OPTIONS
            },
        ),
    ],
)
def test_recorded_events_end_what_they_end_when_it_ended(
    name: str, start: float, ends: dict[str, tuple[float, Loss]]
) -> None:
    follower = Follower(start)
    for aor in ends:
        extension = follower.judge.restore(aor, State.REGISTERED, start - 1000)
        assert extension
        follower.judge.extensions[aor].learned = True
    for block in fs.events(name):
        follower.hear(block)
    for aor, (since, loss) in ends.items():
        assert follower.of(aor) == (
            State.UNREGISTERED,
            pytest.approx(since, abs=0.001),
            loss,
        )


def test_the_recorded_phone_that_answers_486_and_then_dies() -> None:
    """1005 of the recording: busy is alive; it dies after a restart of the profile."""
    follower = Follower(1795167360.0)
    turns = fs.turns("1.11.1-events-plain")
    bodies = [t.sent for t in turns if t.command == fs.REG]
    before, after = (b"<?xml" + b.split(b"<?xml", 1)[1] for b in bodies)
    for block in fs.events("1.11.1-events-plain"):
        at = int(fs.fields(block)["Event-Date-Timestamp"]) / 1e6
        if (
            at > 1795167491.0
            and not follower.known.held[key("1005", "sip:1005@127.0.50.9:6350")].rtt
        ):
            follower.list(before, 1795167491.0)
            assert follower.of("1005")[0] is State.REGISTERED
        follower.hear(block)
    assert follower.of("1005")[0] is State.REGISTERED  # one report is not enough
    follower.list(after.partition(b"</profile>")[0] + b"</profile>", 1795167507.5)
    assert follower.of("1005")[0] is State.UNREACHABLE
    assert follower.of("1005")[1] == pytest.approx(1795167507.133, abs=0.001)
    (contact,) = follower.judge.extensions["1005"].contacts
    assert contact.ends == pytest.approx(1795167505.953, abs=0.01)


def test_why_a_phone_was_removed_is_told() -> None:
    follower = Follower(1795167360.0)
    follower.judge.restore("1004", State.REGISTERED, 1795167000.0)
    follower.judge.extensions["1004"].learned = True
    for block in fs.events("1.11.1-events-plain"):
        follower.hear(block)
    lost = follower.judge.extensions["1004"].lost
    assert lost
    assert lost.why == NO_ANSWER
