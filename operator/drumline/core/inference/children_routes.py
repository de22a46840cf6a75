"""How requests come in from outside the cluster: a Gateway's HTTPRoute, and an InferencePool.

The HTTPRoute sends everything to the entry role's Service. While a canary is under way it splits by weight between
``<service>-stable`` and ``<service>-canary``.

With an InferencePool requests go to the pool instead, whose endpoint picker chooses the pod. A picker serves one
pool, so a canary gets none of its own: meanwhile the pool holds the stable revision's leaders alone, and the
canary's share goes to its Service, past the picker.
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
    """The HTTPRoute, if a Gateway is named; `pooled`: there is an InferencePool."""
    gateway = spec.routing.gateway
    if gateway is None:
        return ()
    backends = _backends(owner, spec.routing.port, split, pooled=pooled)
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
    """The InferencePool, if an endpoint picker is named: of all leaders, during a split of the stable ones.

    `revisions`: specs by name, for the port of the stable side; an unknown one has the port of `spec`.
    """
    picker = spec.routing.inference_pool
    if picker is None:
        return ()
    entry, stable = entry_role(spec), split.stable if split is not None else ""
    its = (revisions or {}).get(stable, spec)
    port = port_of(its if any(role.name == entry for role in its.roles) else spec, entry)
    return (("inferencepools", digested(_pool(owner, entry, port, picker, stable))),)


def _backends(owner: Owner, port: int, split: Split | None, *, pooled: bool) -> list[Manifest]:
    pool = {"group": POOL_GROUP, "kind": "InferencePool", "name": owner.name}
    if split is None:
        return [{**(pool if pooled else _service(owner.name, port)), "weight": _ALL}]
    stable, canary = names.base(owner.name, names.STABLE), names.base(owner.name, names.CANARY)
    return [
        {**(pool if pooled else _service(stable, port)), "weight": _ALL - split.weight},
        {**_service(canary, port), "weight": split.weight},
    ]


def _service(name: str, port: int) -> Manifest:
    return {"kind": "Service", "name": name, "port": port}


def _parent(gateway: GatewayRef) -> dict[str, Any]:
    elsewhere = {"namespace": gateway.namespace} if gateway.namespace else {}
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.name, **elsewhere}


def _pool(owner: Owner, role: str, port: int, picker: InferencePoolRef, revision: str) -> Manifest:
    return {
        "apiVersion": f"{POOL_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": metadata(owner, owner.name, role),
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
