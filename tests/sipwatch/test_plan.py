"""What a reload reads before anything changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerting.rules.rule import RuleSettings
from checks.options.targets import TargetFileSettings, TargetSettings
from checks.registrations.readings import ExtensionsSettings, RegistrarSettings
from sipwatch.config.settings import Config
from sipwatch.plan import prepare


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
