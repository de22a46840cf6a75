"""What a simulation says about a policy.

- *Wait*: from submission to the first start; of jobs that started. Percentiles by nearest rank.
- *Utilisation*: held chip-seconds ÷ all chip-seconds, from 0 to the makespan.
- *Goodput*: chip-seconds of progress that counts ÷ held ones. The rest went into start-up, backoff, waiting for other
  nodes while holding the rest, and progress that failures undid (*lost*).
- *Fragmentation*: of the free chips, over time, those that no waiting gang could use (*stranded*, while somebody
  waits), those beside a held part of their node (*split*), and by level those outside domains that are free as a
  whole (*fragmented*): see `core.sim.account`.
- *Fairness*, among queues that want more, while they do (`core.sim.fairness`): a queue's share of the chip-seconds that
  the compared ones held, and its fair share, of those that they were entitled to. *Deviation* = the largest difference
  between the two. *Jain's index* of x = held ÷ entitled over the n queues that were entitled to anything:
  (Σx)² ÷ (n · Σx²), from 1/n (one has all) to 1 (all alike).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from drumline.core.sim.account import Account, TypeAccount
from drumline.core.sim.engine import Simulation
from drumline.core.sim.fairness import Fairness
from drumline.core.sim.model import End, Outcome

PARTS: Final = 24  # of the makespan, for utilisation over time


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs of a queue, or all. Chip-seconds."""

    name: str
    jobs: int
    completed: int
    impossible: int
    unfinished: int
    restarts: int
    waits: Waits
    held: float
    productive: float
    lost: float

    @property
    def goodput(self) -> float | None:
        """Productive ÷ held; None when nothing was held."""
        return self.productive / self.held if self.held else None


@dataclass(frozen=True, slots=True)
class Share:
    """Of a queue, over the times at which it was compared. `fair` is 0 for weight 0."""

    queue: str
    weight: float
    share: float
    fair: float


@dataclass(frozen=True, slots=True)
class Impossible:
    """A job that the cluster could never hold, and why."""

    name: str
    queue: str
    why: str


@dataclass(frozen=True, slots=True)
class TypeUse:
    """Of an accelerator type, over the makespan. Shares of 1; None where there was nothing to share."""

    name: str
    chips: int
    utilisation: float | None
    stranded: float | None
    split: float | None
    fragmented: tuple[tuple[str, float], ...] = ()  # by level, coarse to fine


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    makespan: float
    total: Group
    queues: tuple[Group, ...]
    types: tuple[TypeUse, ...]
    utilisation: tuple[float, ...]  # of all chips in each of `PARTS` equal parts of the makespan
    shares: tuple[Share, ...]  # of the queues that were compared; () = there never were two to compare
    jain: float | None  # None also where fewer than two of them have a weight
    deviation: float | None
    backfills: int
    rounds: int
    node_failures: int
    preemptions: int
    power_peak: float  # highest share of a power budget that was drawn; 0 without budgets
    impossible: tuple[Impossible, ...] = ()  # in the order of the trace


def report_of(simulation: Simulation, outcomes: Sequence[Outcome]) -> Report:
    """The report on a simulation that is over."""
    names = sorted({o.job.request.queue for o in outcomes})
    account, span = simulation.account, simulation.now
    fairness = account.fairness
    shares = tuple(_shares(fairness))
    return Report(
        makespan=span,
        total=_group("", outcomes),
        queues=tuple(_group(name, [o for o in outcomes if o.job.request.queue == name]) for name in names),
        types=tuple(_use(name, account, span) for name in sorted(account.types)),
        utilisation=tuple(_over_time(account, span)),
        shares=shares,
        jain=jain_of(fairness),
        deviation=max(abs(s.share - s.fair) for s in shares) if shares else None,
        backfills=simulation.backfills,
        rounds=simulation.rounds,
        node_failures=simulation.node_failures,
        preemptions=simulation.preemptions,
        power_peak=simulation.power_peak,
        impossible=tuple(
            Impossible(o.job.request.name, o.job.request.queue, o.why)
            for o in outcomes
            if o.end is End.IMPOSSIBLE
        ),
    )


def jain(values: Sequence[float]) -> float:
    """Jain's index; 1 where nobody has anything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def jain_of(fairness: Fairness) -> float | None:
    """Jain's index over queues that are entitled to anything; None for fewer than two."""
    parts = {queue: part for queue, part in fairness.entitled.items() if part > 0}
    return jain([fairness.held[queue] / part for queue, part in parts.items()]) if len(parts) > 1 else None


def waits_of(seconds: Iterable[float]) -> Waits:
    """Mean, percentiles, largest."""
    ordered = sorted(seconds)
    if not ordered:
        return Waits()

    def percentile(share: float) -> float:
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    mean = sum(ordered) / len(ordered)
    return Waits(mean, percentile(0.5), percentile(0.9), percentile(0.99), ordered[-1])


def _group(name: str, outcomes: Sequence[Outcome]) -> Group:
    ends = [o.end for o in outcomes]
    return Group(
        name,
        jobs=len(outcomes),
        completed=ends.count(End.COMPLETED),
        impossible=ends.count(End.IMPOSSIBLE),
        unfinished=ends.count(End.UNFINISHED),
        restarts=sum(max(0, o.attempts - 1) for o in outcomes),
        waits=waits_of(o.wait for o in outcomes if o.wait is not None),
        held=sum(o.held for o in outcomes),
        productive=sum(o.productive for o in outcomes),
        lost=sum(o.lost for o in outcomes),
    )


def _shares(fairness: Fairness) -> Iterator[Share]:
    held, entitled = sum(fairness.held.values()), sum(fairness.entitled.values())
    for name in sorted(fairness.held) if held and entitled else ():
        weight = fairness.weights.get(name, 1.0)
        yield Share(name, weight, fairness.held[name] / held, fairness.entitled[name] / entitled)


def _use(name: str, account: Account, span: float) -> TypeUse:
    of_type = account.types[name]
    return TypeUse(
        name,
        of_type.total,
        _ratio(of_type.held_seconds, of_type.total * span),
        _ratio(of_type.stranded_seconds, of_type.contested_free_seconds),
        _ratio(of_type.split_seconds, of_type.free_seconds),
        tuple(_fragmented(of_type)),
    )


def _fragmented(of_type: TypeAccount) -> Iterator[tuple[str, float]]:
    for level, whole in of_type.whole_seconds.items():
        share = _ratio(whole, of_type.free_seconds)
        if share is not None:
            yield level, 1 - share


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _over_time(account: Account, span: float) -> list[float]:
    """Utilisation in equal parts of the makespan."""
    total = sum(of_type.total for of_type in account.types.values())
    if not span or not total:
        return [0.0] * PARTS
    width, sums = span / PARTS, [0.0] * PARTS
    ends = [*(at for at, _ in account.history[1:]), span]
    for (begin, held), end in zip(account.history, ends, strict=True):
        for part in range(int(begin / width), min(PARTS, int(end / width) + 1)):
            sums[part] += held * max(0.0, min(end, (part + 1) * width) - max(begin, part * width))
    return [amount / (total * width) for amount in sums]
