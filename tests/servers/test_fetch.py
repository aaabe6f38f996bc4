from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import fetch, tree
from tests.servers.fetch import Source, deb822_sources, one_line_sources

MIRROR = "http://mirror.example.com/debian"

ONE_LINE = [
    (f"deb {MIRROR} bookworm main contrib", [Source(MIRROR, "bookworm")]),
    (
        f"deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        f" {MIRROR} trixie main # ours",
        [Source(MIRROR, "trixie")],
    ),
    (f"deb [signed-by=/etc/keys/other.gpg] {MIRROR} bookworm main", []),
    (f"# deb {MIRROR} bookworm main", []),
    (f"deb-src {MIRROR} bookworm main", []),
    (f"deb {MIRROR} bookworm-backports main", []),
    ("deb cdrom:[Debian 12]/ bookworm main", []),
    (f"deb {MIRROR} bookworm stable", []),
    ("deb", []),
]

DEB822 = [
    (
        "# kept\nTypes: deb deb-src\n# a comment inside\n"
        f"URIs: {MIRROR}\nSuites: bookworm\n bookworm-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
        [Source(MIRROR, "bookworm"), Source(MIRROR, "bookworm-updates")],
    ),
    (
        f"Types: deb\nURIs: {MIRROR}/a {MIRROR}/b\nSuites: sid\nComponents: main\n",
        [Source(f"{MIRROR}/a", "sid"), Source(f"{MIRROR}/b", "sid")],
    ),
    (f"Types: deb\nURIs: {MIRROR}\nSuites: sid\nComponents: main\nEnabled: no\n", []),
    (f"Types: deb-src\nURIs: {MIRROR}\nSuites: sid\nComponents: main\n", []),
    (
        f"Types: deb\nURIs: {MIRROR}\nSuites: sid\nComponents: main\n"
        "Signed-By: /etc/keys/other.gpg\n\n"
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie\nComponents: main\n",
        [Source(MIRROR, "trixie")],
    ),
    ("", []),
]


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("SIPWATCH_CACHE", str(tmp_path))
    tree.cache_folder.cache_clear()
    yield tmp_path
    tree.cache_folder.cache_clear()


@pytest.mark.parametrize(("line", "sources"), ONE_LINE)
def test_a_one_line_source_is_read(line: str, sources: list[Source]) -> None:
    assert one_line_sources(line) == sources


@pytest.mark.parametrize(("text", "sources"), DEB822)
def test_a_deb822_source_is_read(text: str, sources: list[Source]) -> None:
    assert deb822_sources(text) == sources


def test_both_kinds_of_files_are_found_and_doubles_are_one(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(f"deb {MIRROR} sid main\n")
    parts = tmp_path / "sources.list.d"
    (parts / "a.list").write_text(f"deb {MIRROR} sid main\n")
    (parts / "b.sources").write_text(
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie\nComponents: main\n"
    )
    (parts / "c.list.disabled").write_text(f"deb {MIRROR} other main\n")

    assert fetch.machine_sources(tmp_path) == [
        Source(MIRROR, "sid"),
        Source(MIRROR, "trixie"),
    ]


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_machine_without_apt_says_why(
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ci: str,
    status: int,
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "")

    assert fetch.main(["asterisk"]) == status

    assert "asterisk: cannot be had" in capsys.readouterr().err
    assert "this machine has no apt-get" in str(tree.missing("asterisk"))


def test_what_was_never_fetched_names_the_command(empty_cache: Path) -> None:
    assert tree.program("promtool") is None
    assert tree.missing("promtool") == (
        "promtool: not fetched yet: python -m tests.servers.fetch prometheus"
    )


def test_a_tree_of_an_older_recipe_is_not_used(empty_cache: Path) -> None:
    root = tree.root_of("sipp")
    root.mkdir(parents=True)
    tree.stamp_file(root).write_text('{"recipe": "older"}')

    assert not tree.is_ready("sipp")


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["astersk"]) == 2
    assert "no such server: astersk" in capsys.readouterr().out
