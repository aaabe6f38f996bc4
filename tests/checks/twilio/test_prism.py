"""The client against a server that Prism makes of what Twilio's API allows to ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from checks.settings import Secret
from checks.twilio.account import look
from checks.twilio.client import Client, Trouble, TwilioError
from checks.twilio.poll import alerts
from checks.twilio.settings import TwilioSettings
from tests.checks.twilio import description
from tests.servers import eventually
from tests.servers.loopback import Loopback
from tests.servers.prism import Prism, program


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/nothing"):
            return True
    except aiohttp.ClientError:
        return False


@pytest.fixture
async def served(
    request: pytest.FixtureRequest, loopback: Loopback, tmp_path: Path
) -> AsyncIterator[str]:
    """The address of a server of the description that a test is marked with."""
    _, lacking = program()
    if lacking:
        pytest.skip(lacking)
    path = tmp_path / "description.json"
    path.write_text(json.dumps(request.param()), encoding="utf-8")
    with Prism(path, loopback.address(), tmp_path) as server:
        await eventually(lambda: answers(server.url), 60, "Prism")
        yield server.url


monitor = pytest.mark.parametrize("served", [description.monitor], indirect=True)
api = pytest.mark.parametrize("served", [description.settings], indirect=True)


def settings_for(url: str) -> TwilioSettings:
    token = Secret("x" * 32)
    return TwilioSettings(
        account_sid=description.ACCOUNT, auth_token=token, base_url=url
    )


@monitor
async def test_our_question_is_one_that_the_description_allows(served: str) -> None:
    async with Client(settings_for(served)) as client:
        (alert,) = await alerts(client, 1_790_000_000.0, 1_790_003_600.0)
        assert (alert.sid, alert.code) == (description.ALERT["sid"], 32009)
        pages = client.pages(served, "/v1/Alerts", "alerts", {"PageSize": "5000"})
        with pytest.raises(TwilioError) as refused:
            await anext(aiter(pages))
    assert refused.value.trouble is Trouble.BROKEN
    assert "answers 422" in str(refused.value)


@api
async def test_the_account_is_read_by_the_paths_of_the_description(
    served: str,
) -> None:
    asked = (description.DOMAIN, description.USER, description.ADDRESS)
    rungs = await look(settings_for(served), *asked)
    assert [(rung.name, rung.ok) for rung in rungs] == [
        ("domain", True),
        ("registration", True),
        ("credentials", True),
        ("username", True),
        ("address", True),
    ]
