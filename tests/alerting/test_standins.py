"""A notifier that cannot be reached does not hide what is bad: timelines."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from alerting.announcement import Delivered
from alerting.incident import Outcome, Severity
from alerting.routes import GroupSettings, RouteSettings, StepSettings
from alerting.rules.rule import RuleSettings
from alerting.store.database import Store
from checks.observation import State, Subject
from tests.alerting.timeline import Site

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
TRANSIENT, PERMANENT = Outcome.TRANSIENT, Outcome.PERMANENT
MAIL_ONLY = (RouteSettings(("mail",)),)
HOUR = 3600.0


def answering(**until: float):  # type: ignore[no-untyped-def]
    """Notifiers that fail for the moment until then; all others accept."""

    def answers(name: str, now: float) -> Outcome:
        return TRANSIENT if now < until.get(name, 0.0) else Outcome.ACCEPTED

    return answers


def site(**more) -> Site:  # type: ignore[no-untyped-def]
    made = Site(
        **{
            "routes": MAIL_ONLY,
            "notifiers": ("mail", "pager"),
            "answers": answering(mail=1e9),
            **more,
        }
    )
    made.rules = {"MassUnregistration": RuleSettings(enabled=False), **made.rules}
    made.__post_init__()
    made.readable(max(10, made.now))
    return made


def phone_of(made: Site, name: str = "1001", *, required: bool = False) -> Subject:
    """A phone that is registered; the loss of one that must be is critical."""
    phone = made.extension(name, required=required)
    made.at(11, phone, REGISTERED)
    return phone


def required(made: Site, name: str = "1001") -> Subject:
    return phone_of(made, name, required=True)


def about(made: Site, name: str, notifier: str = "pager") -> list[tuple[float, str]]:
    """What a notifier was told of a subject, and when."""
    return [
        (mail.at, mail.text)
        for mail in made.mails.get(notifier, ())
        if name in mail.text.split()
    ]


# --- the mail server is down --------------------------------------------------------


def test_a_critical_incident_goes_to_the_next_notifier_after_five_minutes() -> None:
    made = site()
    made.at(100, required(made), UNREGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == [(520, "firing 1001 ExtensionUnregistered")]
    assert about(made, "notifier/mail") == [
        (310, "firing notifier/mail NotifierFailing")
    ]


def test_a_warning_waits_for_its_own_notifier() -> None:
    made = site(answers=answering(mail=HOUR))
    made.at(100, phone_of(made), UNREGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == []
    assert len(about(made, "1001", "mail")) == 1


def test_other_severities_may_have_a_patience_of_their_own() -> None:
    group = GroupSettings(wait=0.0, interval=0.0, stand_in={Severity.WARNING: 900.0})
    made = site(group=group)
    easy, bad = phone_of(made), required(made, "1002")
    made.at(100, easy, UNREGISTERED)
    made.at(100, bad, UNREGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == [(1120, "firing 1001 ExtensionUnregistered")]
    assert about(made, "1002") == []


def test_a_mail_server_that_is_back_within_that_time_leaves_the_pager_alone() -> None:
    made = site(answers=answering(mail=400))
    made.at(100, required(made), UNREGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == []
    assert about(made, "1001", "mail") == [(430, "firing 1001 ExtensionUnregistered")]


def test_back_after_an_hour_each_knows_once_and_each_hears_the_end_once() -> None:
    made = site(answers=answering(mail=HOUR))
    phones = [required(made, f"10{n:02}") for n in range(40)]
    for phone in phones:
        made.at(100, phone, UNREGISTERED)
    made.until(2 * HOUR)
    (paged,) = [t for t in made.told("pager") if "1000" in t]
    assert all(phone.name in paged for phone in phones)
    (mailed,) = made.told("mail")
    assert all(phone.name in mailed for phone in phones)
    for phone in phones:
        made.at(2 * HOUR, phone, REGISTERED)
    made.until(3 * HOUR)
    for notifier in ("mail", "pager"):
        (last,) = [t for t in made.told(notifier) if t.startswith("resolved 10")]
        assert all(phone.name in last for phone in phones)


def test_what_comes_and_goes_meanwhile_is_told_late_in_one_mail() -> None:
    made = site(answers=answering(mail=HOUR))
    phones = [required(made, f"10{n:02}") for n in range(12)]
    for n, phone in enumerate(phones):
        made.at(100 + n, phone, UNREGISTERED)
    for phone in phones:
        made.at(1500, phone, REGISTERED)
    made.until(3 * HOUR)
    assert {t.split()[0] for t in made.told("mail")} == {"late"}
    assert len(made.told("mail")) == 2  # that it takes mail again, and all the others
    assert about(made, "1000")[0][1].startswith("firing")
    assert about(made, "1000")[1][1].startswith("resolved")
    assert len(about(made, "1000")) == 2


def test_who_stands_in_is_not_reminded_once_the_routes_own_notifier_knows() -> None:
    repeat = {Severity.CRITICAL: HOUR}
    made = site(
        group=GroupSettings(wait=0.0, interval=0.0, repeat=repeat),
        answers=answering(mail=3 * HOUR),
    )
    made.at(100, required(made), UNREGISTERED)
    made.until(8 * HOUR)
    paged = [at for at, _ in about(made, "1001")]
    mailed = [at for at, _ in about(made, "1001", "mail")]
    assert [at for at in paged if at < 3 * HOUR] == [520, 4120, 7720]
    assert [at for at in paged if at > mailed[0]] == []
    assert len(mailed) > 4


def test_acknowledged_before_the_pager_was_told_it_stays_quiet() -> None:
    made = site()
    made.at(100, required(made), UNREGISTERED)
    made.until(300)
    (incident,) = [i for i in made.alarms.incidents if i.rule != "NotifierFailing"]
    made.alarms.acknowledge(incident.id, "alice", 300)
    made.until(2 * HOUR)
    assert about(made, "1001") == []


def test_over_before_the_pager_was_told_it_stays_quiet() -> None:
    made = site()
    phone = required(made)
    made.at(100, phone, UNREGISTERED)
    made.at(400, phone, REGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == []


def test_somebody_who_knows_already_is_enough() -> None:
    routes = (RouteSettings(("mail", "chat")),)
    made = site(routes=routes, notifiers=("mail", "chat", "pager"))
    made.at(100, required(made), UNREGISTERED)
    made.until(2 * HOUR)
    assert about(made, "1001") == []
    assert len(about(made, "1001", "chat")) == 1


def test_who_knows_that_it_is_bad_does_not_know_that_it_became_worse() -> None:
    worse = {
        "Longer": RuleSettings(
            on="extension",
            state=("unregistered",),
            for_=1000.0,
            severity=Severity.CRITICAL,
            family="liveness",
        )
    }
    made = site(rules=worse)
    made.answers = lambda name, now: (
        TRANSIENT if name == "mail" and now > 500 else Outcome.ACCEPTED
    )
    made.at(100, phone_of(made), UNREGISTERED)
    made.until(2 * HOUR)
    assert [t for _, t in about(made, "1001", "mail")] == [
        "firing 1001 ExtensionUnregistered"
    ]
    assert about(made, "1001") == [(1400, "firing 1001 Longer")]


# --- who it is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "down", "who"),
    [
        (MAIL_ONLY, (), "chat"),
        (
            (RouteSettings(("mail",), escalate=(StepSettings(HOUR, ("boss",)),)),),
            (),
            "boss",
        ),
        (MAIL_ONLY, ("chat",), "pager"),
        ((*MAIL_ONLY, RouteSettings(("pager",), {"severity": ()})), (), "chat"),
    ],
    ids=["in order", "of the ladder first", "one that works", "not of another route"],
)
def test_the_next_one_is(
    routes: tuple[RouteSettings, ...], down: tuple[str, ...], who: str
) -> None:
    names = ("mail", "chat", "pager", "boss")
    made = site(
        routes=routes,
        notifiers=names,
        answers=answering(mail=1e9, **dict.fromkeys(down, 1e9)),
    )
    for name in down:  # known to fail
        made.alarms.fared(name, PERMANENT, 50, "550")
    made.at(100, required(made), UNREGISTERED)
    made.until(3000)
    told = {n for n in names for _, text in about(made, "1001", n)}
    assert told == {who}


def test_one_that_fails_too_is_followed_by_the_next_and_none_twice() -> None:
    names = ("mail", "chat", "pager")
    made = site(notifiers=names, answers=answering(mail=1e9, chat=1e9))
    made.at(100, required(made), UNREGISTERED)
    made.until(6 * HOUR)
    assert about(made, "1001") == [(820, "firing 1001 ExtensionUnregistered")]


def test_all_down_is_tried_on_without_end_and_told_once_by_each_that_is_back() -> None:
    names = ("mail", "chat", "pager")
    made = site(
        notifiers=names,
        answers=answering(mail=9 * HOUR, chat=8 * HOUR, pager=7 * HOUR),
    )
    phone = required(made)
    made.at(100, phone, UNREGISTERED)
    made.until(6 * HOUR)
    assert made.mails == {}
    assert len(made.alarms.deliveries(made.alarms.incidents[0])) == 3
    attempts = [a for a in made.announced if isinstance(a, Delivered)]
    assert len(attempts) < 4 * 6 * 6 * 3  # every ten minutes each, no storm
    made.until(10 * HOUR)
    made.at(10 * HOUR, phone, REGISTERED)
    made.until(11 * HOUR)
    assert len(about(made, "1001", "pager")) == 2
    assert len(about(made, "1001", "mail")) == 2
    assert about(made, "1001", "chat") == []  # the pager knew before it was back


def test_nobody_tells_of_their_own_failing_and_none_of_it_goes_in_circles() -> None:
    made = site(answers=answering(mail=6 * HOUR, pager=6 * HOUR))
    made.at(100, required(made), UNREGISTERED)
    made.until(12 * HOUR)
    assert about(made, "notifier/mail", "mail") == []
    assert about(made, "notifier/pager", "pager") == []
    assert [i.subject.name for i in made.alarms.incidents] == ["1001"]
    told = [text for n in ("mail", "pager") for text in made.told(n) if "1001" in text]
    assert told == ["firing 1001 ExtensionUnregistered"] * len(told)
    assert len(told) <= 2


# --- slow, refused, mended ----------------------------------------------------------


def test_what_waits_behind_a_slow_notifier_for_too_long_goes_to_the_next() -> None:
    group = GroupSettings(by=("extension",), wait=0.0, interval=0.0, repeat={})
    made = site(group=group, answers=answering())
    phones = [required(made, f"10{n:02}") for n in range(20)]
    made.notifiers = ()
    for phone in phones:
        made.at(100, phone, UNREGISTERED)
    made.until(221)
    now = 221.0
    while (batch := made.alarms.due("mail", now)) is not None:
        now += 50.0  # for each
        made.alarms.settle(batch, Outcome.ACCEPTED, now)
        while paged := made.alarms.due("pager", now):
            made.send("pager", paged)
    told = {text.split()[1] for text in made.told("pager")}
    assert 10 < len(told) < 20
    assert "1000" not in told
    assert "1019" in told


def test_an_hour_of_refusals_is_made_up_for_in_few_mails() -> None:
    group = GroupSettings(wait=10.0, interval=300.0, repeat={})
    made = site(group=group, notifiers=("mail",), answers=answering(mail=HOUR))
    phones = [required(made, f"10{n:02}") for n in range(9)]
    for n, phone in enumerate(phones):
        made.at(100 + 360 * n, phone, UNREGISTERED)  # each of them was a batch
    made.until(2 * HOUR)
    assert [len(mail.batch.deliveries) for mail in made.mails["mail"]] == [1, 8]
    for phone in phones:
        made.at(2 * HOUR, phone, REGISTERED)
    made.until(3 * HOUR)
    ends = [t for t in made.told("mail") if t.startswith("resolved")]
    assert sorted(" ".join(ends).split()) == sorted(
        [*(p.name for p in phones), *["resolved", "ExtensionUnregistered"] * len(ends)]
    )


def test_a_notifier_that_works_again_tells_what_it_refused_and_nobody_knows() -> None:
    made = site()
    made.answers = lambda name, now: PERMANENT if now < HOUR else Outcome.ACCEPTED
    made.at(100, required(made), UNREGISTERED)
    made.until(HOUR)
    assert made.mails == {}
    made.alarms.retry("mail", HOUR)  # configured anew
    made.until(HOUR + 60)
    assert [t for _, t in about(made, "1001", "mail")] == [
        "firing 1001 ExtensionUnregistered"
    ]


def test_a_restart_neither_forgets_a_promise_nor_keeps_it_twice(
    tmp_path: Path,
) -> None:
    path, paged = tmp_path / "alarms.db", []
    for start, end in ((0, 400), (400, 600), (600, 1000)):
        with Store.open(path) as store:
            made = site(
                now=start,
                restored=store.load(),
                on_write=store.write,
                ids=lambda: secrets.token_hex(4),
            )
            phone = made.extension("1001", required=True)
            made.alarms.adopt(phone)
            if not start:
                made.at(11, phone, REGISTERED)
                made.at(100, phone, UNREGISTERED)
            made.until(end)
            paged += about(made, "1001")
    assert paged == [(520, "firing 1001 ExtensionUnregistered")]


def test_one_stand_in_is_enough() -> None:
    made = site(notifiers=("mail", "chat", "pager"), answers=answering(mail=6 * HOUR))
    made.at(100, required(made), UNREGISTERED)
    made.until(12 * HOUR)
    assert len(about(made, "1001", "chat")) == 1
    assert about(made, "1001", "pager") == []
