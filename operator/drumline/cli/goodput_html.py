"""A job's goodput as one HTML file that needs nothing else: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from drumline import __version__
from drumline.api.goodput import Source
from drumline.api.status import AttemptStatus
from drumline.cli import goodput_svg as svg
from drumline.cli import goodput_words as words
from drumline.cli.goodput_view import MS_PER_HOUR, JobView
from drumline.cli.palette import look

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2329; --paper: #fff; --faint: #5b6670; --rule: #d5dade; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #14181c; --faint: #a2acb5; --rule: #39424a; }
}
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
svg { display: block; width: 100%; height: auto; margin: .5rem 0; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg rect { stroke: var(--paper); stroke-width: .5; } svg .mark, svg .tick { stroke: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--faint); font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td.n, td:first-child, th:first-child { white-space: nowrap; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 1px solid var(--rule); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 1rem 0; } dd { margin: 0; font-size: 1.4rem; }
dt { color: var(--faint); }
"""

_Cells = Sequence[str]


def page(view: JobView) -> str:
    """The report. Everything that comes from the object is escaped."""
    title = f"{view.namespace}/{view.name}: goodput"
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )
    sections = (_head(view), _time(view), _states(view), _ratios(view), _attempts(view), _steps(view))
    body = "\n".join(line for section in sections for line in section)
    return f'{head}{body}\n<p class="faint">drumline {escape(__version__)}</p>\n</body>\n</html>\n'


def _head(view: JobView) -> Iterator[str]:
    goodput = view.goodput
    state = f"{view.status.phase or 'no phase'}, {view.chips} × {view.accelerator}"
    yield f"<h1>{escape(f'{view.namespace}/{view.name}')}</h1>"
    yield f'<p class="faint">{escape(state)}</p>'
    yield f'<p class="faint">Accounted from {escape(goodput.started_at)} to {escape(goodput.at)}.</p>'
    facts = [
        ("ETTR", words.as_percent(view.ratio("ettr"))),
        ("MFU", words.as_percent(view.ratio("mfu"))),
        ("accelerator-hours held", f"{goodput.held_ms / MS_PER_HOUR:,.2f}"),
        ("cost", words.dollars(goodput.cost_dollars)),
        ("of it not productive", words.dollars(goodput.badput_dollars)),
    ]
    shown = (f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts if value != "-")
    yield f"<dl>{''.join(shown)}</dl>"
    if goodput.cost_dollars is not None:
        yield f'<p class="faint">Cost by the catalogue\'s price: {Source.ESTIMATED}.</p>'


def _time(view: JobView) -> Iterator[str]:
    if drawing := svg.timeline(view):
        yield "<h2>Over time</h2>"
        yield '<p class="faint">What most workers did, from the job\'s creation on. Point at a part to read it.</p>'
        yield drawing


def _states(view: JobView) -> Iterator[str]:
    yield "<h2>States</h2>"
    yield svg.shares(view)
    rows = [
        [
            f'<i style="background:{look(row.state).colour}"></i>{escape(row.state)}',
            words.seconds(row.ms),
            words.percent(row.share),
            words.seconds(row.restart_ms) if row.restart_ms else "",
            row.source,
            look(row.state).meaning,
        ]
        for row in view.rows
    ]
    header = ["State", "Time", "Share", "Of which restart", "Source", "Meaning"]
    yield _table(header, rows, numbers=(1, 2, 3))
    total, lane_time = view.accounted_ms, view.goodput.elapsed_ms
    sign = "=" if total == lane_time else "≠"
    yield f"<p>Sum of states {words.seconds(total)} {sign} lane time {words.seconds(lane_time)}.</p>"


def _ratios(view: JobView) -> Iterator[str]:
    if not view.goodput.ratios:
        return
    yield "<h2>Derived figures</h2>"
    rows = []
    for ratio in view.goodput.ratios:
        title, formula = words.RATIOS.get(ratio.name, (ratio.name, ""))
        cells = (title, words.as_percent(ratio.value), ratio.source, formula)
        rows.append([escape(cell) for cell in cells])
    yield _table(["Figure", "Value", "Source", "Of what"], rows, numbers=(1,))


def _attempts(view: JobView) -> Iterator[str]:
    if not view.attempts:
        return
    yield "<h2>Attempts</h2>"
    header = [
        "Attempt",
        "Began",
        "Ended",
        "Outcome",
        "First failed pod",
        "Exit",
        "Lost steps",
        "Way back to it",
    ]
    rows = [[escape(cell) for cell in _attempt(attempt, view)] for attempt in view.attempts]
    yield _table(header, rows, numbers=(0, 5, 6))
    for attempt in view.attempts:
        if attempt.message:
            yield f'<p class="faint">Attempt {attempt.label}: {escape(attempt.message)}</p>'


def _attempt(attempt: AttemptStatus, view: JobView) -> _Cells:
    return (
        attempt.label,
        attempt.started_at,
        attempt.finished_at or "",
        words.outcome(attempt, view.status),
        attempt.pod or "",
        "" if attempt.exit_code is None else str(attempt.exit_code),
        "" if attempt.lost_steps is None else str(attempt.lost_steps),
        words.recovery(attempt, view.status) if attempt.recovery else "",
    )


def _steps(view: JobView) -> Iterator[str]:
    goodput, times = view.goodput, view.goodput.step_times
    if goodput.step < 0 and not times.count:
        return
    yield f"<h2>Steps</h2>\n<p>Latest {goodput.step}, covered by a checkpoint up to {goodput.committed_step}; "
    yield f"{goodput.lost_steps} were lost and run again; {goodput.hangs} hangs. Source: {Source.REPORTED}.</p>"
    if times.count:
        spread = f"{times.median_ms} ms ± {times.mad_ms} (median absolute deviation)"
        yield f"<p>Median {spread}, p90 {times.p90_ms} ms, p99 {times.p99_ms} ms, of {times.count} steps.</p>"
    if goodput.tokens_per_second:
        rate = escape(goodput.tokens_per_second)
        yield f"<p>{rate} tokens a second of late; {goodput.tokens:,} tokens of steps that are kept.</p>"
    slow = [[escape(s.lane), f"{s.median_ms} ms"] for s in goodput.stragglers]
    if slow:
        yield _table(["Slow worker", "Median of its part of a step"], slow, numbers=(1,))


def _table(header: _Cells, rows: Iterable[_Cells], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already."""
    kind = ['class="n"' if i in numbers else "" for i in range(len(header))]
    head = "".join(f"<th {kind[i]}>{cell}</th>" for i, cell in enumerate(header))
    lines = ["".join(f"<td {kind[i]}>{cell}</td>" for i, cell in enumerate(row)) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'
