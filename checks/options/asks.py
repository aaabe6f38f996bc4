"""What judges of registrations want asked: rows of the same sweep, beside the targets.

Whoever asks has an `Inquiry` of its own, and changes it in bulk; what comes of it is
told to it alone. A question that goes to an address is a row at once. One that goes to
a name, its own or that of a proxy, waits until the name is resolved: once for all that
go there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.observation import Cause
from checks.options.heard import (
    Hear,
    Heard,
    contacts_asked,
    servers_asked,
)
from checks.options.lanes import Lanes, socket_address
from checks.options.names import Names
from checks.options.placing import Placing, Written
from checks.options.rings import rank
from checks.options.streams import Streams
from checks.options.sweep import FIRST_LOOK, Sweep
from checks.options.targets import AskSettings, ProbeSettings
from checks.registrations.readings import Ask

if TYPE_CHECKING:
    from checks.cause import Answer as Told

SERVER = "server/"  # what the names of asks to servers begin with

_PLACE = re.compile(r"\[?([0-9a-fA-F.:]+?)\]?:(\d{1,5})")


@dataclass(slots=True, eq=False)
class _Hop:
    """A name that questions go to."""

    number: int
    addresses: tuple[Any, ...] = ()
    asks: dict[int, Ask] = field(default_factory=dict)


class Asks:
    """All that is asked beside the targets."""

    def __init__(
        self,
        heard: Heard,
        sweep: Sweep,
        lanes: Lanes,
        streams: Streams,
        names: Names,
        clock: Callable[[], float],
        settle: Callable[[], None],
    ) -> None:
        """`settle` is called after rows have come or gone."""
        self._heard, self._names, self._settle = heard, names, settle
        self._lanes = lanes
        self._clock = clock
        self._placing = Placing(heard, sweep, lanes, streams, clock)
        self._hops: dict[tuple[str, AskSettings], _Hop] = {}
        self._by_number: dict[int, _Hop] = {}
        self._hop_of: dict[int, tuple[str, AskSettings]] = {}
        self._numbers = 0

    def inquiry(self, name: str, settings: ProbeSettings, hear: Hear) -> Inquiry:
        """Ask for somebody of this name, who is told what comes of it."""
        return Inquiry(self, name, settings, hear)

    def heard_at(self, *several: AskSettings) -> float:
        """When any of those that are asked so last answered, UTC s."""
        return max(self._lanes.heard_at(settings) for settings in several)

    def __len__(self) -> int:
        return len(self._heard)

    def rtt(self, index: int) -> float | None:
        """s, of the last answer."""
        return self._heard.rtt(index)

    def told(self, index: int) -> Told | None:
        """How it last held back a call."""
        return self._heard.told(index)

    def enter(
        self, asks: Iterable[tuple[Ask, AskSettings]], hear: Hear
    ) -> dict[str, int]:
        """Ask these from now on; their numbers by their names."""
        new = sorted(asks, key=lambda one: rank(one[0].uri))
        soon = len(new) <= FIRST_LOOK
        found = {}
        for ask, settings in new:
            index = self._heard.add(ask.name, ask.uri, settings, hear)
            found[ask.name] = index
            if ask.address:
                host, port = place_of(ask.address)
                where, text = socket_address(host, port), written(ask)
                self._placing.at(index, where, text.uri, text.to, soon, apart=True)
            else:
                self._wait_for_name(index, ask, settings)
        self._settle()
        return found

    def leave(self, indexes: Iterable[int]) -> None:
        """Ask these no more."""
        gone = list(indexes)
        self._placing.drop([row for i in gone for row in self._heard.members(i)])
        for index in gone:
            self._heard.assign(index, ())
            self._heard.remove(index)
            if key := self._hop_of.pop(index, None):
                self._leave_hop(key, index)
        self._settle()

    # Names

    def _wait_for_name(self, index: int, ask: Ask, settings: AskSettings) -> None:
        from checks.sip.uri import NameAddr, SipUri

        uri = NameAddr.parse(first_of(ask.route)).uri if ask.route else ask.uri
        key = (uri, settings)
        hop = self._hops.get(key)
        if hop is None:
            self._numbers -= 1  # below 0: the targets' are above
            hop = self._hops[key] = self._by_number[self._numbers] = _Hop(self._numbers)
            self._names.watch(hop.number, SipUri.parse(uri))
        hop.asks[index] = ask
        self._hop_of[index] = key
        self._place(hop, index)

    def _place(self, hop: _Hop, index: int) -> bool:
        ask = hop.asks[index]
        if not ask.route:
            return self._placing.at_addresses(index, hop.addresses)
        # A proxy is one place, whatever else its name leads to when it is away.
        return self._placing.at_addresses(index, hop.addresses[:1], written(ask))

    def _leave_hop(self, key: tuple[str, AskSettings], index: int) -> None:
        hop = self._hops[key]
        del hop.asks[index]
        if not hop.asks:
            self._names.forget(hop.number)
            del self._hops[key], self._by_number[hop.number]

    def placed(self, number: int, addresses: tuple[Any, ...]) -> None:
        """A name's addresses are known."""
        hop = self._by_number[number]
        hop.addresses = addresses
        moved = [self._place(hop, index) for index in hop.asks]
        if any(moved):
            self._settle()

    def nameless(self, number: int, cause: Cause, detail: str) -> float:
        """A name has none; that tells of a server, but not of who is behind a proxy."""
        hop, now = self._by_number[number], self._clock()
        hop.addresses = ()
        for index, ask in list(hop.asks.items()):
            self._placing.drop(self._heard.members(index))
            self._heard.assign(index, ())
            self._heard.nowhere(index, None if ask.route else False, cause, now)
        self._settle()
        (settings,) = {self._placing.settings(index) for index in hop.asks}
        return settings.interval


class Inquiry:
    """The questions of one who asks."""

    def __init__(
        self, asks: Asks, name: str, settings: ProbeSettings, hear: Hear
    ) -> None:
        self._asks, self._hear = asks, hear
        self._direct = contacts_asked(settings, name, routed=False)
        self._routed = contacts_asked(settings, name, routed=True)
        self._server = servers_asked(settings, name)
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def update(self, changes: Mapping[str, Ask | None]) -> None:
        """Ask these from now on, by their names; those that are None no more.

        One of a name that is asked already is asked anew.
        """
        gone = [self._numbers.pop(name) for name in changes if name in self._numbers]
        if gone:
            self._asks.leave(gone)
        new = [(ask, self._as(ask)) for ask in changes.values() if ask is not None]
        if new:
            self._numbers.update(self._asks.enter(new, self._hear))

    def rtt(self, name: str) -> float | None:
        """s, of the last answer; None where the last question had none."""
        index = self._numbers.get(name)
        return None if index is None else self._asks.rtt(index)

    def told(self, name: str) -> Told | None:
        """How it last held back a call (480, 486, 600, 603); None if it did not."""
        index = self._numbers.get(name)
        return None if index is None else self._asks.told(index)

    @property
    def heard_at(self) -> float:
        """When any of the contacts last answered, UTC s; 0: none has."""
        return self._asks.heard_at(self._direct, self._routed)

    def close(self) -> None:
        """Ask nothing more; nothing is told after it."""
        gone, self._numbers = list(self._numbers.values()), {}
        if gone:
            self._asks.leave(gone)

    def _as(self, ask: Ask) -> AskSettings:
        if ask.name.startswith(SERVER):
            return self._server
        return self._routed if ask.route else self._direct


def place_of(address: str) -> tuple[str, int]:
    """IP address and port of `ip:port` or `[ip]:port`; ValueError for anything else."""
    found = _PLACE.fullmatch(address)
    if found is None:
        raise ValueError(f"{address!r} is not an address with a port")
    return found[1], int(found[2])


def first_of(route: str) -> str:
    """The first of the values of a Route header field."""
    return route[: route.index(">") + 1]


def written(ask: Ask) -> Written:
    """What stands in the request of an ask with an address or a route.

    The template closes To with a `>`, so that a Route behind it is written without its
    own: no other row pays for what these alone have.
    """
    uri = ask.uri[4:].partition("?")[0]
    address, _, _ = uri.partition(";")
    user, at, place = address.rpartition("@")
    host = place[: place.index("]") + 1] if place[:1] == "[" else place.split(":")[0]
    to = f"{user}{at}{host}"
    if ask.route:
        to += f">\r\nRoute: {ask.route.removesuffix('>')}"
    return Written("sip", uri, to, host.strip("[]"))
