"""Twilio's own library, which is an extra: it checks signatures and writes TwiML."""

from __future__ import annotations

import importlib
from typing import Any

INSTALL = "pip install 'sipwatch[twilio]'"


def library(part: str) -> Any:
    """A module of it; ValueError where it is not installed."""
    try:
        return importlib.import_module(f"twilio.{part}")
    except ImportError:
        raise ValueError(f"needs one more package: {INSTALL}") from None
