"""Where evidence is kept: a folder with three files for each incident.

The pcapng, the text, and last a JSON that says what these are: without it there is
nothing. All that is done here may block; a full disk is an OSError, and no harm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sipwatch.capture.export import Exported

CAPTURE, PROBE = "capture", "probe"  # where an exchange is from
LABEL_LIMIT = 65_536  # octets of a JSON
MOST = 10_000  # incidents that are remembered, whatever their files' size
_KINDS = (".json", ".pcapng", ".txt")  # in the order in which they go


@dataclass(frozen=True, slots=True)
class Kept:
    """The exchange of one incident."""

    incident: int
    subject: str  # key
    at: float  # when it was kept, by the wall clock
    source: str
    messages: int
    frames: int
    size: int  # octets of the pcapng
    sha256: str  # of the pcapng
    notes: tuple[str, ...] = ()  # what cannot be seen in it


class Shelf:
    """A folder that grows to `size` octets, and whose files grow `keep` s old."""

    def __init__(self, folder: Path, keep: float, size: int) -> None:
        self.folder, self.keep, self.size = folder, keep, size

    def load(self) -> dict[int, Kept]:
        """What is there, by incident; files that are broken are passed over."""
        found = (self._read(path) for path in self._labels())
        return {kept.incident: kept for kept in found if kept is not None}

    def put(
        self, incident: int, subject: str, at: float, source: str, e: Exported
    ) -> Kept:
        """Keep it, in place of what there was of this incident; OSError."""
        kept = Kept(
            incident=incident,
            subject=subject,
            at=at,
            source=source,
            messages=e.messages,
            frames=e.frames,
            size=len(e.pcapng),
            sha256=e.sha256,
            notes=e.notes,
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove(incident)
        text, label = e.text.encode(), json.dumps(asdict(kept)).encode()
        self._make_room(len(e.pcapng) + len(text) + len(label))
        try:
            self._write(incident, ".pcapng", e.pcapng)
            self._write(incident, ".txt", text)
            self._write(incident, ".json", label)
        except OSError:
            self._remove(incident)
            raise
        return kept

    def file(self, kept: Kept) -> bytes:
        """The pcapng; OSError."""
        return self._path(kept.incident, ".pcapng").read_bytes()

    def text(self, kept: Kept) -> str:
        """The ladder; OSError."""
        path = self._path(kept.incident, ".txt")
        return path.read_text(encoding="utf-8", errors="replace")

    def tidy(self, now: float) -> None:
        """Let go of what is too old, too much, or of nobody."""
        for kept in self.load().values():
            if kept.at < now - self.keep:
                self._remove(kept.incident)
        self._make_room(0)
        known = {path.stem for path in self._labels()}
        for path in self._files():
            if path.stem not in known:
                path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """The oldest go until there is room for so much more."""
        sizes: dict[str, int] = {}
        times: dict[str, float] = {}
        for path in self._files():
            with suppress(OSError):
                found = path.stat()
                sizes[path.stem] = sizes.get(path.stem, 0) + found.st_size
                times[path.stem] = max(times.get(path.stem, 0.0), found.st_mtime)
        total = sum(sizes.values()) + size
        left = len(sizes)
        for stem in sorted(times, key=lambda stem: times[stem]):
            if total <= self.size and left < MOST:
                return
            total, left = total - sizes[stem], left - 1
            self._remove(int(stem))

    def _remove(self, incident: int) -> None:
        for kind in _KINDS:
            self._path(incident, kind).unlink(missing_ok=True)

    def _write(self, incident: int, kind: str, data: bytes) -> None:
        path = self._path(incident, kind)
        with open(path, "wb", opener=_private) as file:
            file.write(data)

    def _path(self, incident: int, kind: str) -> Path:
        return self.folder / f"{incident}{kind}"

    def _labels(self) -> Iterator[Path]:
        return (path for path in self._files() if path.suffix == ".json")

    def _files(self) -> Iterator[Path]:
        try:
            found = list(self.folder.iterdir())
        except OSError:
            return
        for path in found:
            if path.stem.isascii() and path.stem.isdigit() and path.suffix in _KINDS:
                yield path

    @staticmethod
    def _read(path: Path) -> Kept | None:
        try:
            if path.stat().st_size > LABEL_LIMIT:
                return None
            said = json.loads(path.read_bytes())
            return _kept(said) if str(said["incident"]) == path.stem else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _kept(said: dict[str, Any]) -> Kept:
    """TypeError for what is none."""
    known = {one.name for one in fields(Kept)}
    words = {key: value for key, value in said.items() if key in known}
    kept = Kept(**words | {"notes": tuple(map(str, words.get("notes", ())))})
    if not isinstance(kept.at, float) or not isinstance(kept.incident, int):
        raise TypeError("at, incident: not numbers")
    return kept


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
