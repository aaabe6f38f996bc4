from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from checks.observation import Cause, State
from checks.options.probe import ProbeResult, probe_once
from checks.options.targets import TargetTls
from checks.register import Query, RefusedError, binding_query, bindings
from checks.settings import Secret
from checks.sip.certificate import tls_context
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.requests import register_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from tests.conftest import StartAsterisk, StartKamailio
from tests.servers.asterisk import Extension
from tests.servers.kamailio_parts import web
from tests.servers.loopback import Loopback

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
ALICE = Credentials("1001", Secret("secret"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def issued(
    authority: trustme.CA, folder: Path, name: str, days: int = 61, since: int = 1
) -> Path:
    """A PEM file of a key and its chain."""
    cert = authority.issue_cert(
        name, not_before=NOW - since * DAY, not_after=NOW + days * DAY
    )
    path = folder / "server.pem"
    cert.private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def probed(uri: str, **options: object) -> ProbeResult:
    [result] = await probe_once([uri], **options)
    return result


@asynccontextmanager
async def client(ca: str | None = None) -> AsyncIterator[Client]:
    made = Client(ssl_context=tls_context(ca) if ca else None)
    try:
        yield made
    finally:
        made.close()


async def register_and_query(c: Client, address: Address, server: str) -> None:
    """A contact over this WebSocket is bound, seen by a query, and taken away."""
    registrar = SipUri.parse(f"sip:{server}")
    contact = await c.contact("1001", address, timeout=5)
    assert contact.host.endswith(".invalid")
    aor = SipUri(server, "1001")

    async def register(seconds: int) -> int:
        request = register_request(
            registrar, aor=aor, user_agent="x", contact=contact, expires=seconds
        )
        got = await c.request(request, address, timeout=5, credentials=ALICE)
        return got.response.status

    async def bound() -> list[str]:
        query = Query(registrar, server, "x", 5.0, ALICE)
        answer = await binding_query(c, query, "1001", address)
        return [b.contact for b in bindings(answer, "1001", time.time())]

    assert await bound() == []
    assert await register(60) == 200
    [held] = await bound()
    assert held == str(contact)
    assert await register(0) == 200
    assert await bound() == []
    wrong = Query(registrar, server, "x", 5.0, Credentials("1001", Secret("wrong")))
    with pytest.raises(RefusedError) as refused:
        await binding_query(c, wrong, "1001", address)
    assert refused.value.cause is Cause.UNAUTHORIZED


@pytest.mark.real("asterisk")
async def test_asterisk_answers_over_a_websocket_at_its_path(
    asterisk: StartAsterisk,
) -> None:
    pbx = asterisk([Extension("1001")])
    at = f"{pbx.address}:8088"
    up = await probed(f"sip:{at};transport=ws")
    assert (up.state, up.code, up.transport, up.address) == (State.UP, 200, "ws", at)
    missed = await probed(f"sip:{at};transport=ws;path=/sip")
    assert (missed.state, missed.cause) == (State.DOWN, Cause.WEBSOCKET_HANDSHAKE)
    assert missed.detail == (
        f"no WebSocket at {at}: HTTP 404 Not Found: there is no WebSocket at /sip: "
        "name the right one as `;path=/...`"
    )
    plain = await probed(f"sip:{pbx.address}:5060;transport=ws", timeout=0.5)
    assert plain.cause is Cause.WEBSOCKET_HANDSHAKE
    async with client() as c:
        address = Address(pbx.address, 8088, "ws", "/ws")
        await register_and_query(c, address, pbx.address)


@pytest.mark.real("asterisk")
async def test_asterisk_answers_over_a_secure_websocket(
    asterisk: StartAsterisk,
    loopback: Loopback,
    authority: trustme.CA,
    trusted: str,
    tmp_path: Path,
) -> None:
    address = loopback.address()
    pbx = asterisk(
        [Extension("1001")],
        address=address,
        certificate=issued(authority, tmp_path, address),
    )
    for uri in (
        f"sip:{address}:8089;transport=wss",
        f"sips:{address}:8089;transport=ws",
    ):
        up = await probed(uri, tls=TargetTls(ca=trusted))
        assert (up.state, up.transport) == (State.UP, "wss")
        assert up.not_after == (NOW + 61 * DAY).timestamp()
    async with client(trusted) as c:
        await register_and_query(c, Address(address, 8089, "wss", "/ws"), pbx.address)


@pytest.mark.real("kamailio")
async def test_kamailio_answers_over_a_websocket(
    kamailio: StartKamailio, loopback: Loopback
) -> None:
    address = loopback.address()
    kamailio({"1001": "secret"}, address=address, parts=[web(address)])
    up = await probed(f"sip:{address}:8080;transport=ws")
    assert (up.state, up.code, up.transport) == (State.UP, 200, "ws")
    missed = await probed(f"sip:{address}:8080;transport=ws;path=/")
    assert missed.detail.startswith(f"no WebSocket at {address}:8080: HTTP 404")
    async with client() as c:
        await register_and_query(c, Address(address, 8080, "ws", "/ws"), address)


@pytest.mark.real("kamailio")
@pytest.mark.parametrize(
    ("name", "days", "trust", "cause", "detail"),
    [
        ("", 61, True, None, ""),
        (
            "sip.example.net",
            61,
            True,
            Cause.TLS_VERIFY,
            "the certificate is for sip.example.net, not for {address}",
        ),
        ("", -2, True, Cause.TLS_EXPIRED, "{address}: its certificate has expired"),
        (
            "",
            61,
            False,
            Cause.TLS_VERIFY,
            "{address}: its certificate is not trusted: unable to get local issuer "
            "certificate",
        ),
    ],
    ids=["good", "wrong name", "expired", "untrusted"],
)
async def test_the_certificate_of_a_secure_websocket_is_checked(
    kamailio: StartKamailio,
    loopback: Loopback,
    authority: trustme.CA,
    trusted: str,
    tmp_path: Path,
    name: str,
    days: int,
    trust: bool,
    cause: Cause | None,
    detail: str,
) -> None:
    address = loopback.address()
    certificate = issued(authority, tmp_path, name or address, days, since=9)
    kamailio(address=address, parts=[web(address, certificate)])
    result = await probed(
        f"sips:{address}:8443;transport=ws", tls=TargetTls(ca=trusted if trust else "")
    )
    assert result.cause is cause
    assert result.not_after == (NOW + days * DAY).timestamp()
    if cause is None:
        assert (result.state, result.code) == (State.UP, 200)
    else:
        assert result.detail == detail.format(address=address)
