"""Who may only read, and who may nothing, changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from checks.settings import Secret
from sipwatch.config.access import TokenSettings
from sipwatch.config.settings import WebSettings
from sipwatch.web.app import application
from sipwatch.web.doors import Doors
from tests.sipwatch.seen import served
from tests.sipwatch.test_web import ask
from tests.sipwatch.web_api.conftest import Api

VALUES = {
    "subject": "target:trunk",
    "aor": "1001@demo.example.com",
    "name": "line",
    "id": "1",
}
BODIES = {
    "/api/v1/silences": {"matchers": ["site=lyon"], "reason": "x", "lasts": "2h"},
    "/api/v1/incidents/1/acknowledge": {"by": "mallory"},
}


def acts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each method and path that changes something, as the document has them."""
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            if method == "get" and not path.endswith("/evidence"):
                continue
            filled, query = path, []
            for one in said.get("parameters", ()):
                name = one["name"]
                if one["in"] == "path":
                    filled = filled.replace(f"{{{name}}}", VALUES[name])
                elif one.get("required"):
                    query.append(f"{name}={VALUES[name]}")
            yield method.upper(), f"{filled}?{'&'.join(query)}"


def state(api: Api) -> Any:
    """What people and the daemon could change."""
    daemon = api.daemon
    return (
        dict(daemon.alarms.muting.silences),
        [(i.id, i.acknowledged_by) for i in daemon.alarms.incidents],
        daemon.options.sweep.sends,
        {name: a.outcome and a.outcome.at for name, a in daemon.accounts.items()},
        [courier.accepted_at for courier in daemon.couriers.values()],
    )


TOKEN = "a" * 32
WEB = WebSettings(tokens={"grafana": TokenSettings(secret=Secret(TOKEN))})
KINDS = {"nobody": ({}, 401), "a reader": ({"Authorization": f"Bearer {TOKEN}"}, 403)}


async def test_who_may_not_operate_changes_nothing(api: Api) -> None:
    document = await api.get("/openapi.json")
    asked = list(acts(document))
    assert len(asked) >= 9
    before = state(api)
    async with served(api.daemon, doors=Doors(WEB)) as port:
        for who, (headers, status) in KINDS.items():
            for method, path in asked:
                body = json.dumps(BODIES.get(path.partition("?")[0], [])).encode()
                answer = await ask(
                    port, path, method, body, Content_Type="application/json", **headers
                )
                assert answer.status == status, (who, method, path, answer.body)
    assert state(api) == before


def everything(api: Api) -> list[str]:
    """Each path that there is, pages and their buttons as well."""
    app = application(api.daemon, people=api.daemon.people, feed=api.daemon.feed)
    filled = {"key:path": "target:trunk", "name:path": "line"} | VALUES
    return sorted(
        {re.sub(r"\{([^}]+)\}", lambda m: filled.get(m[1], "1"), one)
         for route in app.routes if (one := getattr(route, "path", ""))}
    )  # fmt: skip


async def test_no_method_of_any_path_is_open_to_who_may_not(api: Api) -> None:
    paths = everything(api)
    assert {"/", "/silences", "/t/target:trunk/verify", "/api/v1/events"} <= {*paths}
    rights = {"doors": Doors(WEB), "feed": api.daemon.feed}
    open_to_all = ("/-/healthy", "/-/ready", "/a/", "/static/")  # the last two: signed
    async with served(api.daemon, **rights) as port:
        for who, (headers, status) in KINDS.items():
            for path in paths:
                for method in ("POST", "PUT", "DELETE", "NONSENSE"):
                    answer = await ask(port, path, method, b"{}", **headers)
                    wanted = (404, 405) if path.startswith(open_to_all) else (status,)
                    assert answer.status in wanted, (who, method, path, answer.status)
            for path in paths:
                if path != "/api/v1/events":
                    answer = await ask(port, path, "GET", **headers)
                    assert answer.status < 500, (who, path, answer.status)
    alarms = api.daemon.alarms
    assert not alarms.muting.silences
    assert not [one for one in alarms.incidents if one.acknowledged_by]


async def test_nobody_reads_without_a_token_what_is_not_open_to_all(api: Api) -> None:
    document = await api.get("/openapi.json")
    async with served(api.daemon, doors=Doors(WEB)) as port:
        answers = {path: await ask(port, path) for path in document["paths"]}
    open_to_all = {path for path, one in answers.items() if one.status != 401}
    assert open_to_all == {"/-/healthy", "/-/ready"}
