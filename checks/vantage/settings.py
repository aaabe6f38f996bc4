"""Whom we ask to know that we are on the network ourselves."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from checks.settings import Duration, Parsed
from checks.sip.uri import SipUri

TARGETS = 16  # that are asked; a few tell as much, and each is asked often


def endpoint(written: Any, port: int) -> tuple[str, int]:
    """IP address and port of `10.0.0.1:22`, `10.0.0.1` or `[::1]:53`; ValueError."""
    text = str(written)
    host, colon, digits = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, digits = text, str(port)
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        text = f"{written} is not an IP address: a name would need DNS to be asked"
        raise ValueError(text) from None
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) < 65536:
        raise ValueError(f"{written}: {digits} is no port (1 to 65535)")
    return bare, int(digits)


def _tcp(written: Any) -> str:
    text = str(written)
    if text:
        endpoint(text, 0)
    return text


def _dns(written: Any) -> str:
    text = str(written)
    if text:
        endpoint(text, 53)
    return text


def sip_address(written: Any) -> str:
    """A SIP URI whose host is an IP address; ValueError."""
    text = str(written)
    if text:
        uri = SipUri.parse(text if text[:4].lower() == "sip:" else f"sip:{text}")
        endpoint(f"[{uri.host.strip('[]')}]" if ":" in uri.host else uri.host, 5060)
        if uri.transport not in (None, "udp", "tcp"):
            raise ValueError(f"{text}: it is asked over udp or tcp")
    return text


_STRING = (("type", "string"),)


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """One that answers while we are on the network: by one of these."""

    tcp: Annotated[str, Parsed(_tcp, _STRING)] = ""
    "IP address and port that a TCP connection is opened to; a refusal is an answer."

    dns: Annotated[str, Parsed(_dns, _STRING)] = ""
    "IP address of a name server, whatever it answers."

    options: Annotated[str, Parsed(sip_address, _STRING)] = ""
    "SIP URI with an IP address, whatever it answers to OPTIONS."

    def __post_init__(self) -> None:
        if sum(map(bool, (self.tcp, self.dns, self.options))) != 1:
            raise ValueError("needs one of tcp, dns, options")


@dataclass(frozen=True, kw_only=True)
class VantageSettings:
    """How this machine's own network is watched."""

    targets: Mapping[str, Landmark] = field(default_factory=dict)
    "Near and always on: the gateway, a name server, a second PBX."

    quorum: int = 1
    "How many of them must answer; with fewer we are cut off."

    interval: Duration = 5.0
    "Time between two rounds of questions."

    timeout: Duration = 2.0
    "How long an answer may take."

    failures: int = 2
    "Rounds in a row that must fail; one is enough where this host has no route."

    def __post_init__(self) -> None:
        if len(self.targets) > TARGETS:
            raise ValueError(f"more than {TARGETS} targets")
        if self.targets and not 1 <= self.quorum <= len(self.targets):
            raise ValueError(
                f"quorum is 1 to {len(self.targets)}, the number of targets"
            )
        if not 0 < self.timeout <= self.interval:
            raise ValueError("timeout must be more than 0s and no more than interval")
        if not 1 <= self.failures <= 32:
            raise ValueError(f"failures: {self.failures} is not between 1 and 32")
