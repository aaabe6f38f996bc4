"""What a phone says of itself is shown, and does nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from checks.observation import State
from tests.conftest import StartAsterisk, StartKamailio
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import asterisk_at, kamailio_at, names, row, rules
from tests.servers.asterisk import Asterisk, Extension
from tests.servers.kamailio import Kamailio

HERE = State.REGISTERED
ESCAPE = "\x1b[31m"
SCRIPT = "<script>alert(1)</script>"
MARKED = "Marked-Phone"
# Folded over two lines (RFC 3261 7.3.1), which must not become a header of a mail.
USER_AGENT = f"{MARKED} {ESCAPE}{SCRIPT} {{x.__class__}} %s \r\n\tBcc: v@example.com"
NAME = f'"Front\nBcc: v@example.com {ESCAPE}{SCRIPT}"'


@pytest.fixture(
    params=[
        pytest.param("asterisk", marks=pytest.mark.real("asterisk")),
        pytest.param("kamailio", marks=pytest.mark.real("kamailio")),
    ]
)
def pbx(
    request: pytest.FixtureRequest, asterisk: StartAsterisk, kamailio: StartKamailio
) -> Asterisk | Kamailio:
    if request.param == "asterisk":
        return asterisk([Extension("1001", callerid=f"Front {ESCAPE}{SCRIPT}")])
    return kamailio({"1001": "secret"})


def printable(value: Any) -> bool:
    """Whether no text in it can move a cursor or end a line."""
    if isinstance(value, dict):
        return all(map(printable, value)) and all(map(printable, value.values()))
    if isinstance(value, list):
        return all(map(printable, value))
    return not isinstance(value, str) or value.isprintable()


async def test_the_names_of_a_phone_do_nothing_in_mail_log_metrics_and_status(
    pbx: Asterisk | Kamailio,
    phone: MakePhone,
    watching: StartWatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    evil = phone("1001", pbx, user_agent=USER_AGENT)
    assert evil.register(60).startswith("SIP/2.0 200 ")
    if isinstance(pbx, Asterisk):
        where = asterisk_at(pbx, interval="1s")
    else:
        where = kamailio_at(pbx, interval="1s", **names(tmp_path, f"1001,{NAME}"))
    watch = await watching(where + rules(ExtensionUnregistered=1))
    await watch.sees(20, x1001=HERE)
    metrics = await watch.metrics()
    assert metrics['sipwatch_extension_registered{registrar="hq",extension="1001"}']
    assert not [name for name in metrics if MARKED in name or "Front" in name]

    evil.deregister()
    mail = await watch.mail(1, 15)
    status = await watch.status()
    assert mail.keys().count("Bcc") == mail.keys().count("bcc") == 0
    assert watch.subjects[0].startswith("[warning] 1001 Front")
    assert watch.subjects[0].isprintable()
    assert f", {MARKED} " in row(mail, "last seen")
    parts = {part.get_content_type(): part for part in mail.walk()}
    text = parts["text/plain"].get_content()
    page = parts["text/html"].get_content()
    assert all(line.isprintable() for line in text.splitlines())
    assert ESCAPE[0] not in page
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert printable(status)
    assert "1001 Front" in json.dumps(status["incidents"])
    told = [r for r in caplog.records if r.name.startswith(("sipwatch", "checks"))]
    assert told
    assert all(record.getMessage().isprintable() for record in told)
