"""Failures that no restart cures, and what to change.

Only for what the user's rules and budgets say nothing of. A job that has run stably with this very template had
its command and its configuration: then something around it went, and it is tried again. Memory is given up on when
the same place of the gang ran out of it twice in a row, neither time after a stable run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.meta import ROLE_WORKER
from drumline.api.reasons import Cause, Reason
from drumline.api.status import AttemptStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.failure_table import COMMAND_NOT_FOUND, CONFIG_MISSING, IMAGE_WAITS, VOLUME_WAITS
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training.attempts import ran_stably
from drumline.core.training.view import View

_NO_SUCH_FILE: Final = ("executable file not found", "no such file or directory", "permission denied")


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Why it is given up, and advice."""

    reason: Reason
    advice: str


def hopeless(view: View, index: int, cause: Cause, pod: Pod | None) -> Hopeless | None:
    """Why the running attempt's failure can't be cured by another; None when another may do better."""
    if pod is None or view.spec.failure_policy.budget_of(cause) is not None:
        return None
    match cause:
        case Cause.OUT_OF_MEMORY:
            return _memory(view, index, pod)
        case Cause.IMAGE_ERROR:
            return _image(view, index, pod)
        case Cause.CONFIG_ERROR:
            return None if _has_run(view) else _volume(view, index, pod) or _config(pod)
        case _:
            return None


def _has_run(view: View) -> bool:
    """Whether an attempt that is kept ran stably."""
    backoff = view.spec.failure_policy.backoff
    *earlier, last = view.status.attempts
    ends = [(a, unix(a.finished_at)) for a in earlier] + [(last, view.now)]
    return any(ran_stably(attempt, backoff, until) for attempt, until in ends)


def _memory(view: View, index: int, pod: Pod) -> Hopeless | None:
    last = view.status.attempts[-1]
    before = _failure_before(view)
    if before is None or before.cause != Cause.OUT_OF_MEMORY:
        return None
    if before.pod != view.roster.name_of(index, before.attempt):
        return None
    if ran_stably(last, view.spec.failure_policy.backoff, view.now):
        return None
    container = pod.termination.container if pod.termination is not None else ""
    limits, requests = _resources(view, pod, container)
    limit, request = limits.get("memory"), requests.get("memory")
    has = f"its memory limit is {limit}" if limit else "it has no memory limit, so the node had no more"
    asks = f"its request {request}" if request else "it requests none"
    return Hopeless(
        Reason.OUT_OF_MEMORY_AGAIN,
        f"{_place(view, index)} ran out of memory in attempts {before.label} and {last.label}: {has}, {asks}. "
        f"Raise resources.limits.memory and requests.memory of container {container}, or make it use less host "
        "memory",
    )


def _failure_before(view: View) -> AttemptStatus | None:
    """The attempt that failed before the running one, timeouts left out; None after one that was stopped."""
    earlier = (a for a in reversed(view.status.attempts[:-1]) if a.cause != Cause.GANG_TIMEOUT)
    found = next(earlier, None)
    return found if found is not None and found.cause is not None else None


def _place(view: View, index: int) -> str:
    if index < view.roster.workers:
        where, worker = divmod(index, view.roster.workers_per_slice)
        return f"rank {index} (slice {where}, worker {worker})"
    return view.roster.hostname_of(index)


def _resources(view: View, pod: Pod, container: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Limits and requests of a container of the template."""
    role = pod.member.role if pod.member is not None else ROLE_WORKER
    templates = {h.name: h.template for h in view.spec.helpers}
    spec = templates.get(role, view.spec.template)["spec"]
    found = [
        c for k in ("containers", "initContainers") for c in spec.get(k) or () if c.get("name") == container
    ]
    resources = found[0].get("resources") or {} if found else {}
    return resources.get("limits") or {}, resources.get("requests") or {}


def _image(view: View, index: int, pod: Pod) -> Hopeless | None:
    if pod.waiting not in IMAGE_WAITS or others_have_it(view, index, pod):
        return None
    advice = "Check its name and tag, that it has been pushed, and imagePullSecrets"
    if pod.waiting == "InvalidImageName":
        advice = "Correct the name in spec.template: registry/name:tag, in lower case"
    return Hopeless(Reason.IMAGE_UNAVAILABLE, advice)


def others_have_it(view: View, index: int, pod: Pod) -> bool:
    """Whether another pod of the same role has started, so that the image is there and the node at fault."""
    return any(
        other.phase in (PodPhase.RUNNING, PodPhase.SUCCEEDED, PodPhase.FAILED)
        for i, other in view.current().items()
        if i != index and other.member is not None and pod.member is not None
        if other.member.role == pod.member.role
    )


def _volume(view: View, index: int, pod: Pod) -> Hopeless | None:
    if pod.waiting not in VOLUME_WAITS or others_have_it(view, index, pod):
        return None
    return Hopeless(
        Reason.VOLUME_UNAVAILABLE,
        "Check that what the volume names is there: a Secret, a ConfigMap, a claim, a path, a file server",
    )


def _config(pod: Pod) -> Hopeless | None:
    end = pod.termination
    if pod.waiting == CONFIG_MISSING:
        return Hopeless(
            Reason.CONFIG_MISSING,
            "Create the Secret or ConfigMap, with the key, that the template names, or mark it optional",
        )
    text = end.message.lower() if end is not None else ""
    if end is not None and (end.exit_code == COMMAND_NOT_FOUND or any(t in text for t in _NO_SUCH_FILE)):
        return Hopeless(
            Reason.COMMAND_NOT_FOUND,
            f"The command of container {end.container} is not in its image: check command, args and PATH, and that "
            "the file is executable",
        )
    return None
