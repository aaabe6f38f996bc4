"""What a silence is about, how long it lasts, and how it is kept."""

from __future__ import annotations

import pytest

from alerting.muting.matchers import matcher, matchers
from alerting.muting.silences import (
    KEPT,
    LONGEST,
    MOST,
    Silence,
    Silences,
    dumped,
    loaded,
    silence,
)
from checks.observation import Kind
from tests.alerting.muting.incidents import incident

DAY = 86400.0


@pytest.mark.parametrize(
    ("written", "fits"),
    [
        ("site=lyon", True),
        ("site=Lyon", False),
        ("site!=lyon", False),
        ("site!=paris", True),
        ("extension=1001", True),  # 1001@example.com
        ("extension=1001@example.com", True),
        ("extension=100", False),
        ('extension=~"10*"', True),
        ("extension=~2*", False),
        ("extension!~2*", True),
        ("extension=10*", False),  # a value, no pattern
        ("severity=warning", True),
        ("severity=critical", False),
        ("rule =~ Extension*", True),
        ("kind=extension", True),
        ("target=1001", False),
        ("registrar=hq", True),
    ],
)
def test_a_matcher_looks_at_a_field_of_the_incident(written: str, fits: bool) -> None:
    assert matcher(written).fits(incident()) is fits


def test_a_value_is_taken_as_it_is() -> None:
    odd = matcher("target=a[b]*?")
    assert odd.fits(incident("a[b]*?", Kind.TARGET))
    assert not odd.fits(incident("ab", Kind.TARGET))
    assert str(odd) == "target=a[b]*?"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("lyon", "lyon is not a matcher (write site=lyon)"),
        ("sit=lyon", "sit is nothing to match on (did you mean site?)"),
        ("severity=bad", "bad is no severity (info, warning, critical)"),
        ("site=", "site: write what it is, in at most 300 letters"),
        ("site=a\x1bb", "site: write what it is, in at most 300 letters"),
        (f"site={'x' * 301}", "site: write what it is, in at most 300 letters"),
        # The square of its length would be seconds.
        (
            f"site=x{' ' * 60_000}y",
            f"site=x{' ' * 294} is not a matcher (write site=lyon)",
        ),
    ],
)
def test_what_is_no_matcher_is_refused_with_a_sentence(written: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        matcher(written)
    assert str(error.value) == said


def test_a_silence_needs_matchers_and_not_too_many() -> None:
    for several in ([], ["site=lyon"] * 21):
        with pytest.raises(ValueError, match="write 1 to 20 matchers"):
            matchers(several)


def made(**changed: object) -> Silence:
    values: dict[str, object] = {
        "written": ["site=lyon", "extension=~10*"],
        "author": "Anna",
        "reason": "the switch is replaced",
        "starts": 100.0,
        "ends": 200.0,
        "wall": 90.0,
    } | changed
    return silence(values.pop("written"), **values)  # type: ignore[arg-type]


def test_all_matchers_have_to_fit() -> None:
    one = made()
    assert one.fits(incident())
    assert not one.fits(incident("2001"))
    assert not one.fits(incident(site="paris"))


def test_a_silence_is_in_force_from_its_start_until_before_its_end() -> None:
    one = made()
    assert [one.active(at) for at in (99.9, 100.0, 199.9, 200.0)] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"author": " "}, "say who wants it"),
        ({"reason": ""}, "say why, for those who wonder later"),
        ({"ends": 100.0}, "it ends before it begins, or has ended"),
        ({"starts": 0.0, "ends": 90.0}, "it ends before it begins, or has ended"),
        ({"ends": 91 + LONGEST}, "it lasts longer than a year"),
    ],
)
def test_a_silence_that_cannot_be_is_refused(changed: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(**changed)


def test_what_people_write_is_made_harmless_and_bounded() -> None:
    one = made(author="An\x1b[2Jna", reason="x" * 1000)
    assert one.author == "An\N{REPLACEMENT CHARACTER}[2Jna"
    assert len(one.reason) == 300


def test_a_silence_comes_back_from_the_store_as_it_was() -> None:
    one = made()
    assert loaded(one.id, dumped(one)) == one


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"matchers": ["x"]}', "null"])
def test_what_is_no_stored_silence_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loaded("a", text)


def test_of_several_silences_the_one_that_ends_last_counts() -> None:
    known = Silences()
    short, long = made(), made(ends=300.0)
    known.add(short)
    known.add(long)
    assert known.of(incident(), 150.0) is long
    assert known.of(incident(), 250.0) is long
    assert known.of(incident(), 300.0) is None
    assert known.of(incident("2001"), 150.0) is None


def test_a_silence_that_is_ended_is_kept_for_the_history() -> None:
    known = Silences()
    one = made()
    known.add(one)
    ended = known.end(one.id, 150.0)
    assert ended is not None
    assert ended.ends == 150.0
    assert known.end(one.id, 160.0) is None
    assert known.end("nosuch", 160.0) is None
    assert known.prune(150.0 + KEPT - 1) == []
    assert known.prune(150.0 + KEPT) == [one.id]
    assert list(known) == []


def test_silences_are_bounded_and_ended_ones_make_room() -> None:
    known = Silences()
    several = [made(ends=200.0 + n) for n in range(MOST)]
    for one in several:
        known.add(one)
    with pytest.raises(ValueError, match="there are 500 silences already"):
        known.add(made())
    assert known.prune(202.5) == [several[0].id]
    known.add(made())
