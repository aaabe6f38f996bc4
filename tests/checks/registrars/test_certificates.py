"""A registrar whose certificate has names that nobody can read cannot be read."""

from __future__ import annotations

import ssl
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from checks.observation import Cause
from checks.registrars.kamailio import Kamailio, KamailioSettings
from checks.registrations.judge import Unreadable
from tests.checks.registrars.test_asterisk import failure, healthy, serving
from tests.checks.sip.test_tls import ODD_NAMES, self_signed
from tests.wire import Rpc

OURS = bytes.fromhex("87047f000001")  # 127.0.0.1, which OpenSSL finds and is content
NAMES = {
    **ODD_NAMES,
    "our address and a domain that is no ASCII": b"\x30\x09" + OURS + b"\x82\x01\xff",
    "our address and a URI that is no UTF-8": b"\x30\x0a" + OURS + b"\x86\x02\xc3\x28",
}


@pytest.fixture(params=NAMES)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with such a certificate and its key."""
    names = NAMES[request.param]
    made, key = self_signed(
        x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = tmp_path / "odd.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return pem


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_an_ami_with_such_names_is_unreadable(odd: Path) -> None:
    async with serving(healthy(), tls=server_context(odd)) as server:
        failed = await failure(server, tls=True, ca=str(odd))
    assert failed.cause is Cause.TLS_VERIFY
    assert failed.detail.startswith(f"AMI at {server.address}: ")


async def test_a_json_rpc_with_such_names_is_unreadable(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = ssl.create_default_context(cafile=str(odd))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trust)
    async with Rpc({}, tls=server_context(odd)) as server:
        registrar = Kamailio(KamailioSettings(), server.address, clock=lambda: 1.0)
        with pytest.raises(Unreadable) as raised:
            async with aclosing(registrar.watch()) as readings:
                await anext(readings)
    assert raised.value.cause is Cause.TLS_VERIFY
    assert raised.value.detail.startswith(f"JSON-RPC at {server.address}: ")
