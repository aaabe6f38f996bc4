"""What a reload needs that may fail or take time: read off the loop, used at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from alerting.rules.inforce import Rules
from alerting.rules.rule import build
from checks.observation import Subject
from checks.options.targets import Target, address_family, configured
from checks.registrations.judge import Listed, read_list
from checks.registrations.sites import Sites
from sipwatch.config.settings import Config


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a configuration, ready to be put in place."""

    rules: Rules
    targets: list[Target]
    listed: dict[str, list[Listed]]  # by registrar: the rows of its file


def prepare(config: Config, site: Callable[[str], Subject | None]) -> Plan:
    """Read every file that a configuration names; OSError, ValueError."""
    _check_sources(config)
    places = Sites(config.sites)
    return Plan(
        rules=build(config.rules),
        targets=list(
            configured(
                config.targets,
                config.target_files,
                site,
                near=lambda host: places.of_address((host,)),
            )
        ),
        listed={
            name: read_list(file) if (file := settings.extensions.file) else []
            for name, settings in config.registrars.items()
        },
    )


def _check_sources(config: Config) -> None:
    """Try the addresses that others are asked from: only this machine knows them."""
    sources = [target.source for target in config.targets.values()]
    sources += [listed.source for listed in config.target_files]
    sources += [registrar.probe.source for registrar in config.registrars.values()]
    for source in filter(None, sources):
        with socket.socket(address_family(source), socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((source, 0))
            except OSError as error:
                why = f"cannot ask from source {source}: {error.strerror}"
                raise OSError(error.errno, why) from None
