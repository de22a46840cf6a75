"""The names of all groups resolve to the pods of their running attempts, and to nothing else.

One headless Service has the names of every pod of the service. Between two attempts of a group its names are
emptied before any pod of the next one exists: a worker must never meet a pod of a dead attempt under a name of its
own group. The leader of each group of several pods is published at once, the rest at the pace of `plan_discovery`.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.discovery import Endpoint, plan_discovery
from drumline.core.gang.types import Pod
from drumline.core.inference import names
from drumline.core.inference.groups import every, live
from drumline.core.inference.view import View

LEADER = 0


def discovery(view: View) -> View:
    """Publish the addresses of the running attempts."""
    endpoints: list[Endpoint] = []
    coming: list[int] = []
    firsts: list[int] = []
    for role, group in every(view):
        pods = view.pods(role, group) if live(group) else {}
        size = len(group.nodes) if live(group) else 1
        if size > 1 or not live(group):
            firsts.append(len(endpoints))
        for worker in range(size):
            if _is_coming(pods.get(worker)):
                coming.append(len(endpoints))
            endpoints.append(_endpoint(view, role, group, worker, pods.get(worker)))
    if not any(e.ips for e in endpoints):
        endpoints, firsts = [], []
    if not (any(live(g) for _, g in every(view)) or view.obs.discovery.published):
        return view
    actions, wait = plan_discovery(
        view.owner,
        names.peers(view.obs.service.name),
        endpoints,
        view.obs.discovery,
        view.now,
        mode=view.obs.settings.discovery,
        coming=coming,
        firsts=firsts,
    )
    return view.act(*actions).again_in(wait)


def _endpoint(view: View, role: str, group: GroupStatus, worker: int, pod: Pod | None) -> Endpoint:
    host = names.hostname(view.obs.service.name, role, group.id, worker)
    return Endpoint(host, () if pod is None or pod.terminal or pod.deleting else pod.ips)


def _is_coming(pod: Pod | None) -> bool:
    return pod is not None and not (pod.ips or pod.terminal or pod.deleting)
