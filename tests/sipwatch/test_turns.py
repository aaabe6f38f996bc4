"""Turns of the loop, shared out."""

from __future__ import annotations

import asyncio

from sipwatch.web.turns import Turnstile


async def test_so_many_pass_in_one_turn_and_all_in_their_order() -> None:
    turnstile, passed = Turnstile(3), list[tuple[int, int]]()
    turn = 0

    async def one(n: int) -> None:
        await turnstile.passed()
        passed.append((turn, n))

    tasks = [asyncio.create_task(one(n)) for n in range(8)]
    while not all(task.done() for task in tasks):
        turn += 1
        await asyncio.sleep(0)
    assert [n for _, n in passed] == list(range(8))
    turns = [at for at, _ in passed]
    assert max(turns.count(at) for at in turns) == 3


async def test_who_comes_alone_does_not_wait() -> None:
    turnstile = Turnstile(1)
    for _ in range(3):
        await turnstile.passed()
