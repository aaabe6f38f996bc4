"""Names at Twilio: which take a REGISTER, and what was meant by one that does not.

A SIP Domain is `{domain}.sip.twilio.com`, or `{domain}.sip.{edge}.twilio.com` at one
edge of its network. An Elastic SIP Trunk is `{name}.pstn.twilio.com`; nobody registers
there.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import NamedTuple

DOMAIN = "twilio.com"
EDGES = (
    "ashburn",
    "umatilla",
    "dublin",
    "frankfurt",
    "singapore",
    "tokyo",
    "sao-paulo",
    "sydney",
)
KNOWN = (*EDGES, *(f"{edge}-ix" for edge in EDGES))  # -ix: over Interconnect

# Distances of one or two letters; `twilight.com` is somebody else.
_SIMILAR = 0.9


class Finding(NamedTuple):
    """What is wrong with a name, and the name that was meant."""

    problem: str
    meant: str  # "" where nobody can guess


def is_twilio(host: str) -> bool:
    """Whether a host is of Twilio's domain."""
    host = host.lower().rstrip(".")
    return host == DOMAIN or host.endswith(f".{DOMAIN}")


def check(host: str) -> Finding | None:
    """What is wrong with a host as a SIP Domain; None where it is right, or not theirs.

    An IP address, or the name of somebody else, is not judged.
    """
    host = host.lower().rstrip(".")
    labels = host.split(".")
    if not is_twilio(host):
        return _misspelled(labels)
    for rule in _RULES:
        if found := rule(labels[:-2]):
            return found
    return None


def _misspelled(labels: list[str]) -> Finding | None:
    """`acme.sip.twillio.com`, `acme.sip.twilio.con`."""
    if len(labels) < 3 or not {"sip", "pstn"} & set(labels[1:-2]):
        return None
    written = ".".join(labels[-2:])
    if not get_close_matches(written, [DOMAIN], cutoff=_SIMILAR):
        return None
    meant = ".".join([*labels[:-2], DOMAIN])
    return Finding(f"{written} is not Twilio's domain", meant)


def _is_trunk(front: list[str]) -> Finding | None:
    if "pstn" not in front[1:]:
        return None
    trunk = ".".join(front)
    return Finding(
        f"{trunk}.{DOMAIN} is an Elastic SIP Trunk; it takes calls and no REGISTER",
        f"{front[0]}.sip.{DOMAIN}",
    )


def _has_no_domain(front: list[str]) -> Finding | None:
    if front[:1] == ["sip"] or not front:
        return Finding("the name of the SIP Domain is missing in front of sip", "")
    return None


def _has_no_sip(front: list[str]) -> Finding | None:
    if "sip" in front[1:]:
        return None
    edges = [edge for edge in front[1:] if edge in KNOWN]
    meant = ".".join([front[0], "sip", *edges, DOMAIN])
    if len(front) == 1 or front[1] in KNOWN:
        return Finding(f"a SIP Domain has .sip. after {front[0]}", meant)
    return Finding(f"{front[1]} is not sip", meant)


def _has_long_name(front: list[str]) -> Finding | None:
    name = front[: front.index("sip")]
    if len(name) == 1:
        return None
    meant = ".".join([*front[len(name) - 1 :], DOMAIN])
    return Finding(f"{'.'.join(name)} is more than the name of a domain", meant)


def _has_unknown_edge(front: list[str]) -> Finding | None:
    edge = front[2:]
    if not edge or (len(edge) == 1 and edge[0] in KNOWN):
        return None
    close = get_close_matches(edge[0], KNOWN, n=1)
    meant = ".".join([front[0], "sip", *close, DOMAIN])
    return Finding(f"{'.'.join(edge)} is no edge of Twilio ({', '.join(EDGES)})", meant)


_RULES: tuple[Callable[[list[str]], Finding | None], ...] = (
    _has_no_domain,
    _is_trunk,
    _has_no_sip,
    _has_long_name,
    _has_unknown_edge,
)
