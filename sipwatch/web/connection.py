"""One connection of a client: what uvicorn leaves unbounded, bounded."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from sipwatch.web.gate import HEADERS

CONNECTIONS = 1024  # at a listener: 256 that follow events, and browsers have 6 each
HEAD = 10.0  # s that the first line and the fields of a request may take to come
UNSENT = 65_536  # bytes that we hold for a reader before who writes has to wait
TRANSPORT = "transport"  # of the state of a request
_BAD = "this is no HTTP"


class Connection(H11Protocol):
    """One of a bounded number, that has to say soon what it wants.

    uvicorn gives a new connection, and one that has sent a byte, all the time that it
    likes; a few hundred of those would keep everybody else out.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with one."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNSENT)
        self.app_state = {**self.app_state, TRANSPORT: transport}
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of a request."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """A request is answered; another may have begun meanwhile."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._wait()

    def _wait(self) -> None:
        """For the rest of the head, if no request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def send_400_response(self, msg: str) -> None:
        """Say that it is no HTTP, as carefully as anything else."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # in the middle of an answer
            return
        fields = {**HEADERS, "Connection": "close", "Content-Length": len(_BAD)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{lines}\r\n{_BAD}".encode())
        self.transport.close()
