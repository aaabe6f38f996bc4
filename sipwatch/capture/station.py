"""The privileged process: wires into the ring, and questions over a Unix socket.

One thread and one selector. Wires come first: a question is worked on in slices, and
between two of them all that has come is taken in.
"""

from __future__ import annotations

import contextlib
import gc
import grp
import json
import os
import pwd
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sipwatch.capture import pcapng
from sipwatch.capture.listening import Wire
from sipwatch.capture.look import Passing
from sipwatch.capture.protocol import (
    EXCHANGE,
    FIGURES,
    QUESTION_LIMIT,
    Question,
    decoded,
    question_of,
)
from sipwatch.capture.ring import Ring
from sipwatch.capture.searching import search

CALLERS = 4  # connections at once: the daemon has one
PATIENCE = 30.0  # s that a caller may take to ask, and to take its answer
BEAT = 1.0  # s between two looks at the clock
AGAIN = 5.0  # s between two attempts at an interface that is down or gone
WIRES = 100  # interfaces beside those of the start: each holds some MB of the kernel
GARBAGE = 50_000  # objects until Python looks for cycles: frames have none
MODE = 0o660


class Station:
    """`run()` until `stop()`; `close()` lets go of the wires and the socket."""

    def __init__(
        self,
        wires: Sequence[Wire],
        server: socket.socket,
        *,
        ring: Ring | None = None,
        allowed: Callable[[int], bool] = lambda uid: True,
        listen: Callable[[str], Wire] | None = None,
        absent: Iterable[str] = (),
        names: Callable[[], Iterable[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`allowed` tells whether a user may ask, by number; `listen` opens an
        interface that went down and may be back, or is `absent` as yet: OSError.
        `names` lists all interfaces, where those that come later are wanted too."""
        self.ring = Ring() if ring is None else ring
        self.passing = Passing()
        self.refused = 0  # callers
        self._wires = list(wires)
        self._listen, self._absent = listen, dict.fromkeys(absent, 0.0)
        self._names, self._listed_at = names, clock()
        self._most = len(self._wires) + len(self._absent) + WIRES
        self._left_out: set[str] = set()  # of a kind that is not read
        self._lost = 0  # dropped by wires that are gone
        self._server = server
        self._allowed = allowed
        self._clock = clock
        self._started_at = clock()
        self._callers: dict[int, _Caller] = {}
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        for wire in self._wires:
            self._selector.register(wire, selectors.EVENT_READ, wire)
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ)

    def run(self) -> None:
        """Take in frames and answer, until `stop`."""
        gc.freeze()
        gc.set_threshold(GARBAGE)
        while not self._stopping:
            self.turn(0.0 if self._at_work else BEAT)

    def stop(self) -> None:
        """End at the next turn; may be called by a signal."""
        self._stopping = True

    def close(self) -> None:
        """Let go of all."""
        for caller in list(self._callers.values()):
            self._hang_up(caller)
        for wire in self._wires:
            wire.close()
        self._selector.close()
        self._server.close()

    def turn(self, timeout: float) -> None:
        """All that is ready now, or within `timeout` s."""
        for key, events in self._selector.select(timeout):
            if isinstance(key.data, Wire):
                self._take_in(key.data)
            elif isinstance(key.data, _Caller):
                self._serve(key.data, events)
            else:
                self._answer_the_door()
        self._look_for_new()
        self._look_for_absent()
        self._work()

    def figures(self) -> dict[str, Any]:
        """What passed, what is held, what was lost."""
        ring = self.ring
        return {
            "since": self._started_at,
            "interfaces": [wire.name for wire in self._wires],
            "absent": list(self._absent),
            "received": ring.received,
            "held": len(ring),
            "bytes": ring.held,
            "oldest": ring.oldest,
            "given_way": ring.first,
            "dropped": self._lost + sum(w.count_dropped() for w in self._wires),
            "responses": [[*k, n] for k, n in self.passing.responses.items()],
            "reasons": [[*k, n] for k, n in self.passing.reasons.items()],
        }

    def _take_in(self, wire: Wire) -> None:
        add, look = self.ring.add, self.passing.look
        for frame in wire.frames():
            add(frame)
            look(frame.data)
        if wire.gone:
            self._selector.unregister(wire)
            self._wires.remove(wire)
            self._lost += wire.count_dropped()
            wire.close()
            self._absent[wire.name] = self._clock()

    @property
    def _heard_of(self) -> set[str]:
        return {*(wire.name for wire in self._wires), *self._absent}

    def _look_for_new(self) -> None:
        """Interfaces that came are to be listened to, those that went are forgotten."""
        now = self._clock()
        if self._names is None or 0 <= now - self._listed_at < AGAIN:
            return
        self._listed_at = now
        with contextlib.suppress(OSError):
            there = list(self._names())
            self._left_out &= set(there)
            for name in self._absent.keys() - there:
                del self._absent[name]
            known = self._heard_of | self._left_out
            room = self._most - len(self._heard_of)
            for name in [n for n in there if n not in known][: max(0, room)]:
                self._absent[name] = now - AGAIN

    def _look_for_absent(self) -> None:
        """An interface that is back, maybe under another number, is listened to."""
        if self._listen is None:
            return
        now = self._clock()
        for name, tried in list(self._absent.items()):
            if 0 <= now - tried < AGAIN:
                continue
            self._absent[name] = now
            try:
                wire = self._listen(name)
            except OSError:
                continue
            except ValueError:
                if self._names is not None:  # nobody chose it
                    del self._absent[name]
                    self._left_out.add(name)
                continue
            del self._absent[name]
            self._wires.append(wire)
            self._selector.register(wire, selectors.EVENT_READ, wire)

    # --- who asks -------------------------------------------------------------------

    def _answer_the_door(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._server.accept()
            full = len(self._callers) >= CALLERS
            if full or not self._allowed(peer_of(sock)):
                self.refused += 1
                sock.close()
                return
            sock.setblocking(False)
            caller = _Caller(sock, self._clock() + PATIENCE)
            self._callers[sock.fileno()] = caller
            self._selector.register(sock, selectors.EVENT_READ, caller)

    def _serve(self, caller: _Caller, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                caller.send()
                if not caller.unsent:
                    self._listen_to(caller)
            elif (line := caller.receive()) is not None:
                self._asked(caller, line)
        except (OSError, ValueError):
            self._hang_up(caller)

    def _asked(self, caller: _Caller, line: bytes) -> None:
        said = decoded(line)
        if said.get("want") == FIGURES:
            self._tell(caller, self.figures())
            return
        if said.get("want") != EXCHANGE:
            raise ValueError("neither figures nor an exchange")
        question = question_of(said)
        caller.work = self._exchange(question)

    def _exchange(self, question: Question) -> Iterator[bytes | None]:
        for found in search(self.ring, question):
            if found is None:
                yield None
                continue
            blob = pcapng.write(found.frames)
            head = {
                "frames": len(found.frames),
                "size": len(blob),
                "cut": found.cut,
                "oldest": self.ring.oldest,
                "seen": found.seen,
            }
            yield json.dumps(head).encode() + b"\n" + blob

    @property
    def _at_work(self) -> bool:
        return any(caller.work is not None for caller in self._callers.values())

    def _work(self) -> None:
        """One slice for who waits longest; nobody is waited for without end."""
        now = self._clock()
        for caller in list(self._callers.values()):
            if now > caller.until:
                self._hang_up(caller)
        waiting = (c for c in self._callers.values() if c.work is not None)
        if (first := next(waiting, None)) is not None:
            self._work_for(first)

    def _work_for(self, caller: _Caller) -> None:
        try:
            answer = next(caller.work or iter(()), None)
        except ValueError:  # an address that is none
            self._hang_up(caller)
            return
        if answer is not None:
            caller.work = None
            caller.unsent = memoryview(answer)
            self._speak_to(caller)

    def _tell(self, caller: _Caller, answer: dict[str, Any]) -> None:
        caller.unsent = memoryview(json.dumps(answer).encode() + b"\n")
        self._speak_to(caller)

    def _speak_to(self, caller: _Caller) -> None:
        caller.until = self._clock() + PATIENCE
        self._selector.modify(caller.sock, selectors.EVENT_WRITE, caller)

    def _listen_to(self, caller: _Caller) -> None:
        caller.until = self._clock() + PATIENCE
        self._selector.modify(caller.sock, selectors.EVENT_READ, caller)

    def _hang_up(self, caller: _Caller) -> None:
        del self._callers[caller.sock.fileno()]
        self._selector.unregister(caller.sock)
        caller.sock.close()


class _Caller:
    """One connection: a question at a time."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self.sock = sock
        self.until = until
        self.unsent = memoryview(b"")
        self.work: Iterator[bytes | None] | None = None
        self._received = b""

    def receive(self) -> bytes | None:
        """The line that is whole by now; ValueError, OSError where there is none."""
        data = self.sock.recv(QUESTION_LIMIT)
        if not data:
            raise ConnectionResetError("hung up")
        self._received += data
        if len(self._received) > QUESTION_LIMIT or self.work is not None:
            raise ValueError("more than a question")
        line, end, rest = self._received.partition(b"\n")
        if not end:
            return None
        self._received = rest
        return line

    def send(self) -> None:
        """What goes of the answer now."""
        sent = self.sock.send(self.unsent)
        self.unsent = self.unsent[sent:]


def peer_of(sock: socket.socket) -> int:
    """The number of the user at the other end (unix(7), SO_PEERCRED)."""
    said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", said)
    return int(uid)


def only(*names: str) -> Callable[[int], bool]:
    """Root, whoever this process is, and these users, if there are such.

    The group of the socket's file is not enough: people who may ask the daemon are in
    it, and packets hold what the daemon does not show them.
    """
    allowed = {0, os.geteuid()}
    for name in names:
        with contextlib.suppress(LookupError):
            allowed.add(pwd.getpwnam(name).pw_uid)
    return allowed.__contains__


def serve(path: Path, group: str = "") -> socket.socket:
    """A listening socket at a path; OSError, LookupError."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            server.bind(str(path))
        finally:
            os.umask(before)
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(MODE)
        server.listen(CALLERS)
    except BaseException:
        server.close()
        raise
    return server
