"""What is watched, over the API of a real daemon, as its document says."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.sipwatch.test_web import ask
from tests.sipwatch.web_api.conftest import PHONES, Api

# By the path of the document: what is asked.
ASKED = {
    "/status": "/status",
    "/overview": "/overview",
    "/extensions": "/extensions",
    "/extensions/{key}": "/extensions/extension:hq/1001",
    "/targets": "/targets",
    "/targets/{key}": "/targets/trunk",
    "/registrars": "/registrars",
    "/registrars/{name}": "/registrars/hq",
    "/registrations": "/registrations",
    "/accounts": "/accounts",
    "/accounts/{name}": "/accounts/line",
    "/sites": "/sites",
    "/certificates": "/certificates",
    "/schedules": "/schedules",
    "/incidents": "/incidents?state=all",
    "/silences": "/silences",
    "/audit": "/audit?registrar=hq",
    "/finding": "/finding?subject=1001",
    "/explain": "/explain?subject=1001",
    "/history": "/history?subject=1001",
}


def validator(document: dict[str, Any], path: str) -> Draft202012Validator:
    """What checks the 200 of a path."""
    said = document["paths"][path]["get"]["responses"]["200"]
    schema = said["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


async def test_each_answer_has_the_shape_that_the_document_says(api: Api) -> None:
    document = await api.get("/openapi.json")
    for path, asked in ASKED.items():
        answer = await api.get(f"/api/v1{asked}")
        validator(document, f"/api/v1{path}").validate(answer)
        if "items" in answer and path not in ("/registrations", "/incidents"):
            assert answer["total"] == len(answer["items"]) > 0, path


async def test_a_list_is_read_by_the_page(api: Api) -> None:
    names, cursor = [], ""
    while cursor is not None:
        page = await api.get(f"/api/v1/extensions?limit=2&cursor={cursor}")
        names += [row["name"] for row in page["items"]]
        cursor = page["next"]
    assert names == ["1001", "1002", "1003", "1004", "1005", "1009"]
    assert page["total"] == PHONES + 1


async def test_extensions_are_found_by_what_is_known_of_them(api: Api) -> None:
    for query, found in {
        "state=registered": 5,
        "state=never_registered": 1,
        "state=unknown": 0,
        "search=PHONE%20100": 5,
        "search=nobody": 1,
        "search=127.0.0.1": 5,
        "site=lyon": 6,
        "site=paris": 0,
        "registrar=hq&search=1003": 1,
        "registrar=lab": 0,
    }.items():
        page = await api.get(f"/api/v1/extensions?{query}")
        assert page["total"] == found, query


async def test_a_target_shows_its_addresses_and_last_outcomes(api: Api) -> None:
    found = await api.get("/api/v1/targets/trunk")
    (address,) = found["addresses"]
    assert (address["up"], address["code"], address["reason"]) == (True, 200, "OK")
    assert (found["outcomes"], found["loss"], found["role"]) == ([True], 0.0, "trunk")
    assert (await api.get("/api/v1/targets?role=pbx"))["items"][0]["name"] == "pbx"


async def test_sites_are_told_in_numbers(api: Api) -> None:
    nowhere, lyon = (await api.get("/api/v1/sites"))["items"]
    assert (nowhere["name"], nowhere["accounts"]) == ("", ["line"])
    assert lyon == {
        "name": "lyon",
        "timezone": "Europe/Paris",
        "extensions": {"registered": 5, "never_registered": 1},
        "targets": {"up": 1},
        "registrars": ["hq"],
        "accounts": [],
        "incidents": [],
    }


async def test_the_document_is_shown_to_people_without_script_or_stranger(
    api: Api,
) -> None:
    document = await api.get("/openapi.json")
    answer = await ask(api.read, "/docs")
    page = answer.body.decode()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    assert "<script" not in page
    assert "://" not in page
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'self'" in policy
    style = await ask(api.read, "/docs/docs.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
