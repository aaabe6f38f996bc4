"""What a target can answer: its state and cause in probe, in metrics, in the mail."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from sipwatch.demo.site import Trunk
from tests.checks.sip.nameserver import NameServer, serving
from tests.checks.sip.peer import answering, ok
from tests.conftest import StartAnswering
from tests.end_to_end.running import Samples, command
from tests.end_to_end.watch import Watch, body, row
from tests.servers import eventually

EXIT = {"up": 0, "degraded": 1, "down": 2}


@dataclass(frozen=True)
class Case:
    """One target: what it is, and how that is called."""

    name: str
    state: str
    cause: str | None = None
    code: int | None = None  # of its answer
    subject: str = ""  # what the subject of its mail has, none: no mail
    why: str = ""  # what the mail gives as the reason


CASES = (
    Case("ok", "up", code=200),
    Case("unauthorized", "up", code=401),
    Case("unknown", "up", code=404),
    Case("busy", "up", code=486),
    Case(
        "away",
        "degraded",
        "unavailable",
        480,
        "trunk away degraded since",
        "it answers 480",
    ),
    Case(
        "declining",
        "degraded",
        "response_603",
        603,
        "trunk declining degraded since",
        "it answers 603",
    ),
    Case(
        "overloaded",
        "down",
        "overloaded",
        503,
        "trunk overloaded answers OPTIONS with 503 since",
        "it answers 503",
    ),
    Case(
        "silent",
        "down",
        "timeout",
        subject="trunk silent does not answer OPTIONS since",
        why="nothing answered in time",
    ),
    Case(
        "closed",
        "down",
        "icmp_unreachable",
        subject="trunk closed does not answer OPTIONS since",
        why="cannot be reached",
    ),
    Case(
        "impostor",
        "down",
        "tls_verify",
        subject="trunk impostor shows a wrong certificate since",
        why="the certificate is for other.example.net, not for impostor.example.com",
    ),
    Case(
        "expired",
        "down",
        "tls_expired",
        subject="trunk expired shows an expired certificate since",
        why="its TLS certificate has expired",
    ),
    Case(
        "nowhere",
        "down",
        "dns_nxdomain",
        subject="trunk nowhere does not exist in DNS since",
        why="nowhere.example.com does not exist in the DNS",
    ),
    Case(
        "lost",
        "down",
        "dns_failure",
        subject="trunk lost cannot be looked up in DNS since",
        why="the DNS servers gave no usable answer",
    ),
)
ANSWERING = [case for case in CASES if case.code]
TOLD = [case for case in CASES if case.subject]


@dataclass
class Site:
    """All of them on loopback; `uris` by the names of the cases."""

    folder: Path
    uris: dict[str, str] = field(default_factory=dict)
    names: NameServer | None = None

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def nameserver(self) -> str:
        assert self.names is not None
        return f"127.0.0.1:{self.names.port}"


def closed_port() -> int:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def presenting(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Every target of the table, in one process, over real sockets."""
    made = Site(tmp_path)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(made.ca_file)
    ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    here = {"A": ["127.0.0.1"]}
    zone: dict[str, Any] = {
        "impostor.example.com": here,
        "expired.example.com": here,
        "lost.example.com": None,
    }
    certificates = {
        "impostor": ca.issue_cert("other.example.net"),
        "expired": ca.issue_cert("expired.example.com", not_after=ago),
    }
    async with contextlib.AsyncExitStack() as stack:
        made.names = await stack.enter_async_context(serving(zone))
        for case in CASES:
            if case.code or case.name == "silent":
                peer = Trunk(case.code or 200, "As Asked")
                peer.silent = not case.code
                await peer.open()
                stack.callback(peer.close)
                made.uris[case.name] = f"sip:127.0.0.1:{peer.address[1]}"
        for name, issued in certificates.items():
            secured = answering(ok, "tls", tls=presenting(issued))
            server = await stack.enter_async_context(secured)
            port = server.address.port
            made.uris[name] = f"sip:{name}.example.com:{port};transport=tls"
        made.uris["closed"] = f"sip:127.0.0.1:{closed_port()}"
        for name in ("nowhere", "lost"):
            made.uris[name] = f"sip:{name}.example.com:5060"
        yield made


# --- sipwatch probe ---------------------------------------------------------------


async def probed(site: Site, *uris: str, words: Sequence[object] = ()) -> Any:
    """The JSON of a probe of these, with its exit status."""
    done = await command(
        "probe", "--json", "--timeout", "2s", "--nameserver", site.nameserver,
        "--ca-file", site.ca_file, *words, *uris,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


async def test_probe_tells_the_state_and_cause_of_each(site: Site) -> None:
    status, found = await probed(site, *(site.uris[case.name] for case in CASES))
    assert status == 2
    for case, one in zip(CASES, found, strict=True):
        assert one["uri"] == site.uris[case.name]
        assert (case.name, one["state"], one["cause"], one["code"]) == (
            case.name,
            case.state,
            case.cause,
            case.code,
        )
        assert (one["rtt"] is not None) == (case.code is not None)
        assert one["detail"]
    by_name = dict(zip([case.name for case in CASES], found, strict=True))
    assert by_name["expired"]["certificate_days"] == pytest.approx(-2, abs=0.1)
    assert by_name["silent"]["sends"] > 1


@pytest.mark.parametrize("name", ["ok", "away", "silent", "nowhere"])
async def test_probe_of_one_exits_as_a_monitoring_plugin(site: Site, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    words = ("--timeout", "1s", "--nameserver", site.nameserver, site.uris[name])
    done = await command("probe", *words)
    assert (done.returncode, done.stderr) == (EXIT[case.state], "")
    (line,) = done.stdout.splitlines()
    text, _, figures = line.partition(" | ")
    assert text.startswith(case.state)
    assert site.uris[name] in text
    rtt, sends, *_ = figures.split()
    assert re.fullmatch(r"rtt=(0\.\d{6}s|U);;;0;1", rtt)
    assert (rtt == "rtt=U;;;0;1") == (case.code is None)
    assert re.fullmatch(r"sends=\d+;;;0", sends)


@pytest.mark.parametrize("nameserver", ["silent", "closed"])
async def test_a_dead_resolver_is_our_trouble_and_no_answer_of_the_target(
    site: Site, nameserver: str
) -> None:
    assert site.names is not None
    site.names.zone = {f"{kind}.example.com": None for kind in ("ok", "_sip._udp.ok")}
    dead = f"127.0.0.1:{closed_port()}" if nameserver == "closed" else site.nameserver
    words = ("--json", "--timeout", "1s", "--nameserver", dead)
    done = await command("probe", *words, "sip:ok.example.com:5060")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["cause"]) == (
        2,
        "down",
        "dns_failure",
    )


async def test_wrong_use_is_one_line_and_status_3(site: Site) -> None:
    for words in (
        ("sip:",),
        (),
        ("--nameserver", "name.example.com", "sip:127.0.0.1"),
        ("--nameserver", "127.0.0.1:99999", "sip:127.0.0.1"),
        ("--targets", "/nonexistent", "--json"),
    ):
        done = await command("probe", *words)
        assert done.returncode == 3
        (line,) = done.stderr.splitlines()
        assert line.startswith("sipwatch probe: ")
        assert done.stdout == ""


@pytest.mark.real("sipp")
async def test_sipp_answers_and_is_told_the_same(
    answering: StartAnswering, site: Site
) -> None:
    peers = [await asyncio.to_thread(answering, case.code) for case in ANSWERING]
    uris = [f"sip:{peer.address}:{peer.port}" for peer in peers]
    status, found = await probed(site, *uris)
    assert status == 2
    assert [(one["state"], one["cause"], one["code"]) for one in found] == [
        (case.state, case.cause, case.code) for case in ANSWERING
    ]


# --- the daemon -------------------------------------------------------------------


class Apart(Watch):
    """A daemon that tells of each target by itself."""

    def write(self, configuration: str) -> None:
        """Put the configuration in its file, grouped by target."""
        super().write(configuration)
        text = self.path.read_text(encoding="utf-8")
        apart = text.replace("group: {", "group: {by: [rule, target], ")
        self.path.write_text(apart, encoding="utf-8")


def configuration(site: Site, **keys: object) -> str:
    """The targets of the table, asked often, and rules that do not wait."""
    assert site.names is not None
    asked = {"interval": "3s", "confirm": "500ms", "timeout": "1s"} | keys
    tls = {"tls": {"ca": site.ca_file}}
    targets = {
        name: {"uri": uri, **asked, **(tls if "tls" in uri else {})}
        for name, uri in site.uris.items()
    }
    names = {"nameservers": ["127.0.0.1"], "port": site.names.port, "timeout": "1s"}
    rules = {
        "OptionsFailing": {"failures": 2, "for": "1s"},
        "TargetDegraded": {"for": "1s"},
    }
    sections = {"targets": targets, "resolver": names, "rules": rules}
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())


@pytest.fixture
async def watch(site: Site, tmp_path: Path) -> AsyncIterator[Apart]:
    made = Apart(tmp_path, configuration(site))
    await made.start()
    yield made
    await made.stop()


async def samples(watch: Watch) -> Samples:
    return Samples(await watch._get("/metrics"))


async def test_each_is_told_in_metrics_and_by_mail(watch: Apart) -> None:
    def told() -> bool:
        return all(any(c.subject in s for s in watch.subjects) for c in TOLD)

    await eventually(told, 40, "a mail of each")
    shown = await samples(watch)
    for case in CASES:
        state = shown.label("sipwatch_target_state", "state", target=case.name)
        cause = shown.label("sipwatch_target_cause", "cause", target=case.name)
        assert (case.name, state, cause) == (case.name, case.state, case.cause)
        asked = {"target": case.name, "outcome": case.state}
        assert (shown.of("sipwatch_options_probes_total", **asked) or 0) >= 1
        failures = shown.of("sipwatch_options_consecutive_failures", target=case.name)
        assert ((failures or 0) > 0) == (case.state == "down")
    for case in TOLD:
        (mail,) = (m for m in watch.mails if case.subject in str(m["Subject"]))
        assert case.why in row(mail, "why"), body(mail)
        assert row(mail, "next step")
    quiet = {case.name for case in CASES} - {case.name for case in TOLD}
    assert not [s for s in watch.subjects for name in quiet if f"trunk {name} " in s]


async def test_who_comes_back_is_told_so_in_the_same_thread(tmp_path: Path) -> None:
    trunk = Trunk()
    await trunk.open()
    trunk.silent = True
    uris = {"provider": f"sip:127.0.0.1:{trunk.address[1]}"}
    async with serving({}) as names:
        site = Site(tmp_path, uris, names)
        watch = Apart(tmp_path, configuration(site))
        await watch.start()
        try:
            first = await watch.mail(1, 20)
            trunk.silent = False
            second = await watch.mail(2, 20)
        finally:
            await watch.stop()
            trunk.close()
    assert "provider does not answer OPTIONS since" in str(first["Subject"])
    assert str(second["Subject"]).startswith(
        "[resolved] trunk provider answers OPTIONS again after"
    )
    assert watch.in_thread(second, first)


async def test_a_dead_resolver_is_one_incident_of_ours_and_keeps_addresses(
    tmp_path: Path,
) -> None:
    trunk = Trunk()
    await trunk.open()
    uri = f"sip:provider.example.com:{trunk.address[1]}"
    here: dict[str, Any] = {"provider.example.com": {"A": ["127.0.0.1"]}}
    async with serving(here) as names:
        site = Site(tmp_path, {"provider": uri}, names)
        watch = Apart(tmp_path, configuration(site))
        await watch.start()
        try:
            await eventually(lambda: watch.daemon.ready, 10, "the first pass")
            names.zone = {"provider.example.com": None}
            asked = trunk.requests
            watch.daemon.options.probe_now("target:provider")  # asks for its name too
            mail = await watch.mail(1, 20)
            await eventually(lambda: trunk.requests > asked + 1, 10, "a question")
            states = (await samples(watch)).label(
                "sipwatch_target_state", "state", target="provider"
            )
            names.zone = here
            watch.daemon.options.probe_now("target:provider")
            over = await watch.mail(2, 60)
        finally:
            await watch.stop()
            trunk.close()
    assert "resolver" in str(mail["Subject"]).lower() or "DNS" in str(mail["Subject"])
    assert states == "up"
    assert str(over["Subject"]).startswith("[resolved]")
