"""The runbook of a running daemon: printed, kept in its file, verified at a reload."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipwatch.demo.mail import MailCatcher
from tests.conftest import StartKamailio
from tests.end_to_end.conftest import MakePhone, MakeRunning, StartTrunk
from tests.end_to_end.running import command, mail_to
from tests.end_to_end.test_accounts import accounts, at
from tests.end_to_end.test_daemon import targets
from tests.end_to_end.watch import kamailio_at, names
from tests.servers import eventually


@pytest.mark.real("kamailio")
async def test_the_page_tells_of_all_and_is_kept_up_to_date(
    running: MakeRunning,
    trunk: StartTrunk,
    kamailio: StartKamailio,
    phone: MakePhone,
    catcher: MailCatcher,
    tmp_path: Path,
) -> None:
    server, peer = kamailio({"2001": "secret"}), await trunk()
    phone("2001", server).register(300)
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "line1").write_text("secret\n", encoding="utf-8")
    file = folder / "runbook.md"

    def configuration(interval: str) -> str:
        pbx = kamailio_at(server, **names(tmp_path, "2001,Reception"))
        account = accounts(line1=at(server, "2001", interval=interval))
        return (
            pbx
            + account.replace('"secret"', "!secret line1")
            + f"targets: {json.dumps(targets(twilio=peer))}\n"
            + "runbook: runbook.md\n"
            + mail_to(catcher)
        )

    daemon = running(configuration("10m"), folder=folder)
    await daemon.start()
    await eventually(lambda: file.exists(), 20, "the file")

    def text() -> str:
        return file.read_text(encoding="utf-8")

    print(text())
    assert "# Runbook of watcher.example.com" in text()
    assert f"- password: file {folder}/line1".replace("_", "\\_") in text()
    assert "- credential list username: 2001\n" in text()
    assert "- told: oncall\n" in text()
    assert "| 2001 | Reception | hq |" in text()
    assert ": ok: " in text()
    assert ": up, answered in " in text()
    assert file.stat().st_mode & 0o777 == 0o640

    await daemon.reload(configuration("15m"))
    await eventually(lambda: "is ok" in text(), 20, "the verification")
    assert "Configuration read again at " in text()
    assert "changed accounts.line1" in text()
    assert "tested every: 15m" in text()

    socket = ("--socket", daemon.socket)
    printed = await command("runbook", *socket)
    assert printed.returncode == 0
    assert printed.stdout.splitlines()[0] == "# Runbook of watcher.example.com"
    found = json.loads((await command("runbook", "--json", *socket)).stdout)
    (account,) = next(s for s in found["sections"] if s["title"] == "Accounts")[
        "entries"
    ]
    assert account["registrar"] == server.uri
    page = folder / "page.html"
    done = await command("runbook", "--html", "-o", page, *socket)
    assert done.stdout == f"{page}: written\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    lost = await command("runbook", "-o", folder / "no" / "page", *socket)
    assert (lost.returncode, lost.stdout) == (3, "")
    assert "Traceback" not in lost.stderr
    for shown in (text(), page.read_text(encoding="utf-8"), json.dumps(found)):
        assert "secret\n" not in shown.replace("secret is in it", "")
