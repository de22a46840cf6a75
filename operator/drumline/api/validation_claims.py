"""Whether a template has the claim that is to bring the accelerators, and nothing else that would bring them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.api.catalog import AcceleratorType
from drumline.api.errors import FieldError
from drumline.api.training import Accelerator
from drumline.api.wire import given

_CONTAINER_LISTS: Final = ("containers", "initContainers")


def claim_errors(
    path: str, template: Mapping[str, Any], accelerator: Accelerator, where: str, entry: AcceleratorType
) -> Iterator[FieldError]:
    """Errors of a well-formed template at `path` whose accelerator, at `where`, names a claim; none without one."""
    name = accelerator.resource_claim
    if name is None:
        return
    field, pod = f"{where}.resourceClaim", template["spec"]
    if not entry.resource:
        yield FieldError(field, f"given {name!r}; allowed: absent, {entry.key} has no chips")
    claims = {c.get("name"): c for c in pod.get("resourceClaims") or ()}
    if name not in claims:
        allowed = ", ".join(sorted(filter(None, claims))) or "none, as it has no claims"
        text = f"given {name!r}; allowed: the name of one of {path}.spec.resourceClaims ({allowed})"
        yield FieldError(field, text)
    elif not claims[name].get("resourceClaimTemplateName"):
        yield FieldError(
            field, f"given {name!r}, a claim that pods share; allowed: one with a resourceClaimTemplateName"
        )
    for kind in _CONTAINER_LISTS:
        for index, container in enumerate(pod.get(kind) or ()):
            limits = (container.get("resources") or {}).get("limits") or {}
            if entry.resource in limits:
                yield FieldError(
                    f"{path}.spec.{kind}[{index}].resources.limits[{entry.resource}]",
                    f"given {given(limits[entry.resource])}; allowed: absent, as the claim {name!r} brings the chips",
                )
