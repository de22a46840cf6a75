"""Which nodes a group is to leave though they are well: those that are being emptied.

    cordoned         somebody drains it, or is about to
    NoExecute taint  that the group's pods don't tolerate, or for some seconds only: the taint manager ends them, asks
                     no disruption budget, and may be ahead of us by so many seconds only
    `EMPTYING`       taints, of whatever effect, by which autoscalers say that they are about to evict its pods

Any other NoSchedule taint keeps new pods away and leaves those that are there in peace; but a group that failed can't
begin there again (`barred`). That a node is not ready or unreachable is the failure policy's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.feasibility import tolerates
from drumline.core.gang.types import Taint, Toleration
from drumline.core.inference.render import group_request
from drumline.core.inference.view import View

EMPTYING: Final = frozenset(
    {
        "karpenter.sh/disrupted",
        "ToBeDeletedByClusterAutoscaler",
        "cloud.google.com/impending-node-termination",
    }
)
LOST: Final = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})


def leaving(view: View, role: str, group: GroupStatus) -> dict[str, str]:
    """Node → why the group is to leave it; of those that are there and ready."""
    nodes = nodes_of(view, role, group) - view.obs.lost
    found = dict.fromkeys(nodes & view.obs.cordoned, "is cordoned")
    tainted = _tainted(view, role, group, nodes - found.keys(), _evicts)
    return found | {node: f"has the taint {_text(taint)}" for node, taint in tainted.items()}


def barred(view: View, role: str, group: GroupStatus) -> frozenset[str]:
    """The group's nodes on which its pods can't begin again for a taint."""
    return frozenset(_tainted(view, role, group, frozenset(group.nodes), _bars))


def nodes_of(view: View, role: str, group: GroupStatus) -> frozenset[str]:
    """Where the group was placed, and, unpinned, where its pods are."""
    pods = view.pods(role, group).values()
    return frozenset({*group.nodes, *(p.node for p in pods if not p.terminal)} - {""})


def _tainted(
    view: View,
    role: str,
    group: GroupStatus,
    nodes: frozenset[str],
    hits: Callable[[Taint, Iterable[Toleration]], bool],
) -> dict[str, Taint]:
    """Node → a taint of it that counts. What the pods tolerate is worked out only where there is any."""
    some = {node: view.obs.tainted[node] for node in sorted(nodes) if node in view.obs.tainted}
    tolerations = _tolerations(view, role, group) if some else ()
    found = {node: next((t for t in taints if hits(t, tolerations)), None) for node, taints in some.items()}
    return {node: taint for node, taint in found.items() if taint is not None}


def _evicts(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    if taint.key in LOST or not (taint.effect == "NoExecute" or taint.key in EMPTYING):
        return False
    return not any(tolerates(t, taint) and t.seconds is None for t in tolerations)


def _bars(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    return taint.effect != "PreferNoSchedule" and not any(tolerates(t, taint) for t in tolerations)


def _tolerations(view: View, role: str, group: GroupStatus) -> tuple[Toleration, ...]:
    """None where the group's revision, or what the catalogue must know of it, is not to be had any more."""
    spec = view.spec_of(group)
    if spec is None:
        return ()
    try:
        service, catalog, settings = view.obs.service, view.obs.catalog, view.obs.settings
        request = group_request(service, spec, role, group, catalog, queued_at=0.0, settings=settings)
    except (KeyError, IndexError, ValueError):
        return ()
    return request.worker.tolerations


def _text(taint: Taint) -> str:
    return f"{taint.key}{'=' if taint.value else ''}{taint.value}:{taint.effect}"
