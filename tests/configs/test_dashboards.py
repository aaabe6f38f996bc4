"""The dashboards: in step with their code, and as Grafana's dashboard-linter wants."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.grafana.boards import BOARDS, FOLDER, file_of, text_of
from configs.grafana.frame import WIDTH

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILES = sorted(FOLDER.glob("*.json"))
CHOSEN = ('job=~"$job"', 'instance=~"$instance"')
COUNTER = r"\b[a-z_]+_(?:total|bucket|count|sum)\{"
GROWTH = r"(?:rate|irate|increase)\("
SELECTOR = r"\b[a-z_:]+\{([^}]*)\}"


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def board(request: pytest.FixtureRequest) -> Json:
    found: Json = json.loads(request.param.read_text())
    return found


def panels(board: Json) -> Iterator[Json]:
    """All but the rows."""
    for panel in board["panels"]:
        assert not panel.get("panels"), "a row is open, and holds nothing itself"
        if panel["type"] != "row":
            yield panel


def targets(board: Json) -> Iterator[Json]:
    for panel in panels(board):
        yield from panel["targets"]


def variables(board: Json) -> dict[str, Json]:
    return {one["name"]: one for one in board["templating"]["list"]}


def test_the_files_are_what_their_code_makes() -> None:
    assert {file_of(b) for b in BOARDS} == set(FILES)
    for one in BOARDS:
        assert file_of(one).read_text() == text_of(one), "run make dashboards"


def test_each_dashboard_has_an_address_and_a_name_of_its_own() -> None:
    found = [json.loads(file.read_text()) for file in FILES]
    assert len({one["uid"] for one in found}) == len(found) == 5
    assert len({one["title"] for one in found}) == len(found)
    for one in found:
        assert one["title"].startswith("sipwatch / ")
        assert one["description"]
        assert one["tags"] == ["sipwatch"]


def test_nobody_edits_what_is_generated(board: Json) -> None:
    assert board["editable"] is False


def test_the_data_source_is_chosen(board: Json) -> None:
    source = variables(board)["datasource"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "$datasource"}
    for panel in panels(board):
        assert panel["datasource"] == chosen, panel["title"]
        assert all(target["datasource"] == chosen for target in panel["targets"])


def test_job_and_instance_are_chosen_among_those_that_there_are(board: Json) -> None:
    found = variables(board)
    assert list(found)[:3] == ["datasource", "job", "instance"]
    for name in list(found)[1:]:
        one = found[name]
        assert one["type"] == "query"
        assert re.fullmatch(rf"label_values\(.+, {name}\)", one["query"])
        assert one["datasource"] == {"type": "prometheus", "uid": "$datasource"}
        assert (one["multi"], one["includeAll"], one["allValue"]) == (True, True, ".+")
        assert one["refresh"] == 2, "reloads when the time changes"


def test_each_panel_says_what_it_shows(board: Json) -> None:
    for panel in panels(board):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_no_title_and_no_number_is_there_twice(board: Json) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    numbers = [panel["id"] for panel in board["panels"]]
    assert sorted(set(numbers)) == list(range(1, len(numbers) + 1))


def test_each_threshold_has_a_colour(board: Json) -> None:
    for panel in panels(board):
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert all(step["color"] for step in steps), panel["title"]


def test_panels_lie_beside_each_other_and_fill_their_rows(board: Json) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    tallest = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(WIDTH) for y in range(tallest)}


def test_no_target_is_empty_and_each_has_its_letter_and_its_legend(
    board: Json,
) -> None:
    for panel in panels(board):
        several = panel["targets"]
        assert several, panel["title"]
        assert [t["refId"] for t in several] == list("ABCD"[: len(several)])
        assert all(t["expr"] and t["legendFormat"] for t in several)


def test_each_series_is_that_of_the_chosen_instances(board: Json) -> None:
    for target in targets(board):
        asked = re.findall(SELECTOR, target["expr"])
        assert asked, target["expr"]
        for matchers in asked:
            assert all(one in matchers for one in CHOSEN), target["expr"]


def test_every_choice_is_used(board: Json) -> None:
    text = json.dumps(board["panels"])
    assert all(f"${name}" in text for name in variables(board))


def test_ranges_are_as_long_as_the_graph_needs_them(board: Json) -> None:
    for target in targets(board):
        ranges = re.findall(r"\[([^]]*)\]", target["expr"])
        rates = re.findall(GROWTH, target["expr"])
        assert ranges.count("$__rate_interval") == len(rates), target["expr"]
        assert set(ranges) <= {"$__rate_interval", "$__range"}, target["expr"]


def test_what_every_job_has_is_shown_of_sipwatch_alone(board: Json) -> None:
    for target in targets(board):
        names = set(re.findall(r"\b([a-z_]+)\{", target["expr"]))
        if not all(name.startswith("sipwatch_") for name in names):
            narrowed = "and on (job, instance) max_over_time(sipwatch_build_info{"
            assert narrowed in target["expr"]


def test_counters_are_shown_by_their_growth_alone(board: Json) -> None:
    for target in targets(board):
        bare = re.sub(GROWTH + COUNTER, "", target["expr"])
        assert not re.search(COUNTER, bare), target["expr"]


def test_growth_is_that_of_counters_alone(board: Json) -> None:
    for target in targets(board):
        grown = re.findall(GROWTH + r"[^[]*", target["expr"])
        counters = re.findall(GROWTH + COUNTER, target["expr"])
        assert len(grown) == len(counters), target["expr"]


def test_the_provisioning_is_what_grafana_reads() -> None:
    folder = ROOT / "configs/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/sipwatch.yaml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["access"]) == ("prometheus", "proxy")
    (provider,) = yaml.safe_load((folder / "dashboards/sipwatch.yaml").read_text())[
        "providers"
    ]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
