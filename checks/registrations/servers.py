"""What OPTIONS of our own tell of the servers at which a PBX registers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from checks.observation import Cause

CONFIRMED = 3  # failures in a row before it is believed, as for targets
ALWAYS = float("-inf")


@dataclass(slots=True)
class Server:
    """How one server answers; times are ours."""

    uri: str
    used_by: set[str] = field(default_factory=set)  # names of registrations
    answered: bool = False  # ever; a server that ignores us may serve the PBX well
    failures: int = 0  # in a row
    failing_since: float = 0.0
    well_since: float | None = None  # None: not asked yet, or it fails
    cause: Cause | None = None

    @property
    def silent(self) -> bool:
        """Whether it has failed so often that it counts."""
        return self.failures >= CONFIRMED

    @property
    def asked(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.failures) or self.well_since is not None

    def heard(self, ok: bool, cause: Cause | None, at: float) -> None:
        """How one OPTIONS to it ended."""
        if ok:
            if self.well_since is None:  # the first of all says that it was well before
                self.well_since = at if self.failures else ALWAYS
            self.answered, self.failures, self.cause = True, 0, None
        elif cause is not Cause.DNS_FAILURE:  # that is our resolver's
            if not self.failures:
                self.failing_since = at
            self.failures, self.cause = self.failures + 1, cause
            if self.silent:
                self.well_since = None

    def resume(self, since: float, cause: Cause | None, *, answered: bool) -> None:
        """It failed before a restart of ours, until somebody hears of it again."""
        if not self.asked:
            self.answered, self.failures = answered, CONFIRMED
            self.failing_since, self.cause = since, cause

    def words(self) -> str:
        """How it fails, as what follows "its server"."""
        code = "503" if self.cause is Cause.OVERLOADED else ""
        if self.cause is not None and self.cause.startswith("response_"):
            code = self.cause.removeprefix("response_")
        return f"answers OPTIONS with {code}" if code else "does not answer OPTIONS"
