from __future__ import annotations

import pytest

from checks.observation import Binding, Cause
from checks.register import Query, RefusedError, binding_query, bindings
from checks.sip.client import Client
from checks.sip.message import Request, Response, parse
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from sipwatch.demo.peer import Peer, answer


def response(*headers: str) -> Response:
    lines = ["SIP/2.0 200 OK", "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", *headers]
    read = parse("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
    assert isinstance(read, Response)
    return read


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), []),
        (
            ("Contact: <sip:1@10.0.0.1:5060>;expires=40",),
            [Binding("1", "sip:1@10.0.0.1:5060", 1040.0, received="10.0.0.1:5060")],
        ),
        (
            (
                'm: "One" <sip:1@10.0.0.1>;q=0.5, <sip:1@10.0.0.2;ob>;expires=7',
                "Contact: <sip:1@10.0.0.3>;expires=0",
                "Expires: 60",
            ),
            [
                Binding("1", "sip:1@10.0.0.1", 1060.0, received="10.0.0.1"),
                Binding("1", "sip:1@10.0.0.2;ob", 1007.0, received="10.0.0.2"),
            ],
        ),
        (
            ('Contact: <sip:1@10.0.0.1>;received="sip:198.51.100.7:1024";expires=5',),
            [Binding("1", "sip:1@10.0.0.1", 1005.0, received="198.51.100.7:1024")],
        ),
        (
            ("Contact: <sip:1@10.0.0.1>;expires=soon", "Contact: *"),
            [Binding("1", "sip:1@10.0.0.1", None, received="10.0.0.1")],
        ),
    ],
)
def test_the_bindings_of_a_response(
    headers: tuple[str, ...], expected: list[Binding]
) -> None:
    assert bindings(response(*headers), "1", 1000.0) == expected


class Recorder(Peer):
    """Keeps what it is asked and answers with one status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        self.asked: list[Request] = []

    def respond(self, request: Request, source: tuple[str, int]) -> Response:
        self.asked.append(request)
        return answer(request, self.status, "Said so", source)


async def ask(registrar: Recorder, aor: str) -> Response:
    await registrar.open()
    client = Client()
    query = Query(SipUri("pbx.example.com"), "pbx.example.com", "sipwatch", 5.0)
    try:
        address = Address(*registrar.address, "udp")
        return await binding_query(client, query, aor, address)
    finally:
        client.close()
        registrar.close()


@pytest.mark.parametrize(
    ("aor", "to"),
    [
        ("1001", "sip:1001@pbx.example.com"),
        ("1001@lab.example.com", "sip:1001@lab.example.com"),
    ],
)
async def test_a_query_changes_nothing(aor: str, to: str) -> None:
    registrar = Recorder(200)
    await ask(registrar, aor)
    (asked,) = registrar.asked

    assert (asked.method, str(asked.sip_uri)) == ("REGISTER", "sip:pbx.example.com")
    assert (asked.to.uri, asked.from_.uri) == (to, to)
    assert "Contact" not in asked.headers
    assert "Expires" not in asked.headers


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, Cause.UNAUTHORIZED),
        (403, Cause.FORBIDDEN),
        (404, Cause.NOT_FOUND),
        (503, Cause.OVERLOADED),
        (500, Cause("response_500")),
    ],
)
async def test_a_refusal_is_a_cause(status: int, cause: Cause) -> None:
    with pytest.raises(RefusedError) as refused:
        await ask(Recorder(status), "1001")
    assert refused.value.cause is cause
    assert f"REGISTER: {status}" in refused.value.detail
