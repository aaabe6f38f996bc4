"""The check on real sockets: UDP, TCP, TLS, ICMP, names, reload."""

from __future__ import annotations

import asyncio
import datetime
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.options.targets import Target, TargetFileSettings, TargetTls
from checks.options.wires import BUSY
from checks.sip.errors import SipError
from checks.sip.resolver import Address
from tests.checks.options.sweeping import header, saying, silent
from tests.checks.peers import (
    Names,
    free_port,
    stream_peer,
    target,
    tls_server,
    udp_peer,
    watching,
)
from tests.servers import eventually


async def test_a_peer_that_answers_is_up() -> None:
    async with (
        udp_peer() as peer,
        watching(target("pbx", f"127.0.0.1:{peer.port}")) as watch,
    ):
        view = await watch.view("target:pbx")
        assert (view.state, view.cause, view.detail) == (
            State.UP,
            None,
            f"200 OK from 127.0.0.1:{peer.port}",
        )
        (address,) = view.addresses
        assert address.address == f"127.0.0.1:{peer.port}"
        assert address.rtt is not None
        assert 0 < address.rtt < 1
        assert watch.told[0].subject.key == "target:pbx"
        assert watch.check.passed
        assert watch.check.drops == 0
        assert watch.check.receive_buffer > 0
        contact = header(peer.asked[0], "Contact")
        via = header(peer.asked[0], "Via")
        assert contact.removeprefix("<sip:sipwatch@")[:-1] in via


async def test_over_ipv6_too() -> None:
    async with (
        udp_peer(host="::1") as peer,
        watching(
            target("pbx", f"sip:1001@[::1]:{peer.port}"), names=Loopback()
        ) as watch,
    ):
        view = await watch.view("target:pbx")
        assert view.state is State.UP
        assert view.addresses[0].address == f"[::1]:{peer.port}"
        assert peer.asked[0].startswith(b"OPTIONS sip:1001@[::1]:")


class Loopback(Names):
    """Knows ::1, as the real one does without asking anybody."""

    def __init__(self) -> None:
        super().__init__()

    async def resolve(self, uri: Any) -> Any:
        self.known[uri.host] = [Address(uri.host, uri.port, "udp")]
        return await super().resolve(uri)


async def test_a_closed_port_is_icmp_unreachable_at_once() -> None:
    port = free_port()
    async with watching(target("gone", f"127.0.0.1:{port}")) as watch:
        view = await watch.view("target:gone")
        assert (view.state, view.cause) == (State.DOWN, Cause.ICMP_UNREACHABLE)
        assert view.detail.startswith("ICMP: port unreachable")
        assert watch.told[0].at - watch.told[0].since < 1


async def test_icmp_of_one_target_does_no_harm_to_another() -> None:
    async with udp_peer() as peer:
        dead = [target(f"d{n}", f"127.0.0.1:{free_port()}") for n in range(5)]
        alive = target("alive", f"127.0.0.1:{peer.port}")
        async with watching(*dead, alive) as watch:
            await eventually(lambda: watch.check.passed)
            states = [watch.check.targets[f"target:d{n}"].state for n in range(5)]
            assert states == [State.DOWN] * 5
            view = watch.check.targets["target:alive"]
            assert view.state is State.UP
            assert view.figures.resent == 0


async def test_an_answer_that_another_socket_sends_is_flagged() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        async with udp_peer() as peer:
            peer.elsewhere = other
            lenient = target("lenient", f"127.0.0.1:{peer.port}")
            async with watching(lenient) as watch:
                view = await watch.view("target:lenient")
                assert view.state is State.UP
                assert view.detail.endswith(f"though 127.0.0.1:{peer.port} was asked")
            strict = target("strict", f"127.0.0.1:{peer.port}", strict_source=True,
                            timeout=0.4)  # fmt: skip
            async with watching(strict) as watch:
                assert (await watch.view("target:strict")).cause is Cause.TIMEOUT


async def test_it_asks_from_the_source_that_is_configured() -> None:
    async with udp_peer() as peer:
        chosen = target("pbx", f"127.0.0.1:{peer.port}", source="127.0.0.9")
        async with watching(chosen) as watch:
            await watch.view("target:pbx")
        assert "127.0.0.9:" in header(peer.asked[0], "Via")


async def test_a_source_that_is_not_ours_is_an_error_at_start() -> None:
    wrong = target("pbx", "127.0.0.1:5070", source="192.0.2.1")
    with pytest.raises(OSError):
        async with watching(wrong):
            await asyncio.sleep(0)


async def test_many_targets_are_polled_and_each_is_judged(tmp_path: Path) -> None:
    async with udp_peer() as peer:
        settings = TargetFileSettings(file="x", interval=2.0, timeout=1.0)
        scope = Scope("x", "phone")
        count = int(BUSY * settings.interval) + 100
        targets = [
            Target(Subject(Kind.TARGET, uri, scope), uri, settings)
            for uri in (f"sip:{n}@127.0.0.1:{peer.port}" for n in range(count))
        ]
        async with watching(*targets, names=Loopback()) as watch:
            await eventually(lambda: watch.check.passed, timeout=20)
            assert watch.check.sweep.rate > BUSY
            assert {o.state for o in watch.told} == {State.UP}
            assert len({data.split(b" ", 2)[1] for data in peer.asked}) == count


async def test_a_restart_of_probing_is_at_once_where_asked_for() -> None:
    async with udp_peer() as peer:
        far = target("pbx", f"127.0.0.1:{peer.port}", interval=3600.0)
        async with watching(far) as watch:
            await watch.view("target:pbx")
            assert watch.check.probe_now("target:pbx")
            await eventually(lambda: len(peer.asked) == 2)
            assert not watch.check.probe_now("target:nobody")
            assert not watch.check.probe_now("extension:pbx")


async def test_closing_is_no_observation() -> None:
    async with udp_peer(silent) as peer:
        async with watching(target("pbx", f"127.0.0.1:{peer.port}")) as watch:
            await eventually(lambda: peer.asked)
        assert watch.told == []


# Streams


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def test_tcp_keeps_its_connection_between_questions() -> None:
    async with stream_peer() as peer:
        uri = f"sip:pbx.example.com:{peer.port};transport=tcp"
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tcp")])
        async with watching(target("pbx", uri, interval=0.3, timeout=0.2),
                            names=names) as watch:  # fmt: skip
            view = await watch.view("target:pbx", lambda v: v.figures.successes >= 3)
            assert view.addresses[0].transport == "tcp"
            assert len(peer.writers) == 1
            assert header(peer.asked[0], "Via").startswith("SIP/2.0/TCP ")


async def test_a_kept_connection_that_was_closed_is_opened_anew() -> None:
    async with stream_peer() as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tcp")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tcp"
        async with watching(target("pbx", uri), names=names) as watch:
            await watch.view("target:pbx")
            peer.close_connections()
            watch.check.probe_now("target:pbx")
            await watch.view("target:pbx", lambda v: v.figures.successes == 2)
            peer.hang_ups = 1  # in the middle of the next question
            watch.check.probe_now("target:pbx")
            await watch.view("target:pbx", lambda v: v.figures.successes == 3)
            assert len(peer.asked) == 4
            assert len(peer.writers) == 3


async def test_a_refused_connection_says_so_and_recovers() -> None:
    port = free_port(socket.SOCK_STREAM)
    names = Names(pbx_example_com=[Address("127.0.0.1", port, "tcp")])
    uri = f"sip:pbx.example.com:{port};transport=tcp"
    async with watching(target("pbx", uri, confirm=0.3), names=names) as watch:
        view = await watch.view("target:pbx")
        assert (view.state, view.cause) == (State.DOWN, Cause.CONNECTION_REFUSED)
        server = await asyncio.start_server(_answering, "127.0.0.1", port)
        try:
            await watch.view("target:pbx", lambda v: v.state is State.UP)
        finally:
            server.close()


async def _answering(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    data = await reader.readuntil(b"\r\n\r\n")
    writer.write(saying("200 OK")(data) or b"")


async def test_a_server_that_hangs_up_on_each_question_is_down() -> None:
    async with stream_peer() as peer:
        peer.hang_ups = 100
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tcp")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tcp"
        async with watching(target("pbx", uri), names=names) as watch:
            view = await watch.view("target:pbx")
            assert (view.state, view.cause) == (State.DOWN, Cause.CONNECTION_RESET)


async def test_tls_tells_the_days_of_the_certificate(
    authority: trustme.CA, ca_file: str
) -> None:
    cert = authority.issue_cert("pbx.example.com")
    async with stream_peer(tls=tls_server(cert)) as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tls")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tls"
        trusted = target("pbx", uri, tls=TargetTls(ca=ca_file))
        async with watching(trusted, names=names) as watch:
            view = await watch.view("target:pbx")
            assert (view.state, view.detail) == (
                State.UP,
                f"200 OK from 127.0.0.1:{peer.port}",
            )
            assert view.not_after is not None
            assert view.figures.days is not None
            assert watch.told[0].figures.days == pytest.approx(view.figures.days, 1e-3)


@pytest.mark.parametrize("expired", [False, True])
async def test_a_certificate_that_is_wrong_is_the_cause(
    authority: trustme.CA, ca_file: str, expired: bool
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    cert = (
        authority.issue_cert("pbx.example.com", not_after=past)
        if expired
        else authority.issue_cert("other.example.com")
    )
    async with stream_peer(tls=tls_server(cert)) as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tls")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tls"
        trusted = target("pbx", uri, tls=TargetTls(ca=ca_file))
        async with watching(trusted, names=names) as watch:
            view = await watch.view("target:pbx")
            wanted = Cause.TLS_EXPIRED if expired else Cause.TLS_VERIFY
            assert (view.state, view.cause) == (State.DOWN, wanted)
            assert view.not_after is not None
            assert (view.figures.days or 0) < (0 if expired else 1e6)
            assert "never answered" not in view.detail


async def test_a_certificate_need_not_be_trusted_where_so_configured(
    authority: trustme.CA,
) -> None:
    cert = authority.issue_cert("other.example.com")
    async with stream_peer(tls=tls_server(cert)) as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tls")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tls"
        lax = target("pbx", uri, tls=TargetTls(verify=False))
        async with watching(lax, names=names) as watch:
            view = await watch.view("target:pbx")
            assert view.state is State.UP
            assert view.not_after is not None


async def test_a_file_of_authorities_that_is_missing_is_told(
    authority: trustme.CA,
) -> None:
    async with stream_peer(tls=tls_server(authority.issue_cert("a.example"))) as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "tls")])
        uri = f"sip:pbx.example.com:{peer.port};transport=tls"
        wrong = target("pbx", uri, tls=TargetTls(ca="/nowhere/ca.pem"))
        async with watching(wrong, names=names) as watch:
            view = await watch.view("target:pbx")
            assert view.cause is Cause.TLS_VERIFY
            assert view.detail.startswith("/nowhere/ca.pem: No such file")


# Names


async def test_every_address_of_a_name_is_asked_and_shown() -> None:
    async with udp_peer() as first, udp_peer(silent) as second:
        ports = first.port, second.port
        names = Names(
            pbx_example_com=[Address("127.0.0.1", port, "udp") for port in ports]
        )
        several = target("pbx", "sip:pbx.example.com", timeout=0.4)
        async with watching(several, names=names) as watch:
            view = await watch.view("target:pbx", lambda v: v.state is State.DEGRADED)
            assert [a.state for a in view.addresses] == [State.UP, State.DOWN]
            assert view.detail.startswith("1 of 2 addresses up; 1 send to 127.0.0.1:")


async def test_a_name_that_does_not_exist_is_the_targets_fault() -> None:
    async with watching(target("pbx", "sip:no.example.com")) as watch:
        view = await watch.view("target:pbx")
        assert (view.state, view.cause) == (State.DOWN, Cause.DNS_NXDOMAIN)
        assert view.detail == "no.example.com does not exist in the DNS"
        assert watch.resolver == [(True, "")]  # our resolver did its part


async def test_last_good_addresses_serve_while_the_resolver_fails() -> None:
    async with udp_peer() as peer:
        names = Names(pbx_example_com=[Address("127.0.0.1", peer.port, "udp")])
        async with watching(target("pbx", "sip:pbx.example.com"), names=names) as watch:
            await watch.view("target:pbx")
            dead = SipError(Cause.DNS_FAILURE, "no answer from 192.0.2.53")
            names.known["pbx.example.com"] = dead
            watch.check.probe_now("target:pbx")
            await eventually(lambda: len(watch.resolver) > 1)
            assert watch.resolver[1:] == [(False, "no answer from 192.0.2.53")]
            await eventually(lambda: len(peer.asked) == 2)
            assert watch.check.targets["target:pbx"].state is State.UP
            names.known["pbx.example.com"] = [Address("127.0.0.1", peer.port, "udp")]
            watch.check.probe_now("target:pbx")
            await eventually(lambda: len(watch.resolver) == 3)
            assert watch.resolver[2] == (True, "")


async def test_a_dead_resolver_without_a_last_address_is_dns_failure() -> None:
    dead = SipError(Cause.DNS_FAILURE, "no answer from 192.0.2.53")
    names = Names(pbx_example_com=dead)
    async with watching(target("pbx", "sip:pbx.example.com"), names=names) as watch:
        view = await watch.view("target:pbx")
        assert (view.state, view.cause) == (State.DOWN, Cause.DNS_FAILURE)
        assert view.addresses[0].address == ""


async def test_addresses_that_change_keep_the_rows_that_stay() -> None:
    async with udp_peer() as first, udp_peer() as second:
        one, two = (Address("127.0.0.1", p.port, "udp") for p in (first, second))
        names = Names(pbx_example_com=[one])
        async with watching(target("pbx", "sip:pbx.example.com"), names=names) as watch:
            await watch.view("target:pbx")
            names.known["pbx.example.com"] = [one, two]
            watch.check.probe_now("target:pbx")
            view = await watch.view("target:pbx", lambda v: len(v.addresses) == 2)
            await eventually(lambda: second.asked)
            names.known["pbx.example.com"] = [two]
            watch.check.probe_now("target:pbx")
            view = await watch.view("target:pbx", lambda v: len(v.addresses) == 1)
            assert view.addresses[0].address == f"127.0.0.1:{second.port}"


# Reload


async def test_a_reload_keeps_what_did_not_change() -> None:
    async with udp_peer() as peer:
        here = f"127.0.0.1:{peer.port}"
        stays, goes = target("stays", here), target("goes", here)
        changes = target("changes", here)
        async with watching(stays, goes, changes) as watch:
            await eventually(lambda: watch.check.passed)
            asked = len(peer.asked)
            change = watch.check.replace(
                [
                    target("stays", here),
                    target("changes", here, timeout=3.0),
                    target("comes", here),
                ]
            )
            assert change.removed == [goes.subject]
            assert change.changed == [changes.subject]  # the old object stays
            assert [subject.name for subject in change.added] == ["comes"]
            await eventually(lambda: len(peer.asked) == asked + 2)
            assert set(watch.check.targets) == {
                "target:stays",
                "target:changes",
                "target:comes",
            }
            assert watch.check.targets["target:stays"].subject is stays.subject
            assert watch.check.targets["target:stays"].figures.successes == 1
            with pytest.raises(KeyError):
                watch.check.targets["target:goes"]
