"""A notifier that is not ours, as somebody would write one."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.incident import Notification


@dataclass(frozen=True)
class BoardSettings:
    """What a board in a room needs."""

    room: str


class Board:
    """Writes on the board."""

    Settings = BoardSettings

    def __init__(self, settings: BoardSettings) -> None:
        self.room = settings.room

    async def send(self, notification: Notification) -> None:
        """Would write it."""
