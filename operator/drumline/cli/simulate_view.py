"""A simulation's report as text and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic.alias_generators import to_camel

from drumline.cli.terminal import Terminal, bar, table
from drumline.core.sim.report import Group, Report

_BAR: Final = 40  # columns
_NAMED: Final = 5  # jobs
_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


def text(report: Report, terminal: Terminal) -> str:
    """Tables for people."""
    parts = (
        _head(report),
        _impossible(report),
        _waits(report),
        _types(report),
        _over_time(report, terminal),
        _shares(report),
    )
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def raw(report: Report) -> dict[str, Any]:
    """In names of the wire; times in seconds, amounts in chip-seconds, shares of 1."""
    found: dict[str, Any] = _camel(asdict(report))
    found["total"]["goodput"] = report.total.goodput
    for group, queue in zip(found["queues"], report.queues, strict=True):
        group["goodput"] = queue.goodput
    return found


def seconds(amount: float) -> str:
    """In the largest unit of which there are two or more: 45 s, 12.5 m, 3.2 h, 4.1 d."""
    for size, unit in _UNITS:
        if amount >= 2 * size:
            return f"{amount / size:,.1f} {unit}"
    return f"{amount:,.0f} s"


def percent(share: float | None) -> str:
    """One decimal; - for nothing."""
    return "-" if share is None else f"{100 * share:.1f} %"


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_camel(key): _camel(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_camel(item) for item in value]
    return value


def _head(report: Report) -> Iterator[str]:
    total = report.total
    chips = sum(use.chips for use in report.types)
    yield f"{total.jobs:,} jobs on {chips:,} accelerators: makespan {seconds(report.makespan)}"
    ends = f"{total.completed:,} completed"
    ends += f", {total.impossible:,} that the cluster could never hold" if total.impossible else ""
    ends += f", {total.unfinished:,} cut off" if total.unfinished else ""
    preempted = f", {report.preemptions:,} preemptions" if report.preemptions else ""
    yield f"{ends}; {report.backfills:,} backfilled, {total.restarts:,} restarts{preempted}"
    failures = f", {report.node_failures:,} node failures" if report.node_failures else ""
    lost = total.lost / total.held if total.held else 0.0
    yield f"goodput {percent(total.goodput)} of held time, progress undone {percent(lost)}{failures}"
    if report.power_peak:
        yield f"power: {percent(report.power_peak)} of a budget at most"


def _impossible(report: Report) -> Iterator[str]:
    if not report.impossible:
        return
    yield "jobs that the cluster could never hold"
    for job in report.impossible[:_NAMED]:
        yield f"  {job.name}{f' (queue {job.queue})' if job.queue else ''}: {job.why}"
    if len(report.impossible) > _NAMED:
        yield f"  and {len(report.impossible) - _NAMED:,} more; -o json names all"


def _waits(report: Report) -> Iterator[str]:
    header = ["QUEUE", "JOBS", "DONE", "WAIT MEAN", "P50", "P90", "P99", "MAX", "HELD", "GOODPUT"]
    groups = report.queues if len(report.queues) > 1 else ()
    rows = [_row(queue, queue.name or "(none)") for queue in groups]
    yield from table(header, [*rows, _row(report.total, "all")], right=range(1, len(header)))


def _row(group: Group, name: str) -> Sequence[str]:
    waits = group.waits
    times = (seconds(t) for t in (waits.mean, waits.p50, waits.p90, waits.p99, waits.max))
    held = f"{group.held / 3600:,.0f} chip-h"
    return [name, f"{group.jobs:,}", f"{group.completed:,}", *times, held, percent(group.goodput)]


def _types(report: Report) -> Iterator[str]:
    header = ["ACCELERATOR", "CHIPS", "HELD", "FREE: STRANDED", "FREE: SPLIT", "FREE: FRAGMENTED"]
    rows = (
        [
            u.name,
            f"{u.chips:,}",
            *map(percent, (u.utilisation, u.stranded, u.split)),
            ", ".join(f"{percent(share)} by {level}" for level, share in u.fragmented),
        ]
        for u in report.types
    )
    yield from table(header, rows, right=range(1, len(header) - 1))


def _over_time(report: Report, terminal: Terminal) -> Iterator[str]:
    if not report.makespan:
        return
    yield "held, over time"
    width = report.makespan / len(report.utilisation)
    for part, share in enumerate(report.utilisation):
        yield f"{seconds(part * width):>10}  {percent(share):>7}  {bar(share, terminal, _BAR)}".rstrip()


def _shares(report: Report) -> Iterator[str]:
    if not report.shares:
        return
    jain = "-" if report.jain is None else f"{report.jain:.3f}"
    yield f"fairness among queues that wanted more, while they did: Jain {jain}, deviation {percent(report.deviation)}"
    header = ["QUEUE", "WEIGHT", "SHARE", "FAIR SHARE"]
    rows = ([s.queue or "(none)", f"{s.weight:g}", percent(s.share), percent(s.fair)] for s in report.shares)
    yield from table(header, rows, right=(1, 2, 3))
