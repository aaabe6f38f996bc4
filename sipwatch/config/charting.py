"""Of whom RTT and loss are kept for charts: so many at most, by the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from checks.options.targets import read_file
from sipwatch.config.settings import Config
from sipwatch.config.yaml import Document, KeyPath

CHARTED = 2_000  # subjects: 12 MB for a day of minutes, 100 MB for a month of quarters
KEPT_OF = ("trunk", "pbx")  # roles of targets, unless `history` says otherwise


def charted_targets(config: Config) -> Iterator[str]:
    """The targets whose RTT and loss are kept, by the names of their entries."""
    for name, settings in config.targets.items():
        wanted = settings.history
        if wanted if wanted is not None else settings.role in KEPT_OF:
            yield name


def check_charted(document: Document, config: Config) -> None:
    """Put the entry that is one too many into the document."""
    room = CHARTED
    for path, count in _counted(config):
        if count > room:
            text = (
                f"history is kept of {CHARTED:,} subjects at most, and this makes it"
                f" {CHARTED - room + count:,}: write history: false where no chart is"
                " wanted"
            )
            document.add(path, text, key=isinstance(path[-1], str))
            return
        room -= count


def _counted(config: Config) -> Iterator[tuple[KeyPath, int]]:
    """Whom each entry adds; extensions are counted as they come."""
    for name in config.vantage.targets:
        yield ("vantage", "targets", name), 1
    for name, registrar in config.registrars.items():
        yield ("registrars", name), 1
        if found := sum(1 for one in registrar.extensions.history if one.name):
            yield ("registrars", name, "extensions", "history"), found
    for name in charted_targets(config):
        yield ("targets", name), 1
    for index, listed in enumerate(config.target_files):
        if listed.history:
            lines = partial(read_file, config.folder / listed.file)
            yield ("target_files", index, "history"), _length(lines)


def _length(lines: partial[Iterator[str]]) -> int:
    try:
        return sum(1 for _ in lines())
    except (OSError, ValueError):  # told of already, by its place
        return 0
