"""A daemon on paper: real parts with a settable clock, and nothing that runs.

site = Watching()
hq = site.registrar("hq", {"1001": True, "1002": False})
site.target("twilio", "203.0.113.9", role="trunk")
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.routes import GroupSettings
from alerting.rules.rule import build
from checks.accounts.account import Account
from checks.observation import Binding, Cause, Kind, Observation, Scope, State, Subject
from checks.options.answers import Answer
from checks.options.check import OptionsCheck
from checks.options.inbox import BUCKETS
from checks.options.targets import Target, TargetFileSettings, TargetSettings
from checks.registrations.judge import Judge, Listed
from checks.registrations.readings import (
    Bindings,
    Expected,
    ListEnd,
    Outbound,
    Outbounds,
    RegistrarSettings,
)
from sipwatch.clock import Clock
from sipwatch.config.settings import Config, MetricsSettings, WebSettings
from sipwatch.findings import Findings
from sipwatch.metrics.counts import Counts
from sipwatch.peers import peers
from sipwatch.touched import Touched

START = 1_790_000_000.0  # UTC s


class NoNames:
    """A resolver that is never asked: targets here are addresses."""

    async def resolve(self, uri: Any) -> Any:
        raise AssertionError(f"{uri} was looked up")


@dataclass(frozen=True)
class Secured:
    """What a row has as its address over TLS, seen from outside."""

    address: str
    not_after: float

    def __str__(self) -> str:
        return self.address


NO_PACKETS = {
    "file": None,
    "source": None,
    "messages": 0,
    "size": 0,
    "sha256": None,
    "why": "none is kept, or no longer",
}


async def unasked(aor: str) -> None:
    """A PBX that tells nothing of calls."""


@dataclass
class Watching:
    """What `Sources` asks for; needs a running loop."""

    now: float = START
    wall_skew: float = 0.0
    ready: bool = True
    reload_ok: bool = True
    started_at: float = START
    judges: dict[str, Judge] = field(default_factory=dict)
    couriers: dict[str, Any] = field(default_factory=dict)
    followings: dict[str, Any] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    touched: Touched = field(default_factory=Touched)

    def __post_init__(self) -> None:
        self.config = Config(registrars={}, targets={}, instance="sipwatch.example.com")
        self.clock = Clock(lambda: self.now, lambda: self.now + self.wall_skew)
        self.clock.offset = 0.0
        self.clock.measure()
        self.alarms = Alarms(
            build({}), (), GroupSettings(), notifiers=["oncall"], now=self.now
        )
        self.bus = EventEmitter()
        self.counts = Counts(self.bus, lambda incident: None)
        self.selfwatch: Any = SimpleNamespace(
            lag=0.002, looked_at=self.now, store_fails=False
        )
        self.heartbeat: Any = SimpleNamespace(settings=None)
        self.twilio: Any = SimpleNamespace(
            status=lambda: None,
            alerts=Counter(),
            codes=lambda user: (),
            latest=lambda most: [],
        )
        self.gathering: Any = SimpleNamespace(
            line=lambda incident: "",
            mentioned=lambda incident, opened: NO_PACKETS,
            kept={},
            missed=0,
            error="",
        )
        self.by_hand: Any = SimpleNamespace(of=lambda subject: None)
        self.passing: Any = SimpleNamespace(up=False, packets=0)
        self.outlook: Any = SimpleNamespace(shown=lambda: None)
        self.options = OptionsCheck(
            (), self.observe, clock=self.clock.now, resolver=NoNames()
        )
        self.options.start()
        self._targets: list[Target] = []
        self.findings = Findings(self)  # type: ignore[arg-type]

    def show(self, *detail: str) -> None:
        """Export every series of these roles."""
        web = WebSettings(metrics=MetricsSettings(detail=detail))
        self.config = replace(self.config, web=web)

    def observe(self, *several: Observation) -> None:
        """As the daemon does it, without a store."""
        for o in several:
            self.alarms.observe(o)
        self.announce()

    def announce(self) -> None:
        """Let the bus tell what the core has decided."""
        for one in self.alarms.take()[1]:
            self.bus.emit(type(one).__name__.lower(), one)

    def until(self, at: float) -> None:
        """Let time pass."""
        self.now = at
        self.alarms.advance(at)  # in slices
        while (due := self.alarms.next_deadline()) is not None and due <= at:
            self.alarms.advance(at)
        self.announce()

    # Registrars.

    def registrar(
        self,
        name: str,
        extensions: Mapping[str, bool] = {},
        *,
        rtt: float | None = None,
        listed: Iterable[Listed] = (),
        **settings: Any,
    ) -> Judge:
        """A registrar that was read: the extensions, and whether each is registered."""
        settings = {"type": "asterisk", "address": f"{name}:5038", **settings}
        scope = Scope(name, labels={"registrar": name})
        subject = Subject(Kind.REGISTRAR, name, scope)
        members = settings.get("members") or [settings["address"]]
        judge = Judge(
            name,
            RegistrarSettings(**settings),
            subject,
            self.now,
            members=members,
            listed=listed,
        )
        self.judges[name] = judge
        self.config.registrars[name] = judge.settings  # type: ignore[index]
        self.followings[name] = SimpleNamespace(
            judge=judge,
            settings=judge.settings,
            tried_at=self.now,
            in_call=lambda aor: None,
            look_for_call=unasked,
        )
        self.read(judge, extensions, rtt=rtt)
        return judge

    @property
    def peers(self) -> dict[str, Any]:
        """As the daemon finds them."""
        return peers(self.config, self.followings)

    def read(
        self, judge: Judge, there: Mapping[str, bool], *, rtt: float | None = None
    ) -> None:
        """One full list: every AOR is expected, those that are True are bound."""
        member, now = next(iter(judge.members)), self.now
        end = now + 60
        rows = [
            Binding(
                aor, f"sip:{aor}@192.0.2.7", end, 60, None if rtt is None else True,
                "Phone 1", "192.0.2.7:5060", rtt,
            )
            for aor, bound in there.items()
            if bound
        ]  # fmt: skip
        for reading in (
            Expected([(aor, f"Title {aor}") for aor in there]),
            Bindings(rows),
            ListEnd(now, now, now - 9000),
        ):
            self.observe(*judge.apply(member, reading, now))
        while (due := judge.next_deadline()) is not None and due <= now:
            self.observe(*judge.advance(now))  # long lists are judged in parts

    def registers(self, judge: Judge, said: Mapping[str, State | None]) -> None:
        """A full list with what the PBX says of its own registrations."""
        why = {State.REJECTED: Cause.FORBIDDEN}
        rows = [
            Outbound(
                name, state, self.now, "sip:203.0.113.9", f"sip:{name}@203.0.113.9",
                why.get(state), "" if state is State.OK else "403 Forbidden",
            )
            for name, state in said.items()
        ]  # fmt: skip
        member = next(iter(judge.members))
        self.observe(*judge.apply(member, Outbounds(rows), self.now))

    # Targets.

    def target(self, name: str, uri: str, role: str = "trunk", **more: Any) -> int:
        """One configured target; its number."""
        settings = TargetSettings(uri=uri, role=role, **more)  # type: ignore[arg-type]
        subject = Subject(Kind.TARGET, name, Scope(name, role))
        return self._add([Target(subject, uri, settings)])[0]

    def targets(self, file: str, lines: list[str], role: str = "phone") -> list[int]:
        """A file of targets; their numbers."""
        settings = TargetFileSettings(file=file, role=role)  # type: ignore[arg-type]
        scope = Scope(file, role)
        return self._add(
            [Target(Subject(Kind.TARGET, t, scope), t, settings) for t in lines]
        )

    def _add(self, targets: list[Target]) -> list[int]:
        self._targets += targets
        self.options.replace(self._targets)
        subjects = self.options.judge.subjects
        wanted = {target.subject for target in targets}
        return [i for i, subject in enumerate(subjects) if subject in wanted]

    def answer(self, index: int, rtt: float = 0.0004, code: int = 200) -> None:
        """Every address of a target answers a question, at the first send."""
        rows, inbox = self.options.rows, self.options.sweep.inbox
        for row in self.options.judge.members(index):
            rows.tries[row] = 1
            rows.rtt[row] = rows.mean[row] = rtt
            lane = rows.lane[row]
            role = lane.role if lane else 0
            inbox.histograms[role][bisect_left(BUCKETS, rtt)] += 1
            inbox.sums[role] += rtt
            answer = Answer(row, 0, code, {200: "OK"}.get(code, "Something else"))
            self.options.judge.answered(row, answer, rows.address[row], self.now)

    def silence(self, index: int, times: int = 1, resent: int = 3) -> None:
        """No address of a target answers, so many times in a row."""
        rows = self.options.rows
        for row in self.options.judge.members(index) * times:
            rows.tries[row] = 1 + resent
            rows.retransmits[row] += resent
            self.options.judge.failed(row, Cause.TIMEOUT, "", self.now, self.now)

    def over_tls(self, index: int, address: str, not_after: float) -> None:
        """A target's address becomes a TLS connection with a certificate."""
        rows = self.options.rows
        for row in self.options.judge.members(index):
            lane = rows.lane[row]
            assert lane is not None
            rows.lane[row] = replace(lane, transport="tls")
            rows.address[row] = Secured(address, not_after)

    def close(self) -> None:
        """Let go of the sockets."""
        self.options.close()


async def rendered(renders: Any, *, gzip: bool = False) -> bytes:
    """One rendering to its end."""
    slices = renders.render(gzip=gzip)
    assert slices is not None
    return b"".join([piece async for piece in slices])
