"""What is shown is right: each configuration is taken, each link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme

from alerting.rules.builtin import BUILT_IN
from checks.registrars import REGISTRARS
from docs.generate import PAGES
from sipwatch.config.load import check
from tests.docs.written import DOCS, ROOT, blocks, named, pages

SHOWN = [
    pytest.param(text, id=f"{named(page)}-{number}")
    for page in pages()
    for number, text in enumerate(blocks(page, "yaml"))
]
URL = "https://chat.example.com/of-whatever-kind"  # a secret of many a notifier
SECRETS = {
    "apprise-url": "json://chat.example.com",
    "grafana-token": "x" * 32,
    "pagerduty": "0" * 32,
}
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([\w.-]+))?\)")


@pytest.fixture(scope="session")
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("sipwatch.example.com")


@pytest.mark.parametrize("text", SHOWN)
def test_every_configuration_that_is_shown_is_right(
    text: str, tmp_path: Path, certificate: trustme.LeafCert
) -> None:
    (tmp_path / "extensions.csv").write_text("extension,name\n1001,Reception\n")
    (tmp_path / "phones.txt").write_text("10.0.0.7:5060\n")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "web.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "web.key"))
    text = text.replace("/etc/sipwatch/web.", f"{tmp_path}/web.")
    (tmp_path / "sipwatch.yaml").write_text(text)
    for secret in re.findall(r"!secret ([\w-]+)", text):
        (tmp_path / secret).write_text(SECRETS.get(secret, URL))
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert check(tmp_path / "sipwatch.yaml", environ) == []


def test_every_type_of_registrar_is_shown() -> None:
    shown = {
        found
        for page in pages()
        for text in blocks(page, "yaml")
        for found in re.findall(r"\btype: (\w+)", text)
    }
    assert set(REGISTRARS) <= shown


@pytest.mark.parametrize("rule", BUILT_IN)
def test_every_rule_is_told_in_words(rule: str) -> None:
    page = (DOCS / "rules.md").read_text()
    assert re.search(rf"^\|[^|]*\b{rule}\b[^|]*\|", page, re.MULTILINE)


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """Anchors, and pages that are made, are looked for in the built site."""
    made = {DOCS / path for path in PAGES}
    text = re.sub(r"(?s)```.*?```", "", page.read_text())
    for target, _ in LINK.findall(text):
        if target.startswith("screenshots/"):
            continue  # taken by a test run; the site leaves out what is not there
        if target and ":" not in target:
            file = (page.parent / target).resolve()
            assert file.exists() or file in made, target


def test_nothing_is_told_in_the_readme_and_in_the_docs() -> None:
    """A paragraph or a row of a table of the README is in no page of docs/."""
    readme = (ROOT / "README.md").read_text()
    told = [one for one in re.split(r"\n\n|\n(?=\|)", readme) if len(one) > 160]
    for page in pages()[1:]:
        text = page.read_text()
        assert [one for one in told if one in text and "```" not in one] == [], page
