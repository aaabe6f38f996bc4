"""What goes over the wire of a few targets, kept for a human who asked to see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checks.options.answers import quoted_branch
from checks.options.inbox import Message
from checks.options.lanes import Send
from checks.options.rows import Rows
from checks.sip.trace import Exchanged

EXCHANGE_LIMIT = 64  # messages kept of one target


class Wiretap:
    """Stands between the sockets and the sweep, and writes down both ways."""

    def __init__(
        self,
        rows: Rows,
        take: Callable[[list[Message]], None],
        clock: Callable[[], float],
    ) -> None:
        self.exchanges: dict[int, list[Exchanged]] = {}  # by target number
        self._rows = rows
        self._take = take
        self._clock = clock

    def of(self, index: int) -> tuple[Exchanged, ...]:
        """The messages of a target."""
        return tuple(self.exchanges.get(index, ()))

    def sending(self, send: Send) -> Send:
        """A `send` that writes down what goes out."""

        def tapped(data: bytes, address: Any) -> None:
            self._write_down(data, address, self._clock(), sent=True)
            send(data, address)

        return tapped

    def taking(self, messages: list[Message]) -> None:
        """Write down what came in, and pass it on."""
        for data, source, at in messages:
            self._write_down(data, source, at, sent=False)
        self._take(messages)

    def _write_down(self, data: bytes, remote: Any, at: float, *, sent: bool) -> None:
        found, rows = quoted_branch(data), self._rows
        if found is None or found[0] >= len(rows):
            return
        row = found[0]
        kept = self.exchanges.setdefault(rows.target[row], [])
        if len(kept) >= EXCHANGE_LIMIT:
            return
        lane, asked = rows.lane[row], rows.address[row]
        note = "retransmission" if sent and rows.tries[row] > 1 else ""
        if not sent and remote != asked:
            note = "from another address"
        if not isinstance(remote, tuple):
            remote = (remote.address.ip, remote.address.port)
        local = lane.local if lane else ("", 0)
        transport = lane.transport if lane else ""
        kept.append(Exchanged(at, sent, transport, local, remote[:2], data, note))
