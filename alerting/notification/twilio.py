"""Twilio's error codes about SIP in plain words, with what to do about each.

The sentences follow Twilio's own dictionary of errors; 31xxx are those of its Voice
SDK (a SIP status is 31000 and the status), 32xxx those of SIP Domains and trunks.
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """A code as a few words, as a sentence, and what to do about it."""

    short: str
    words: str
    step: str


_CREDENTIALS = (
    "compare user and password with the credential list of the domain (case counts)"
)
_PHONE = "check power and network of the phone, then its account"
_INFRASTRUCTURE = (
    "check that Twilio reaches your SIP server: address, port, transport, TLS 1.2, "
    "firewall; sipwatch probe shows what answers"
)
_SDP = "look at what your PBX sends there: sipwatch diagnose, or a capture of the call"
_NUMBER = "send numbers in E.164 (+441234567890)"
_LOG = "open the alert in Twilio's Console (Monitor, Logs, Errors)"
_WEBHOOK = (
    "see whether the URL answers from outside, and quickly; set a static fallback"
)

CODES: dict[int, Words] = {
    11200: Words("webhook failed", "Twilio got an error from a URL of yours", _WEBHOOK),
    11205: Words("no connection to webhook", "Twilio cannot connect to a URL of yours",
                 _WEBHOOK),
    11210: Words("webhook's host unknown", "the name in a URL of yours is not in DNS",
                 "correct the name in the URL, or its DNS"),
    13224: Words("number not valid", "Twilio does not call this number", _NUMBER),
    13225: Words("number blocked", "Twilio blocks calls to this number",
                 "ask Twilio's support why the number is blocked"),
    13227: Words("country not allowed", "calls to this country are not allowed",
                 "allow it under Voice, Settings, Geo permissions"),
    15003: Words("callback warned", "a URL of yours answered a callback badly",
                 _WEBHOOK),
    31201: Words("not authorized", "a client of the Voice SDK was not authorized",
                 "check its access token: account, key, time of the host"),
    31203: Words("no valid account", "a client's account is not valid, or suspended",
                 "see in the Console whether the account is active and paid"),
    31204: Words("token invalid", "the access token of a client is not valid",
                 "check account, key and secret that sign the tokens"),
    31205: Words("token expired", "the access token of a client has expired",
                 "have clients fetch new tokens in time"),
    31301: Words("registration error", "a client of the Voice SDK cannot register",
                 "check its access token, then its network"),
    31403: Words("forbidden", "a call was answered 403", _LOG),
    31404: Words("not found", "a call was answered 404: nobody has this name",
                 "check the name that was dialled"),
    31408: Words("request timeout", "a call was answered 408: nobody answered", _PHONE),
    31480: Words("temporarily unavailable",
                 "a call was answered 480: whom it was for is not there", _PHONE),
    31486: Words("busy here", "a call was answered 486: busy", "nothing is broken"),
    31503: Words("service unavailable", "a call was answered 503",
                 "look at the load of the server that was called"),
    31603: Words("declined", "a call was answered 603: declined",
                 "ask the user; 603 of everything: see whether the account is active"),
    32001: Words("trunk CPS exceeded", "more calls per second than the trunk may make",
                 "spread the calls, or ask Twilio for a higher limit"),
    32002: Words("SIP domain not found",
                 "a SIP Domain was dialled that does not exist",
                 "correct the domain where it is dialled; sipwatch check-config"
                 " --online says which there are"),
    32005: Words("voice disabled", "Twilio has switched off calls of this account",
                 "ask Twilio's support: the account may be under review"),
    32006: Words("too many hops", "Max-Forwards had come to 0: calls go in a circle",
                 "look for a loop in the routing; send Max-Forwards of 20 at least"),
    32007: Words("too many bindings", "a user has more than 10 phones registered",
                 "remove old registrations, and accounts that are used twice"),
    32008: Words("too many REGISTERs", "a user sends more than 5 REGISTERs a second",
                 "raise the time between attempts on the phone"),
    32009: Words("user not registered",
                 "the user that was dialled is not registered at the SIP Domain",
                 _PHONE),
    32010: Words("no origination URI", "the trunk has no origination URI that works",
                 "give the trunk an origination URI, and see that it is enabled"),
    32011: Words("your SIP server failed", "Twilio had an error from your SIP server",
                 _INFRASTRUCTURE),
    32012: Words("parent's trunk CPS exceeded",
                 "more calls per second than the parent account may make on trunks",
                 "spread the calls, or ask Twilio for a higher limit"),
    32013: Words("parent's SIP CPS exceeded",
                 "more calls per second than the parent account may make over SIP",
                 "spread the calls, or ask Twilio for a higher limit"),
    32014: Words("no audio", "a call was ended because no audio came",
                 "look at NAT, firewall and SDP address of the media (RTP)"),
    32015: Words("call too long", "a call was ended because it was too long",
                 "nothing is broken, unless the call should have ended before"),
    32016: Words("no carrier answered", "no carrier set up the call within 60 s", _LOG),
    32017: Words("caller ID blocked", "a carrier blocks calls from this number",
                 "see the number's reputation, and ask Twilio's support"),
    32018: Words("TwiML too long", "the TwiML has more than 4000 characters",
                 "let the URL answer with shorter TwiML"),
    32019: Words("two voice URLs", "a call was given both a URL and TwiML",
                 "give one of them"),
    32020: Words("passport not valid", "SHAKEN/STIR: your passport is not valid", _LOG),
    32021: Words("caller not verified", "SHAKEN/STIR: a call was not verified", _LOG),
    32022: Words("no ACK", "your SIP server never acknowledged an answered call",
                 "look at NAT and firewall, and the Contact and Route of your ACK"),
    32100: Words("trial account", "a trial account calls from an unverified number",
                 "verify the number, or upgrade the account"),
    32101: Words("number not valid", "the called number is not valid", _NUMBER),
    32102: Words("bad SDP", "the SDP of a call cannot be read", _SDP),
    32103: Words("empty body", "a request has no body where it must have one", _SDP),
    32105: Words("bad Contact", "the Contact of a request cannot be read", _SDP),
    32106: Words("authentication error", "a request was not authenticated",
                 _CREDENTIALS),
    32110: Words("bad URI", "a SIP URI cannot be read", _SDP),
    32111: Words("bad header name", "a header name in a SIP URI is not valid", _SDP),
    32112: Words("bad header value", "a header value in a SIP URI is not valid", _SDP),
    32113: Words("header not allowed", "a header in a SIP URI is not allowed", _SDP),
    32114: Words("bad parameter", "a parameter of a SIP URI is not known", _SDP),
    32115: Words("bad call reason", "X-Branded-CallReason is too long",
                 "send at most 50 characters"),
    32200: Words("not permitted", "a request was refused: rights are missing", _LOG),
    32201: Words("address not in ACL",
                 "SIP came from an address that is in no access list of the domain",
                 "add the address to an IP access control list that the domain uses, or"
                 " send from one that is in it"),
    32202: Words("bad credentials", "user name or password are wrong", _CREDENTIALS),
    32203: Words("call blocked", "Twilio blocks calls to this number",
                 "ask Twilio's support why"),
    32204: Words("From not verified",
                 "the calling number is neither yours nor verified",
                 "call from a number of the account, or verify this one"),
    32205: Words("country not allowed", "the trunk may not call this country",
                 "allow it under Voice, Settings, Geo permissions"),
    32206: Words("bad caller ID", "the calling number is not valid", _NUMBER),
    32207: Words("SRTP not accepted", "a call offers SRTP, and the trunk takes RTP",
                 "switch on Secure Trunking, or send RTP"),
    32208: Words("SRTP required", "a call offers RTP, and the trunk takes SRTP",
                 "send SRTP, or switch off Secure Trunking"),
    32209: Words("TLS required", "a call came over UDP or TCP, and TLS is required",
                 "use transport=tls"),
    32210: Words("registration is off", "a phone registers at a domain without"
                 " registration",
                 "switch on SIP registration of the domain, or correct its name on the"
                 " phone"),
    32212: Words("no credentials for registration",
                 "registrations cannot be authenticated at the domain",
                 "map a credential list to the registration of the domain"),
    32214: Words("invalid <Sip>", "what <Dial><Sip> calls is not valid",
                 "correct the URI in the TwiML"),
    32215: Words("region missing", "a SIP Domain was dialled without its region",
                 "dial the domain with its region"),
    32216: Words("on a deny list", "this SIP address is on a deny list",
                 "ask Twilio's support why"),
    32218: Words("transfer not allowed", "a call was transferred where it may not be",
                 "allow transfers of the trunk, or correct where they go"),
    32219: Words("redirect failed", "a 30x of your SIP server leads nowhere",
                 "correct the Contact of the 30x"),
    32220: Words("edge in a dialled URI", "a phone was dialled by the URI of an edge",
                 "dial user@domain.sip.twilio.com, without the edge"),
    32221: Words("none in this edge", "no phone is registered in the dialled edge",
                 "dial user@domain.sip.twilio.com, without the edge"),
    32222: Words("TLS too old", "SIP came over a TLS version that is too old",
                 "use TLS 1.2 or later on your PBX or phone"),
    32223: Words("no user in the URI", "a domain was dialled without a user",
                 "dial user@domain.sip.twilio.com"),
    32400: Words("BYOC routing failed", "a BYOC trunk could not reach your SIP server",
                 _INFRASTRUCTURE),
    32401: Words("BYOC failed over", "a BYOC trunk could not reach your SIP server and"
                 " went by Twilio's own", _INFRASTRUCTURE),
}  # fmt: skip


def words_of(code: int) -> Words:
    """A code in words; any other has its number alone."""
    known = CODES.get(code)
    return known or Words("error", f"Twilio reports error {code}", _LOG)
