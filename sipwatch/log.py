"""Log lines: plain for a terminal, JSON for a journal; one line a change."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from checks.observation import plain

LINE_LIMIT = 2_000  # characters; what a peer sends is bounded far below


class Plain(logging.Formatter):
    """`10:02:14 warning hq: cannot be read (...)`, harmless on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback below it where there is one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        text = plain(record.getMessage(), LINE_LIMIT)
        line = f"{at} {record.levelname.lower():8} {text}"
        return f"{line}\n{self._trace(record)}" if record.exc_info else line

    def _trace(self, record: logging.LogRecord) -> str:
        """The traceback; its last lines may quote what came from the network."""
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join(plain(line, LINE_LIMIT) for line in trace.split("\n"))


class Json(Plain):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time (ISO 8601 UTC), level, logger, text and traceback."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": plain(record.getMessage(), LINE_LIMIT),
        }
        if record.exc_info:
            entry["traceback"] = self._trace(record)
        return json.dumps(entry, ensure_ascii=False)


def set_up(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send all log lines to stderr in the form asked for."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(Json() if as_json else Plain())
    logging.basicConfig(level=level, handlers=[out], force=True)
    for chatty in ("apscheduler", "uvicorn", "asyncio", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
