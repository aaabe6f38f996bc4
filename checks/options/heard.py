"""What comes of questions that a judge wanted asked: counted, and told to who asked.

A *contact* lives if it answers at all: a 480 or 603 by a phone is an answer. Through a
proxy it need not be the phone that answers, so that the codes of proxies tell that it
is away (False), or only that the proxy will not pass the question on (None). A *server*
is judged as a target is.

Told is every failure, the first success, and the first success after a failure. Of
several addresses of a server one that answers will do; a failure is told once all have
failed so often.

A phone that answers and does not want to ring (480, 486, 600, 603) lives; what it said
is kept, for who looks for a cause, until it says something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from checks.observation import Cause
from checks.options.answers import DOWN_CODES, Answer
from checks.options.inbox import Judges
from checks.options.roll import Roll
from checks.options.rows import ASKED_FOR, CALM, DOWN, MASK32, ROLES, UNKNOWN, UP, Rows
from checks.options.targets import AskSettings, ProbeSettings, Settings
from checks.options.words import EXPLAINED, place, told_by

if TYPE_CHECKING:
    from checks.cause import Answer as Told

# A phone that does not want to ring. As `checks.cause.fits` has it: not imported from
# there, since a probe starts in half the time without that table.
HELD_BACK = frozenset((480, 486, 600, 603))
ANY_ANSWER = frozenset(range(200, 700)) - HELD_BACK
ROUTED_ANSWER = frozenset(range(200, 300))

# RFC 3261 21, RFC 5626 11.6 (430), and Kamailio's own for what it could not send on.
_AWAY = (408, 430, 476, 477, 478, 502, 503, 504)
_REFUSED = (401, 403, 404, 407, 420, 482, 483, 500)
BY_PROXY: Mapping[int, bool | None] = {
    **dict.fromkeys(_AWAY, False),
    **dict.fromkeys(_REFUSED, None),
}

CONFIRMATIONS = 8  # questions out of turn to who answered before, as for targets
_OWN_ROLE = ROLES.index(ASKED_FOR[0])


class Hear(Protocol):
    """Who asked, and is told how a question ended."""

    def __call__(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> None:
        """`at`: when it was answered, or asked in vain (UTC s); None: nobody knows."""


class _Kept(NamedTuple):
    """An answer, and the how manyeth of its row it was: a later one replaces it."""

    number: int
    told: Told


class Heard(Roll[str]):
    """The judge of asks, which are known by the names that who asked gave them."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._hearers: list[Hear] = []
        self._kept: dict[int, _Kept] = {}  # by row, the latest last

    def add(self, name: str, uri: str, settings: Settings, hear: Hear) -> int:
        """A new ask without rows; its number."""
        index = self.enroll(name, uri, settings)
        if index == len(self._hearers):
            self._hearers.append(hear)
        else:
            self._hearers[index] = hear
        return index

    def rtt(self, index: int) -> float | None:
        """s, of the last answer; None where the last question had none."""
        rows = self.rows
        for row in self.members(index):
            if not rows.failures[row] and rows.mean[row] >= 0:
                return rows.rtt[row]
        return None

    def told(self, index: int) -> Told | None:
        """How it last held back a call, in full; None where its last answer did not."""
        rows = self.rows
        for row in self.members(index):
            kept = self._kept.get(row)
            # What is plain is counted without a word to us.
            if kept and kept.number == rows.answered[row] and not rows.failures[row]:
                return kept.told
        return None

    def leaves(self, row: int) -> None:
        """A row is dropped; another ask may get its number."""
        self._kept.pop(row, None)

    # As a judge

    def answered(self, row: int, answer: Answer, source: Any, at: float) -> bool:
        """A final answer."""
        rows, index = self.rows, self.rows.target[row]
        rows.code[row] = answer.code
        rows.resent[row] = (rows.resent[row] << 1 | (rows.tries[row] > 1)) & MASK32
        ok = verdict(self.settings[index], answer.code)
        if ok is False:
            return self._failed(row, Cause.of_response(answer.code), at)
        rows.answered[row] += 1
        rows.outcomes[row] = rows.outcomes[row] << 1 & MASK32
        rows.failures[row] = 0
        if answer.code in HELD_BACK:
            self._keep(row, told_by(answer, place(source), at))
        if ok is None:
            rows.calm[row], rows.state[row] = 0, UNKNOWN
            self._tell(index, None, Cause.of_response(answer.code), None, at)
        elif not rows.calm[row]:
            self.well(row, at)
        return False

    def _keep(self, row: int, told: Told | None) -> None:
        self._kept.pop(row, None)
        if told is None:
            return
        if len(self._kept) >= EXPLAINED:
            del self._kept[next(iter(self._kept))]
        self._kept[row] = _Kept(self.rows.answered[row], told)

    def well(self, row: int, at: float) -> None:
        """An answer that tells that it lives, counted already."""
        self.rows.calm[row], self.rows.state[row] = CALM, UP
        self._tell(self.rows.target[row], True, None, self.rows.rtt[row], at)

    def failed(
        self, row: int, cause: Cause, detail: str, since: float, at: float
    ) -> bool:
        """No answer."""
        return self._failed(row, cause, since)

    def unsent(self, row: int, detail: str, at: float) -> bool:
        """It did not get there: that says nothing of who should have answered."""
        self.rows.calm[row] = 0
        self._tell(self.rows.target[row], None, Cause.ICMP_UNREACHABLE, None, at)
        return False

    def nowhere(self, index: int, ok: bool | None, cause: Cause, at: float) -> None:
        """A name leads nowhere."""
        self._tell(index, ok, cause, None, at)

    def _failed(self, row: int, cause: Cause, since: float) -> bool:
        rows, index = self.rows, self.rows.target[row]
        rows.outcomes[row] = (rows.outcomes[row] << 1 | 1) & MASK32
        rows.failed[row] += 1
        rows.failures[row] += 1
        rows.base[row] = rows.answered[row]
        rows.calm[row], rows.state[row] = 0, DOWN
        count, members = rows.failures[row], self.members(index)
        if all(rows.failures[other] >= count for other in members):
            self._tell(index, False, cause, None, since)
        # Who never answered may never do: one more look, then in its turn.
        return count <= (CONFIRMATIONS if rows.answered[row] else 1)

    def _tell(
        self,
        index: int,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> None:
        name = self.subjects[index]
        if name is not None:
            self._hearers[index](name, ok, cause, rtt, at)


def verdict(settings: Settings | None, code: int) -> bool | None:
    """Whether a final answer tells that who was asked lives; None: it does not tell."""
    if settings is None or code in settings.healthy_codes:
        return True
    if settings.role == "server":
        return code not in DOWN_CODES
    return BY_PROXY.get(code, True)


class Panel:
    """Judges each row by whose it is: a target's, or an ask's."""

    def __init__(self, rows: Rows, targets: Judges, heard: Judges) -> None:
        self._rows, self._targets, self._heard = rows, targets, heard

    def _of(self, row: int) -> Judges:
        lane = self._rows.lane[row]
        asked = lane is not None and lane.role >= _OWN_ROLE
        return self._heard if asked else self._targets

    def answered(self, row: int, answer: Answer, source: Any, at: float) -> bool:
        """A final answer came."""
        return self._of(row).answered(row, answer, source, at)

    def well(self, row: int, at: float) -> None:
        """A row that is not calm yet answered plainly."""
        self._of(row).well(row, at)

    def failed(
        self, row: int, cause: Cause, detail: str, since: float, at: float
    ) -> bool:
        """None will come."""
        return self._of(row).failed(row, cause, detail, since, at)

    def unsent(self, row: int, detail: str, at: float) -> bool:
        """It did not get there."""
        return self._of(row).unsent(row, detail, at)


def contacts_asked(settings: ProbeSettings, asker: str, *, routed: bool) -> AskSettings:
    """How contacts are asked, with the codes that need no second look."""
    healthy = ROUTED_ANSWER if routed else ANY_ANSWER
    kept = _kept(settings) | {"healthy_codes": healthy}
    return AskSettings(role="contact", routed=routed, asker=asker, **kept)


def servers_asked(settings: ProbeSettings, asker: str) -> AskSettings:
    """How servers are asked."""
    return AskSettings(role="server", asker=asker, **_kept(settings))


def _kept(settings: ProbeSettings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(ProbeSettings)}
