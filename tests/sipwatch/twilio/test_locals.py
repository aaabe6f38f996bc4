"""Users of Twilio's among the extensions of our own PBXs."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from alerting.incident import Incident, Severity
from checks.observation import Cause, Kind, Scope, State, Subject
from checks.registrations.judge import Judge
from checks.twilio.judge import Local
from sipwatch.twilio.locals import AGAIN, Locals
from tests.sipwatch.watching import START, Watching

HERE, AWAY = True, False


def found(site: Watching, judges: Mapping[str, Judge], who: str) -> Local | None:
    locals_ = Locals(lambda: judges, site.alarms)
    locals_.look(START)
    return locals_.find(who)


async def test_a_user_is_found_by_number_with_and_without_a_domain() -> None:
    site = Watching()
    hq = site.registrar("hq", {"204": HERE})
    lyon = site.registrar("lyon", {"301@lyon.example.com": AWAY})
    judges = {"hq": hq, "lyon": lyon}
    one = found(site, judges, "204@acme.sip.twilio.com")
    assert one is not None
    assert (one.name, one.registrar, one.state) == ("204", "hq", State.REGISTERED)
    other = found(site, judges, "301@acme.sip.twilio.com")
    assert other is not None
    assert (other.name, other.registrar) == ("301", "lyon")
    assert found(site, judges, "999@acme.sip.twilio.com") is None


async def test_of_a_pbx_that_cannot_be_read_it_is_the_last_state() -> None:
    site = Watching()
    judges = {"hq": site.registrar("hq", {"204": AWAY})}
    one = found(site, judges, "204@acme.sip.twilio.com")
    assert one is not None
    assert one.seen
    site.observe(*judges["hq"].lost("hq:5038", Cause.TIMEOUT, "no answer", START + 60))
    one = found(site, judges, "204@acme.sip.twilio.com")
    assert one is not None
    assert (one.state, one.seen) == (State.NEVER_REGISTERED, False)


async def test_who_is_at_two_pbxs_is_neither() -> None:
    site = Watching()
    judges = {name: site.registrar(name, {"204": HERE}) for name in ("hq", "lyon")}
    assert found(site, judges, "204@acme.sip.twilio.com") is None


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (Subject(Kind.REGISTRAR, "hq", Scope("hq")), True),
        (Subject(Kind.REGISTRAR, "lyon", Scope("lyon")), False),
    ],
)
async def test_who_was_lost_with_many_is_told_with_them(
    lost: Subject, told: bool
) -> None:
    site = Watching()
    judges = {"hq": site.registrar("hq", {"204": AWAY})}
    mass = Incident(
        1,
        lost,
        "mass",
        "MassUnregistration",
        Severity.CRITICAL,
        State.READABLE,
        0.0,
        0.0,
    )
    alarms = SimpleNamespace(incidents=[mass], blind=lambda subject: None)
    locals_ = Locals(lambda: judges, alarms)  # type: ignore[arg-type]
    locals_.look(START)
    found = locals_.find("204@acme.sip.twilio.com")
    assert found is not None
    assert found.told is told


async def test_who_was_not_found_is_looked_for_again_after_a_while() -> None:
    site = Watching()
    judges = {"hq": site.registrar("hq", {"204": HERE})}
    locals_ = Locals(lambda: judges, site.alarms)
    locals_.look(START)
    assert locals_.find("205@acme.sip.twilio.com") is None
    judges["hq"] = site.registrar("hq", {"205": HERE})
    locals_.look(START + AGAIN - 1)
    assert locals_.find("205@acme.sip.twilio.com") is None
    locals_.look(START + AGAIN)
    assert locals_.find("205@acme.sip.twilio.com") is not None
