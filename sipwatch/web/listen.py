"""Listeners on the daemon's own loop: TCP and the Unix socket of the CLI."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import socket
import stat
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import uvicorn

from sipwatch.config.settings import WebSettings
from sipwatch.web import connection
from sipwatch.web.doors import Doors
from sipwatch.web.tls import Certificate

BACKLOG = 128
STOP = 1  # s that open requests have to end when the daemon stops
IDLE = 30  # s that an idle connection is kept
UNSENT = 65_536  # bytes that the kernel holds for a reader that takes no more
GONE = 60_000  # ms without a word of a peer that we send to: then it is not there

log = logging.getLogger(__name__)


# 256 KB for each connection otherwise, also before it has said a word of TLS.
SSLProtocol.max_size = 32_768  # bytes: two records, RFC 8446 5.1


class Entrance(socket.socket):
    """A listening socket that lets a bounded number in.

    What counts connections later sees none that is still in its TLS handshake.
    """

    def __init__(self, family: int, type: int, proto: int = 0) -> None:
        super().__init__(family, type, proto)
        self._inside = WeakSet[socket.socket]()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; ConnectionAbortedError where there are too many."""
        accepted, address = super().accept()
        if len(self._inside) >= connection.CONNECTIONS:
            self._inside = WeakSet(s for s in self._inside if s.fileno() >= 0)
        if len(self._inside) >= connection.CONNECTIONS:
            accepted.close()
            raise ConnectionAbortedError
        self._inside.add(accepted)
        return accepted, address


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on these; a handshake may take as long as the head of a request."""
        config, loop = self.config, asyncio.get_running_loop()
        patience = connection.HEAD if config.ssl else None

        def made() -> connection.Connection:
            return connection.Connection(
                config=config, server_state=self.server_state, app_state={}
            )

        self.servers = [
            await loop.create_server(
                made,
                sock=one,
                ssl=config.ssl,
                backlog=BACKLOG,
                ssl_handshake_timeout=patience,
                ssl_shutdown_timeout=patience,
            )
            for one in sockets or ()
        ]
        self.started = True


def sockets_of(
    web: WebSettings, doors: Doors
) -> list[tuple[socket.socket, dict[str, Any]]]:
    """All that is listened on, with what may be done there; OSError for any of it."""
    opened: list[tuple[socket.socket, dict[str, Any]]] = []
    try:
        opened.append((tcp_socket(web.listen), {"doors": doors}))
        opened.append((unix_socket(web.socket), {"operate": True}))
        if web.metrics.listen:
            limits = {"metrics_only": True, "allow": web.metrics.allow}
            opened.append((tcp_socket(web.metrics.listen), limits))
        if web.public.listen:
            opened.append((tcp_socket(web.public.listen), {"public_only": True}))
    except OSError:
        for sock, _ in opened:
            sock.close()
        raise
    return opened


def tcp_socket(listen: str) -> socket.socket:
    """A bound socket for `host:port` or `[v6]:port`; OSError where it is taken."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol asyncio knows that it may switch Nagle's algorithm off: an answer
    # in two writes would wait 40 ms for the reader's delayed ACK.
    s = Entrance(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What it accepts has these from here.
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        s.bind((host, int(port)))
        s.listen(BACKLOG)
    except OSError as e:
        s.close()
        raise OSError(e.errno, f"cannot listen on {listen}: {e.strerror}") from None
    s.setblocking(False)
    return s


def unix_socket(path: str, group: str = "sipwatch") -> socket.socket:
    """A bound socket at the path, 0660, of the group where there is one.

    A socket that nobody answers is a dead daemon's and is replaced.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _answered(path):
            os.unlink(path)
    s = Entrance(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        mask = os.umask(0o117)  # not for the folder: nobody could enter it
        try:
            s.bind(path)
        finally:
            os.umask(mask)
        s.listen(BACKLOG)
    except OSError as e:
        s.close()
        why = e.strerror or e  # a path that is too long has no errno
        raise OSError(e.errno, f"cannot listen on {path}: {why}") from None
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    s.setblocking(False)
    return s


def _answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(path)
        except OSError:
            return False
        return True


def _with(certificate: Certificate) -> dict[str, Any]:
    return {"ssl_context_factory": lambda config, default: certificate.context}


class Listener:
    """One HTTP application on one bound socket, until closed."""

    def __init__(
        self, app: Any, sock: socket.socket, certificate: Certificate | None = None
    ) -> None:
        shown = {} if certificate is None else _with(certificate)
        config = uvicorn.Config(
            app,
            http=connection.Connection,
            lifespan="off",
            log_config=None,
            log_level="error",  # less is what anybody can have it say, as often
            access_log=False,
            ws="none",
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=STOP,
            **shown,
        )
        self._server = _Server(config)
        self._socket = sock
        name = sock.getsockname()  # uvicorn closes it before we do
        self._path = name if isinstance(name, str) else ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve from now on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def close(self) -> None:
        """Stop accepting, give open requests their second, close the socket."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP + 0.5)
            self._task.cancel()
        for one in list(self._server.server_state.connections):
            one.transport.abort()  # who does not read
        self._socket.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
