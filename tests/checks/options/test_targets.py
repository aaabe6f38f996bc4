"""The settings of targets and of files of targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.observation import Kind, Scope, Subject
from checks.options.targets import (
    DEFAULT_HEALTHY,
    FILE_LIMIT,
    TargetFileSettings,
    TargetSettings,
    check_uri,
    configured,
    floor_of,
    full_uri,
    healthy_codes,
    ipv4,
    read_file,
)


def test_the_defaults_are_those_of_a_trunk() -> None:
    settings = TargetSettings(uri="sip:pbx.example.com")
    assert (settings.role, settings.interval, settings.timeout) == ("trunk", 60.0, 5.0)
    assert (settings.confirm, settings.verdict, settings.min_interval) == (15, "any", 0)
    assert TargetFileSettings(file="phones.txt").role == "phone"


def test_who_answers_at_all_is_healthy_but_for_a_few() -> None:
    assert {200, 299, 302, 401, 404, 407, 481, 486, 488, 501} <= DEFAULT_HEALTHY
    assert not {403, 408, 480, 500, 502, 503, 600, 603, 100} & DEFAULT_HEALTHY


@pytest.mark.parametrize(
    ("written", "few"),
    [
        (["2xx"], {200, 299}),
        (["2XX", 401, "404"], {200, 401, 404}),
        ((486,), {486}),
    ],
)
def test_codes_are_written_as_classes_or_numbers(
    written: object, few: set[int]
) -> None:
    assert few <= healthy_codes(written)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (200, "200 is not a list of codes (write [2xx, 401])"),
        ([], "[] is not a list of codes (write [2xx, 401])"),
        (["1xx"], "'1xx' is not a final response (write 2xx or 404)"),
        ([700], "700 is not a final response (write 2xx or 404)"),
        ([True], "True is not a final response (write 2xx or 404)"),
        (["20x"], "'20x' is not a final response (write 2xx or 404)"),
    ],
)
def test_wrong_codes_are_refused_with_a_sentence(
    written: object, sentence: str
) -> None:
    with pytest.raises(ValueError) as refused:
        healthy_codes(written)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"interval": 0.0}, "interval must be more than 0s"),
        ({"timeout": 60.0}, "timeout 1m must be shorter than interval 1m"),
        (
            {"interval": 10.0, "min_interval": 15.0},
            "interval 10s is shorter than min_interval: 15s",
        ),
        (
            {"uri": "sip:acme.pstn.twilio.com", "interval": 10.0},
            "interval 10s is shorter than what Twilio bans: 15s",
        ),
        ({"source": "eth0"}, "'eth0' is not an IP address"),
        ({"from_": "nobody"}, "'nobody' is not a SIP URI"),
        ({"from_": "<sip:a@b.example>;tag=1"}, "the tag of From is ours to choose"),
        ({"user_agent": "a\r\nX: b"}, "cannot stand in a header field"),
        ({"uri": "http://example.com"}, "is not a SIP URI"),
        ({"uri": "sip:a.example;transport=sctp"}, "transport sctp is not spoken here"),
        ({"uri": "sip:" + "a" * 600}, "is longer than 512 characters"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError) as refused:
        TargetSettings(**{"uri": "sip:pbx.example.com", **settings})  # type: ignore[arg-type]
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5", ("10.0.0.5", 5060)),
        ("10.0.0.5:5080", ("10.0.0.5", 5080)),
        ("sip:10.0.0.5", ("10.0.0.5", 5060)),
        ("10.0.0.256", None),
        ("10.0.0.5:0", None),
        ("10.0.0.5:65536", None),
        ("sip:1001@10.0.0.5", None),
        ("sips:10.0.0.5", None),
        ("pbx.example.com", None),
    ],
)
def test_plain_addresses_are_known_at_sight(
    text: str, address: tuple[str, int] | None
) -> None:
    assert ipv4(text) == address


def test_host_and_port_become_a_uri() -> None:
    assert full_uri("pbx.example.com:5080") == "sip:pbx.example.com:5080"
    assert full_uri("SIPS:pbx.example.com") == "SIPS:pbx.example.com"
    check_uri("[2001:db8::1]:5060")


@pytest.mark.parametrize(
    ("uri", "configured_floor", "floor"),
    [
        ("sip:acme.pstn.twilio.com;transport=tls", 0.0, 15.0),
        ("sip:line@ACME.SIP.Twilio.com.", 0.0, 15.0),
        ("sip:acme.sip.twilio.com", 30.0, 30.0),
        ("sip:nottwilio.com", 0.0, 0.0),
        ("sip:x.twilio.com.example.net", 0.0, 0.0),
        ("10.0.0.5", 5.0, 5.0),
    ],
)
def test_twilio_has_a_floor_whatever_is_configured(
    uri: str, configured_floor: float, floor: float
) -> None:
    assert floor_of(uri, configured_floor) == floor


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    listed = tmp_path / "phones.txt"
    listed.write_text(
        "# the phones\n\n10.0.0.5:5060   # reception\nsip:1001@pbx.example.com\n"
        "10.0.0.5:5060\n[2001:db8::1]\n"
    )
    assert list(read_file(listed)) == [
        "10.0.0.5:5060",
        "sip:1001@pbx.example.com",
        "[2001:db8::1]",
    ]


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "phones.txt"
    listed.write_text("10.0.0.5\nwhat is this\n")
    with pytest.raises(ValueError, match=r"^phones.txt:2: 'sip:what is this' is not"):
        list(read_file(listed))


def test_a_file_is_bounded(tmp_path: Path) -> None:
    listed = tmp_path / "phones.txt"
    lines = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(FILE_LIMIT + 1))
    listed.write_text("".join(lines))
    with pytest.raises(ValueError, match="more than 200000 targets"):
        list(read_file(listed))


def test_targets_get_their_subjects_by_entry_and_by_line(tmp_path: Path) -> None:
    (tmp_path / "phones.txt").write_text("10.0.0.5\n10.0.0.6\n")
    site = Subject(Kind.SITE, "hq", Scope("hq"))
    found = list(
        configured(
            {"twilio": TargetSettings(uri="sip:acme.pstn.twilio.com", site="hq")},
            [TargetFileSettings(file="phones.txt")],
            {"hq": site, "": None}.__getitem__,
            tmp_path,
        )
    )
    assert [target.subject.key for target in found] == [
        "target:twilio",
        "target:phones.txt/10.0.0.5",
        "target:phones.txt/10.0.0.6",
    ]
    assert found[0].subject.parent is site
    assert found[0].subject.scope.labels == {"site": "hq"}
    assert found[1].subject.scope is found[2].subject.scope
    assert found[1].subject.scope.role == "phone"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("phones.txt", "b/phones.txt"):
        (tmp_path / name).write_text("10.0.0.5\n")
    files = [TargetFileSettings(file=f) for f in ("phones.txt", "b/phones.txt")]
    with pytest.raises(ValueError, match=r"^b/phones.txt: phones.txt is a file of the"):
        list(configured({}, files, folder=tmp_path))


def test_a_line_that_would_be_banned_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("sip:acme.pstn.twilio.com\n")
    listed = TargetFileSettings(file=str(tmp_path / "t.txt"), interval=10.0)
    with pytest.raises(ValueError, match="Twilio bans who does"):
        list(configured({}, [listed]))
