"""A job's goodput as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from drumline.api.goodput import Source
from drumline.api.status import AttemptStatus
from drumline.cli import goodput_words as words
from drumline.cli.goodput_view import MS_PER_HOUR, JobView
from drumline.cli.terminal import Terminal, apportion, bar, paint, stacked, swatch, table

_BAR: Final = 24  # columns of a row's own bar
_INDENT: Final = "  "


def breakdown(view: JobView, terminal: Terminal) -> str:
    """Everything about one job."""
    parts = (
        _head(view),
        _states(view, terminal),
        _over_time(view, terminal),
        _ratios(view),
        _steps(view),
        _attempts(view),
        _cost(view),
    )
    text = "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"
    return text if terminal.unicode else text.translate(ASCII)


ASCII: Final = str.maketrans({"÷": "/", "×": "x", "·": "*", "−": "-", "±": "+/-"})


def overview(views: Sequence[tuple[str, str, str, JobView | None]], *, namespaces: bool) -> str:
    """A table of jobs: (namespace, name, phase, view or None where there is no ledger yet)."""
    header = ["NAMESPACE", "JOB", "PHASE", "ACCELERATORS", "HELD HOURS", "GOODPUT", "BADPUT COST"]
    rows = [[space, name, phase or "-", *_overview_cells(view)] for space, name, phase, view in views]
    skip = 0 if namespaces else 1
    lines = table(header[skip:], [row[skip:] for row in rows], right=(4 - skip, 5 - skip, 6 - skip))
    return "\n".join(lines) + "\n"


def _overview_cells(view: JobView | None) -> list[str]:
    if view is None:
        return ["-", "-", "-", "-"]
    held = f"{view.goodput.held_ms / MS_PER_HOUR:,.2f}"
    cost = words.dollars(view.goodput.badput_dollars)
    return [f"{view.chips} x {view.accelerator}", held, words.as_percent(view.ratio("ettr")), cost]


def _head(view: JobView) -> Iterator[str]:
    goodput = view.goodput
    yield f"{view.namespace}/{view.name}: {view.status.phase or 'no phase'}, {view.chips} × {view.accelerator}"
    unit = "accelerator" if goodput.chips_per_lane > 1 or view.accelerator != "cpu" else "worker"
    yield f"{goodput.started_at} to {goodput.at}, time of every {unit} since the job's creation"


def _states(view: JobView, terminal: Terminal) -> Iterator[str]:
    yield stacked([(row.state, row.ms) for row in view.rows], terminal, terminal.width)
    header = ["  STATE", "TIME", "SHARE", "OF WHICH RESTART", "SOURCE", ""]
    cells = [
        [
            f"  {row.state}",
            words.seconds(row.ms),
            words.percent(row.share),
            words.seconds(row.restart_ms) if row.restart_ms else "",
            row.source,
            bar(row.share, terminal, _BAR),
        ]
        for row in view.rows
    ]
    head, *lines = table(header, cells, right=(1, 2, 3))
    yield head
    for row, line in zip(view.rows, lines, strict=True):
        drawn = bar(row.share, terminal, _BAR)
        body = line.removesuffix(drawn) if drawn else line
        yield swatch(row.state, terminal) + body[1:] + paint(row.state, drawn, terminal)
    yield _sum(view)


def _sum(view: JobView) -> str:
    total, lane_time = view.accounted_ms, view.goodput.elapsed_ms
    if total == lane_time:
        return f"sum of states {words.seconds(total)} = lane time {words.seconds(lane_time)}"
    off = f"off by {words.seconds(total - lane_time)}, please report it"
    return f"sum of states {words.seconds(total)}, lane time {words.seconds(lane_time)}: {off}"


def _over_time(view: JobView, terminal: Terminal) -> Iterator[str]:
    """The wall time, most lanes' state, and below it where each attempt begins."""
    whole = sum(segment.ms for segment in view.timeline)
    if not whole:
        return
    yield f"Over {words.duration(whole)} of wall time; below, where attempts begin"
    parts = [(segment.state, segment.ms) for segment in view.timeline]
    yield stacked(parts, terminal, terminal.width)
    widths = apportion([ms for _, ms in parts], terminal.width)
    marks = [" "] * terminal.width
    at, attempt = 0, 0
    for segment, width in zip(view.timeline, widths, strict=True):
        if segment.attempt > attempt:
            attempt = segment.attempt
            label = f"^{attempt}"
            left = min(at, terminal.width - len(label))
            marks[left : left + len(label)] = label
        at += width
    yield "".join(marks).rstrip()


def _ratios(view: JobView) -> Iterator[str]:
    if not view.goodput.ratios:
        return
    cells = []
    for ratio in view.goodput.ratios:
        title, formula = words.RATIOS.get(ratio.name, (ratio.name, ""))
        cells.append([_INDENT + title, words.as_percent(ratio.value), ratio.source, formula])
    yield from table(["GOODPUT", "", "SOURCE", "OF WHAT"], cells, right=(1,))


def _steps(view: JobView) -> Iterator[str]:
    goodput, times = view.goodput, view.goodput.step_times
    if goodput.step < 0 and not times.count:
        return
    yield f"STEPS ({Source.REPORTED})"
    durable = (
        f"a checkpoint covers {goodput.committed_step}" if goodput.committed_step >= 0 else "no checkpoint"
    )
    yield f"{_INDENT}at step {goodput.step}, {durable}; {goodput.lost_steps} steps were lost and run again"
    if times.count:
        spread = f"median {times.median_ms} ms ± {times.mad_ms} (MAD)"
        yield f"{_INDENT}{spread}, p90 {times.p90_ms} ms, p99 {times.p99_ms} ms, of {times.count} steps"
    if goodput.tokens_per_second:
        yield f"{_INDENT}{goodput.tokens_per_second} tokens/s of late; {goodput.tokens:,} tokens kept"
    if goodput.checkpoint_saves or goodput.checkpoint_restores:
        saved = f"{goodput.checkpoint_saves} checkpoints saved"
        yield f"{_INDENT}{saved}, {goodput.checkpoint_restores} restored; {goodput.hangs} hangs"
    for straggler in goodput.stragglers:
        yield f"{_INDENT}slow: worker {straggler.lane}, median {straggler.median_ms} ms for its part of a step"


def _attempts(view: JobView) -> Iterator[str]:
    if not view.attempts:
        return
    header = ["ATTEMPT", "BEGAN", "ENDED", "OUTCOME", "FIRST FAILED POD", "EXIT", "LOST STEPS"]
    rows = [_attempt_cells(attempt, view) for attempt in view.attempts]
    yield from table(header, rows, right=(0, 5, 6))
    for attempt in view.attempts:
        if attempt.recovery:
            yield f"{_INDENT}way back to attempt {attempt.label}: {words.recovery(attempt, view.status)}"


def _attempt_cells(attempt: AttemptStatus, view: JobView) -> list[str]:
    return [
        attempt.label,
        attempt.started_at,
        attempt.finished_at or "-",
        words.outcome(attempt, view.status),
        attempt.pod or "-",
        "-" if attempt.exit_code is None else str(attempt.exit_code),
        "-" if attempt.lost_steps is None else str(attempt.lost_steps),
    ]


def _cost(view: JobView) -> Iterator[str]:
    goodput = view.goodput
    held = f"{goodput.held_ms / MS_PER_HOUR:,.2f} accelerator-hours held ({Source.OBSERVED})"
    yield f"COST: {held}"
    if goodput.cost_dollars is not None:
        badput = f", of which {words.dollars(goodput.badput_dollars)} was not productive"
        yield f"{_INDENT}{words.dollars(goodput.cost_dollars)}{badput} (catalogue's price, {Source.ESTIMATED})"
    if goodput.energy_joules is not None:
        yield f"{_INDENT}{words.energy(goodput.energy_joules)} (catalogue's watts, {Source.ESTIMATED})"
