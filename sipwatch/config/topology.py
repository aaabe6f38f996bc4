"""What is seen through what: sites, and what the configuration says beside them.

extension -> registrar -> its site -> our own network, and its own site
target, account -> its site -> our own network
any of them -> what its `depends_on` names
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checks.observation import Kind
from sipwatch.config.settings import Config
from sipwatch.config.wording import did_you_mean
from sipwatch.config.yaml import Document, KeyPath, shorten

# Sections with a `depends_on`, and what they configure.
SECTIONS = {
    "targets": Kind.TARGET,
    "registrars": Kind.REGISTRAR,
    "accounts": Kind.ACCOUNT,
    "sites": Kind.SITE,
}
NAMEABLE = (Kind.TARGET, Kind.REGISTRAR, Kind.SITE)  # that something can depend on

Key = tuple[Kind, str]


def entries(config: Config) -> Iterator[tuple[str, Key, Any]]:
    """Every entry that may depend on something: section, key, settings."""
    for section, kind in SECTIONS.items():
        for name, settings in getattr(config, section).items():
            yield section, (kind, name), settings


def meant(config: Config, written: str) -> list[Key]:
    """What a name in `depends_on` may mean: "router", "target:router"."""
    kind, colon, name = written.partition(":")
    known = [key for _, key, _ in entries(config) if key[0] in NAMEABLE]
    if colon:
        return [key for key in known if key == (kind, name)]
    return [key for key in known if key[1] == written]


def dependencies(config: Config) -> dict[Key, list[Key]]:
    """What each entry says that it depends on."""
    return {
        key: [found[0] for one in settings.depends_on if (found := meant(config, one))]
        for _, key, settings in entries(config)
        if settings.depends_on
    }


def check_topology(document: Document, config: Config) -> None:
    """Put names that nobody has, and circles, into the document."""
    for section, key, settings in entries(config):
        for index, one in enumerate(settings.depends_on):
            path = (section, key[1], "depends_on", index)
            _check_name(document, config, path, key, one)
    edges, said = _edges(config), dependencies(config)
    for section, key, _ in entries(config):
        circle = _circle(edges, key)
        if key == min((one for one in circle if one in said), default=None):
            way = " -> ".join(":".join(one) for one in (*circle, circle[0]))
            text = f"depends on itself: {way}"
            document.add((section, key[1], "depends_on"), text)


def _check_name(
    document: Document, config: Config, path: KeyPath, key: Key, written: str
) -> None:
    found = meant(config, written)
    if len(found) > 1:
        several = " or ".join(":".join(one) for one in found)
        document.add(path, f"{shorten(written)} is several: write {several}")
    elif not found:
        names = [name for _, (kind, name), _ in entries(config) if kind in NAMEABLE]
        hint = did_you_mean(written, names)
        text = f"no target, registrar or site is named {shorten(written)}{hint}"
        document.add(path, text)


def _edges(config: Config) -> dict[Key, list[Key]]:
    """What is seen through what, sites included."""
    edges: dict[Key, list[Key]] = {}
    said = dependencies(config)
    for _, key, settings in entries(config):
        site = getattr(settings, "site", "")
        edges[key] = said.get(key, []) + ([(Kind.SITE, site)] if site else [])
    return edges


def _circle(edges: Mapping[Key, list[Key]], start: Key) -> list[Key]:
    """The way from an entry back to itself, the shortest; empty where there is none."""
    ways: list[list[Key]] = [[start]]
    seen: set[Key] = set()
    for way in ways:
        for following in edges.get(way[-1], ()):
            if following == start:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []
