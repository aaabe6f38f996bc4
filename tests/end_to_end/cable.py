"""A TCP connection to a server that a test can cut, or hold in the middle of a word."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK = 4096


class Cable:
    """Relays a port of its own to a server's; looks like that server to a watcher."""

    def __init__(self, address: str, own: str, ami_port: int) -> None:
        """From `own`, an address that nobody else has, to `address`; one port."""
        self.address = own
        self.ami_port = ami_port
        self.lost_after = b""  # what the server says is lost from after this text on
        self.closes = False  # and then the connection ends
        self._far = address
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def mend(self) -> Cable:
        """Connect and let connect."""
        self.lost_after = b""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._join, self.address, self.ami_port
            )
        return self

    async def cut(self) -> None:
        """End all connections, and refuse others."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        try:
            far = await asyncio.open_connection(self._far, self.ami_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(far[1])
        await asyncio.gather(self._up(reader, far[1]), self._down(far[0], writer))

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                writer.write(data)
        writer.close()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if self.lost_after and self.lost_after in data:
                    at = data.index(self.lost_after) + len(self.lost_after)
                    writer.write(data[:at])
                    await writer.drain()
                    if self.closes:
                        break
                    await reader.read()  # hold the line, let nothing through
                    return
                writer.write(data)
        writer.close()
