"""Who is not to be reached on purpose, as Asterisk tells it.

Do not disturb is what FreePBX keeps in the AstDB (family DND, key the extension);
maintenance is a state of an endpoint since Asterisk 20.20, 22.10 and 23.4. Both are
read with the rights that the lists of registrations need.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from checks.observation import Cause
from checks.registrars.ami import Message
from checks.registrars.session import RefusedError, Session
from checks.registrations.readings import Paused, Pausing

EVENT = "PJSIPMaintenanceStatus"
LIMIT = 20_000  # extensions; what says more is no PBX
DENIED = "Permission denied"
OFF = ("", "no", "0", "off")  # values of a DND key that is kept, and means nothing

log = logging.getLogger(__name__)


class Pauses:
    """What was told of one connection, and which questions it does not know."""

    def __init__(self, where: str = "") -> None:
        self._where = where
        self._told: dict[str, Cause] = {}
        self._refused: set[str] = set()
        self._warned: set[str] = set()

    def forget(self) -> None:
        """Another connection: all is asked anew; what was warned of is known."""
        self._told, self._refused = {}, set()

    async def listed(self, session: Session) -> Paused | None:
        """All who are not to be reached; None where they are whom they were."""
        found: dict[str, Cause] = {}
        async for row in self._rows(session, "DBGetTree", "DBGetTreeResponse"):
            family, _, name = row.get("Key", "").removeprefix("/").partition("/")
            if family == "DND" and row.get("Val", "").lower() not in OFF:
                found[name] = Cause.DO_NOT_DISTURB
        async for row in self._rows(session, "PJSIPShowMaintenance", EVENT):
            if row.get("Status") == "enabled":
                found[row.get("Endpoint", "")] = Cause.MAINTENANCE
        found.pop("", None)
        if found == self._told:
            return None
        self._told = found
        return Paused(dict(found))

    async def _rows(
        self, session: Session, action: str, event: str
    ) -> AsyncIterator[Message]:
        """The rows of a list; none where this Asterisk, or this user, has none."""
        if action in self._refused:
            return
        values = {"Family": "DND"} if action == "DBGetTree" else {}
        count = 0
        try:
            async for rows in session.rows(action, event, **values):
                for row in rows[: LIMIT - count]:
                    yield row
                count += len(rows)
        except RefusedError as refused:
            self._refused.add(action)
            if DENIED in str(refused) and action not in self._warned:
                self._warned.add(action)
                log.warning(
                    "%s refuses %s: without `write = system,reporting` in manager.conf "
                    "it does not tell who has do not disturb on, or is in maintenance",
                    self._where,
                    action,
                )

    def event(self, event: Message, at: float) -> Pausing | None:
        """Maintenance of an endpoint began or ended."""
        name, status = event.get("Endpoint", ""), event.get("Status")
        if not name or status not in ("enabled", "disabled"):
            return None
        on = status == "enabled"
        if on:
            self._told[name] = Cause.MAINTENANCE
        else:
            self._told.pop(name, None)
        return Pausing(name, Cause.MAINTENANCE, on, at)
