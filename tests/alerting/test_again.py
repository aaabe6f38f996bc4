"""After a restart or a reload: what is owed then, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from alerting.incident import Outcome
from alerting.routes import GroupSettings, RouteSettings, repeats
from alerting.rules.rule import RuleSettings, build
from checks.observation import Figures, Kind, Scope, State, Subject

from .test_alarms_properties import Disk
from .timeline import Site

FAST = {
    name: RuleSettings(for_=120.0, keep_firing_for=0.0)
    for name in ("RegistrarUnreadable", "NotifierFailing", "StoreFailing")
}
TO_MAIL = [RouteSettings(("mail",))]
DAILY = GroupSettings(wait=0.0, interval=0.0, repeat={})


class Again:
    """A site on paper with its disk, and what may happen to sipwatch itself."""

    def __init__(self, *notifiers: str, routes: Sequence[RouteSettings] = ()) -> None:
        self.routes = routes
        self.disk = Disk()
        self.outcomes: dict[str, Outcome] = {}
        self.site = self._site(0.0, notifiers)

    def _site(self, now: float, notifiers: tuple[str, ...]) -> Site:
        return Site(
            rules=FAST,
            routes=self.routes,
            group=DAILY,
            now=now,
            notifiers=notifiers,
            restored=self.disk.load(),
            on_write=self.disk.write,
            answers=lambda name, at: self.outcomes.get(name, Outcome.ACCEPTED),
            ids=lambda: f"batch-{len(self.disk.rows)}-{now}",
        )

    def restart(self, at: float, *notifiers: str) -> None:
        """End, and begin again with what was written."""
        self.site.until(at)
        mails = self.site.mails
        self.site = self._site(at, notifiers or tuple(self.site.notifiers))
        self.site.mails = mails

    def reload(self, at: float, *notifiers: str) -> None:
        """Other notifiers from now on; those that are named are configured anew."""
        site = self.site
        site.until(at)
        site.notifiers = notifiers or site.notifiers
        site.alarms.replace(
            build(site.rules), self.routes, site.group, site.notifiers, site.now
        )
        for name in notifiers:
            site.alarms.retry(name, site.now)

    def down(self, at: float) -> Subject:
        """A trunk that fails at once."""
        trunk = self.site.target("trunk")
        self.site.failing(at, trunk, at - 100, 5)
        return trunk


AgainBy = Callable[..., None]  # Again.restart or Again.reload


def test_what_was_refused_for_good_is_due_when_its_notifier_is_configured_anew() -> (
    None
):
    again = Again("mail")
    again.outcomes["mail"] = Outcome.PERMANENT
    again.down(1000)
    again.outcomes.clear()
    again.reload(1060, "mail")
    again.site.until(1060)
    assert again.site.told("mail") == ["firing trunk OptionsFailing"]


def test_a_reload_that_leaves_a_notifier_as_it_is_does_not_hasten_it() -> None:
    again = Again("mail")
    again.outcomes["mail"] = Outcome.PERMANENT
    again.down(1000)
    again.outcomes.clear()
    again.reload(1060)
    again.site.until(4599)
    assert again.site.told("mail") == []
    again.site.until(4600)
    assert again.site.told("mail") == ["firing trunk OptionsFailing"]


def test_what_was_refused_for_good_is_due_after_a_restart() -> None:
    again = Again("mail")
    again.outcomes["mail"] = Outcome.PERMANENT
    again.down(1000)
    again.outcomes.clear()
    again.restart(1060)
    again.site.until(1060)
    assert again.site.told("mail") == ["firing trunk OptionsFailing"]


def test_a_notifier_that_takes_one_gets_what_it_refused_for_good() -> None:
    again = Again("mail")
    again.outcomes["mail"] = Outcome.PERMANENT
    again.down(1000)
    again.outcomes.clear()
    again.site.failing(1100, again.site.target("pbx"), 1000, 5)
    again.site.until(1100)
    assert again.site.told("mail") == [
        "firing pbx OptionsFailing",
        "firing trunk OptionsFailing",
    ]


def test_a_notifier_renamed_there_and_back_is_told_the_end() -> None:
    again = Again("oncall")
    trunk = again.down(1000)
    again.reload(1060, "oncal")
    again.reload(1100, "oncall")
    again.site.up(1200, trunk, 1200, 3)
    again.site.until(5000)
    assert again.site.told("oncall") == [
        "firing trunk OptionsFailing",
        "resolved trunk OptionsFailing",
    ]
    assert again.site.alarms.owed() == []


def test_what_ended_while_a_name_was_gone_is_told_when_it_returns() -> None:
    again = Again("oncall")
    trunk = again.down(1000)
    again.reload(1060, "oncal")
    again.site.up(1200, trunk, 1200, 3)
    again.restart(20_000)
    assert again.site.alarms.owed() == []
    again.restart(30_000, "oncall")
    again.site.until(30_000)
    assert again.site.told("oncall")[1:] == ["resolved trunk OptionsFailing"]


def test_what_is_owed_to_a_name_that_never_returns_is_forgotten_after_a_day() -> None:
    again = Again("oncall")
    trunk = again.down(1000)
    again.reload(1060, "oncal")
    again.site.up(1200, trunk, 1200, 3)
    again.site.until(90_000)
    again.restart(90_000, "oncall")
    again.site.until(100_000)
    assert again.site.told("oncall") == ["firing trunk OptionsFailing"]


def test_what_a_lost_name_refused_is_told_by_it_as_it_is_when_it_returns() -> None:
    again = Again("oncall")
    again.outcomes["oncall"] = Outcome.TRANSIENT
    trunk = again.down(1000)
    again.outcomes.clear()
    again.reload(1010, "oncal")
    assert again.site.told("oncal") == []
    again.site.up(1200, trunk, 1200, 3)
    again.reload(1300, "oncall")
    again.site.until(1300)
    assert again.site.told("oncal") == [
        "firing trunk OptionsFailing",
        "resolved trunk OptionsFailing",
    ]
    assert again.site.told("oncall") == ["late resolved trunk OptionsFailing"]


def test_repeats_go_on_when_a_name_returns() -> None:
    again = Again("oncall")
    again.site.group = replace(DAILY, repeat=repeats({"critical": "1h"}))
    again.reload(0)
    again.down(1000)
    again.reload(1060, "oncal")
    again.reload(1100, "oncall")
    again.site.until(9000)
    assert again.site.times("oncall") == [1000, 4600, 8200]
    assert again.site.alarms.owed() == []


@pytest.mark.parametrize("again_by", [Again.reload, Again.restart])
def test_a_notifier_that_is_added_is_told_what_is_open(again_by: AgainBy) -> None:
    again = Again("mail")
    trunk = again.down(1000)
    over = again.site.target("pbx")
    again.site.failing(1001, over, 900, 5)
    again.site.up(1010, over, 1002, 3)
    again_by(again, 1060, "mail", "pager")
    again.site.until(1060)
    assert again.site.told("pager") == ["firing trunk OptionsFailing"]
    assert len(again.site.told("mail")) == 3
    trunk = again.site.target("trunk") if again_by is Again.restart else trunk
    again.site.up(1200, trunk, 1200, 3)
    again.site.until(1300)
    for name in ("mail", "pager"):
        assert again.site.told(name)[-1] == "resolved trunk OptionsFailing"


def test_the_first_notifier_of_all_is_told_what_is_open() -> None:
    again = Again()
    again.down(1000)
    again.reload(1060, "mail")
    again.site.until(1060)
    assert again.site.told("mail") == ["firing trunk OptionsFailing"]


def _own(name: str) -> Subject:
    return Subject(Kind.SELF, name, Scope(name))


KINDS: dict[str, tuple[Callable[[Site], Subject], State, State]] = {
    "target": (lambda site: site.target("trunk"), State.DOWN, State.UP),
    "registrar": (lambda site: site.hq, State.UNREADABLE, State.READABLE),
    "notifier": (
        lambda site: site.alarms._reports.subject("pager"),
        State.FAILING,
        State.OK,
    ),
    "self": (lambda site: _own("store"), State.FAILING, State.OK),
}
# When each phase is interrupted: before mail counts as failing that is refused.
PHASES = {
    "pending": 1060.0,
    "firing untold": 1200.0,
    "told": 1200.0,
    "resolved untold": 1450.0,
}


class Story:
    """One subject that fails at 1000 and is well at last, whatever lies between."""

    def __init__(self, again: Again, kind: str) -> None:
        self.again = again
        self.find, self.bad, self.good = KINDS[kind]
        self.subject = self.find(again.site)

    def fails(self, at: float, since: float, failures: int) -> None:
        """A look at it as it is down."""
        figures = Figures(failures=failures)
        self.again.site.at(at, self.subject, self.bad, since=since, figures=figures)

    def is_well(self, at: float) -> None:
        """A look at it as it is up again."""
        figures = Figures(successes=3)
        self.again.site.at(at, self.subject, self.good, figures=figures)

    def reach(self, phase: str) -> None:
        """Go on to this phase."""
        if phase == "firing untold":
            self.again.outcomes["mail"] = Outcome.TRANSIENT
        self.fails(1000, 1000, 1)
        if phase != "pending":
            self.fails(1130, 1000, 9)
        if phase == "resolved untold":
            self.again.outcomes["mail"] = Outcome.TRANSIENT
            self.is_well(1400)

    def go_on(self, phase: str, restarted: bool) -> None:
        """After the restart it is looked at anew, counting from nothing."""
        self.again.outcomes.clear()
        if restarted:
            self.subject = self.find(self.again.site)
            self.again.site.alarms.adopt(self.subject)
        if phase == "resolved untold":
            self.is_well(1501)
            return
        self.fails(1501, 1501 if restarted else 1000, 1 if restarted else 10)
        self.fails(1700, 1501 if restarted else 1000, 9)
        self.is_well(1800)


@pytest.mark.parametrize("again_by", [Again.reload, Again.restart])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", PHASES)
def test_what_is_owed_is_told_once_after_it(
    phase: str, kind: str, again_by: AgainBy
) -> None:
    again = Again("mail", "pager", routes=TO_MAIL)
    story = Story(again, kind)
    again.site.alarms.adopt(story.subject)
    story.reach(phase)
    again_by(again, PHASES[phase])
    story.go_on(phase, restarted=again_by is Again.restart)
    again.site.until(9000)
    said = [str(mail.batch.change) for mail in again.site.mails["mail"]]
    assert said == ["firing", "resolved"]
    about = [d.incident for m in again.site.mails["mail"] for d in m.batch.deliveries]
    assert {i.subject.key for i in about} == {story.subject.key}
    assert {i.id for i in about} == {about[0].id}
    assert again.site.alarms.owed() == []
    assert again.site.alarms.incidents == []
