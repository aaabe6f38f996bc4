"""Datagrams to a registrar and back, some of them swallowed on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Endpoint = tuple[str, int]


class Relay(asyncio.DatagramProtocol):
    """Stands in front of a SIP server; what `swallows` says yes to is lost."""

    def __init__(self, server: Endpoint) -> None:
        self.server = server
        self.port = 0
        self.swallows: Callable[[bytes], bool] = lambda data: False
        self.swallowed: list[bytes] = []
        self._client: Endpoint | None = None

    async def open(self) -> Relay:
        """Listen on a port of its own."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return self

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: Endpoint) -> None:
        if source == self.server:
            if self._client is not None:
                self.transport.sendto(data, self._client)
        elif self.swallows(data):
            self.swallowed.append(data)
        else:
            self._client = source
            self.transport.sendto(data, self.server)
