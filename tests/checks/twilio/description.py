"""What is asked of Twilio, as OpenAPI descriptions in words of our own.

Paths, parameters with their bounds, and the fields that are read, with their types, as
Twilio documents them; the values are made up. Prism refuses what they do not allow.
"""

from __future__ import annotations

from typing import Any

ACCOUNT = "AC" + "a" * 32
SIDS = {"AccountSid": "AC", "DomainSid": "SD", "ListSid": "CL", "AddressesSid": "AL"}
HOME = "/2010-04-01/Accounts/{AccountSid}/SIP"
PAGING = {
    "PageSize": {"type": "integer", "minimum": 1, "maximum": 1000},
    "Page": {"type": "integer", "minimum": 0},
    "PageToken": {"type": "string"},
}
MOMENT = {"type": "string", "format": "date-time"}
TYPES = {str: "string", int: "integer", bool: "boolean"}

DOMAIN = "office.sip.twilio.com"
USER, ADDRESS = "line1", "192.0.2.7"
ALERT = {
    "sid": "NO" + "b" * 32,
    "error_code": "32009",
    "log_level": "error",
    "date_generated": "2026-09-21T14:30:00Z",
    "alert_text": "Msg=not+registered",
    "resource_sid": "CA" + "c" * 32,
}
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{HOME}/Domains.json": (
        "domains",
        {"sid": "SD" + "d" * 32, "domain_name": DOMAIN, "sip_registration": True},
    ),
    f"{HOME}/Domains/{{DomainSid}}/Auth/Registrations/CredentialListMappings.json": (
        "contents",
        {"sid": "CL" + "e" * 32, "friendly_name": "phones"},
    ),
    f"{HOME}/Domains/{{DomainSid}}/Auth/Calls/IpAccessControlListMappings.json": (
        "contents",
        {"sid": "AL" + "f" * 32, "friendly_name": "office"},
    ),
    f"{HOME}/CredentialLists/{{ListSid}}/Credentials.json": (
        "credentials",
        {"sid": "CR" + "1" * 32, "username": USER},
    ),
    f"{HOME}/IpAccessControlLists/{{AddressesSid}}/IpAddresses.json": (
        "ip_addresses",
        {"sid": "IP" + "2" * 32, "ip_address": ADDRESS, "cidr_prefix_length": 32},
    ),
}


def monitor() -> dict[str, Any]:
    """The alerts of an account: /v1/Alerts."""
    asked = {"StartDate": MOMENT, "EndDate": MOMENT, "LogLevel": {"type": "string"}}
    page = {"meta": {"key": "alerts", "next_page_url": None}, "alerts": [ALERT]}
    return _description({"/v1/Alerts": _listing("alerts", ALERT, page, asked)})


def settings() -> dict[str, Any]:
    """What is set for SIP Domains: under /2010-04-01."""
    return _description(
        {
            path: _listing(key, row, {"next_page_uri": None, key: [row]}, {}, path)
            for path, (key, row) in LISTS.items()
        }
    )


def _description(paths: dict[str, Any]) -> dict[str, Any]:
    basic = {"type": "http", "scheme": "basic"}
    return {
        "openapi": "3.0.1",
        "info": {"title": "what is asked of Twilio", "version": "1"},
        "security": [{"account": []}],
        "paths": paths,
        "components": {"securitySchemes": {"account": basic}},
    }


def _listing(
    key: str,
    row: dict[str, Any],
    page: dict[str, Any],
    asked: dict[str, Any],
    path: str = "",
) -> dict[str, Any]:
    fields = {name: {"type": TYPES[type(value)]} for name, value in row.items()}
    rows = {"type": "array", "items": {"type": "object", "properties": fields}}
    schema = {"type": "object", "properties": {key: rows}, "required": [key]}
    inside = [_sid(name) for name in SIDS if f"{{{name}}}" in path]
    query = [
        {"name": name, "in": "query", "schema": one}
        for name, one in (asked | PAGING).items()
    ]
    content = {"application/json": {"schema": schema, "example": page}}
    answer = {"200": {"description": "a page", "content": content}}
    return {"get": {"parameters": inside + query, "responses": answer}}


def _sid(name: str) -> dict[str, Any]:
    pattern = f"^{SIDS[name]}[0-9a-fA-F]{{32}}$"
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "schema": schema}
