"""Connecting has a limit of ours: who waits for its turn has not failed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from checks.observation import Cause, State
from checks.options import slots
from checks.options.slots import Slots
from checks.sip.resolver import Address
from tests.checks.peers import Names, stream_peer, target, watching
from tests.servers import eventually


@pytest.fixture
def swallowing() -> Iterator[int]:
    """A port where a connection is neither accepted nor refused: its queue is full."""
    sockets = [socket.socket() for _ in range(4)]
    listener, *clients = sockets
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = int(listener.getsockname()[1])
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    yield port
    for sock in sockets:
        sock.close()


async def test_who_waits_for_dead_ones_to_time_out_is_up_and_was_never_down(
    swallowing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots.Slots.__init__, "__defaults__", (2, 1))
    dead = [
        target(f"d{n}", "sip:d.example.com;transport=tcp", timeout=0.5, source=source)
        for n, source in enumerate(f"127.0.1.{n}" for n in range(1, 7))
    ]
    async with stream_peer() as peer:
        names = Names(
            d_example_com=[Address("127.0.0.1", swallowing, "tcp")],
            live_example_com=[Address("127.0.0.1", peer.port, "tcp")],
        )
        uri = "sip:live.example.com;transport=tcp"
        live = target("live", uri, timeout=0.5, interval=1.0)
        async with watching(*dead, live, names=names) as watch:
            await eventually(lambda: watch.check.passed, 10)
            states = {
                (o.subject.name, o.state, o.cause, o.figures.failures)
                for o in watch.told
                if o.figures.failures < 2
            }
            assert states == {
                ("live", State.UP, None, 0),
                *((f"d{n}", State.DOWN, Cause.TIMEOUT, 1) for n in range(6)),
            }


def test_turns_come_in_order_and_doubtful_ones_have_a_share_of_them() -> None:
    begun: list[str] = []
    turns = Slots(begun.append, limit=3, doubtful=1)
    for who in ("bad1", "bad2", "good1"):
        turns.ask(who, who.startswith("bad"))
    assert begun == ["bad1", "good1"]  # the second bad one has no share left
    for who in ("good2", "good3", "good4"):
        turns.ask(who, False)
    assert begun[2:] == ["good2"]
    turns.leave("good1")
    assert begun[3:] == ["good3"]  # before the bad one that came earlier
    turns.leave("bad1")
    assert begun[4:] == ["good4"]
    turns.leave("good2")
    assert begun[5:] == ["bad2"]


def test_who_leaves_while_waiting_has_no_turn() -> None:
    begun: list[str] = []
    turns = Slots(begun.append, limit=1, doubtful=1)
    for who in ("a", "b", "c"):
        turns.ask(who, False)
    turns.leave("b")
    turns.leave("a")
    assert begun == ["a", "c"]
    turns.close()
    turns.leave("c")
    assert begun == ["a", "c"]
