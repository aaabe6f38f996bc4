"""SIP MESSAGE (RFC 3428): the headline on the display of the on-call's phone.

It goes the way that a call would go, so it works where nothing but the PBX does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from alerting.incident import DeliveryError, Notification, Told
from checks.observation import plain
from checks.settings import Duration, Secret
from checks.sip.certificate import tls_context
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.message import Request, Response
from checks.sip.requests import completed, message_request
from checks.sip.uri import SipUri

REQUEST_LIMIT = 1300  # bytes of a MESSAGE on any way, by RFC 3428 8
VIA = 150  # bytes of those for what is added as it is sent
AUTHORIZATION = 450  # and for that field, beside the URI and the user in it
TEXT_LIMIT = 300  # bytes: what the display of a phone shows without scrolling far
TO_LIMIT = 16  # phones; each is sent to by itself
PLACES = 2  # addresses of a name that are tried (RFC 3263 4.3)
REMEMBERED = 64  # batches half accepted; one at a time is in flight, few fail so
URI_LIMIT = 200  # characters: two of them stand in a request of 1300 bytes
PRIORITY = {"critical": "urgent", "warning": "normal"}  # RFC 3261 20.26
# Refusals that may be over later: no answer, nobody registered, busy, a request or a
# server that is in the way of ours, no one there just now (RFC 3261 21.4 to 21.6).
TRY_AGAIN = (408, 413, 480, 486, 487, 491, 500, 502, 503, 504, 580, 600)


def phone_uri(written: str, key: str) -> SipUri:
    """A SIP URI with a user; ValueError with a sentence."""
    text = written if written[:5].lower().startswith("sip") else f"sip:{written}"
    try:
        uri = SipUri.parse(text)
    except ValueError:
        uri = None
    if uri is None or not uri.user or len(text) > URI_LIMIT:
        raise ValueError(
            f"{key}: {written} is no SIP URI of somebody (write sip:1001@10.0.0.5)"
        )
    return uri


def proxy_uri(written: str) -> SipUri:
    """A SIP URI of a server; ValueError with a sentence."""
    try:
        return SipUri.parse(written)
    except ValueError:
        text = f"outbound_proxy: {written} is no SIP URI (write sip:10.0.0.5)"
        raise ValueError(text) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessageSettings:
    """`type: sip_message`: the phones, and the way to them."""

    to: tuple[str, ...]  # sip:1001@10.0.0.5, or ;transport=tls
    from_: str = field(metadata={"alias": "from"})  # a SIP URI
    outbound_proxy: str = ""  # sent there instead of to the host in `to`
    username: str = ""  # of the digest; default: the user in `from`
    password: Secret | None = None  # of the digest
    ca_file: str | None = None  # trusted beside the system's authorities
    timeout: Duration = 10.0  # for each phone, until it has taken or refused it

    def __post_init__(self) -> None:
        if isinstance(self.to, str) or not 0 < len(self.to) <= TO_LIMIT:
            raise ValueError("to: is a list of SIP URIs (write [sip:1001@10.0.0.5])")
        for one in self.to:
            phone_uri(one, "to")
        phone_uri(self.from_, "from")
        if self.outbound_proxy:
            proxy_uri(self.outbound_proxy)
        if self.username and self.password is None:
            raise ValueError("username: needs a password")
        if self.timeout <= 0:
            raise ValueError("timeout: must be longer than 0s")


class SipMessage:
    """Sends one MESSAGE to each phone; 2xx means that the phone has it (RFC 3428 7)
    or that a server keeps it for the phone."""

    def __init__(self, settings: SipMessageSettings) -> None:
        self._settings = settings
        self._to = {one: phone_uri(one, "to") for one in settings.to}
        self._from = phone_uri(settings.from_, "from")
        self._proxy = (
            proxy_uri(settings.outbound_proxy) if settings.outbound_proxy else None
        )
        self._credentials: Credentials | None = None
        if settings.password is not None:
            user = settings.username or self._from.user or ""
            self._credentials = Credentials(user, settings.password)
        self._context: ssl.SSLContext | None = None
        self._accepted: OrderedDict[str, set[str]] = OrderedDict()  # by batch
        self.complaint = ""  # who refuses for good though others took it

    async def send(self, notification: Notification) -> None:
        """Returns when every phone has it that can; raises DeliveryError."""
        accepted = self._remembered(notification.id)
        left = [one for one in self._to if one not in accepted]
        client = Client(ssl_context=await self._trust())
        try:
            failed = await asyncio.gather(
                *(self._one(client, one, notification) for one in left)
            )
        finally:
            client.close()
        lacking = {
            one: error
            for one, error in zip(left, failed, strict=True)
            if error is not None
        }
        accepted.update(one for one in left if one not in lacking)
        self._judge(notification.id, accepted, lacking)

    def _judge(
        self, batch: str, accepted: set[str], lacking: dict[str, DeliveryError]
    ) -> None:
        waiting = [error for error in lacking.values() if not error.permanent]
        if waiting:
            have = f"{len(accepted)} of {len(self._to)} phones have it"
            raise DeliveryError(
                f"{have}; {_listed(waiting)}",
                retry_after=max(error.retry_after for error in waiting),
                in_doubt=bool(accepted) or any(error.in_doubt for error in waiting),
            )
        del self._accepted[batch]
        if not accepted:
            raise DeliveryError(_listed(lacking.values()), permanent=True)
        self.complaint = _listed(lacking.values())

    def _remembered(self, batch: str) -> set[str]:
        accepted = self._accepted.setdefault(batch, set())
        self._accepted.move_to_end(batch)
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        return accepted

    async def _one(
        self, client: Client, one: str, n: Notification
    ) -> DeliveryError | None:
        request = compose(n, self._to[one], self._from, self._credentials)
        try:
            async with asyncio.timeout(self._settings.timeout):
                response = await self._ask(client, request, self._to[one])
        except SipError as error:
            return DeliveryError(f"{one}: {plain(error.detail)}")
        except TimeoutError:
            why = f"{one}: no answer within {self._settings.timeout:g} s"
            return DeliveryError(why, in_doubt=True)
        return _refusal(one, response)

    async def _ask(self, client: Client, request: Request, to: SipUri) -> Response:
        """The answer of the first address that gives one."""
        hop = self._proxy or to
        places = (await client.resolve(hop)).addresses[:PLACES]
        for place in places:
            try:
                answer = await client.request(
                    request,
                    place,
                    server_name=hop.host,
                    timeout=self._settings.timeout / len(places),
                    credentials=self._credentials,
                )
            except SipError:
                if place is places[-1]:
                    raise
                continue
            if answer.response.status != 503 or place is places[-1]:
                break
        return answer.response

    async def _trust(self) -> ssl.SSLContext | None:
        if self._settings.ca_file and self._context is None:
            # Reading the authorities takes tens of ms: not on the loop.
            self._context = await asyncio.to_thread(tls_context, self._settings.ca_file)
        return self._context


def compose(
    n: Notification, to: SipUri, sender: SipUri, credentials: Credentials | None
) -> Request:
    """The request: its text is cut where the whole would be too long for any way."""
    request = message_request(to, from_uri=sender, user_agent="sipwatch", text="")
    severity = n.labels.get("severity", "")
    if n.change is not Told.RESOLVED and severity in PRIORITY:
        request.headers.add("Priority", PRIORITY[severity])
    room = REQUEST_LIMIT - VIA - len(bytes(completed(request)))
    if credentials is not None:
        room -= AUTHORIZATION + len(request.uri) + len(credentials.username)
    request.body = cut(plain(n.subject), max(0, min(room, TEXT_LIMIT)))
    return request


def cut(text: str, limit: int) -> bytes:
    """The beginning of a text in at most so many bytes of UTF-8."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return whole
    kept = whole[: max(0, limit - 3)].decode("utf-8", "ignore")
    return f"{kept}…".encode()[:limit]


def _refusal(one: str, response: Response) -> DeliveryError | None:
    status = response.status
    if 200 <= status < 300:
        return None
    again = status in TRY_AGAIN
    reason = plain(response.reason, 60)
    wait = response.retry_after if again else None
    return DeliveryError(
        f"{one} answers {status} {reason}".rstrip(),
        permanent=not again,
        retry_after=float(wait or 0),
    )


def _listed(errors: Iterable[DeliveryError]) -> str:
    return plain("; ".join(str(error) for error in errors))
