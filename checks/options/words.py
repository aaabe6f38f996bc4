"""What the last question to a row came to, in words: one sentence for a human."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.observation import Cause
from checks.options.answers import Answer, phrase
from checks.options.rows import Rows

if TYPE_CHECKING:
    from checks.cause import Answer as Told

EXPLAINED = 10_000  # rows with words kept: nobody reads more of them

_UNAUTHORIZED = (401, 407)

# What no ACL, firewall or ban on the way there brings about: somebody did speak.
_ITS_OWN = (
    Cause.TLS_VERIFY,
    Cause.TLS_EXPIRED,
    Cause.TLS_HANDSHAKE,
    Cause.WEBSOCKET_HANDSHAKE,
    Cause.MALFORMED,
)


@dataclass(frozen=True, slots=True)
class Heard:
    """Words of the last answer or failure of a row that is not calm."""

    words: str  # "480 Temporarily Unavailable", or why there was no answer
    answered: bool
    agent: str = ""
    elsewhere: str = ""  # the address it came from, where it is not the one asked
    told: Told | None = None  # all that a cause is read from, of a row that is not up


class Words:
    """The words of rows that are not calm, and sentences made of them."""

    def __init__(
        self,
        rows: Rows,
        before: Collection[int] = (),
        lives: Callable[[int], bool] = lambda target: False,
    ) -> None:
        """`before`: targets that have answered, if not to one of their rows; `lives`
        tells of a target whether its host is seen to be alive some other way."""
        self._rows = rows
        self._before = before
        self._lives = lives
        self.kept: dict[int, Heard] = {}

    def hear(self, row: int, heard: Heard) -> None:
        """Keep these words, while there is room."""
        if row in self.kept or len(self.kept) < EXPLAINED:
            self.kept[row] = heard

    def forget(self, row: int) -> None:
        """They are of no interest any more."""
        self.kept.pop(row, None)

    def has(self, row: int) -> bool:
        """Whether words of a row are kept."""
        return row in self.kept

    def agent(self, row: int) -> str:
        """Server of the last answer, where that was read in full."""
        heard = self.kept.get(row)
        return heard.agent if heard else ""

    def told(self, row: int) -> Told | None:
        """The last answer of a row that is not up, as evidence."""
        heard = self.kept.get(row)
        return heard.told if heard else None

    def last_seen(self, row: int) -> str:
        """Where a row answered from, and who."""
        lane, agent = self._rows.lane[row], self.agent(row)
        over = lane.transport.upper() if lane else "UDP"
        end = f", {agent}" if agent else ""
        return f"{place(self._rows.address[row])} over {over}{end}"

    def detail(self, row: int) -> str:
        """Why a row is as it is, in one sentence."""
        heard = self.kept.get(row)
        if not self.answered(row):
            words = heard.words if heard and heard.words else ""
            words = words or f"{self.sends(row)}, no answer"
            return words + self._suspicion(row)
        if not self._rows.code[row]:
            return ""  # not asked yet
        where = place(self._rows.address[row])
        text = f"{self.said(row)} from {(heard and heard.elsewhere) or where}"
        if heard and heard.agent:
            text += f" (Server: {heard.agent})"
        if heard and heard.elsewhere:
            text += f", though {where} was asked"
        return text

    def answered(self, row: int) -> bool:
        """Whether the last question had a final answer; a failure may be one (503)."""
        heard = self.kept.get(row)
        return heard.answered if heard else self._rows.failures[row] == 0

    def said(self, row: int) -> str:
        """The last answer: code and reason, as received or as usual."""
        heard = self.kept.get(row)
        if heard and heard.answered:
            return heard.words
        return phrase(self._rows.code[row])

    def _suspicion(self, row: int) -> str:
        """What silence may mean, by what was heard before."""
        rows = self._rows
        code, cause = rows.code[row], rows.cause[row]
        if not code:
            if rows.address[row] is None or cause in _ITS_OWN:
                return ""
            if rows.target[row] in self._before:
                return ""
            return "; it has never answered: check ACL, firewall, ban"
        silent = code in _UNAUTHORIZED and cause in (None, Cause.TIMEOUT)
        if silent and self._lives(rows.target[row]):  # else it may as well be dead
            return (
                f"; it answered {code} before, and its registrations can be read:"
                " it is suspected of having banned us"
            )
        return ""

    def sends(self, row: int) -> str:
        """How often and where a row was asked."""
        rows, lane = self._rows, self._rows.lane[row]
        over = lane.transport.upper() if lane else "UDP"
        count = rows.tries[row]
        sends = "1 send" if count == 1 else f"{count} sends"
        return f"{sends} to {place(rows.address[row])} over {over}"


def place(address: Any) -> str:
    """ip:port of what rows hold as an address; empty for None."""
    if address is None:
        return ""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def not_after(address: Any) -> float | None:
    """When the certificate seen at an address ends, UTC s."""
    return getattr(address, "not_after", None)


def told_by(answer: Answer, source: str, at: float) -> Told | None:
    """What a cause is read from, of an answer that was read in full."""
    if answer.response is None:
        return None
    # Not at the top: a probe that gets plain answers only starts sooner without.
    from checks.cause.answer import answer_of

    return answer_of(answer.response, source=source, at=at)
