"""A namespace's ResourceQuotas against a whole gang, before any pod of it exists.

Free = ``status.hard`` (``spec.hard`` until the controller has written it) less ``status.used``. A gang needs, of each
resource a quota names, its pods' requests (``requests.cpu``, ``cpu``, ``requests.nvidia.com/gpu``, …), their
limits (``limits.cpu``, …) and their number (``pods``, ``count/pods``). A quota with scopes counts only pods that
match all of them; a scope not known here counts as matching, so that a gang is held back rather than begun in
part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from drumline.api.reasons import Reason
from drumline.core.gang.quantity import canonical, spell
from drumline.core.gang.types import PodShape, Refusal

Manifest = Mapping[str, Any]
Role = tuple[Manifest, PodShape, int]  # a pod as it would be created, its shape, how many of it

_PLAIN: Final = ("cpu", "memory", "ephemeral-storage")  # what a quota may name without "requests."
_COMPUTE: Final = ("cpu", "memory")


def check_quota(quotas: Iterable[Manifest], roles: Sequence[Role]) -> Refusal | None:
    """Why the gang of these roles does not fit the namespace's quotas; None when it does."""
    for quota in quotas:
        status = quota.get("status") or {}
        hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
        used = status.get("used") or {}
        matching = [role for role in roles if _in_scope(quota.get("spec") or {}, role)]
        for resource, allowed in sorted(hard.items()):
            kind = _kind(resource)
            needed = sum(_need(role, resource) * role[2] for role in matching)
            free = canonical(kind, allowed) - canonical(kind, used.get(resource, "0"))
            if needed > max(0, free):
                return _refusal(quota, resource, needed, max(0, free))
    return None


def _kind(resource: str) -> str:
    """The resource whose unit a quota's entry is in."""
    return resource.removeprefix("requests.").removeprefix("limits.")


def _need(role: Role, resource: str) -> int:
    manifest, shape, _ = role
    if resource in ("pods", "count/pods"):
        return 1
    if resource.startswith("limits."):
        return _limit(manifest, resource.removeprefix("limits."))
    if resource.startswith(("requests.", "hugepages-")) or resource in _PLAIN:
        return dict(shape.requests).get(_kind(resource), 0)
    return 0


def _limit(manifest: Manifest, resource: str) -> int:
    spec = manifest["spec"]
    ordinary = [
        *spec["containers"],
        *(c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
    ]
    once = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") != "Always"]
    together = sum(_limit_of(c, resource) for c in ordinary)
    return max([together, *(_limit_of(c, resource) for c in once)])


def _limit_of(container: Manifest, resource: str) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return canonical(resource, limits[resource]) if resource in limits else 0


def _in_scope(spec: Manifest, role: Role) -> bool:
    expressions = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    plain = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    return all(_matches(e, role) for e in (*plain, *expressions))


def _matches(expression: Manifest, role: Role) -> bool:
    pod = role[0]["spec"]
    match expression.get("scopeName"):
        case "Terminating":
            return pod.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return pod.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _best_effort(role)
        case "NotBestEffort":
            return not _best_effort(role)
        case "PriorityClass":
            return _class_matches(expression, pod.get("priorityClassName"))
        case _:
            return True


def _best_effort(role: Role) -> bool:
    pod = role[0]["spec"]
    containers = [*pod["containers"], *(pod.get("initContainers") or ())]
    named = {
        r
        for c in containers
        for part in (c.get("resources") or {}).values()
        if isinstance(part, Mapping)
        for r in part
    }
    return not named.intersection(_COMPUTE)


def _class_matches(expression: Manifest, name: str | None) -> bool:
    values = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return name is None
        case _:
            return name is not None


def _refusal(quota: Manifest, resource: str, needed: int, free: int) -> Refusal:
    name, kind = quota["metadata"]["name"], _kind(resource)
    asked, left = spell(kind, needed), spell(kind, free)
    text = f"quota {name} of the namespace: {resource}: the gang needs {asked}, {left} are free"
    return Refusal(Reason.NAMESPACE_QUOTA, text)
