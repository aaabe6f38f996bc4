"""What only the whole configuration shows: names that nobody has, files that are not
there, severities that nobody is told of, listeners that anybody could reach."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from alerting.grades import Rule
from alerting.incident import Severity
from alerting.routes import RouteSettings
from alerting.rules import RulesError, RuleSettings, build
from checks.targets import configured

from .settings import Config, is_loopback
from .wording import did_you_mean
from .yaml import Document, Path_, shorten

NAME = re.compile(r"[^\W_][\w.-]{0,63}")  # keys, labels and paths are made of them
NAMED = ("targets", "registrars", "sites", "rules", "notifiers")
FILES = ("file", "ca", "ca_file")  # keys that are paths, wherever they stand


def cross_check(document: Document, config: Config) -> None:
    """Put all that is wrong between the entries into the document."""
    _check_names(document)
    _check_references(document, config)
    _check_files(document, config)
    _check_rules(document, config)
    _check_routes(document, config)
    _check_listeners(document, config)


def anchored(settings: Any, folder: Path) -> Any:
    """Settings whose relative paths begin at the folder of the configuration."""
    changed: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if is_dataclass(value):
            inner = anchored(value, folder)
            if inner is not value:
                changed[one.name] = inner
        elif one.name in FILES and value and isinstance(value, str):
            changed[one.name] = str(folder / value)
    return replace(settings, **changed) if changed else settings


def notices(config: Config) -> list[str]:
    """What is allowed, and worth a line before it surprises."""
    lines = []
    if not (config.targets or config.target_files or config.registrars):
        lines.append("no targets and no registrars: nothing is watched")
    if not config.notifiers:
        lines.append(
            "no notifiers: problems show in metrics and status, nobody is told"
        )
    return lines


def _names(document: Document, section: str) -> list[str]:
    """The names that a section of the file gives, its wrong entries as well."""
    node = document.find((section,))
    return list(node.value) if node and isinstance(node.value, dict) else []


def _check_names(document: Document) -> None:
    for section in NAMED:
        for name in _names(document, section):
            if not NAME.fullmatch(name):
                text = "a name has letters, digits, - _ and . only, at most 64"
                document.add((section, name), text, key=True)


def _check_references(document: Document, config: Config) -> None:
    sites = _names(document, "sites")
    for section in ("targets", "registrars"):
        for name, settings in getattr(config, section).items():
            _check_name(document, (section, name, "site"), settings.site, sites)
    for index, listed in enumerate(config.target_files):
        _check_name(document, ("target_files", index, "site"), listed.site, sites)
    targets = _names(document, "targets")
    for name, registrar in config.registrars.items():
        _check_name(document, ("registrars", name, "target"), registrar.target, targets)
    notifiers = _names(document, "notifiers")
    for path, named in _notify(document, config):
        for index, notifier in enumerate(named):
            _check_name(document, (*path, index), notifier, notifiers)


def _notify(
    document: Document, config: Config
) -> Iterable[tuple[Path_, tuple[str, ...]]]:
    for name, rule in config.rules.items():
        yield ("rules", name, "notify"), rule.notify
    for index, route in _routes(document, config):
        yield ("routes", index, "notify"), route.notify


def _routes(document: Document, config: Config) -> Iterable[tuple[int, RouteSettings]]:
    """The routes with their place in the file; none where one of them is wrong."""
    node = document.find(("routes",))
    if node and isinstance(node.value, list) and len(node.value) == len(config.routes):
        return enumerate(config.routes)
    return ()


def _check_name(
    document: Document, path: Path_, name: str, known: Collection[str]
) -> None:
    if name and name not in known:
        what = "notifier" if "notify" in path else path[-1]
        hint = did_you_mean(name, known) or _there_are(known)
        document.add(path, f"no {what} is named {shorten(name)}{hint}")


def _there_are(known: Collection[str]) -> str:
    some = ", ".join(shorten(name) for name in list(known)[:5])
    return f" (there are {some})" if some else ""


def _check_files(document: Document, config: Config) -> None:
    for index, listed in enumerate(config.target_files):
        path = ("target_files", index, "file")
        try:
            for _ in configured({}, [listed], folder=config.folder):
                pass
        except OSError as error:
            document.add(path, _unreadable(listed.file, error))
        except ValueError as error:
            document.add(path, shorten(str(error), 300))
    for section in ("targets", "registrars", "notifiers"):
        for name, settings in getattr(config, section).items():
            _check_paths(document, (section, name), settings)


def _check_paths(document: Document, path: Path_, settings: Any) -> None:
    """Files that settings name are there and can be read."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if is_dataclass(value):
            _check_paths(document, (*path, one.name), value)
        elif one.name in FILES and value and isinstance(value, str):
            try:
                os.close(os.open(value, os.O_RDONLY | os.O_NONBLOCK))
            except (OSError, ValueError) as error:
                document.add((*path, one.name), _unreadable(value, error))


def _unreadable(name: str, error: OSError | ValueError) -> str:
    why = getattr(error, "strerror", None) or "is no path"
    return f"{shorten(str(name), 200)}: {why}"


def _check_rules(document: Document, config: Config) -> None:
    # A rule that is wrong by itself may also have a name that nobody knows.
    unread = {
        name: RuleSettings()
        for name in _names(document, "rules")
        if name not in config.rules and document.find(("rules", name, "on")) is None
    }
    for rules in (config.rules, unread):
        try:
            build(rules)
        except RulesError as errors:
            for one in errors.problems:
                path = ("rules", one.rule, one.key) if one.key else ("rules", one.rule)
                document.add(path, one.sentence, key=not one.key)


def _check_routes(document: Document, config: Config) -> None:
    """A rule that warns or worse reaches somebody (information need not)."""
    if not config.routes:
        return
    untold: dict[Severity, list[str]] = {}
    for rule in _sound(config):
        if rule.notify:
            continue
        for severity in {grade.severity for grade in rule.grades} - {Severity.INFO}:
            if not any(_takes(route, rule, severity) for route in config.routes):
                untold.setdefault(severity, []).append(rule.name)
    for severity, names in sorted(untold.items()):
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        document.add(("routes",), f"no route takes severity {severity} of {some}")


def _sound(config: Config) -> Iterable[Rule]:
    """The rules in force, as far as they are well."""
    try:
        return build(config.rules)
    except RulesError as errors:
        wrong = {one.rule for one in errors.problems}
        rules: dict[str, RuleSettings] = {
            name: rule for name, rule in config.rules.items() if name not in wrong
        }
        return build(rules)


def _takes(route: RouteSettings, rule: Rule, severity: Severity) -> bool:
    """Whether some incident of this rule and severity goes this way."""
    said = {
        "severity": str(severity),
        "rule": rule.name,
        "family": rule.family,
        "kind": str(rule.kind),
    }
    return all(
        any(one(said[name]) for one in several)
        for name, several in route.match.items()
        if name in said
    )


def _check_listeners(document: Document, config: Config) -> None:
    web = config.web
    if not is_loopback(web.listen):
        text = (
            f"{web.listen} could be reached from outside: listen on 127.0.0.1 behind"
            " a proxy that asks who it is, or give Prometheus metrics.listen and allow"
        )
        document.add(("web", "listen"), text)
    listen = web.metrics.listen
    if listen and not is_loopback(listen) and not web.metrics.allow:
        text = f"{listen} could be read by anybody: name the networks that may in allow"
        document.add(("web", "metrics", "listen"), text)
    if listen and listen == web.listen and not listen.endswith(":0"):
        text = f"{listen} is web.listen, which has /metrics already"
        document.add(("web", "metrics", "listen"), text)
