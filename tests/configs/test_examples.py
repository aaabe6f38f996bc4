"""The examples for Prometheus and Alertmanager, by their own checks."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.configs.promtool import FOLDER, RULES, promtool
from tests.servers import require

ALERTMANAGER = FOLDER / "alertmanager.yml"

ROUTED = [
    ("via=sipwatch alertname=OptionsFailing severity=critical", "oncall"),
    ("via=sipwatch alertname=RefreshOverdue severity=info", "oncall"),
    ("via=prometheus alertname=OptionsFailing severity=critical", "oncall"),
    ("via=prometheus alertname=ExtensionUnregistered severity=warning", "oncall"),
    ("via=prometheus alertname=RefreshOverdue severity=info", "nobody"),
    ("alertname=Watchdog", "nobody"),
]


def amtool(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        require("amtool")(*words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.strip()


@pytest.mark.real("promtool")
def test_prometheus_takes_the_example_and_the_rules() -> None:
    status, said = promtool(FOLDER, "check", "config", "--lint-fatal", "prometheus.yml")
    assert (status, said.count("SUCCESS")) == (0, 3), said


@pytest.mark.real("amtool")
def test_alertmanager_takes_the_example() -> None:
    status, said = amtool("check-config", ALERTMANAGER)
    assert status == 0, said
    assert "SUCCESS" in said


@pytest.mark.real("amtool")
@pytest.mark.parametrize(("labels", "receiver"), ROUTED)
def test_an_alert_goes_to_who_should_have_it(labels: str, receiver: str) -> None:
    words = ("config", "routes", "test", f"--config.file={ALERTMANAGER}")
    assert amtool(*words, *labels.split()) == (0, receiver)


def test_the_job_is_the_one_that_the_rules_name() -> None:
    text = (FOLDER / "prometheus.yml").read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in RULES.read_text()
