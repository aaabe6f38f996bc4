"""The configuration as a whole: what is right, what is wrong, and in which words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alerting.incident import Severity
from checks.settings import Glob, Secret
from sipwatch.config import load as config
from sipwatch.config.load import ConfigError, check, diff, load, notices

CONFIGS = Path(__file__).parents[3] / "configs"
BAD = Path(__file__).parents[2] / "data" / "config" / "bad"
HIDDEN = "hunter2 not a uri"
ENVIRON = {"TOKEN": HIDDEN}
MAIL = """
notifiers:
  oncall:
    type: email
    to: [oncall@example.com]
    from: sipwatch@example.com
    smtp: {host: mail.example.com}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "sipwatch.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def secrets(tmp_path: Path) -> Mapping[str, str]:
    """The environment that systemd gives, with the secrets of the examples."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "secrets_hq-ami").write_text("ami-password\n")
    (folder / "secrets_twilio-token").write_text("twilio-token-of-32-digits\n")
    (folder / "branch-esl").write_text("esl-password")
    (folder / "smtp").write_text("smtp-password")
    (folder / "line1").write_text("line1-password")
    (folder / "chat-url").write_text("https://chat.example.com/hooks/chat-password")
    (folder / "chat-key").write_text("chat-key-password")
    (folder / "alertmanager").write_text("alertmanager-password")
    (folder / "pagerduty").write_text("pagerdutypassword0123456789abcde")
    (folder / "phone").write_text("phone-password")
    (folder / "probe").write_text("probe-password")
    (folder / "grafana-token").write_text("grafana-token-of-some-length")
    (folder / "heartbeat-url").write_text("https://hc.example.com/heartbeat-password")
    return {"CREDENTIALS_DIRECTORY": str(folder), "KAMAILIO_PASSWORD": "kamailio!"}


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_wrong_configuration_is_told_in_these_words(path: Path) -> None:
    expected = re.findall(r"^# expect: (.*)$", path.read_text(), re.MULTILINE)
    problems = [str(p).removeprefix(f"{path}:") for p in check(path, ENVIRON)]
    assert expected
    assert [p.replace(str(BAD), "DIR") for p in problems] == expected
    assert not any(HIDDEN in p or "pydantic" in p for p in problems)


def test_there_are_enough_wrong_configurations() -> None:
    assert len(list(BAD.glob("*.yaml"))) >= 40


@pytest.mark.parametrize("name", ["minimal.yaml", "sipwatch.yaml"])
def test_the_examples_are_right(name: str, secrets: Mapping[str, str]) -> None:
    assert check(CONFIGS / name, secrets) == []


def test_the_annotated_example_shows_every_key() -> None:
    text = (CONFIGS / "sipwatch.yaml").read_text()
    keys = {
        key
        for definition in config.schema()["$defs"].values()
        for key in definition.get("properties", {})
    }
    missing = [k for k in keys if not re.search(rf"(?m)(^|[\s{{(,#]){k}:", text)]
    assert not missing


def test_the_values_of_the_example_arrive(secrets: Mapping[str, str]) -> None:
    found = load(CONFIGS / "sipwatch.yaml", secrets)
    provider = found.targets["provider"]
    assert (provider.interval, provider.from_) == (60.0, "sip:sipwatch@example.com")
    hq = found.registrars["hq"]
    assert hq.password == Secret("ami-password")  # type: ignore[attr-defined]
    assert hq.extensions.required == [Glob("10*")]
    assert found.rules["VipPhones"].severity is Severity.CRITICAL
    assert found.rules["ExtensionUnregistered"].for_ == 120.0
    assert found.notifiers["oncall"].smtp.password == Secret("smtp-password")
    assert found.group.repeat == {Severity.CRITICAL: 14400.0, Severity.WARNING: 86400.0}
    assert found.web.metrics.allow == ("10.0.0.0/24",)
    assert found.folder == CONFIGS


def test_an_error_carries_all_problems_by_place(write: Any) -> None:
    path = write("targets:\n  b: {urj: x}\n  a: {}\nweb: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    problems = caught.value.problems
    assert [(p.line, p.column, p.path) for p in problems] == [
        (2, 3, "targets.b.uri"),
        (2, 7, "targets.b.urj"),
        (3, 3, "targets.a.uri"),
        (4, 6, "web"),
    ]
    assert str(caught.value) == "\n".join(str(p) for p in problems)
    assert problems[0].file == str(path)


def test_secrets_are_never_printed(secrets: Mapping[str, str]) -> None:
    found = load(CONFIGS / "sipwatch.yaml", secrets)
    for printed in (repr(found), str(found), f"{found}"):
        assert "password" in printed
        for hidden in ("ami-password", "smtp-password", "kamailio!"):
            assert hidden not in printed


@pytest.mark.parametrize(
    "text",
    [
        "targets: {pbx: {uri: !env TOKEN}}",
        "targets: {pbx: {uri: 'sip:10.0.0.5', role: !env TOKEN}}",
        "targets: {pbx: {uri: 'sip:10.0.0.5', site: !env TOKEN}}",
        "targets: {pbx: {uri: 'sip:10.0.0.5', interval: !env TOKEN}}",
        "targets: {pbx: {uri: 'sip:10.0.0.5', healthy_codes: [!env TOKEN]}}",
        "targets: !env TOKEN",
        "target_files: [{file: !env TOKEN}]",
        "registrars: {hq: {type: !env TOKEN}}",
        "notifiers: {oncall: {type: !env TOKEN}}",
        "rules: {OptionsSlow: {severity: !env TOKEN}}",
        "web: {listen: !env TOKEN, external_url: !env TOKEN}",
        "instance: !env TOKEN",
        "routes: [{notify: [!env TOKEN]}]",
        "!env TOKEN",
    ],
)
def test_what_a_variable_holds_is_in_no_message(write: Any, text: str) -> None:
    problems = check(write(text), ENVIRON)
    assert problems
    assert not any("hunter2" in str(p) for p in problems)


def test_extension_numbers_stay_as_they_are_written(write: Any) -> None:
    path = write(
        "registrars:\n  hq:\n    type: asterisk\n    address: 127.0.0.1:5038\n"
        "    username: 0100\n    password: 007\n"
        "    extensions: {include: [1001, 0123, 1e3, no, 1.50]}\n"
    )
    hq = load(path, {}).registrars["hq"]
    assert [g.pattern for g in hq.extensions.include] == [
        "1001",
        "0123",
        "1e3",
        "no",
        "1.50",
    ]
    assert hq.username == "0100"  # type: ignore[attr-defined]
    assert hq.password.reveal() == "007"  # type: ignore[attr-defined]


def test_a_variable_may_stand_where_no_secret_is_meant(write: Any) -> None:
    path = write(
        "targets: {pbx: {uri: !env URI, strict_source: !env STRICT}}\n"
        "notifiers: {oncall: {type: email, to: [a@example.com], from: b@example.com, "
        "smtp: {host: mail.example.com, port: !env PORT}}}\n"
    )
    environ = {"URI": "sip:10.0.0.5", "STRICT": "true", "PORT": "2525"}
    found = load(path, environ)
    assert found.targets["pbx"].uri == "sip:10.0.0.5"
    assert found.targets["pbx"].strict_source is True
    assert found.notifiers["oncall"].smtp.port == 2525


def test_a_merged_base_gives_the_keys_that_are_not_given(write: Any) -> None:
    path = write(
        "targets:\n  a: &trunk {uri: 'sip:10.0.0.1', interval: 30s}\n"
        "  b: {<<: *trunk, uri: 'sip:10.0.0.2'}\n"
    )
    b = load(path).targets["b"]
    assert (b.uri, b.interval) == ("sip:10.0.0.2", 30.0)


def test_sections_with_nothing_in_them_are_as_if_not_there(write: Any) -> None:
    found = load(write("targets:\nrules:\nsites: {hq: }\nroutes: []\n"))
    assert found.targets == {}
    assert found.sites["hq"].timezone is None


def test_relative_paths_begin_at_the_folder_of_the_configuration(write: Any) -> None:
    folder = write("10.0.0.7\n", "phones.txt").parent
    write("extension,name\n1001,Reception\n", "names.csv")
    found = load(
        write(
            "target_files: [{file: phones.txt}]\ndatabase: sipwatch.db\n"
            "registrars: {hq: {type: asterisk, address: '127.0.0.1:5038', "
            "extensions: {file: names.csv}}}\n"
        )
    )
    assert found.target_files[0].file == str(folder / "phones.txt")
    assert found.registrars["hq"].extensions.file == str(folder / "names.csv")
    assert found.database == str(folder / "sipwatch.db")


def test_a_wrong_line_of_a_file_of_targets_is_told(write: Any) -> None:
    write("10.0.0.7\nhttp://x y\n", "phones.txt")
    (problem,) = check(write("target_files:\n  - file: phones.txt\n"))
    assert (problem.line, problem.path) == (2, "target_files[0].file")
    assert problem.text.startswith("phones.txt:2: ")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    (problem,) = check(tmp_path / "sipwatch.yaml")
    assert problem.text == "cannot be read: No such file or directory"


def test_a_file_that_is_not_utf8_or_too_large_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sipwatch.yaml"
    path.write_bytes(b"targets: {}\nrules: \xff\n")
    assert [(p.line, p.column, p.text) for p in check(path)] == [
        (2, 8, "is not UTF-8 from here on")
    ]
    path.write_bytes(b"#" * 10_000_001)
    assert [p.text for p in check(path)] == ["is larger than 10 MB"]


def test_a_notifier_may_be_a_strangers_class(write: Any) -> None:
    stranger = "tests.sipwatch.strangers:Board"
    good = f"notifiers: {{wall: {{type: '{stranger}', room: 0815}}}}\n"
    settings = load(write(good)).notifiers["wall"]
    assert (type(settings).__name__, settings.room) == ("BoardSettings", "0815")
    bad = f"notifiers:\n  wall: {{type: '{stranger}', rom: 1}}\n"
    (missing, unknown) = check(write(bad))
    assert missing.text == "is missing"
    assert unknown.text == "unknown key (did you mean room?)"


def test_a_rule_with_its_own_notifier_needs_no_route(write: Any) -> None:
    routes = "routes: [{match: {severity: critical}, notify: [oncall]}]\n"
    (problem,) = check(write(MAIL + routes))
    assert "no route takes severity warning" in problem.text
    wide = routes.replace("critical", "'*'")
    assert check(write(MAIL + wide)) == []


def test_nothing_watched_and_nobody_told_are_allowed_with_a_notice(write: Any) -> None:
    assert notices(load(write("targets: {}\n"))) == [
        "no targets and no registrars: nothing is watched",
        "no notifiers: problems show in metrics and status, nobody is told",
    ]
    sip = load(write("registrars: {p: {type: sip, address: 'sip:example.com'}}" + MAIL))
    assert notices(sip) == [
        "registrars.p: asked AOR by AOR, and neither `file` nor `include` names any"
    ]
    only = "extensions: {include: ['1001', '2*']}"
    row = f"{{type: sip, address: 'sip:example.com', {only}}}"
    assert notices(load(write(f"registrars: {{p: {row}}}" + MAIL))) == []
    full = load(write("targets: {pbx: {uri: 'sip:10.0.0.5'}}" + MAIL))
    assert notices(full) == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", "where it offers no reg events"),
        (", subscribe: false", "without reg events (subscribe: false)"),
    ],
)
def test_who_cannot_tell_a_log_out_from_a_loss_is_named(
    keys: str, told: str, write: Any
) -> None:
    only = "extensions: {include: ['1001'], logout_ok: ['1*']}"
    row = f"{{type: sip, address: 'sip:example.com', {only}{keys}}}"
    assert notices(load(write(f"registrars: {{p: {row}}}" + MAIL))) == [
        f"registrars.p.extensions.logout_ok: {told}, a SIP registrar cannot tell a "
        "log-out from a loss, and each is told as a loss"
    ]
    polled = f"{{type: kamailio, address: 'http://10.0.0.5/RPC', {only}}}"
    assert notices(load(write(f"registrars: {{p: {polled}}}" + MAIL))) == []


def test_a_difference_is_told_by_entry(write: Any) -> None:
    old = load(write("targets: {a: {uri: 'sip:10.0.0.1'}, b: {uri: 'sip:10.0.0.2'}}\n"))
    new = load(
        write(
            "targets: {b: {uri: 'sip:10.0.0.2', interval: 30s}, "
            "c: {uri: 'sip:10.0.0.3'}}\nsites: {hq: {}}\n"
        )
    )
    found = diff(old, new)
    assert found.changed == {"targets.b"}
    assert found.added == {"targets.c", "sites.hq"}
    assert found.removed == {"targets.a"}
    assert "web" in found.kept
    assert found
    assert not diff(old, old)


def test_an_edited_file_is_a_difference(write: Any) -> None:
    path = write(
        "target_files: [{file: phones.txt}]\n"
        "registrars: {hq: {type: asterisk, address: '127.0.0.1:5038', "
        "extensions: {file: names.csv}}}\n"
    )
    write("10.0.0.7\n", "phones.txt")
    write("extension,name\n1001,Reception\n", "names.csv")
    old = load(path)
    assert not diff(old, load(path))
    write("extension,name\n1001,Front desk\n", "names.csv")
    assert diff(old, load(path)).changed == {"registrars.hq"}


def test_a_changed_secret_is_a_difference(write: Any) -> None:
    path = write(
        "registrars: {hq: {type: asterisk, password: !env P, address: 10.0.0.5}}\n"
    )
    found = diff(load(path, {"P": "one1"}), load(path, {"P": "two2"}))
    assert found.changed == {"registrars.hq"}


USERS = """
  users: {anna: {password: "scrypt$14$8$5$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5"}}
"""


@pytest.mark.parametrize(
    ("listen", "more", "told"),
    [
        ("127.0.0.1:9160", "", 0),
        ("127.0.0.1:9160", USERS, 0),
        ("10.0.0.9:9160", USERS, 1),
        ("10.0.0.9:9160", "  tokens: {a: {secret: 0123456789abcdefghij}}", 1),
    ],
)
def test_who_listens_to_others_lets_them_log_in_and_is_advised_of_tls(
    listen: str, more: str, told: int, write: Any
) -> None:
    watched = 'targets: {a: {uri: "sip:192.0.2.1"}}'
    path = write(f"{watched}\nweb:\n  listen: {listen}\n{more}{MAIL}")
    lines = notices(load(path))
    assert len(lines) == told
    assert all("set web.tls" in line for line in lines)


def test_users_and_tokens_are_never_printed(write: Any) -> None:
    tokens = "  tokens: {a: {secret: 0123456789abcdefghij, role: operate}}\n"
    found = load(write(f"web:\n  listen: 127.0.0.1:0{USERS}{tokens}")).web
    assert found.users["anna"].role == "read"
    assert found.tokens["a"].role == "operate"
    assert "0123456789" not in repr(found)
    assert "c2Fs" not in repr(found)
    assert "saltsalt" not in repr(found)
