"""Subscriptions to the registration event package: RFC 6665, RFC 3680.

Theory of operation
-------------------
Each watched AOR has one subscription, a row here without task or timer. The owner asks
`due` whose SUBSCRIBE is to be sent, sends `request`, and hands what came of it to
`accepted` or `refused`; each request that reaches us goes to `answer`, whose response
it sends back. `take` gives the readings that have come of it, and the AORs to query.
No I/O, no clock: `now` is an argument.

**Truth** stays with the binding query. A document that shows what has changed becomes
Added and Gone (`regchanges`). Where one is in doubt (a contact that is gone without a
word, a gap in the versions, a document that cannot be read) the AOR is queried, and
after a gap the subscription is refreshed, which brings the whole state.

**Offered** is what the first answers say. 489 and its like speak for the registrar, a
refusal of three AORs in a row too, and so does silence: no answer, or no NOTIFY within
timer N. Then nothing is subscribed for an hour, and nobody is told: it is no failure.

**Refresh** at half of what was granted, within the dialog; 481 begins a new one. Where
our way to the registrar changed (a connection was opened anew) all are refreshed, since
the Contact is another; where the registrar's address changed all begin anew.
"""

from __future__ import annotations

import heapq
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from checks.registrars.regchanges import Followed
from checks.registrars.reginfo import Document, read_reginfo
from checks.registrations.readings import Added, Gone
from checks.sip.fields import CSeq
from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from checks.sip.params import Params
from checks.sip.requests import MAX_FORWARDS
from checks.sip.resolver import Address
from checks.sip.responses import response_to
from checks.sip.uri import NameAddr, SipUri

PACKAGE = "reg"
CONTENT = "application/reginfo+xml"
EXPIRES = 600  # s asked for: who lost us tells nobody for no longer than that
LEAST = 5.0  # s between two SUBSCRIBEs for one AOR, whatever makes them due
TIMER_N = 32.0  # s for the first NOTIFY (RFC 6665 4.1.2.4)
TRY_AGAIN = 3600.0  # s until who refused is asked again
STRIKES = 3  # AORs refused in a row by who never granted one
READING_LIMIT = 10_000  # not taken yet; beyond them AORs are queried instead
SPARE = 64  # places in the queue, beside two for each subscription
RETRY = 60.0  # s until one is tried again that failed where others did not

# What a registrar answers that does not know the package, or no events at all.
_NOT_OFFERED = frozenset((400, 405, 415, 420, 489, 501))

# RFC 6665 4.1.3: why a subscription was ended, and s until it is tried again.
_ENDED: Mapping[str, float] = {
    "deactivated": 0.0,
    "timeout": 0.0,
    "": 0.0,
    "probation": 60.0,
    "giveup": 60.0,
    "rejected": TRY_AGAIN,
    "noresource": TRY_AGAIN,
    "invariant": TRY_AGAIN,
}


@dataclass(slots=True, eq=False)
class _Subscription:
    """One AOR, and its dialog where there is one."""

    aor: str  # as it is watched
    due: float = math.inf
    turn: float = math.inf  # when it is looked at: its place in the queue
    followed: Followed = field(default_factory=Followed)  # what documents said of it
    call_id: str = ""  # of the dialog; empty: there is none
    tag: str = ""  # ours
    peer_tag: str = ""
    target: str = ""  # the Contact of the registrar in this dialog
    routes: list[str] = field(default_factory=list)
    cseq: int = 1  # of our next request
    heard: int = -1  # CSeq of the last NOTIFY
    sent: float = -math.inf  # when the last SUBSCRIBE was
    ends: float = math.inf
    silent_from: float = math.inf  # it is deaf when no NOTIFY has come by then

    def forget(self, due: float) -> None:
        """There is no dialog any more; the next one may begin at `due`."""
        self.call_id = self.tag = self.peer_tag = self.target = ""
        self.routes, self.cseq, self.heard = [], 1, -1
        self.followed.renew()
        self.ends = self.silent_from = math.inf
        self.due = max(due, self.sent + LEAST)


class Subscriptions:
    """Those of one registrar."""

    def __init__(
        self,
        domain: str,
        user_agent: str,
        *,
        username: str = "",
        name: Callable[[str], str],
    ) -> None:
        """`domain` is that of AORs without one, `name` says how an AOR is called."""
        self._domain, self._agent, self._user = domain, user_agent, username
        self._name = name
        self._aors: Sequence[str] = ()
        self._since = -math.inf  # when they came
        self._next = 0  # of them: the first that may not have been tried
        self._rows: dict[str, _Subscription] = {}  # of those that were tried
        self._queue: list[tuple[float, float, str]] = []  # a heap: turn, sent, AOR
        self._by_call: dict[str, _Subscription] = {}
        self._offered = False  # it has sent us a NOTIFY
        self._strikes = 0
        self._not_before = -math.inf
        self._way: tuple[Address, SipUri] | None = None
        self._readings: list[Added | Gone] = []
        self._doubted: set[str] = set()
        self._tag = secrets.token_hex(8)  # of answers outside of a dialog

    # --- whom, and when -------------------------------------------------------------

    def watch(self, aors: Sequence[str], now: float) -> None:
        """These are the AORs from now on; who is new is due at once."""
        if self._rows:
            for aor in self._rows.keys() - set(aors):
                self._by_call.pop(self._rows.pop(aor).call_id, None)
        self._aors, self._next, self._since = aors, 0, now

    def lead(self, address: Address, contact: SipUri, now: float) -> None:
        """The registrar is there, and reaches us here."""
        if self._way == (address, contact):
            return
        elsewhere = self._way is None or self._way[0] != address
        self._way = address, contact
        for row in self._rows.values():
            if not row.call_id:
                continue
            if elsewhere:
                self._end(row, now)
            else:
                row.due = now
                self._place(row)

    def due(self, now: float, most: int) -> list[str]:
        """The AORs to subscribe to, or to refresh; one alone while that is a try."""
        most = most if self._offered else 1
        waiting: list[_Subscription] = []
        while len(waiting) < most and (row := self._first()) and row.turn <= now:
            heapq.heappop(self._queue)
            row.turn = math.inf
            if now >= row.silent_from:
                self._end(row, now)
                self._strike(row, now)
            elif now >= row.ends:
                self._end(row, now)
            else:
                waiting.append(row)
        for row in waiting:
            self._place(row)
        if now < self._not_before:
            return []
        aors = [row.aor for row in waiting]
        if not self._offered:  # another one may be granted what these were not
            return self._untried(1) or aors
        return aors + self._untried(most - len(aors))

    def next_due(self) -> float:
        """When `due` has something to say again."""
        row = self._first()
        soonest = math.inf if row is None else row.turn
        if self._untried(1):
            soonest = min(soonest, self._since)
        return max(soonest, self._not_before)

    def _untried(self, most: int) -> list[str]:
        """Some of those who are not subscribed to yet."""
        aors, found = self._aors, list[str]()
        while self._next < len(aors) and aors[self._next] in self._rows:
            self._next += 1
        at = self._next
        while len(found) < most and at < len(aors):
            if aors[at] not in self._rows:
                found.append(aors[at])
            at += 1
        return found

    def _first(self) -> _Subscription | None:
        """Whose turn is next; places that are out of date are left out."""
        while self._queue:
            turn, _, aor = self._queue[0]
            row = self._rows.get(aor)
            if row is not None and row.turn == turn:
                return row
            heapq.heappop(self._queue)
        return None

    def _place(self, row: _Subscription) -> None:
        """Look at one when something of it is due; the place it had is passed over."""
        turn = min(row.due, row.silent_from)
        if turn == row.turn:
            return
        row.turn = turn
        if turn < math.inf:
            heapq.heappush(self._queue, (turn, row.sent, row.aor))
        if len(self._queue) > 2 * len(self._rows) + SPARE:
            rows = self._rows.values()
            self._queue = [(r.turn, r.sent, r.aor) for r in rows if r.turn < math.inf]
            heapq.heapify(self._queue)

    def _end(self, row: _Subscription, due: float) -> None:
        self._by_call.pop(row.call_id, None)
        row.forget(due)
        self._place(row)

    # --- what goes out, and what comes of it ----------------------------------------

    def request(self, aor: str, now: float) -> Request:
        """The SUBSCRIBE of an AOR: the first of a dialog, or a refresh in it."""
        if self._way is None:
            raise LookupError("no way to the registrar is known")
        row = self._rows.setdefault(aor, _Subscription(aor))
        row.sent, row.due = now, math.inf
        self._place(row)
        if not row.call_id:
            row.call_id, row.tag = secrets.token_hex(16), secrets.token_hex(8)
            self._by_call[row.call_id] = row
        uri = self._uri(aor)
        sender = SipUri(self._domain, self._user) if self._user else uri
        to = Params([("tag", row.peer_tag)] if row.target else [])
        headers = Headers(
            [
                ("Max-Forwards", MAX_FORWARDS),
                ("From", str(NameAddr(str(sender), "", Params([("tag", row.tag)])))),
                ("To", str(NameAddr(str(uri), "", to))),
                ("Call-ID", row.call_id),
                ("CSeq", str(CSeq(row.cseq, "SUBSCRIBE"))),
                ("Contact", f"<{self._way[1]}>"),
                ("Event", PACKAGE),
                ("Accept", CONTENT),
                ("Expires", str(EXPIRES)),
                ("User-Agent", self._agent),
            ]
        )
        for route in row.routes:
            headers.add("Route", route)
        return Request("SUBSCRIBE", row.target or str(uri), headers)

    def accepted(self, request: Request, response: Response, now: float) -> None:
        """A 2xx to it: the dialog stands, and so does its time."""
        row = self._by_call.get(request.call_id)
        if row is None:
            return  # it is watched no more, or was ended while the answer came
        # RFC 6665 4.2.1.1: it may grant less, not more.
        granted = EXPIRES if response.expires is None else response.expires
        granted = min(granted, EXPIRES)
        try:
            row.cseq = response.cseq.number + 1
            row.peer_tag = response.to.tag or row.peer_tag
        except ValueError:
            granted = 0
        if granted <= 0:
            self.refused(request, None, now)
            return
        if not row.target:
            contacts = [contact.uri for contact in response.contacts]
            row.target = contacts[0] if contacts else str(self._uri(row.aor))
            # RFC 3261 12.1.2: as they came back, the other way round.
            row.routes = response.all("record-route")[::-1]
        row.ends = now + granted
        row.due = min(row.due, now + max(LEAST, granted / 2))  # a NOTIFY may have come
        if row.heard < 0:
            row.silent_from = min(row.silent_from, now + TIMER_N)
        self._place(row)

    def refused(self, request: Request, status: int | None, now: float) -> None:
        """No 2xx came: `status` did, or None for silence."""
        row = self._by_call.get(request.call_id)
        if row is None:
            return
        if row.target and status != 481 and now < row.ends:
            row.due = row.ends  # RFC 6665 4.1.2.3: it stands until it ends
            self._place(row)
            return
        refresh = bool(row.target)
        self._end(row, now)
        if refresh:
            return
        if status in _NOT_OFFERED and not self._offered:
            self._strikes = STRIKES
        self._strike(row, now)
        if self._offered and (status is None or status >= 500):
            row.due = now + RETRY
            self._place(row)

    def _strike(self, row: _Subscription, now: float) -> None:
        row.due = now + TRY_AGAIN
        self._place(row)
        if self._offered:
            return
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._strikes, self._not_before = 0, now + TRY_AGAIN

    def _uri(self, aor: str) -> SipUri:
        user, _, domain = aor.partition("@")
        return SipUri(domain or self._domain, user)

    # --- what comes in --------------------------------------------------------------

    def answer(self, request: Request, now: float) -> Response | None:
        """The response to a request that reached us; None where it can have none."""
        try:
            to, sender, cseq = request.to, request.from_, request.cseq
        except ValueError:
            return None
        if request.method == "ACK":
            return None
        if request.method != "NOTIFY":
            return self._say(request, 405, "Method Not Allowed", allow="NOTIFY")
        row = self._by_call.get(request.call_id)
        known = row is not None and row.tag == to.tag
        if row is None or not known or row.peer_tag not in ("", sender.tag):
            return self._say(request, 481, "Subscription Does Not Exist")
        if _word(request.get("event")) != PACKAGE:
            return self._say(request, 489, "Bad Event", allow_events=PACKAGE)
        if cseq.number < row.heard:
            return self._say(request, 500, "Out Of Order")  # RFC 3261 12.2.2
        if cseq.number > row.heard:  # else it is the same again
            row.peer_tag = sender.tag or ""
            row.heard, row.silent_from = cseq.number, math.inf
            self._offered, self._strikes = True, 0
            self._notified(row, request, now)
            self._place(row)
        return self._say(request, 200, "OK")

    def take(self) -> tuple[list[Added | Gone], set[str]]:
        """What has come since: readings, and the AORs that are to be queried."""
        readings, self._readings = self._readings, []
        doubted, self._doubted = self._doubted, set()
        return readings, doubted

    def _say(
        self, request: Request, status: int, reason: str, **fields: str
    ) -> Response:
        return response_to(
            request, status, reason, tag=self._tag, user_agent=self._agent, **fields
        )

    def _notified(self, row: _Subscription, request: Request, now: float) -> None:
        if request.body:
            try:
                if _word(request.get("content-type")) != CONTENT:
                    raise ValueError("not of the type that was asked for")
                self._apply(row, read_reginfo(request.body), now)
            except ValueError:
                self._doubted.add(row.aor)
        else:
            row.followed.nothing()
        state, _, params = (request.get("subscription-state") or "").partition(";")
        if state.strip().lower() == "terminated":
            self._terminated(row, Params.parse(params), now)

    def _terminated(self, row: _Subscription, params: Params, now: float) -> None:
        reason = (params.get("reason") or "").lower()
        wait = _ENDED.get(reason, 0.0)
        asked = params.get("retry-after") or ""
        if wait < TRY_AGAIN and asked.isdigit() and len(asked) < 8:
            wait = min(TRY_AGAIN, float(asked))
        self._end(row, now + wait)

    def _apply(self, row: _Subscription, document: Document, now: float) -> None:
        aor = self._uri(row.aor).aor
        changes = row.followed.apply(document, aor, self._name(row.aor), now)
        if changes.missed:
            row.due = min(row.due, max(now, row.sent + LEAST))
        if changes.doubted:
            self._doubted.add(row.aor)
        if len(self._readings) + len(changes.readings) <= READING_LIMIT:
            self._readings += changes.readings
        else:
            self._doubted.add(row.aor)


def _word(value: str | None) -> str:
    """What a field says before its parameters, in small letters."""
    return (value or "").partition(";")[0].strip().lower()
