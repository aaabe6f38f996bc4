"""A phone on a real Asterisk goes away: what reaches the on-call, and when."""

from __future__ import annotations

import time

import pytest

from checks.observation import Loss, State
from tests.conftest import StartAsterisk, StartBaresip
from tests.end_to_end.conftest import StartWatch
from tests.servers.asterisk import Extension

pytestmark = pytest.mark.real("asterisk", "baresip")

REGISTRAR = """
registrars:
  hq:
    type: asterisk
    address: {address}:{port}
    username: sipwatch
    password: sipwatchpw
    interval: {interval}
rules:
  ExtensionUnregistered: {{for: {wait}, keep_firing_for: {keep}}}
  RegistrarUnreadable: {{for: 3s}}
"""


def configuration(
    pbx: object, interval: str = "30s", wait: str = "6s", keep: str = "1s"
) -> str:
    """The PBX watched as `hq`."""
    return REGISTRAR.format(
        address=pbx.address,  # type: ignore[attr-defined]
        port=pbx.ami_port,  # type: ignore[attr-defined]
        interval=interval,
        wait=wait,
        keep=keep,
    )


@pytest.mark.wall
@pytest.mark.timeout(200)
async def test_a_killed_phone_is_one_mail_and_its_return_another(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    pbx = asterisk(
        [
            Extension("1001", callerid="Reception", default_expiration=60),
            Extension("1002"),
        ],
    )
    phone = baresip("1001", pbx, expires=60)
    watch = await watching(configuration(pbx))
    await watch.sees(20, x1001=State.REGISTERED)
    phone.kill9()
    contact = watch.daemon.judges["hq"].extensions["1001"].contacts[0]
    end = contact.end
    assert end is not None
    mail = await watch.mail(1, 90)
    told = time.time()
    assert 5 <= told - end <= 6 + 0 + 5
    assert str(mail["Subject"]).startswith("[warning] 1001 Reception unregistered")
    assert watch.daemon.alarms.incidents[0].loss is Loss.EXPIRED
    baresip("1001", pbx, expires=60)
    over = await watch.mail(2, 30)
    assert str(over["Subject"]).startswith("[resolved] 1001 Reception registered again")
    assert over["In-Reply-To"] == mail["Message-ID"]
    assert len(watch.mails) == 2


async def test_a_phone_that_logs_out_is_lost_at_that_moment(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001")])
    phone = baresip("1001", pbx, expires=60)
    watch = await watching(configuration(pbx, wait="1s"))
    await watch.sees(20, x1001=State.REGISTERED)
    gone = time.time()
    phone.stop()
    await watch.mail(1, 15)
    incident = watch.daemon.alarms.incidents[0]
    assert abs(incident.since - gone) <= 1
    assert incident.loss is Loss.DEREGISTERED
