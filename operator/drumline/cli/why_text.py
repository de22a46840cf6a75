"""``kubectl drumline why`` as one screen of text, and as data for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from drumline.api.status import AttemptStatus, Avoidance
from drumline.cli import goodput_words as words
from drumline.cli.goodput_text import ASCII
from drumline.cli.terminal import Terminal, table
from drumline.cli.why_view import BudgetView, WhyView, last_lines, ran_seconds, summary
from drumline.core.training.way_back import way_back

_INDENT: Final = "  "
_LINES: Final = 6  # of what a container said last, for each attempt
_NODES: Final = 8
_AVOIDED: Final = {
    Avoidance.IF_POSSIBLE: "while another is free",
    Avoidance.IF_EVER_POSSIBLE: "unless nothing else could ever do",
    Avoidance.ALWAYS: "always",
}
_TOLD: Final = 3  # attempts told at length; a screen has an end


def screen(view: WhyView, terminal: Terminal) -> str:
    """Everything on one screen."""
    parts = (
        _head(view, terminal),
        _attempts(view),
        _stories(view, terminal),
        _budgets(view),
        _avoided(view),
        _events(view, terminal),
    )
    text = "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"
    return text if terminal.unicode else text.translate(ASCII)


def _head(view: WhyView, terminal: Terminal) -> Iterator[str]:
    status = view.status
    running = status.attempts[-1].label if status.attempts else str(status.attempt)
    yield f"{view.namespace}/{view.name}: {status.phase or 'no phase'}, attempt {running}"
    if view.verdict is not None:
        yield from _wrapped(f"{view.verdict.reason}: {view.verdict.message}", terminal)
    yield from _wrapped(f"Next: {view.next}", terminal)


def _attempts(view: WhyView) -> Iterator[str]:
    if not view.status.attempts:
        return
    header = ["ATTEMPT", "BEGAN", "RAN", "CAUSE", "ACTION", "RANK", "EXIT", "LOST STEPS", "NODE"]
    yield from table(header, [_cells(view, a) for a in view.status.attempts], right=(0, 2, 5, 6, 7))


def _cells(view: WhyView, attempt: AttemptStatus) -> list[str]:
    return [
        attempt.label,
        attempt.started_at,
        words.duration(1000 * ran_seconds(attempt, view.now)),
        words.outcome(attempt, view.status),
        attempt.action or "-",
        "-" if attempt.rank is None else str(attempt.rank),
        "-" if attempt.exit_code is None else str(attempt.exit_code),
        "-" if attempt.lost_steps is None else str(attempt.lost_steps),
        attempt.node or "-",  # last, as it may be long
    ]


def _stories(view: WhyView, terminal: Terminal) -> Iterator[str]:
    """The latest attempts: what ended each, its last words, and how long the way to it was."""
    for attempt in view.status.attempts[-_TOLD:]:
        if attempt.recovery:
            way = f"Way back to attempt {attempt.label}: {words.recovery(attempt, view.status)}"
            yield from _wrapped(way, terminal)
        if attempt.message:
            yield from _wrapped(f"Attempt {attempt.label}: {_summary(attempt)}", terminal)
            if attempt.slow_nodes:
                yield f"{_INDENT}its workers on {', '.join(attempt.slow_nodes)} held up the others for long"
            yield from (f"{_INDENT}| {_cut(line, terminal)}" for line in last_lines(attempt)[-_LINES:])


def _summary(attempt: AttemptStatus) -> str:
    said, detected = summary(attempt), words.detected(attempt)
    return f"{said}; {detected}" if detected else said


def _budgets(view: WhyView) -> Iterator[str]:
    rows = [[f"{_INDENT}{b.name}", str(b.used), *_allowed(b)] for b in view.budgets]
    yield from table(["RESTARTS", "SPENT", "ALLOWED", "LEFT"], rows, right=(1, 2, 3))


def _allowed(budget: BudgetView) -> tuple[str, str]:
    if budget.allowed is None:
        return "no limit", "-"
    window = f" in {budget.window_seconds} s" if budget.window_seconds is not None else ""
    return f"{budget.allowed}{window}", str(budget.left)


def _avoided(view: WhyView) -> Iterator[str]:
    if view.status.excluded_nodes:
        rows = [
            [f"{_INDENT}{n.name}", n.cause or "-", _AVOIDED[n.avoid], n.until]
            for n in view.status.excluded_nodes[-_NODES:]
        ]
        yield from table(["NODE AVOIDED", "CAUSE", "HOW", "UNTIL"], rows)


def _events(view: WhyView, terminal: Terminal) -> Iterator[str]:
    if view.events:
        yield "EVENTS"
    for event in view.events:
        times = f" (×{event.count})" if event.count > 1 else ""
        yield _cut(f"{_INDENT}{event.at} {event.type} {event.reason}{times}: {event.message}", terminal)


def _wrapped(text: str, terminal: Terminal) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), terminal.width, subsequent_indent=_INDENT)


def _cut(line: str, terminal: Terminal) -> str:
    line = line.replace("\n", " ")
    room = terminal.width - 2 * len(_INDENT)
    return line if len(line) <= room else f"{line[: room - 3]}..."


def raw(view: WhyView) -> dict[str, Any]:
    """For programs: what the status says, and what follows from it."""
    status = view.status
    attempts = [
        {
            **a.to_json(),
            "ranSeconds": ran_seconds(a, view.now),
            "wayBackSeconds": {phase: ms / 1000 for phase, ms in way_back(status.attempts, a).items()},
            "lastLines": last_lines(a),
        }
        for a in status.attempts
    ]
    budgets = [
        {
            "name": b.name,
            "used": b.used,
            "allowed": b.allowed,
            "windowSeconds": b.window_seconds,
            "left": b.left,
        }
        for b in view.budgets
    ]
    return {
        "namespace": view.namespace,
        "name": view.name,
        "phase": status.phase,
        "attempt": status.attempt,
        "epoch": status.epoch,
        "reason": view.verdict.reason if view.verdict else None,
        "message": view.verdict.message if view.verdict else None,
        "next": view.next,
        "nextAttemptAt": status.next_attempt_at,
        "attempts": attempts,
        "budgets": budgets,
        "order": status.order.to_json() if status.order is not None else None,
        "excludedNodes": [n.to_json() for n in status.excluded_nodes],
        "events": [
            {"at": e.at, "type": e.type, "reason": e.reason, "message": e.message, "count": e.count}
            for e in view.events
        ],
    }
