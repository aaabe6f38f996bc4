"""What a SIP Domain is set to at Twilio, and whether a phone could register there.

Twilio has no list of who is registered; it tells what must be so that one can be.
"""

from __future__ import annotations

import ipaddress
from difflib import get_close_matches
from typing import Any, NamedTuple

from checks.observation import plain
from checks.twilio.client import Client, Trouble, TwilioError
from checks.twilio.settings import TwilioSettings

NAMED = 5  # domains or lists that are named in a sentence


class Rung(NamedTuple):
    """One thing that was looked at."""

    name: str  # domain, registration, credentials, username, address
    ok: bool | None  # None: it could not be looked at, or does not matter
    said: str
    step: str = ""  # what to do, where it is not well


async def look(
    settings: TwilioSettings,
    domain: str,
    username: str = "",
    address: str | None = None,
) -> list[Rung]:
    """Each rung of the ladder, as far as it can be climbed."""
    rungs: list[Rung] = []
    async with Client(settings) as client:
        try:
            await _climb(client, domain, username, address, rungs)
        except TwilioError as error:
            rungs.append(Rung("account", False, str(error), _STEPS[error.trouble]))
    return rungs


async def _climb(
    client: Client,
    domain: str,
    username: str,
    address: str | None,
    rungs: list[Rung],
) -> None:
    wanted = without_edge(domain)
    domains = await client.rows("/SIP/Domains.json", "domains")
    found = next((d for d in domains if _name(d) == wanted), None)
    rungs.append(_exists(wanted, domains, found))
    if found is None:
        return
    rungs.append(_registration(wanted, found))
    path = f"/SIP/Domains/{_sid(found)}/Auth"
    lists = await client.rows(
        f"{path}/Registrations/CredentialListMappings.json", "contents"
    )
    rungs.append(_credentials(wanted, lists))
    if username and lists:
        rungs.append(await _username(client, username, lists))
    acls = await client.rows(
        f"{path}/Calls/IpAccessControlListMappings.json", "contents"
    )
    rungs.append(await _address(client, wanted, address, acls))


_LOGIN = "check account_sid and auth_token (or api_key) of `twilio`"
_STEPS = {
    Trouble.UNAUTHORIZED: _LOGIN,
    Trouble.NOT_FOUND: _LOGIN,  # of an account that is not ours, nothing is found
    Trouble.BUSY: "wait a minute: Twilio has had too many questions of this account",
    Trouble.BROKEN: "try again later: status.twilio.com tells whether it is Twilio",
    Trouble.UNREACHABLE: "let this host reach api.twilio.com over HTTPS (port 443)",
}


def without_edge(domain: str) -> str:
    """acme.sip.dublin.twilio.com is a way to acme.sip.twilio.com."""
    labels = domain.lower().rstrip(".").split(".")
    if "sip" in labels[1:-2]:
        labels = [*labels[: labels.index("sip", 1) + 1], *labels[-2:]]
    return ".".join(labels)


def _exists(
    wanted: str, domains: list[dict[str, Any]], found: dict[str, Any] | None
) -> Rung:
    if found is not None:
        return Rung("domain", True, f"{wanted} is a SIP Domain of the account")
    names = [_name(d) for d in domains]
    close = get_close_matches(wanted, names, n=1)
    have = ", ".join(plain(n, 80) for n in names[:NAMED]) or "none"
    said = f"the account has no SIP Domain {plain(wanted, 80)} (it has {have})"
    step = (
        f"did you mean {plain(close[0], 80)}?" if close else "create it in the Console"
    )
    return Rung("domain", False, said, step)


def _registration(wanted: str, found: dict[str, Any]) -> Rung:
    if found.get("sip_registration") is True:
        return Rung("registration", True, "SIP registration is on")
    return Rung(
        "registration",
        False,
        f"SIP registration of {wanted} is off: each REGISTER is refused (32210)",
        "switch it on: Voice, SIP Domains, the domain, SIP Registration",
    )


def _credentials(wanted: str, lists: list[dict[str, Any]]) -> Rung:
    if lists:
        names = ", ".join(_friendly(one) for one in lists[:NAMED])
        said = f"registrations are checked by {names}"
        return Rung("credentials", True, said)
    return Rung(
        "credentials",
        False,
        f"no credential list is mapped to registrations of {wanted} (32212)",
        "map one under SIP Registration of the domain; the one for calls is another",
    )


async def _username(client: Client, username: str, lists: list[dict[str, Any]]) -> Rung:
    near: list[str] = []
    for one in lists:
        path = f"/SIP/CredentialLists/{_sid(one)}/Credentials.json"
        names = [str(r.get("username")) for r in await client.rows(path, "credentials")]
        if username in names:
            return Rung("username", True, f"{username} is in {_friendly(one)}")
        near += get_close_matches(username, names, n=1, cutoff=0.8)
    where = ", ".join(_friendly(one) for one in lists[:NAMED])
    step = (
        f"did you mean {plain(near[0], 80)}? (case counts)"
        if near
        else ("add it to the list, with its password")
    )
    return Rung("username", False, f"{username} is not in {where}", step)


async def _address(
    client: Client, wanted: str, address: str | None, acls: list[dict[str, Any]]
) -> Rung:
    if not acls:
        said = "no IP access list is mapped to calls: credentials alone let them in"
        return Rung("address", None, said)
    names = ", ".join(_friendly(one) for one in acls[:NAMED])
    if address is None:
        return Rung(
            "address",
            None,
            f"calls are let in by {names}",
            "give twilio.address, from which Twilio sees us, to have it looked up",
        )
    ours = ipaddress.ip_address(address)
    for one in acls:
        path = f"/SIP/IpAccessControlLists/{_sid(one)}/IpAddresses.json"
        for row in await client.rows(path, "ip_addresses"):
            if (network := _network(row)) is not None and ours in network:
                return Rung("address", True, f"{address} is in {_friendly(one)}")
    return Rung(
        "address",
        False,
        f"{address} is in no IP access list of {wanted} ({names}): "
        "its calls are dropped without an answer (32201)",
        f"add {address} to {_friendly(acls[0])}",
    )


def _network(
    row: dict[str, Any],
) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        prefix = row.get("cidr_prefix_length")
        length = f"/{prefix}" if isinstance(prefix, int) else ""
        return ipaddress.ip_network(f"{row.get('ip_address')}{length}", strict=False)
    except ValueError:
        return None


def _name(row: dict[str, Any]) -> str:
    return str(row.get("domain_name", "")).lower()


def _friendly(row: dict[str, Any]) -> str:
    name = row.get("friendly_name") or row.get("sid") or "?"
    return plain(str(name), 80)


def _sid(row: dict[str, Any]) -> str:
    """A sid that goes into a path."""
    return "".join(c for c in str(row.get("sid", ""))[:40] if c.isalnum())
