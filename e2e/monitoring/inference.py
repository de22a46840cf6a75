"""The dashboard of one InferenceService: where its accelerators' time goes, how fast it answers, what it lacks."""

from itertools import chain
from typing import Any, Final

from e2e.monitoring import panels as p

_OF: Final = 'namespace="$namespace",service="$service"'
_NAMESPACES: Final = "label_values(drumline_serving_info, namespace)"
_SERVICES: Final = 'label_values(drumline_serving_info{namespace="$namespace"}, service)'


def _metric(name: str, **labels: str) -> str:
    more = (f'{label}="{value}"' for label, value in labels.items())
    return f"drumline_serving_{name}{{{','.join((_OF, *more))}}}"


def _rule(name: str, by: str = "") -> str:
    return f"namespace_service{by}:drumline_serving_{name}{{{_OF}}}"


def _figures() -> list[Any]:
    ready, desired = (f"sum({_metric('groups', state=s)})" for s in ("ready", "desired"))
    return [
        p.figure("Groups in service", "Of all roles.", "none", ready, decimals=0),
        p.figure("Groups wanted", "Of all roles.", "none", desired, decimals=0),
        p.figure(
            "Tokens per accelerator-second",
            "Tokens put out in a second of one held accelerator, last hour.",
            "none",
            f"max({_rule('tokens_per_accelerator_second:rate1h')})",
        ),
        p.figure(
            "Requests per accelerator-second",
            "Requests answered in a second of one held accelerator, last hour.",
            "none",
            f"max({_rule('requests_per_accelerator_second:rate1h')})",
            decimals=3,
        ),
        p.figure(
            "Within the SLO",
            "Share of latencies within spec.slo, last hour: of TTFT or TPOT, whichever is less.",
            "percentunit",
            f"min({_rule('slo_attainment:ratio_rate1h', '_latency')})",
            decimals=1,
        ),
        p.figure(
            "Cost",
            "Dollars an hour for held accelerators, at the catalogue's price.",
            "currencyUSD",
            f"sum(rate({_metric('cost_dollars_total')}[1h])) * 3600",
        ),
    ]


def _phases() -> list[Any]:
    return [
        p.states_over_time(
            "Phase", "How the service stands.", f"max by (phase) ({_metric('phase')})", "{{phase}}", width=12
        ),
        p.states_over_time(
            "Rollout",
            "How the latest rollout stands.",
            f"max by (phase) ({_metric('rollout_phase')})",
            "{{phase}}",
            width=12,
        ),
    ]


def _time() -> list[Any]:
    return [
        p.graph(
            "Accelerators by state",
            "Accelerator-seconds a second, that is accelerators, in each state.",
            "none",
            p.query(_rule("accelerator_seconds:rate5m", "_state"), "{{state}}"),
            width=24,
            height=10,
            stacked=True,
            by_state=True,
        ),
        p.bars(
            "Time by state",
            "Accelerator-seconds since the service began.",
            "s",
            f"sort_desc(sum by (state) ({_metric('accelerator_seconds_total')}) > 0)",
            "{{state}}",
        ),
        p.graph(
            "Busy",
            "Share of held time with requests in work, last hour.",
            "percentunit",
            p.query(f"max({_rule('busy:ratio_rate1h')})", "busy"),
        ),
    ]


def _groups() -> list[Any]:
    return [
        p.graph(
            "Groups by role",
            "Wanted, in service, and of these of the newest revision.",
            "none",
            *(
                p.query(f"max by (role) ({_metric('groups', state=state)})", f"{{{{role}}}} {state}")
                for state in ("desired", "ready", "updated")
            ),
        ),
        p.graph(
            "Groups by phase",
            "How far the groups are.",
            "none",
            p.query(f"sum by (phase) ({_metric('group_phases')})", "{{phase}}"),
            stacked=True,
        ),
        p.graph(
            "Autoscaler",
            "Groups that the built-in autoscaler wants, and the most it may have.",
            "none",
            p.query(f"max by (role) ({_metric('autoscaler_desired_groups')})", "{{role}} wanted"),
            p.query(f"max by (role) ({_metric('replica_limit', bound='max')})", "{{role}} at most"),
        ),
        p.graph(
            "Load against target",
            "The autoscaler's metrics; above 1 there are too few groups.",
            "percentunit",
            p.query(
                f"max by (role, metric) ({_metric('autoscaler_metric')})"
                f" / max by (role, metric) ({_metric('autoscaler_target')})",
                "{{role}} {{metric}}",
            ),
        ),
    ]


def _work() -> list[Any]:
    tokens = (("generation", "out"), ("prompt", "in"))
    return [
        p.graph(
            "Tokens",
            "Tokens a second, by the engines' counters.",
            "none",
            *(
                p.query(f"sum by (role) (rate({_metric(f'{name}_tokens_total')}[5m]))", f"{{{{role}}}} {way}")
                for name, way in tokens
            ),
        ),
        p.graph(
            "Requests",
            "Requests a second, answered and failed.",
            "reqps",
            p.query(f"sum by (role, result) (rate({_metric('requests_total')}[5m]))", "{{role}} {{result}}"),
        ),
        p.graph(
            "Requests in the engines",
            "Requests that wait, and that are in work.",
            "none",
            p.query(f"max by (role) ({_metric('requests_waiting')})", "{{role}} waiting"),
            p.query(f"max by (role) ({_metric('requests_running')})", "{{role}} in work"),
        ),
        p.graph(
            "KV cache",
            "Share in use, mean of a role's groups.",
            "percentunit",
            p.query(f"max by (role) ({_metric('kv_cache_usage_ratio')})", "{{role}}"),
        ),
    ]


def _latency(title: str, text: str, name: str) -> Any:
    return p.graph(
        title,
        text,
        "s",
        p.query(f"max by (role, percentile) ({_metric(f'{name}_seconds')})", "{{role}} p{{percentile}}"),
        p.query(f"max({_metric('slo_target_seconds', latency=name)})", "promised"),
    )


def _promises() -> list[Any]:
    return [
        _latency("TTFT", "Time to first token, last minute.", "ttft"),
        _latency("TPOT", "Time per output token, last minute.", "tpot"),
        p.graph(
            "Within the SLO over time",
            "Share of latencies within spec.slo, and the share that is promised.",
            "percentunit",
            p.query(_rule("slo_attainment:ratio_rate5m", "_latency"), "{{latency}}"),
            p.query(f"max({_metric('slo_target_ratio')})", "promised"),
        ),
        p.graph(
            "Speculation",
            "Share of guessed tokens that were right.",
            "percentunit",
            p.query(_rule("acceptance:ratio_rate5m"), "accepted"),
        ),
    ]


def _trouble() -> list[Any]:
    return [
        p.graph(
            "Restarts by cause",
            "Restarts of groups.",
            "none",
            p.query(f"sum by (cause) ({_metric('restarts_total')})", "{{cause}}"),
        ),
        p.graph(
            "Groups without metrics",
            "Groups whose engine's metrics can't be had.",
            "none",
            p.query(f"max by (role) ({_metric('groups_without_metrics')})", "{{role}}"),
        ),
        p.table(
            "Roles",
            "What they run on, and who scales them.",
            {"info": f"max by (role, accelerator, scaling) ({_metric('role_info')})"},
            width=12,
        ),
        p.table(
            "About the service",
            "What it serves.",
            {"info": f"max by (engine, model, profile, queue) ({_metric('info')})"},
            width=12,
        ),
    ]


def inference() -> Any:
    """One service: its groups, its speed, its promises."""
    board = p.begin(
        "drumline-inference",
        "Drumline / Inference service",
        "Where one service's accelerator time goes, and how fast it answers.",
        [
            p.variable("namespace", "Namespace", _NAMESPACES, several=False),
            p.variable("service", "Service", _SERVICES, several=False),
        ],
    )
    sections = (_figures(), _phases(), _time(), _groups(), _work(), _promises(), _trouble())
    for panel in chain.from_iterable(sections):
        board.with_panel(panel)
    return board
