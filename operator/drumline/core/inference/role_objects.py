"""The InferenceRoles of a service: created, kept at the number of groups, told how many there are.

`spec.replicas` belongs to whoever scales the role: with the mode External it is never written after the creation. Else
it shows, and remembers over a restart of the operator, what the role should have. A suspended service keeps it.
"""

from __future__ import annotations

from drumline.api.inference import InferenceRoleSpec
from drumline.api.inference_scaling import ScalingMode
from drumline.core.gang.plan import Action, Create, Delete, Patch
from drumline.core.inference import names
from drumline.core.inference.children import leader_selector, role_manifest
from drumline.core.inference.scale import beginning, bounded, desired
from drumline.core.inference.view import View, in_service, is_going


def kept(view: View) -> View:
    """Each role has its InferenceRole; that of a role the spec has no more goes with its last group."""
    known = view.obs.role_children
    actions = [a for role in view.spec.roles for a in _of(view, role)]
    named = {r.name for r in view.spec.roles}
    service = view.obs.service
    actions += [
        Delete("inferenceroles", service.namespace, names.base(service.name, role), child.uid)
        for role, child in sorted(known.items())
        if role not in named and not view.groups(role)
    ]
    return view.act(*actions)


def _of(view: View, role: InferenceRoleSpec) -> list[Action]:
    child = view.obs.role_children.get(role.name)
    if child is None:
        return [Create("inferenceroles", role_manifest(view.owner, role.name, _first(view, role)))]
    namespace, name = view.obs.service.namespace, names.base(view.obs.service.name, role.name)
    actions: list[Action] = []
    external = role.autoscaling is not None and role.autoscaling.mode is ScalingMode.EXTERNAL
    wanted = desired(view, role.name)
    if not external and not view.spec.suspend and child.replicas != wanted:
        actions.append(Patch("inferenceroles", namespace, name, child.uid, {"spec": {"replicas": wanted}}))
    status = _status(view, role.name)
    if any(child.status.get(key) != value for key, value in status.items()):
        actions.append(Patch("inferenceroles", namespace, name, child.uid, {"status": status}, "status"))
    return actions


def _first(view: View, role: InferenceRoleSpec) -> int:
    """The number to begin with."""
    scaling = role.autoscaling
    if scaling is None:
        return role.replicas
    begin = beginning(view, role)
    return begin if scaling.mode is ScalingMode.EXTERNAL else bounded(begin, scaling)


def _status(view: View, role: str) -> dict[str, object]:
    staying = [g for g in view.groups(role) if not is_going(g)]
    return {
        "replicas": len(staying),
        "readyReplicas": sum(1 for g in staying if in_service(g)),
        "selector": leader_selector(view.owner, role),
    }
