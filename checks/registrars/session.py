"""One logged-in connection to Asterisk's manager interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from checks.observation import Cause, plain
from checks.registrars.ami import LIST_LIMIT, ROW_LIMIT, AmiParser, Message, action
from checks.registrars.clocks import pause
from checks.registrars.failures import MANAGER_CONF, unreadable
from checks.registrations.judge import Unreadable

BATCH = 500  # messages handled before the loop gets its turn: some 5 ms
LIST_SECONDS = 120.0  # a list that trickles for longer is no list
NO_GREETING = (
    "AMI closes the connection without a greeting: too many sessions that are not "
    f"logged in (`authlimit` in {MANAGER_CONF})"
)


class RefusedError(Exception):
    """`Response: Error` to one action; the text says which of its meanings."""


class Session(asyncio.Protocol):
    """Bytes to messages, and questions to their answers by ActionID.

    Events that come between an answer's rows are kept aside, in order, and only those
    that the caller follows. Every wait ends: by a message, by `timeout` or by nudge().
    """

    def __init__(
        self, timeout: float, clock: Callable[[], float], events: Collection[str]
    ) -> None:
        self.heard = clock()  # when bytes last came
        self.shutting_down = False
        self._timeout = timeout
        self._clock = clock
        self._events = events
        self._parser = AmiParser()
        self._kept: list[Message] = []
        self._queue: list[Message] = []
        self._received = 0
        self._serial = 0
        self._stirred = asyncio.Event()
        self._failure: Unreadable | None = None
        self._transport: asyncio.Transport | None = None

    # --- what asyncio calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came; a sender that is faster than we are is held back by TCP."""
        self.heard = self._clock()
        self._received += len(data)
        try:
            self._queue += self._parser.feed(data)
        except ValueError as error:
            self._fail(Unreadable(Cause.MALFORMED, f"AMI: {error}"))
            self.close()
        if len(self._queue) > BATCH and self._transport:
            self._transport.pause_reading()
        self._stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed, or the network did."""
        if isinstance(exc, OSError):
            self._fail(unreadable(exc, "the AMI connection"))
        elif self._parser.greeting is None:
            self._fail(Unreadable(Cause.OVERLOADED, NO_GREETING))
        else:
            why = "it shuts down" if self.shutting_down else "Asterisk ended or died"
            self._fail(
                Unreadable(Cause.CONNECTION_RESET, f"AMI closed the connection: {why}")
            )

    def _fail(self, failure: Unreadable) -> None:
        self._failure = self._failure or failure
        self._stirred.set()

    # --- what the registrar calls ---------------------------------------------------

    def nudge(self) -> None:
        """End a wait."""
        self._stirred.set()

    def close(self) -> None:
        """Drop the connection; safe to call twice."""
        if self._transport:
            self._transport.close()

    def send(self, name: str, **values: str) -> str:
        """Send one action and return its ActionID."""
        self._serial += 1
        action_id = f"sipwatch-{self._serial}"
        if self._transport and not self._transport.is_closing():
            self._transport.write(action(name, action_id, **values))
        return action_id

    async def wait(self, timeout: float) -> list[Message]:
        """Messages that came, at most BATCH; none after `timeout` or a nudge."""
        if self._queue or self._failure:
            await asyncio.sleep(0)  # a flood must not keep the loop from its turn
        else:
            self._stirred.clear()
            await pause(self._stirred, max(0.0, timeout))
        if not self._queue and self._failure:
            raise self._failure
        batch = self._queue[:BATCH]
        del self._queue[:BATCH]
        if self._transport and len(self._queue) <= BATCH:
            self._transport.resume_reading()
        return batch

    async def greeting(self) -> None:
        """Wait for the line that Asterisk sends first."""
        late = self._clock() + self._timeout
        while self._parser.greeting is None:
            if self._clock() >= late:
                raise self._silence("accepts the connection and says nothing")
            self._queue[:0] = await self.wait(late - self._clock())

    async def log_in(self, username: str, secret: str) -> None:
        """Log in; of all events only the classes that tell of registrations."""
        login = {"Username": username, "Secret": secret, "Events": "system,security"}
        try:
            await self.ask("Login", **login)
        except RefusedError as refused:
            # Wrong secret, unknown user and denied address look the same from here.
            raise Unreadable(
                Cause.UNAUTHORIZED,
                f"AMI refuses the log-in ({refused}): check in {MANAGER_CONF} that "
                f"[{username}] exists, that its `secret` is ours, and that `permit` "
                "holds our address; then `manager reload`",
            ) from None

    async def ask(self, name: str, **values: str) -> Message:
        """The response to one action. Raises RefusedError, Unreadable."""
        action_id = self.send(name, **values)
        late = self._clock() + self._timeout
        while True:
            batch = await self.wait(late - self._clock())
            for n, message in enumerate(batch):
                if message.get("ActionID") == action_id and "Response" in message:
                    self._set_aside(batch[:n])
                    self._queue[:0] = batch[n + 1 :]
                    return accepted(message)
            self._set_aside(batch)
            if self._clock() >= late:
                raise self._silence(f"does not answer {name}")

    async def ask_each(
        self, name: str, several: Sequence[dict[str, str]]
    ) -> list[Message]:
        """The responses to one action with each of these values, asked at once."""
        waiting = {self.send(name, **v): n for n, v in enumerate(several)}
        answers: list[Message] = [{} for _ in waiting]
        late = self._clock() + self._timeout
        while waiting:
            for message in await self.wait(late - self._clock()):
                asked = message.get("ActionID", "")
                if "Response" in message and asked in waiting:
                    answers[waiting.pop(asked)] = message
                else:
                    self._set_aside([message])
            if waiting and self._clock() >= late:
                raise self._silence(f"does not answer {name}")
        return answers

    async def rows(self, name: str, event: str) -> AsyncIterator[list[Message]]:
        """The rows of a list as they come; their number proves its end."""
        size, began = self._received, self._clock()
        action_id = (await self.ask(name))["ActionID"]
        count = 0
        while True:
            batch = await self.wait(self.heard + self._timeout - self._clock())
            self._bound(name, count, self._received - size, began, silent=not batch)
            rows = [m for m in batch if m.get("ActionID") == action_id]
            if len(rows) < len(batch):
                self._set_aside([m for m in batch if m.get("ActionID") != action_id])
            end = rows.pop() if rows and "EventList" in rows[-1] else None
            rows = [row for row in rows if row.get("Event") == event]
            count += len(rows)
            if rows:
                yield rows
            if end is not None:
                check_end(name, end, count)
                return

    async def gather(self, timeout: float) -> list[Message]:
        """The followed events so far, in order, after at most one wait for more."""
        if not self._kept:
            self._set_aside(await self.wait(timeout))
        return self.take_aside()

    def take_aside(self) -> list[Message]:
        """The followed events so far, in order."""
        events, self._kept = self._kept, []
        return events

    def _bound(
        self, name: str, count: int, size: int, began: float, *, silent: bool
    ) -> None:
        now = self._clock()
        if count > ROW_LIMIT or size > LIST_LIMIT:
            raise Unreadable(
                Cause.MALFORMED, f"AMI: {name} has over {ROW_LIMIT} rows or 64 MB"
            )
        stalled = silent and now - self.heard >= self._timeout
        if stalled or now - began > LIST_SECONDS:
            raise self._silence(f"does not end {name}")

    def _set_aside(self, messages: list[Message]) -> None:
        self._kept += [m for m in messages if m.get("Event") in self._events]
        if len(self._kept) > ROW_LIMIT:
            raise Unreadable(Cause.MALFORMED, "AMI: a flood of events")

    def _silence(self, what: str) -> Unreadable:
        return Unreadable(
            Cause.TIMEOUT,
            f"AMI {what} within {self._timeout:g} s: Asterisk hangs or is stopped",
        )


def accepted(response: Message) -> Message:
    """The response itself, or RefusedError with the server's own words."""
    if response["Response"] == "Error":
        raise RefusedError(plain(response.get("Message", "").strip()))
    return response


def check_end(name: str, end: Message, count: int) -> None:
    """A list that breaks off, or that lost rows on its way, is no list."""
    if end["EventList"] != "Complete" or end.get("ListItems") != str(count):
        said = plain(f"{end['EventList']}, {end.get('ListItems')}", 60)
        raise Unreadable(
            Cause.MALFORMED, f"AMI: {name} gave {count} rows and ends with {said}"
        )
