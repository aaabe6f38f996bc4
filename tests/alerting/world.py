"""A whole site on paper, with the truth about it beside what is seen of it.

Two registrars in two branches, phones, trunks that depend on each other, our own
network: each is polled as the daemon would, and seen only through what lies above. The
power may be cut at every commit and at every delivery.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from alerting.announcement import Ask, Opened
from alerting.incident import Batch, Outcome
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, RouteSettings, repeats
from alerting.rules.rule import RuleSettings, build
from alerting.store.rows import SubjectRow, shifted
from checks.observation import Figures, Kind, Loss, Observation, Scope, State, Subject

from .calm import Memory, moment, route, schedule, window
from .timeline import Mail, Site

REGISTERED, UNREACHABLE = State.REGISTERED, State.UNREACHABLE
UNREGISTERED = State.UNREGISTERED
PHONES = {  # whose registrar and branch are known
    **{f"10{n}": ("hq", "paris") for n in range(1, 4)},
    **{f"30{n}": ("hq", "lyon") for n in range(1, 7)},
    **{f"40{n}": ("pbx", "lyon") for n in range(1, 3)},
}
REGISTRARS = {"hq": "paris", "pbx": "lyon"}
TARGETS = {"gateway": (), "trunk": ("gateway",)}
NOTIFIERS = ("team", "pager", "boss")
READS, LOOKS, PROBES = 60.0, 30.0, 20.0  # s between two
GROUP = GroupSettings(
    wait=10.0,
    interval=120.0,
    repeat=repeats({"warning": "50m", "critical": "30m"}),
    stand_in=repeats({"critical": "5m"}),
)
RULES: dict[str, dict[str, RuleSettings]] = {
    "as built": {},
    "no mass": {"MassUnregistration": RuleSettings(enabled=False)},
    "office": {"ExtensionUnregistered": RuleSettings(during="office")},
    "no flapping": {"Flapping": RuleSettings(enabled=False)},
}
ROUTES: dict[str, tuple[RouteSettings, ...]] = {
    "none": (),
    "two": (
        route("pager", match={"severity": "critical"}, escalate=[(600.0, "boss")]),
        route("team", match={"severity": "warning"}, per_hour=6),
    ),
    "both": (
        route(
            "pager", "team", match={"severity": "critical"}, escalate=[(900.0, "boss")]
        ),
        route("team", match={"severity": "warning"}),
    ),
    "split": (
        route("pager", match={"severity": "critical"}, escalate=[(600.0, "boss")]),
        route("team", match={"severity": "warning", "site": "lyon"}, during="office"),
        route("boss", match={"severity": "warning", "site": "paris"}, repeats=1),
        route("team", match={"severity": "warning", "kind": "self"}),
    ),
    "one": (
        route("team", escalate=[(600.0, "pager"), (1800.0, "boss", "team")], repeats=2),
        route("boss", match={"rule": "MassUnregistration"}, during="office"),
    ),
}
WINDOW = {"hours": {"mon": "20:00-22:00"}, "match": {"site": "lyon"}}


class PowerCutError(Exception):
    """The power is cut."""


@dataclass
class Truth:
    """How things are, whoever sees them."""

    phones: dict[str, tuple[State, float]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # branches of phones
    unreadable: set[str] = field(default_factory=set)  # registrars
    down: set[str] = field(default_factory=set)  # targets
    cut_at: float | None = None  # our network
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rules: str = "as built"
    routes: str = "none"
    notifiers: tuple[str, ...] = NOTIFIERS


@dataclass
class World(Site):
    """What the daemon makes of the truth."""

    truth: Truth = field(default_factory=Truth)
    disk: Memory = field(default_factory=Memory)
    crash_in: int | None = None  # points
    slices: int | None = None  # subjects of one transaction
    ahead: float = 0.0
    registrar_first: bool = True
    sent: int = 0
    pace: float = 1.0  # times as long between two looks

    def __post_init__(self) -> None:
        self.vantage = Subject(Kind.VANTAGE, "network", Scope("network"))
        schedules = {"office": schedule({"mon-fri": "08:30-18:00"})}
        self.muting = Muting(
            schedules, [window("patches", **WINDOW)], ahead=lambda: self.ahead
        )
        self.rules, self.routes = RULES[self.truth.rules], ROUTES[self.truth.routes]
        self.notifiers, self.group = self.truth.notifiers, GROUP
        self.restored = self.disk.load()
        self.answers = lambda name, at: self.truth.outcomes.get(name, Outcome.ACCEPTED)
        super().__post_init__()
        self.polls: dict[str, float] = {}
        self.since: dict[str, tuple[State, float, int]] = {}  # as the checks count
        self.known: dict[str, State | None] = {}  # what the judges have told
        self._make()
        self._adopt()
        start = self.now
        self.polls["network"] = start + 1
        for n, name in enumerate((*REGISTRARS, *TARGETS)):
            self.polls[name] = start + 2 + n
        self._settle()

    def _make(self) -> None:
        self.sites = {
            name: Subject(
                Kind.SITE, name, Scope(name, labels={"site": name}, parent=self.vantage)
            )
            for name in ("paris", "lyon")
        }
        self.registrars = {
            name: Subject(
                Kind.REGISTRAR,
                name,
                Scope(name, labels={"registrar": name, "site": place},
                      parent=self.sites[place]),
            )
            for name, place in REGISTRARS.items()
        }  # fmt: skip
        self.targets: dict[str, Subject] = {}
        for name, others in TARGETS.items():
            above = tuple(self.targets[other] for other in others)
            scope = Scope(name, role="trunk", parent=self.vantage, depends_on=above)
            self.targets[name] = Subject(Kind.TARGET, name, scope)
        self.scopes: dict[tuple[str, str], Scope] = {}
        self.lines = {name: self._phone(name) for name in self.truth.phones}

    def _phone(self, name: str) -> Subject:
        where = PHONES[name][0], self.truth.places[name]
        return Subject(Kind.EXTENSION, name, self.scope(*where))

    def scope(self, registrar: str, place: str) -> Scope:
        found = self.scopes.get((registrar, place))
        if found is None:
            labels = {"registrar": registrar, "site": place}
            other = () if REGISTRARS[registrar] == place else (self.sites[place],)
            found = self.scopes[registrar, place] = Scope(
                registrar,
                labels=labels,
                parent=self.registrars[registrar],
                depends_on=other,
            )
        return found

    def _adopt(self) -> None:
        """In the order of the daemon; judges go on from what is stored."""
        alarms = self.alarms
        for subject in (*self.sites.values(), *self.targets.values(), self.vantage):
            alarms.adopt(subject)  # type: ignore[arg-type]
        for subject in self.registrars.values():
            alarms.adopt(subject)
        for registrar in REGISTRARS:
            for name in alarms.unclaimed(f"extension:{registrar}/"):
                if name in self.lines:
                    self._remember(alarms.adopt(self.lines[name]), name)
        for kind in Kind:
            if kind is not Kind.SELF:
                alarms.unwatch_missing(f"{kind}:", self.now)

    def _remember(self, row: SubjectRow | None, name: str) -> None:
        self.known[name] = row.state if row else None

    # What is seen

    def _next(self) -> float | None:
        times = [super()._next(), min(self.polls.values(), default=None)]
        return min((t for t in times if t is not None), default=None)

    def until(self, end: float) -> None:
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            for name in [n for n, when in self.polls.items() if when <= self.now]:
                self.poll(name)
            self.alarms.advance(self.now)
            self._settle()
        self.now = max(self.now, end)
        self.alarms.advance(self.now)
        self._settle()

    def poll(self, name: str) -> None:
        at = self.now
        if name == "network":
            self.polls[name] = at + LOOKS * self.pace
            self._poll(name, self.vantage, State.UP, State.DOWN, well=True)
        elif name in REGISTRARS:
            self.polls[name] = at + READS * self.pace
            self.read(name)
        else:
            self.polls[name] = at + PROBES * self.pace
            up = not self._is_down(name)
            self._poll(name, self.targets[name], State.UP, State.DOWN, well=up)

    def _is_down(self, target: str) -> bool:
        names = {target, *TARGETS[target]}
        return bool(names & self.truth.down)

    def read(self, name: str) -> None:
        well = name not in self.truth.unreadable
        if self.registrar_first or not well or self.truth.cut_at is not None:
            self._poll(name, self.registrars[name], State.READABLE, State.UNREADABLE,
                       well=well)  # fmt: skip
        if well and self.truth.cut_at is None:
            for phone in self.lines:
                if PHONES[phone][0] == name:
                    self.tell(phone)
            if not self.registrar_first:
                self._poll(name, self.registrars[name], State.READABLE,
                           State.UNREADABLE, well=True)  # fmt: skip

    def _poll(
        self,
        name: str,
        subject: Subject | None,
        good: State,
        bad: State,
        *,
        well: bool,
    ) -> None:
        assert subject is not None
        well = well and self.truth.cut_at is None
        state = good if well else bad
        before, since, times = self.since.get(name, (None, self.now, 0))
        if before is not state:
            since, times = self.now, 0
        self.since[name] = state, since, times + 1
        counts = subject.kind is Kind.TARGET
        figures = Figures(
            failures=0 if well or not counts else times + 1,
            successes=times + 1 if well and counts else 0,
        )
        self.see(Observation(subject, state, since, self.now, figures=figures))

    def tell(self, name: str) -> None:
        """The judge tells what is another state than the one it told last."""
        state, since = self.truth.phones[name]
        if self.known.get(name) is state:
            return
        self.known[name] = state
        loss = Loss.EXPIRED if state is UNREGISTERED else None
        figures = Figures(expires=60)
        self.see(Observation(self.lines[name], state, since, self.now, loss=loss,
                             figures=figures))  # fmt: skip

    def see(self, o: Observation) -> None:
        self.alarms.observe(o)
        self.alarms.advance(self.now)
        self._settle()

    def event(self, name: str) -> None:
        """A phone changed: who reads its registrar hears of it at once."""
        registrar = PHONES[name][0]
        readable = self.since.get(registrar, (None,))[0] is State.READABLE
        if (
            readable
            and registrar not in self.truth.unreadable
            and self.truth.cut_at is None
        ):
            self.tell(name)

    # What is written, and where the power may be cut

    def point(self) -> None:
        if self.crash_in is None:
            return
        self.crash_in -= 1
        if self.crash_in < 0:
            raise PowerCutError

    def flush(self) -> None:
        while True:
            writes, announced = self.alarms.take(self.slices)
            self.announced += announced
            for a in announced:
                if isinstance(a, Opened) and a.incident.family == "liveness":
                    assert self.alarms.blind(a.incident.subject) is None, "explained"
            if writes:
                self.point()
                self.disk.write([shifted(write, self.ahead) for write in writes])
                self.point()
            self._answer(announced)
            if not self.alarms.left:
                return

    def _settle(self) -> None:
        """Until nothing is due: who refuses may hand it to one who was asked before."""
        before = -1
        while before != self.sent:
            before = self.sent
            super()._settle()

    def _answer(self, announced: list) -> None:
        asked = {a.subject for a in announced if isinstance(a, Ask)}
        subjects = {"network": self.vantage, **self.registrars, **self.targets}
        for name, subject in subjects.items():
            if subject in asked and self.answers_asks and name in self.polls:
                self.polls[name] = min(self.polls[name], self.now + 0.1)

    def send(self, name: str, batch: Batch) -> None:
        outcome = self.answers(name, self.now)
        self.sent += 1
        self.point()
        error = "refused"
        if outcome is Outcome.ACCEPTED:
            error = ""
            self.mails.setdefault(name, []).append(Mail.of(batch, self.now))
            self.point()
        self.alarms.settle(batch, outcome, self.now, error=error)

    # What people do

    def reload(self) -> None:
        self.routes = ROUTES[self.truth.routes]
        self.notifiers = self.truth.notifiers
        rules = build(RULES[self.truth.rules])
        self.alarms.replace(rules, self.routes, GROUP, self.notifiers, self.now)
        self.until(self.now)

    def move(self, name: str) -> None:
        """By its address it is in another branch now."""
        line = self.lines[name]
        line.scope = self.scope(PHONES[name][0], self.truth.places[name])
        self.alarms.moved(line)
        self.until(self.now)

    def remove(self, name: str) -> None:
        self.alarms.unwatch(self.lines.pop(name), self.now)
        self.known.pop(name, None)
        self.until(self.now)

    def renew(self, registrar: str) -> None:
        """A registrar is configured otherwise: its subjects are other objects."""
        old = self.registrars[registrar]
        self.alarms.release(old)
        mine = [n for n in self.lines if PHONES[n][0] == registrar]
        for name in mine:
            self.alarms.release(self.lines[name])
        place = self.sites[REGISTRARS[registrar]]
        labels = dict(old.scope.labels)
        scope = Scope(registrar, labels=labels, parent=place)
        self.registrars[registrar] = Subject(Kind.REGISTRAR, registrar, scope)
        self.scopes = {k: s for k, s in self.scopes.items() if k[0] != registrar}
        self.since.pop(registrar, None)
        self.alarms.adopt(self.registrars[registrar])
        for name in mine:
            self.lines[name] = self._phone(name)
        for name in self.alarms.unclaimed(f"extension:{registrar}/"):
            self._remember(self.alarms.adopt(self.lines[name]), name)
        for kind in ("registrar:", "extension:"):
            self.alarms.unwatch_missing(kind, self.now)
        self.polls[registrar] = self.now + 1
        self.until(self.now)


@dataclass
class Power:
    """Starts a world again and again; what was told and what is true stay."""

    truth: Truth
    disk: Memory = field(default_factory=Memory)
    mails: dict[str, list[Mail]] = field(default_factory=lambda: defaultdict(list))
    crashes: int = 0
    slices: int | None = None
    registrar_first: bool = True

    def __post_init__(self) -> None:
        self.ids = count(1)
        self.start(moment("2026-03-02 15:00"))  # a Monday

    def start(self, now: float) -> None:
        self.world = World(
            truth=self.truth,
            disk=self.disk,
            now=now,
            mails=self.mails,
            ids=lambda: f"batch-{next(self.ids)}",
            slices=self.slices,
            registrar_first=self.registrar_first,
        )

    def do(self, act: Callable[[World], None], off: float = 1.0) -> None:
        """Do this; should the power be cut meanwhile, systemd starts it again."""
        try:
            act(self.world)
        except PowerCutError:
            self.cut(off)

    def cut(self, off: float = 1.0) -> None:
        self.crashes += 1
        ahead = self.world.ahead  # a new process begins on the clock of the wall
        phones = self.truth.phones
        for name, (state, since) in phones.items():
            phones[name] = state, since + ahead
        if self.truth.cut_at is not None:
            self.truth.cut_at += ahead
        self.start(self.world.now + ahead + off)


def all_well(now: float) -> Truth:
    """Everybody is there."""
    truth = Truth(places={name: place for name, (_, place) in PHONES.items()})
    truth.phones = dict.fromkeys(PHONES, (REGISTERED, now))
    return truth
