"""The gang's names resolve to the pods of the running attempt, and to nothing else.

Between two attempts the set is emptied, before any pod of the next one exists: a worker must never meet a
pod of a dead attempt under a name of its own gang.
"""

from __future__ import annotations

from collections.abc import Mapping

from drumline.core.gang.discovery import Endpoint, plan_discovery
from drumline.core.gang.types import Pod
from drumline.core.training.view import View, owner_of


def discovery(view: View) -> View:
    """Publish the addresses of the running attempt."""
    return publish(view, view.current() if view.live else {})


def publish(view: View, pods: Mapping[int, Pod]) -> View:
    """Publish exactly these members (by index); an empty mapping empties the set."""
    if view.obs.roster is None or (not pods and not view.live and not view.obs.discovery.published):
        return view
    endpoints = [
        Endpoint(view.roster.hostname_of(index), _addresses(pods.get(index)))
        for index in range(view.roster.size)
    ]
    if not any(e.ips for e in endpoints):
        endpoints = []
    job = view.obs.job
    actions, wait = plan_discovery(
        owner_of(job),
        job.name,
        endpoints,
        view.obs.discovery,
        view.now,
        mode=view.obs.settings.discovery,
        coming=[index for index, pod in pods.items() if _is_coming(pod)],
    )
    return view.act(*actions).again_in(wait)


def _is_coming(pod: Pod) -> bool:
    return not (pod.ips or pod.terminal or pod.deleting)


def _addresses(pod: Pod | None) -> tuple[str, ...]:
    return () if pod is None or pod.terminal or pod.deleting else pod.ips
