"""The notifiers by name; a stranger's is named by its path: `acme.teams:Teams`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from alerting.incident import Notifier
from alerting.notifiers.alertmanager import Alertmanager, AlertmanagerSettings
from alerting.notifiers.apprise import Apprise, AppriseSettings
from alerting.notifiers.command import Command, CommandSettings
from alerting.notifiers.email import Email, EmailSettings
from alerting.notifiers.pagerduty import PagerDuty, PagerDutySettings
from alerting.notifiers.sip_message import SipMessage, SipMessageSettings
from alerting.notifiers.webhook import Webhook, WebhookSettings

Kind = tuple[type[Any], Callable[[Any], Notifier]]  # its settings, and how it is made

NOTIFIERS: dict[str, Kind] = {
    "email": (EmailSettings, Email),
    "webhook": (WebhookSettings, Webhook),
    "alertmanager": (AlertmanagerSettings, Alertmanager),
    "pagerduty": (PagerDutySettings, PagerDuty),
    "apprise": (AppriseSettings, Apprise),
    "command": (CommandSettings, Command),
    "sip_message": (SipMessageSettings, SipMessage),
}


_STRANGERS: dict[type[Any], Callable[[Any], Notifier]] = {}  # loaded: by settings


def made(settings: Any) -> Notifier:
    """The notifier of settings whose type was loaded."""
    for known, maker in (*NOTIFIERS.values(), *_STRANGERS.items()):
        if type(settings) is known:
            return maker(settings)
    raise LookupError(f"no notifier has settings of {type(settings).__name__}")


def load(type: str) -> Kind:
    """The settings class and the notifier class of a `type`.

    A stranger's class names its settings, a frozen dataclass, as its attribute
    `Settings`, takes them as the one argument, and has `async send(notification)`.
    Raises ValueError with a sentence.
    """
    if type in NOTIFIERS:
        return NOTIFIERS[type]
    module, colon, name = type.partition(":")
    if not (colon and module and name):
        known = ", ".join(NOTIFIERS)
        raise ValueError(f"{type}: no such notifier ({known}, or a path package:Class)")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ValueError(f"{type}: {error}") from None
    if found is None:
        raise ValueError(f"{type}: {module} has no {name}")
    settings = getattr(found, "Settings", None)
    if not (inspect.isclass(settings) and is_dataclass(settings)):
        raise ValueError(f"{type}: {name}.Settings is not a dataclass")
    if not inspect.iscoroutinefunction(getattr(found, "send", None)):
        raise ValueError(f"{type}: {name} has no `async def send(self, notification)`")
    _STRANGERS[settings] = found
    return settings, found
