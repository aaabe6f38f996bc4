"""What a final response says of itself, and who sent it (RFC 3261 18.2.2, RFC 3326).

An answer need not come from whom it came through: a proxy says 480 for a phone that it
has not asked, and passes on the 480 of one that it has. Who it was is told, in this
order, by the address it came from or names as its Contact, by what it calls itself,
and by its To tag, which servers write in ways of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from checks.cause.evidence import Answer, Sender
from checks.observation import plain
from checks.sip.message import Response

AGENT_LIMIT = 80  # characters of a Server or User-Agent worth a place in a sentence
WORDS_LIMIT = 120  # of a reason phrase, a Reason's text, a Warning

_SERVERS = re.compile(
    r"asterisk|fpbx|freepbx|freeswitch|kamailio|openser|opensips|3cx|yate\b|sipexpress"
    r"|avaya|broadworks|broadsoft|cucm|mitel|oxe|starface|wildix|vitalpbx|issabel"
    r"|sbc|oracle|ribbon|audiocodes|session border|proxy|\bpbx\b|\w+pbx\b",
    re.I,
)
_PROVIDERS = re.compile(
    r"twilio|telnyx|bandwidth|plivo|vonage|nexmo|sipgate|voip\.ms|flowroute|signalwire"
    r"|didww|voxbone|sinch|thinq|callcentric|ovh\b|dtag|telekom",
    re.I,
)
_DEVICES = re.compile(
    r"yealink|polycom|polyvvx|poly/|grandstream|snom|cisco[-/ ](spa|cp|ata)|linksys"
    r"|fanvil|gigaset|panasonic|aastra|mitel ?6\d{3}|htek|obihai|akuvox|2n\b|patton"
    r"|baresip|linphone|zoiper|microsip|bria|x-lite|eyebeam|jitsi|groundwire|acrobits"
    r"|pjsua|sip\.js|jssip|twinkle|phonerlite|sipp\b|ata\b|dect\b|softphone|phone\b",
    re.I,
)
# Kamailio and OpenSIPS: an MD5 and a suffix, of replies that they make themselves;
# Asterisk without a dialog: the branch of the request.
_PROXY_TAG = re.compile(r"[0-9a-f]{32}[.\-][0-9a-f]{1,32}", re.I)
_ECHO_TAG = re.compile(r"z9hG4bK", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of who may have sent an answer."""

    devices: tuple[str, ...] = ()  # ip or ip:port of the phone, as its Contact has it
    agents: tuple[str, ...] = ()  # what the phone calls itself when it registers
    servers: tuple[str, ...] = ()  # ip or ip:port of the PBX
    server_agents: tuple[str, ...] = ()  # what the PBX calls itself
    provider: bool = False  # who was asked is a provider


NOTHING = Known()


def answer_of(
    response: Response,
    *,
    source: str = "",
    at: float | None = None,
    known: Known = NOTHING,
    forwarded: str = "",
) -> Answer:
    """A final response as evidence; texts harmless and bounded."""
    q850, sip, text = _reason(response)
    return Answer(
        status=response.status,
        reason=plain(response.reason, WORDS_LIMIT),
        method=_method(response),
        sender=sender_of(response, source, known),
        agent=plain(response.agent, AGENT_LIMIT),
        source=source,
        at=at,
        q850=q850,
        sip=sip,
        text=plain(text, WORDS_LIMIT),
        warning=_warning(response),
        retry_after=response.retry_after,
        contact=_contact(response),
        forwarded=forwarded or _forwarded(response),
    )


def sender_of(
    response: Response, source: str = "", known: Known = NOTHING
) -> Sender | None:
    """Who sent it; None where nothing tells."""
    if _is_at(source, known.devices) or _is_at(_contact(response), known.devices):
        return Sender.DEVICE
    agent = response.agent
    if agent and agent in known.agents and agent not in known.server_agents:
        return Sender.DEVICE
    if agent and agent in known.server_agents:
        return Sender.PROVIDER if known.provider else Sender.PBX
    for pattern, sender in _BY_AGENT:
        if pattern.search(agent):
            return sender
    tag = _tag(response)
    if _PROXY_TAG.fullmatch(tag) or _ECHO_TAG.match(tag):
        return Sender.PROVIDER if known.provider else Sender.PBX
    if known.provider:
        return Sender.PROVIDER
    # Nobody else stands behind a server whose answers have no name at all.
    return Sender.PBX if _is_at(source, known.servers) and not agent else None


_BY_AGENT = (
    (_PROVIDERS, Sender.PROVIDER),
    (_DEVICES, Sender.DEVICE),
    (_SERVERS, Sender.PBX),
)


def _is_at(where: str, places: Sequence[str]) -> bool:
    """Whether an ip:port is one of these, or on one of these hosts."""
    if not where:
        return False
    host = where.rpartition(":")[0]
    return where in places or host in places


def _tag(response: Response) -> str:
    try:
        return response.to.tag or ""
    except ValueError:
        return ""


def _method(response: Response) -> str:
    try:
        return plain(response.cseq.method, 20)
    except ValueError:
        return ""


def _contact(response: Response) -> str:
    """ip:port of its Contact; empty for none, and for the forwarding of a 3xx."""
    if 300 <= response.status < 400:
        return ""
    for contact in response.contacts[:1]:
        try:
            uri = contact.sip
        except ValueError:
            return ""  # a tel: URI
        return plain(uri.host_port if uri.port else f"{uri.host_port}:5060")
    return ""


def _reason(response: Response) -> tuple[int | None, int | None, str]:
    """Q.850 and SIP cause, and the first text."""
    q850 = sip = None
    text = ""
    for reason in response.reasons:
        if reason.protocol.upper() == "Q.850" and q850 is None:
            q850 = reason.cause
        elif reason.protocol.upper() == "SIP" and sip is None:
            sip = reason.cause
        text = text or reason.text
    return q850, sip, text


def _warning(response: Response) -> str:
    texts = [warning.text for warning in response.warnings]
    return plain("; ".join(texts), WORDS_LIMIT)


def _forwarded(response: Response) -> str:
    """To whom the call had gone on: RFC 5806 Diversion, RFC 7044 History-Info."""
    if response.get("diversion"):
        return "another number"
    entries = response.all("history-info")
    if len(entries) < 2:
        return ""
    last = entries[-1].partition(";")[0].strip("<> ")
    return plain(last.partition("?")[0], AGENT_LIMIT)
