"""Pieces that the dashboards are put together from: one look, one data source, one way to name things."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import prometheus as p

from drumline.cli.palette import LOOKS

SOURCE: Final = d.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 24

Panel = TypeVar("Panel", bound=Any)


def query(expression: str, legend: str = "__auto", *, instant: bool = False, table: bool = False) -> Any:
    """One PromQL query."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
    made = made.instant() if instant else made.range()
    return made.format(p.PromQueryFormat.TABLE if table else p.PromQueryFormat.TIME_SERIES)


def quantiles(buckets: str) -> list[Any]:
    """Median and ninth decile of a histogram; `buckets` are its series, with a range."""
    return [
        query(f"histogram_quantile({q}, sum by (le) (rate({buckets})))", f"p{int(q * 100)}")
        for q in (0.5, 0.9)
    ]


def _placed(panel: Panel, title: str, text: str, width: int, height: int, queries: Sequence[Any]) -> Panel:
    panel.title(title).description(text).datasource(SOURCE).span(width).height(height)
    for number, one in enumerate(queries):
        panel.with_target(one.ref_id(chr(ord("A") + number)))
    return panel


def graph(
    title: str,
    text: str,
    unit: str,
    *queries: Any,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    by_state: bool = False,
) -> Any:
    """Lines over time; `stacked` areas; `by_state` in the colours of the states."""
    legend = (
        common.VizLegendOptions()
        .display_mode(c.LegendDisplayMode.LIST)
        .placement(c.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel = series.Panel().unit(unit).min(0).legend(legend).line_width(1).span_nulls(300_000)
    panel.tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING))
    if stacked:
        panel.fill_opacity(70).stacking(common.StackingConfig().mode(c.StackingMode.NORMAL))
    if by_state:
        for state, look in LOOKS.items():
            panel.override_by_name(str(state), [_fixed(look.colour)])
    return _placed(panel, title, text, width, height, queries)


def figure(title: str, text: str, unit: str, expression: str, width: int = 4, decimals: int = 2) -> Any:
    """One number: the latest."""
    panel = stat.Panel().unit(unit).decimals(decimals).graph_mode(c.BigValueGraphMode.AREA)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.no_value("–")
    return _placed(panel, title, text, width, 4, [query(expression)])


def bars(title: str, text: str, unit: str, expression: str, legend: str, width: int = 12) -> Any:
    """The latest value of each series, as bars."""
    panel = bargauge.Panel().unit(unit).min(0).orientation(c.VizOrientation.HORIZONTAL)
    panel.display_mode(c.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _placed(panel, title, text, width, 8, [query(expression, legend, instant=True)])


def states_over_time(title: str, text: str, expression: str, legend: str, width: int = WIDTH) -> Any:
    """Which of several one-hot series is on, over time."""
    panel = statetimeline.Panel().merge_values(True).show_value(c.VisibilityMode.NEVER)
    return _placed(panel, title, text, width, 7, [query(expression, legend)])


def table(title: str, text: str, expressions: Mapping[str, str], width: int = WIDTH) -> Any:
    """One row for each set of labels, one column for each expression."""
    queries = [query(e, name, instant=True, table=True) for name, e in expressions.items()]
    panel = _placed(tables.Panel(), title, text, width, 9, queries)
    panel.with_transformation(d.DataTransformerConfig(id_val="merge", options={}))
    names = {f"Value #{chr(ord('A') + i)}": name for i, name in enumerate(expressions)}
    names = names if len(names) > 1 else {"Value": next(iter(expressions))}
    panel.with_transformation(
        d.DataTransformerConfig(
            id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": names}
        )
    )
    return panel


def variable(name: str, label: str, values: str, *, several: bool = True) -> Any:
    """A choice among the values of a label, asked of the data source."""
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(values)
    made = made.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)
    if several:
        made = made.multi(True).include_all(True).all_value(".*")
    return made


def begin(uid: str, title: str, text: str, variables: Sequence[Any] = ()) -> dashboard.Dashboard:
    """An empty dashboard with the data source to choose."""
    board = dashboard.Dashboard(title).uid(uid).description(text).tags(["drumline"]).timezone("browser")
    board.time("now-6h", "now").refresh("30s").tooltip(d.DashboardCursorSync.CROSSHAIR).editable()
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for one in variables:
        board.with_variable(one)
    link = dashboard.DashboardLink("Drumline").type(d.DashboardLinkType.DASHBOARDS).tags(["drumline"])
    return board.link(link.as_dropdown(True).keep_time(True).include_vars(True))


def row(title: str) -> Builder[d.RowPanel]:
    """A heading."""
    return dashboard.Row(title)


def _fixed(colour: str) -> d.DynamicConfigValue:
    return d.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
