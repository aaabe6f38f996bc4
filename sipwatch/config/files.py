"""The files that a configuration names: where they are, what they say, what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.options.targets import check_distinct, configured
from checks.registrations.roster import read_list
from sipwatch.config.yaml import Document, KeyPath, shorten, written_path

if TYPE_CHECKING:
    from sipwatch.config.settings import Config

KEYS = ("file", "ca", "ca_file")  # those that are paths, wherever they stand
SIZE_LIMIT = 64_000_000  # bytes: the longest list of targets or extensions


def anchored(settings: Any, folder: Path) -> Any:
    """Settings whose relative paths begin at the folder of the configuration."""
    changed: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if is_dataclass(value):
            inner = anchored(value, folder)
            if inner is not value:
                changed[one.name] = inner
        elif one.name in KEYS and value and isinstance(value, str):
            changed[one.name] = str(folder / value)
    return replace(settings, **changed) if changed else settings


def named_by(settings: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """The files that settings name, each with its key."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if is_dataclass(value):
            yield from named_by(value, (*path, one.name))
        elif one.name in KEYS and value and isinstance(value, str):
            yield (*path, one.name), value


def _all(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for index, listed in enumerate(config.target_files):
        yield from named_by(listed, ("target_files", index))
    for section in ("targets", "registrars", "accounts", "notifiers"):
        for name, settings in getattr(config, section).items():
            yield from named_by(settings, (section, name))
    if config.heartbeat is not None:
        yield from named_by(config.heartbeat, ("heartbeat",))


def check_files(document: Document, config: Config) -> None:
    """Every file is there, can be read and makes sense."""
    for index, listed in enumerate(config.target_files):
        place: KeyPath = ("target_files", index, "file")
        found = configured({}, [listed], folder=config.folder)
        _check(document, place, partial(list, found))
        before = config.target_files[:index]
        _check(document, place, partial(check_distinct, listed, before))
    for name, settings in config.registrars.items():
        if file := settings.extensions.file:
            where = ("registrars", name, "extensions", "file")
            _check(document, where, partial(read_list, file))
    for path, file in _all(config):
        _check(document, path, partial(_content, file))


def _check(document: Document, path: KeyPath, read: Callable[[], object]) -> None:
    if any(problem.path == written_path(path) for problem in document.problems):
        return
    try:
        read()
    except OSError as error:
        where = shorten(str(error.filename), 200)
        document.add(path, f"{where}: {error.strerror or error}")
    except ValueError as error:
        document.add(path, shorten(str(error), 300))


def contents(config: Config) -> dict[str, str]:
    """A hash of each file, so that a reload sees that one was edited."""
    return {file: _hash(file) for _, file in _all(config)}


def _hash(file: str) -> str:
    try:
        return hashlib.sha256(_content(file)).hexdigest()
    except (OSError, ValueError):  # gone since it was checked: who needs it will say so
        return ""


def _content(file: str) -> bytes:
    if not Path(file).is_file() and Path(file).exists():
        raise ValueError(f"{shorten(file, 200)} is no file")
    with open(file, "rb") as opened:
        content = opened.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"{shorten(file, 200)} is larger than 64 MB")
    return content
