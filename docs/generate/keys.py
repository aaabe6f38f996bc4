"""Every key of the configuration: how it is written, its default, what it means."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from alerting.notifiers import NOTIFIERS
from checks.options.targets import HealthyCodes
from checks.registrars import REGISTRARS
from checks.registrations.judge import RegistrarSettings
from checks.settings import Glob, Parsed, Secret, written_duration
from docs.generate.tables import anchored, code, table
from sipwatch.capture.sizes import written_size
from sipwatch.config import load
from sipwatch.config.settings import Config

INTRO = """\
# Configuration keys

One YAML file, `/etc/sipwatch/sipwatch.yaml`. It is strict: an unknown key, a key twice,
a number without its unit are told with their line, all at once, by
[`sipwatch check-config`](commands.md#sipwatch-check-config). Nothing below is needed
but what you watch and whom you tell. `configs/sipwatch.yaml` has the same keys as one
annotated example, and `sipwatch check-config --schema` as a JSON Schema, with which
editors complete and check them.

| written | means |
| --- | --- |
| duration | `500ms`, `30s`, `2m`, `1h30m`, `1d`, `1w`; never a bare number |
| size | `64k`, `256M`, `2G` |
| pattern | as a shell has it: `1001`, `"10*"`, `"10[0-4]?"` |
| secret | `!secret name` (a systemd credential, else a file) or `!env NAME` |
| per severity | one duration, or one for each: `{critical: 0s, warning: 1m}` |
| match | fields and patterns that all must fit: `{severity: critical, site: hq}` |

A `*` in the first column marks what must be there. `NAME` is a name of your own.
"""

# How a value is written, by what reads it.
WRITTEN = {
    "duration": "duration",
    "octets": "size",
    "time_zone": "time zone",
    "severity": "`info`, `warning`, `critical`",
    "patterns": "match",
    "routed": "match",
    "repeats": "per severity",
    "per_severity": "duration or per severity",
    "threshold": "duration or `30%`",
    "states": "states",
    "losses": "`expired`, `deregistered`, `connection_lost`, `unknown`",
    "listen_address": "IP address:port",
    "network": "network or address",
    "ip_address": "IP address",
    "address": "IP address",
    "web_address": "URL",
    "base_url": "URL",
    "sip_uri": "SIP URI",
    "from_header": "SIP URI, or name and URI",
    "aor_uri": "user@domain",
    "host_name": "host name",
    "instance_name": "host name",
    "cron": "five fields of cron",
    "week": "days and hours",
    "exceptions": "dates and hours, or `closed`",
    "holidays": "country, or a part of one",
    "local_time": '"2026-03-07 20:00"',
    "called": "a number",
    "healthy_codes": "codes and classes",
    "codes": "codes and classes",
}
PLAIN = {
    str: "text",
    int: "number",
    float: "number",
    bool: "`true` or `false`",
    Secret: "secret",
    Glob: "pattern",
}
HEALTHY = "2xx, 3xx, 4xx but 403 408 480, and 501"
SECTIONS_SAY = {
    "runbook": "A file (`.html`, `.md`): what `sipwatch runbook` prints, kept current.",
    "database": "The one SQLite file of what must not be lost.",
    "secrets_dir": "Where `!secret name` is looked for without a systemd credential.",
    "instance": "The name of this daemon in mails and Message-IDs.",
}


@dataclass(frozen=True)
class Key:
    """One key as the reference shows it."""

    path: str
    written: str
    default: str
    meaning: str
    needed: bool = False


@cache
def _definitions() -> Mapping[str, Any]:
    found: dict[str, Any] = load.schema()["$defs"]
    return found


def keys_of(cls: type[Any], above: str = "") -> Iterator[Key]:
    """The keys of settings, those of settings inside of them included."""
    said, hints = _said(cls), get_type_hints(cls, include_extras=True)
    for one in sorted(fields(cls), key=lambda one: not _needed(one)):
        name = one.metadata.get("alias", one.name)
        hint = hints[one.name]
        inner, through = _inside(hint)
        meaning = said.get(name, {}).get("description", "")
        yield Key(
            f"{above}{name}",
            written(hint),
            "" if inner else default_of(one, hint),
            meaning,
            _needed(one),
        )
        if inner:
            yield from keys_of(inner, f"{above}{name}{through}.")


def _said(cls: type[Any]) -> Mapping[str, Any]:
    """The words for the keys of settings; a base's are those of any that has it."""
    every = _definitions()
    heirs = [one.__name__ for one in (cls, *cls.__subclasses__())]
    keys: dict[str, Any] = next(
        every[name]["properties"] for name in heirs if name in every
    )
    return keys


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _inside(hint: Any) -> tuple[type[Any] | None, str]:
    """Settings that a key holds, and how one gets to them from there."""
    if _is_settings(hint):
        return hint, ""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        found = [_inside(one) for one in args if one is not type(None)]
        return found[0] if found else (None, "")
    if origin in (tuple, list) and args and _is_settings(args[0]):
        return args[0], "[]"
    if (
        isinstance(origin, type)
        and issubclass(origin, Mapping)
        and _is_settings(args[1])
    ):
        return args[1], ".NAME"
    return None, ""


def _is_settings(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)


def written(hint: Any) -> str:
    """How a value of a type is written."""
    if get_origin(hint) is Annotated:
        return _parsed(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in args)
    if origin in (Union, types.UnionType):
        several = [written(one) for one in args if one is not type(None)]
        return " or ".join(dict.fromkeys(several))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(f"`{one}`" for one in hint)
    if origin in (tuple, list):
        return f"list: {written(args[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"names: {written(args[1])}"
    return "keys below" if is_dataclass(hint) else "text"


def _parsed(hint: Any) -> str:
    base, *extras = get_args(hint)
    for one in extras:
        if isinstance(one, Parsed):
            read = getattr(one.parse, "func", one.parse)  # of a partial
            return WRITTEN.get(read.__name__, "text")
    return written(base)


def default_of(one: Field[Any], hint: Any) -> str:
    """A default as one would write it; empty where there is none."""
    if one.default is not MISSING:
        value = one.default
    elif one.default_factory is not MISSING:
        value = one.default_factory()
    else:
        return ""
    if hint is HealthyCodes:
        return HEALTHY
    return code(_shown(value, written(hint)))


def _shown(value: Any, how: str) -> str:
    if value is None or value in ("", (), [], {}) or isinstance(value, Secret):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        pairs = (f"{name}: {_shown(one, how)}" for name, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple | frozenset):
        return "[" + ", ".join(_shown(one, how) for one in value) + "]"
    if "size" in how:
        return written_size(value)
    if "duration" in how or how == "per severity":
        return written_duration(value)
    return str(value)


def rows(section: str, keys: Sequence[Key]) -> Iterator[Sequence[str]]:
    """Rows of a table: one key each, that can be linked to."""
    for key in keys:
        star = " *" if key.needed else ""
        path = anchored(key.path, f"{section}.{key.path}") + star
        yield path, key.written, key.default, key.meaning


WHICH = "What it is; the keys of each are below."
HEAD = ("key", "written", "default", "meaning")


def _one(section: str, cls: type[Any], under: str) -> Iterator[str]:
    yield f"\n## {section}\n"
    yield f"\n{(cls.__doc__ or '').strip().splitlines()[0]}\n"
    yield f"\n```text\n{under}\n```\n\n"
    yield table(HEAD, rows(section, list(keys_of(cls))))


def _registrars() -> Iterator[str]:
    yield "\n## registrars\n\nWho is registered: one entry for each PBX.\n"
    yield "\n```text\nregistrars: {NAME: {type: TYPE, ...}}\n```\n\n"
    common = [key for key in keys_of(RegistrarSettings) if key.path != "type"]
    kinds = ", ".join(f"`{name}`" for name in REGISTRARS)
    kind = Key("type", kinds, "", WHICH, True)
    yield table(HEAD, rows("registrars", [kind, *common]))
    shared = {key.path for key in common} | {"type"}
    for name, one in REGISTRARS.items():
        yield f"\n### type: {name}\n\n{(one.settings.__doc__ or '').strip()}\n\n"
        own = [key for key in keys_of(one.settings) if key.path not in shared]
        yield table(HEAD, rows(f"registrars.{name}", own))


def _notifiers() -> Iterator[str]:
    yield "\n## notifiers\n\nWho is told, and how; one entry for each.\n"
    yield "\n```text\nnotifiers: {NAME: {type: TYPE, ...}}\n```\n\n"
    kinds = ", ".join(f"`{name}`" for name in NOTIFIERS)
    kind = Key("type", f"{kinds}, or `package.module:Class`", "", WHICH, True)
    yield table(HEAD, rows("notifiers", [kind]))
    for name, (settings, _) in NOTIFIERS.items():
        about = (settings.__doc__ or "").strip().partition(": ")[2]
        yield f"\n### type: {name} {{ #notifiers-{name} }}\n\n{about.capitalize()}\n\n"
        yield table(HEAD, rows(f"notifiers.{name}", list(keys_of(settings))))
    yield (
        "\n### type: package.module:Class\n\nA class of yours; its keys are the fields"
        " of its settings: [a notifier of your own](../notifiers.md#one-of-your-own).\n"
    )


NAMED = "{section}: {{NAME: {{...}}}}"
LISTED = "{section}: [{{...}}, ...]"
ALONE = "{section}: {{...}}"
SPECIAL: dict[str, Callable[[], Iterator[str]]] = {
    "registrars": _registrars,
    "notifiers": _notifiers,
}


def _settings(section: str) -> type[Any] | None:
    """The settings of a section that is not one value."""
    hint = get_type_hints(Config, include_extras=True)[section]
    return _inside(hint)[0]


def _form(section: str) -> str:
    through = _inside(get_type_hints(Config, include_extras=True)[section])[1]
    forms = {".NAME": NAMED, "[]": LISTED, "": ALONE}
    return forms[through].format(section=section)


def _value(section: str) -> Iterator[str]:
    """A section that is one value."""
    (one,) = (f for f in fields(Config) if f.name == section)
    hint = get_type_hints(Config, include_extras=True)[section]
    default = default_of(one, hint) if section != "instance" else "this host's name"
    row = (anchored(section, f"{section}.value"), written(hint), default)
    yield f"\n## {section}\n\n"
    yield table(HEAD, [(*row, SECTIONS_SAY.get(section, ""))])


def section_text(section: str) -> Iterator[str]:
    """What the reference says of a key at the top of the file."""
    if section in SPECIAL:
        yield from SPECIAL[section]()
    elif cls := _settings(section):
        yield from _one(section, cls, _form(section))
    else:
        yield from _value(section)


def page() -> str:
    """The page of all keys."""
    parts = [INTRO]
    for section in load.SECTIONS:
        parts += section_text(section)
    return "".join(parts)
