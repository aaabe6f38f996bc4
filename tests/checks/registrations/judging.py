"""A judge with a clock of its own, driven by short words; for the tests beside it."""

from __future__ import annotations

from collections.abc import Iterable

from checks.observation import (
    Binding,
    Cause,
    Kind,
    Loss,
    Observation,
    Scope,
    State,
    Subject,
)
from checks.registrations.judge import (
    Added,
    Bindings,
    Expected,
    ExtensionsSettings,
    Gone,
    Judge,
    Listed,
    ListEnd,
    Reach,
    RegistrarSettings,
    Remembered,
)
from checks.registrations.readings import ExpirySettings
from checks.settings import Glob

BOOT = -5000.0


def bound(
    aor: str,
    end: float | None = None,
    *,
    port: int = 5060,
    reachable: bool | None = None,
    granted: int | None = None,
    transport: str = "",
) -> Binding:
    """A binding of a phone; one port is one contact."""
    return Binding(
        aor,
        f"sip:{aor}@10.20.0.31:{port}{transport}",
        end,
        granted,
        reachable,
        "Yealink SIP-T46U 108.86.0.75",
        f"10.20.0.31:{port}",
    )


class Timeline:
    """One registrar `hq` in time; `judged` collects what extensions were told as."""

    def __init__(
        self,
        *listed: str,
        members: Iterable[str] = ("pbx",),
        mode: str = "any",
        now: float = 0.0,
        skew: float = 0.0,
        remembered: Iterable[Remembered] = (),
        file: Iterable[Listed] = (),
        interval: float = 30.0,
        expiry: ExpirySettings | None = None,
        **patterns: list[str],
    ) -> None:
        extensions = ExtensionsSettings(
            **{key: [Glob(p) for p in several] for key, several in patterns.items()}
        )
        settings = RegistrarSettings(
            type="test",
            mode=mode,
            extensions=extensions,
            members=list(members),
            interval=interval,
            expiry=expiry or ExpirySettings(),
        )
        self.subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
        rows = [*(Listed(aor) for aor in listed), *file]
        self.judge = Judge("hq", settings, self.subject, now, remembered, listed=rows)
        self.now, self.skew, self.boot = now, skew, BOOT
        self.told: list[Observation] = []

    def at(self, now: float) -> Timeline:
        """Let the time be this."""
        self.now = now
        return self

    def _keep(self, observations: list[Observation]) -> list[Observation]:
        for o in observations:
            assert o.at == self.now
            assert o.since <= self.now
            assert len(o.evidence) <= 4
        self.told += observations
        return observations

    def expect(self, *aors: str | tuple[str, str], member: str = "pbx") -> None:
        """The PBX's roster, as the first part of a list."""
        pairs = [(a, "") if isinstance(a, str) else a for a in aors]
        self._keep(self.judge.apply(member, Expected(pairs), self.now))

    def half(self, *rows: Binding, member: str = "pbx") -> list[Observation]:
        """A slice of a list."""
        for row in rows:
            if row.expires_at is not None:
                row.expires_at += self.skew
        return self._keep(self.judge.apply(member, Bindings(list(rows)), self.now))

    def end(
        self,
        began: float | None = None,
        *,
        member: str = "pbx",
        aors: frozenset[str] | None = None,
    ) -> list[Observation]:
        """The end of a list that was asked for a moment ago."""
        began = self.now - 0.1 if began is None else began
        boot = None if self.boot is None else self.boot + self.skew
        reading = ListEnd(began, self.now + self.skew, boot, aors)
        return self._keep(self.judge.apply(member, reading, self.now))

    def list(
        self, *rows: Binding, member: str = "pbx", began: float | None = None
    ) -> list[Observation]:
        """A full list."""
        self.half(*rows, member=member)
        return self.end(began, member=member)

    def added(self, row: Binding, member: str = "pbx", at: float | None = None) -> None:
        """A binding comes by event."""
        if row.expires_at is not None:
            row.expires_at += self.skew
        reading = Added(row, self.now if at is None else at)
        self._keep(self.judge.apply(member, reading, self.now))

    def gone(
        self,
        aor: str,
        loss: Loss = Loss.EXPIRED,
        *,
        port: int = 5060,
        member: str = "pbx",
        at: float | None = None,
    ) -> list[Observation]:
        """A binding is removed by event."""
        at = self.now if at is None else at
        reading = Gone(aor, f"sip:{aor}@10.20.0.31:{port}", at, loss)
        return self._keep(self.judge.apply(member, reading, self.now))

    def reach(self, aor: str, reachable: bool | None, port: int = 5060) -> None:
        """The PBX's qualify tells of a change."""
        uri = f"sip:{aor}@10.20.0.31:{port}"
        reading = Reach(aor, uri, reachable, None, self.now)
        self._keep(self.judge.apply("pbx", reading, self.now))

    def lost(
        self,
        cause: Cause = Cause.CONNECTION_REFUSED,
        detail: str = "refused",
        member: str = "pbx",
    ) -> list[Observation]:
        """The member cannot be read."""
        return self._keep(self.judge.lost(member, cause, detail, self.now))

    def advance(self) -> list[Observation]:
        """Let timers run."""
        return self._keep(self.judge.advance(self.now))

    def of(self, name: str) -> list[Observation]:
        """What was told of one extension or member."""
        return [o for o in self.told if o.subject.name == name]

    def last(self, name: str) -> Observation:
        """What was told of it last."""
        return self.of(name)[-1]

    def states(self, name: str) -> list[tuple[State, float]]:
        """The states that were told of it, and since when."""
        return [(o.state, o.since) for o in self.of(name)]

    def state(self, aor: str) -> State | None:
        """Its state now."""
        return self.judge.extensions[aor].state
