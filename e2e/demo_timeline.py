"""Where a job's time went, as people see it: one row for every phase of every attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FINAL_PHASES = frozenset({"Succeeded", "Failed"})
_BAR_WIDTH = 40


@dataclass(frozen=True)
class Mark:
    """A job was first seen in ``phase`` of ``attempt`` at ``at`` seconds after it was applied."""

    at: float
    phase: str
    attempt: int


def mark(job: dict[str, Any], at: float) -> Mark:
    """What a TrainingJob, as the API server has it, says of itself; a job without a status is Created."""
    status = job.get("status") or {}
    return Mark(at, status.get("phase") or "Created", int(status.get("attempt") or 0))


def transitions(marks: Sequence[Mark]) -> list[Mark]:
    """The marks at which the phase or the attempt changed."""
    changes: list[Mark] = []
    for current in marks:
        if not changes or (changes[-1].phase, changes[-1].attempt) != (current.phase, current.attempt):
            changes.append(current)
    return changes


def table(marks: Sequence[Mark]) -> str:
    """The timeline as text; the last phase has no end, and a bar shows each share of the whole."""
    changes = transitions(marks)
    if not changes:
        return "(the job was never seen)"
    whole = changes[-1].at or 1.0
    lines = ["  at s   for s  attempt  phase"]
    for current, following in zip(changes, [*changes[1:], None], strict=True):
        start = f"{current.at:6.1f}"
        if following is None:
            lines.append(f"{start}          {current.attempt:7d}  {current.phase}")
            continue
        seconds = following.at - current.at
        bar = "#" * round(_BAR_WIDTH * seconds / whole)
        lines.append(f"{start}  {seconds:6.1f}  {current.attempt:7d}  {current.phase:<10}  {bar}".rstrip())
    return "\n".join(lines)
