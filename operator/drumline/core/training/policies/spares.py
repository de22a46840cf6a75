"""Pods for the spares of the running attempt, and the end of a spare whose pod or node is lost.

A spare's pod counts in nothing: not among the gang's, not in success or failure, not in discovery. It is created
with the attempt's other pods, as soon as its node is free of older ones. One that fails, ends, is deleted by somebody
else, is gone with its node or has one that is about to go costs the job that spare: it is on record as lost, its place is free for others, and no
other is sought until the gang is placed anew. A pod that the API server refuses for good costs no more than the pod:
the place goes on being held by the queue.
"""

from __future__ import annotations

from functools import partial

from drumline.api.meta import ROLE_SPARE
from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.charges import charged
from drumline.core.gang.lazy import Lazy
from drumline.core.gang.plan import Create, Manifest
from drumline.core.gang.types import Charge, Pod
from drumline.core.training import conditions
from drumline.core.training.departing import departing
from drumline.core.training.policies.creation import charge_of, occupied_nodes
from drumline.core.training.policies.failure import has_failed
from drumline.core.training.rendering import prepared_spares
from drumline.core.training.spares import spare_nodes, standing_by
from drumline.core.training.spares_render import PreparedSpares
from drumline.core.training.view import View, deletions


def spares(view: View) -> View:
    """Create the pods of spares that are due, and give up the spares that are lost."""
    if not view.live or view.obs.placement is None:
        return view
    pods = _pods(view)
    view = _without_lost(view, pods)
    if view.obs.spares_refused:
        return _refused(view)
    rendered = prepared_spares(view, view.status.attempt)
    if rendered is None:
        return view
    nodes, occupied = spare_nodes(view.obs), occupied_nodes(view)
    due = [
        index
        for places in standing_by(view.obs, view.status).values()
        for index in places
        if index not in pods and nodes[index] not in occupied and nodes[index] not in view.obs.unhealthy
    ]
    batch = due[: view.obs.settings.creates_per_plan]
    charge = charge_of(view, view.roster.size)
    view = view.act(*(Create("pods", Lazy(partial(_pod, rendered, i, nodes[i], charge))) for i in batch))
    return view.again_in(0.0) if len(batch) < len(due) else view


def _pod(rendered: PreparedSpares, index: int, node: str, charge: Charge | None) -> Manifest:
    return charged(rendered.pod(index, node or None), charge)


def is_spare(pod: Pod) -> bool:
    """Whether a pod holds a spare's place."""
    return pod.member is not None and pod.member.role == ROLE_SPARE


def _pods(view: View) -> dict[int, Pod]:
    """The spares' pods of the running attempt, by index."""
    ours = ((p.member, p) for p in view.obs.pods.values() if is_spare(p))
    return {m.worker: p for m, p in ours if m is not None and m.attempt == view.status.attempt}


def _without_lost(view: View, pods: dict[int, Pod]) -> View:
    """The view with what befell spares on record; what else a lost one has goes."""
    written, nodes = view.status.placement, spare_nodes(view.obs)
    if written is None:
        return view
    lost = set(written.lost_spares or ())
    for number, places in standing_by(view.obs, view.status).items():
        why = [text for i in places if (text := _trouble(view, pods.get(i), nodes[i]))]
        if why:
            lost.add(number)
            rest = [pods[i] for i in places if i in pods and not pods[i].terminal]
            view = view.event("Warning", Reason.SPARE_LOST, f"spare {number}: {why[0]}").act(*deletions(rest))
    if lost == set(written.lost_spares or ()):
        return view
    return view.with_status(placement=written.model_copy(update={"lost_spares": tuple(sorted(lost))}))


def _trouble(view: View, pod: Pod | None, node: str) -> str:
    """Why a spare's place is of no use any more; "" when it is of use."""
    if node in departing(view):
        return f"node {node} is about to go ({view.obs.departing[node].why})"
    if pod is None:
        return f"node {node} is gone, not ready or cordoned" if node in view.obs.unhealthy else ""
    if has_failed(pod):
        what = "is being deleted" if pod.deleting else "failed"
        said = pod.disruption or pod.reason
        return f"pod {pod.name} on node {node} {what}{f' ({said})' if said else ''}"
    return f"pod {pod.name} on node {node} ended" if pod.terminal else ""


def _refused(view: View) -> View:
    """Say once, in the condition that counts the spares, that they are places only."""
    known = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    text = f"; no pods for spares: {view.obs.spares_refused}"
    if known is None or known.status != "True" or text[:100] in known.message:
        return view
    view = view.condition(ConditionType.QUOTA_RESERVED, True, known.reason, f"{known.message}{text}")
    return view.event("Warning", Reason.SPARE_REFUSED, text.removeprefix("; "))
