"""How requests come in from outside the cluster: a Gateway's HTTPRoute, and InferencePools.

The HTTPRoute sends everything to the entry role's Service. While a canary is under way it splits by weight between
``<service>-stable`` and ``<service>-canary``. With an InferencePool the same goes to pools of these names, whose
endpoint picker chooses the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_model import GatewayRef, InferencePoolRef
from drumline.core.gang.names import Owner
from drumline.core.inference import names
from drumline.core.inference.children import (
    Found,
    Manifest,
    Split,
    digested,
    entry_role,
    leader_labels,
    metadata,
)
from drumline.core.inference.render_group import port_of

POOL_GROUP: Final = "inference.networking.k8s.io"
GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
_ALL: Final = 100  # percent


def routes(
    owner: Owner, spec: InferenceServiceSpec, split: Split | None = None, *, pooled: bool = False
) -> tuple[Found, ...]:
    """The HTTPRoute, if a Gateway is named; `pooled`: InferencePools stand behind it."""
    gateway = spec.routing.gateway
    if gateway is None:
        return ()
    backends = [
        _backend(name, weight, spec.routing.port, pooled=pooled) for name, weight in _targets(owner, split)
    ]
    hosts = {"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}
    route = {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(owner, owner.name),
        "spec": {"parentRefs": [_parent(gateway)], **hosts, "rules": [{"backendRefs": backends}]},
    }
    return (("httproutes", digested(route)),)


def pools(
    owner: Owner,
    spec: InferenceServiceSpec,
    revisions: Mapping[str, InferenceServiceSpec] | None = None,
    split: Split | None = None,
) -> tuple[Found, ...]:
    """The InferencePools, if an endpoint picker is named: one of all leaders, and one of each side of a split.

    `revisions`: specs by name, for the ports of a split's sides; an unknown one has the ports of `spec`.
    """
    picker = spec.routing.inference_pool
    if picker is None:
        return ()
    known = revisions or {}
    entry = entry_role(spec)
    found = [_pool(owner, owner.name, entry, port_of(spec, entry), picker)]
    for name, revision in _sides(owner, split):
        of_revision = known.get(revision, spec)
        has_role = any(role.name == entry for role in of_revision.roles)
        port = port_of(of_revision if has_role else spec, entry)
        found.append(_pool(owner, name, entry, port, picker, revision))
    return tuple(("inferencepools", digested(pool)) for pool in found)


def _sides(owner: Owner, split: Split | None) -> tuple[tuple[str, str], ...]:
    """Name and revision of each side."""
    if split is None:
        return ()
    stable, canary = names.base(owner.name, names.STABLE), names.base(owner.name, names.CANARY)
    return ((stable, split.stable), (canary, split.canary))


def _targets(owner: Owner, split: Split | None) -> list[tuple[str, int]]:
    """Name and weight of what requests go to."""
    if split is None:
        return [(owner.name, _ALL)]
    weights = (_ALL - split.weight, split.weight)
    return [(name, weight) for (name, _), weight in zip(_sides(owner, split), weights, strict=True)]


def _backend(name: str, weight: int, port: int, *, pooled: bool) -> Manifest:
    what = {"group": POOL_GROUP, "kind": "InferencePool"} if pooled else {"kind": "Service", "port": port}
    return {**what, "name": name, "weight": weight}


def _parent(gateway: GatewayRef) -> dict[str, Any]:
    elsewhere = {"namespace": gateway.namespace} if gateway.namespace else {}
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.name, **elsewhere}


def _pool(
    owner: Owner, name: str, role: str, port: int, picker: InferencePoolRef, revision: str = ""
) -> Manifest:
    return {
        "apiVersion": f"{POOL_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": metadata(owner, name, role),
        "spec": {
            "selector": {"matchLabels": leader_labels(owner, role, revision)},
            "targetPorts": [{"number": port}],
            "endpointPickerRef": {
                "kind": "Service",
                "name": picker.endpoint_picker,
                "port": {"number": picker.port},
                "failureMode": picker.failure_mode,
            },
        },
    }
