"""One logged-in connection to FreeSWITCH's event socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from checks.observation import plain
from checks.registrars.complaints import Complaint
from checks.registrars.esl import (
    API,
    AUTH_REQUEST,
    DISCONNECT,
    EVENT,
    MESSAGE_LIMIT,
    REPLY,
    RUDE_REJECTION,
    EslParser,
    Event,
    Part,
    RefusedError,
    event,
)
from checks.registrars.stream import FLOOD_LIMIT, Stream
from checks.registrations.judge import Unreadable

EVENTS_KEPT = 200_000  # that nobody has taken: those of the longest list
LIST_SECONDS = 120.0  # a list that trickles for longer is no list


class EslSession(Stream[Part]):
    """Questions to their answers, in order; events between them are kept aside."""

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._parser = EslParser()
        super().__init__("ESL", self._parser.feed, clock)
        self.shutting_down = False
        self._timeout = timeout
        self._kept: list[Event] = []
        self._taken = 0  # bytes received when they were last taken
        self._goodbye = ""  # what it said before it closed

    def closed(self) -> Unreadable:
        """What it means that FreeSWITCH closed the connection."""
        why = self._goodbye or "it ended, or mod_event_socket was reloaded"
        if self.shutting_down:
            why = "it shuts down"
        if not self._parser.greeted:
            why = "it has not greeted: FreeSWITCH is starting or ending"
        return Complaint.ESL_CLOSED.of(why=why)

    # --- to enter -------------------------------------------------------------------

    async def log_in(self, password: str) -> None:
        """Wait for the greeting and answer it. Raises Unreadable."""
        greeting = await self._next("accepts the connection and says nothing")
        if greeting.kind == RUDE_REJECTION:
            raise Complaint.ESL_ADDRESS.of()
        if greeting.kind != AUTH_REQUEST:
            raise self.closed()
        self.send(f"auth {password}")
        if not (await self._next("does not answer the log-in")).reply.startswith("+OK"):
            raise Complaint.ESL_PASSWORD.of()

    # --- to ask ---------------------------------------------------------------------

    def send(self, command: str) -> None:
        """Send one command."""
        self.write(command.encode() + b"\n\n")

    async def ask(self, command: str) -> str:
        """The short answer to one command. Raises RefusedError, Unreadable."""
        said = b""
        async for piece in self.pieces(command):
            said += piece
            if len(said) > MESSAGE_LIMIT:
                raise Complaint.ESL_LONG.of(command=command)
        return accepted(said.decode("latin-1").strip())

    async def pieces(
        self, command: str, patience: float | None = None
    ) -> AsyncIterator[bytes]:
        """The answer in the pieces in which it comes; `patience`: s without any."""
        self.send(command)
        began = self._clock()
        complaint = f"does not answer {command}"
        while True:
            part = await self._next(complaint, patience)
            if part.kind not in (API, REPLY):
                raise Complaint.ESL_OTHER.of(command=command, kind=part.kind)
            yield part.body or part.reply.encode()
            if part.last:
                return
            complaint = f"does not end {command}"
            if self._clock() - began > LIST_SECONDS:
                raise self._silence(complaint, LIST_SECONDS)

    async def _next(self, complaint: str, patience: float | None = None) -> Part:
        """The next part of an answer; events before it are set aside."""
        wait = patience or self._timeout
        late = self._clock() + wait
        while True:
            batch = await self.wait(late - self._clock())
            for n, part in enumerate(batch):
                if part.kind in (API, REPLY, AUTH_REQUEST, RUDE_REJECTION):
                    self._set_aside(batch[:n])
                    self._queue[:0] = batch[n + 1 :]
                    return part
            self._set_aside(batch)
            if self._clock() >= late:
                raise self._silence(complaint, wait)

    # --- to follow ------------------------------------------------------------------

    async def gather(self, timeout: float) -> list[Event]:
        """The events so far, in order, after at most one wait for more."""
        if not self._kept:
            self._set_aside(await self.wait(timeout))
        return self.take_aside()

    def take_aside(self) -> list[Event]:
        """The events so far, in order."""
        events, self._kept = self._kept, []
        self._taken = self.received
        return events

    async def rest(self, seconds: float) -> None:
        """Let time pass; events are kept."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._set_aside(await self.wait(left))

    def _set_aside(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if part.kind == EVENT:
                self._kept.append(event(part.body))
            elif part.kind == DISCONNECT:
                self._goodbye = plain(farewell(part.body), 100)
        flood = self.received - self._taken > FLOOD_LIMIT
        if flood or len(self._kept) > EVENTS_KEPT:
            raise Complaint.FLOOD.of(protocol="ESL")

    def _silence(self, what: str, seconds: float) -> Unreadable:
        return Complaint.ESL_SILENT.of(what=what, seconds=seconds)


def accepted(said: str) -> str:
    """A short answer itself, or RefusedError with the server's words."""
    if said.startswith(("-ERR", "-USAGE")):
        raise RefusedError(plain(said.partition("\n")[0].strip(), 100))
    return said


def farewell(body: bytes) -> str:
    """What a disconnect notice says beside its usual politeness."""
    said = body.decode("latin-1").partition("\n")[0].strip()
    return "" if said.startswith("Disconnected, goodbye") else said
