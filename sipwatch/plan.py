"""What a reload needs that may fail or take time: read off the loop, used at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerting.rules import Rules, build
from checks.observation import Subject
from checks.registrations import Listed, read_list
from checks.targets import Target, configured
from sipwatch.settings import Config


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a configuration, ready to be put in place."""

    rules: Rules
    targets: list[Target]
    listed: dict[str, list[Listed]]  # by registrar: the rows of its file


def prepare(config: Config, site: Callable[[str], Subject | None]) -> Plan:
    """Read every file that a configuration names; OSError, ValueError."""
    return Plan(
        rules=build(config.rules),
        targets=list(configured(config.targets, config.target_files, site)),
        listed={
            name: read_list(file) if (file := settings.extensions.file) else []
            for name, settings in config.registrars.items()
        },
    )
