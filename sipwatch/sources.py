"""What metrics, status and mails read of the running daemon, and how it counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from alerting.alarms.core import Alarms
from alerting.incident import Delivery, Told
from alerting.outbox import Courier
from checks.accounts.account import Account
from checks.observation import Scope, State, Subject
from checks.options.check import OptionsCheck
from checks.registrations.judge import Judge
from sipwatch.clock import Clock
from sipwatch.config.settings import Config
from sipwatch.touched import Touched

if TYPE_CHECKING:
    from sipwatch.findings import Findings
    from sipwatch.follow import Following
    from sipwatch.itself.heartbeat import Heartbeat
    from sipwatch.itself.selfwatch import SelfWatch
    from sipwatch.keeping.by_hand import ByHand
    from sipwatch.keeping.gathering import Gathering
    from sipwatch.keeping.passing import Passing
    from sipwatch.links import Links
    from sipwatch.twilio.reports import Twilio
    from sipwatch.vantage import Outlook

Item = TypeVar("Item")


class Sources(Protocol):
    """The daemon, as those see it who only read."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def clock(self) -> Clock:
        """The one clock."""

    @property
    def started_at(self) -> float:
        """When the daemon started, UTC s."""

    @property
    def ready(self) -> bool:
        """Whether every source has been read, or tried, once."""

    @property
    def reload_ok(self) -> bool:
        """Whether the last configuration that was read is in force."""

    @property
    def options(self) -> OptionsCheck:
        """The targets."""

    @property
    def judges(self) -> Mapping[str, Judge]:
        """The registrars by name."""

    @property
    def followings(self) -> Mapping[str, Following]:
        """Who reads the registrars, by their names."""

    @property
    def peers(self) -> Mapping[str, list[Following]]:
        """By target: the registrars that its OPTIONS speaks for."""

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The accounts that are tested, by name."""

    @property
    def touched(self) -> Touched:
        """What the last reload touched."""

    @property
    def alarms(self) -> Alarms:
        """The core."""

    @property
    def couriers(self) -> Mapping[str, Courier]:
        """The notifiers by name."""

    @property
    def outlook(self) -> Outlook:
        """Our own network, be it watched or not."""

    @property
    def heartbeat(self) -> Heartbeat:
        """The dead-man's switch, be it configured or not."""

    @property
    def twilio(self) -> Twilio:
        """What Twilio reports, be it configured or not."""

    @property
    def gathering(self) -> Gathering:
        """The exchanges that are kept of incidents."""

    @property
    def by_hand(self) -> ByHand:
        """The exchanges with what somebody tested by hand."""

    @property
    def passing(self) -> Passing:
        """What the capture service says of the network, if it runs."""

    @property
    def links(self) -> Links:
        """What readers of notifications acknowledge by."""

    @property
    def findings(self) -> Findings:
        """Why something cannot be called."""

    @property
    def selfwatch(self) -> SelfWatch:
        """How sipwatch itself does."""


def readable(judge: Judge, alarms: Alarms) -> bool:
    """Whether what a registrar's extensions last were is what they are."""
    return judge.state is State.READABLE and alarms.blind(judge.subject) is None


class Sight:
    """Which scopes can be seen now; each is looked up once, not once a subject."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._known: dict[Scope, bool] = {}

    def of(self, subject: Subject) -> bool:
        """Whether no ancestor makes the state of a subject unknown."""
        found = self._known.get(subject.scope)
        if found is None:
            found = self._alarms.blind(subject) is None
            self._known[subject.scope] = found
        return found


def owed_since(row: Delivery, now: float) -> float:
    """Since when a notifier should know what it does not know yet."""
    if row.wanted is Told.RESOLVED:
        return row.incident.resolved_at or now
    if row.wanted is Told.WORSE:  # when it became worse is not kept
        return min(row.not_before, now)
    return row.incident.opened_at


def sliced(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
