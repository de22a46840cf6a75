"""What a training program says of its progress. Standard library only; Python 3.9 and later.

    from drumline import worker

    worker.resumed_from(step)
    for step in range(start, steps):
        with worker.data_wait():
            batch = next(batches)
        train(batch)
        worker.report_step(step, tokens=tokens, flops=flops)
        if step % 100 == 0:
            with worker.phase("checkpoint_save"):
                save(step)
            worker.checkpoint_committed(step)  # once it is durable, if it is saved in the background

Every call is cheap, never raises and never waits for the network. Outside of Drumline, and in every process
but the first of the job, calls do nothing. See `drumline.worker.identity` for who reports.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drumline.worker.client import Reporter

__all__ = [
    "checkpoint_committed",
    "close",
    "compute",
    "data_wait",
    "phase",
    "report_step",
    "resumed_from",
]


class _Process:
    """The reporter of this process, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known = False
        self._reporter: Reporter | None = None

    def reporter(self) -> Reporter | None:
        if not self._known:
            with self._lock:
                if not self._known:
                    self._reporter = _made()
                    self._known = True
        return self._reporter


def _made() -> Reporter | None:
    try:
        from drumline.worker import client, marker  # noqa: PLC0415 -- imports of the network only where used

        reporter = client.reporter_from_environment()
        if reporter is not None:
            marker.leave()
    except Exception:  # noqa: BLE001 -- a program runs on without its reporter
        return None
    return reporter


_process = _Process()


def report_step(step: int, tokens: int = 0, flops: float = 0.0, compute_seconds: float = 0.0) -> None:
    """A step has ended. `tokens` and model `flops` are of all chips together; 0 = not known.

    `compute_seconds`: what `compute()` would measure, for a program that measures it itself.
    """
    reporter = _process.reporter()
    if reporter is not None:
        reporter.report_step(step, tokens, flops, compute_seconds)


def phase(kind: str) -> AbstractContextManager[None]:
    """What runs inside is this phase.

    Kinds: device_init, checkpoint_restore, compile, checkpoint_save, eval, data_wait. For the last three inside
    of a step, the time counts as the step's.
    """
    reporter = _process.reporter()
    return contextlib.nullcontext() if reporter is None else reporter.phase(kind)


def data_wait() -> AbstractContextManager[None]:
    """What runs inside waits for input."""
    return phase("data_wait")


def compute() -> AbstractContextManager[None]:
    """What runs inside is this worker's own work and waits for no other worker; a `data_wait` in it is left out.

    By this slow workers are found, where all report: `DRUMLINE_REPORTER=all-workers`. Work of an accelerator has to
    be waited for inside.
    """
    reporter = _process.reporter()
    return contextlib.nullcontext() if reporter is None else reporter.compute()


def checkpoint_committed(step: int) -> None:
    """A checkpoint is durable that covers every step up to `step`."""
    reporter = _process.reporter()
    if reporter is not None:
        reporter.checkpoint_committed(step)


def resumed_from(step: int) -> None:
    """Training goes on from this step: the next one is the first to run."""
    reporter = _process.reporter()
    if reporter is not None:
        reporter.resumed_from(step)


def close() -> None:
    """Send what is left, within 3 seconds. The end of the program does that by itself."""
    reporter = _process.reporter()
    if reporter is not None:
        reporter.close()
