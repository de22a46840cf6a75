"""Watch a TrainingJob and the output of its first worker, with nothing but kubectl."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from e2e.demo_timeline import FINAL_PHASES, Mark, mark, transitions
from e2e.suites.kubectl import Kubectl, KubectlError

_POLL_SECONDS = 0.5


class JobWatch:
    """Collects a job's phases in the background until it is over; ``on_change`` hears of every change.

    Made before the job is applied, it sees the first phase too; seconds count from then.
    """

    def __init__(self, kubectl: Kubectl, job: str, on_change: Callable[[Mark], None]) -> None:
        self.marks: list[Mark] = []
        self.latest: dict[str, Any] = {}
        self._started = time.monotonic()
        self._on_change = on_change
        # A selector matches a job that is not there yet; a name would be an error.
        named = f"--field-selector=metadata.name={job}"
        command = [*kubectl.command, "get", "trainingjobs", named, "--watch", "--output=json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._collect, daemon=True).start()

    @property
    def phase(self) -> str:
        """The phase that was seen last, or an empty string."""
        return self.marks[-1].phase if self.marks else ""

    @property
    def over(self) -> bool:
        """Whether the job has succeeded or failed."""
        return self.phase in FINAL_PHASES

    @property
    def attempt(self) -> int:
        """The attempt that was seen last; 0 before the first."""
        return self.marks[-1].attempt if self.marks else 0

    def close(self) -> None:
        """Stop watching."""
        self._process.kill()
        self._process.wait()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for job in documents(self._process.stdout):
            before = len(transitions(self.marks))
            self.latest = job
            self.marks.append(mark(job, time.monotonic() - self._started))
            if len(transitions(self.marks)) > before:
                self._on_change(self.marks[-1])


class RankZeroLog:
    """The lines of the first worker's log, of whichever attempt runs."""

    def __init__(self, kubectl: Kubectl, job: str) -> None:
        self._kubectl = kubectl
        self._job = job
        self._read: dict[str, int] = {}

    def new_lines(self, attempt: int) -> list[str]:
        """Whole lines that were not returned before; none while the worker has not started."""
        pod = f"{self._job}-{attempt}-0-0"
        try:
            text = self._kubectl.logs(pod)
        except KubectlError:
            return []
        whole = text[: text.rfind("\n") + 1].splitlines()
        fresh = whole[self._read.get(pod, 0) :]
        self._read[pod] = len(whole)
        return fresh


def follow(watch: JobWatch, log: RankZeroLog, seconds: float) -> Iterator[str]:
    """The first worker's lines until the job is over; raises ``TimeoutError``."""
    deadline = time.monotonic() + seconds
    while True:
        # Looked at before the log: what was written before the end is read after it.
        over = watch.over
        yield from log.new_lines(watch.attempt)
        if over:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"the job is still {watch.phase} after {seconds:g} s: {watch.latest.get('status')}"
            )
        time.sleep(_POLL_SECONDS)


def documents(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream that ``kubectl --watch`` writes: one after the other, each indented."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line.rstrip("\n") == "}":
            yield json.loads("".join(lines))
            lines.clear()
