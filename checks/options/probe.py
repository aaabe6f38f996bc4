"""One question to each of many targets, at once: the sweep without a daemon.

Lists of plain IPv4 addresses are asked from a loop of our own over one UDP socket; it
needs neither asyncio nor a resolver, whose import would cost more than the questions.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.observation import Cause, State
from checks.options.answers import Answer, judged, phrase
from checks.options.datagrams import DatagramSocket, icmp
from checks.options.lanes import Lanes, Send
from checks.options.rings import Kind
from checks.options.rows import DOWN, STATES, UP, Rows
from checks.options.sweep import TICK, Sweep
from checks.options.targets import TargetFileSettings, check_uri, ipv4

if TYPE_CHECKING:
    from checks.options.names import Resolves
    from checks.options.views import AddressView, TargetView
    from checks.options.wiretap import Wiretap
    from checks.sip.trace import Exchanged

RATE = 2000.0  # questions a second at most: what a small PBX's socket buffer takes
NEVER = 1e9  # s; there is no second question


@dataclass(slots=True)
class ProbeResult:
    """What one target answered."""

    uri: str  # as it was given
    state: State
    cause: Cause | None
    code: int | None  # of the final answer
    reason: str  # and its words, as received or as usual
    address: str  # ip:port that was asked; empty where the name has none
    transport: str  # udp, tcp, tls, ws, wss; empty likewise
    rtt: float | None  # s
    sends: int
    detail: str  # why, in one sentence
    agent: str = ""  # Server, where the answer was read in full
    not_after: float | None = None  # UTC s, end of the certificate
    addresses: tuple[AddressView, ...] = ()  # of a name, each with its own state
    exchange: tuple[Exchanged, ...] = ()  # what went over the wire, where asked for


Report = Callable[[ProbeResult], None]


def probe(
    uris: Iterable[str],
    *,
    agent: str = "sipwatch",
    report: Report | None = None,
    resolver: Resolves | None = None,
    exchange: bool = False,
    **options: Any,
) -> list[ProbeResult]:
    """Ask each URI or host:port once; blocks until all have answered or timed out.

    `options` are keys of a target: timeout, healthy_codes, from_, user_agent, source,
    verdict, strict_source, tls. Results stand in the order of the URIs; `report` gets
    each when it is there. ValueError for a wrong URI or option, OSError for a source
    address that is not ours.
    """
    asked = list(uris)
    settings = _settings(options)
    if all(ipv4(uri) for uri in asked):
        return _Plain(asked, settings, agent, report, exchange).run()
    import asyncio

    return asyncio.run(
        probe_once(
            asked,
            agent=agent,
            report=report,
            resolver=resolver,
            exchange=exchange,
            **options,
        )
    )


async def probe_once(
    uris: Iterable[str],
    *,
    agent: str = "sipwatch",
    report: Report | None = None,
    resolver: Resolves | None = None,
    exchange: bool = False,
    **options: Any,
) -> list[ProbeResult]:
    """As `probe`, on the running loop."""
    asked = list(uris)
    for uri in asked:
        check_uri(uri)
    from checks.options.asking import Asking

    asking = Asking(asked, _settings(options), agent, resolver, exchange)
    return await asking.run(report)


def result_of(
    uri: str, view: TargetView, exchange: tuple[Exchanged, ...]
) -> ProbeResult:
    """The result for a target that the whole check has asked."""
    wanted = view.state or State.DOWN
    shown = [a for a in view.addresses if a.state is wanted] or list(view.addresses)
    first = shown[0] if shown else None
    return ProbeResult(
        uri=uri,
        state=wanted,
        cause=view.cause,
        code=first.code if first and first.answered else None,
        reason=first.reason if first and first.answered else "",
        address=first.address if first else "",
        transport=first.transport if first else "",
        rtt=first.rtt if first else None,
        sends=first.sends if first else 0,
        detail=view.detail,
        agent=first.agent if first else "",
        not_after=view.not_after,
        addresses=view.addresses,
        exchange=exchange,
    )


def _settings(options: dict[str, Any]) -> TargetFileSettings:
    return TargetFileSettings(file="", interval=NEVER, confirm=NEVER, **options)


class _Plain:
    """IPv4 addresses over UDP; also the judge of their rows."""

    def __init__(
        self,
        uris: Sequence[str],
        settings: TargetFileSettings,
        agent: str,
        report: Report | None,
        exchange: bool,
    ) -> None:
        self._uris = uris
        self._settings = settings
        self._report = report
        self._results: list[ProbeResult | None] = [None] * len(uris)
        self._left = len(uris)
        self._rows = Rows()
        self._sweep = Sweep(self._rows, self, time.time)
        self._tap = self._tapped() if exchange else None
        self._socket = DatagramSocket(
            socket.AF_INET,
            settings.source,
            clock=time.time,
            receive=self._tap.taking if self._tap else self._sweep.inbox.take,
            unreachable=self._unreachable,
        )
        self._lanes = Lanes(self._socket_of, self._no_stream, agent)

    def run(self) -> list[ProbeResult]:
        """Ask, and wait for all."""
        try:
            self._enter(time.time())
            self._sweep.rate = RATE
            ready = select.poll()
            ready.register(self._socket.fileno(), select.POLLIN)
            while self._left:
                self._step(ready)
        finally:
            self._socket.close()
        return [result for result in self._results if result is not None]

    def _enter(self, now: float) -> None:
        kind = Kind(NEVER, self._settings.timeout)
        for index, uri in enumerate(self._uris):
            address = ipv4(uri)
            if address is None:
                raise ValueError(f"{uri!r} is not an IPv4 address")
            lane = self._lanes.lane(self._settings, "udp", "sip", address[0], 0.0)
            written = uri[4:] if uri[3:4] == ":" else uri
            row = self._rows.add(index, written, address[0], address, lane)
            self._sweep.enter(row, kind, now, soon=True)

    def _step(self, ready: select.poll) -> None:
        while not self._socket.drain():
            pass
        now = time.time()
        due = self._sweep.tick(now)
        if not self._left:
            return
        pause = TICK if due is None else max(TICK, min(due - now, 1.0))
        if pause > TICK:
            ready.poll(pause * 1000)
        else:
            time.sleep(pause)  # in slices: many answers at a time are cheaper to read

    # As a judge

    def answered(self, row: int, answer: Answer, source: Any, at: float) -> bool:
        """A final answer."""
        state, cause = judged(answer.code, self._settings.healthy_codes)
        words = f"{answer.code} {answer.reason}".rstrip()
        elsewhere = "" if source == self._rows.address[row] else _place(source)
        self._end(row, state, cause, words, answer.agent, elsewhere)
        return False

    def well(self, row: int, at: float) -> None:
        """A plain answer."""
        self._end(row, UP, None, phrase(self._rows.code[row]), "", "")

    def failed(
        self, row: int, cause: Cause, detail: str, since: float, at: float
    ) -> bool:
        """No answer."""
        self._end(row, DOWN, cause, "", "", "", detail)
        return False

    def unsent(self, row: int, detail: str, at: float) -> bool:
        """It did not get there."""
        return self.failed(row, Cause.ICMP_UNREACHABLE, detail, at, at)

    def _end(
        self,
        row: int,
        state: int,
        cause: Cause | None,
        words: str,
        agent: str,
        elsewhere: str,
        detail: str = "",
    ) -> None:
        rows = self._rows
        where, sends = _place(rows.address[row]), rows.tries[row]
        code = int(words[:3]) if words else None
        if words:
            detail = f"{words} from {elsewhere or where}"
            detail += f" (Server: {agent})" if agent else ""
            detail += f", though {where} was asked" if elsewhere else ""
        elif not detail:
            times = "1 send" if sends == 1 else f"{sends} sends"
            detail = f"{times} to {where} over UDP, no answer"
        self._keep(
            ProbeResult(
                self._uris[rows.target[row]],
                STATES[state] or State.DOWN,
                cause,
                code,
                words[4:],
                where,
                "udp",
                rows.rtt[row] if words else None,
                sends,
                detail,
                agent,
            ),
            rows.target[row],
        )

    def _keep(self, result: ProbeResult, index: int) -> None:
        if self._results[index] is not None:
            return
        if self._tap is not None:
            result.exchange = self._tap.of(index)
        self._results[index] = result
        self._left -= 1
        if self._report is not None:
            self._report(result)

    # The socket

    def _tapped(self) -> Wiretap:
        from checks.options.wiretap import Wiretap

        return Wiretap(self._rows, self._sweep.inbox.take, time.time)

    def _socket_of(self, family: Any, source: str) -> Any:
        send: Send = self._socket.send
        if self._tap is not None:
            send = self._tap.sending(send)
        return send, self._socket.read_errors, self._socket.port

    def _no_stream(self, data: bytes, address: Any) -> None:
        raise OSError(f"{address} is no UDP address")

    def _unreachable(self, data: bytes, destination: Any, number: int) -> None:
        row = self._sweep.inbox.asking(data)
        rows = [row] if row is not None else self._asked_at(destination)
        for found in rows:
            text = icmp(number)
            self._sweep.fail(found, Cause.ICMP_UNREACHABLE, text, time.time())

    def _asked_at(self, destination: Any) -> list[int]:
        rows = self._rows
        return [r for r in rows if rows.nonce[r] and rows.address[r] == destination]


def _place(address: Any) -> str:
    return f"{address[0]}:{address[1]}"
