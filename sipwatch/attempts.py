"""When accounts were tested last, and refused how often: known after a restart.

A registrar that bans who asks too often does not ask whether we were restarted
meanwhile. Only what holds a test back is stored, so most accounts have no row here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from alerting.store.rows import DropMemo, Memo
from checks.accounts.account import Account
from checks.accounts.settings import FLOOR
from sipwatch.clock import Clock
from sipwatch.flow import Flow

MEMO = "attempt/"  # what the names of the memos begin with

log = logging.getLogger(__name__)


class Attempts:
    """The last attempt of each account that is to wait for the next, in the store."""

    def __init__(self, clock: Clock, flow: Flow) -> None:
        self._clock, self._flow = clock, flow
        self._restored: dict[str, tuple[float, int]] = {}
        self._stored: set[str] = set()

    def restore(
        self, memos: Mapping[str, str], configured: Mapping[str, object]
    ) -> None:
        """Take over what is stored; what nobody can use any more is dropped."""
        for memo, text in memos.items():
            name = memo.removeprefix(MEMO)
            try:
                kept = json.loads(text)
                self._restored[name] = float(kept["at"]), int(kept["rejections"])
            except (ValueError, TypeError, KeyError) as error:
                log.warning(
                    "account %s: its last attempt is stored wrongly: %s", name, error
                )
            if name in configured and name in self._restored:
                self._stored.add(name)
            else:
                self._restored.pop(name, None)
                self._flow.write([DropMemo(memo)])

    def resume(self, account: Account) -> None:
        """Let an account wait for as long as it had to before a restart; once."""
        if kept := self._restored.pop(account.name, None):
            account.resume(*kept, now=self._clock.now())

    def begins(self, account: Account) -> None:
        """It is about to be tested."""
        if account.settings.floor > FLOOR or account.rejections:
            self._keep(account, self._clock.now())

    def ended(self, account: Account, at: float) -> None:
        """It was tested then."""
        if account.settings.floor > FLOOR or account.rejections:
            self._keep(account, at)
        else:
            self.forget(account.name)

    def forget(self, name: str) -> None:
        """Nothing holds the next test back, or there will be none."""
        if name in self._stored:
            self._stored.remove(name)
            self._flow.write([DropMemo(MEMO + name)])

    def _keep(self, account: Account, at: float) -> None:
        self._stored.add(account.name)
        kept = {"at": self._clock.to_wall(at), "rejections": account.rejections}
        self._flow.write([Memo(MEMO + account.name, json.dumps(kept))])
