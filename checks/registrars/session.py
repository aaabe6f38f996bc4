"""One logged-in connection to Asterisk's manager interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence

from checks.observation import plain
from checks.registrars.ami import LIST_LIMIT, ROW_LIMIT, AmiParser, Message, action
from checks.registrars.aside import Aside
from checks.registrars.complaints import Complaint
from checks.registrars.stream import FLOOD_LIMIT, Stream
from checks.registrations.judge import Unreadable

LIST_SECONDS = 120.0  # a list that trickles for longer is no list


class RefusedError(Exception):
    """`Response: Error` to one action; the text says which of its meanings."""


class Session(Stream[Message]):
    """Bytes to messages, and questions to their answers by ActionID.

    Events that come between an answer's rows are kept aside, in order, and only those
    that the caller follows. Every wait ends: by a message, by `timeout` or by nudge().
    """

    def __init__(
        self, timeout: float, clock: Callable[[], float], events: Collection[str]
    ) -> None:
        self._parser = AmiParser()
        super().__init__("AMI", self._parser.feed, clock)
        self.shutting_down = False
        self._timeout = timeout
        self._events = events
        self._kept = Aside()
        self._taken = 0  # bytes received when they were last taken
        self._serial = 0

    def closed(self) -> Unreadable:
        """What it means that Asterisk closed the connection."""
        if self._parser.greeting is None:
            return Complaint.AMI_NO_GREETING.of()
        ends = self.shutting_down
        return (Complaint.AMI_ENDS if ends else Complaint.AMI_CLOSED).of()

    def send(self, name: str, **values: str) -> str:
        """Send one action and return its ActionID."""
        action_id = self._next_id()
        self.write(action(name, action_id, **values))
        return action_id

    def _next_id(self) -> str:
        self._serial += 1
        return f"sipwatch-{self._serial}"

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
            raise Complaint.AMI_LOGIN.of(refused=refused, user=username) from None

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
        waiting = {self._next_id(): n for n in range(len(several))}
        asked = zip(waiting, several, strict=True)
        self.write(b"".join(action(name, one, **values) for one, values in asked))
        answers: list[Message] = [{} for _ in waiting]
        late = self._clock() + self._timeout
        while waiting:
            for message in await self.wait(late - self._clock()):
                which = message.get("ActionID", "")
                if "Response" in message and which in waiting:
                    answers[waiting.pop(which)] = message
                else:
                    self._set_aside([message])
            if waiting and self._clock() >= late:
                raise self._silence(f"does not answer {name}")
        return answers

    async def rows(
        self, name: str, event: str, **values: str
    ) -> AsyncIterator[list[Message]]:
        """The rows of a list as they come; their number proves its end."""
        size, began = self.received, self._clock()
        action_id = (await self.ask(name, **values))["ActionID"]
        count = 0
        while True:
            batch = await self.wait(self.heard + self._timeout - self._clock())
            self._bound(name, count, self.received - size, began, silent=not batch)
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

    async def gather(self, timeout: float) -> Aside:
        """The followed events so far, in order, after at most one wait for more."""
        if not self._kept:
            self._set_aside(await self.wait(timeout))
        return self.take_aside()

    def take_aside(self) -> Aside:
        """The followed events so far, in order."""
        events, self._kept = self._kept, Aside()
        self._taken = self.received
        return events

    def _bound(
        self, name: str, count: int, size: int, began: float, *, silent: bool
    ) -> None:
        now = self._clock()
        if count > ROW_LIMIT or size > LIST_LIMIT:
            raise Complaint.AMI_TOO_LONG.of(name=name, rows=ROW_LIMIT)
        stalled = silent and now - self.heard >= self._timeout
        if stalled or now - began > LIST_SECONDS:
            raise self._silence(f"does not end {name}")

    def _set_aside(self, messages: list[Message]) -> None:
        for message in messages:
            if message.get("Event") in self._events:
                self._kept.add(message)
        flood = self.received - self._taken > FLOOD_LIMIT
        if flood or len(self._kept) > ROW_LIMIT:
            raise Complaint.FLOOD.of(protocol="AMI")

    def _silence(self, what: str) -> Unreadable:
        return Complaint.AMI_SILENT.of(what=what, seconds=self._timeout)


def accepted(response: Message) -> Message:
    """The response itself, or RefusedError with the server's own words."""
    if response["Response"] == "Error":
        raise RefusedError(plain(response.get("Message", "").strip()))
    return response


def check_end(name: str, end: Message, count: int) -> None:
    """A list that breaks off, or that lost rows on its way, is no list."""
    if end["EventList"] != "Complete" or end.get("ListItems") != str(count):
        said = plain(f"{end['EventList']}, {end.get('ListItems')}", 60)
        raise Complaint.AMI_BROKEN_OFF.of(name=name, rows=count, end=said)
