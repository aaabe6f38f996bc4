"""What the daemon knows of why somebody cannot be called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from alerting.muting.hours import week
from alerting.muting.schedule import Schedule, ScheduleSettings
from alerting.notification.shape import iso
from alerting.rules.rule import RuleSettings, build
from checks.cause import Answer as CauseAnswer
from checks.cause import Confidence, Evidence, Sender
from checks.observation import Binding, Cause, Fact, Loss, State
from checks.options.answers import Answer
from checks.options.targets import TargetSettings
from checks.registrations.judge import Judge, Listed
from checks.registrations.readings import Bindings, ListEnd
from checks.sip.message import Response, parse
from sipwatch.findings import Findings, behind_nat, finding_json
from tests.sipwatch.watching import START, Watching

LYON = {f"3{n:03}" for n in range(10)}


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


def lost(site: Watching, *gone: str, **settings: object) -> Judge:
    """hq, all of Lyon registered, then without these."""
    judge = site.registrar(
        "hq",
        dict.fromkeys(LYON, True),
        listed=[Listed(aor, "", "Lyon") for aor in LYON],
        **settings,  # type: ignore[arg-type]
    )
    site.now += 70
    rows = [
        Binding(aor, f"sip:{aor}@192.0.2.7", site.now + 60, 60)
        for aor in LYON.difference(gone)
    ]
    end = ListEnd(site.now, site.now, START - 9000)
    for reading in (Bindings(rows), end):
        site.observe(*judge.apply(next(iter(judge.members)), reading, site.now))
    return judge


def evidence(site: Watching, judge: Judge, aor: str) -> Evidence:
    found = Findings(site).evidence(judge.extensions[aor].subject)
    assert found is not None
    return found


def said(status: int, *lines: str) -> Response:
    """An answer to OPTIONS."""
    head = (
        f"SIP/2.0 {status} Said",
        "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa",
        "To: <sip:a@b>;tag=1",
        "CSeq: 1 OPTIONS",
    )
    found = parse("\r\n".join([*head, *lines, "", ""]).encode())
    assert isinstance(found, Response)
    return found


def answers(site: Watching, index: int, response: Response) -> None:
    """A target gives this answer, which was read in full."""
    for row in site.options.judge.members(index):
        answer = Answer(
            row, 0, response.status, response.reason, response.agent, response
        )
        source = site.options.rows.address[row]
        site.options.judge.answered(row, answer, source, site.now)


async def test_a_lost_phone_is_known_with_how_and_where(site: Watching) -> None:
    judge = lost(site, "3007")
    known = evidence(site, judge, "3007")
    assert (known.registration, known.loss) == (State.UNREGISTERED, Loss.EXPIRED)
    assert (known.place, known.granted) == ("hq", 60)
    assert (known.address, known.device) == ("192.0.2.7:5060", "Phone 1")
    assert (known.site, known.site_lost, known.site_of) == ("Lyon", 1, 10)
    assert [fact.text for fact in known.history][-1] == "read, no binding"
    found = Findings(site).of(judge.extensions["3007"].subject)
    assert found is not None
    assert (found.cause, found.confidence) == (Cause.EXPIRED, Confidence.CERTAIN)


async def test_a_phone_that_is_there_has_nothing_wrong(site: Watching) -> None:
    judge = lost(site, "3007")
    known = evidence(site, judge, "3001")
    assert (known.registration, known.left) == (State.REGISTERED, 60.0)
    found = Findings(site).of(judge.extensions["3001"].subject)
    assert found is not None
    assert found.cause is None


async def test_who_went_with_its_site_is_not_looked_for_one_by_one(
    site: Watching,
) -> None:
    gone = sorted(LYON)[:8]
    judge = lost(site, *gone)
    found = Findings(site).of(judge.extensions[gone[0]].subject)
    assert found is not None
    assert found.sentence == "it is not registered, and nor are 7 others of Lyon"
    alone = Findings(site).of(judge.extensions[gone[0]].subject, around=False)
    assert alone is not None
    assert alone.cause is Cause.EXPIRED


async def test_a_registrar_that_is_not_read_makes_it_a_guess(site: Watching) -> None:
    judge = lost(site, "3007")
    member = next(iter(judge.members))
    site.observe(*judge.lost(member, Cause.TIMEOUT, "AMI: no answer", site.now))
    known = evidence(site, judge, "3007")
    assert known.blind == "AMI: no answer"
    found = Findings(site).of(judge.extensions["3007"].subject)
    assert found is not None
    assert found.confidence is Confidence.POSSIBLE


async def test_the_load_of_the_registrar_is_what_options_say(site: Watching) -> None:
    judge = lost(site, "3007", target="pbx")
    settings = TargetSettings(uri="203.0.113.5", role="pbx")
    site.config.targets["pbx"] = settings  # type: ignore[index]
    index = site.target("pbx", "203.0.113.5", role="pbx")
    site.answer(index)
    assert evidence(site, judge, "3007").outages == 0.0
    answers(site, index, said(503, "Retry-After: 10"))
    known = evidence(site, judge, "3007")
    assert (known.registrar_down, known.outages) == (True, 0.5)
    found = Findings(site).of(judge.extensions["3007"].subject)
    assert found is not None
    assert found.cause is Cause.OVERLOADED


async def test_hours_of_its_rules_count_and_no_others(site: Watching) -> None:
    judge = lost(site, "3007")
    never = Schedule(
        ScheduleSettings(hours=week({"mon": "00:00-00:01"})), ZoneInfo("UTC")
    )
    site.alarms.muting.schedules["office"] = never
    assert evidence(site, judge, "3007").closed == ""
    site.alarms.rules = build({"ExtensionUnregistered": RuleSettings(during="office")})
    known = evidence(site, judge, "3007")
    assert known.closed == "office"
    assert known.opens_at is not None
    assert known.opens_at > site.now


class Reached:
    """What our own OPTIONS to contacts heard, by the address that was asked."""

    heard_at = 0.0

    def __init__(self, **answers: CauseAnswer) -> None:
        self._answers = {f"192.0.2.{host[1:]}:5060": a for host, a in answers.items()}

    def rtt(self, name: str) -> float | None:
        return None

    def told(self, name: str) -> CauseAnswer | None:
        return self._answers.get(name.rpartition("@")[2] + ":5060")


def phones(site: Watching, *hosts: int, **keys: object) -> Judge:
    """hq, which has 1001 registered at each of these."""
    judge = site.registrar("hq", probe_contacts=True, **keys)  # type: ignore[arg-type]
    rows = [
        Binding("1001", f"sip:1001@192.0.2.{n}", site.now + 60, 60, None, "Phone 1",
                f"192.0.2.{n}:5060")
        for n in hosts
    ]  # fmt: skip
    for reading in (Bindings(rows), ListEnd(site.now, site.now, START - 9000)):
        site.observe(*judge.apply(next(iter(judge.members)), reading, site.now))
    return judge


BUSY = CauseAnswer(status=486, reason="Busy Here", method="OPTIONS", at=START)


async def test_a_phone_that_tells_our_options_that_it_will_not_ring_is_the_sender(
    site: Watching,
) -> None:
    judge = phones(site, 7)
    judge.reaching.sight = Reached(h7=BUSY)
    known = evidence(site, judge, "1001")
    assert known.answer == replace(BUSY, sender=Sender.DEVICE)
    found = Findings(site).of(judge.extensions["1001"].subject)
    assert found is not None
    assert (found.cause, found.confidence) == (
        *(Cause.DO_NOT_DISTURB, Confidence.LIKELY),
    )
    assert found.sentence.startswith("the phone is there and answers 486 Busy Here")


async def test_of_several_phones_one_that_rings_will_do(site: Watching) -> None:
    judge = phones(site, 7, 8)
    judge.reaching.sight = Reached(h7=BUSY)
    assert evidence(site, judge, "1001").answer is None
    later = replace(BUSY, status=603, at=START + 5)
    judge.reaching.sight = Reached(h7=BUSY, h8=later)
    answer = evidence(site, judge, "1001").answer
    assert answer is not None
    assert answer.status == 603


async def test_behind_a_proxy_who_answered_is_known_by_its_name_alone(
    site: Watching,
) -> None:
    judge = phones(site, 7, outbound_proxy="sip:198.51.100.1")
    judge.reaching.sight = Reached(h7=BUSY)
    answer = evidence(site, judge, "1001").answer
    assert answer is not None
    assert answer.sender is None
    judge.reaching.sight = Reached(h7=replace(BUSY, agent="Phone 1"))
    answer = evidence(site, judge, "1001").answer
    assert answer is not None
    assert answer.sender is Sender.DEVICE


async def test_who_else_has_heard_of_failed_calls_is_asked(site: Watching) -> None:
    judge, findings = lost(site, "3007"), Findings(site)
    findings.reporters += [
        lambda subject: [Fact(20.0, f"480 to a call of {subject.name}")],
        lambda subject: [Fact(10.0, "Twilio 32009")],
    ]
    known = findings.evidence(judge.extensions["3007"].subject)
    assert known is not None
    assert [fact.text for fact in known.recent] == [
        "Twilio 32009",
        "480 to a call of 3007",
    ]


# --- targets --------------------------------------------------------------------------


async def test_a_480_of_a_host_says_nothing_of_a_user(site: Watching) -> None:
    index = site.target("t", "203.0.113.9", role="trunk")
    answers(site, index, said(480))
    subject = site.options.judge.subjects[index]
    assert subject is not None
    assert Findings(site).of(subject) is None


@pytest.mark.parametrize(
    ("role", "sender"),
    [("phone", Sender.DEVICE), ("pbx", Sender.PBX), ("trunk", Sender.PROVIDER)],
)
async def test_who_answers_for_a_target_is_what_it_is(
    site: Watching, role: str, sender: Sender
) -> None:
    index = site.target("t", "203.0.113.9", role=role)
    answers(site, index, said(480, "Retry-After: 10"))
    subject = site.options.judge.subjects[index]
    assert subject is not None
    known = Findings(site).evidence(subject)
    assert known is not None
    assert known.answer is not None
    assert (known.answer.sender, known.answer.source) == (sender, "203.0.113.9:5060")


async def test_a_target_that_is_up_or_silent_has_no_finding(site: Watching) -> None:
    up, silent = site.target("up", "203.0.113.9"), site.target("off", "203.0.113.8")
    site.answer(up)
    site.silence(silent, 3)
    findings = Findings(site)
    for index in (up, silent):
        subject = site.options.judge.subjects[index]
        assert subject is not None
        assert findings.of(subject) is None


async def test_what_a_healthy_row_has_said_is_not_kept(site: Watching) -> None:
    index = site.target("t", "203.0.113.9", role="phone")
    answers(site, index, said(480))
    (view,) = site.options.targets["target:t"].addresses
    assert view.told is not None
    for _ in range(5):
        site.answer(index)
    (view,) = site.options.targets["target:t"].addresses
    assert view.told is None


# --- incidents ------------------------------------------------------------------------


async def test_a_mail_is_told_the_cause_the_steps_and_what_else_shows_it(
    site: Watching,
) -> None:
    site.config = replace(site.config, sites={})
    index = site.target("desk", "203.0.113.9", role="phone")
    answers(site, index, said(480, 'Reason: Q.850;cause=20;text="absent"'))
    site.until(site.now + 400)
    (incident,) = site.alarms.incidents
    told = Findings(site).explained(incident)
    assert told is not None
    assert told.why.startswith("it is not registered: the phone says so (480 Said")
    assert told.steps[0].startswith("check power and network of the phone")
    assert "Reason: Q.850 cause 20, absent" in [fact.text for fact in told.evidence]


@pytest.mark.parametrize(
    ("status", "why", "cause"),
    [
        (480, 'Reason: SIP;text="Do Not Disturb"', Cause.DO_NOT_DISTURB),
        (480, 'Reason: SIP;text="out of office hours"', Cause.OUT_OF_HOURS),
        (480, 'Reason: Q.850;cause=20;text="absent"', None),
        (480, "Subject: nothing", None),  # do not disturb is likely: that is not enough
        (503, 'Reason: SIP;text="Do Not Disturb"', None),  # it is down
    ],
)
async def test_a_target_that_says_it_is_so_on_purpose_alarms_nobody(
    site: Watching, status: int, why: str, cause: Cause | None
) -> None:
    index = site.target("desk", "203.0.113.9", role="phone")
    site.answer(index)
    for _ in range(3):
        answers(site, index, said(status, why))
    site.until(site.now + 400)
    (incident,) = site.alarms.incidents
    site.alarms.muting.purpose = Findings(site).on_purpose
    assert Findings(site).on_purpose(incident) is cause
    assert (site.alarms.muting.muted_by(incident, site.now) is None) == (cause is None)


async def test_a_finding_as_json_has_all_of_it(site: Watching) -> None:
    judge = lost(site, "3007")
    shown = Findings(site).shown("3007")
    assert shown["subject"] == "extension:hq/3007"
    found = Findings(site).of(judge.extensions["3007"].subject)
    assert found is not None
    assert shown["finding"] == finding_json(found, iso)
    assert shown["finding"]["cause"] == "expired"
    assert shown["finding"]["evidence"][0]["text"].startswith("not registered at hq")
    with pytest.raises(LookupError, match="nothing is watched as 9"):
        Findings(site).shown("9")


@pytest.mark.parametrize(
    ("contact", "received", "nat"),
    [
        ("sip:1@192.168.1.5:5060", "203.0.113.7:4012", True),
        ("sip:1@203.0.113.7:5060", "203.0.113.7:4012", False),
        ("sip:1@[2001:db8::1]:5060", "[2001:db8::1]:5060", False),
        ("sip:1@phone.example.com", "203.0.113.7:4012", False),
        ("sip:1@192.168.1.5", "sip:203.0.113.7:4012;transport=udp", True),
        ("sip:1@192.168.1.5", "", False),
        ("nonsense", "203.0.113.7:4012", False),
    ],
)
def test_behind_a_nat_is_who_names_another_address(
    contact: str, received: str, nat: bool
) -> None:
    assert behind_nat(contact, received) is nat
