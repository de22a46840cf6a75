"""One story, told by the demo and tested by the suites: a job runs, a worker is killed, the job completes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from e2e.demo_site import Site
from e2e.demo_timeline import Mark
from e2e.demo_watch import JobWatch, RankZeroLog, follow

_SECONDS = 600
_LOG_BYTES = 8_000
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Story:
    """How a job went: its phases, its last state, its first worker's lines, and the pod that was killed."""

    marks: list[Mark]
    job: dict[str, Any]
    lines: list[str]
    victim: str | None

    @property
    def phase(self) -> str:
        return self.marks[-1].phase if self.marks else ""

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job.get("status", {})
        return found

    @property
    def resumed_from(self) -> int | None:
        """The step that the last attempt went on from, or None when none did."""
        return self._last(r"resumed from step (\d+)", int)

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test samples in percent, or None when it was never printed."""
        return self._last(r"test accuracy ([\d.]+) %", float)

    def _last(self, pattern: str, convert: Callable[[str], _Number]) -> _Number | None:
        found = [match[1] for line in self.lines if (match := re.match(pattern, line))]
        return convert(found[-1]) if found else None


def tell(
    site: Site,
    name: str,
    apply: Callable[[], None],
    kill_at_step: int,
    later: tuple[int, Callable[[], None]] | None = None,
) -> Story:
    """Apply a job and follow it to its end; kill its second worker once, at this step.

    `later` is done once, when the job gets to that step after the kill. Raises ``TimeoutError`` with the job's status when it does not end.
    """
    watch = JobWatch(site.kubectl, name, lambda mark: site.say(_headline(mark)))
    lines: list[str] = []
    victim = None
    try:
        apply()
        for line in follow(watch, RankZeroLog(site.kubectl, name), _SECONDS):
            lines.append(line)
            if _is_worth_showing(line):
                site.say(f"    rank 0: {line}")
            if victim is None and (_step(line) or 0) >= kill_at_step:
                victim = f"{name}-{watch.attempt}-0-1"
                site.say(f"killing the process of worker {victim}")
                site.kill_worker(victim)
            elif victim is not None and later is not None and watch.attempt > 1 and _is_at(line, later[0]):
                site.say(f"step {later[0]}: {later[1].__name__.replace('_', ' ')}")
                later[1]()
                later = None
    except TimeoutError as error:
        error.add_note(f"the operator's log:\n{site.operator_log()[-_LOG_BYTES:]}")
        raise
    finally:
        watch.close()
    return Story(watch.marks, watch.latest, lines, victim)


def _headline(mark: Mark) -> str:
    attempt = f", attempt {mark.attempt}" if mark.attempt else ""
    return f"  {mark.phase}{attempt}"


def _step(line: str) -> int | None:
    found = re.match(r"step (\d+) ", line)
    return int(found[1]) if found else None


def _is_at(line: str, step: int) -> bool:
    return (_step(line) or 0) >= step


def _is_worth_showing(line: str) -> bool:
    """The program's own lines, every fiftieth step of them; libraries print others in between."""
    step = _step(line)
    return (
        step % 50 == 0 if step is not None else bool(re.match(r"resumed|test accuracy|\d+ processes", line))
    )
