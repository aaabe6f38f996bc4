from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from checks.observation import Cause
from checks.sip.certificate import Certificate, tls_context
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.requests import options_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from tests.checks.sip.peer import answering, ok

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca, tmp_path) -> str:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


def server_context(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.fixture(params=["tls", "wss"])
def ask(request):
    """Asks a server with this context over TLS, and over a WebSocket on it."""

    async def asked(server: ssl.SSLContext, trust: ssl.SSLContext | None, name):
        options = options_request(
            SipUri.parse("sip:example.com"),
            from_uri="sip:sipwatch@example.com",
            user_agent="sipwatch",
        )
        async with answering(ok, request.param, tls=server) as peer:
            client = Client(ssl_context=trust)
            try:
                return await client.request(
                    options, peer.address, server_name=name, timeout=5
                )
            finally:
                client.close()

    return asked


@pytest.fixture
def refusal(ask):
    """The failure of such a question."""

    async def refused(server, trust, name) -> SipError:
        with pytest.raises(SipError) as caught:
            await ask(server, trust, name)
        return caught.value

    return refused


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("sip.example.com", "sip.example.com"),
        ("sip.example.com", "SIP.Example.com"),
        ("*.pstn.example.com", "acme.pstn.example.com"),
        ("127.0.0.1", None),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
async def test_a_certificate_for_the_domain_asked_is_accepted(
    ask, ca, ca_file, identity, name
):
    issued = ca.issue_cert(identity, not_after=NOW + 61 * DAY)
    answer = await ask(server_context(issued), tls_context(ca_file), name)
    assert answer.response.status == 200
    assert answer.not_after == (NOW + 61 * DAY).timestamp()
    assert answer.exchange[0].transport in ("tls", "wss")


async def test_a_certificate_for_another_name_is_refused_and_says_for_whom_it_is(
    refusal, ca, ca_file
):
    issued = ca.issue_cert("other.example.net", not_after=NOW + 61 * DAY)
    error = await refusal(server_context(issued), tls_context(ca_file), "example.com")
    assert error.cause is Cause.TLS_VERIFY
    assert error.detail == (
        "the certificate is for other.example.net, not for example.com"
    )
    assert error.not_after == (NOW + 61 * DAY).timestamp()


async def test_an_expired_certificate_is_its_own_cause_and_says_when_it_ended(
    refusal, ca, ca_file
):
    issued = ca.issue_cert(
        "example.com", not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY
    )
    error = await refusal(server_context(issued), tls_context(ca_file), "example.com")
    assert error.cause is Cause.TLS_EXPIRED
    assert error.detail == "example.com: its certificate has expired"
    assert error.not_after == (NOW - 2 * DAY).timestamp()


async def test_a_certificate_of_an_unknown_authority_is_refused(refusal, ca):
    issued = ca.issue_cert("example.com", not_after=NOW + DAY)
    error = await refusal(server_context(issued), None, "example.com")
    assert error.cause is Cause.TLS_VERIFY
    assert "is not trusted" in error.detail
    assert error.not_after == (NOW + DAY).timestamp()


async def test_without_verification_any_certificate_will_do_and_its_end_is_known(
    ask, ca
):
    issued = ca.issue_cert("other.example.net", not_after=NOW - DAY)
    context = tls_context(verify=False)
    answer = await ask(server_context(issued), context, "example.com")
    assert answer.not_after == (NOW - DAY).timestamp()


async def test_peers_without_a_common_version_fail_the_handshake(refusal, ca, ca_file):
    server = server_context(ca.issue_cert("example.com"))
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    trust = tls_context(ca_file)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    error = await refusal(server, trust, "example.com")
    assert error.cause is Cause.TLS_HANDSHAKE


class _Odd(asyncio.Protocol):
    """Answers the first octets with its own and hangs up; or with None stays silent."""

    def __init__(self, answer: bytes | None, taken: list[asyncio.Transport]) -> None:
        self.answer = answer
        self.taken = taken

    def connection_made(self, transport) -> None:
        self.taken.append(transport)

    def data_received(self, data: bytes) -> None:
        if self.answer is not None:
            self.taken[-1].write(self.answer)
            self.taken[-1].close()


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"SIP/2.0 400 Bad Request\r\n\r\n", "wrong version number"),
        (b"", "ended the TLS handshake"),
        (None, "did not end in time"),
    ],
    ids=["plain SIP", "closes", "silent"],
)
async def test_a_port_that_speaks_no_tls_fails_the_handshake(answer, detail):
    taken: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Odd(answer, taken), "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1], "tls")
    client = Client()
    request = options_request(
        SipUri.parse("sip:example.com"), from_uri="sip:a@example.com", user_agent="x"
    )
    with pytest.raises(SipError) as caught:
        await client.request(request, address, server_name="example.com", timeout=0.3)
    client.close()
    server.close()
    taken[0].abort()
    await asyncio.sleep(0)  # the loop closes what was aborted
    assert caught.value.cause is Cause.TLS_HANDSHAKE
    assert detail in caught.value.detail


async def test_the_name_asked_for_is_sent_ahead(ask, ca, ca_file):
    seen: list[str | None] = []
    server = server_context(ca.issue_cert("sip.example.com"))
    server.sni_callback = lambda sock, name, context: seen.append(name)
    await ask(server, tls_context(ca_file), "sip.example.com")
    assert seen == ["sip.example.com"]


def self_signed(
    extension: x509.ExtensionType | None,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cn.example.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 10 * DAY)
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()), key


def certificate(*names: x509.GeneralName) -> Certificate:
    made, _ = self_signed(x509.SubjectAlternativeName(names) if names else None)
    return Certificate.of_der(made.public_bytes(serialization.Encoding.DER))


ODD_NAMES = {
    "x400Address": b"\x30\x04\xa3\x02\x30\x00",
    "a domain that is no ASCII": b"\x30\x03\x82\x01\xff",
    "an address of two octets": b"\x30\x04\x87\x02\x01\x02",
}


@pytest.mark.parametrize("odd", ODD_NAMES.values(), ids=ODD_NAMES)
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_whose_names_cannot_be_read_speaks_for_nobody(
    refusal, tmp_path, odd, trusted
):
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, odd)
    made, key = self_signed(names)
    pem = tmp_path / "own.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    trust = tls_context(str(pem)) if trusted else None
    error = await refusal(server, trust, "example.com")
    assert error.cause is Cause.TLS_VERIFY
    # Python itself fails over such a domain, before we see the certificate.
    unseen = trusted and b"\xff" in odd
    assert error.not_after == (None if unseen else (NOW + 10 * DAY).timestamp())


DNS, URI = x509.DNSName, x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("names", "domain", "covered"),
    [
        ([URI("sip:example.com")], "example.com", True),
        ([URI("sip:EXAMPLE.com")], "example.com.", True),
        ([URI("sip:alice@example.com")], "example.com", False),
        ([URI("https://example.com")], "example.com", False),
        ([DNS("example.com")], "sip.example.com", False),
        ([DNS("*.example.com")], "sip.example.com", True),
        ([DNS("*.example.com")], "a.sip.example.com", False),
        ([DNS("*.example.com")], "example.com", False),
        ([DNS("*.com")], "example.com", False),
        ([x509.IPAddress(ipaddress.ip_address("192.0.2.1"))], "192.0.2.1", True),
        ([x509.IPAddress(ipaddress.ip_address("2001:db8::1"))], "2001:DB8::1", True),
        ([DNS("192.0.2.1")], "192.0.2.2", False),
        ([], "cn.example.com", False),
    ],
)
def test_a_certificate_speaks_for_the_names_in_it(names, domain, covered):
    assert certificate(*names).covers(domain) is covered


def test_a_certificate_counts_its_days():
    read = certificate(DNS("example.com"))
    assert read.days(NOW.timestamp()) == 10
    assert read.days((NOW + 12 * DAY).timestamp()) == -2


def test_a_mismatch_names_the_first_few():
    names = [DNS(f"host{n}.example.com") for n in range(6)]
    assert (
        certificate(*names)
        .mismatch("example.com")
        .startswith(
            "the certificate is for host0.example.com, host1.example.com, "
            "host2.example.com, host3.example.com and 2 more"
        )
    )
    assert "no name at all" in certificate().mismatch("example.com")
