"""What people do to a running daemon: silence, acknowledge; from its command line."""

from __future__ import annotations

import json
import re
import socket
from email.message import EmailMessage
from typing import Any

import pytest

from sipwatch.demo.mail import MailCatcher
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import Running, command, mail_to
from tests.end_to_end.test_daemon import sections, targets
from tests.servers import eventually
from tests.sipwatch.test_web import ask


async def asked(daemon: Running, *words: object) -> Any:
    """One command of the daemon's user, as JSON."""
    done = await command(*words, "--json", "--socket", daemon.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


async def refused(daemon: Running, *words: object) -> str:
    done = await command(*words, "--socket", daemon.socket)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


async def test_a_silence_holds_a_mail_until_it_is_removed(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    peer = await trunk()
    daemon = running(sections(targets=targets(twilio=peer)) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    made = await asked(
        daemon, "silence", "add", "target=twilio", "--for", "2h",
        "--reason", "the provider works on it", "--by", "Anna",
    )  # fmt: skip
    assert made["subjects"] == 1
    stored = daemon.rows("SELECT json FROM memos WHERE name LIKE 'alarms/silence/%'")
    assert json.loads(stored[0][0])["matchers"] == ["target=twilio"]

    peer.silent = True
    await daemon.opens("OptionsFailing")
    (incident,) = (await daemon.status())["incidents"]
    assert incident["muted_by"] == "silenced by Anna: the provider works on it"
    listed = await command("silence", "list", "--socket", daemon.socket)
    assert f"{made['id']}  active  target=twilio; " in listed.stdout
    assert "Anna: the provider works on it (1 open incident)" in listed.stdout
    shown = await command("status", "--socket", daemon.socket)
    assert "(not told: silenced by Anna: the provider works on it)" in shown.stdout

    daemon.process.kill9()  # what was told to be done is on the disk
    await daemon.start()
    await daemon.opens("OptionsFailing")
    assert catcher.mails == []
    done = await command("silence", "remove", made["id"], "--socket", daemon.socket)
    assert done.stdout.startswith(f"silence {made['id']} is over: what it held is told")
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    assert "twilio does not answer" in str(catcher.mails[0]["Subject"])
    assert (await asked(daemon, "silence", "list"))["silences"] == []
    (over,) = (await asked(daemon, "silence", "list", "--all"))["silences"]
    assert (over["id"], over["state"]) == (made["id"], "ended")


async def test_who_acknowledges_is_known_and_nobody_is_told_again(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    peer = await trunk()
    configured = {
        "targets": targets(twilio=peer),
        "routes": [
            {"notify": ["oncall"], "escalate": [{"after": "30s", "notify": ["boss"]}]}
        ],
    }
    mail = mail_to(catcher)
    boss = mail.replace("notifiers:\n", "").replace("oncall:", "boss:")
    boss = boss.replace("oncall@", "boss@")
    daemon = await running(sections(**configured) + mail + boss).start()
    await eventually(daemon.is_ready, 60, "the first pass")
    peer.silent = True
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    (incident,) = (await daemon.status())["incidents"]
    # The mail is there before it is booked as told, which plans the next one.
    steps = "SELECT notifier, step FROM deliveries ORDER BY step"
    planned = [("boss", -1), ("oncall", 0), ("oncall", 1)]
    await eventually(lambda: daemon.rows(steps) == planned, 20, "what is planned")
    done = await command(
        "ack", incident["id"], "--by", "Sam", "--note", "called them",
        "--socket", daemon.socket,
    )  # fmt: skip
    number = incident["id"]
    assert done.stdout == (
        f"incident {number}: OptionsFailing of target:twilio is taken by Sam\n"
    )
    assert daemon.rows("SELECT notifier, step FROM deliveries") == [("oncall", 0)]
    assert daemon.rows("SELECT acknowledged_by, note FROM incidents") == [
        ("Sam", "called them")
    ]
    (incident,) = (await daemon.status())["incidents"]
    assert (incident["state"], incident["note"]) == ("acknowledged", "called them")
    peer.silent = False
    await eventually(lambda: len(catcher.mails) == 2, 60, "the end")
    assert {str(mail["To"]) for mail in catcher.mails} == {"oncall@example.com"}


async def test_nobody_acknowledges_so_the_next_one_is_told(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    peer = await trunk()
    configured = {
        "targets": targets(twilio=peer),
        "routes": [
            {"notify": ["oncall"], "escalate": [{"after": "2s", "notify": ["boss"]}]}
        ],
    }
    mail = mail_to(catcher)
    boss = mail.replace("notifiers:\n", "").replace("oncall:", "boss:")
    boss = boss.replace("oncall@", "boss@")
    daemon = await running(sections(**configured) + mail + boss).start()
    await eventually(daemon.is_ready, 60, "the first pass")
    peer.silent = True
    await eventually(lambda: len(catcher.mails) == 2, 60, "both mails")
    peer.silent = False
    await eventually(lambda: len(catcher.mails) == 4, 60, "both ends")
    told = sorted((str(m["To"]), str(m["Subject"])[:10]) for m in catcher.mails)
    assert told == [
        ("boss@example.com", "[critical]"), ("boss@example.com", "[resolved]"),
        ("oncall@example.com", "[critical]"), ("oncall@example.com", "[resolved]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ack", "77"], "no incident 77 is open"),
        (["silence", "remove", "nosuch"], "no silence nosuch is in force or to come"),
        (["add", "sit=lyon", "--for", "2h"], "did you mean site?"),
        (["add", "site=lyon"], "say until when, or for how long"),
        (["add", "site=lyon", "--for", "2"], "2 is not a duration"),
        (["add", "site=lyon", "--until", "soon"], "soon is not a time (write 14:00"),
        (["add", "site=lyon", "--for", "400d"], "it lasts longer than a year"),
    ],
)
async def test_a_mistake_is_one_line(
    running: MakeRunning, words: list[str], said: str
) -> None:
    daemon = await running(sections()).start()
    if words[0] == "add":
        words = ["silence", *words, "--reason", "work", "--by", "Anna"]
    assert said in await refused(daemon, *words)


# --- the link in a mail ---------------------------------------------------------------

LINKED = """
group: {{wait: 0s, interval: 0s}}
web:
  listen: "127.0.0.1:0"
  socket: {folder}/api.sock
  external_url: https://sipwatch.example.com
  public: {{listen: "127.0.0.1:PORT"}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""


async def test_the_link_in_a_mail_takes_the_incident(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    peer, port = await trunk(), free_port()
    daemon = running(
        sections(targets=targets(twilio=peer)) + mail_to(catcher),
        frame=LINKED.replace("PORT", str(port)),
    )
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    peer.silent = True
    await eventually(lambda: len(catcher.mails) == 1, 60, "the mail")
    text, page = bodies(catcher.mails[0])
    (url,) = re.findall(r"take it +(https://sipwatch\.example\.com/a/\S+)", text)
    assert f'<a href="{url}">' in page
    path = url.removeprefix("https://sipwatch.example.com")

    shown = await ask(port, path)  # as a mail scanner does
    assert shown.status == 200
    assert b"trunk twilio: OptionsFailing" in shown.body
    (incident,) = (await daemon.status())["incidents"]
    assert incident["acknowledged_by"] == ""

    done = await ask(port, path, "POST", b"as=0&note=called+them")
    assert done.status == 200
    assert b"It is yours now, oncall@example.com" in done.body
    # What was answered is on the disk, and holds in the next life.
    daemon.process.kill9()
    await daemon.start()
    await daemon.opens("OptionsFailing")
    (incident,) = (await daemon.status())["incidents"]
    assert incident["acknowledged_by"] == "oncall@example.com"
    assert incident["note"] == "called them"
    again = await ask(port, path, "POST", b"as=0")
    assert again.status == 410
    assert (await ask(port, "/metrics")).status == 404
    assert (await ask(port, path + "x")).status == 404


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def bodies(mail: EmailMessage) -> tuple[str, str]:
    """The plain part and the HTML part."""
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    return plain.get_content(), html.get_content()
