"""The file of `runbook:`: written at the start, at a reload, and as it is verified."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from pathlib import Path

from sipwatch.runbook.contents import Contents
from sipwatch.runbook.page import html, markdown
from sipwatch.sources import Sources

TICK = 2.0  # s between two looks at whether there is news
HOURLY = 3600.0  # s after which it is written without any
MODE = 0o640  # who reads it learns who calls whom, and from where

log = logging.getLogger(__name__)


class Written:
    """Writes the page where the configuration wants it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._news: tuple[object, ...] = ()
        self._at = 0.0
        self._failed = ""

    async def tick(self) -> None:
        """Write it, if there is something new in it."""
        path = self._sources.config.runbook
        if not path or not self._sources.ready:
            return
        now, news = self._sources.clock.now(), self._found(path)
        if news == self._news and now - self._at < HOURLY:
            return
        self._news, self._at = news, now
        page = Contents(self._sources).page()
        text = html(page) if path.endswith((".html", ".htm")) else markdown(page)
        await self._write(path, text)

    def _found(self, path: str) -> tuple[object, ...]:
        """What makes the page another one: a reload, and each test that it brought."""
        touched = self._sources.touched
        return path, id(self._sources.config), touched.at, len(touched.firsts)

    async def _write(self, path: str, text: str) -> None:
        try:
            await asyncio.to_thread(replace_file, Path(path), text)
        except OSError as error:
            why = f"{path}: {error.strerror or error}"
            if why != self._failed:
                log.warning("the runbook cannot be written: %s", why)
            self._failed = why
        else:
            self._failed = ""


def replace_file(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
