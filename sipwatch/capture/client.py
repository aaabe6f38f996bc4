"""The daemon's side: ask the ring, which may be slow, broken, or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sipwatch.capture import savefile
from sipwatch.capture.frames import Frame
from sipwatch.capture.protocol import (
    ANSWER_LIMIT,
    EXCHANGE_LIMIT,
    FIGURES,
    Question,
    decoded,
)

PATIENCE = 20.0  # s for one answer
# What blocks and options add to the frames of an answer: no frame is shorter than 42.
_BLOB_LIMIT = 2 * EXCHANGE_LIMIT + 4096


class NoCaptureError(Exception):
    """The capture service did not answer, in one sentence."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the ring had of somebody."""

    frames: list[Frame]
    cut: bool  # there was more than fits
    seen: int  # frames of the time, whoever's
    oldest: float | None  # since when the ring reaches back


async def figures(path: str) -> dict[str, Any]:
    """Its counts; NoCaptureError."""
    async with _conversation(path) as (reader, writer):
        writer.write(b'{"want": "%s"}\n' % FIGURES.encode())
        return decoded(await reader.readuntil(b"\n"))


async def exchange(path: str, question: Question) -> Exchange:
    """The frames that belong to a question; NoCaptureError."""
    async with _conversation(path) as (reader, writer):
        writer.write(question.line())
        head = decoded(await reader.readuntil(b"\n"))
        size = head.get("size")
        if not isinstance(size, int) or not 0 <= size <= _BLOB_LIMIT:
            raise ValueError("an answer of no sensible size")
        frames = list(savefile.read(io.BytesIO(await reader.readexactly(size))))
    oldest, seen = head.get("oldest"), head.get("seen")
    return Exchange(
        frames,
        head.get("cut") is True,
        seen if isinstance(seen, int) else 0,
        oldest if isinstance(oldest, float) else None,
    )


@contextlib.asynccontextmanager
async def _conversation(
    path: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(
                path, limit=ANSWER_LIMIT
            )
            try:
                yield reader, writer
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoCaptureError("the capture service does not run") from None
    except PermissionError:
        raise NoCaptureError(f"not allowed to open {path}") from None
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        why = "it takes too long" if isinstance(error, TimeoutError) else str(error)
        raise NoCaptureError(f"the capture service: {why or 'hung up'}") from None
