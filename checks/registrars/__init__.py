"""What can be asked who is registered: one file and one row for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from checks.registrars.asterisk import Asterisk, AsteriskSettings
from checks.registrars.freeswitch import Freeswitch, FreeswitchSettings
from checks.registrars.kamailio import Kamailio, KamailioSettings
from checks.registrars.opensips import OpenSips, OpenSipsSettings
from checks.registrars.sip import Sip, SipSettings
from checks.registrations.judge import Registrar, RegistrarSettings
from checks.sip.resolver import Resolver


class MakesRegistrar(Protocol):
    """How every registrar is made: for one address of its settings."""

    def __call__(
        self,
        settings: Any,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = ...,
        resolver: Resolver | None = ...,
    ) -> Registrar:
        """`aors` names those to ask for, where they cannot be listed; `resolver` finds
        what a SIP URI leads to."""


class Kind(NamedTuple):
    """One kind of registrar."""

    settings: type[RegistrarSettings]
    registrar: MakesRegistrar


REGISTRARS: dict[str, Kind] = {
    "asterisk": Kind(AsteriskSettings, Asterisk),
    "freeswitch": Kind(FreeswitchSettings, Freeswitch),
    "kamailio": Kind(KamailioSettings, Kamailio),
    "opensips": Kind(OpenSipsSettings, OpenSips),
    "sip": Kind(SipSettings, Sip),
}
