"""The dashboards: the fleet's goodput, one job, queue and capacity; and the one of a service, made elsewhere."""

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from e2e.monitoring import panels as p
from e2e.monitoring.inference import inference
from e2e.monitoring.queues import queue_panels

_NS: Final = 'namespace=~"$namespace"'
_JOB: Final = 'namespace="$namespace",job="$job"'
_SECONDS: Final = "drumline_accelerator_seconds_total"
_HELD: Final = 'state!~"suspended|queued|provisioning"'
_NAMESPACES: Final = "label_values(drumline_job_info, namespace)"


def _fleet_figures() -> list[Any]:
    share = (
        f"sum(namespace_job:drumline_productive_accelerator_seconds:rate1h{{{_NS}}})"
        f" / (sum(namespace_job:drumline_held_accelerator_seconds:rate1h{{{_NS}}}) > 0)"
    )
    return [
        p.figure(
            "Held goodput", "Productive share of held accelerator time, last hour.", "percentunit", share
        ),
        p.figure(
            "Accelerators held",
            "Chips of pods that are bound to a node.",
            "none",
            "sum(max by (accelerator) (drumline_accelerators_held))",
            decimals=0,
        ),
        p.figure(
            "Accelerators wanted",
            "Chips of jobs that run or want to.",
            "none",
            "sum(max by (accelerator) (drumline_accelerators_requested))",
            decimals=0,
        ),
        p.figure(
            "Badput",
            "Dollars an hour that bought no progress, at the catalogue's price.",
            "currencyUSD",
            f"sum(namespace_job:drumline_badput_dollars:rate1h{{{_NS}}})",
        ),
        p.figure(
            "Cost",
            "Dollars an hour for held accelerators, at the catalogue's price.",
            "currencyUSD",
            f"sum(rate(drumline_job_cost_dollars_total{{{_NS}}}[1h])) * 3600",
        ),
    ]


def _fleet_states() -> list[Any]:
    worst = f"topk(10, namespace_job:drumline_badput_dollars:rate1h{{{_NS}}})"
    return [
        p.figure(
            "Power",
            "Held accelerators at the catalogue's watts: an estimate.",
            "watt",
            f"sum(rate(drumline_job_energy_joules_total{{{_NS}}}[1h]))",
            decimals=0,
        ),
        p.graph(
            "Accelerators by state",
            "Accelerator-seconds a second, that is accelerators, in each state.",
            "none",
            p.query(
                f"sum by (state) (namespace_job_state:drumline_accelerator_seconds:rate5m{{{_NS}}})",
                "{{state}}",
            ),
            width=24,
            height=10,
            stacked=True,
            by_state=True,
        ),
        p.bars(
            "Jobs with the most badput",
            "Dollars an hour that bought no progress.",
            "currencyUSD",
            worst,
            "{{namespace}}/{{job}}",
        ),
    ]


def _fleet_restarts() -> list[Any]:
    return [
        p.bars(
            "Jobs with the lowest goodput",
            "Productive share of held time, last hour.",
            "percentunit",
            f"bottomk(10, namespace_job:drumline_held_goodput:ratio_rate1h{{{_NS}}})",
            "{{namespace}}/{{job}}",
        ),
        p.graph(
            "Restarts an hour by cause",
            "Restarts of whole gangs.",
            "none",
            p.query(f"sum by (cause) (increase(drumline_job_restarts_total{{{_NS}}}[1h]))", "{{cause}}"),
        ),
        p.graph(
            "Recovery time",
            "From a failure to the next step.",
            "s",
            *p.quantiles(f"drumline_job_recovery_duration_seconds_bucket{{{_NS}}}[6h]"),
        ),
    ]


def fleet() -> Any:
    """Where the accelerator time of all jobs goes, and what the rest costs."""
    board = p.begin(
        "drumline-fleet",
        "Drumline / Fleet goodput",
        "Where the accelerators' time goes, over all training jobs.",
        [p.variable("namespace", "Namespace", _NAMESPACES)],
    )
    return _with(board, _fleet_figures(), _fleet_states(), _fleet_restarts())


def _job_ratios() -> list[Any]:
    ratio = "drumline_job_{}_ratio{{{}}}"
    return [
        *(
            p.figure(title, text, "percentunit", f"max({ratio.format(name, _JOB)})", decimals=1)
            for title, text, name in (
                ("Scheduling goodput", "Time with every worker ready, of all time.", "scheduling_goodput"),
                (
                    "Runtime goodput",
                    "Productive time, of the time with every worker ready.",
                    "runtime_goodput",
                ),
                ("Program goodput", "Model FLOPs against the peak, in productive time.", "program_goodput"),
                ("ETTR", "Productive time, of all time but suspension.", "ettr"),
            )
        ),
        p.figure(
            "Cost",
            "Held time at the catalogue's price.",
            "currencyUSD",
            f"max(drumline_job_cost_dollars_total{{{_JOB}}})",
        ),
        p.figure(
            "Lost steps",
            "Steps that were run again.",
            "none",
            f"max(drumline_job_lost_steps_total{{{_JOB}}})",
            decimals=0,
        ),
        p.states_over_time(
            "Phase", "What the job was doing.", f"max by (phase) (drumline_job_phase{{{_JOB}}})", "{{phase}}"
        ),
    ]


def _job_states() -> list[Any]:

    return [
        p.graph(
            "Accelerators by state",
            "Accelerator-seconds a second in each state.",
            "none",
            p.query(f"namespace_job_state:drumline_accelerator_seconds:rate5m{{{_JOB}}}", "{{state}}"),
            p.query(f"sum(deriv(drumline_accelerator_seconds_provisional{{{_JOB}}}[5m])) > 0", "provisional"),
            width=24,
            stacked=True,
            by_state=True,
        ),
        p.bars(
            "Time by state",
            "Accelerator-seconds since the job began.",
            "s",
            f"sort_desc(sum by (state) ({_SECONDS}{{{_JOB}}}) > 0)",
            "{{state}}",
        ),
        p.bars(
            "What restarts cost",
            "The part of each state that was the way back from a failure.",
            "s",
            f'sort_desc(sum by (state) ({_SECONDS}{{{_JOB},restart="1"}}) > 0) or vector(0)',
            "{{state}}",
        ),
    ]


def _job_costs_and_steps() -> list[Any]:

    return [
        p.graph(
            "Steps",
            "The latest step, and the latest that a durable checkpoint covers.",
            "none",
            p.query(f"max(drumline_job_step{{{_JOB}}})", "step"),
            p.query(f"max(drumline_job_committed_step{{{_JOB}}})", "committed"),
        ),
        p.graph(
            "Tokens",
            "Tokens a second of productive steps.",
            "none",
            p.query(f"sum(rate(drumline_job_tokens_total{{{_JOB}}}[5m]))", "tokens/s"),
        ),
        p.graph(
            "Stalls",
            "Accelerators that wait for input, for a checkpoint, or for a slow worker.",
            "none",
            p.query(
                f'namespace_job_state:drumline_accelerator_seconds:rate5m{{{_JOB},state=~"data_stall|checkpoint_save|straggler|hang"}}',
                "{{state}}",
            ),
            stacked=True,
            by_state=True,
        ),
    ]


def _job_facts() -> list[Any]:

    return [
        p.graph(
            "Restarts by cause",
            "Restarts of the whole gang.",
            "none",
            p.query(f"sum by (cause) (drumline_job_restarts_total{{{_JOB}}})", "{{cause}}"),
            p.query(f"max(drumline_job_hangs_total{{{_JOB}}})", "hangs"),
        ),
        p.table(
            "About the job",
            "What it runs on.",
            {"info": f"max by (kind, framework, accelerator, topology, queue) (drumline_job_info{{{_JOB}}})"},
        ),
    ]


def job() -> Any:
    """One job: its states over time, its steps, its restarts."""
    board = p.begin(
        "drumline-job",
        "Drumline / Training job",
        "Where one job's accelerator time goes.",
        [
            p.variable("namespace", "Namespace", _NAMESPACES, several=False),
            p.variable(
                "job", "Job", 'label_values(drumline_job_info{namespace="$namespace"}, job)', several=False
            ),
        ],
    )
    return _with(board, _job_ratios(), _job_states(), _job_costs_and_steps(), _job_facts())


def _capacity_now() -> list[Any]:

    return [
        p.graph(
            "Accelerators held",
            "Chips of pods that are bound to a node.",
            "none",
            p.query("max by (accelerator) (drumline_accelerators_held)", "{{accelerator}}"),
            stacked=True,
        ),
        p.graph(
            "Accelerators wanted",
            "Chips of jobs that run or want to.",
            "none",
            p.query("max by (accelerator) (drumline_accelerators_requested)", "{{accelerator}}"),
            stacked=True,
        ),
        p.graph(
            "Jobs by phase",
            "Training jobs.",
            "none",
            p.query("max by (phase) (drumline_jobs)", "{{phase}}"),
            stacked=True,
        ),
    ]


def _capacity_waiting() -> list[Any]:

    return [
        p.graph(
            "Time in the queue",
            "From joining the queue to admission.",
            "s",
            *p.quantiles("drumline_job_queue_duration_seconds_bucket[1h]"),
        ),
        p.graph(
            "Fragmentation",
            "Share of the free chips outside domains that are free as a whole.",
            "percentunit",
            p.query(
                "max by (accelerator, level) (drumline_accelerator_fragmentation_ratio)",
                "{{accelerator}} {{level}}",
            ),
        ),
        p.table(
            "Jobs that wait",
            "Queued jobs and what they want.",
            {
                "chips": "max by (namespace, job) (drumline_job_requested_accelerators)"
                ' and on (namespace, job) (drumline_job_phase{phase="Queued"} == 1)'
            },
            width=12,
        ),
        p.bars(
            "Who holds accelerators",
            "The largest holders.",
            "none",
            "topk(10, max by (namespace, job) (drumline_job_held_accelerators) > 0)",
            "{{namespace}}/{{job}}",
        ),
    ]


def _capacity_power() -> list[Any]:

    return [
        p.graph(
            "Power at full load",
            "What the accelerators given away in each domain with a budget draw.",
            "watt",
            p.query("max by (level, domain) (drumline_power_drawn_watts)", "{{level}} {{domain}}"),
        ),
        p.graph(
            "Share of the power budget",
            "Of each domain with a budget.",
            "percentunit",
            p.query(
                "max by (level, domain) (drumline_power_drawn_watts)"
                " / max by (level, domain) (drumline_power_budget_watts > 0)",
                "{{level}} {{domain}}",
            ),
        ),
    ]


def _capacity_operator() -> list[Any]:

    return [
        p.graph(
            "Reconcile time",
            "Observe, decide and act for one object.",
            "s",
            p.query("cluster:drumline_reconcile_duration_seconds:p99_rate5m", "p99"),
        ),
        p.graph(
            "Work queue",
            "Objects that wait for a worker, and for their time.",
            "none",
            p.query("max(drumline_workqueue_depth)", "waiting"),
            p.query("max(drumline_workqueue_delayed)", "delayed"),
        ),
        p.graph(
            "API requests",
            "Requests a second by status code.",
            "reqps",
            p.query("sum by (code) (rate(drumline_api_requests_total[5m]))", "{{code}}"),
            stacked=True,
        ),
        p.graph(
            "Reports",
            "Progress reports a second by outcome.",
            "reqps",
            p.query("sum by (outcome) (rate(drumline_reports_total[5m]))", "{{outcome}}"),
            stacked=True,
        ),
    ]


def capacity() -> Any:
    """What is held, what is wanted, who waits; and how the operator does."""
    board = p.begin(
        "drumline-capacity", "Drumline / Queue and capacity", "Accelerators held and wanted, and who waits."
    )
    sections = _capacity_waiting(), queue_panels(), _capacity_power(), _capacity_operator()
    return _with(board, _capacity_now(), *sections)


def _with(board: Any, *sections: list[Any]) -> Any:
    for panel in chain.from_iterable(sections):
        board.with_panel(panel)
    return board


DASHBOARDS: Final[dict[str, Callable[[], Any]]] = {
    "fleet": fleet,
    "job": job,
    "inference": inference,
    "capacity": capacity,
}
