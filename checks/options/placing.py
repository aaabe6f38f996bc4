"""Gives targets their rows: one for each address that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from checks.options.lanes import Lanes, socket_address
from checks.options.rings import Kind, host_of
from checks.options.roll import Roll
from checks.options.rows import ABSENT
from checks.options.streams import Link, Streams
from checks.options.sweep import Sweep
from checks.options.targets import Settings, floor_of, full_uri


class Written(NamedTuple):
    """What stands in a request; `uri` and `to` follow the scheme."""

    scheme: str
    uri: str
    to: str
    name: str  # that a certificate must have


class Placing:
    """Rows of targets in the sweep, as addresses come and go."""

    def __init__(
        self,
        roll: Roll[Any],
        sweep: Sweep,
        lanes: Lanes,
        streams: Streams,
        clock: Callable[[], float],
    ) -> None:
        self._roll, self._rows, self._sweep = roll, sweep.rows, sweep
        self._lanes, self._streams, self._clock = lanes, streams, clock

    def settings(self, index: int) -> Settings:
        """How a target is asked; LookupError where there is none of this number."""
        settings = self._roll.settings[index]
        if settings is None:
            raise LookupError(f"no target {index}")
        return settings

    def drop(self, rows: Iterable[int]) -> None:
        """Ask these rows no more."""
        gone = list(rows)
        if gone:
            self._sweep.leave(gone)
        for row in gone:
            self._roll.leaves(row)
            address = self._rows.address[row]
            if isinstance(address, Link):
                address.rows.discard(row)
            self._rows.drop(row)

    def at_ipv4(self, index: int, host: str, port: int, soon: bool) -> None:
        """A target that is written as an IPv4 address has this one row."""
        written = self._roll.uris[index]
        uri = written[4:] if written[3:4] == ":" else written
        self.at(index, (host, port), uri, host, soon)

    def at(
        self,
        index: int,
        where: tuple[Any, ...],
        uri: str,
        to: str,
        soon: bool,
        *,
        apart: bool = False,
    ) -> None:
        """Ask it over UDP at this one address; `uri` and `to` follow the scheme.

        `apart` from the rows that stay for long: each change has a ring sorted anew.
        """
        settings = self.settings(index)
        lane = self._lanes.lane(settings, "udp", "sip", where[0], settings.min_interval)
        row = self._rows.add(index, uri, to, where, lane)
        guarded = lane.floor > 0
        kind = Kind(settings.interval, settings.timeout, guarded=guarded, named=apart)
        self._sweep.enter(row, kind, self._clock(), soon)
        self._roll.assign(index, (row,))

    def at_addresses(
        self, index: int, addresses: Iterable[Any], written: Written | None = None
    ) -> bool:
        """A name leads to these: rows of addresses that stay go on; whether any did
        come or go. `written`: where it is not the name itself that is asked."""
        wanted = {(a.ip, a.port, a.transport): a for a in addresses}
        old = {self._spot(row): row for row in self._roll.members(index)}
        if set(old) == set(wanted):
            return False
        rows = []
        text = written or _written(self._roll.uris[index])
        for spot, address in wanted.items():
            row = old.pop(spot, None)
            rows.append(self._row(index, address, text) if row is None else row)
        self.drop(old.values())
        self._roll.assign(index, rows, self._clock())
        return True

    def nowhere(self, index: int) -> bool:
        """A name leads nowhere: it has one row, never asked; whether that is new."""
        rows = self._roll.members(index)
        if len(rows) == 1 and self._rows.address[rows[0]] is None:
            return False
        row = self._rows.add(index, "", "", None, None)
        self._rows.doing[row] = ABSENT
        self.drop(rows)
        self._roll.assign(index, (row,), self._clock())
        return True

    def _row(self, index: int, address: Any, written: Written) -> int:
        settings = self.settings(index)
        floor = floor_of(self._roll.uris[index], settings.min_interval)
        stream = address.transport != "udp"
        where: Any = socket_address(address.ip, address.port)
        if stream:
            where = self._streams.link(address, written.name, settings)
        lane = self._lanes.lane(
            settings, address.transport, written.scheme, address.ip, floor
        )
        row = self._rows.add(index, written.uri, written.to, where, lane)
        if stream:
            where.rows.add(row)
        kind = Kind(settings.interval, settings.timeout, stream, floor > 0, True)
        self._sweep.enter(row, kind, self._clock(), True)
        return row

    def _spot(self, row: int) -> tuple[str, int, str] | None:
        address, lane = self._rows.address[row], self._rows.lane[row]
        if address is None or lane is None:
            return None
        port = address[1] if isinstance(address, tuple) else address.address.port
        return host_of(address), port, lane.transport


def _written(text: str) -> Written:
    """A URI as it stands in a request to it."""
    from checks.sip.requests import options_request
    from checks.sip.uri import NameAddr, SipUri

    uri = SipUri.parse(full_uri(text))
    request = options_request(uri, from_uri="", user_agent="")
    scheme, _, rest = request.uri.partition(":")
    to = NameAddr.parse(request.get("to") or "").uri
    return Written(scheme, rest, to.partition(":")[2], uri.host)
