"""Where nothing answers: does the same host answer over another transport?"""

from __future__ import annotations

import asyncio

from checks.observation import Cause
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.params import Params
from checks.sip.requests import options_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri

BRIEFLY = 2.0  # s for each other transport, all at once
DEFAULT = {"udp": 5060, "tcp": 5060, "tls": 5061}

# A certificate that we do not take is an answer all the same: the port is open.
_ANSWERED = (Cause.TLS_VERIFY, Cause.TLS_EXPIRED)


async def answering(
    client: Client, uri: SipUri, failed: Address, agent: str
) -> tuple[str, ...]:
    """The other ports that answer an OPTIONS, each as "TLS 5061"."""
    wanted = [name for name in DEFAULT if name != failed.transport]
    found = await asyncio.gather(
        *(_answers(client, uri, _other(uri, failed, name), agent) for name in wanted)
    )
    return tuple(one for one in found if one)


def _other(uri: SipUri, failed: Address, transport: str) -> Address:
    """UDP and TCP share a port, TLS has the next one."""
    port = uri.port
    if port is None or failed.transport not in ("udp", "tcp"):
        port = DEFAULT[transport]
    elif transport == "tls":
        port = min(port + 1, 65535)
    return Address(failed.ip, port, transport)


async def _answers(client: Client, uri: SipUri, address: Address, agent: str) -> str:
    params = Params([("transport", address.transport)])
    asked = SipUri(uri.host, None, address.port, params)
    request = options_request(
        asked, from_uri=SipUri(uri.host, "sipwatch"), user_agent=agent
    )
    name = f"{address.transport.upper()} {address.port}"
    try:
        await client.request(request, address, server_name=uri.host, timeout=BRIEFLY)
    except SipError as error:
        return name if error.cause in _ANSWERED else ""
    return name
