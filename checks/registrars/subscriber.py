"""The `reg` event package of one registrar on the wire: what is due, and what comes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable

from checks.register import Query
from checks.registrars.regevent import Subscriptions
from checks.registrations.readings import Added, Gone
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.flows import Back
from checks.sip.message import Request
from checks.sip.resolver import Address

AT_ONCE = 8  # SUBSCRIBEs under way; a registrar has bigger things to do
USER = "sipwatch"  # in the Contact that NOTIFYs are sent to
NO_WAY = 5.0  # s until another attempt where no connection could be opened
LOOK = 1.0  # s until somebody looks again while SUBSCRIBEs are under way


class Subscriber:
    """Keeps subscriptions beside the queries, which never wait for them.

    What goes wrong here is no failure of the registrar: the queries tell.
    """

    def __init__(
        self,
        query: Query,
        clock: Callable[[], float],
        *,
        stirred: asyncio.Event,
        name: Callable[[str], str],
    ) -> None:
        """`stirred` is set when there is something to take, or to send."""
        self._query, self._clock, self._stirred = query, clock, stirred
        self._subscriptions = Subscriptions(
            query.registrar.host,
            query.user_agent,
            username=query.credentials.username if query.credentials else "",
            name=name,
        )
        self._sending: asyncio.Task[None] | None = None
        self._not_before = -math.inf

    def watch(self, aors: list[str]) -> None:
        """These are the AORs from now on."""
        self._subscriptions.watch(aors, self._clock())

    def asked(self, request: Request, back: Back) -> None:
        """A request that came from the registrar, or from anybody."""
        response = self._subscriptions.answer(request, self._clock())
        if response is not None:
            with contextlib.suppress(SipError, OSError):  # it will ask again
                back.send(bytes(response))
        self._stirred.set()

    def take(self) -> tuple[list[Added | Gone], set[str]]:
        """What has come since: readings, and the AORs that are to be queried."""
        return self._subscriptions.take()

    def next_due(self) -> float:
        """When `keep` has something to send, and can."""
        due = max(self._subscriptions.next_due(), self._not_before)
        if self._sending is not None and not self._sending.done():
            due = max(due, self._clock() + LOOK)
        return due

    def keep(self, client: Client, place: Address) -> None:
        """Begin to send what is due; at most AT_ONCE at a time."""
        if self._sending is not None:
            if not self._sending.done():
                return
            self._sending.result()  # what went wrong in a way that is not expected
        if self._clock() < self._not_before:
            return
        self._sending = asyncio.create_task(self._send(client, place))

    async def close(self) -> None:
        """Send no more; what is subscribed ends by itself."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def _send(self, client: Client, place: Address) -> None:
        query = self._query
        try:
            contact = await client.contact(
                USER, place, server_name=query.server_name, timeout=query.timeout
            )
        except SipError:
            self._not_before = self._clock() + NO_WAY
            return
        self._subscriptions.lead(place, contact, self._clock())
        due = self._subscriptions.due(self._clock(), AT_ONCE)
        await asyncio.gather(*(self._subscribe(client, place, aor) for aor in due))
        if due:
            self._stirred.set()

    async def _subscribe(self, client: Client, place: Address, aor: str) -> None:
        request = self._subscriptions.request(aor, self._clock())
        query = self._query
        try:
            answer = await client.request(
                request,
                place,
                server_name=query.server_name,
                timeout=query.timeout,
                credentials=query.credentials,
            )
        except SipError:
            self._subscriptions.refused(request, None, self._clock())
            return
        status = answer.response.status
        if 200 <= status < 300:
            self._subscriptions.accepted(request, answer.response, self._clock())
        else:
            self._subscriptions.refused(request, status, self._clock())
