"""Why a call is answered 480, or one of its kin: from evidence to a cause."""

from checks.cause.evidence import Answer, Confidence, Evidence, Finding, Sender
from checks.cause.table import CAUSES, classify

__all__ = [
    "CAUSES",
    "Answer",
    "Confidence",
    "Evidence",
    "Finding",
    "Sender",
    "classify",
]
