"""The built-in autoscaler's word on every role of a service, from one observation of it.

`current` of a role is what its InferenceRole has: a number that a person or another controller has set there counts
from then on, until the load says otherwise, as with a HorizontalPodAutoscaler. So `kubectl scale` wakes a role that
was scaled to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec
from drumline.api.inference_scaling import ScalingMode
from drumline.api.inference_status import GroupStatus
from drumline.core.inference.autoscale import GroupLoad, RoleLoad, recommend
from drumline.core.inference.autoscale_limits import Memory, proportioned
from drumline.core.inference.observation import Observation
from drumline.core.inference.scale import beginning
from drumline.core.inference.signals import Scaling
from drumline.core.inference.variants import of_next_group
from drumline.core.inference.view import View, in_service, is_going

Memories = Mapping[str, Memory]  # by role


def scaled_by_us(spec: InferenceServiceSpec) -> tuple[InferenceRoleSpec, ...]:
    """The roles whose number of groups is the built-in autoscaler's to say."""
    return tuple(
        r for r in spec.roles if r.autoscaling is not None and r.autoscaling.mode is ScalingMode.BUILTIN
    )


def recommend_all(
    obs: Observation, memories: Memories, now: float, held: float = 0.0
) -> tuple[Mapping[str, Scaling], Memories]:
    """What each such role should have, and what is to be remembered. `held`: requests that wait for the service."""
    spec = obs.spec
    if spec is None or spec.suspend:
        return {}, memories
    view = View(obs, now, obs.status)
    roles = {role.name: role for role in scaled_by_us(spec)}
    found: dict[str, Scaling] = {}
    kept: dict[str, Memory] = {}
    current: dict[str, int] = {role.name: _current(view, role) for role in spec.roles}
    for name, role in roles.items():
        load = RoleLoad(
            current=current[name],
            groups=tuple(_load(view, role, g) for g in view.groups(name) if not is_going(g)),
            held=held,
            new_capacity=_capacity(role, of_next_group(view, role)),
        )
        found[name], kept[name] = recommend(role, spec.slo, load, memories.get(name, Memory()), now)
    whole = proportioned(roles, found, current)
    said = {
        name: replace(word, seen=current[name], generation=_generation(view, name))
        for name, word in whole.items()
    }
    return said, kept


def _current(view: View, role: InferenceRoleSpec) -> int:
    child = view.obs.role_children.get(role.name)
    return child.replicas if child is not None else beginning(view, role)


def _generation(view: View, role: str) -> int:
    child = view.obs.role_children.get(role)
    return child.generation if child is not None else 0


def _load(view: View, role: InferenceRoleSpec, group: GroupStatus) -> GroupLoad:
    signals = view.obs.signals.of(role.name, group.id)
    return GroupLoad(_capacity(role, group.variant), in_service(group), signals)


def _capacity(role: InferenceRoleSpec, variant: int) -> float:
    """Of a variant the role may have had under another revision, that of its own accelerator."""
    return role.variants[variant - 1].capacity if 0 < variant <= len(role.variants) else 1.0
