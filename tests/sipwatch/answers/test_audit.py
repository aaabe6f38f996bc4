"""The audit as the daemon makes it, and as `sipwatch audit` prints it."""

from __future__ import annotations

import asyncio
import io
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from alerting.incident import Incident, Severity
from checks.observation import Binding, Cause, State
from checks.registrations.judge import Bindings, Judge, ListEnd
from sipwatch.answers import audit
from sipwatch.commands import auditing
from tests.sipwatch.watching import START, Watching


def register(site: Watching, judge: Judge, *phones: tuple[str, str, int, str]) -> None:
    """Some refreshes of phones: AOR, agent, Expires, transport; each at half."""
    member, start = next(iter(judge.members)), site.now
    for now in range(0, 10 * max(expires for _, _, expires, _ in phones), 30):
        rows = []
        for aor, agent, expires, over in phones:
            last = start + now - now % (expires // 2)
            uri = f"sip:{aor}@10.20.0.31:5060;transport={over}"
            rows.append(Binding(aor, uri, last + expires, expires, None, agent))
        site.now = start + now
        for reading in (Bindings(rows), ListEnd(site.now, site.now, START - 9000)):
            site.observe(*judge.apply(member, reading, site.now))


async def test_the_table_of_a_registrar() -> None:
    site = Watching()
    hq = site.registrar("hq")
    site.registrar("lyon")
    register(site, hq, ("1001", "Yealink T46U", 120, "udp"))
    answer = await audit.audit(site, "hq")
    assert answer == {
        "registrars": [
            {
                "name": "hq",
                "state": "readable",
                "expiry": {
                    "UDP": {"least": 60.0, "most": 120.0},
                    "TCP": {"least": 60.0, "most": 3600.0},
                },
                "kinds": [
                    {
                        "vendor": "Yealink",
                        "transport": "UDP",
                        "registrations": 1,
                        "granted": {"least": 120, "most": 120, "exact": True},
                        "refresh": {"first": 0.5, "median": 0.5, "last": 0.5},
                        "overdue": 0,
                        "verdict": "well",
                        "outside": False,
                    }
                ],
            }
        ]
    }
    both = await audit.audit(site)
    assert [found["name"] for found in both["registrars"]] == ["hq", "lyon"]
    with pytest.raises(LookupError, match="there is no registrar nosuch"):
        await audit.audit(site, "nosuch")


async def test_a_long_table_lets_others_have_their_turn() -> None:
    site = Watching()
    hq = site.registrar("hq", {f"{n}": True for n in range(3 * audit.SLICE)})
    making, turns = asyncio.create_task(audit.table(hq)), 0
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    [row] = await making
    assert row.registrations == 3 * audit.SLICE


# --- the summary ----------------------------------------------------------------------


class Followed(SimpleNamespace):
    """What stands where the following is: it tells the core."""

    def audited(self, rows: list[Any]) -> None:
        judge, now = self.judge, self.site.now
        self.site.observe(*judge.summary.tell(rows, judge.subject, judge.since, now))


def opened(site: Watching, rule: str) -> list[Incident]:
    return [i for i in site.alarms.incidents if i.rule == rule]


async def test_a_summary_is_an_incident_that_closes_quietly() -> None:
    site = Watching()
    hq = site.registrar("hq")
    followed = Followed(judge=hq, site=site)
    register(site, hq, ("1001", "Yealink T46U", 3600, "udp"))
    await audit.summarize([followed])  # type: ignore[list-item]
    [incident] = opened(site, "RegistrationAudit")
    assert (incident.subject, incident.severity) == (hq.subject, Severity.WARNING)
    assert incident.detail == "1 of 1 are outside the policy"
    assert [fact.text for fact in incident.evidence] == [
        "1 Yealink over UDP: 3600 s granted, refreshed at 50 % (too long)"
    ]
    # What else is told of the registrar meanwhile does not change what was told here.
    site.observe(*hq.apply("hq:5038", ListEnd(site.now, site.now, site.now), site.now))
    assert opened(site, "RegistrarRestarted") != []
    assert incident.detail == "1 of 1 are outside the policy"
    site.until(site.now + 3601)
    assert opened(site, "RegistrationAudit") == []
    assert incident.closed == "event"
    await audit.summarize([followed])  # type: ignore[list-item]
    assert opened(site, "RegistrationAudit") == []


async def test_each_phone_outside_the_policy_is_an_info_of_its_own() -> None:
    site = Watching()
    hq = site.registrar("hq")
    register(site, hq, ("1001", "Yealink", 3600, "udp"), ("1002", "snom", 120, "udp"))
    site.until(site.now + 1)
    [incident] = opened(site, "RegistrationPolicy")
    assert incident.subject.name == "1001"
    assert (incident.severity, incident.family) == (Severity.INFO, "policy")
    assert incident.detail == "3600 s granted, more than 120 s"
    assert site.alarms.owed() == []


async def test_an_overdue_refresh_is_an_info_until_the_phone_refreshes() -> None:
    site = Watching()
    hq = site.registrar("hq")
    register(site, hq, ("1001", "Yealink", 3600, "tls"))
    end = hq.extensions["1001"].contacts[0].end or 0.0
    uri = "sip:1001@10.20.0.31:5060;transport=tls"

    def read(end: float) -> list[Incident]:
        rows = [Binding("1001", uri, end, 3600, None, "Yealink")]
        for reading in (Bindings(rows), ListEnd(site.now, site.now, START - 9000)):
            site.observe(*hq.apply("hq:5038", reading, site.now))
        site.observe(*hq.advance(site.now))
        site.until(site.now + 30)
        return site.alarms.incidents

    while not (found := read(end)):
        assert site.now < end - 60
    [incident] = found
    assert (incident.rule, incident.family) == ("RefreshOverdue", "refresh")
    assert (incident.severity, incident.state) == (Severity.INFO, State.REGISTERED)
    assert re.fullmatch(
        r"its refresh is \d+ s late, its registration ends in 2\d min", incident.detail
    )
    assert incident.evidence[0].text == "last refresh"
    assert read(site.now + 3600) == []
    assert incident.closed == ""


async def test_one_that_cannot_be_read_is_not_summarized() -> None:
    site = Watching()
    hq = site.registrar("hq")
    register(site, hq, ("1001", "Yealink T46U", 3600, "udp"))
    site.observe(*hq.lost("hq:5038", Cause.TIMEOUT, "silent", site.now))
    assert hq.state is State.UNREADABLE
    await audit.summarize([Followed(judge=hq, site=site)])  # type: ignore[list-item]
    assert opened(site, "RegistrationAudit") == []


# --- what is printed ------------------------------------------------------------------


def kind(vendor: str, registrations: int, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "vendor": vendor,
        "transport": "UDP",
        "registrations": registrations,
        "granted": {"least": 120, "most": 120, "exact": True},
        "refresh": {"first": 0.5, "median": 0.5, "last": 0.5},
        "overdue": 0,
        "verdict": verdict,
        "outside": verdict not in ("well", "not known yet"),
        **more,
    }


def hq(*kinds: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "hq",
        "state": "readable",
        "expiry": {
            "UDP": {"least": 60.0, "most": 120.0},
            "TCP": {"least": 60.0, "most": 3600.0},
        },
        "kinds": list(kinds),
        **more,
    }


def printed(*registrars: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    auditing.show({"registrars": list(registrars)}, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


TABLE = """\
hq: wanted 60-120 s (UDP), 60-3600 s (TCP, TLS, WS), refreshed near half
phones  vendor       over  granted         refreshed     overdue  verdict
   140  Yealink      UDP   >= 3540-3592 s  50 % (48-96)       12  too long, late
     3  Grandstream  WSS   120 s           50 %                -  well
     1  unknown      UDP   ?               ?                   -  not known yet
140 of 144 are outside the policy
"""


def test_the_table_fits_80_columns() -> None:
    shown = printed(
        hq(
            kind(
                "Yealink",
                140,
                "too long, late",
                granted={"least": 3540.2, "most": 3591.7, "exact": False},
                refresh={"first": 0.48, "median": 0.5, "last": 0.955},
                overdue=12,
            ),
            kind("Grandstream", 3, "well", transport="WSS"),
            kind("unknown", 1, "not known yet", granted=None, refresh=None),
        )
    )
    assert shown == TABLE.splitlines()
    assert max(map(len, shown)) <= 80


def test_a_registrar_without_phones_and_one_that_cannot_be_read() -> None:
    alike = {"least": 60.0, "most": 300.0}
    shown = printed(
        hq(expiry={"UDP": alike, "TCP": alike}),
        hq(kind("snom", 1, "well"), name="lyon", state="unreadable"),
    )
    assert shown == [
        "hq: wanted 60-300 s, refreshed near half",
        "no registrations",
        "",
        "lyon: wanted 60-120 s (UDP), 60-3600 s (TCP, TLS, WS), refreshed near half",
        "it is unreadable: this is what was read last",
        "phones  vendor  over  granted  refreshed  overdue  verdict",
        "     1  snom    UDP   120 s    50 %             -  well",
    ]
    assert printed() == ["no registrars are configured"]


def test_what_a_phone_calls_itself_is_no_markup() -> None:
    shown = printed(hq(kind("[red]x[/]", 1, "well")))
    assert any("[red]x[/]" in line for line in shown)


@pytest.mark.parametrize(
    ("verdict", "code"), [("well", 0), ("not known yet", 0), ("too long", 1)]
)
def test_the_exit_status_says_whether_something_is_outside(
    verdict: str, code: int, monkeypatch: Any, capsys: Any
) -> None:
    asked: list[str] = []

    def ask(path: str, method: str, url: str) -> dict[str, Any]:
        asked.append(url)
        return {"registrars": [hq(kind("snom", 1, verdict))]}

    monkeypatch.setattr(auditing, "ask", ask)
    assert auditing.run("api.sock", "", as_json=False) == code
    assert "snom" in capsys.readouterr().out
    assert auditing.run("api.sock", "hq/a b", as_json=True) == code
    assert json.loads(capsys.readouterr().out)["registrars"][0]["name"] == "hq"
    assert asked == ["/api/v1/audit", "/api/v1/audit?registrar=hq/a%20b"]


def test_without_a_daemon_it_says_so(capsys: Any) -> None:
    assert auditing.run("/nowhere/api.sock", "", as_json=False) == 3
    assert "is sipwatch running?" in capsys.readouterr().err
