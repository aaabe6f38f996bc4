from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Cause
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.message import MESSAGE_LIMIT, Request, parse
from checks.sip.requests import options_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from checks.sip.websocket import UPGRADE_LIMIT, Upgrade, WebSocket
from tests.checks.sip.peer import answering, ok, respond

KEY = b"the sample nonce"  # RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
SIP = b"OPTIONS sip:a SIP/2.0\r\n\r\n"


def granted(**changes: str | None) -> bytes:
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
        "Sec-WebSocket-Protocol": "sip",
    }
    for name, value in changes.items():
        fields[name.replace("_", "-")] = value
    rows = "".join(f"{n}: {v}\r\n" for n, v in fields.items() if v is not None)
    return f"HTTP/1.1 101 Switching Protocols\r\n{rows}\r\n".encode()


def upgrade(path: str = "/ws") -> Upgrade:
    return Upgrade("pbx.example.com:8088", path, KEY)


def frame(first: int, payload: bytes = b"", *, mask: bool = False) -> bytes:
    """A frame as a server sends it, in the shortest form."""
    size, bit = len(payload), 0x80 * mask
    if size < 126:
        return bytes((first, bit | size)) + payload
    if size < 0x10000:
        return bytes((first, bit | 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, bit | 127)) + size.to_bytes(8, "big") + payload


def unmasked(data: bytes) -> tuple[int, bytes, bytes]:
    """First octet and payload of a frame of ours, and what follows it."""
    assert data[1] & 0x80
    size, begin = data[1] & 0x7F, 2
    if size >= 126:
        begin = 4 if size == 126 else 10
        size = int.from_bytes(data[2:begin], "big")
    mask, begin = data[begin : begin + 4], begin + 4
    body = bytes(o ^ mask[i % 4] for i, o in enumerate(data[begin : begin + size]))
    return data[0], body, data[begin + size :]


# --- the handshake ------------------------------------------------------------------


def test_a_handshake_asks_for_sip_at_the_path():
    key = base64.b64encode(KEY).decode()
    assert upgrade("/ws?a=b").request.decode() == (
        "GET /ws?a=b HTTP/1.1\r\nHost: pbx.example.com:8088\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: sip\r\n\r\n"
    )


def test_each_handshake_has_a_nonce_of_its_own():
    assert Upgrade("a", "/").request != Upgrade("a", "/").request


@pytest.mark.parametrize(
    "answer",
    [
        granted(),
        granted(Connection="keep-alive, Upgrade", Upgrade="WebSocket"),
        granted().replace(b"\r\n", b"\n"),
        granted().replace(b"Sec-WebSocket-Accept", b"sec-websocket-accept"),
        granted().replace(b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 101"),
    ],
)
def test_a_granted_handshake_gives_what_follows_it(answer):
    rest = frame(TEXT, SIP)
    assert upgrade().feed(answer + rest) == rest
    asked = upgrade()
    pieces = [asked.feed(answer[i : i + 1]) for i in range(len(answer))]
    assert pieces == [None] * (len(answer) - 1) + [b""]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            b"HTTP/1.1 401 Unauthorized\r\n\r\n",
            "HTTP 401 Unauthorized: it wants HTTP credentials: let this address in "
            "without them",
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            "HTTP 403 Forbidden: it does not let us in: check its ACL and the origins "
            "that it allows",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nServer: Asterisk\r\n\r\n<h1>no</h1>",
            "HTTP 404 Not Found: there is no WebSocket at /ws: name the right one as "
            "`;path=/...`",
        ),
        (
            b"HTTP/1.1 426 Upgrade Required\r\n\r\n",
            "HTTP 426 Upgrade Required: it wants another protocol or version of it than"
            " SIP over WebSocket 13",
        ),
        (
            b"HTTP/1.1 418 \x1b[31mTeapot\r\n\r\n",
            "HTTP 418 \N{REPLACEMENT CHARACTER}[31mTeapot: it does not switch to "
            "WebSocket",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://pbx.example.com/ws\r\n\r\n",
            "HTTP 302 Found: it sends us to https://pbx.example.com/ws; ask there "
            "instead",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP 200 OK: a plain web server, without WebSocket at /ws",
        ),
        (
            granted(Sec_WebSocket_Protocol=None),
            "its WebSocket speaks no sub-protocol, not sip (RFC 7118)",
        ),
        (
            granted(Sec_WebSocket_Protocol="mqtt"),
            "its WebSocket speaks mqtt, not sip (RFC 7118)",
        ),
        (
            granted(Sec_WebSocket_Accept="AAAA"),
            "its answer is to another handshake: a cache in between?",
        ),
        (
            granted(Sec_WebSocket_Extensions="permessage-deflate"),
            "it wants an extension that was not offered",
        ),
        (granted(Upgrade="h2c"), "it switches to another protocol than WebSocket"),
        (granted(Connection=None), "it switches to another protocol than WebSocket"),
        (
            b"SIP/2.0 400 Bad Request\r\n",
            "it speaks SIP without WebSocket: ask with transport=tcp or tls",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            r"it does not speak HTTP: 'SSH-2.0-OpenSSH_9.2��'",
        ),
        (b"HTTP/9.9 101 x\r\n\r\n", "it does not speak HTTP: 'HTTP/9.9 101 x'"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * UPGRADE_LIMIT,
            f"an HTTP answer of over {UPGRADE_LIMIT} octets",
        ),
    ],
)
def test_a_refused_handshake_says_why_and_what_to_do(answer, sentence):
    with pytest.raises(ValueError) as caught:
        upgrade().feed(answer)
    assert str(caught.value) == sentence


@given(st.lists(st.binary(max_size=200), max_size=40))
def test_any_answer_is_granted_refused_or_bounded(parts):
    asked = upgrade()
    with suppress(ValueError):
        for part in parts:
            if asked.feed(part) is not None:
                break


# --- frames -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (frame(TEXT, SIP), [SIP]),
        (frame(BINARY, SIP), [SIP]),
        (frame(TEXT, SIP) + frame(TEXT, b"b"), [SIP, b"b"]),
        (frame(TEXT, b"x" * 126), [b"x" * 126]),
        (frame(TEXT, b"x" * MESSAGE_LIMIT), [b"x" * MESSAGE_LIMIT]),
        # RFC 6455 5.4: a message in pieces, and control frames between them
        (
            frame(0x01, SIP[:5])
            + frame(PONG)
            + frame(0x00, SIP[5:9])
            + frame(0x80, SIP[9:]),
            [SIP],
        ),
        # RFC 5626 3.5.1: keep-alives are no messages
        (frame(TEXT, b"\r\n\r\n") + frame(TEXT) + frame(TEXT, SIP), [SIP]),
        # octets that are no UTF-8 in a text frame: SIP's own parser bears them
        (frame(TEXT, b"caf\xe9"), [b"caf\xe9"]),
    ],
)
def test_messages_come_out_of_frames_however_the_stream_is_cut(data, messages):
    assert WebSocket().feed(data) == messages
    for size in (1, 7, 1000):
        socket, found = WebSocket(), []
        for at in range(0, len(data), size):
            found += socket.feed(data[at : at + size])
        assert found == messages
        assert (socket.held, socket.take_replies(), socket.closed) == (0, b"", None)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (frame(TEXT, b"\0\0\0\0", mask=True), "a masked frame"),
        (frame(TEXT | 0x40, SIP), "reserved bits"),
        (frame(0x83, SIP), "unknown kind 3"),
        (frame(0x8B), "unknown kind 11"),
        (frame(0x80, SIP), "out of its order"),
        (frame(0x01, b"a") + frame(TEXT, b"b"), "out of its order"),
        (frame(PING, b"x" * 126), "a control frame that is long"),
        (frame(0x09), "or a piece of one"),
        (frame(TEXT, b"x" * (MESSAGE_LIMIT + 1))[:10], "65537 octets, over 65536"),
        (b"\x82\x7f" + b"\xff" * 8, "over 65536"),
        (
            frame(0x01, b"x" * 40_000) + frame(0x00, b"x" * 40_000),
            "80000 octets, over 65536",
        ),
    ],
)
def test_what_a_server_must_not_send_ends_it_with_a_protocol_error(data, fault):
    socket = WebSocket()
    with pytest.raises(ValueError, match=fault):
        socket.feed(data)
    assert unmasked(socket.take_replies()) == (CLOSE, (1002).to_bytes(2, "big"), b"")


def test_a_ping_is_answered_with_its_own_octets():
    socket = WebSocket()
    assert socket.feed(frame(PING, b"are you there") + frame(TEXT, SIP)) == [SIP]
    assert unmasked(socket.take_replies()) == (PONG, b"are you there", b"")
    assert socket.take_replies() == b""


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "without a reason"),
        ((1001).to_bytes(2, "big"), "1001 going away"),
        ((1012).to_bytes(2, "big") + b"back at 10\x07", "1012 back at 10�"),
        ((4999).to_bytes(2, "big"), "4999"),
    ],
)
def test_a_close_is_answered_and_says_why(payload, why):
    socket = WebSocket()
    socket.feed(frame(CLOSE, payload) + frame(TEXT, SIP))
    assert socket.closed == why
    assert unmasked(socket.take_replies()) == (CLOSE, payload[:2], b"")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_goes_out_is_masked_and_text_where_it_is_utf8(size):
    for first, octet in ((TEXT, b"x"), (BINARY, b"\xe9")):
        if size or first == TEXT:
            data = WebSocket().frame(octet * size)
            assert unmasked(data) == (first, octet * size, b"")


def test_two_frames_have_two_masks():
    assert WebSocket().frame(SIP) != WebSocket().frame(SIP)


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_any_octets_are_framed_or_refused_and_never_grow(parts):
    socket = WebSocket()
    try:
        for part in parts:
            for message in socket.feed(part):
                assert len(message) <= MESSAGE_LIMIT
            assert socket.held <= MESSAGE_LIMIT + 14 + len(part)
    except ValueError:
        assert unmasked(socket.take_replies())[0] in (CLOSE, PONG)


_FRAMES = st.builds(
    frame,
    st.sampled_from([0x00, 0x01, 0x02, 0x80, TEXT, BINARY, PING, PONG, CLOSE, 0x90]),
    st.binary(max_size=140),
)


@given(st.lists(_FRAMES, max_size=12), st.integers(1, 50))
def test_any_frames_give_the_same_however_they_are_cut(frames, size):
    data = b"".join(frames)
    whole, cut = WebSocket(), WebSocket()
    assert _outcome(whole, [data]) == _outcome(
        cut, [data[i : i + size] for i in range(0, len(data), size)]
    )


def _outcome(socket: WebSocket, parts: list[bytes]) -> tuple[list[bytes], object]:
    found: list[bytes] = []
    replies = b""
    try:
        for part in parts:
            found += socket.feed(part)
            replies += socket.take_replies()
    except ValueError as fault:
        # What came in the same octets before a fault is lost with the connection.
        return [], str(fault)
    return found, (socket.closed, [*_frames(replies)])


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        first, body, data = unmasked(data)
        found.append((first, body))
    return found


# --- on the wire --------------------------------------------------------------------


def options() -> Request:
    return options_request(
        SipUri.parse("sip:example.com"), from_uri="sip:a@example.com", user_agent="x"
    )


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    made = Client()
    try:
        yield made
    finally:
        made.close()


async def failure(address: Address, timeout: float = 5.0) -> SipError:
    async with client() as c:
        with pytest.raises(SipError) as caught:
            await c.request(
                options(), address, server_name="pbx.example.com", timeout=timeout
            )
    return caught.value


async def test_a_request_goes_in_one_frame_to_the_host_and_path_asked_for():
    async with answering(ok, "ws") as peer, client() as c:
        got = await c.request(
            options(), peer.address, server_name="pbx.example.com", timeout=5
        )
    assert got.response.status == 200
    assert [m.transport for m in got.exchange] == ["ws", "ws"]
    [handshake] = peer.handshakes
    assert handshake.path_qs == "/ws"
    assert handshake.host == f"pbx.example.com:{peer.address.port}"
    assert handshake.headers["Sec-WebSocket-Protocol"] == "sip"
    [sent] = peer.requests
    assert sent.faults == ()
    assert sent.via.transport == "WS"
    assert sent.via.sent_by[0].endswith(".invalid")


async def test_a_request_that_is_no_utf8_goes_in_a_binary_frame():
    request = options()
    request.headers.add("Subject", "caf\udce9")
    async with answering(ok, "ws") as peer, client() as c:
        got = await c.request(request, peer.address, timeout=5)
    assert got.response.status == 200
    assert peer.requests[0].get("subject") == "caf\udce9"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "HTTP 401 Unauthorized: it wants HTTP credentials"),
        (403, "HTTP 403 Forbidden: it does not let us in"),
        (404, "HTTP 404 Not Found: there is no WebSocket at /ws"),
        (426, "HTTP 426 Upgrade Required: it wants another protocol"),
        (200, "HTTP 200 OK: a plain web server"),
        (503, "HTTP 503 Service Unavailable: it is overloaded"),
    ],
)
async def test_a_web_server_that_refuses_is_told_with_its_status(status, said):
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    async with serving(refuse) as address:
        error = await failure(address)
    assert error.cause is Cause.WEBSOCKET_HANDSHAKE
    assert error.detail.startswith(f"no WebSocket at {address}: {said}")


async def test_a_websocket_of_another_protocol_is_told():
    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        return socket

    async with serving(chat) as address:
        error = await failure(address)
    assert error.cause is Cause.WEBSOCKET_HANDSHAKE
    assert error.detail == (
        f"no WebSocket at {address}: its WebSocket speaks no sub-protocol, not sip"
        " (RFC 7118)"
    )


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Address]:
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1], "ws", "/ws")
    finally:
        await runner.cleanup()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(serve: Serve) -> AsyncIterator[Address]:
    """A server that writes the octets of a test."""
    taken: list[asyncio.StreamWriter] = []

    async def served(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        taken.append(w)
        await serve(r, w)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Address("127.0.0.1", port, "ws", "/ws")
    finally:
        for writer in taken:
            writer.close()
        server.close()


async def grant(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> Request:
    """Grant the handshake and read the one request that follows."""
    head = (await r.readuntil(b"\r\n\r\n")).decode()
    key = next(x[19:] for x in head.split("\r\n") if x.startswith("Sec-WebSocket-Key"))
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
    w.write(granted(Sec_WebSocket_Accept=accept))
    head_of_frame = await r.readexactly(4)
    rest = await r.readexactly(4 + int.from_bytes(head_of_frame[2:], "big"))
    found = parse(unmasked(head_of_frame + rest)[1])
    assert isinstance(found, Request)
    return found


async def test_an_answer_in_pieces_between_pings_is_one_answer():
    async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        answer = respond(await grant(r, w), 200, "OK")
        for data in (
            frame(0x01, answer[:20]),
            frame(PING, b"?"),
            frame(0x00, answer[20:90]),
            frame(0x80, answer[90:]),
        ):
            for octet in data:
                w.write(bytes((octet,)))
                await w.drain()
        pong.set_result(unmasked(await r.readexactly(7))[:2])

    pong: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    async with raw(serve) as address, client() as c:
        got = await c.request(options(), address, timeout=5)
        assert await pong == (PONG, b"?")
    assert got.response.status == 200


@pytest.mark.parametrize(
    ("data", "cause", "detail"),
    [
        (
            frame(CLOSE, (1001).to_bytes(2, "big") + b"bye"),
            Cause.CONNECTION_RESET,
            "the peer closed the WebSocket, 1001 bye",
        ),
        (
            frame(TEXT, b"x", mask=True),
            Cause.MALFORMED,
            "the stream cannot be read: a masked frame, as only clients send them",
        ),
    ],
)
async def test_a_websocket_that_ends_without_an_answer_says_why(data, cause, detail):
    async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        await grant(r, w)
        w.write(data)

    async with raw(serve) as address:
        error = await failure(address)
    assert error.cause is cause
    assert error.detail == f"{address}: {detail}"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"SIP/2.0 400 Bad Request\r\n\r\n", "it speaks SIP without WebSocket"),
        (b"", "it ended the connection instead of answering the handshake"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "it does not speak HTTP"),  # a TLS alert
    ],
    ids=["plain SIP", "closes", "TLS"],
)
async def test_a_port_that_speaks_something_else_is_told(answer, detail):
    async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        await r.readuntil(b"\r\n\r\n")
        w.write(answer)
        w.close()

    async with raw(serve) as address:
        error = await failure(address)
    assert error.cause is Cause.WEBSOCKET_HANDSHAKE
    assert detail in error.detail


async def test_a_server_that_does_not_answer_the_handshake_is_left_in_time():
    async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        w.write(b"HTTP/1.1 101 Switch")

    async with raw(serve) as address:
        error = await failure(address, timeout=0.2)
    assert error.cause is Cause.WEBSOCKET_HANDSHAKE
    assert error.detail == f"{address} did not answer the WebSocket handshake in time"


async def test_a_flood_of_pings_is_answered_or_left_and_never_collected():
    async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        await grant(r, w)
        flood = frame(PING, b"x" * 125) * 500
        try:
            while True:  # it never reads what we answer
                w.write(flood)
                await w.drain()
        except ConnectionError:
            pass

    async with raw(serve) as address:
        error = await failure(address)
    assert error.cause is Cause.TIMEOUT
    assert error.detail.endswith("the peer does not read what it is sent")
