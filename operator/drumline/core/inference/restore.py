"""Going back to an earlier revision: its pods with everything else as the spec has it now.

A revision is what pods are made from (see `render_revision`). Numbers of groups, autoscaling, rollout, drain, routing and
the like are not part of it and stay. A role of today is taken over under its name; one that only the revision has comes
back as it was then; one that only the spec has goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drumline.api.inference import InferenceRoleSpec, InferenceServiceSpec

_OF_SERVICE: Final = ("engine", "model", "profile", "speculative", "kv_transfer", "priority_class_name")
_OF_ROLE: Final = ("group_size", "accelerator", "template", "leader_template", "port", "parallelism")


def restored(now: InferenceServiceSpec, then: InferenceServiceSpec) -> InferenceServiceSpec:
    """The spec `now` with the pods of `then`."""
    known = {role.name: role for role in now.roles}
    roles = tuple(_role(known[role.name], role) if role.name in known else role for role in then.roles)
    return now.model_copy(update={**{name: getattr(then, name) for name in _OF_SERVICE}, "roles": roles})


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes `after` of `before`; empty when they are one. Lists go as a whole."""
    found: dict[str, Any] = {}
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found[key] = merge_patch(old, new)
        else:
            found[key] = new
    return found


def _role(now: InferenceRoleSpec, then: InferenceRoleSpec) -> InferenceRoleSpec:
    same = [v.accelerator for v in now.variants] == [v.accelerator for v in then.variants]
    variants = now.variants if same else then.variants
    return now.model_copy(update={**{name: getattr(then, name) for name in _OF_ROLE}, "variants": variants})
