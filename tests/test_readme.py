"""The README tells what is said of a failure: its tables of diagnoses are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerting.notification.causes import explain
from checks.accounts.evidence import Phase, Seen
from checks.accounts.table import TABLE, Row
from checks.observation import Cause
from checks.registrars import (
    kamailio,
    mi,
    registrant,
    rpc,
    sofia_gateways,
    uac,
)
from checks.registrars.complaints import Complaint

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("cause", [c for c in Cause if not c.startswith("response_")])
def test_every_cause_stands_in_the_table_of_diagnoses(cause: Cause) -> None:
    words, step = explain(cause)
    assert f"| `{cause}` | {words} | {step} |" in README


def shown(sentence: str) -> str:
    """A sentence as a reader sees it: what is filled in by its name, in capitals; what
    may follow, as three dots."""
    ended = re.sub(r"(\{(?:by|warned|wait)\})+", " ...", sentence)
    apart = ended.replace("}{", "} {")
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: found[1].upper(), apart)


def line(*cells: str | Cause | None) -> str:
    named = [f"`{c}`" if isinstance(c, Cause) else c or "as seen" for c in cells]
    return f"| {' | '.join(named)} |"


def of_dialect(dialect: rpc.Dialect) -> list[str]:
    """What a server over HTTP refuses, by its status."""
    says = Complaint.HTTP_STATUS.value.says
    refusals = dict(dialect.refusals) | {"STATUS": (Cause.MALFORMED, dialect.otherwise)}
    words = {"protocol": dialect.name, "address": "ADDRESS"}
    return [
        line(says.format(**words, status=status, advice=advice), cause)
        for status, (cause, advice) in refusals.items()
    ]


def of_registrations() -> list[str]:
    """What is said of the registrations that a PBX keeps elsewhere."""
    gateways = [*sofia_gateways.REASONS.values(), sofia_gateways.UNKNOWN]
    gateways += [sofia_gateways.UNANSWERED, sofia_gateways.UNREGISTERED]
    words = [word for word in registrant.WORDS.values() if word.detail]
    rows = [line(gateway.detail, gateway.cause) for gateway in gateways]
    rows += [line(word.detail, word.cause) for word in words]
    rows += [line(uac.SILENT, Cause.TIMEOUT), line(uac.FAILED, None)]
    return [*dict.fromkeys(rows), line(shown(uac.GIVEN_UP), None)]


SEEN = {"aor": "1@h", "user": "1", "host": "h", "place": "192.0.2.1:5060"} | {
    "port": "UDP 5060",
    "expires": 60,
    "granted": 60,
}


def of_account(row: Row) -> str:
    """A row of what a REGISTER came to; its cause is one that was seen, or its own."""
    causes = [row.cause] if row.cause else []
    for cause in [] if causes else Cause:
        seen = Seen(phase=Phase.QUERY, cause=cause, **SEEN)  # type: ignore[arg-type]
        if row is next(one for one in TABLE if one.fits(seen)):
            causes.append(cause)
    only = causes[0] if len(causes) == 1 else None
    return line(shown(row.sentence), only, shown(row.step))


SENTENCES = [
    *(line(shown(c.value.says), c.value.cause) for c in Complaint),
    *of_dialect(kamailio.RPC),
    *of_dialect(mi.DIALECT),
    *of_registrations(),
    *map(of_account, TABLE),
]


@pytest.mark.parametrize("row", SENTENCES)
def test_every_sentence_of_a_diagnosis_is_shown(row: str) -> None:
    assert f"\n{row}\n" in README


def test_no_sentence_is_shown_that_nobody_says() -> None:
    folded = "".join(re.findall(r"(?s)<details>\n<summary>What .*?</details>", README))
    rows = re.findall(r"(?m)^\|.*\|$", folded)
    heads = [row for row in rows if row.startswith(("| what it says", "| ---"))]
    assert sorted(set(rows) - set(heads)) == sorted(set(SENTENCES))
