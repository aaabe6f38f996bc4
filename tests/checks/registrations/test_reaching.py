"""Which contacts our own OPTIONS ask, and what the judge makes of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from checks.observation import Binding, Cause, Kind, Observation, Scope, State, Subject
from checks.registrations.extension import Contact
from checks.registrations.judge import Judge, RegistrarSettings, Remembered
from checks.registrations.member import Member
from checks.registrations.reaching import question, routed
from checks.registrations.readings import Ask, ContactsSettings
from checks.settings import Glob
from tests.checks.registrations.judging import BOOT, Timeline, bound

HERE, MUTE = State.REGISTERED, State.UNREACHABLE
LONG = 36000.0  # an end that is far away
ADDRESS = "10.20.0.31:5060"
SUBJECT = Subject(Kind.REGISTRAR, "hq", Scope("hq"))


def name_of(aor: str, port: int = 5060) -> str:
    return f"contact/{aor}/sip:{aor}@10.20.0.31:{port}"


@dataclass
class Measured:
    """What the sweep has measured, and told nobody."""

    heard_at: float

    def rtt(self, name: str) -> float | None:
        return {name_of("1001"): 0.123}.get(name)

    def told(self, name: str) -> None:
        return None


class Probing(Timeline):
    """A registrar whose contacts are asked."""

    def __init__(
        self,
        *aors: str,
        members: Iterable[str] = ("pbx",),
        now: float = 0.0,
        remembered: Iterable[Remembered] = (),
        **keys: Any,
    ) -> None:
        settings = RegistrarSettings(
            type="test",
            members=list(members),
            **({"probe_contacts": True} | keys),
        )
        self.subject = SUBJECT
        self.judge = Judge("hq", settings, SUBJECT, now, remembered)
        self.now, self.skew, self.boot = now, 0.0, BOOT
        self.told: list[Observation] = []
        self.asked: dict[str, Ask] = {}
        if aors:
            self.list(*(bound(aor, LONG) for aor in aors))
            self.told.clear()

    def ask(self) -> dict[str, Ask | None]:
        """What is to be asked otherwise from now on."""
        changes = self.judge.asks()
        for name, ask in changes.items():
            self.asked.pop(name, None)
            if ask is not None:
                self.asked[name] = ask
        return changes

    def answers(
        self, aor: str, port: int = 5060, *, now: float | None = None
    ) -> list[Observation]:
        """A contact answers a question."""
        self.now = self.now if now is None else now
        told = self.judge.heard(
            name_of(aor, port), True, None, 0.02, self.now, self.now
        )
        return self._keep(told)

    def fails(
        self,
        aor: str,
        port: int = 5060,
        *,
        now: float,
        cause: Cause = Cause.TIMEOUT,
        ok: bool | None = False,
    ) -> list[Observation]:
        """A question asked 5 s ago has had no answer."""
        self.now = now
        name = name_of(aor, port)
        return self._keep(self.judge.heard(name, ok, cause, None, now - 5, now))

    def told_of_extensions(self) -> list[Observation]:
        return [o for o in self.told if o.subject.kind is Kind.EXTENSION]

    def reachable(self, aor: str) -> bool | None:
        return self.judge.extensions[aor].reachable


# --- whom -----------------------------------------------------------------------------


def contact(uri: str, received: str = "", path: str = "") -> Contact:
    binding = Binding("1001", uri, received=received, path=path)
    return Contact.of(binding, Member("pbx", 1, 0.0, SUBJECT), 0.0)


@pytest.mark.parametrize(
    ("uri", "received", "address"),
    [
        ("sip:1001@10.20.0.31:5060", "10.20.0.31:5060", "10.20.0.31:5060"),
        ("sip:1001@10.20.0.31", "10.20.0.31:5060", "10.20.0.31:5060"),
        ("sip:1001@10.20.0.31:5060;ob;line=a%20b", "10.20.0.31", "10.20.0.31:5060"),
        ("sip:10.20.0.31:5070;transport=udp", "10.20.0.31:5070", "10.20.0.31:5070"),
        ("sip:1001-0x55@10.20.0.31:39283", "10.20.0.31:39283", "10.20.0.31:39283"),
        ("sip:1001@[2001:db8::7]:5060", "[2001:DB8:0::7]:5060", "[2001:db8::7]:5060"),
        # behind NAT: another address, or another port
        ("sip:1001@192.168.1.7:5060", "203.0.113.9:5060", None),
        ("sip:1001@10.20.0.31:5060", "10.20.0.31:40123", None),
        # where from is not told
        ("sip:1001@10.20.0.31:5060", "", None),
        ("sip:1001@10.20.0.31:5060", "nonsense", None),
        # a connection of the PBX's own
        ("sip:1001@10.20.0.31:5060;transport=tcp", "10.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:5060;transport=TLS", "10.20.0.31:5060", None),
        ("sip:1001@df7jal23ls0d.invalid;transport=ws", "10.20.0.31:5060", None),
        ("sips:1001@10.20.0.31:5061", "10.20.0.31:5061", None),
        # a name, and what is not to be put into a request
        ("sip:1001@phone.example.com:5060", "10.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:5060;maddr=10.0.0.1", "10.20.0.31:5060", None),
        ("sip:10 01@10.20.0.31:5060", "10.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:5060\r\nX: y", "10.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:5060>", "10.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:99999", "10.20.0.31:99999", None),
        ("sip:1001@999.20.0.31:5060", "999.20.0.31:5060", None),
        ("sip:1001@10.20.0.31:5060;x=" + "a" * 600, "10.20.0.31:5060", None),
        ("tel:+33123456789", "10.20.0.31:5060", None),
    ],
)
def test_asked_is_who_is_where_it_registered_from(
    uri: str, received: str, address: str | None
) -> None:
    wanted = None
    if address is not None:
        wanted = Ask(f"contact/1001/{uri}", uri, address)
    assert question(contact(uri, received), "1001") == wanted


@pytest.mark.parametrize(
    ("path", "proxy", "address", "route"),
    [
        ("<sip:10.0.0.9;lr>", "", "10.0.0.9:5060", "<sip:10.0.0.9;lr>"),
        ("sip:10.0.0.9:5070;lr=on", "", "10.0.0.9:5070", "<sip:10.0.0.9:5070;lr=on>"),
        ("", "sip:10.0.0.8", "10.0.0.8:5060", "<sip:10.0.0.8;lr>"),
        ("", "sip:proxy.example.com", "", "<sip:proxy.example.com;lr>"),
        (
            "<sip:tok@10.0.0.9;lr;ob>, <sip:10.0.0.7;lr>",
            "",
            "10.0.0.9:5060",
            "<sip:tok@10.0.0.9;lr;ob>, <sip:10.0.0.7;lr>",
        ),
        (
            "<sip:10.0.0.9;lr>",
            "sip:10.0.0.8",
            "10.0.0.8:5060",
            "<sip:10.0.0.8;lr>, <sip:10.0.0.9;lr>",
        ),
        (
            "<sip:10.0.0.9;transport=tcp;lr>",
            "",
            "",
            "<sip:10.0.0.9;transport=tcp;lr>",
        ),
    ],
)
def test_through_proxies_anybody_can_be_asked(
    path: str, proxy: str, address: str, route: str
) -> None:
    uri = "sip:1001@192.168.1.7:5060;transport=tcp"
    found = question(contact(uri, "203.0.113.9:40123", path), "1001", routed(proxy))
    assert found == Ask(f"contact/1001/{uri}", uri, address, route)


@pytest.mark.parametrize(
    "path",
    [
        "<sip:10.0.0.9;lr",
        "<tel:+33>",
        "<sip:a b;lr>",
        "<sip:10.0.0.9;lr>\r\nX: y",
        ", ".join(["<sip:10.0.0.9;lr>"] * 5),
    ],
)
def test_a_path_that_is_none_leaves_a_contact_unprobed(path: str) -> None:
    assert question(contact("sip:1001@10.20.0.31:5060", ADDRESS, path), "1001") is None


def test_nobody_is_asked_unless_it_is_configured() -> None:
    t = Probing("1001", probe_contacts=False)
    assert t.ask() == {}
    assert not t.judge.wants_asked


def test_contacts_are_asked_as_they_come_move_and_go() -> None:
    t = Probing("1001", "1002")
    assert set(t.ask()) == {name_of("1001"), name_of("1002")}
    assert t.ask() == {}
    t.at(30).list(bound("1001", LONG), bound("1002", LONG, port=5070))
    assert t.ask() == {
        name_of("1002", 5070): Ask(
            name_of("1002", 5070), "sip:1002@10.20.0.31:5070", "10.20.0.31:5070"
        ),
        name_of("1002"): None,
    }
    t.at(40).gone("1001")
    assert t.ask() == {name_of("1001"): None}


def test_so_many_at_a_time_are_told() -> None:
    t = Probing("1001", "1002", "1003")
    assert [len(t.judge.asks(2)), t.judge.wants_asked] == [2, True]
    assert [len(t.judge.asks(2)), t.judge.wants_asked] == [1, False]


def test_whom_the_pbx_asks_itself_is_not_asked_by_us() -> None:
    t = Probing()
    mine, its = bound("1001", LONG), bound("1002", LONG, reachable=True)
    not_yet = bound("1003", LONG)
    not_yet.asked = True
    t.list(mine, its, not_yet)
    assert set(t.ask()) == {name_of("1001")}
    t.at(30).reach("1001", True)  # it was given a qualify_frequency
    assert t.ask() == {name_of("1001"): None}
    assert t.reachable("1001") is True


def test_one_that_the_pbx_asks_no_more_is_asked_by_us() -> None:
    t = Probing()
    t.list(bound("1001", LONG, reachable=True))
    assert t.ask() == {}
    t.at(30).list(bound("1001", LONG))
    assert set(t.ask()) == {name_of("1001")}


def test_a_contact_at_two_members_is_asked_once_and_until_both_lose_it() -> None:
    t = Probing(members=("a", "b"))
    t.list(bound("1001", LONG), member="a")
    t.list(bound("1001", LONG), member="b")
    assert list(t.ask()) == [name_of("1001")]
    t.answers("1001", now=10)
    assert [c.reachable for c in t.judge.extensions["1001"].contacts] == [True, True]
    t.at(20).gone("1001", member="a")
    assert t.ask() == {}
    t.gone("1001", member="b")
    assert t.ask() == {name_of("1001"): None}


def test_an_address_that_became_known_later_counts() -> None:
    t = Probing()
    t.list()
    early = bound("1001", None)
    early.received = ""
    t.at(10).added(early)
    assert t.ask() == {}
    t.at(12).list(bound("1001", LONG))
    assert set(t.ask()) == {name_of("1001")}


# --- what their silence means ---------------------------------------------------------


def test_a_dead_phone_is_unreachable_since_the_first_question_in_vain() -> None:
    t = Probing("1001", "1002")
    t.answers("1001")
    t.answers("1002")
    t.told.clear()
    t.fails("1001", now=65)
    assert (t.told, t.reachable("1001")) == ([], True)
    t.answers("1002", now=70)
    (o,) = t.fails("1001", now=80)
    assert (o.subject.name, o.state, o.since) == ("1001", MUTE, 60)
    assert o.cause is Cause.UNREACHABLE_CONTACT
    assert o.detail == "it is registered, but does not answer our OPTIONS"
    assert [(fact.at, fact.text) for fact in o.evidence] == [
        (60, "our OPTIONS to 10.20.0.31:5060 unanswered 2 times"),
        (0.0, "still registered"),
    ]
    assert o.last_seen.startswith("10.20.0.31:5060 over UDP, Yealink")
    assert t.reachable("1001") is False
    (back,) = t.answers("1001", now=95)
    assert (back.state, back.since, t.reachable("1001")) == (HERE, 95, True)


def test_a_refusal_is_evidence_of_its_own() -> None:
    t = Probing("1001")
    t.answers("1001")
    t.fails("1001", now=65, cause=Cause.ICMP_UNREACHABLE)
    (o,) = t.fails("1001", now=80, cause=Cause.ICMP_UNREACHABLE)
    assert o.evidence[0].text == "our OPTIONS to 10.20.0.31:5060 refused (ICMP) 2 times"


def test_evidence_names_the_proxy_that_it_was_asked_through() -> None:
    t = Probing(outbound_proxy="sip:10.0.0.9")
    t.list(bound("1001", LONG))
    t.answers("1001")
    t.fails("1001", now=65)
    (o,) = t.fails("1001", now=80)
    assert o.evidence[0].text == (
        "our OPTIONS to 10.20.0.31:5060 through 10.0.0.9:5060 unanswered 2 times"
    )


def test_who_never_answered_is_never_unreachable() -> None:
    t = Probing("1001", "1002")
    for now in (65, 80, 140, 200):
        t.answers("1002", now=now - 10)
        t.fails("1001", now=now)
    assert {o.state for o in t.of("1001")} == set()
    assert t.state("1001") is HERE
    assert t.reachable("1001") is False


def test_of_two_phones_of_an_extension_one_that_answers_will_do() -> None:
    t = Probing("1002")
    t.at(10).list(bound("1002", LONG), bound("1001", LONG), bound("1001", LONG, port=2))
    t.answers("1001")
    t.answers("1001", 2)
    t.told.clear()
    for now in (65, 80, 95):
        t.answers("1002", now=now - 1)
        t.fails("1001", now=now)
    assert (t.told, t.reachable("1001")) == ([], True)
    t.fails("1001", 2, now=100)
    t.answers("1002", now=110)
    (o,) = t.fails("1001", 2, now=115)
    assert (o.state, o.since) == (MUTE, 95)
    assert len(o.evidence) == 3


def test_a_phone_beside_one_that_is_not_probed_is_not_called_unreachable() -> None:
    t = Probing("1002")
    behind_nat = bound("1001", LONG, port=7)
    behind_nat.received = "203.0.113.9:4711"
    t.at(10).list(bound("1002", LONG), bound("1001", LONG), behind_nat)
    t.answers("1001")
    assert t.reachable("1001") is True
    for now in (65, 80):
        t.answers("1002", now=now - 1)
        t.fails("1001", now=now)
    assert t.state("1001") is HERE
    assert t.reachable("1001") is None  # nobody knows of the other


@pytest.mark.parametrize("cause", [Cause.ICMP_UNREACHABLE, Cause.DNS_FAILURE])
def test_a_question_that_did_not_get_there_says_nothing(cause: Cause) -> None:
    t = Probing("1001")
    t.answers("1001")
    t.told.clear()
    for now in (65, 80, 95):
        t.fails("1001", now=now, cause=cause, ok=None)
    assert (t.told, t.state("1001"), t.reachable("1001")) == ([], HERE, None)


def test_one_that_was_unreachable_stays_it_while_we_cannot_ask() -> None:
    t = Probing("1001")
    t.answers("1001")
    t.fails("1001", now=65)
    t.fails("1001", now=80)
    t.fails("1001", now=95, ok=None, cause=Cause.ICMP_UNREACHABLE)
    assert (t.state("1001"), t.reachable("1001")) == (MUTE, None)


def test_a_phone_that_refreshes_lives_whatever_we_hear() -> None:
    t = Probing("1002")
    t.list(bound("1002", LONG), bound("1001", 60, granted=60))
    t.answers("1001")
    t.answers("1002")
    t.fails("1001", now=25)
    t.at(35).list(bound("1002", LONG), bound("1001", 90, granted=60))  # at 30
    for now in (40, 55, 70, 85):
        t.answers("1002", now=now - 1)
        t.fails("1001", now=now)
    assert t.state("1001") is HERE


# --- it is we who are cut off ---------------------------------------------------------


def test_one_phone_alone_is_believed_dead_as_nobody_can_tell() -> None:
    t = Probing("1001")
    t.answers("1001")
    t.fails("1001", now=65)
    (o,) = t.fails("1001", now=80)
    assert o.state is MUTE


def test_a_silence_counts_once_another_was_heard_since_the_last_question() -> None:
    t = Probing("1001", "1002", "1003")
    for aor in ("1001", "1002", "1003"):
        t.answers(aor)
    t.fails("1001", now=65)
    assert t.fails("1001", now=80) == []  # nobody was asked in between
    assert t.fails("1001", now=95) == []
    t.answers("1003", now=100)
    (o,) = t.fails("1001", now=110)
    assert (o.state, o.since) == (MUTE, 60)
    assert o.evidence[0].text.endswith("unanswered 4 times")


def test_an_answer_that_was_no_news_counts_as_well() -> None:
    t = Probing("1001", "1002")
    t.judge.reaching.sight = sight = Measured(0.0)
    t.answers("1001")
    t.answers("1002")
    t.fails("1001", now=65)
    assert t.fails("1001", now=80) == []
    sight.heard_at = 90
    (o,) = t.fails("1001", now=95)
    assert o.state is MUTE


def test_an_answer_at_the_same_moment_is_no_witness() -> None:
    t = Probing("1001", "1002")
    t.answers("1001")
    t.answers("1002", now=60.5)
    t.fails("1001", now=65)  # asked at 60, when the other still was heard
    assert t.fails("1001", now=80) == []


def test_when_all_fall_silent_together_none_is_called_dead() -> None:
    t = Probing("1001", "1002", "1003")
    several = ("1001", "1002", "1003")
    for aor in several:
        t.answers(aor)
    t.told.clear()
    for round_ in range(10):
        for n, aor in enumerate(several):
            t.fails(aor, now=65 + 15 * round_ + n)
    assert {o.subject.name for o in t.told} == {"hq"}
    assert t.told[-1].figures.silent == 3
    assert {t.state(aor) for aor in several} == {HERE}
    # One was dead in truth; the others are heard again.
    (o,) = t.answers("1002", now=300)
    assert (o.subject.name, o.figures.silent) == ("hq", 0)
    t.answers("1003", now=301)
    assert t.fails("1001", now=305) == []  # asked when nobody was heard yet
    t.answers("1002", now=310)
    (dead,) = t.fails("1001", now=320)
    assert (dead.subject.name, dead.state, dead.since) == ("1001", MUTE, 60)


def test_of_two_that_fall_silent_the_one_that_returns_tells_of_the_other() -> None:
    t = Probing("1001", "1002")
    t.answers("1001")
    t.answers("1002")
    t.told.clear()
    for now in (65, 80, 95):
        t.fails("1001", now=now)
        t.fails("1002", now=now + 1)
    assert t.told[-1].figures.silent == 2
    t.answers("1002", now=107)
    assert t.fails("1001", now=113) == []
    t.answers("1002", now=167)
    (o,) = t.fails("1001", now=173)
    assert (o.subject.name, o.state) == ("1001", MUTE)


def test_phones_that_were_dead_before_do_not_make_a_silence() -> None:
    t = Probing("1001", "1002")
    t.answers("1001")
    t.answers("1002")
    t.fails("1001", now=65)
    t.answers("1002", now=70)
    t.fails("1001", now=80)
    assert t.state("1001") is MUTE
    t.told.clear()
    t.fails("1002", now=125)
    (o,) = t.fails("1002", now=140)
    assert (o.subject.name, o.state) == ("1002", MUTE)


def test_one_that_deregisters_ends_the_silence_that_it_was_part_of() -> None:
    t = Probing("1001", "1002")
    t.answers("1001")
    t.answers("1002")
    t.fails("1001", now=65)
    t.fails("1002", now=66)
    t.at(70).gone("1002")
    (silence, o) = t.fails("1001", now=80)
    assert {silence.subject.name, o.subject.name} == {"1001", "hq"}
    assert t.state("1001") is MUTE


# --- restarts of ours -----------------------------------------------------------------


def restarted(t: Probing, state: State, now: float) -> Probing:
    """Another judge that goes on where this one stopped."""
    after = Probing(now=now, remembered=t.judge.take())
    after.judge.restore("1001", state, 60.0)
    return after


def test_one_that_was_unreachable_stays_it_until_it_answers() -> None:
    t = Probing("1001")
    t.answers("1001")
    t.fails("1001", now=65)
    t.fails("1001", now=80)
    after = restarted(t, MUTE, 100)
    after.list(bound("1001", LONG))
    assert after.told_of_extensions() == []
    after.fails("1001", now=110)
    after.fails("1001", now=125)
    assert after.told_of_extensions() == []
    assert after.state("1001") is MUTE
    (o,) = after.answers("1001", now=140)
    assert (o.state, o.since) == (HERE, 140)


def test_one_that_registers_anew_lives() -> None:
    t = Probing("1001")
    t.answers("1001")
    t.fails("1001", now=65)
    t.fails("1001", now=80)
    t.told.clear()
    t.at(90).added(bound("1001", LONG, port=5099))
    assert [(o.state, o.since) for o in t.of("1001")] == [(HERE, 90)]


def test_what_had_answered_before_a_restart_has_answered() -> None:
    t = Probing("1001")
    t.answers("1001")
    after = restarted(t, HERE, 100)
    after.list(bound("1001", LONG))
    after.fails("1001", now=110)
    (o,) = after.fails("1001", now=125)
    assert (o.state, o.since) == (MUTE, 105)


def test_where_probing_was_switched_off_nobody_stays_unreachable() -> None:
    after = Probing(now=100, probe_contacts=False)
    after.judge.restore("1001", MUTE, 60.0)
    after.list(bound("1001", LONG))
    assert [o.state for o in after.of("1001")] == [HERE]


# --- round trips ----------------------------------------------------------------------


def test_a_list_brings_the_round_trip_that_was_measured_since() -> None:
    t = Probing("1001")
    t.judge.reaching.sight = Measured(heard_at=0.0)
    t.answers("1001")
    assert t.judge.extensions["1001"].rtt == 0.02
    t.at(30).list(bound("1001", LONG))
    assert t.judge.extensions["1001"].rtt == 0.123
    t.fails("1001", now=65)
    assert t.judge.extensions["1001"].rtt is None


# --- how many contacts ----------------------------------------------------------------


def figures(t: Timeline, aor: str) -> list[tuple[int | None, int]]:
    return [(o.figures.contacts, o.figures.wanted) for o in t.of(aor)]


def test_one_of_two_phones_that_is_away_is_told() -> None:
    t = Probing(probe_contacts=False, contacts=ContactsSettings(min=2))
    t.list(bound("1001", LONG), bound("1001", LONG, port=5070))
    assert figures(t, "1001") == [(2, 2)]
    t.at(30).list(bound("1001", LONG))
    assert figures(t, "1001")[1:] == [(1, 2)]
    assert t.last("1001").state is HERE
    t.at(60).list(bound("1001", LONG))
    assert len(t.of("1001")) == 2  # it is no news
    t.at(90).added(bound("1001", LONG, port=5071))
    assert figures(t, "1001")[2:] == [(2, 2)]


def test_an_extension_that_is_away_has_no_number_of_contacts() -> None:
    t = Probing(probe_contacts=False, contacts=ContactsSettings(min=2))
    t.list(bound("1001", 730))
    t.at(700).list(bound("1001", 730))  # it has been there for long enough to be missed
    t.at(740).list()
    assert t.last("1001").state is State.UNREGISTERED
    assert figures(t, "1001") == [(1, 2), (None, 0)]


def test_only_those_that_are_named_need_so_many() -> None:
    wanted = ContactsSettings(min=2, extensions=[Glob("10*")])
    t = Probing(probe_contacts=False, contacts=wanted)
    t.list(bound("1001", LONG), bound("2001", LONG))
    assert figures(t, "1001") == [(1, 2)]
    assert figures(t, "2001") == [(None, 0)]
