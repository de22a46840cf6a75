"""The metrics of a job, from its status: counters are exactly what `status.goodput` holds.

So they never fall when the operator restarts. No label of a job's series names a pod, a step or a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from drumline.api.goodput import RECOVERY, GoodputStatus, State, StateTime
from drumline.api.meta import TRAINING_JOB
from drumline.api.progress import Precision
from drumline.api.reasons import Phase
from drumline.core.gang.clock import unix
from drumline.runtime.metrics_text import Family, seconds
from drumline.runtime.records import JobRecord

Rows = Iterator[tuple[Family, tuple[str, ...], float | str]]  # labels after namespace and job

_JOB: Final = ("namespace", "job")


def _of_job(name: str, kind: str, text: str, *more: str, adds: bool = False) -> Family:
    counter = kind == "counter"
    return Family(
        f"drumline_{name}", "counter" if counter else "gauge", text, (*_JOB, *more), adds or counter
    )


STATES: Final = _of_job(
    "accelerator_seconds_total",
    "counter",
    "Settled accelerator time by state of the ledger; restart=1 is the part that restarts cost.",
    "state",
    "restart",
)
PROVISIONAL: Final = _of_job(
    "accelerator_seconds_provisional",
    "gauge",
    "Accelerator time that is not settled yet: done since the last durable checkpoint.",
    adds=True,
)
HELD: Final = _of_job(
    "job_held_accelerators", "gauge", "Chips of the job's pods that are bound to a node.", adds=True
)
REQUESTED: Final = _of_job(
    "job_requested_accelerators", "gauge", "Chips of the job, if it runs or wants to.", adds=True
)
INFO: Final = _of_job(
    "job_info", "gauge", "What the job is: always 1.", "kind", "framework", "accelerator", "topology", "queue"
)
PHASE: Final = _of_job("job_phase", "gauge", "1 for the phase that the job is in, else 0.", "phase")
PROGRESS: Final = _of_job(
    "job_last_progress_timestamp_seconds", "gauge", "When the latest step ended, Unix time."
)
CHECKPOINT: Final = _of_job(
    "checkpoint_last_success_timestamp_seconds",
    "gauge",
    "When the latest checkpoint became durable, Unix time.",
)
TOKENS: Final = _of_job("job_tokens_total", "counter", "Tokens of settled productive steps.")
STEP: Final = _of_job("job_step", "gauge", "Latest step.")
COMMITTED: Final = _of_job("job_committed_step", "gauge", "Latest step that a durable checkpoint covers.")
LOST: Final = _of_job("job_lost_steps_total", "counter", "Steps that were run again after a restart.")
HANGS: Final = _of_job("job_hangs_total", "counter", "Times without progress for too long.")
STRAGGLERS: Final = _of_job(
    "job_stragglers",
    "gauge",
    "Workers that take longer for their own part of every step than the median of all by 3 MAD.",
    adds=True,
)
COST: Final = _of_job("job_cost_dollars_total", "counter", "Held accelerator time at the catalogue's price.")
ENERGY: Final = _of_job(
    "job_energy_joules_total", "counter", "Held accelerator time at the catalogue's watts: an estimate."
)
RATIOS: Final[Mapping[str, Family]] = {
    "scheduling": _of_job(
        "job_scheduling_goodput_ratio",
        "gauge",
        "Share of the job's time, but the suspended, in which every worker was ready.",
        "source",
    ),
    "runtime": _of_job(
        "job_runtime_goodput_ratio", "gauge", "Share of that time that was productive.", "source"
    ),
    "program": _of_job(
        "job_program_goodput_ratio",
        "gauge",
        "FLOPs of productive steps over the dense peak's in their time.",
        "precision",
        "source",
    ),
    "mfu": _of_job(
        "job_mfu_ratio", "gauge", "Model FLOPs utilisation of the latest steps.", "precision", "source"
    ),
    "ettr": _of_job(
        "job_ettr_ratio", "gauge", "Productive share of the job's time, but the suspended.", "source"
    ),
    "ettr_predicted": _of_job(
        "job_ettr_predicted_ratio", "gauge", "ETTR expected from its failures and checkpoints.", "source"
    ),
}
OF_JOBS: Final = (
    STATES,
    PROVISIONAL,
    HELD,
    REQUESTED,
    INFO,
    PHASE,
    PROGRESS,
    CHECKPOINT,
    TOKENS,
    STEP,
    COMMITTED,
    LOST,
    HANGS,
    STRAGGLERS,
    COST,
    ENERGY,
    *RATIOS.values(),
)
_ENDED: Final = frozenset({Phase.SUCCEEDED.value, Phase.FAILED.value})


def rows_of(record: JobRecord, held: int) -> Rows:
    """Every sample of a job; `held`: chips of its pods that are bound."""
    phase = record.status.phase or Phase.QUEUED.value
    yield HELD, (), held
    for each in Phase:
        yield PHASE, (each.value,), int(each.value == phase)
    if record.spec is not None and record.shape is not None:
        wanted = phase not in _ENDED and not record.spec.suspend
        yield REQUESTED, (), record.wanted_chips if wanted else 0
        accelerator = record.spec.accelerator
        labels = (record.spec.framework.value, accelerator.type, accelerator.topology or "")
        yield INFO, (TRAINING_JOB, *labels, record.status.queue or record.spec.queue or ""), 1
    found = record.status.goodput
    yield from _time_rows(found)
    yield from _counters(found)
    if found is not None:
        yield from _progress_rows(found)
        yield from _ratio_rows(found, _precision(record))


def unbalanced_ms(found: GoodputStatus) -> int:
    """By how much the states of a ledger miss its whole; 0, or this is a fault of ours."""
    return abs(found.elapsed_ms - found.provisional_ms - sum(state.ms for state in found.states))


def _time_rows(found: GoodputStatus | None) -> Rows:
    """Zeros from the start, so that the first increase is seen."""
    times = {s.state: s for s in found.states} if found is not None else {}
    for state in State:
        time = times.get(state.value, StateTime(state=state.value, ms=0))
        yield STATES, (state.value, "0"), seconds(time.ms - time.restart_ms)
        if state in RECOVERY:
            yield STATES, (state.value, "1"), seconds(time.restart_ms)
    yield PROVISIONAL, (), seconds(found.provisional_ms if found is not None else 0)


def _counters(found: GoodputStatus | None) -> Rows:
    for family, count in (
        (TOKENS, found.tokens if found else 0),
        (LOST, found.lost_steps if found else 0),
        (HANGS, found.hangs if found else 0),
        (STRAGGLERS, len(found.stragglers) if found else 0),
    ):
        yield family, (), count
    if found is not None and found.cost_dollars is not None:
        yield COST, (), found.cost_dollars
    if found is not None and found.energy_joules is not None:
        yield ENERGY, (), found.energy_joules


def _progress_rows(found: GoodputStatus) -> Rows:
    """Only what is known: 0 would be a step, or a time long ago."""
    if found.step >= 0:
        yield STEP, (), found.step
    if found.committed_step >= 0:
        yield COMMITTED, (), found.committed_step
    if found.last_progress_at:
        yield PROGRESS, (), f"{unix(found.last_progress_at):.3f}"
    if found.last_checkpoint_at:
        yield CHECKPOINT, (), f"{unix(found.last_checkpoint_at):.3f}"


def _ratio_rows(found: GoodputStatus, precision: str) -> Rows:
    for ratio in found.ratios:
        family = RATIOS.get(ratio.name)
        if family is not None:
            own = (precision,) if "precision" in family.labels else ()
            yield family, (*own, ratio.source), ratio.value


def _precision(record: JobRecord) -> str:
    model = record.spec.model if record.spec is not None else None
    return (model.precision if model is not None else Precision.BF16).value
