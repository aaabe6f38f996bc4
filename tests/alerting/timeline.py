"""A site on paper: observations at times, and what each notifier was told by then.

    site = Site()
    phone = site.extension("1001")
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]

Nothing sleeps: `until` walks the clock from deadline to deadline, as the daemon does,
and carries out every delivery at the moment it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from alerting.alarms.core import Alarms
from alerting.alarms.crowds import Census, nobody
from alerting.announcement import Announcement, Ask, Opened, Resolved, Suppressed
from alerting.incident import Batch, Outcome
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, RouteSettings
from alerting.rules.rule import RuleSettings, build
from alerting.store.rows import Restored, Write
from checks.observation import Figures, Kind, Observation, Scope, State, Subject

AT_ONCE = GroupSettings(wait=0.0, interval=0.0, repeat={})


@dataclass
class Mail:
    """What one notifier accepted."""

    at: float
    batch: Batch
    text: str

    @classmethod
    def of(cls, batch: Batch, at: float) -> Mail:
        """What it said then; the incidents go on."""
        names = " ".join(d.incident.subject.name for d in batch.deliveries)
        late = "late " if batch.late else ""
        rule = batch.deliveries[0].incident.rule
        return cls(at, batch, f"{late}{batch.change} {names} {rule}")


@dataclass
class Site:
    """One registrar, its extensions, targets, notifiers; and the clock."""

    rules: Mapping[str, RuleSettings] = field(default_factory=dict)
    routes: Sequence[RouteSettings] = ()
    group: GroupSettings = AT_ONCE
    notifiers: Sequence[str] = ("oncall",)
    now: float = 0.0
    restored: Restored | None = None
    answers: Callable[[str, float], Outcome] = lambda name, now: Outcome.ACCEPTED
    on_write: Callable[[list[Write]], None] = lambda writes: None
    mails: dict[str, list[Mail]] = field(default_factory=dict)
    announced: list[Announcement] = field(default_factory=list)
    complaints: dict[str, str] = field(default_factory=dict)  # of who accepts
    reads_every: float = 30.0  # the registrar, while it is readable
    ids: Callable[[], str] | None = None
    muting: Muting | None = None
    vantage: Subject | None = None
    census: Census = nobody

    def __post_init__(self) -> None:
        ids = count(1)
        self.alarms = Alarms(
            build(self.rules),
            self.routes,
            self.group,
            notifiers=self.notifiers,
            now=self.now,
            restored=self.restored,
            new_id=self.ids or (lambda: f"batch-{next(ids)}"),
            random=lambda: 1.0,
            muting=self.muting,
            vantage=self.vantage,
            census=self.census,
        )
        self.hq = Subject(Kind.REGISTRAR, "hq", Scope("hq", labels={"registrar": "hq"}))
        labels = {"registrar": "hq", "site": "lyon"}
        self.phones = Scope("hq", labels=labels, parent=self.hq)
        self.trunks = Scope("targets", role="trunk")
        self.readable_since: float | None = None
        self.reads_at: float | None = None
        self.answers_asks = True

    def extension(self, name: str, *, required: bool = False) -> Subject:
        return Subject(Kind.EXTENSION, name, self.phones, required=required)

    def target(self, name: str, role: str = "trunk") -> Subject:
        return Subject(Kind.TARGET, name, Scope(name, role=role))

    def readable(self, at: float) -> None:
        self.until(at)
        self.readable_since = at
        self._read(at)

    def unreadable(self, at: float, *, options_failed: bool = False) -> None:
        self.until(at)
        self.readable_since = self.reads_at = None
        figures = Figures(options_failed=options_failed)
        self._observe(Observation(self.hq, State.UNREADABLE, at, at, figures=figures))

    def at(
        self,
        at: float,
        subject: Subject,
        state: State,
        *,
        since: float | None = None,
        **more: object,
    ) -> None:
        """Let time pass until then, then observe this."""
        self.until(at)
        figures = more.pop("figures", Figures())
        began = at if since is None else since
        self._observe(
            Observation(subject, state, began, at, figures=figures, **more)  # type: ignore[arg-type]
        )

    def failing(self, at: float, target: Subject, since: float, failures: int) -> None:
        self.at(at, target, State.DOWN, since=since, figures=Figures(failures=failures))

    def up(self, at: float, target: Subject, since: float, successes: int) -> None:
        self.at(at, target, State.UP, since=since, figures=Figures(successes=successes))

    def until(self, end: float) -> None:
        """Let time pass: reads, deadlines and deliveries as they fall due."""
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            if self.reads_at == at:
                self._read(at)
            self.alarms.advance(self.now)
            self._settle()
        self.now = max(self.now, end)
        self.alarms.advance(self.now)
        self._settle()

    def _next(self) -> float | None:
        times = [self.alarms.next_deadline(), self.reads_at]
        times += [self.alarms.next_due(name) for name in self.notifiers]
        return min((t for t in times if t is not None), default=None)

    def _read(self, at: float) -> None:
        self.reads_at = at + self.reads_every
        self._observe(
            Observation(self.hq, State.READABLE, self.readable_since or at, at)
        )

    def _observe(self, o: Observation) -> None:
        self.now = max(self.now, o.at)
        self.alarms.observe(o)
        self.alarms.advance(self.now)
        self._settle()

    def flush(self) -> None:
        writes, announced = self.alarms.take()
        if writes:
            self.on_write(writes)
        self.announced += announced
        for a in announced:
            asked = isinstance(a, Ask) and a.subject is self.hq
            if asked and self.readable_since is not None and self.answers_asks:
                self._read(self.now + 0.001)

    def _settle(self) -> None:
        self.flush()
        for name in self.notifiers:
            while batch := self.alarms.due(name, self.now):
                self.flush()
                self.send(name, batch)
                self.flush()

    def send(self, name: str, batch: Batch) -> None:
        outcome, error = self.answers(name, self.now), "refused"
        if outcome is Outcome.ACCEPTED:
            error = self.complaints.get(name, "")
            self.mails.setdefault(name, []).append(Mail.of(batch, self.now))
        self.alarms.settle(batch, outcome, self.now, error=error)

    def told(self, notifier: str = "oncall") -> list[str]:
        return [mail.text for mail in self.mails.get(notifier, ())]

    def times(self, notifier: str = "oncall") -> list[float]:
        return [mail.at for mail in self.mails.get(notifier, ())]

    def of(self, kind: type[Announcement]) -> list[Announcement]:  # type: ignore[valid-type]
        return [a for a in self.announced if isinstance(a, kind)]

    @property
    def opened(self) -> list[str]:
        return [
            f"{a.incident.subject.name} {a.incident.rule}"
            for a in self.announced
            if isinstance(a, Opened)
        ]

    @property
    def resolved(self) -> list[str]:
        return [
            a.incident.subject.name for a in self.announced if isinstance(a, Resolved)
        ]

    @property
    def suppressed(self) -> list[str]:
        return [
            f"{a.subject.name}: {a.reason}"
            for a in self.announced
            if isinstance(a, Suppressed)
        ]
