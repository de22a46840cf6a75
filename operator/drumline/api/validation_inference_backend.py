"""Whether the backend that a service names can do what the service asks for. What the cluster has is not looked at here."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.backend import Backend
from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec, Profile, StartPolicy
from drumline.api.inference_shape import counts_of
from drumline.api.parallelism import ScaleUp
from drumline.api.training import PlacementPolicyType
from drumline.api.validation_backend import own_queue_errors


def backend_errors(spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[FieldError]:
    """Errors of whatever stands beside `spec.scheduling.backend`."""
    backend = spec.scheduling.backend
    yield from own_queue_errors(backend, spec.scheduling.backend_queue)
    if backend is None or backend is Backend.BUILTIN:
        return
    if spec.profile is Profile.EDGE:
        text = f"given {backend} with profile edge; allowed: absent or builtin, as nobody admits its pods"
        yield FieldError("spec.scheduling.backend", text)
        return
    for field, why in unsupported(spec, catalog):
        allowed = f"allowed: only with spec.scheduling.backend builtin, as {why}"
        yield FieldError(f"spec.{field}", f"given with spec.scheduling.backend {backend}; {allowed}")


def unsupported(spec: InferenceServiceSpec, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Fields of a spec that only this operator's own admission can do, and why."""
    if spec.scheduling.together is not None:
        yield "scheduling.together", "no other backend knows where the other roles' groups are"
    required = spec.scheduling.placement.policy is PlacementPolicyType.REQUIRED
    for index, role in enumerate(spec.roles):
        path = f"roles[{index}]"
        if role.variants:
            yield f"{path}.variants", "no other backend says that there is no room"
        if role.start_policy is StartPolicy.LEADER_FIRST and _several(role, catalog):
            yield f"{path}.startPolicy", "other backends wait for all pods of a group before they let in any"
        if not required and _keeps_pods_together(role, catalog):
            why = (
                "no other backend keeps parts of a group together; scaleUp: Preferred, or scheduling.placement with "
                "policy Required, goes without that"
            )
            yield f"{path}.parallelism.scaleUp", why


def _several(role: InferenceRoleSpec, catalog: Catalog) -> bool:
    counts = counts_of(role, role.accelerator, catalog)
    return counts is not None and counts[1] > 1


def _keeps_pods_together(role: InferenceRoleSpec, catalog: Catalog) -> bool:
    counts, mesh = counts_of(role, role.accelerator, catalog), role.parallelism
    if mesh is None or counts is None or catalog[role.accelerator.type].is_tpu:
        return False
    return mesh.scale_up is ScaleUp.REQUIRED and mesh.group > counts[0]
