"""What a check itself says to do stands in the mail, also after a restart."""

from __future__ import annotations

from pathlib import Path

from alerting.incident import Outcome
from alerting.notification.render import render
from alerting.store.database import Store
from checks.observation import Cause, Figures, Kind, Scope, State, Subject

from .calm import PARIS
from .timeline import Site

STEP = "add this host's address to permit or acl of the endpoint, then reload the PBX"


def line() -> Subject:
    return Subject(Kind.ACCOUNT, "line1", Scope("line1"))


def refuse(site: Site, at: float, subject: Subject, **more: object) -> None:
    site.at(
        at,
        subject,
        State.REJECTED,
        since=100,
        cause=Cause.ADDRESS_DENIED,
        figures=Figures(failures=2),
        **more,
    )


def step(site: Site, number: int) -> str:
    """The next step of a mail as its text has it."""
    mail = site.mails["oncall"][number]
    words = render(mail.batch, instance="pbx.example.com", zone=PARIS, now=mail.at)
    rows = words.text.splitlines()
    (found,) = [row for row in rows if row.startswith("  next step")]
    return found.removeprefix("  next step").strip()


def test_the_step_of_a_diagnosis_is_told() -> None:
    site = Site()
    refuse(site, 160, line(), next_step=STEP)
    assert step(site, 0) == STEP


def test_where_a_check_says_none_it_is_that_of_the_cause() -> None:
    site = Site()
    refuse(site, 160, line())
    assert step(site, 0) == "let this host's address in there (permit, ACL)"


def test_it_is_known_after_a_restart(tmp_path: Path) -> None:
    with_disk = Store.open(tmp_path / "db")
    site = Site(on_write=lambda writes: with_disk.write(writes, lambda error: None))
    site.answers = lambda name, now: Outcome.TRANSIENT
    refuse(site, 160, line(), next_step=STEP)
    with_disk.close()
    again = Store.open(tmp_path / "db")
    try:
        other = Site(now=400, restored=again.load())
        other.alarms.adopt(line())
        other.until(2000)
        assert step(other, 0) == STEP
    finally:
        again.close()
