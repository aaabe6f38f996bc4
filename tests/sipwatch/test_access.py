"""Who may come in over HTTP, and what they may: log-ins, and attacks on them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import HTTPException, Request
from fastapi.responses import PlainTextResponse

from checks.settings import Secret
from sipwatch.config.access import TlsSettings, TokenSettings, UserSettings
from sipwatch.config.settings import MetricsSettings, WebSettings
from sipwatch.scrypt import Hash
from sipwatch.web import access, connection, gate, logins
from sipwatch.web.app import application
from sipwatch.web.doors import Doors
from sipwatch.web.listen import Listener, tcp_socket
from sipwatch.web.logins import Failures, Logins
from tests.sipwatch.test_web import Answer, Shown, _answer, ask

LOOPBACK = WebSettings(external_url="https://sipwatch.example.com")
TOKEN = "reader-0123456789abcdef"
OPERATOR = "operator-0123456789abcdef"
STATUS, CHANGE = "/api/v1/status", "/api/v1/test-notify"


def user(password: str, role: Any = "read") -> UserSettings:
    """One whose password is cheap to test."""
    key = hashlib.scrypt(password.encode(), salt=b"saltsalt", n=16, r=8, p=1, dklen=32)
    return UserSettings(password=Hash((4, 8, 1), b"saltsalt", key), role=role)


GUARDED = replace(
    LOOPBACK,
    users={"anna": user("tea:for:two", "operate"), "ben": user("coffee")},
    tokens={
        "grafana": TokenSettings(secret=Secret(TOKEN)),
        "script": TokenSettings(secret=Secret(OPERATOR), role="operate"),
    },
)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


ANNA, BEN = basic("anna", "tea:for:two"), basic("ben", "coffee")
OWN = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def serving(web: WebSettings, doors: Doors | None = None) -> AsyncIterator[int]:
    """A listener with a door; its port."""
    sock = tcp_socket("127.0.0.1:0")
    doors = doors or Doors(web)
    app = application(Shown(), doors=doors)  # type: ignore[arg-type]
    listener = Listener(app, sock, doors.certificate)
    listener.start()
    try:
        yield sock.getsockname()[1]
    finally:
        await listener.close()


async def raw(port: int, request: bytes) -> bytes:
    """All that is answered to these bytes, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def asked(web: WebSettings, path: str, method: str, **fields: str) -> Answer:
    """What the gate answers for an application that has nothing against it."""
    fields = {"Host": "localhost", **fields}
    headers = [
        (name.replace("_", "-").lower().encode(), value.encode())
        for name, value in fields.items()
    ]
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    client = {"client": ("127.0.0.1", 50000), "query_string": b""}
    gate_ = gate.Gate(PlainTextResponse("well"), Doors(web), tls=False)
    await gate_({**scope, **client}, receive, send)
    start, *_ = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"")


# --- without users and tokens: whoever is on this machine -----------------------------


@pytest.mark.parametrize(
    ("path", "method", "fields", "status"),
    [
        (STATUS, "GET", {}, 200),
        (STATUS, "GET", {"Host": "127.0.0.1:9160"}, 200),
        (STATUS, "GET", {"Host": "[::1]:9160"}, 200),
        (STATUS, "GET", {"Host": "sipwatch.example.com"}, 200),
        (STATUS, "GET", {"Host": "SIPwatch.example.com.:443"}, 200),
        # Another name that leads to us: DNS rebinding.
        (STATUS, "GET", {"Host": "evil.example"}, 403),
        (STATUS, "GET", {"Host": "evil.example:9160"}, 403),
        (STATUS, "GET", {"Host": "localhost.evil.example"}, 403),
        (STATUS, "GET", {"Host": "sipwatch.example.com.evil.example"}, 403),
        (STATUS, "GET", {"Host": "10.0.0.9"}, 403),
        (STATUS, "GET", {"Host": ""}, 403),
        (CHANGE, "POST", {"Host": "evil.example", **OWN}, 403),
        (
            CHANGE,
            "POST",
            {"Host": "evil.example", "Origin": "http://evil.example"},
            403,
        ),
        # A page of ours, by what browsers say of it.
        (CHANGE, "POST", OWN, 200),
        (CHANGE, "POST", {"Sec-Fetch-Site": "none"}, 200),
        (CHANGE, "POST", {"Origin": "http://localhost"}, 200),
        (CHANGE, "POST", {"Origin": "https://sipwatch.example.com"}, 200),
        # A page of somebody else's.
        (CHANGE, "POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        (CHANGE, "POST", {"Sec-Fetch-Site": "same-site"}, 403),
        (CHANGE, "POST", {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        (CHANGE, "POST", {"Origin": "null"}, 403),
        (CHANGE, "POST", {"Origin": "http://evil.example"}, 403),
        (CHANGE, "POST", {"Origin": "http://localhost:8080"}, 403),
        (CHANGE, "POST", {"Origin": "http://localhost.evil.example"}, 403),
        (CHANGE, "POST", {"Origin": "http://sipwatch.example.com"}, 403),
        # Nothing that says that it is a page at all.
        (CHANGE, "POST", {}, 403),
        (CHANGE, "POST", {"Authorization": f"Bearer {OPERATOR}"}, 403),
        # What other pages load from us, and where they may lead.
        (STATUS, "GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        (
            STATUS,
            "GET",
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            200,
        ),
        # Of ourselves, whatever we are called.
        ("/-/healthy", "GET", {"Host": "evil.example"}, 200),
        ("/metrics", "GET", {"Host": "prometheus.example"}, 200),
        # A proxy that asks for a password passes it on to us.
        (STATUS, "GET", {"Authorization": basic("anybody", "at all")}, 200),
    ],
)
async def test_on_this_machine_one_reads_and_our_page_changes(
    path: str, method: str, fields: dict[str, str], status: int
) -> None:
    assert (await asked(LOOPBACK, path, method, **fields)).status == status


@pytest.mark.parametrize("origin", ["://", "null", ""])
async def test_an_origin_that_is_nobodys_is_not_ours(origin: str) -> None:
    fields = {"Host": "localhost", "Origin": origin}
    assert (await asked(WebSettings(), CHANGE, "POST", **fields)).status == 403


async def test_nobody_is_led_to_the_name_that_they_say_we_have() -> None:
    async with serving(LOOPBACK) as port:
        for path in ("/static/x/", "/a/x/", "/-/ready/"):
            answer = await ask(port, path, Host="evil.example")
            assert (answer.status in (403, 404), "location" in answer.headers) == (
                True,
                False,
            )


@pytest.mark.parametrize(
    ("listen", "host", "status"),
    [
        ("10.0.0.9:9160", "10.0.0.9:9160", 200),
        ("10.0.0.9:9160", "10.0.0.8:9160", 403),
        ("0.0.0.0:9160", "10.0.0.8:9160", 200),
        ("[::]:9160", "[2001:db8::1]:9160", 200),
        ("0.0.0.0:9160", "pbx.example.com:9160", 403),
        ("[2001:db8::1]:9160", "[2001:DB8:0::1]", 200),
    ],
)
async def test_we_are_called_by_the_address_that_we_listen_on(
    listen: str, host: str, status: int
) -> None:
    web = replace(GUARDED, listen=listen)
    fields = {"Host": host, "Authorization": ANNA, **OWN}
    assert (await asked(web, CHANGE, "POST", **fields)).status == status


# --- with users and tokens ------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "authorization", "status"),
    [
        ("GET", "", 401),
        ("GET", BEN, 200),
        ("GET", ANNA, 200),
        ("GET", f"Bearer {TOKEN}", 200),
        ("GET", f"bearer  {TOKEN}", 200),
        ("GET", BEN.lower().replace("basic", "BASIC"), 401),
        ("POST", "", 401),
        ("POST", ANNA, 200),
        ("POST", f"Bearer {OPERATOR}", 200),
        # Who looks on changes nothing.
        ("POST", BEN, 403),
        ("POST", f"Bearer {TOKEN}", 403),
        # Wrong, or not written as it should be.
        ("GET", basic("anna", "tea"), 401),
        ("GET", basic("anna", ""), 401),
        ("GET", basic("", "tea:for:two"), 401),
        ("GET", basic("Anna", "tea:for:two"), 401),
        ("GET", basic("nobody", "tea:for:two"), 401),
        ("GET", basic("grafana", TOKEN), 401),
        ("GET", "Bearer", 401),
        ("GET", f"Bearer {TOKEN}x", 401),
        ("GET", f"Bearer {TOKEN[:-1]}", 401),
        ("GET", "Bearer tea:for:two", 401),
        ("GET", "Basic", 401),
        ("GET", "Basic !!!", 401),
        ("GET", "Basic " + base64.b64encode(b"anna").decode(), 401),
        ("GET", "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), 401),
        ("GET", "Digest username=anna", 401),
        ("GET", TOKEN, 401),
    ],
)
async def test_a_log_in_is_asked_for_and_its_role_is_kept_to(
    method: str, authorization: str, status: int
) -> None:
    fields = {"Authorization": authorization} if authorization else {}
    path = STATUS if method == "GET" else CHANGE
    answer = await asked(GUARDED, path, method, **fields)
    assert answer.status == status
    basic_wanted = 'Basic realm="sipwatch", charset="UTF-8"'
    wanted = basic_wanted if status == 401 else None
    assert answer.headers.get("www-authenticate") == wanted


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/", "GET"),
        ("/openapi.json", "GET"),
        ("/docs", "GET"),
        ("/nothing", "GET"),
        ("/metrics", "GET"),
        ("/metrics", "POST"),
        ("/static", "GET"),
        ("//-/healthy", "GET"),
        ("/-/healthy/../../api/v1/status", "GET"),
        (STATUS, "HEAD"),
        (STATUS, "OPTIONS"),
        (STATUS, "TRACE"),
        (STATUS, "BREW"),
        (CHANGE, "PUT"),
        (CHANGE, "DELETE"),
    ],
)
async def test_nothing_is_there_for_who_does_not_log_in(path: str, method: str) -> None:
    assert (await asked(GUARDED, path, method)).status == 401


async def test_a_password_that_a_browser_remembers_serves_no_other_page() -> None:
    for fields in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        answer = await asked(GUARDED, CHANGE, "POST", Authorization=ANNA, **fields)
        assert answer.status == 403
    # A token no browser sends by itself.
    fields = {"Authorization": f"Bearer {OPERATOR}", "Sec-Fetch-Site": "cross-site"}
    assert (await asked(GUARDED, CHANGE, "POST", **fields)).status == 200


@pytest.mark.parametrize(
    ("allow", "status"), [((), 401), (("127.0.0.0/8",), 200), (("10.0.0.0/8",), 401)]
)
async def test_prometheus_needs_no_password_in_a_network_that_may(
    allow: tuple[str, ...], status: int
) -> None:
    web = replace(GUARDED, metrics=MetricsSettings(allow=allow))
    assert (await asked(web, "/metrics", "GET")).status == status
    assert (await asked(web, STATUS, "GET")).status == 401
    async with serving(web) as port:
        rubbish = await ask(port, "/metrics", X_Forwarded_For="rubbish")
    assert rubbish.status == 401


async def test_where_there_are_tokens_alone_no_browser_asks_for_a_password() -> None:
    answer = await asked(replace(GUARDED, users={}), STATUS, "GET")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_reload_changes_who_may() -> None:
    doors = Doors(GUARDED)
    async with serving(GUARDED, doors) as port:
        assert (await ask(port, STATUS, Authorization=ANNA)).status == 200
        doors.replace(replace(GUARDED, users={"anna": user("milk")}, tokens={}))
        assert (await ask(port, STATUS, Authorization=ANNA)).status == 401
        assert (await ask(port, STATUS, Authorization=f"Bearer {TOKEN}")).status == 401
        assert (
            await ask(port, STATUS, Authorization=basic("anna", "milk"))
        ).status == 200


# --- guessing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 0), (4, 0), (5, 1), (6, 2), (8, 8), (11, 60), (99, 60)]
)
def test_each_failure_doubles_the_wait(failures: int, wait: float) -> None:
    counted = Failures()
    for _ in range(failures):
        counted.count("192.0.2.1", 100.0)
    assert counted.wait("192.0.2.1", 100.0) == wait
    assert counted.wait("192.0.2.1", 100.0 + wait) == 0
    assert counted.wait("192.0.2.1", 100.0 + logins.FORGIVEN + 1) == 0
    assert counted.wait("192.0.2.2", 100.0) == 0


def test_a_site_is_one_guesser_whatever_its_addresses() -> None:
    counted = Failures()
    for n in range(9):
        counted.count(f"2001:db8:0:1::{n}", 0.0)
        counted.count(f"::ffff:192.0.2.{n}", 0.0)
    assert counted.wait("2001:db8:0:1:ffff::1", 0.0) > 0
    assert counted.wait("2001:db8:0:2::1", 0.0) == 0
    assert counted.wait("192.0.2.1", 0.0) == 0
    assert len(counted) == 10


def test_the_table_of_failures_has_an_end() -> None:
    counted = Failures()
    for n in range(logins.ADDRESSES + 100):
        counted.count(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    counted.count("x" * 10_000, 0.0)
    assert len(counted) == logins.ADDRESSES


async def test_who_guesses_waits_and_who_knows_does_not() -> None:
    async with serving(GUARDED) as port:
        assert (await ask(port, STATUS, Authorization=BEN)).status == 200
        wrong = [
            await ask(port, STATUS, Authorization=basic("anna", str(n)))
            for n in range(7)
        ]
        assert [answer.status for answer in wrong] == [401] * 5 + [429] * 2
        assert int(wrong[-1].headers["retry-after"]) >= 1
        assert wrong[-1].headers["x-content-type-options"] == "nosniff"
        right = await ask(port, STATUS, Authorization=ANNA)
        assert right.status == 429, "nothing tells a guess that is right"
        assert (await ask(port, STATUS, Authorization=BEN)).status == 200
        assert (await ask(port, STATUS, Authorization=f"Bearer {TOKEN}")).status == 200
        guessed = await ask(port, STATUS, Authorization=f"Bearer {TOKEN}x")
        assert guessed.status == 429


async def test_many_guesses_at_once_are_many() -> None:
    async with serving(GUARDED) as port:
        guesses = [
            ask(port, STATUS, Authorization=basic("anna", str(n))) for n in range(30)
        ]
        statuses = [answer.status for answer in await asyncio.gather(*guesses)]
        assert statuses.count(401) == 5
        assert statuses.count(429) == 25


class Slow(Hash):
    """A password that is tested for as long as one likes; it counts."""

    def __init__(self, known: Hash) -> None:
        super().__init__(known.cost, known.salt, known.key)
        self.__dict__.update(tested=0, at_once=0, most=0)

    def fits(self, password: str) -> bool:
        count = self.__dict__
        count["tested"] += 1
        count["at_once"] += 1
        count["most"] = max(count["most"], count["at_once"])
        try:
            return super().fits(password)
        finally:
            count["at_once"] -= 1


async def test_a_log_in_is_tested_once_for_all_requests_of_a_page_and_a_while() -> None:
    now = 0.0
    slow = Slow(user("tea").password)
    wanted = Logins({"anna": UserSettings(password=slow)}, {}, lambda: now)
    several = [wanted.by_password("anna", "tea", "192.0.2.1") for _ in range(8)]
    callers = await asyncio.gather(*several)
    assert {caller.name for caller in callers} == {"anna"}
    assert slow.__dict__["tested"] == 1
    now = logins.GOOD_FOR - 1
    await wanted.by_password("anna", "tea", "192.0.2.1")
    assert slow.__dict__["tested"] == 1
    now = logins.GOOD_FOR + 1
    await wanted.by_password("anna", "tea", "192.0.2.1")
    assert slow.__dict__["tested"] == 2


async def test_a_flood_of_log_ins_is_tested_a_few_at_a_time_and_the_rest_refused() -> (
    None
):
    slow = Slow(user("tea").password)
    wanted = Logins({"anna": UserSettings(password=slow)}, {}, lambda: 0.0)
    tries = [wanted.by_password("anna", f"no{n}", f"192.0.2.{n}") for n in range(40)]
    refused = await asyncio.gather(*tries, return_exceptions=True)
    statuses = [one.status_code for one in refused if isinstance(one, HTTPException)]
    most = logins.AT_ONCE + logins.WAITING
    assert (statuses.count(401), statuses.count(503)) == (most, 40 - most)
    assert slow.__dict__["most"] <= logins.AT_ONCE
    assert not wanted._trials


async def test_what_is_remembered_has_an_end_and_holds_no_password() -> None:
    users = {f"u{n}": user("tea") for n in range(logins.REMEMBERED + 10)}
    wanted = Logins(users, {}, lambda: 0.0)
    for name in users:
        await wanted.by_password(name, "tea", "192.0.2.1")
    assert len(wanted._good) == logins.REMEMBERED
    assert all(len(mark) == 32 for mark in wanted._good)
    assert "tea" not in repr(vars(wanted))


# --- bodies, heads, connections -------------------------------------------------------

TOO_MUCH = gate.BODY + 1


def posted(fields: str, body: bytes = b"") -> bytes:
    head = (
        f"POST {CHANGE} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
    )
    return f"{head}{fields}\r\n".encode() + body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (posted(f"Content-Length: {TOO_MUCH}\r\n", b"x" * TOO_MUCH), 413),
        (posted(f"Content-Length: {TOO_MUCH}\r\n"), 413),  # told before it is sent
        (posted("Content-Length: 99999999999999999999\r\n"), 413),
        (
            posted(
                "Transfer-Encoding: chunked\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"
            )
            + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 16,
            413,
        ),
        (posted("Content-Length: -1\r\n"), 400),
        (
            posted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
            400,
        ),
        (posted("Content-Length: 1\r\nContent-Length: 2\r\n", b"xx"), 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"GET\x00 / HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_what_is_too_much_or_no_http_is_refused_and_the_connection_ends(
    request_: bytes, status: int
) -> None:
    async with serving(LOOPBACK) as port:
        answer = _answer(await raw(port, request_))
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_body_that_just_fits_is_taken() -> None:
    body = b"[" + b" " * (gate.BODY - 2) + b"]"
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    fields = "Content-Type: application/json\r\nConnection: close\r\n"
    async with serving(LOOPBACK) as port:
        for request in (
            posted(f"{fields}Content-Length: {len(body)}\r\n", body),
            posted(f"{fields}Transfer-Encoding: chunked\r\n", chunk),
        ):
            assert _answer(await raw(port, request)).status == 200


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: local", b""),
        (b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET", b"HTTP/1.1 200"),
        (posted("Content-Length: 9\r\n", b"["), b"HTTP/1.1 408"),
    ],
)
async def test_who_says_nothing_does_not_stay(
    sent: bytes, answered: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD", 0.2)
    monkeypatch.setattr(gate, "PATIENCE", 0.2)
    async with serving(LOOPBACK) as port:
        async with asyncio.timeout(20):
            assert (await raw(port, sent))[:12] == answered


async def test_there_are_only_so_many_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 3)
    async with serving(LOOPBACK) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert (await ask_until_served(port, served=False)) is None
        held.pop()[1].close()
        answer = await ask_until_served(port, served=True)
        assert answer
        assert answer.status == 200
        for _, writer in held:
            writer.close()


async def ask_until_served(port: int, *, served: bool) -> Answer | None:
    """An answer, or none where the connection ends without; when it is as wanted."""
    async with asyncio.timeout(20):
        while True:
            text = await raw(
                port, b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            if bool(text) is served:
                return _answer(text) if text else None


# --- TLS ------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> TlsSettings:
    return TlsSettings(certificate=str(tmp_path / "pem"), key=str(tmp_path / "key"))


def certify(ca: trustme.CA, tls: TlsSettings, name: str) -> None:
    made = ca.issue_cert(name, "localhost")
    made.private_key_pem.write_to_path(tls.key)
    blob, *_ = made.cert_chain_pems
    blob.write_to_path(tls.certificate)


async def shown(port: int, ca: trustme.CA, name: str | None = "localhost") -> set[str]:
    """The names in the certificate that one sees, and that there is an answer."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.check_hostname = name is not None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name or ""
    )
    writer.write(
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    answer = _answer(await reader.read())
    assert answer.status == 200
    assert answer.headers["strict-transport-security"] == "max-age=2592000"
    found = writer.get_extra_info("peercert")["subjectAltName"]
    writer.close()
    return {value for _, value in found}


async def test_the_certificate_is_read_again_on_reload(tls: TlsSettings) -> None:
    ca = trustme.CA()
    certify(ca, tls, "old.example")
    web = replace(GUARDED, tls=tls)
    doors = Doors(web)
    async with serving(web, doors) as port:
        assert await shown(port, ca) == {"old.example", "localhost"}
        assert b"HTTP" not in await raw(port, b"GET / HTTP/1.1\r\n\r\n")
        certify(ca, tls, "new.example")
        assert "old.example" in await shown(port, ca)
        doors.replace(web)
        assert await shown(port, ca) == {"new.example", "localhost"}
        assert await shown(port, ca, None) == {"new.example", "localhost"}
        await asyncio.to_thread(Path(tls.key).write_text, "rubbish")
        with pytest.raises(ValueError, match=r"pem and .*key: "):
            doors.replace(web)
        assert "new.example" in await shown(port, ca)


async def test_who_says_nothing_of_tls_is_counted_and_does_not_stay(
    tls: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 3)
    ca = trustme.CA()
    certify(ca, tls, "localhost")
    web = replace(GUARDED, tls=tls)
    async with serving(web) as port, asyncio.timeout(20):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await raw(port, b"") == b""  # at once: there are three already
        for _, writer in held:
            writer.close()
    monkeypatch.setattr(connection, "HEAD", 0.2)
    async with serving(web) as port, asyncio.timeout(20):
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01\x00"):
            assert await raw(port, sent) == b""
        assert await shown(port, ca) == {"localhost"}


async def test_hsts_is_for_tls_alone() -> None:
    answer = await asked(LOOPBACK, STATUS, "GET")
    assert "strict-transport-security" not in answer.headers


# --- in whose name --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "caller", "kept"),
    [
        ("", "anna", "anna"),
        ("anna", "anna", "anna"),
        ("ben", "anna", "ben (anna)"),  # who speaks for another is named as well
        (" ben ", "", "ben"),
        (" ", "anna", "anna"),
        ("", "", ""),
    ],
)
def test_nobody_acts_as_somebody_else(said: str, caller: str, kept: str) -> None:
    request = Request(
        {"type": "http", access.KEY: access.Caller(caller, access.Role.OPERATE)}
    )
    assert access.signed(said, request) == kept
