"""What is known when somebody asks why, and what a classification answers.

Every field of `Evidence` is optional: what is not known, no row of the table asks for.
Texts of the network are `plain` by whoever fills them in. Times are UTC seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from checks.observation import Cause, Fact, Kind, Loss, State


class Sender(StrEnum):
    """Who sent an answer, which need not be whom it came through."""

    DEVICE = "device"
    PBX = "pbx"
    PROVIDER = "provider"


class Confidence(StrEnum):
    """How much a finding is worth."""

    CERTAIN = "certain"  # somebody who must know has said so
    LIKELY = "likely"  # all that was seen agrees, and nothing else explains it
    POSSIBLE = "possible"  # the first thing to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A final response, as far as a cause is read from it (see `answer.answer_of`)."""

    status: int
    reason: str = ""  # its reason phrase
    method: str = ""  # of the request: INVITE, OPTIONS, REGISTER
    sender: Sender | None = None
    agent: str = ""  # Server or User-Agent
    source: str = ""  # ip:port that it came from
    at: float | None = None
    q850: int | None = None  # cause of a Reason: Q.850
    sip: int | None = None  # cause of a Reason: SIP
    text: str = ""  # of the Reason
    warning: str = ""  # text of a Warning
    retry_after: int | None = None  # s
    contact: str = ""  # URI
    forwarded: str = ""  # to whom the call went on before: 181, Diversion, History-Info

    @property
    def said(self) -> str:
        """486 Busy Here."""
        return f"{self.status} {self.reason}".rstrip()

    @property
    def words(self) -> str:
        """Everything in it that a human wrote."""
        return " ".join((self.reason, self.text, self.warning)).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one subject that cannot be called."""

    who: str = ""  # how a human calls it; "": it is named beside the finding
    kind: Kind | None = None
    place: str = ""  # its registrar, or the host that was asked
    answer: Answer | None = None  # the one to explain
    unanswered: Cause | None = None  # why there was none, to the same question
    passed_on: bool = False  # a server took it (100), and nobody behind it answered

    registration: State | None = None  # registered, unreachable, unregistered, ...
    since: float | None = None  # of that state
    blind: str = ""  # why the registrar cannot be read now, or the way there is cut
    loss: Loss | None = None  # how the last binding ended
    granted: int | None = None  # s, last
    left: float | None = None  # s until the binding ends
    address: str = ""  # ip:port of the phone
    device: str = ""  # what the phone calls itself
    history: tuple[Fact, ...] = ()  # refreshes, the end, what showed it
    reachable: bool | None = None  # it answers the qualify of the PBX, or ours
    asker: str = ""  # whose OPTIONS that were: "our", "the PBX's"
    port_closed: bool = False  # the host answers, and nothing listens there
    refreshing: bool | None = None  # it refreshed since it does not answer any more
    behind_nat: bool = False  # its Contact is not where the PBX saw it
    in_call: bool | None = None
    paused: Cause | None = None  # the PBX's word: do_not_disturb, maintenance

    closed: str = ""  # the schedule that says so: "office"
    opens_at: float | None = None
    maintenance: str = ""  # the window of ours that is open
    outages: float | None = None  # share of 503 or silence of the registrar's answers
    slow: float | None = None  # s that it takes, where it is out of the ordinary
    registrar_down: bool = False  # it does not answer OPTIONS
    restarted_at: float | None = None  # the registrar did
    site: str = ""
    site_lost: int = 0  # of the site's extensions, this one included
    site_of: int = 0
    recent: tuple[Fact, ...] = ()  # answers like this before: calls, probes, a provider
    provider_codes: tuple[int, ...] = ()  # errors that the provider reports: 32009

    @property
    def status(self) -> int:
        """Of the answer; 0 without one."""
        return self.answer.status if self.answer else 0

    @property
    def sender(self) -> Sender | None:
        """Of the answer."""
        return self.answer.sender if self.answer else None


class Finding(NamedTuple):
    """Why, how sure that is, what shows it, and what to do."""

    cause: Cause | None  # None: nothing is wrong
    confidence: Confidence
    sentence: str  # without its full stop; lower case where it begins with no name
    evidence: tuple[Fact, ...] = ()
    steps: tuple[str, ...] = ()
