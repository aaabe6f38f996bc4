"""What a configuration only implies: which target is which PBX, what is told."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from alerting.rules.rule import RuleSettings, build
from checks.options.targets import TargetSettings
from checks.registrations.readings import RegistrarSettings
from sipwatch.config.settings import Config
from sipwatch.peers import host_of, marks, peers

PBX = {"role": "pbx"}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5:5038", "10.0.0.5"),
        ("pbx.example.com:5038", "pbx.example.com"),
        ("PBX.example.com", "pbx.example.com"),
        ("sip:PBX.example.com", "pbx.example.com"),
        ("[2001:db8::5]:5038", "2001:db8::5"),
        ("http://10.0.0.5:8060/RPC", "10.0.0.5"),
        ("https://kam.example.com/RPC", "kam.example.com"),
        ("sip:10.0.0.5:5070;transport=tcp", "10.0.0.5"),
        ("sips:pbx.example.com", "pbx.example.com"),
    ],
)
def test_the_host_of_every_kind_of_address(address: str, host: str) -> None:
    assert host_of(address) == host


def found(
    targets: dict[str, tuple[str, dict[str, Any]]],
    registrars: dict[str, tuple[str, str]],
) -> dict[str, list[str]]:
    """Of targets and registrars (address, target): which speaks for which."""
    followings: dict[str, Any] = {
        name: SimpleNamespace(
            name=name,
            settings=RegistrarSettings(type="asterisk", address=where, target=target),
            judge=SimpleNamespace(members=dict.fromkeys(where.split())),
        )
        for name, (where, target) in registrars.items()
    }
    several = {
        name: TargetSettings(uri=uri, **keys) for name, (uri, keys) in targets.items()
    }
    pairs = peers(Config(targets=several), followings)
    return {target: [f.name for f in ours] for target, ours in pairs.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("uri", "keys", "address", "target", "paired"),
    [
        ("sip:10.0.0.5", PBX, "10.0.0.5:5038", "", True),
        ("10.0.0.5", PBX, "10.0.0.5:5038", "", True),
        ("sip:10.0.0.5:5070", PBX, "http://10.0.0.5:8060/RPC", "", True),
        ("sip:PBX.example.com", PBX, "pbx.example.com", "", True),
        ("sip:[2001:db8::5]", PBX, "[2001:db8::5]:5038", "", True),
        ("sip:10.0.0.5", PBX, "10.0.0.4:5038 10.0.0.5:5038", "", True),
        ("sip:10.0.0.5", {"role": "trunk"}, "10.0.0.5:5038", "", False),
        ("sip:10.0.0.6", PBX, "10.0.0.5:5038", "", False),
        ("sip:10.0.0.6", {"role": "trunk"}, "10.0.0.5:5038", "one", True),
        ("sip:10.0.0.5", PBX, "10.0.0.5:5038", "other", False),  # another is named
    ],
)
def test_a_target_speaks_for_a_registrar(
    uri: str, keys: dict[str, Any], address: str, target: str, paired: bool
) -> None:
    expected = {"one": ["hq"]} if paired else {}
    assert found({"one": (uri, keys)}, {"hq": (address, target)}) == expected


def test_one_target_may_speak_for_several_registrars() -> None:
    two = {"ami": ("10.0.0.5:5038", ""), "sip": ("sip:10.0.0.5", "")}
    assert found({"one": ("sip:10.0.0.5", PBX)}, two) == {"one": ["ami", "sip"]}


def test_the_sweep_tells_of_what_a_rule_looks_at() -> None:
    usual = marks(build({}))
    assert usual.rtt < 10
    assert usual.resent < 32
    off = RuleSettings(enabled=False)
    quiet = marks(build({"OptionsSlow": off, "RetransmitsHigh": off}))
    assert quiet.rtt == quiet.resent == math.inf
