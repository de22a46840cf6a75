"""The ratios of a job's goodput, each with how it was come by. A figure that can't be known is left out.

Times are accelerator-milliseconds. "Active" is all time but the suspended.

- Scheduling, runtime and program goodput (SG, RG, PG) and their product MPG: arXiv 2502.06982.
  SG = all workers ready ÷ active. RG = productive ÷ all workers ready. PG = the time that the productive
  steps' FLOPs take at the chips' peak ÷ productive. So MPG = that ideal time ÷ active.
- ETTR: arXiv 2410.21680. Measured: productive ÷ active. Predicted, from what a job has shown so far:
  (1 − λ·(u₀ + Δt/2)) / (1 + w/Δt), with λ failures of the job per time, u₀ the way back after one, Δt between
  checkpoints, w blocked by saving one. Queueing is not in it.
- Held goodput = productive ÷ held. Data stall = waiting for input ÷ all workers ready.
- MFU: of the latest steps, see `goodput_flops`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drumline.api.catalog import AcceleratorType
from drumline.api.goodput import RECOVERY, GoodputStatus, Ratio, Source, State
from drumline.api.progress import CheckpointSpec, ModelSpec, Precision
from drumline.core.gang.goodput_flops import flops_per_step, flops_per_token, mfu, peak_flops
from drumline.core.gang.goodput_sources import source_of_ledger, weakest
from drumline.core.gang.ledger.summary import Summary

MS_PER_DAY: Final = 86_400_000
_OUTSIDE_RECOVERY: Final = frozenset({State.QUEUED, State.DRAINING})  # of a first start


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the ledger: what the user said, and the catalogue's entry."""

    model: ModelSpec | None = None
    checkpoint: CheckpointSpec | None = None
    accelerator: AcceleratorType | None = None
    failures_per_node_day: float | None = None  # for a job that has not failed yet
    before: GoodputStatus | None = None  # as last written: what was paid stays paid when a price changes

    @property
    def peak(self) -> float | None:
        """Dense peak FLOP/s of a chip at the model's precision; None when the catalogue gives none."""
        return peak_flops(self.accelerator, self.model.precision if self.model else Precision.BF16)


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and how it was come by."""

    value: float
    source: Source

    def over(self, whole: float) -> Figure | None:
        """The value as a part of a whole; None of none."""
        return Figure(self.value / whole, self.source) if whole > 0 else None


def ratios_of(found: Summary, facts: Facts) -> tuple[Ratio, ...]:
    """Every ratio that can be known, to four places."""
    return tuple(
        Ratio(name=name, value=f"{figure.value:.4f}", source=figure.source.value)
        for name, figure in _figures(found, facts)
        if figure is not None
    )


def active_ms(found: Summary) -> int:
    """All time but the suspended."""
    return found.elapsed_ms - found.totals.get(State.SUSPENDED, 0)


def chips_of(found: Summary) -> int:
    """Accelerators of the gang as it is now, spares left out; workers on CPU."""
    return (found.lanes - found.spares) * found.weight


def _figures(found: Summary, facts: Facts) -> Iterator[tuple[str, Figure | None]]:
    productive = _productive(found)
    scheduling = Figure(found.gang_ready_ms, Source.OBSERVED).over(active_ms(found))
    runtime = productive.over(found.gang_ready_ms)
    program = _program(found, facts)
    yield "scheduling", scheduling
    yield "runtime", runtime
    yield "program", program
    yield "mpg", _product(scheduling, runtime, program)
    yield "ettr", productive.over(active_ms(found))
    yield "ettr_predicted", _predicted_ettr(found, facts)
    yield "held", productive.over(found.held_ms)
    yield "mfu", _mfu(found, facts)
    yield "data_stall", _data_stall(found)


def _productive(found: Summary) -> Figure:
    return Figure(found.totals.get(State.PRODUCTIVE, 0), source_of_ledger(found.source))


def _product(*figures: Figure | None) -> Figure | None:
    product, sources = 1.0, []
    for figure in figures:
        if figure is None:
            return None
        product *= figure.value
        sources.append(figure.source)
    return Figure(product, weakest(sources))


def _program(found: Summary, facts: Facts) -> Figure | None:
    """Program goodput of all productive steps."""
    flops = _productive_flops(found, facts.model)
    return _of_peak(flops, found.totals.get(State.PRODUCTIVE, 0), facts.peak)


def _mfu(found: Summary, facts: Facts) -> Figure | None:
    """MFU of the latest steps, whatever else was done in them."""
    return _of_peak(_recent_flops(found, facts.model), found.recent.wall_ms * chips_of(found), facts.peak)


def _of_peak(flops: Figure | None, chip_ms: int, peak: float | None) -> Figure | None:
    if flops is None or peak is None:
        return None
    value = mfu(flops.value, chip_ms, peak)
    return None if value is None else Figure(value, flops.source)


def _productive_flops(found: Summary, model: ModelSpec | None) -> Figure | None:
    """Reported FLOPs go before tokens times the model's, and these before the steps' stated tokens."""
    if found.seen_flops:
        return Figure(found.flops, Source.REPORTED)
    if model is None:
        return None
    if found.seen_tokens:
        return Figure(found.tokens * flops_per_token(model), Source.ESTIMATED)
    a_step = flops_per_step(model)
    return None if a_step is None else Figure(a_step * _productive_steps(found), Source.ESTIMATED)


def _productive_steps(found: Summary) -> int:
    """Steps seen, less those run again, less those that no checkpoint covers yet while the job runs."""
    pending = max(0, found.step - found.committed_step) if found.ended_at is None else 0
    return max(0, found.step_times.count - found.lost_steps - pending)


def _recent_flops(found: Summary, model: ModelSpec | None) -> Figure | None:
    recent = found.recent
    if recent.flops:
        return Figure(recent.flops, Source.REPORTED)
    if model is None or not recent.count:
        return None
    if recent.tokens:
        return Figure(recent.tokens * flops_per_token(model), Source.ESTIMATED)
    a_step = flops_per_step(model)
    return None if a_step is None else Figure(a_step * recent.count, Source.ESTIMATED)


def _data_stall(found: Summary) -> Figure | None:
    """Absent where there is none: most reporters can't tell, and theirs is not 0."""
    stalled = found.totals.get(State.DATA_STALL, 0)
    return Figure(stalled, Source.REPORTED).over(found.gang_ready_ms) if stalled else None


def _predicted_ettr(found: Summary, facts: Facts) -> Figure | None:
    rate, interval = _failures_per_ms(found, facts), _interval_ms(found, facts)
    overhead, save = _overhead_ms(found), _save_ms(found)
    if rate is None or not interval or overhead is None or save is None:
        return None
    value = predicted_ettr(rate, overhead, interval, save)
    return Figure(value, Source.ESTIMATED)


def predicted_ettr(failures_per_ms: float, overhead_ms: float, interval_ms: float, save_ms: float) -> float:
    """Expected ETTR, 0 to 1, of arXiv 2410.21680: see above. The four are λ, u₀, Δt and w; Δt > 0."""
    lost = failures_per_ms * (overhead_ms + interval_ms / 2)
    return max(0.0, 1 - lost) / (1 + save_ms / interval_ms)


def _failures_per_ms(found: Summary, facts: Facts) -> float | None:
    """Failures of the job in a wall millisecond with all workers ready: its own, else its nodes' known rate."""
    ready = found.gang_ready_ms / max(1, found.lanes * found.weight)
    if found.failures and ready:
        return found.failures / ready
    if facts.failures_per_node_day is None:
        return None
    return (found.lanes - found.spares) * facts.failures_per_node_day / MS_PER_DAY


def _interval_ms(found: Summary, facts: Facts) -> float | None:
    """Wall time between two checkpoints: as the user said, else as seen."""
    if facts.checkpoint and facts.checkpoint.interval_seconds:
        return 1000.0 * facts.checkpoint.interval_seconds
    return float(found.commit_gap_ms) or None


def _save_ms(found: Summary) -> float | None:
    """Wall time that one save blocks; 0 for checkpoints that came about without blocking."""
    if found.checkpoint_saves:
        whole = found.totals.get(State.CHECKPOINT_SAVE, 0)
        return whole / (max(1, chips_of(found)) * found.checkpoint_saves)
    return 0.0 if found.commits else None


def _overhead_ms(found: Summary) -> float | None:
    """Wall time back to work after a failure, queueing left out: the recoveries' mean, else the first start."""
    ways = [dict(attempt.recovery) for attempt in found.attempts if attempt.recovery]
    if ways:
        return sum(way.get("total", 0) - way.get(State.QUEUED, 0) for way in ways) / len(ways)
    if not found.step_times.count:
        return None
    states = RECOVERY - _OUTSIDE_RECOVERY
    first = sum(found.totals.get(s, 0) - found.restart.get(s, 0) for s in states)
    return first / max(1, chips_of(found))
