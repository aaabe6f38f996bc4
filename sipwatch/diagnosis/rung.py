"""The rungs of a diagnosis, and what is concluded from them; and both as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from checks.cause import Confidence
from checks.observation import Cause, Fact, plain

Iso = Callable[[float], str]


class Rung(NamedTuple):
    """One thing that was looked at; ok None: nothing follows from it."""

    what: str
    ok: bool | None
    text: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What all rungs come to."""

    subject: str
    ok: bool  # nothing is wrong
    reached: bool  # something is there, and answers
    sentence: str
    cause: Cause | None = None
    confidence: Confidence | None = None
    steps: tuple[str, ...] = ()
    evidence: tuple[Fact, ...] = ()

    @property
    def status(self) -> int:
        """Exit status: 0 nothing is wrong, 1 something, 2 nothing is there."""
        return 0 if self.ok else 1 if self.reached else 2


Tell = Callable[[Rung], None]


async def climbed(rungs: Sequence[Awaitable[Rung | None]], tell: Tell) -> list[Rung]:
    """Look at all side by side, and tell of each in its turn; None is left out."""
    done: list[Rung] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_whole(rung)) for rung in rungs]
        for task in tasks:
            rung = await task
            if rung is not None:
                done.append(rung)
                tell(rung)
    return done


async def _whole(rung: Awaitable[Rung | None]) -> Rung | None:
    return await rung


def rung_json(rung: Rung) -> dict[str, Any]:
    """One line of a diagnosis."""
    return {
        "what": rung.what,
        "ok": rung.ok,
        "text": plain(rung.text, 1000),
        "seconds": rung.seconds,
    }


def verdict_json(verdict: Verdict, iso: Iso) -> dict[str, Any]:
    """The last line."""
    return {
        "subject": plain(verdict.subject),
        "ok": verdict.ok,
        "status": verdict.status,
        "cause": verdict.cause,
        "confidence": verdict.confidence,
        "sentence": plain(verdict.sentence, 1000),
        "steps": [plain(step) for step in verdict.steps],
        "evidence": [
            {"at": None if fact.at is None else iso(fact.at), "text": plain(fact.text)}
            for fact in verdict.evidence
        ],
    }
