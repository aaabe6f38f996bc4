"""Links in notifications by which their reader acknowledges: signed, once, for a time.

A link tells the thread that it came with and the notifier that brought it, under an
HMAC of a key that only this daemon's store holds. Following it changes nothing: mail
scanners follow every link. The page behind it has a button.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from alerting.alarms.core import Alarms
from alerting.incident import Batch, Incident, Told
from alerting.store.database import Store
from alerting.store.rows import Memo
from sipwatch.clock import Clock
from sipwatch.config.settings import Config
from sipwatch.flow import Flow

LASTS = 3 * 86400.0  # s that a link is good: a long weekend
PATH = "/a/"  # what the paths of links begin with
LONGEST = 400  # characters of a token; a longer one is none of ours
KEY = "links/key"  # the memo that keeps it
BITS = 128  # of the signature: nobody guesses that over the network
RECIPIENTS = 20  # who may be named by one page


class Claim(NamedTuple):
    """What a link says, as we have signed it."""

    expires: float  # UTC s of the wall clock
    batch: str  # the notification: a link is good once
    thread: str
    notifier: str

    @property
    def link(self) -> str:
        """The name under which it is used up."""
        return f"{self.batch}/{self.notifier}"


@dataclass(frozen=True)
class Shown:
    """What the page of a link shows."""

    incidents: tuple[Incident, ...]  # still open, and still to be taken
    recipients: tuple[str, ...]  # as whom it may be acknowledged
    gone: str = ""  # why there is nothing to do any more


class Links:
    """Makes, reads and follows them."""

    def __init__(
        self, key: bytes, alarms: Alarms, clock: Clock, config: Callable[[], Config]
    ) -> None:
        self._key = key
        self._alarms = alarms
        self._clock = clock
        self._config = config

    def url(self, batch: Batch, now: float) -> str:
        """The link of a notification; empty where there is nothing to acknowledge."""
        base = self._config().web.external_url
        open_ = [d.incident for d in batch.deliveries if not d.incident.acknowledged_by]
        over = batch.late or batch.change is Told.RESOLVED
        if not base or over or not open_:
            return ""
        expires = self._clock.to_wall(now) + LASTS
        claim = Claim(expires, batch.id, batch.thread, batch.notifier)
        return f"{base}{PATH}{self.sign(claim)}"

    def sign(self, claim: Claim) -> str:
        """A claim as a token that fits into a URL."""
        said = [int(claim.expires), claim.batch, claim.thread, claim.notifier]
        body = json.dumps(said, separators=(",", ":")).encode()
        return _encoded(self._seal(body) + body)

    def read(self, token: str) -> Claim:
        """The claim of a token that we have signed; ValueError for any other."""
        if len(token) > LONGEST or not token.isascii():
            raise ValueError("is no token")
        whole = _decoded(token)
        seal, body = whole[: BITS // 8], whole[BITS // 8 :]
        if not hmac.compare_digest(seal, self._seal(body)):
            raise ValueError("is not signed by us")
        expires, batch, thread, notifier = json.loads(body)
        return Claim(float(expires), batch, thread, notifier)

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[: BITS // 8]

    def look(self, claim: Claim) -> Shown:
        """What a link leads to now; nothing changes by it."""
        if self._wall() >= claim.expires:
            return Shown(
                (), (), "This link is too old: the later mails have newer ones."
            )
        told = self._alarms.links.told(claim.notifier, claim.thread)
        if not told:
            return Shown(
                (), (), "It is over: there is nothing to acknowledge any more."
            )
        whose = sorted({i.acknowledged_by for i in told} - {""})
        left = tuple(i for i in told if not i.acknowledged_by)
        if not left:
            return Shown((), (), f"It is taken already, by {', '.join(whose)}.")
        if self._alarms.links.used(claim.link):
            return Shown((), (), "This link was used: the later mails have newer ones.")
        return Shown(left, self._recipients(claim.notifier))

    def follow(self, claim: Claim, recipient: int, note: str) -> tuple[str, Shown]:
        """Acknowledge as this recipient; who that is, and what was there to be taken.

        LookupError where there is no such recipient.
        """
        shown = self.look(claim)
        if shown.gone:
            return "", shown
        if not 0 <= recipient < len(shown.recipients):
            raise LookupError("there is no such recipient")
        who, now = shown.recipients[recipient], self._clock.now()
        taken = list(shown.incidents)
        self._alarms.links.prune(self._wall())
        self._alarms.links.use(claim.link, claim.expires, taken, who, note, now)
        return who, shown

    def _recipients(self, notifier: str) -> tuple[str, ...]:
        """Who gets what this notifier brings, as far as it names people."""
        to = getattr(self._config().notifiers.get(notifier), "to", None)
        named = isinstance(to, list | tuple) and all(isinstance(one, str) for one in to)
        return tuple(to[:RECIPIENTS]) if named and to else (notifier,)

    def _wall(self) -> float:
        return self._clock.to_wall(self._clock.now())


def key_of(store: Store, flow: Flow) -> bytes:
    """The key of this daemon, made at its first start; blocks."""
    stored = store.remembered(KEY)
    if stored is None:
        stored = json.dumps(secrets.token_hex(32))
        flow.write([Memo(KEY, stored)])
    return bytes.fromhex(json.loads(stored))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no token: {error}") from None
