"""Evidence made of frames: a pcapng that is safe to send on, and a text ladder.

Only frames in which SIP was read leave the ring; what else is between them, TCP that
opens, closes and refuses, goes along, and nothing with a payload that nobody could look
through. So nothing is in the file that redaction has not seen.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import pack

from checks.sip.trace import Exchanged, ladder
from sipwatch.capture import pcapng
from sipwatch.capture.frames import TCP, UDP, Frame, Packet, packet_of
from sipwatch.capture.heard import Heard, Hearing
from sipwatch.capture.pieces import Place, between
from sipwatch.capture.redaction import MASK, Span, overwritten, secrets_in
from sipwatch.capture.sums import Sums

LADDER_MESSAGES = 400  # in the text; the file has all

UPPER_PDU = 252  # LINKTYPE_WIRESHARK_UPPER_PDU: a message without a frame
_DISSECTOR, _END = 12, 0  # its tags: epan/exported_pdu.h of Wireshark
_IPV4, _IPV6, _PORT_TYPE, _PORTS = (20, 21), (22, 23), 24, (25, 26)
_PORT_TYPES = {"udp": 3, "tcp": 2}


@dataclass(frozen=True, slots=True)
class Exported:
    """An exchange as it is kept and shown."""

    pcapng: bytes
    text: str
    messages: int
    frames: int
    notes: tuple[str, ...] = ()  # what cannot be seen in it

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.pcapng).hexdigest()


def of_frames(
    frames: Sequence[Frame], *, comment: str = "", numbers: bool = False
) -> Exported:
    """The exchange in some frames; with `numbers`, those are overwritten as well."""
    hearing = Hearing()
    heard = [m for n, frame in enumerate(frames) for m in hearing.take(n, frame)]
    changed = {n: bytearray(frame.data) for n, frame in enumerate(frames)}
    said: list[Exchanged] = []
    shown: dict[int, set[Place]] = {}
    for message in heard:
        spans = secrets_in(message.data, numbers=numbers)
        for place in message.octets.places:
            shown.setdefault(place.frame, set()).add(place)
        _overwrite(changed, message, spans)
        said.append(_line(message, overwritten(message.data, spans)))
    sums = Sums(frames, [bytes(changed[n]) for n in range(len(frames))])
    kept = [
        Frame(frame.at, frame.link, sums.repaired(frame, bytes(changed[n])))
        for n, frame in enumerate(frames)
        if _is_fit(n, frame, shown.get(n, set()), changed[n])
    ]
    return Exported(
        pcapng.write(kept, comment=comment),
        ladder(said[:LADDER_MESSAGES]),
        len(heard),
        len(kept),
        tuple(_notes(hearing, len(said))),
    )


def of_messages(
    exchange: Iterable[Exchanged], *, comment: str = "", numbers: bool = False
) -> Exported:
    """Our own exchange, of which there are messages and no frames."""
    said: list[Exchanged] = []
    frames: list[Frame] = []
    for one in exchange:
        data = overwritten(one.data, secrets_in(one.data, numbers=numbers))
        clean = Exchanged(
            one.at, one.sent, one.transport, one.local, one.remote, data, one.note
        )
        said.append(clean)
        frames.append(Frame(one.at, UPPER_PDU, _tags(clean) + data))
    text = ladder(said[:LADDER_MESSAGES])
    return Exported(pcapng.write(frames, comment=comment), text, len(said), len(frames))


def _notes(hearing: Hearing, messages: int) -> Iterable[str]:
    for host, port in sorted(hearing.encrypted):
        yield f"what goes to {host} port {port} is TLS: nobody in between can read it"
    if messages > LADDER_MESSAGES:
        yield f"the text has the first {LADDER_MESSAGES} of {messages} messages"


def _line(message: Heard, data: bytes) -> Exchanged:
    """One line of the ladder: always told from who speaks."""
    ends = message.source, message.target
    return Exchanged(message.at, True, message.transport, *ends, data)


def _overwrite(
    changed: dict[int, bytearray], message: Heard, spans: Iterable[Span]
) -> None:
    for begin, end in spans:
        for frame, at, size in between(message.octets.places, begin, end):
            changed[frame][at : at + size] = bytes([MASK]) * size


def _is_fit(number: int, frame: Frame, shown: set[Place], data: bytearray) -> bool:
    """Whether a frame holds nothing but what was looked through."""
    try:
        packet = packet_of(frame)
    except ValueError:
        return False
    payload = _payload_of(frame, packet)
    if payload is None:
        return False
    begin, end = payload
    unseen = bytearray(data[begin:end])
    for place in shown:
        first, last = place.begin - begin, place.begin + place.size - begin
        unseen[max(first, 0) : max(last, 0)] = bytes(max(last, 0) - max(first, 0))
    return not unseen.strip(b"\r\n\0")


def _payload_of(frame: Frame, packet: Packet) -> Span | None:
    """Where the payload of UDP or TCP lies; of a later fragment, all of it."""
    begin, end = packet.begin, packet.end
    if packet.fragment is not None and packet.fragment.offset:
        return begin, end
    if packet.protocol == UDP:
        return min(begin + 8, end), end
    if packet.protocol == TCP and begin + 13 <= end:
        return min(begin + 4 * (frame.data[begin + 12] >> 4), end), end
    return None


def _tags(one: Exchanged) -> bytes:
    """What Wireshark is told of a message without a frame."""
    source, target = (one.local, one.remote) if one.sent else (one.remote, one.local)
    tags = _tag(_DISSECTOR, b"sip")
    for end, four, six, port in zip(
        (source, target), _IPV4, _IPV6, _PORTS, strict=True
    ):
        try:
            packed = ipaddress.ip_address(end[0]).packed
        except ValueError:
            continue  # a name: it was not resolved
        tags += _tag(four if len(packed) == 4 else six, packed)
        tags += _tag(port, pack("!L", end[1]))
    kind = _PORT_TYPES["udp" if one.transport == "udp" else "tcp"]
    return tags + _tag(_PORT_TYPE, pack("!L", kind)) + _tag(_END, b"")


def _tag(code: int, value: bytes) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return pack("!HH", code, len(padded)) + padded
