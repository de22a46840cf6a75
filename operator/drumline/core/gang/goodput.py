"""`status.goodput` of a job, from its ledger's figures and what else is known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from drumline.api.goodput import GoodputStatus, State, StateTime, StepTimes, Straggler
from drumline.core.gang.goodput_ratios import Facts, ratios_of
from drumline.core.gang.ledger.summary import Summary

__all__ = ["Facts", "status_of", "tokens_per_second"]

MS_PER_HOUR: Final = 3_600_000
MAX_INTEGER: Final = 2**63 - 1  # what the API server takes; a worker may claim more, bit by bit
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def status_of(found: Summary, facts: Facts, at_ms: int, resume: str = "") -> GoodputStatus:
    """The status as of `at_ms` (Unix milliseconds), with `resume` as the ledger's resume point."""
    return GoodputStatus(
        at=_time(at_ms),
        started_at=_time(found.started_at),
        lanes=found.lanes,
        chips_per_lane=found.weight,
        source=found.source.value,
        elapsed_ms=found.elapsed_ms,
        held_ms=found.held_ms,
        gang_ready_ms=found.gang_ready_ms,
        provisional_ms=found.provisional_ms,
        states=tuple(_states(found)),
        step=found.step,
        committed_step=found.committed_step,
        lost_steps=min(found.lost_steps, MAX_INTEGER),
        tokens=min(found.tokens, MAX_INTEGER),
        last_progress_at=_time_or_none(found.last_progress_at),
        last_checkpoint_at=_time_or_none(found.last_checkpoint_at),
        hangs=found.hangs,
        step_times=_step_times(found.step_times),
        checkpoint_saves=found.checkpoint_saves,
        checkpoint_restores=found.checkpoint_restores,
        stragglers=tuple(_stragglers(found, facts.before, at_ms)),
        tokens_per_second=tokens_per_second(found, facts),
        ratios=ratios_of(found, facts),
        cost_dollars=_cost(found.held_ms, facts),
        badput_dollars=_dollars(_badput_ms(found), facts),
        energy_joules=_energy(found.held_ms, facts),
        timeline=found.timeline,
        resume=resume,
    )


def tokens_per_second(found: Summary, facts: Facts) -> str | None:
    """Tokens a second of the latest steps, one place: as reported, else by the tokens stated for a step."""
    recent = found.recent
    stated = facts.model.tokens_per_step if facts.model else None
    tokens = recent.tokens or recent.count * (stated or 0)
    return f"{1000 * tokens / recent.wall_ms:.1f}" if tokens and recent.wall_ms else None


def _states(found: Summary) -> Iterator[StateTime]:
    """In the order of the ledger's states."""
    for state in State:
        if ms := found.totals.get(state, 0):
            yield StateTime(state=state.value, ms=ms, restart_ms=found.restart.get(state, 0))


def _stragglers(found: Summary, before: GoodputStatus | None, at_ms: int) -> Iterator[Straggler]:
    """Since when each is slow, as far as the statuses tell: one that was slow in the last still is."""
    known = {s.lane: s.since for s in before.stragglers} if before is not None else {}
    for straggler in found.stragglers:
        yield straggler.model_copy(update={"since": known.get(straggler.lane) or _time(at_ms)})


def _step_times(times: StepTimes) -> StepTimes:
    sum_ms, count = (min(n, MAX_INTEGER) for n in (times.sum_ms, times.count))
    buckets = tuple(min(n, MAX_INTEGER) for n in times.buckets)
    return times.model_copy(update={"sum_ms": sum_ms, "count": count, "buckets": buckets})


def _badput_ms(found: Summary) -> int:
    """Held time that was not productive, and will not turn out to be."""
    return max(0, found.held_ms - found.totals.get(State.PRODUCTIVE, 0) - found.provisional_ms)


def _cost(held_ms: int, facts: Facts) -> str | None:
    """What the held time cost; at another price than before only what has been held since. Never falls."""
    now, before = _dollars(held_ms, facts), facts.before
    if now is None or before is None or before.cost_dollars is None:
        return now if now is not None or before is None else before.cost_dollars
    if before.cost_dollars == _dollars(before.held_ms, facts):
        return now
    more = _dollars(max(0, held_ms - before.held_ms), facts)
    return f"{float(before.cost_dollars) + float(more or 0):.4f}"


def _energy(held_ms: int, facts: Facts) -> int | None:
    """As `_cost`, in joules."""
    now, before = _joules(held_ms, facts), facts.before
    if now is None or before is None or before.energy_joules is None:
        return now if now is not None or before is None else before.energy_joules
    if before.energy_joules == _joules(before.held_ms, facts):
        return now
    return before.energy_joules + (_joules(max(0, held_ms - before.held_ms), facts) or 0)


def _dollars(chip_ms: int, facts: Facts) -> str | None:
    """Its price on demand; None where the catalogue gives none."""
    price = facts.accelerator.price if facts.accelerator else None
    return None if price is None else f"{chip_ms / MS_PER_HOUR * price.usd_per_chip_hour:.4f}"


def _joules(chip_ms: int, facts: Facts) -> int | None:
    """Energy at the board's rated power; None where the catalogue gives none. Hosts and cooling are not in it."""
    watts = facts.accelerator.watts if facts.accelerator else None
    return None if watts is None else round(chip_ms / 1000 * watts)


def _time(ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _time_or_none(ms: int | None) -> str | None:
    return None if ms is None else _time(ms)
