"""`capture:` and `evidence:` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from checks.settings import Duration, Parsed
from sipwatch.capture.protocol import LONGEST, SOCKET
from sipwatch.capture.sizes import size_of

LEAST = 1024 * 1024  # octets of evidence: one exchange


def octets(written: Any) -> int:
    """Octets of "256M"; ValueError."""
    return size_of(str(written).strip())


Size = Annotated[int, Parsed(octets, (("type", "string"), ("pattern", r"^\d+[kMG]?$")))]


def _said(text: str) -> dict[str, str]:
    return {"description": text}


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """Where the capture service is asked (sipwatch-capture.service), and for what."""

    socket: str = field(
        default=SOCKET, metadata=_said("The Unix socket of the capture service.")
    )
    before: Duration = field(
        default=60.0,
        metadata=_said("How long before it happened an exchange is looked for."),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.before < LONGEST:
            raise ValueError("before must be less than 1h")


@dataclass(frozen=True, kw_only=True)
class EvidenceSettings:
    """How long the exchanges of incidents are kept, and what they may show."""

    folder: str = field(
        default="", metadata=_said("Default: `evidence` beside the database.")
    )
    keep: Duration = field(
        default=30 * 86400.0, metadata=_said("How long an exchange is kept.")
    )
    size: Size = field(
        default=256 * 1024 * 1024,
        metadata=_said("Of all of them; the oldest are removed first."),
    )
    hide_numbers: bool = field(
        default=False,
        metadata=_said("Overwrites phone numbers but for their last two digits."),
    )

    def __post_init__(self) -> None:
        if self.keep <= 0:
            raise ValueError("keep must be more than 0s")
        if self.size < LEAST:
            raise ValueError("size must be 1M or more")
