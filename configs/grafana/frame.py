"""What all dashboards have in common: variables, links, and panels made of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

TAG = "sipwatch"
WIDTH = 24  # columns of a dashboard
OWN = 'job=~"$job", instance=~"$instance"'
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")

Builder = stat.Panel | statetimeline.Panel | timeseries.Panel


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it asks Prometheus, by legend, and how it is shown."""

    title: str
    description: str
    asked: dict[str, str]  # legend -> expression
    unit: str = "short"
    shown: str = "curve"  # curve, pile (stacked), value or states
    span: int = 12
    bad: float | None = None  # from here on it is red; below it where `low`
    low: bool = False
    most: float | None = None  # the top of the scale


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: rows of panels, and what its reader can choose."""

    uid: str
    title: str
    description: str
    rows: dict[str, Sequence[Panel]]
    choices: dict[str, str] = field(default_factory=dict)  # label -> its metric


def of(name: str, *matchers: str) -> str:
    """A series of the chosen instances."""
    return f"{name}{{{', '.join((OWN, *matchers))}}}"


def per_second(name: str, *matchers: str) -> str:
    """The rate of a counter."""
    return f"rate({of(name, *matchers)}[$__rate_interval])"


def grown(name: str, *matchers: str) -> str:
    """By how much a counter has grown in one step of the graph."""
    return f"increase({of(name, *matchers)}[$__rate_interval])"


def ours(expression: str) -> str:
    """Of what every job has, that of sipwatch alone: with "All" `$job` is any."""
    build = of("sipwatch_build_info")
    return f"{expression} and on (job, instance) max_over_time({build}[$__range])"


def total(expression: str, by: str = "") -> str:
    """The sum over all chosen instances, by one or more labels."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """A quantile of a histogram."""
    rates = total(per_second(f"{histogram}_bucket"), f"le, {by}" if by else "le")
    return f"histogram_quantile({share}, {rates})"


def built(board: Board) -> Dashboard:
    """The dashboard as Grafana reads it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .link(_others())
    )
    for variable in _variables(board):
        made.with_variable(variable)
    numbers = count(1)
    for title, panels in board.rows.items():
        made.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            made.with_panel(_panel(panel).id(next(numbers)))
    return made.build()


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("sipwatch")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _variables(
    board: Board,
) -> list[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    source = dashboard.DatasourceVariable("datasource").label("Data source")
    source.type("prometheus")
    build = "sipwatch_build_info"
    return [
        source,
        _choice("job", f"label_values({build}, job)"),
        _choice("instance", f'label_values({build}{{job=~"$job"}}, instance)'),
        *(
            _choice(label, f"label_values({of(metric)}, {label})")
            for label, metric in board.choices.items()
        ),
    ]


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _panel(panel: Panel) -> Builder:
    made = _SHOWN[panel.shown]()
    for number, (legend, expression) in enumerate(panel.asked.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend)
        query.ref_id(chr(ord("A") + number)).datasource(SOURCE)
        made.with_target(query.instant() if panel.shown == "value" else query.range())
    made.title(panel.title).description(panel.description).datasource(SOURCE)
    made.unit(panel.unit).span(panel.span).height(4 if panel.shown == "value" else 8)
    made.thresholds(_thresholds(panel))
    if panel.most is not None:
        made.max(panel.most)
    return made.min(0)


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    below, above = ("red", "green") if panel.low else ("green", "red")
    steps = [Threshold(value=None, color=below if panel.bad is not None else "blue")]
    if panel.bad is not None:
        steps.append(Threshold(value=panel.bad, color=above))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _curve() -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    made = timeseries.Panel().legend(legend.show_legend(True)).tooltip(tooltip)
    return made.fill_opacity(10).line_width(1)


def _pile() -> timeseries.Panel:
    return _curve().stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def _value() -> stat.Panel:
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().reduce_options(reduced)
    return made.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)


_SHOWN: dict[str, Callable[[], Builder]] = {
    "curve": _curve,
    "pile": _pile,
    "value": _value,
    "states": statetimeline.Panel,
}
