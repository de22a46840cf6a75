"""A pod that can't start for want of an image, a volume, a sandbox or a configuration ends the attempt after a grace.

The kubelet goes on trying by itself, so nothing is done at first: an image may be on its way to the registry, a
Secret may be created a moment after the job. The grace begins when the operator first sees a pod wait so, and
starts over when none does; the moment is kept in the status, for a successor. A name that can't be an image's has
no grace. What follows is `recovery`'s to say: the job fails with advice, or the node is replaced when other pods
have the image.
"""

from __future__ import annotations

from typing import Final

from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.detection import Moment
from drumline.core.gang.failure_table import (
    CONFIG_MISSING,
    CONFIG_WAITS,
    IMAGE_WAITS,
    SANDBOX_WAITS,
    VOLUME_WAITS,
)
from drumline.core.gang.failures import cause_of, describe
from drumline.core.gang.types import Pod
from drumline.core.training.recovery import Ended, end_attempt
from drumline.core.training.view import View

CONFIG_GRACE: Final = 30.0  # seconds; a Secret that is applied with the job may come after it
SANDBOX_GRACE: Final = 120.0  # seconds; a node's network may still be coming up
_WAITS: Final = frozenset({*IMAGE_WAITS, *CONFIG_WAITS, *VOLUME_WAITS, *SANDBOX_WAITS})
_HOPELESS: Final = frozenset({"InvalidImageName"})


def stall(view: View) -> View:
    """End an attempt of which a pod has waited for too long."""
    if not view.live:
        return view
    waiting = {i: p for i, p in view.current().items() if _waits(p)}
    if not waiting:
        return view.with_status(stalled_since=None) if view.status.stalled_since is not None else view
    if view.status.stalled_since is None:
        view = view.with_status(stalled_since=rfc3339_millis(view.now))
    index = min(waiting, key=lambda i: (_grace(view, waiting[i]), i))
    pod = waiting[index]
    left = unix(view.status.stalled_since, view.now) + _grace(view, pod) - view.now
    if left > 0:
        return view.again_in(left)
    node = view.obs.nodes.get(pod.node)
    waits = Moment(unix(view.status.stalled_since, view.now))
    ended = Ended(cause_of(pod, node), index, describe(pod, node), pod, happened=waits)
    return end_attempt(view, ended, stall.__name__)


def _waits(pod: Pod) -> bool:
    return not pod.terminal and not pod.deleting and pod.waiting in _WAITS


def _grace(view: View, pod: Pod) -> float:
    """Seconds that a pod may wait for what it waits for."""
    if pod.waiting in _HOPELESS:
        return 0.0
    if pod.waiting == CONFIG_MISSING:
        return CONFIG_GRACE
    if pod.waiting in SANDBOX_WAITS:
        return SANDBOX_GRACE
    return float(view.spec.failure_policy.image_pull_grace_seconds)
