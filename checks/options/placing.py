"""Gives targets their rows: one for each address that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from checks.options.lanes import Lanes, Settings, socket_address
from checks.options.rings import Kind, host_of
from checks.options.rows import ABSENT
from checks.options.streams import Link, Streams
from checks.options.sweep import Sweep
from checks.options.targets import floor_of, full_uri
from checks.options.verdict import Targets


class Placing:
    """Rows of targets in the sweep, as addresses come and go."""

    def __init__(
        self,
        targets: Targets,
        sweep: Sweep,
        lanes: Lanes,
        streams: Streams,
        clock: Callable[[], float],
    ) -> None:
        self._targets, self._rows, self._sweep = targets, sweep.rows, sweep
        self._lanes, self._streams, self._clock = lanes, streams, clock

    def settings(self, index: int) -> Settings:
        """How a target is asked; LookupError where there is none of this number."""
        settings = self._targets.settings[index]
        if settings is None:
            raise LookupError(f"no target {index}")
        return settings

    def drop(self, rows: Iterable[int]) -> None:
        """Ask these rows no more."""
        gone = list(rows)
        if gone:
            self._sweep.leave(gone)
        for row in gone:
            self._targets.leaves(row)
            address = self._rows.address[row]
            if isinstance(address, Link):
                address.rows.discard(row)
            self._rows.drop(row)

    def at_ipv4(self, index: int, host: str, port: int, soon: bool) -> None:
        """A target that is written as an IPv4 address has this one row."""
        settings, written = self.settings(index), self._targets.uris[index]
        uri = written[4:] if written[3:4] == ":" else written
        lane = self._lanes.lane(settings, "udp", "sip", host, settings.min_interval)
        row = self._rows.add(index, uri, host, (host, port), lane)
        guarded = lane.floor > 0
        kind = Kind(settings.interval, settings.timeout, guarded=guarded)
        self._sweep.enter(row, kind, self._clock(), soon)
        self._targets.assign(index, (row,))

    def at_addresses(self, index: int, addresses: Iterable[Any]) -> bool:
        """A name leads to these: rows of addresses that stay go on; whether any did
        come or go."""
        wanted = {(a.ip, a.port, a.transport): a for a in addresses}
        old = {self._spot(row): row for row in self._targets.members(index)}
        if set(old) == set(wanted):
            return False
        rows = []
        for spot, address in wanted.items():
            row = old.pop(spot, None)
            rows.append(self._named_row(index, address) if row is None else row)
        self.drop(old.values())
        self._targets.assign(index, rows, self._clock())
        return True

    def nowhere(self, index: int) -> bool:
        """A name leads nowhere: it has one row, never asked; whether that is new."""
        rows = self._targets.members(index)
        if len(rows) == 1 and self._rows.address[rows[0]] is None:
            return False
        row = self._rows.add(index, "", "", None, None)
        self._rows.doing[row] = ABSENT
        self.drop(rows)
        self._targets.assign(index, (row,), self._clock())
        return True

    def _named_row(self, index: int, address: Any) -> int:
        from checks.sip.requests import options_request
        from checks.sip.uri import NameAddr, SipUri

        settings, written = self.settings(index), self._targets.uris[index]
        uri = SipUri.parse(full_uri(written))
        request = options_request(uri, from_uri="", user_agent="")
        text, to = request.uri, NameAddr.parse(request.get("to") or "").uri
        scheme, _, rest = text.partition(":")
        floor = floor_of(written, settings.min_interval)
        stream = address.transport != "udp"
        where: Any = socket_address(address.ip, address.port)
        if stream:
            where = self._streams.link(address, uri.host, settings)
        lane = self._lanes.lane(settings, address.transport, scheme, address.ip, floor)
        row = self._rows.add(index, rest, to.partition(":")[2], where, lane)
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
