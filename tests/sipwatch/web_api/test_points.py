"""RTT and loss over the API of a real daemon."""

from __future__ import annotations

import pytest

from alerting.store.reader import ReaderError
from tests.servers import eventually
from tests.sipwatch.web_api.conftest import Api


async def test_what_was_measured_is_told_by_the_minute(api: Api) -> None:
    trunk = api.daemon.options.targets["target:trunk"]
    assert trunk.figures.rtt is not None
    await api.daemon.rollups.close()  # as at the end: the minute under way is written
    found = await api.get("/api/v1/points?subject=trunk&hours=1")
    assert set(found) == {"subject", "since", "until", "points"}
    assert found["subject"] == "target:trunk"
    row = found["points"][-1]
    assert (row["sent"] >= 1, row["lost"]) == (True, 0)
    assert 0 < row["rtt_min"] <= row["rtt_mean"] <= row["rtt_max"] < 5
    assert found["since"] < row["at"] < found["until"]
    assert row["at"].endswith(":00.000Z")
    by_key = await api.get("/api/v1/points?subject=target:trunk")
    assert by_key["points"][-1] == row
    lists = await api.get("/api/v1/points?subject=registrar:hq")
    assert lists["points"][-1]["sent"] >= 1


async def test_what_is_not_kept_is_told_as_such(api: Api) -> None:
    refused = api.refused
    none = "see `history` of targets, extensions"
    for name in ("1001", "nobody", "target:nobody", "vantage:network/gateway"):
        assert await refused(f"/api/v1/points?subject={name}") == (
            404,
            f"no RTT is kept of {name}: {none}",
        )
    status, said = await refused("/api/v1/points?subject=1001&registrar=lab")
    assert (status, said) == (404, "there is no registrar lab")
    for hours in ("0", "721", "many"):
        status, said = await refused(f"/api/v1/points?subject=trunk&hours={hours}")
        assert (status, said[:6]) == (422, "hours:")
    assert (await refused("/api/v1/points"))[0] == 422


async def test_a_database_that_cannot_be_read_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def points(*_: object) -> None:
        raise ReaderError("the database cannot be read: disk I/O error")

    monkeypatch.setattr(api.daemon.reader, "points", points)
    assert await api.refused("/api/v1/points?subject=trunk") == (
        503,
        "the database cannot be read: disk I/O error",
    )


async def test_a_daemon_charts_its_trunk_its_pbx_and_its_registrar(api: Api) -> None:
    rollups = api.daemon.rollups
    await eventually(lambda: rollups.charts("target:trunk"), 10, "it is charted")
    assert rollups.charts("target:pbx")
    assert rollups.charts("registrar:hq")
