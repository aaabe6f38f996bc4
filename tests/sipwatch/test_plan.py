"""What a reload reads before anything changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from alerting.rules.rule import RuleSettings
from checks.observation import Subject
from checks.options.check import OptionsCheck
from checks.options.targets import ProbeSettings, TargetFileSettings, TargetSettings
from checks.registrations.readings import ExtensionsSettings, RegistrarSettings
from checks.sip.resolver import Address, Resolution
from checks.sip.uri import SipUri
from sipwatch.config.settings import Config, SiteSettings
from sipwatch.plan import prepare
from sipwatch.topology import Topology
from tests.servers import eventually


def registrar(file: Path | None) -> RegistrarSettings:
    extensions = ExtensionsSettings(file=str(file) if file else None)
    return RegistrarSettings(type="asterisk", address="pbx", extensions=extensions)


def test_everything_that_a_configuration_names_is_read(tmp_path: Path) -> None:
    phones = tmp_path / "phones.csv"
    phones.write_text("extension,name\n1001,Reception\n", encoding="utf-8")
    trunks = tmp_path / "trunks.txt"
    trunks.write_text("10.0.0.7\n10.0.0.8:5070\n", encoding="utf-8")
    plan = prepare(
        Config(
            rules={"ExtensionUnregistered": RuleSettings(for_=7.0)},
            targets={"hq": TargetSettings(uri="sip:10.0.0.5")},
            target_files=(TargetFileSettings(file=str(trunks)),),
            registrars={"hq": registrar(phones), "bare": registrar(None)},
        ),
        lambda name: None,
    )
    rule = plan.rules.get("ExtensionUnregistered")
    assert rule is not None
    assert rule.grades[-1].for_ == 7.0
    assert len(plan.targets) == 3
    assert [(row.aor, row.name) for row in plan.listed["hq"]] == [("1001", "Reception")]
    assert plan.listed["bare"] == []


@pytest.mark.parametrize("config", ["registrar", "targets"])
def test_a_file_that_is_not_there_is_an_error_before_anything_changes(
    tmp_path: Path, config: str
) -> None:
    missing = tmp_path / "missing"
    wrong = {
        "registrar": Config(registrars={"hq": registrar(missing)}),
        "targets": Config(target_files=(TargetFileSettings(file=str(missing)),)),
    }
    with pytest.raises(OSError, match="missing"):
        prepare(wrong[config], lambda name: None)


def test_an_address_that_this_machine_has_not_cannot_be_asked_from() -> None:
    settings = TargetSettings(uri="sip:10.0.0.5", source="192.0.2.1")
    with pytest.raises(OSError, match=r"cannot ask from source 192\.0\.2\.1"):
        prepare(Config(targets={"hq": settings}), lambda name: None)


SITES = {
    "lyon": SiteSettings(subnets=("10.20.0.0/16",)),
    "hq": SiteSettings(subnets=("10.0.0.0/8",)),
}


def test_a_target_without_a_site_belongs_to_the_one_whose_subnet_it_is_in(
    tmp_path: Path,
) -> None:
    phones = tmp_path / "phones.txt"
    phones.write_text("10.20.0.7\n10.9.0.7:5070\n192.0.2.1\n10.20.0.8\n")
    topology = Topology()
    plan = prepare(
        Config(
            sites=SITES,
            targets={
                "branch": TargetSettings(uri="sip:1001@10.20.0.9:5062;transport=tcp"),
                "said": TargetSettings(uri="sip:10.20.0.10", site="hq"),
                "name": TargetSettings(uri="sip:pbx.example.com"),
                "v6": TargetSettings(uri="sip:[2001:db8::7]"),
            },
            target_files=(TargetFileSettings(file=str(phones)),),
            registrars={},
        ),
        topology.site,
    )
    placed = {t.subject.name: t.subject.scope.labels.get("site") for t in plan.targets}
    assert placed == {
        "branch": "lyon",
        "said": "hq",
        "name": None,
        "v6": None,
        "10.20.0.7": "lyon",
        "10.9.0.7:5070": "hq",
        "192.0.2.1": None,
        "10.20.0.8": "lyon",
    }
    by_name = {t.subject.name: t.subject for t in plan.targets}
    assert by_name["branch"].parent is topology.site("lyon")
    assert by_name["10.20.0.7"].scope is by_name["10.20.0.8"].scope
    assert by_name["192.0.2.1"].parent is topology.vantage


class Zone:
    """A resolver that leads every name to the address that a test says."""

    ip = "10.20.0.9"

    async def resolve(self, uri: SipUri) -> Resolution:
        return Resolution((Address(self.ip, 5060, "udp"),), (), 0.05)


async def test_where_a_name_leads_tells_its_site_and_a_reload_does_not_forget() -> None:
    topology, config = Topology(), Config(sites=SITES, targets={}, registrars={})
    target = TargetSettings(uri="sip:pbx.example.com", depends_on=("hq",))
    config = replace(config, targets={"pbx": target})
    plan = prepare(config, topology.site)
    moved: list[str] = []

    def led(subject: Subject, settings: ProbeSettings, hosts: list[str]) -> None:
        site = topology.places(config).of_address(hosts)
        if topology.move(subject, site):
            moved.append(site)

    loop, zone = asyncio.get_running_loop(), Zone()
    check = OptionsCheck(
        plan.targets, lambda o: None, clock=loop.time, resolver=zone, led=led
    )
    running = asyncio.create_task(check.run())
    try:
        await eventually(lambda: moved == ["lyon"])
        subject = check.targets["target:pbx"].subject
        assert subject.parent is topology.site("lyon")
        check.replace(prepare(config, topology.site).targets)
        assert subject.parent is topology.vantage  # by the name alone nobody knows
        check.tell_where()
        assert moved == ["lyon", "lyon"]
        zone.ip = "10.1.0.1"
        check._names.refresh(0)
        await eventually(lambda: moved == ["lyon", "lyon", "hq"])
        assert subject.scope.labels == {"site": "hq"}
        zone.ip = "192.0.2.1"
        check._names.refresh(0)
        await eventually(lambda: moved == ["lyon", "lyon", "hq", ""])
        assert subject.scope.labels == {}
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
