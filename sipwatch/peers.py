"""What the configuration only implies: which target is which PBX, what is told."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from alerting.rules.inforce import Rules
from checks.options.targets import full_uri
from checks.options.verdict import Marks
from checks.sip.uri import SipUri
from sipwatch.config.settings import Config
from sipwatch.follow import Following

QUIET = float("inf")  # no rule looks at it


def peers(
    config: Config, followings: Mapping[str, Following]
) -> dict[str, list[Following]]:
    """The registrars that each target's OPTIONS speaks for.

    A registrar names its `target`; without one, a target of role pbx on the same host
    is meant.
    """
    found: dict[str, list[Following]] = {}
    for following in followings.values():
        named = following.settings.target
        hosts = {host_of(address) for address in following.judge.members}
        for name, target in config.targets.items():
            same = target.role == "pbx" and _host(target.uri) in hosts
            if name == named or (same and not named):
                found.setdefault(name, []).append(following)
    return found


def _host(uri: str) -> str:
    return SipUri.parse(full_uri(uri)).host.lower()


def host_of(address: str) -> str:
    """The host of `host:port`, of a URL, or of a SIP URI, in lower case."""
    if address[:4].lower() in ("sip:", "sips"):
        return SipUri.parse(address).host.lower()
    url = address if "//" in address else f"//{address}"
    return urlsplit(url).hostname or ""


def marks(rules: Rules) -> Marks:
    """Above which figures the sweep must tell of a target that is up."""
    watermarks = rules.watermarks
    usual = Marks()
    return Marks(
        rtt=QUIET if watermarks.rtt is None else watermarks.rtt,
        resent=QUIET if watermarks.resent is None else watermarks.resent,
        days=usual.days,
    )
