"""A second opinion on productive seconds, from logs and container times alone. Nothing of Drumline is used.

What counts, as docs/goodput.md defines it: the time of steps that were not run again, without what the first
step of an attempt takes beyond a usual one (compilation), without what blocked inside a step (saving, waiting
for input), and without what a slow step takes beyond the median + 3 · MAD of the 64 before it, once 20 are
known. A line in rank 0's log ends a step; where only every n-th step prints one, those between share the time.
An attempt's steps count up to the step that a later attempt resumed from; those of the last one all count if
it succeeded, else up to the last checkpoint that its log calls durable. Every worker of the attempt spends
that time, and only while all their containers run.

    python -m e2e.goodput_check FOLDER --job job.json     # FOLDER as e2e.goodput_record writes it
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

TOLERANCE = 0.01
_WINDOW, _KNOWN, _FACTOR = 64, 20, 3
_FINEST = 0.001  # seconds: the ledger measures no finer, so it takes no smaller MAD


@dataclass(frozen=True)
class Container:
    """One worker's container of one attempt; Unix seconds. None: not known, or still running."""

    pod: str
    attempt: int
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Lines:
    """What to look for in a log: each pattern is searched for in every line."""

    step: str = r"^step (?P<step>\d+)\b"
    resumed: str = r"^resumed from step (?P<step>\d+)"
    durable: str = r"^checkpoint (?P<step>\d+) is durable"
    blocked: str = r"\b(?:save|stall|eval)(?: blocked)? (?P<seconds>\d+(?:\.\d+)?) s\b"


@dataclass
class Row:
    """Steps `after` + 1 to `last`, which ended at `end`. The first row of an attempt has no known start."""

    after: int
    last: int
    start: float | None
    end: float
    blocked: float = 0.0

    @property
    def steps(self) -> int:
        return self.last - self.after


@dataclass
class Attempt:
    """What one attempt's log says."""

    resumed: int = 0
    durable: int = 0
    rows: list[Row] = field(default_factory=list)


def productive_seconds(
    logs: Mapping[int, str], containers: Sequence[Container], lines: Lines | None = None
) -> float:
    """Worker-seconds of steps that counted.

    `logs`: rank 0's log of each attempt, each line with its time as `kubectl logs --timestamps` writes it.
    """
    attempts = {number: read_log(text, lines or Lines()) for number, text in sorted(logs.items())}
    usual = _usual([row for attempt in attempts.values() for row in attempt.rows])
    total = 0.0
    for number, attempt in attempts.items():
        mine = [c for c in containers if c.attempt == number]
        kept = _kept(number, attempts, mine)
        own = _usual(attempt.rows) or usual
        total += len(mine) * _seconds(_within(attempt.rows, mine), own, kept)
    return total


def read_log(text: str, lines: Lines) -> Attempt:
    """The steps that a log with timestamps tells of. Lines without a time are passed over."""
    attempt = Attempt()
    blocked = 0.0
    for line in text.splitlines():
        stamp, _, said = line.partition(" ")
        at = _unix(stamp)
        if at is None:
            continue
        if found := re.search(lines.blocked, said):
            blocked += float(found["seconds"])
        if found := re.search(lines.resumed, said):
            attempt.resumed = int(found["step"])
        elif found := re.search(lines.durable, said):
            attempt.durable = int(found["step"])
        elif found := re.search(lines.step, said):
            _add(attempt, int(found["step"]), at, blocked)
            blocked = 0.0
    return attempt


def _add(attempt: Attempt, step: int, at: float, blocked: float) -> None:
    before = attempt.rows[-1] if attempt.rows else None
    after, start = (before.last, before.end) if before else (attempt.resumed, None)
    if step > after:
        attempt.rows.append(Row(after, step, start, at, blocked))


def _within(rows: Sequence[Row], containers: Sequence[Container]) -> list[Row]:
    """The rows, cut to the time in which all containers ran."""
    begin = max((c.started for c in containers if c.started is not None), default=float("-inf"))
    # Kubernetes cuts times off at the second
    stop = min((c.finished + 1 for c in containers if c.finished is not None), default=float("inf"))
    cut = []
    for row in rows:
        start = None if row.start is None else min(max(row.start, begin), stop)
        cut.append(Row(row.after, row.last, start, min(row.end, stop), row.blocked))
    return cut


def _kept(number: int, attempts: Mapping[int, Attempt], containers: Sequence[Container]) -> float:
    """The last step of an attempt that was not run again."""
    later = [attempt.resumed for n, attempt in attempts.items() if n > number]
    if later:
        return min(later)
    codes = [c.exit_code for c in containers if c.exit_code is not None]
    return float("inf") if codes and not any(codes) else attempts[number].durable


def _net(row: Row) -> float:
    """Seconds of a row with a known start, without what blocked."""
    return max(0.0, row.end - (row.end if row.start is None else row.start) - row.blocked)


def _usual(rows: Sequence[Row]) -> float:
    """Median step, seconds; 0 of none. First steps are left out: they compile."""
    times = [_net(row) / row.steps for row in rows if row.start is not None for _ in range(row.steps)]
    return statistics.median(times) if times else 0.0


def _seconds(rows: Sequence[Row], usual: float, kept: float) -> float:
    total = 0.0
    latest: list[float] = []
    for row in rows:
        share = min(max(kept - row.after, 0), row.steps) / row.steps
        if row.start is None:
            total += usual * row.steps * share
            continue
        total += min(_net(row), _limit(latest) * row.steps) * share
        latest += [_net(row) / row.steps] * row.steps
    return total


def _limit(times: Sequence[float]) -> float:
    """Beyond how many seconds a step is slow."""
    if len(times) < _KNOWN:
        return float("inf")
    latest = times[-_WINDOW:]
    median = statistics.median(latest)
    mad = statistics.median(abs(t - median) for t in latest)
    return median + _FACTOR * max(mad, _FINEST)


def _unix(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def read_folder(folder: Path) -> tuple[dict[int, str], list[Container]]:
    """Logs by attempt, and containers, of a folder that e2e.goodput_record wrote."""
    raw = json.loads((folder / "containers.json").read_text())
    containers = [
        Container(
            entry["pod"],
            int(entry["attempt"]),
            _unix(entry.get("startedAt") or ""),
            _unix(entry.get("finishedAt") or ""),
            entry.get("exitCode"),
        )
        for entry in raw
    ]
    logs = {int(path.stem): path.read_text() for path in folder.glob("*.log") if path.stem.isdecimal()}
    return logs, containers


def account(job: Mapping[str, Any]) -> float:
    """Productive worker-seconds by status.goodput of a TrainingJob, provisional ones left out. KeyError."""
    goodput = job["status"]["goodput"]
    milliseconds = sum(entry["ms"] for entry in goodput["states"] if entry["state"] == "productive")
    return float(milliseconds) / 1000 / int(goodput.get("chipsPerLane", 1))


def difference(here: float, there: float) -> float:
    """How far `there` is from `here`, relative to `here`."""
    return abs(there - here) / here if here else float(there != here)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the exit status is 1 when they differ by more than the tolerance."""
    parser = argparse.ArgumentParser(prog="python -m e2e.goodput_check", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="logs and container times")
    parser.add_argument("--job", type=Path, help="the TrainingJob as JSON, to compare with")
    for name, pattern in vars(Lines()).items():
        parser.add_argument(f"--{name}", default=pattern, help="regular expression (default: %(default)s)")
    given = parser.parse_args(arguments)
    lines = Lines(given.step, given.resumed, given.durable, given.blocked)
    mine = productive_seconds(*read_folder(given.folder), lines)
    print(f"by logs and container times: {mine:.3f} productive worker-seconds")
    if given.job is None:
        return 0
    theirs = account(json.loads(given.job.read_text()))
    off = difference(mine, theirs)
    verdict = "agrees" if off <= TOLERANCE else "DISAGREES"
    print(f"by status.goodput:           {theirs:.3f}, {100 * off:.2f} % off: {verdict}")
    return 0 if off <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
