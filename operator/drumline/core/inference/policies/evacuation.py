"""A group on a node that is being emptied (see `leaving`) is to be replaced: when that was first seen is on record.

The planner makes room for another group first and then takes this one out of service; after
`Settings.evacuate_seconds` it does so in any case. A node that is gone is the failure policy's business.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupStatus
from drumline.api.reasons import Reason
from drumline.core.gang.clock import is_ahead, rfc3339_millis, unix
from drumline.core.inference.groups import every
from drumline.core.inference.leaving import leaving
from drumline.core.inference.view import View, is_going


def evacuation(view: View) -> View:
    """Keep `evacuatingSince` of each group true to what is seen of its nodes."""
    for role, group in every(view):
        if is_going(group):
            continue
        hit = leaving(view, role, group)
        if hit and group.evacuating_since is None:
            view = _begin(view, role, group, *min(hit.items()))
        elif hit and is_ahead(group.evacuating_since, view.now):
            view = view.put(role, group.model_copy(update={"evacuating_since": rfc3339_millis(view.now)}))
            view = view.again_in(view.obs.settings.evacuate_seconds)
        elif hit:
            left = view.obs.settings.evacuate_seconds - (view.now - unix(group.evacuating_since))
            view = view.again_in(left if left > 0 else None)
        elif group.evacuating_since is not None:
            view = view.put(role, group.model_copy(update={"evacuating_since": None}))
    return view


def _begin(view: View, role: str, group: GroupStatus, node: str, why: str) -> View:
    view = view.put(role, group.model_copy(update={"evacuating_since": rfc3339_millis(view.now)}))
    view = view.again_in(view.obs.settings.evacuate_seconds)
    text = f"group {group.id} of role {role}: node {node} {why}; another group takes its place first"
    return view.event("Normal", Reason.EVACUATING, text)
