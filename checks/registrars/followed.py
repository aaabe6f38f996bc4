"""A registrar that is followed over one connection: it lists, and then tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, ClassVar, Generic, TypeVar

from checks.registrars.clocks import Pace
from checks.registrars.failures import HoldBack
from checks.registrars.stream import Stream
from checks.registrations.judge import Reading, Unreadable

S = TypeVar("S", bound=Stream[Any])


class Followed(ABC, Generic[S]):
    """Connects, lists, follows until the next list is due, and lists again."""

    refusal: ClassVar[type[Exception]]
    "What a session raises where the PBX refuses a command."

    def __init__(
        self, address: str, interval: float, clock: Callable[[], float]
    ) -> None:
        self.address = address
        self._clock = clock
        self._pace = Pace(interval, clock)
        self._hold_back = HoldBack()
        self._session: S | None = None

    def relist(self) -> None:
        """Ask for a list now; it comes as soon as the PBX's load allows."""
        self._pace.wish(self._clock())
        if self._session:
            self._session.nudge()

    async def watch(self) -> AsyncGenerator[Reading, None]:
        """Connect, list, follow; raises Unreadable on every expected failure."""
        self._hold_back.check(self._clock())
        session = self._session = await self._connect()
        try:
            await self._enter(session)
            while True:
                async for reading in self._list(session):
                    yield reading
                async for reading in self._follow(session):
                    yield reading
        except self.refusal as refused:
            raise self._meaning(str(refused)) from None
        finally:
            self._session = None
            self._leave(session)
            session.close()

    @abstractmethod
    async def _connect(self) -> S:
        """A session that stands, and no more."""

    @abstractmethod
    async def _enter(self, session: S) -> None:
        """Log in, and learn what is the same for all lists of this session."""

    @abstractmethod
    def _list(self, session: S) -> AsyncIterator[Reading]:
        """One full list."""

    @abstractmethod
    def _follow(self, session: S) -> AsyncIterator[Reading]:
        """What is told until the next list is due."""

    @abstractmethod
    def _meaning(self, words: str) -> Unreadable:
        """What it means that the PBX refused a command with these words."""

    @abstractmethod
    def _leave(self, session: S) -> None:
        """Say good-bye, to whoever may still be there."""
