"""Users of Twilio's as extensions of our own PBXs: 204@acme.sip.twilio.com is 204."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerting.alarms.core import Alarms
from checks.observation import Kind, Subject
from checks.registrations.extension import Extension
from checks.registrations.judge import Judge as Registrar
from checks.twilio.judge import Local
from sipwatch.sources import readable

KNOWN = 1000  # users whose extension is remembered
AGAIN = 60.0  # s after which one that was not found is looked for again


class Locals:
    """Finds them; a look walks over the extensions of a PBX at most once a minute."""

    def __init__(
        self, registrars: Callable[[], Mapping[str, Registrar]], alarms: Alarms
    ) -> None:
        self._registrars, self._alarms = registrars, alarms
        self._known: dict[str, tuple[str, str]] = {}  # user: registrar, AOR
        self._missed: dict[str, float] = {}
        self._told: frozenset[Subject] = frozenset()
        self._lost: frozenset[tuple[Kind, str]] = frozenset()  # where many were lost
        self._now = 0.0

    def look(self, now: float) -> None:
        """Before several are asked for: who has an open incident."""
        self._now = now
        self._told = frozenset(
            i.subject for i in self._alarms.incidents if i.family == "liveness"
        )
        self._lost = frozenset(
            (i.subject.kind, i.subject.name)
            for i in self._alarms.incidents
            if i.family == "mass"
        )

    def find(self, who: str) -> Local | None:
        """A user as an extension of ours; None where there is none, or several."""
        found = self._extension(who.partition("@")[0])
        if found is None:
            return None
        registrar, extension = found
        if (state := extension.state) is None:
            return None
        return Local(
            extension.subject.name.partition("@")[0],
            extension.subject.title,
            registrar,
            state,
            extension.since,
            self._is_told(extension.subject),
            readable(self._registrars()[registrar], self._alarms),
        )

    def _is_told(self, extension: Subject) -> bool:
        """Whether an incident is about it: its own, or that of many."""
        site = extension.scope.labels.get("site", "")
        places = {(Kind.REGISTRAR, extension.scope.name), (Kind.SITE, site)}
        return extension in self._told or bool(places & self._lost)

    def subject(self, who: str) -> Subject | None:
        """The extension itself."""
        found = self._extension(who.partition("@")[0])
        return found[1].subject if found else None

    def _extension(self, user: str) -> tuple[str, Extension] | None:
        if user in self._known:
            registrar, aor = self._known[user]
            judge = self._registrars().get(registrar)
            extension = judge.extensions.get(aor) if judge else None
            if extension is not None:
                return registrar, extension
            del self._known[user]
        if self._missed.get(user, -AGAIN) + AGAIN > self._now:
            return None
        return self._search(user)

    def _search(self, user: str) -> tuple[str, Extension] | None:
        found = [
            (name, aor, extension)
            for name, judge in self._registrars().items()
            for aor, extension in _named(judge, user)
        ]
        if len(found) != 1:
            if len(self._missed) >= KNOWN:
                self._missed.clear()
            self._missed[user] = self._now
            return None
        if len(self._known) >= KNOWN:
            self._known.clear()
        name, aor, extension = found[0]
        self._known[user] = name, aor
        return name, extension


def _named(judge: Registrar, user: str) -> list[tuple[str, Extension]]:
    exact = judge.extensions.get(user)
    if exact is not None:
        return [(user, exact)]
    start = f"{user}@"
    return [(aor, e) for aor, e in judge.extensions.items() if aor.startswith(start)]
