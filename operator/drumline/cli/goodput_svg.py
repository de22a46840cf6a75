"""Drawings of a job's time as inline SVG: what most lanes did over wall time, and each state's share.

Sizes are in units of a view box that the page scales. Text takes the page's colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from drumline.cli import goodput_words as words
from drumline.cli.goodput_view import JobView, Segment
from drumline.cli.palette import look

WIDTH: Final = 1000
_TOP: Final = 30  # room for the attempts' labels
_BAND: Final = 54
_AXIS: Final = 26
_BAR: Final = 36
_TICKS: Final = 6  # about so many
_NICE_MS: Final = tuple(
    1000 * s
    for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
)


def timeline(view: JobView) -> str:
    """The timeline with attempts marked; empty where there is none."""
    whole = sum(segment.ms for segment in view.timeline)
    if not whole:
        return ""
    height = _TOP + _BAND + _AXIS
    label = f"What most workers did over {words.duration(whole)}, {len(_attempts(view.timeline))} attempts"
    body = [*_segments(view.timeline, whole), *_marks(view.timeline, whole), *_axis(whole)]
    return _svg(label, height, body)


def shares(view: JobView) -> str:
    """One bar of all states."""
    whole = view.accounted_ms
    if not whole:
        return ""
    body, at = [], 0
    for row in view.rows:
        title = f"{row.state}: {words.seconds(row.ms)}, {words.percent(row.share)}, {row.source}"
        body.append(_rect(row.state, at / whole, row.ms / whole, 0, _BAR, title))
        at += row.ms
    return _svg("Each state's share of the whole", _BAR, body)


def _svg(label: str, height: int, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    return f'{head} aria-label="{escape(label)}">\n' + "\n".join(body) + "\n</svg>"


def _rect(state: str, start: float, share: float, top: int, height: int, title: str) -> str:
    """A part of the width from `start` on; both are shares of one."""
    place = f'x="{start * WIDTH:.2f}" y="{top}" width="{share * WIDTH:.2f}" height="{height}"'
    return f'<rect {place} fill="{look(state).colour}"><title>{escape(title)}</title></rect>'


def _segments(segments: Sequence[Segment], whole: int) -> Iterator[str]:
    for segment in segments:
        span = f"{words.seconds(segment.ms)} from {words.seconds(segment.start_ms)} on"
        title = f"{segment.state}, {span}, attempt {segment.attempt}"
        yield _rect(segment.state, segment.start_ms / whole, segment.ms / whole, _TOP, _BAND, title)


def _attempts(segments: Sequence[Segment]) -> list[Segment]:
    """The first segment of each attempt."""
    found: dict[int, Segment] = {}
    for segment in segments:
        if segment.attempt > 0:
            found.setdefault(segment.attempt, segment)
    return list(found.values())


def _marks(segments: Sequence[Segment], whole: int) -> Iterator[str]:
    """A line where each attempt begins, and its number where there is room."""
    free = 0.0
    for first in _attempts(segments):
        x = WIDTH * first.start_ms / whole
        yield f'<line x1="{x:.2f}" y1="{_TOP - 12}" x2="{x:.2f}" y2="{_TOP + _BAND}" class="mark"/>'
        text = f"attempt {first.attempt}"
        needed = 8.0 * len(text)
        if x < free:
            continue
        free = x + needed
        end = x + needed > WIDTH
        anchor, shift = ("end", -3) if end else ("start", 3)
        yield f'<text x="{x + shift:.2f}" y="{_TOP - 6}" text-anchor="{anchor}">{text}</text>'


def _axis(whole: int) -> Iterator[str]:
    step = next(
        (ms for ms in _NICE_MS if ms * _TICKS >= whole), _NICE_MS[-1] * -(-whole // _TICKS // _NICE_MS[-1])
    )
    below = _TOP + _BAND
    for at in range(0, whole + 1, step):
        x = WIDTH * at / whole
        anchor = "start" if at == 0 else "end" if x > WIDTH - 40 else "middle"
        yield f'<line x1="{x:.2f}" y1="{below}" x2="{x:.2f}" y2="{below + 5}" class="tick"/>'
        yield f'<text x="{x:.2f}" y="{below + 20}" text-anchor="{anchor}">{_clock(at)}</text>'


def _clock(ms: int) -> str:
    """Time since the job's creation: 0, 1:30, 2:00:00."""
    hours, rest = divmod(ms // 1000, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
