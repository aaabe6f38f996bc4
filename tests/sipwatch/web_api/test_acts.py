"""What is done by the API of a real daemon: tests, acknowledging, silencing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers import eventually
from tests.sipwatch.web_api.conftest import Api


async def verified(api: Api, subject: str) -> tuple[int, Any]:
    answer = await api.post(f"/api/v1/subjects/verify?subject={subject}")
    return answer.status, json.loads(answer.body)


async def test_a_target_is_asked_now_and_not_again_before_its_floor(api: Api) -> None:
    status, found = await verified(api, "pbx")
    assert (status, found["subject"], found["ended"]) == (200, "target:pbx", True)
    assert found["did"] == ["it is asked with OPTIONS"]
    assert (found["found"]["state"], found["found"]["loss"]) == ("up", 0.0)
    answer = await api.post("/api/v1/subjects/verify?subject=target:trunk")
    assert answer.status == 429  # it was asked at the start, and wants 15 s
    assert 0 < int(answer.headers["retry-after"]) <= 16
    assert json.loads(answer.body)["detail"].startswith("asked just now: ask again in ")


async def test_an_extension_is_looked_up_now(api: Api) -> None:
    status, found = await verified(api, "extension:hq/1001")
    assert (status, found["ended"], found["did"]) == (200, True, ["hq is read"])
    assert found["found"]["state"] == "registered"


@pytest.mark.parametrize("subject", ["registrar:hq", "account:line"])
async def test_registrars_and_accounts_are_tested_now(api: Api, subject: str) -> None:
    status, found = await verified(api, subject)
    assert (status, found["subject"], found["ended"]) == (200, subject, True)
    assert found["found"]["state"] in ("readable", "ok")


async def test_what_cannot_be_tested_is_refused_in_a_sentence(api: Api) -> None:
    assert await api.refused("/api/v1/subjects/verify?subject=1008", "POST") == (
        404,
        "nothing is watched as 1008",
    )


async def test_an_incident_is_found_taken_and_past(api: Api) -> None:
    api.site.phones["1002"].die()
    found: list[Any] = []

    async def opened() -> bool:
        found[:] = (await api.get("/api/v1/incidents?search=1002"))["items"]
        return bool(found)

    await eventually(opened, 40, "an incident")
    (row,) = found
    assert (row["key"], row["rule"]) == ("extension:hq/1002", "ExtensionUnregistered")
    assert (row["state"], row["site"], row["registrar"]) == ("firing", "lyon", "hq")
    path = f"/api/v1/incidents/{row['id']}"
    taken = await api.post(f"{path}/acknowledge", {"by": "night", "note": "on it"})
    assert json.loads(taken.body)["acknowledged_by"] == "night"
    one = await api.get(path)
    assert (one["incident"]["state"], one["incident"]["note"]) == (
        "acknowledged",
        "on it",
    )
    assert [r["state"] for r in one["history"]] == ["registered", "unregistered"]
    assert one["finding"]["cause"] == "expired"
    extension = await api.get("/api/v1/extensions/extension:hq/1002")
    assert (extension["state"], extension["incident"]) == ("unregistered", row["id"])
    assert (await api.get("/api/v1/extensions?state=unregistered"))["total"] == 1

    await api.site.add("1002")

    async def over() -> bool:
        query = f"state=resolved&site=lyon&since={row['opened_at']}"
        past = await api.get(f"/api/v1/incidents?{query}&search=PHONE%201002")
        return [one["id"] for one in past["items"]] == [row["id"]]

    await eventually(over, 40, "its end")
    everything = await api.get("/api/v1/incidents?state=all&severity=warning")
    assert row["id"] in [one["id"] for one in everything["items"]]
    assert (await api.get("/api/v1/incidents?state=resolved&site=paris"))["total"] == 0


async def test_a_silence_comes_and_goes(api: Api) -> None:
    wanted = {"matchers": ["site=lyon"], "reason": "a new switch", "lasts": "2h"}
    nobody = await api.post("/api/v1/silences", wanted | {"lasts": ""})
    assert (nobody.status, json.loads(nobody.body)["detail"]) == (
        422,
        "say until when, or for how long",
    )
    made = json.loads(
        (await api.post("/api/v1/silences", wanted | {"author": "A"})).body
    )
    (shown,) = (await api.get("/api/v1/silences"))["silences"]
    assert made == shown | {"subjects": 9}
    assert shown["matchers"] == ["site=lyon"]
    gone = await api.post(f"/api/v1/silences/{made['id']}", method="DELETE")
    assert json.loads(gone.body)["state"] == "ended"
    assert (await api.get("/api/v1/silences"))["silences"] == []


REFUSED = [
    ("extensions?cursor=!", 422, "cursor: this is none of ours"),
    ("targets?limit=0", 422, "limit: input should be greater than or equal to 1"),
    ("incidents?limit=1001", 422, "limit: input should be less than or equal to"),
    ("incidents?since=yesterday", 422, "since: yesterday is not a time"),
    ("incidents?cursor=YWJj&state=all", 422, "cursor: this is none of this list"),
    ("extensions?state=down", 422, "state: input should be 'registered', "),
    ("extensions/1008", 404, "no extension 1008 is watched"),
    ("extensions/target:pbx", 404, "no extension target:pbx is watched"),
    ("targets/1001", 404, "no target 1001 is watched"),
    ("registrars/nosuch", 404, "there is no registrar nosuch"),
    ("accounts/nosuch", 404, "no account is named nosuch"),
    ("incidents/4711", 404, "no incident 4711 is known"),
    ("history?subject=1008", 404, "nothing is known of 1008"),
]


async def test_what_is_wrong_is_said_in_a_sentence(api: Api) -> None:
    for path, status, sentence in REFUSED:
        found, said = await api.refused(f"/api/v1/{path}")
        assert (found, said[: len(sentence)]) == (status, sentence)
