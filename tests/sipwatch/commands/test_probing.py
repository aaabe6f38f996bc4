"""`sipwatch probe`: what it prints, and how it exits."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dns.rcode
import pytest
import trustme

from checks.observation import Cause, State
from checks.options.probe import ProbeResult
from checks.options.views import AddressView
from checks.sip.message import Request
from sipwatch.commands import probing
from tests.checks.sip.nameserver import serving
from tests.checks.sip.peer import answering, ok, respond

LONG = "sip:acme.pstn.twilio.com;transport=tls"
ODD = (
    "sip:a-very-long-user-name@a-very-long-host-name.of.some.example.com;transport=tls"
)


async def probe(*uris: str, **options: Any) -> int:
    """As the command does it, in a thread, as it blocks."""
    given: dict[str, Any] = {
        "targets": None,
        "timeout": "2s",
        "from_uri": None,
        "user_agent": None,
        "source": None,
        "ca_file": None,
        "healthy": None,
        "verbose": False,
        "as_json": False,
        **options,
    }
    return await asyncio.to_thread(probing.run, uris=uris, **given)


def said(status: int, reason: str = "") -> Any:
    def script(request: Request, number: int) -> list[bytes]:
        return [respond(request, status, reason)]

    return script


# --- real answers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "state", "cause", "status"),
    [
        (200, "up", None, 0),
        (401, "up", None, 0),
        (404, "up", None, 0),
        (480, "degraded", "unavailable", 1),
        (486, "up", None, 0),
        (503, "down", "overloaded", 2),
        (603, "degraded", "response_603", 1),
        (408, "down", "response_408", 2),
    ],
)
async def test_each_answer_has_its_state_cause_and_exit_status(
    capsys: pytest.CaptureFixture[str],
    code: int,
    state: str,
    cause: str | None,
    status: int,
) -> None:
    async with answering(said(code, "Words of it")) as peer:
        assert await probe(str(peer.address), as_json=True) == status
    (entry,) = json.loads(capsys.readouterr().out)
    told = {key: entry[key] for key in ("uri", "state", "cause", "code", "address")}
    assert told == {
        "uri": str(peer.address),
        "state": state,
        "cause": cause,
        "code": code,
        "address": str(peer.address),
    }
    assert 0 < entry["rtt"] < 2
    assert entry["sends"] == 1


async def test_silence_is_a_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(lambda request, number: []) as peer:
        assert await probe(str(peer.address), timeout="700ms") == 2
    line = capsys.readouterr().out.split("|")[0].split()
    assert line == [
        "down",
        *[str(peer.address)],
        "timeout",
        str(peer.address),
        "2",
        "sends",
    ]


async def test_a_closed_port_is_told_by_icmp(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with answering(ok) as peer:
        pass
    assert await probe(str(peer.address), as_json=True) == 2
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["cause"], entry["code"]) == ("icmp_unreachable", None)


async def test_a_certificate_for_another_name_and_one_that_fits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca_file = str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(ca_file)
    for identity, status in (("other.example.com", 2), ("127.0.0.1", 0)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(identity).configure_cert(context)
        async with answering(ok, "tls", tls=context) as peer:
            uri = f"sip:{peer.address};transport=tls"
            assert await probe(uri, ca_file=ca_file, as_json=True) == status
        (entry,) = json.loads(capsys.readouterr().out)
        assert entry["cause"] == (None if status == 0 else "tls_verify")
        assert entry["certificate_days"] > 0
        [address] = entry["addresses"]
        assert address["certificate_days"] == entry["certificate_days"]
        assert entry["transport"] == "tls"


@pytest.mark.parametrize(
    ("found", "cause"),
    [(dns.rcode.NXDOMAIN, "dns_nxdomain"), (dns.rcode.SERVFAIL, "dns_failure")],
)
async def test_a_name_without_an_address(
    capsys: pytest.CaptureFixture[str], found: dns.rcode.Rcode, cause: str
) -> None:
    async with serving({"pbx.example.com": found}) as names:
        server = f"127.0.0.1:{names.port}"
        assert await probe("sip:pbx.example.com", nameserver=server, as_json=True) == 2
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["cause"], entry["address"], entry["sends"]) == (cause, "", 0)


async def test_every_address_of_a_name_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with answering(ok) as first, answering(said(480)) as second:
        records = [
            f"0 0 {peer.address.port} a.example.com." for peer in (first, second)
        ]
        zone = {
            "_sip._udp.example.com": {"SRV": records},
            "a.example.com": {"A": ["127.0.0.1"]},
        }
        async with serving(zone) as names:
            server = f"127.0.0.1:{names.port}"
            uri = "sip:example.com;transport=udp"
            assert await probe(uri, nameserver=server) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"degraded  {uri}   480 Said   {second.address}")
    assert sorted(line.split()[0:2] for line in lines[1:]) == [
        ["degraded", str(second.address)],
        ["up", str(first.address)],
    ]


async def test_the_worst_of_several_decides_and_a_file_adds_to_the_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with answering(ok) as well, answering(said(480)) as away:
        file = tmp_path / "phones.txt"
        file.write_text(f"# our phones\n{away.address}\n")
        assert await probe(str(well.address), targets=str(file)) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"up        {well.address}")
    assert second.startswith(f"degraded  {away.address}")
    assert "|" not in first + second


async def test_what_one_calls_healthy_is_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with answering(said(480)) as peer:
        assert await probe(str(peer.address), healthy="2xx, 480") == 0
        assert await probe(str(peer.address), healthy="2xx") == 1
    async with answering(ok) as peer:
        assert await probe(str(peer.address), healthy="401") == 1


async def test_what_we_say_of_ourselves_can_be_chosen() -> None:
    async with answering(ok) as peer:
        await probe(
            str(peer.address), from_uri="sip:probe@example.com", user_agent="Probe 1"
        )
    (request,) = peer.requests
    assert request.get("user-agent") == "Probe 1"
    assert (request.get("from") or "").startswith("<sip:probe@example.com>;tag=")


async def test_the_exchange_is_shown_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with answering(said(486, "Bu\x1b[31msy")) as peer:
        await probe(str(peer.address), verbose=True)
    out = capsys.readouterr().out
    assert f"-> {peer.address} udp" in out
    assert "    OPTIONS sip:127.0.0.1" in out
    assert "    SIP/2.0 486 Bu�[31msy" in out
    assert "\x1b" not in out


async def test_the_exchange_stands_in_the_json_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with answering(ok) as peer:
        await probe(str(peer.address), verbose=True, as_json=True)
    (entry,) = json.loads(capsys.readouterr().out)
    assert "SIP/2.0 200 OK" in entry["exchange"]


# --- what is printed ------------------------------------------------------------------


def result(uri: str, state: State = State.UP, **more: Any) -> ProbeResult:
    shown: dict[str, Any] = {
        "cause": None,
        "code": 200,
        "reason": "OK",
        "address": "10.0.0.5:5060",
        "transport": "udp",
        "rtt": 0.0006,
        "sends": 1,
        "detail": "",
        **more,
    }
    return ProbeResult(uri, state, **shown)


def printed(*results: ProbeResult, width: int = 10_000) -> list[str]:
    text = "\n".join(probing._lines(results, False, 5.0, width))
    return text.splitlines()


def trunk() -> ProbeResult:
    ends = time.time() + 61.5 * 86400
    return result(LONG, address="54.172.60.1:5061", rtt=0.0382, not_after=ends)


def away() -> ProbeResult:
    words = {"code": 480, "reason": "Temporarily Unavailable"}
    return result("sip:10.0.0.5", State.DEGRADED, cause=Cause.UNAVAILABLE, **words)


def test_a_table_of_two() -> None:
    assert printed(trunk(), away()) == [
        "up        sip:acme.pstn.twilio.com;transport=tls   200 OK                     "
        "   54.172.60.1:5061   38.2 ms   certificate 61 days",
        "degraded  sip:10.0.0.5                             480 Temporarily Unavailable"
        "   10.0.0.5:5060      0.6 ms",
    ]


def test_at_80_columns_each_takes_two_lines() -> None:
    lines = printed(trunk(), away(), width=80)
    assert lines == [
        "up        sip:acme.pstn.twilio.com;transport=tls",
        "          200 OK   54.172.60.1:5061   38.2 ms   certificate 61 days",
        "degraded  sip:10.0.0.5",
        "          480 Temporarily Unavailable   10.0.0.5:5060   0.6 ms",
    ]
    assert printed(trunk(), away(), width=90)[1::2] == [
        "          200 OK                        54.172.60.1:5061   38.2 ms   "
        "certificate 61 days",
        "          480 Temporarily Unavailable   10.0.0.5:5060      0.6 ms",
    ]


def test_a_long_uri_is_whole_and_moves_no_line_but_its_own() -> None:
    first, second = printed(result("sip:10.0.0.5"), result(ODD))
    assert first == "up        sip:10.0.0.5   200 OK   10.0.0.5:5060   0.6 ms"
    assert second == f"up        {ODD}   200 OK   10.0.0.5:5060   0.6 ms"


def test_one_target_has_performance_data() -> None:
    (line,) = printed(result("sip:10.0.0.5"))
    assert line == (
        "up        sip:10.0.0.5   200 OK   10.0.0.5:5060   0.6 ms"
        " | rtt=0.000600s;;;0;5 sends=1;;;0"
    )
    assert printed(trunk())[0].endswith(
        "| rtt=0.038200s;;;0;5 sends=1;;;0 certificate_days=61"
    )


def test_performance_data_without_an_answer_is_unknown() -> None:
    down = result(
        "sip:10.0.0.5",
        State.DOWN,
        cause=Cause.TIMEOUT,
        code=None,
        reason="",
        rtt=None,
        sends=4,
        detail="4 sends to 10.0.0.5:5060 over UDP, no answer",
    )
    assert printed(down) == [
        "down      sip:10.0.0.5   timeout   10.0.0.5:5060   4 sends"
        " | rtt=U;;;0;5 sends=4;;;0"
    ]


def test_a_peer_cannot_write_performance_data() -> None:
    (line,) = printed(result("sip:10.0.0.5", reason="OK | rtt=0s \x1b[2J"))
    assert line.count("|") == 1
    assert "\x1b" not in line


def test_a_failure_says_why_and_a_certificate_that_ended_says_so() -> None:
    down = result(
        LONG,
        State.DOWN,
        cause=Cause.TLS_EXPIRED,
        code=None,
        reason="",
        rtt=None,
        detail="its certificate ended 2 days ago; renew it",
        not_after=time.time() - 2.5 * 86400,
    )
    (line,) = printed(down)
    assert line.split(" | ")[0] == (
        f"down      {LONG}   certificate expired   10.0.0.5:5060"
        "   its certificate ended 2 days ago   certificate expired"
    )
    assert line.endswith("certificate_days=-3")


def test_every_address_of_a_name_is_shown() -> None:
    def address(ip: str, state: State, **more: Any) -> AddressView:
        known: dict[str, Any] = {
            "cause": None, "detail": "", "code": 200, "rtt": 0.031, "failures": 0,
            "answered": True, "reason": "OK", "agent": "", "sends": 1,
            "not_after": None, **more,
        }  # fmt: skip
        return AddressView(f"{ip}:5060", "udp", state, 0.0, **known)

    several = result(
        "sip:example.com",
        State.DEGRADED,
        addresses=(
            address("192.0.2.1", State.UP),
            address("192.0.2.20", State.DOWN, cause=Cause.TIMEOUT, answered=False),
            address("192.0.2.3", State.UP, not_after=time.time() + 61.5 * 86400),
        ),
    )
    assert printed(several)[1:] == [
        "  up        192.0.2.1:5060 udp    200 OK    31.0 ms",
        "  down      192.0.2.20:5060 udp   timeout",
        "  up        192.0.2.3:5060 udp    200 OK    31.0 ms   certificate 61 days",
    ]


# --- wrong use ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uris", "options", "message"),
    [
        ((), {}, "no target: give a SIP URI, or a file by --targets"),
        (("foo@@",), {}, "'sip:foo@@' is not a SIP URI"),
        (("127.0.0.1",), {"timeout": "5"}, "5 is not a duration (write 5s)"),
        (("127.0.0.1",), {"timeout": "0s"}, "timeout must be more than 0s"),
        (("127.0.0.1",), {"healthy": "9"}, "'9' is not a final response"),
        (("127.0.0.1",), {"source": "here"}, "'here' is not an IP address"),
        (("127.0.0.1",), {"source": "192.0.2.1"}, "cannot send from 192.0.2.1: "),
        (("127.0.0.1",), {"ca_file": "/no/ca"}, "/no/ca: No such file or directory"),
        ((), {"targets": "/no/list"}, "/no/list: No such file or directory"),
        (("127.0.0.1",), {"from_uri": "nobody"}, "'nobody' is not a SIP URI"),
        (("a.example",), {"nameserver": "dns"}, "'dns' is not an IP address"),
        (
            ("a.example",),
            {"nameserver": "[::1]:x"},
            "'[::1]:x': the port of a",
        ),
        (("127.0.0.1",), {"user_agent": "a\r\nb"}, "cannot stand in a header field"),
    ],
)
async def test_wrong_use_is_a_line_on_stderr_and_status_3(
    capsys: pytest.CaptureFixture[str],
    uris: tuple[str, ...],
    options: dict[str, str],
    message: str,
) -> None:
    assert await probe(*uris, **options) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sipwatch probe: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


async def test_every_wrong_uri_is_told_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert await probe("foo@@", "127.0.0.1", "bar@@") == 3
    assert len(capsys.readouterr().err.splitlines()) == 2
    file = tmp_path / "phones.txt"
    file.write_text("127.0.0.1\nfoo@@\n")
    assert await probe(targets=str(file)) == 3
    assert "phones.txt:2: " in capsys.readouterr().err


async def test_plain_addresses_load_nothing_that_is_heavy(tmp_path: Path) -> None:
    async with answering(ok) as peer:
        file = tmp_path / "phones.txt"
        file.write_text(f"{peer.address}\n")
        script = (
            "import sys\n"
            f"sys.argv = ['sipwatch', 'probe', '--targets', {str(file)!r}]\n"
            "from sipwatch.cli import main\n"
            "try: main()\n"
            "except SystemExit as end: print(end.code)\n"
            "print({m.partition('.')[0] for m in sys.modules} & {'pydantic',"
            " 'aiohttp', 'fastapi', 'dns', 'asyncio', 'ssl', 'cryptography', 'yaml'})"
        )
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.stderr == ""
    assert run.stdout.splitlines()[-2:] == ["0", "set()"]
