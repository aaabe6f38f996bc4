"""A little name server on loopback: a table of records, over UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Zone = Mapping[str, Mapping[str, list[str]] | dns.rcode.Rcode | None]
# name -> {type: [record, ...]}, or an error code to answer with, or None for silence

TTL = 300


class NameServer(asyncio.DatagramProtocol):
    """Answers from the zone; a name that is not there does not exist."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.asked: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    @property
    def port(self) -> int:
        return self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = question.rdtype.name
        self.asked.append(f"{kind} {name}")
        reply = self.answer(query, name, kind)
        if reply is not None:
            self.transport.sendto(reply.to_wire(), source)

    def answer(self, query, name: str, kind: str):
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        hops = 0
        while hops < 8:
            found = self.zone.get(name, dns.rcode.NXDOMAIN)
            if found is None:
                return None
            if isinstance(found, dns.rcode.Rcode):
                reply.set_rcode(found)
                return reply
            if "CNAME" not in found:
                break
            self.add(reply, name, "CNAME", found["CNAME"])
            name = found["CNAME"][0].rstrip(".")
            hops += 1
        if rows := found.get(kind):
            self.add(reply, name, kind, rows)
        return reply

    @staticmethod
    def add(reply, name: str, kind: str, rows: list[str]) -> None:
        rrset = dns.rrset.from_text_list(f"{name}.", TTL, "IN", kind, rows)
        reply.answer.append(rrset)


@asynccontextmanager
async def serving(zone: Zone) -> AsyncIterator[NameServer]:
    """A name server for the zone, on a port of its own."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
