"""The configuration: read, composed of the settings of every part, checked as a whole.

Settings are plain dataclasses beside the code that uses them; here alone they meet
their validator. It is made stricter than it comes (no unknown key, no true as 1), and
more lenient in one thing: a number is text where text is meant, as it was written.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from alerting import notifiers
from alerting.muting.maintenance import MaintenanceSettings
from alerting.muting.schedule import ScheduleSettings
from alerting.notifiers import NOTIFIERS
from alerting.routes import GroupSettings, RouteSettings
from alerting.rules.rule import RuleSettings
from checks.accounts.settings import AccountSettings
from checks.options.targets import TargetFileSettings, TargetSettings
from checks.registrars import REGISTRARS
from checks.settings import Secret, secret
from checks.twilio.settings import TwilioSettings
from checks.twilio.twiml import TwimlSettings
from checks.vantage.settings import VantageSettings
from sipwatch.config import schema as shape
from sipwatch.config.access import at_home
from sipwatch.config.alive import HeartbeatSettings, SelfTestSettings
from sipwatch.config.credentials import reveal
from sipwatch.config.crosscheck import cross_check, notices
from sipwatch.config.files import anchored, contents
from sipwatch.config.settings import (
    Config,
    Diff,
    ResolverSettings,
    SiteSettings,
    WebSettings,
    diff,
)
from sipwatch.config.wording import did_you_mean, keys_at, shown, tell
from sipwatch.config.yaml import Document, KeyPath, Problem, read, resolved
from sipwatch.keeping.settings import CaptureSettings, EvidenceSettings

__all__ = [
    "Config",
    "ConfigError",
    "Diff",
    "Problem",
    "check",
    "diff",
    "load",
    "notices",
    "schema",
]


class ConfigError(ValueError):
    """A configuration that cannot be used, and everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a file; raises ConfigError with all that is wrong."""
    config, problems = _composed(path, environ)
    if problems:
        raise ConfigError(tuple(problems))
    return config


def check(path: Path | str, environ: Mapping[str, str] | None = None) -> list[Problem]:
    """All that is wrong with a file, by place; nothing where it is well."""
    return _composed(path, environ)[1]


def _composed(
    path: Path | str, environ: Mapping[str, str] | None
) -> tuple[Config, list[Problem]]:
    document = read(path)
    config = Config()
    if document.root is not None:
        reveal(document, os.environ if environ is None else environ)
        config = compose(document)
        cross_check(document, config)
    if not document.problems:
        config = replace(config, contents=contents(config))
    return config, sorted(document.problems)


def compose(document: Document) -> Config:
    """Every entry that is well by itself, as the settings of its part."""
    root = document.root.value if document.root else None
    if not isinstance(root, dict):
        document.report(1, 1, f"{shown(root)} is not a mapping (write targets: ...)")
        return Config()
    values: dict[str, Any] = {}
    for key, entry in root.items():
        section = SECTIONS.get(key)
        if section is None:
            hint = did_you_mean(key, SECTIONS)
            document.add((key,), f"unknown key{hint}", key=True)
        elif entry.node.value is not None:  # `rules:` with its lines commented out
            found = section.read(document, (key,), section)
            if found is not _WRONG:
                values[key] = found
    folder = Path(document.file).absolute().parent
    return _at_home(Config(folder=folder, **values))


def _at_home(config: Config) -> Config:
    """The configuration with paths that hold wherever the daemon runs."""
    changed: dict[str, Any] = {
        "target_files": tuple(anchored(f, config.folder) for f in config.target_files),
        "database": str(config.folder / config.database),
        "web": at_home(config.web, config.folder),
        "secrets_dir": str(config.folder / config.secrets_dir),
    }
    for section in ("targets", "registrars", "accounts", "notifiers"):
        entries = getattr(config, section).items()
        changed[section] = {name: anchored(s, config.folder) for name, s in entries}
    if config.evidence.folder:
        folder = str(config.folder / config.evidence.folder)
        changed["evidence"] = replace(config.evidence, folder=folder)
    if config.runbook:
        changed["runbook"] = str(config.folder / config.runbook)
    if config.heartbeat is not None:
        changed["heartbeat"] = anchored(config.heartbeat, config.folder)
    return replace(config, **changed)


_WRONG: Any = object()  # in place of settings whose problems are told


def _read_one(document: Document, path: KeyPath, section: Section) -> Any:
    """A section that is one value."""
    return _validated(document, path, section.wanted)


def _read_named(document: Document, path: KeyPath, section: Section) -> Any:
    """A section of names, each with settings of one type."""
    return _each(document, path, lambda _: section.wanted)


def _read_typed(document: Document, path: KeyPath, section: Section) -> Any:
    """A section of names whose `type` says which settings they have."""

    def wanted(entry: KeyPath) -> Any:
        return _by_type(document, (*entry, "type"), section)

    return _each(document, path, wanted)


def _each(document: Document, path: KeyPath, wanted: Callable[[KeyPath], Any]) -> Any:
    node = document.find(path)
    if node is None or not isinstance(node.value, dict):
        text = f"{shown(node and node.value)} is not a mapping (write name: ...)"
        document.add(path, text)
        return _WRONG
    found = {}
    for name in node.value:
        settings = wanted((*path, name))
        if settings is not _WRONG:
            found[name] = _validated(document, (*path, name), settings)
    return {name: one for name, one in found.items() if one is not _WRONG}


def _by_type(document: Document, path: KeyPath, section: Section) -> Any:
    node = document.find(path)
    if node is None:
        text = f"is missing (one of {', '.join(section.types)})"
        if (entry := document.find(path[:-1])) and not isinstance(entry.value, dict):
            path, text = path[:-1], f"{shown(entry.value)} is not a mapping"
        document.add(path, text)
        return _WRONG
    try:
        return section.wanted(node.value)
    except ValueError as error:
        document.add(path, str(error))
        return _WRONG


def _read_listed(document: Document, path: KeyPath, section: Section) -> Any:
    """A section that is a list of settings."""
    node = document.find(path)
    if node is None or not isinstance(node.value, list):
        text = f"{shown(node and node.value)} is not a list (write - ...)"
        document.add(path, text)
        return _WRONG
    each = [(*path, index) for index in range(len(node.value))]
    found = [_validated(document, one, section.wanted) for one in each]
    return tuple(one for one in found if one is not _WRONG)


def registrar_settings(type: Any) -> Any:
    """The settings of a type of registrar; ValueError where there is none."""
    if type not in REGISTRARS:
        hint = did_you_mean(str(type), REGISTRARS)
        known = ", ".join(REGISTRARS)
        raise ValueError(f"{shown(type)} is no type of registrar ({known}){hint}")
    return REGISTRARS[type][0]


def notifier_settings(type: Any) -> Any:
    """The settings of a type of notifier, or of a stranger's `package.module:Class`."""
    if type not in NOTIFIERS and not _DOTTED.fullmatch(str(type)):
        hint = did_you_mean(str(type), NOTIFIERS)
        known = ", ".join(NOTIFIERS)
        text = f"{shown(type)} is no type of notifier ({known}, or package:Class){hint}"
        raise ValueError(text)
    return notifiers.load(str(type))[0]


_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_TYPES = get_type_hints(Config, include_extras=True)


@dataclass(frozen=True)
class Section:
    """A key at the top of the file: how it is read, and as what."""

    read: Callable[[Document, KeyPath, Section], Any]
    wanted: Any  # a type; with `types`, what finds it by its name
    types: Mapping[str, Any] = field(default_factory=dict)


SECTIONS = {
    "targets": Section(_read_named, TargetSettings),
    "target_files": Section(_read_listed, TargetFileSettings),
    "registrars": Section(_read_typed, registrar_settings, REGISTRARS),
    "accounts": Section(_read_named, AccountSettings),
    "sites": Section(_read_named, SiteSettings),
    "schedules": Section(_read_named, ScheduleSettings),
    "maintenance": Section(_read_named, MaintenanceSettings),
    "vantage": Section(_read_one, VantageSettings),
    "rules": Section(_read_named, RuleSettings),
    "notifiers": Section(_read_typed, notifier_settings, NOTIFIERS),
    "routes": Section(_read_listed, RouteSettings),
    "group": Section(_read_one, GroupSettings),
    "heartbeat": Section(_read_one, HeartbeatSettings),
    "self_test": Section(_read_one, SelfTestSettings),
    "twilio": Section(_read_one, TwilioSettings),
    "twiml": Section(_read_one, TwimlSettings),
    "capture": Section(_read_one, CaptureSettings),
    "evidence": Section(_read_one, EvidenceSettings),
    "runbook": Section(_read_one, _TYPES["runbook"]),
    "web": Section(_read_one, WebSettings),
    "resolver": Section(_read_one, ResolverSettings),
    "database": Section(_read_one, _TYPES["database"]),
    "secrets_dir": Section(_read_one, _TYPES["secrets_dir"]),
    "instance": Section(_read_one, _TYPES["instance"]),
}


def _validated(document: Document, path: KeyPath, wanted: Any) -> Any:
    """The value at a path as this type, or _WRONG with its problems told."""
    node = document.find(path)
    value = node.plain if node else None
    if isinstance(value, dict) and path[0] == "notifiers" and not _has_type(wanted):
        value.pop("type", None)
    if value is None and is_dataclass(wanted):
        value = {}  # `lyon:` with nothing below
    try:
        return _validator(wanted).validate_python(value)
    except ValidationError as error:
        tell(document, path, wanted, error.errors(include_url=False))
        return _WRONG


def _has_type(wanted: Any) -> bool:
    """Whether `type` is a key of these settings, or only what found them."""
    return "type" in keys_at(wanted, ())


@functools.cache
def _validator(wanted: Any) -> SchemaValidator:
    return SchemaValidator(_strict(TypeAdapter(wanted).core_schema))


# Where a core schema holds others.
_INNER = (
    "schema",
    "fields",
    "choices",
    "items_schema",
    "keys_schema",
    "values_schema",
    "definitions",
)


def _strict(schema: Any) -> Any:
    """A core schema that takes what the file means, and nothing that is near it."""
    if isinstance(schema, list | tuple):
        return type(schema)(_strict(one) for one in schema)
    if not isinstance(schema, dict):
        return schema
    strict = {k: _strict(v) if k in _INNER else v for k, v in schema.items()}
    kind = schema.get("type")
    if kind == "dataclass-args":
        strict["extra_behavior"] = "forbid"
    elif kind in ("bool", "int", "float"):
        strict["strict"] = True
        return _after(_revealed_scalar, strict)
    elif kind == "str":
        strict["coerce_numbers_to_str"] = True  # as written: they remember
        return _after(_revealed, strict)
    elif kind in ("literal", "enum", "function-plain") and not _is_secret(schema):
        return _after(_revealed, strict)
    return strict


def _is_secret(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("function") == {"type": "no-info", "function": secret})


def _after(first: Callable[[Any], Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function-before",
        "function": {"type": "no-info", "function": first},
        "schema": schema,
    }


def _revealed(value: Any) -> Any:
    """The text of `!env` and `!secret` where the key is no secret (a username)."""
    return value.reveal() if isinstance(value, Secret) else value


def _revealed_scalar(value: Any) -> Any:
    return resolved(value.reveal()) if isinstance(value, Secret) else value


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the configuration, for editors."""
    wanted = {
        f"{name} {kind}": found[0] if section.types else section.wanted
        for name, section in SECTIONS.items()
        for kind, found in (section.types or {"": ()}).items()
    }
    adapters = [(key, TypeAdapter(one)) for key, one in wanted.items()]
    made, rest = TypeAdapter.json_schemas(
        [(key, "validation", adapter) for key, adapter in adapters]
    )
    definitions = {
        name: shape.strict(one) for name, one in rest.get("$defs", {}).items()
    }
    for _, adapter in adapters:
        shape.describe(adapter.core_schema, definitions)
    sections = {}
    for name, section in SECTIONS.items():
        kinds = section.types or ("",)
        entries = [shape.strict(made[f"{name} {kind}", "validation"]) for kind in kinds]
        if section.types:
            sections[name] = shape.typed(dict(zip(kinds, entries, strict=True)))
        else:
            sections[name] = _SHAPES[section.read](entries[0])
    for notifier in NOTIFIERS.values():
        shape.with_type(definitions[notifier[0].__name__])
    shape.open_to_others(sections["notifiers"])
    return shape.document(sections, definitions)


_SHAPES: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    _read_one: dict,
    _read_named: shape.named,
    _read_listed: shape.listed,
}
