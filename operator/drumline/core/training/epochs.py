"""Restart in place: when it may be, and how far the gang is.

A new epoch begins when its entry is in the status: launchers end what still runs of the epoch before and hold. When
every worker's launcher holds at the new epoch, and the delay is over, all start together; the epoch is ready when all
run. Nothing of that is remembered: each decision reads it off the status and off what the launchers say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from drumline.api.orders import ProcessState
from drumline.api.reasons import Cause
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.clock import unix
from drumline.core.gang.crew import Process
from drumline.core.gang.types import PodPhase
from drumline.core.training.attempts import ran_stably
from drumline.core.training.departing import departing
from drumline.core.training.dependencies import not_due
from drumline.core.training.progress_render import barrier_refusal
from drumline.core.training.rendering import reporting
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of

# What new processes in the same pods may cure; what is wrong with a node or a device they don't.
CURABLE: Final = frozenset({Cause.APPLICATION_EXIT, Cause.OUT_OF_MEMORY, Cause.HANG})
MAX_UNSTABLE: Final = 3  # restarts in place in a row that did not last; then new pods
BARRIER_SECONDS: Final = 30.0  # for a launcher to say that it holds, beyond what its process has to end
DEFAULT_GRACE: Final = 30.0  # of Kubernetes
MARGIN: Final = 2.0  # for a launcher to clean up after its process
SHORTEST_GRACE: Final = 1.0


def grace_seconds(spec: TrainingJobSpec) -> float:
    """How long a process has between SIGTERM and SIGKILL: at most what its pod would have, less a margin."""
    given = spec.template["spec"].get("terminationGracePeriodSeconds")
    whole = float(given) if isinstance(given, int | float) else DEFAULT_GRACE
    return max(SHORTEST_GRACE, min(whole, DEFAULT_GRACE) - MARGIN)


def refusal(view: View, index: int) -> str:
    """Why the gang can't restart in place after a failure of the pod at `index`; "" when it can."""
    if index >= view.roster.workers:
        return "a helper has no launcher"
    why = barrier_refusal(view.spec, reporting(view.obs.settings))
    if why:
        return why
    done = min((i for i in view.succeeded() if i < view.roster.workers), default=None)
    if done is not None:
        return f"rank {done} has succeeded already"
    if _unstable(view) >= MAX_UNSTABLE:
        return f"{MAX_UNSTABLE} restarts in place in a row did not last"
    return _absent_pod(view) or _bad_node(view)


def _absent_pod(view: View) -> str:
    current = view.current()
    spared = not_due(view, current) | view.succeeded()
    for index in range(view.roster.size):
        pod = current.get(index)
        if index not in spared and (pod is None or pod.deleting or pod.phase is not PodPhase.RUNNING):
            return f"pod {view.roster.name_of(index, view.status.attempt)} does not run"
    return ""


def _bad_node(view: View) -> str:
    nodes = nodes_of(view.obs)[: view.roster.size]
    bad = next((node for node in nodes if node in view.obs.unhealthy), "")
    if bad:
        return f"node {bad} is gone, not ready or cordoned"
    going = departing(view)
    leaves = next((node for node in nodes if node in going), "")
    return f"node {leaves} is about to go ({going[leaves].why})" if leaves else ""


def _unstable(view: View) -> int:
    """Epochs in a row that began in place and did not run stably, the running one included."""
    count, backoff = 0, view.spec.failure_policy.backoff
    for entry in reversed(view.status.attempts):
        until = unix(entry.finished_at, view.now)
        if entry.attempt != view.status.attempt or not entry.epoch or ran_stably(entry, backoff, until):
            break
        count += 1
    return count


def restarting(view: View) -> bool:
    """Whether the running epoch began in place and its processes do not all run yet."""
    return view.live and view.status.attempts[-1].epoch > 0 and view.status.attempts[-1].ready_at is None


def awaited(view: View) -> list[int]:
    """Workers that have not succeeded, by index."""
    done = view.succeeded()
    return [i for i in range(view.roster.workers) if i not in done]


def not_in(view: View, states: Iterable[ProcessState]) -> list[int]:
    """Workers whose launcher does not say that it is at the running epoch, in one of `states`."""
    wanted = frozenset(states)
    return [i for i in awaited(view) if not _is_at(view.obs.crew.get(i), view.status.epoch, wanted)]


def _is_at(process: Process | None, epoch: int, states: frozenset[ProcessState]) -> bool:
    return process is not None and process.epoch == epoch and process.state in states


AT_BARRIER: Final = (ProcessState.HELD, ProcessState.RUNNING)
