"""Branches that share one PBX are told apart by numbers and by addresses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from checks.registrations.sites import KNOWN, Sites
from checks.settings import Glob


@dataclass
class Place:
    subnets: tuple[str, ...] = ()
    extensions: tuple[Glob, ...] = ()


PLACES = {
    "lyon": Place(("10.20.0.0/16", "2001:db8:20::/48"), (Glob("3*"),)),
    "annex": Place(("10.20.7.0/24",), (Glob("39*"), Glob("*@annex.example.com"))),
    "home": Place(("0.0.0.0/0",)),
    "door": Place(("10.20.7.9/32",)),
}


@pytest.mark.parametrize(
    ("aor", "site"),
    [
        ("3001", "lyon"),
        ("3001@example.com", "lyon"),
        ("3901", "lyon"),  # the first that fits is meant
        ("7001@annex.example.com", "annex"),
        ("1001", ""),
        ("", ""),
    ],
)
def test_a_number_says_the_site(aor: str, site: str) -> None:
    assert Sites(PLACES).of_number(aor) == site


@pytest.mark.parametrize(
    ("hosts", "site"),
    [
        (["10.20.0.31"], "lyon"),
        (["10.20.7.8"], "annex"),  # the smallest network that it is in
        (["10.20.7.9"], "door"),
        (["192.0.2.1"], "home"),
        (["2001:db8:20::7"], "lyon"),
        (["[2001:db8:20::7]"], "lyon"),
        (["2001:db8:21::7"], ""),
        (["::ffff:10.20.0.31"], "lyon"),
        (["phone.example.com"], ""),
        (["phone.example.com", "10.20.0.31"], "lyon"),  # the first that has one
        (["10.20.7.8", "10.20.0.31"], "annex"),
        ([], ""),
        (["not an address", ""], ""),
        (["10.20.0.31%eth0"], ""),
    ],
)
def test_an_address_says_the_site(hosts: list[str], site: str) -> None:
    assert Sites(PLACES).of_address(hosts) == site


def test_without_networks_no_address_says_anything() -> None:
    sites = Sites({"lyon": Place(extensions=(Glob("3*"),))})
    assert not sites.by_address
    assert sites.of_address(["10.20.0.31"]) == ""


def test_of_two_sites_with_one_network_the_first_is_meant() -> None:
    sites = Sites({"a": Place(("10.0.0.0/24",)), "b": Place(("10.0.0.0/24",))})
    assert sites.of_address(["10.0.0.1"]) == "a"


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    sites = Sites(PLACES)
    for n in range(KNOWN + 10):
        sites.of_address([f"10.21.{n // 250 % 250}.{n % 250 + 1}-{n}"])
    assert len(sites._known) <= KNOWN
