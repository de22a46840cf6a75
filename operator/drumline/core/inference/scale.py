"""How many groups a role should have.

    suspended, or no such role in the spec     0
    no autoscaling                             spec.roles[].replicas
    External                                   the InferenceRole's spec.replicas, at most maxReplicas
    Builtin                                    the autoscaler's word, within minReplicas and maxReplicas;
                                               until it speaks, and after somebody else has changed it,
                                               what the InferenceRole has

The InferenceRole keeps the number over a restart of the operator. Before there is one, `replicas` of the spec is
the number to begin with; where somebody deleted it, the number is the one that the status has.
"""

from __future__ import annotations

from drumline.api.inference import InferenceRoleSpec
from drumline.api.inference_scaling import Autoscaling, ScalingMode
from drumline.core.inference.observation import RoleChild
from drumline.core.inference.signals import Scaling
from drumline.core.inference.view import View


def role_spec(view: View, role: str) -> InferenceRoleSpec | None:
    """The role as the spec has it now; None when it has none of that name."""
    return next((r for r in view.spec.roles if r.name == role), None)


def desired(view: View, role: str) -> int:
    """Groups that the role should have; those of a rollout or an evacuation come on top."""
    found = role_spec(view, role)
    if found is None or view.spec.suspend:
        return 0
    if found.autoscaling is None:
        return found.replicas
    child = view.obs.role_children.get(role)
    begin = child.replicas if child is not None else beginning(view, found)
    if found.autoscaling.mode is ScalingMode.EXTERNAL:
        return min(begin, found.autoscaling.max_replicas)
    word = view.obs.signals.scaling.get(role)
    if word is None or _overruled(word, child):
        return bounded(begin, found.autoscaling)
    return bounded(word.desired, found.autoscaling)


def _overruled(word: Scaling, child: RoleChild | None) -> bool:
    """Whether the number was set from outside since the autoscaler spoke, be it to the one that it found."""
    if child is None or word.seen is None or child.replicas == word.desired:
        return False
    return (child.replicas, child.generation) != (word.seen, word.generation)


def beginning(view: View, role: InferenceRoleSpec) -> int:
    """The number of a role that has no InferenceRole; one that has groups has had one."""
    known = next((r for r in view.obs.status.roles if r.name == role.name), None)
    return known.desired if known is not None and known.groups and known.desired else role.replicas


def bounded(replicas: int, rules: Autoscaling) -> int:
    """The number within the role's bounds."""
    return max(rules.min_replicas, min(replicas, rules.max_replicas))
