"""Probing once, as the command does: plain lists, and all else."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from checks.observation import Cause, State
from checks.options.probe import ProbeResult, probe, probe_once
from checks.options.targets import TargetTls
from checks.sip.resolver import Address
from checks.sip.trace import ladder
from tests.checks.options.sweeping import response, saying, silent
from tests.checks.peers import Names, free_port, stream_peer, tls_server, udp_peer


async def asked(*uris: str, **options: object) -> list[ProbeResult]:
    """`probe`, beside the loop on which the peers run."""
    return await asyncio.to_thread(probe, uris, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "state", "cause", "code", "detail"),
    [
        (saying("200 OK"), State.UP, None, 200, "200 OK from {}"),
        (saying("401 No"), State.UP, None, 401, "401 Unauthorized from {}"),
        (
            saying("480 Away", "Server: x"),
            State.DEGRADED,
            Cause.UNAVAILABLE,
            480,
            "480 Away from {} (Server: x)",
        ),
        (saying("503 Busy"), State.DOWN, Cause.OVERLOADED, 503, "503 Busy from {}"),
        (
            silent,
            State.DOWN,
            Cause.TIMEOUT,
            None,
            "1 send to {} over UDP, no answer",
        ),
    ],
)
async def test_a_plain_address(
    answers: object, state: State, cause: Cause | None, code: int | None, detail: str
) -> None:
    async with udp_peer(answers) as peer:  # type: ignore[arg-type]
        where = f"127.0.0.1:{peer.port}"
        (result,) = await asked(where, timeout=0.4)
    assert (result.uri, result.state, result.cause) == (where, state, cause)
    assert (result.code, result.address, result.transport) == (code, where, "udp")
    assert result.detail == detail.format(where)
    assert (result.rtt is None) == (code is None)
    assert result.sends == 1


async def test_many_stand_in_the_order_in_which_they_were_given() -> None:
    reported: list[ProbeResult] = []
    async with udp_peer() as peer, udp_peer(silent) as dead:
        uris = [f"127.0.0.1:{port}" for port in (dead.port, peer.port, free_port())]
        results = await asked(*uris, uris[1], timeout=0.4, report=reported.append)
    assert [result.uri for result in results] == [*uris, uris[1]]
    states = [State.DOWN, State.UP, State.DOWN, State.UP]
    assert [result.state for result in results] == states
    assert results[2].cause is Cause.ICMP_UNREACHABLE
    assert len(reported) == 4
    assert reported[-1] is results[0]  # the silent one is the last to be known


async def test_a_lost_packet_is_sent_again() -> None:
    heard: list[bytes] = []

    def second_time(request: bytes) -> bytes | None:
        heard.append(request)
        return response(request) if len(heard) > 1 else None

    async with udp_peer(second_time) as peer:
        (result,) = await asked(f"127.0.0.1:{peer.port}", exchange=True)
    assert (result.state, result.sends) == (State.UP, 2)
    shown = ladder(result.exchange)
    assert [message.sent for message in result.exchange] == [True, True, False]
    assert "(retransmission)" in shown
    assert "SIP/2.0 200 OK" in shown


async def test_a_name_shows_all_its_addresses() -> None:
    async with udp_peer() as peer, udp_peer(silent) as dead:
        names = Names(
            pbx_example_com=[
                Address("127.0.0.1", dead.port, "udp"),
                Address("127.0.0.1", peer.port, "udp"),
            ]
        )
        results = await probe_once(
            ["sip:pbx.example.com", "sip:no.example.com"], resolver=names, timeout=0.4
        )
    assert [result.state for result in results] == [State.DEGRADED, State.DOWN]
    first, second = results
    assert [a.state for a in first.addresses] == [State.DOWN, State.UP]
    assert first.detail.startswith("1 of 2 addresses up; ")
    assert (second.cause, second.address) == (Cause.DNS_NXDOMAIN, "")


async def test_tls_with_its_exchange_and_certificate() -> None:
    cert = trustme.CA().issue_cert("pbx.example.com")
    async with stream_peer(tls=tls_server(cert)) as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tls")])
        (result,) = await probe_once(
            [f"sip:pbx.example.com:{peer.port};transport=tls"],
            resolver=names,
            exchange=True,
            tls=TargetTls(verify=False),
        )
    assert (result.state, result.transport, result.code) == (State.UP, "tls", 200)
    assert result.not_after is not None
    assert [m.transport for m in result.exchange] == ["tls", "tls"]
    assert result.exchange[0].remote == ("127.0.0.1", peer.port)


async def test_nothing_asked_is_nothing_answered() -> None:
    assert await asked() == []
    assert await probe_once([]) == []


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("what is this", {}),
        ("127.0.0.1", {"timeout": 0.0}),
        ("127.0.0.1", {"source": "eth0"}),
    ],
)
async def test_what_is_wrong_is_refused(uri: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        await asked(uri, **options)


async def test_a_source_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError):
        await asked("127.0.0.1", source="192.0.2.1")
    with pytest.raises(OSError):
        await probe_once(["sip:1@127.0.0.1"], source="192.0.2.1")
