from __future__ import annotations

import math
from collections import Counter

import dns.rcode
import pytest

from checks.observation import Cause
from checks.sip import resolver as resolver_module
from checks.sip.errors import SipError
from checks.sip.hosts import parse_hosts
from checks.sip.resolver import Address, Resolution, Resolver
from checks.sip.uri import SipUri
from tests.checks.sip.nameserver import TTL, Zone, serving

HOST = {"A": ["192.0.2.10"]}
NONE: dict[str, list[str]] = {}

PROVIDER: Zone = {
    "example.com": {
        "NAPTR": [
            '20 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
            '10 50 "s" "SIPS+D2T" "" _sips._tcp.edge.example.com.',
            '5 50 "s" "SIP+D2S" "" _sip._sctp.example.com.',
            '1 50 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .',
        ],
        "A": ["192.0.2.1"],
    },
    "_sips._tcp.edge.example.com": {
        "SRV": ["20 0 5061 b.example.com.", "10 0 5071 a.example.com."]
    },
    "_sip._udp.example.com": {"SRV": ["10 0 5060 a.example.com."]},
    "_sip._tcp.example.com": {"SRV": ["10 0 5080 b.example.com."]},
    "a.example.com": {"A": ["192.0.2.11"]},
    "b.example.com": {"A": ["192.0.2.12", "192.0.2.13"]},
    "srv.example.com": NONE,
    "_sip._udp.srv.example.com": {"SRV": ["0 0 0 ."]},
    "_sip._tcp.srv.example.com": {"SRV": ["1 0 5062 a.example.com."]},
    "plain.example.com": HOST,
    "alias.example.com": {"CNAME": ["plain.example.com."]},
    "empty.example.com": NONE,
    "broken.example.com": dns.rcode.SERVFAIL,
    "lame.example.com": dns.rcode.SERVFAIL,
    "_sip._udp.lame.example.com": {"SRV": ["1 0 5062 a.example.com."]},
    "dangling.example.com": NONE,
    "_sip._udp.dangling.example.com": {"SRV": ["1 0 5060 gone.example.com."]},
    "half.example.com": NONE,
    "_sip._udp.half.example.com": {
        "SRV": ["1 0 5060 gone.example.com.", "2 0 5060 a.example.com."]
    },
    "silent.example.com": None,
    "web.example.com": {
        "NAPTR": [
            '10 50 "s" "SIP+D2W" "" _ws.edge.example.com.',
            '20 50 "s" "SIPS+D2W" "" _wss.edge.example.com.',
            '30 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
        ]
    },
    "_ws.edge.example.com": {"SRV": ["1 0 8088 a.example.com."]},
    "_wss.edge.example.com": {"SRV": ["1 0 8089 a.example.com."]},
}


async def resolved(uri: str, zone: Zone = PROVIDER, **settings) -> Resolution:
    async with serving(zone) as server:
        resolver = Resolver(["127.0.0.1"], server.port, **settings)
        return await resolver.resolve(SipUri.parse(uri))


async def failure(uri: str, **settings) -> SipError:
    with pytest.raises(SipError) as caught:
        await resolved(uri, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        # 4.2: literals, and the port that goes with the transport
        ("sip:192.0.2.7", ["udp 192.0.2.7:5060"]),
        ("sip:192.0.2.7:5070", ["udp 192.0.2.7:5070"]),
        ("sip:192.0.2.7;transport=tcp", ["tcp 192.0.2.7:5060"]),
        ("sip:192.0.2.7;transport=TLS", ["tls 192.0.2.7:5061"]),
        ("sips:192.0.2.7", ["tls 192.0.2.7:5061"]),
        ("sips:192.0.2.7;transport=tcp", ["tls 192.0.2.7:5061"]),
        ("sip:[2001:db8::7]", ["udp [2001:db8::7]:5060"]),
        ("sip:a@example.com;maddr=192.0.2.9", ["udp 192.0.2.9:5060"]),
        # an explicit port asks for no SRV
        ("sip:example.com:5090", ["udp 192.0.2.1:5090"]),
        ("sips:example.com:5090", ["tls 192.0.2.1:5090"]),
        # NAPTR by its order, the services that are not ours left out
        (
            "sip:example.com",
            ["tls 192.0.2.11:5071", "tls 192.0.2.12:5061", "tls 192.0.2.13:5061"],
        ),
        (
            "sips:example.com",
            ["tls 192.0.2.11:5071", "tls 192.0.2.12:5061", "tls 192.0.2.13:5061"],
        ),
        # a transport asked for skips NAPTR
        ("sip:example.com;transport=udp", ["udp 192.0.2.11:5060"]),
        (
            "sip:example.com;transport=tcp",
            ["tcp 192.0.2.12:5080", "tcp 192.0.2.13:5080"],
        ),
        # no NAPTR: SRV of each transport in turn; "." is not offered
        ("sip:srv.example.com", ["tcp 192.0.2.11:5062"]),
        # no SRV: A and AAAA with the defaults
        ("sip:plain.example.com", ["udp 192.0.2.10:5060"]),
        ("sip:plain.example.com;transport=tls", ["tls 192.0.2.10:5061"]),
        ("sips:plain.example.com", ["tls 192.0.2.10:5061"]),
        ("sip:alias.example.com", ["udp 192.0.2.10:5060"]),
        # a name server that chokes on NAPTR
        ("sip:lame.example.com", ["udp 192.0.2.11:5062"]),
        # WebSocket (RFC 7118 5): its ports, and NAPTR as the only way to an SRV
        ("sip:192.0.2.7;transport=ws", ["ws 192.0.2.7:80"]),
        ("sips:192.0.2.7;transport=ws", ["wss 192.0.2.7:443"]),
        ("sip:192.0.2.7;transport=WSS", ["wss 192.0.2.7:443"]),
        ("sip:plain.example.com;transport=ws", ["ws 192.0.2.10:80"]),
        ("sip:web.example.com;transport=ws", ["ws 192.0.2.11:8088"]),
        ("sips:web.example.com;transport=ws", ["wss 192.0.2.11:8089"]),
        ("sip:web.example.com;transport=wss", ["wss 192.0.2.11:8089"]),
        ("sip:web.example.com", ["ws 192.0.2.11:8088"]),
        ("sips:web.example.com", ["wss 192.0.2.11:8089"]),
        # one target of two without an address
        ("sip:half.example.com", ["udp 192.0.2.11:5060"]),
    ],
)
async def test_addresses_are_found_as_rfc_3263_says(uri, addresses):
    found = await resolved(uri)
    assert [f"{a.transport} {a}" for a in found.addresses] == addresses


@pytest.mark.parametrize(
    ("params", "path"),
    [
        (";transport=ws", "/ws"),
        (";transport=ws;path=/", "/"),
        (";transport=ws;path=sip/in", "/sip/in"),
        (";transport=wss;path=/ws%3Ftoken=a&b", "/ws?token=a&b"),
        (";transport=ws;path=/a%20b%0d%0aHost:x", "/a%20b%0D%0AHost:x"),
        (";transport=tcp;path=/ws", ""),
        ("", ""),
    ],
)
async def test_only_a_websocket_has_a_path(params, path):
    found = await resolved(f"sip:192.0.2.7{params}")
    assert found.addresses[0].path == path


async def test_every_step_is_told():
    found = await resolved("sip:example.com;transport=udp")
    assert found.steps == (
        "SRV _sip._udp.example.com -> a.example.com:5060 (300 s)",
        "A a.example.com -> 192.0.2.11 (300 s)",
        "AAAA a.example.com -> none",
    )
    assert found.ttl == TTL


async def test_a_literal_asks_nobody_and_never_ends():
    found = await resolved("sip:192.0.2.7")
    assert found == Resolution((Address("192.0.2.7", 5060, "udp"),), (), math.inf)


@pytest.mark.parametrize(
    ("uri", "cause", "detail"),
    [
        (
            "sip:nowhere.example.com",
            Cause.DNS_NXDOMAIN,
            "nowhere.example.com does not exist in the DNS",
        ),
        (
            "sip:empty.example.com",
            Cause.DNS_NXDOMAIN,
            "empty.example.com has neither an A nor an AAAA record",
        ),
        (
            "sip:dangling.example.com;transport=udp",
            Cause.DNS_NXDOMAIN,
            "dangling.example.com leads to gone.example.com, without an address",
        ),
        (
            "sip:broken.example.com:5060",
            Cause.DNS_FAILURE,
            "SERVFAIL to A broken.example.com",
        ),
        ("sip:a..example.com", Cause.DNS_NXDOMAIN, "is not a domain name"),
        ("sip:x;transport=sctp", Cause.MALFORMED, "transport sctp is not spoken here"),
    ],
)
async def test_a_failure_says_whose_fault_it_is(uri, cause, detail):
    error = await failure(uri)
    assert error.cause is cause
    assert detail in error.detail


async def test_a_silent_name_server_is_our_fault():
    error = await failure("sip:silent.example.com", timeout=0.05)
    assert error.cause is Cause.DNS_FAILURE
    assert "within 0.05 s" in error.detail


async def test_an_unreachable_name_server_is_our_fault():
    async with serving({}) as server:
        port = server.port
    with pytest.raises(SipError) as caught:
        await Resolver(["127.0.0.1"], port, 0.1).resolve(
            SipUri.parse("sip:example.com")
        )
    assert caught.value.cause is Cause.DNS_FAILURE


async def test_weights_decide_which_of_equals_comes_first():
    zone: Zone = {
        "_sip._udp.w.example.com": {
            "SRV": ["1 90 5060 a.example.com.", "1 10 5060 b.example.com."]
        },
        "a.example.com": {"A": ["192.0.2.1"]},
        "b.example.com": {"A": ["192.0.2.2"]},
    }
    first: Counter[str] = Counter()
    async with serving(zone) as server:
        resolver = Resolver(["127.0.0.1"], server.port)
        uri = SipUri.parse("sip:w.example.com;transport=udp")
        for _ in range(60):
            first[(await resolver.resolve(uri)).addresses[0].ip] += 1
    assert first["192.0.2.1"] > first["192.0.2.2"]


async def test_both_families_are_found_ipv6_only_where_it_has_a_route(
    monkeypatch,
):
    zone: Zone = {"d.example.com": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}}
    monkeypatch.setattr(resolver_module, "routed", lambda ip: True)
    both = await resolved("sip:d.example.com:5060", zone)
    assert [a.ip for a in both.addresses] == ["192.0.2.1", "2001:db8::1"]
    monkeypatch.setattr(resolver_module, "routed", lambda ip: False)
    one = await resolved("sip:d.example.com:5060", zone)
    assert [a.ip for a in one.addresses] == ["192.0.2.1"]
    assert "no IPv6 route" in one.steps[-1]


async def test_an_address_without_a_route_is_kept_where_it_is_the_only_one(monkeypatch):
    monkeypatch.setattr(resolver_module, "routed", lambda ip: False)
    zone: Zone = {"v6.example.com": {"AAAA": ["2001:db8::1"]}}
    found = await resolved("sip:v6.example.com:5060", zone)
    assert found.addresses == (Address("2001:db8::1", 5060, "udp"),)


async def test_the_hosts_file_is_read_and_read_again(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.5 pbx PBX.lan # the old one\n")
    async with serving({}) as server:
        resolver = Resolver(["127.0.0.1"], server.port, hosts=hosts)
        found = await resolver.resolve(SipUri.parse("sip:Pbx.LAN"))
        assert found.addresses == (Address("192.0.2.5", 5060, "udp"),)
        assert found.steps == ("hosts Pbx.LAN -> 192.0.2.5",)
        assert found.ttl == 60.0
        assert server.asked == []


async def test_localhost_resolves_even_where_no_file_names_it(tmp_path):
    resolver = Resolver(["127.0.0.1"], 9, hosts=tmp_path / "none")
    found = await resolver.resolve(SipUri.parse("sip:localhost:5062"))
    assert found.addresses == (Address("127.0.0.1", 5062, "udp"),)


async def test_this_machines_own_settings_are_used_where_none_are_given():
    found = await Resolver().resolve(SipUri.parse("sip:localhost"))
    assert "127.0.0.1" in [a.ip for a in found.addresses]


def test_a_hosts_file_keeps_its_good_lines():
    text = "# c\n127.0.0.1 localhost\n::1 localhost ip6-localhost\nnonsense here\n\n"
    assert parse_hosts(text) == {
        "localhost": ("127.0.0.1", "::1"),
        "ip6-localhost": ("::1",),
    }
