"""What is watched, over the API of a real daemon."""

from __future__ import annotations

from tests.sipwatch.web_api.conftest import Api


async def test_each_list_answers(api: Api) -> None:
    for path in (
        *("status", "overview", "extensions", "targets", "registrars", "accounts"),
        *("registrations", "sites", "certificates", "schedules", "incidents"),
        *("silences", "audit", "runbook?format=json", "history?subject=1001"),
        *("extensions/1001", "targets/trunk", "registrars/hq", "accounts/line"),
    ):
        print(path, await api.get(f"/api/v1/{path}"))
