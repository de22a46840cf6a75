"""Paths of the Kubernetes API: building them, and naming what a request does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from drumline.api.meta import (
    ACCELERATOR_QUEUES,
    GROUP,
    INFERENCE_ROLES,
    INFERENCE_SERVICES,
    TRAINING_JOBS,
    VERSION,
)

PREFIXES: Final[Mapping[str, str]] = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "secrets": "/api/v1",
    "endpoints": "/api/v1",
    "events": "/api/v1",
    "nodes": "/api/v1",
    "podtemplates": "/api/v1",
    "namespaces": "/api/v1",
    "resourcequotas": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "persistentvolumes": "/api/v1",
    "controllerrevisions": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "tokenreviews": "/apis/authentication.k8s.io/v1",
    "priorityclasses": "/apis/scheduling.k8s.io/v1",
    "deviceclasses": "/apis/resource.k8s.io/v1",
    "resourceclaims": "/apis/resource.k8s.io/v1",
    "resourceclaimtemplates": "/apis/resource.k8s.io/v1",
    "resourceslices": "/apis/resource.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "inferencepools": "/apis/inference.networking.k8s.io/v1",
    INFERENCE_SERVICES: f"/apis/{GROUP}/{VERSION}",
    INFERENCE_ROLES: f"/apis/{GROUP}/{VERSION}",
    ACCELERATOR_QUEUES: f"/apis/{GROUP}/{VERSION}",
    TRAINING_JOBS: f"/apis/{GROUP}/{VERSION}",
}

_VERBS: Final[Mapping[str, str]] = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def resource_path(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Path of a collection or an object; an empty namespace = all of them, or cluster-scoped.

    A resource of somebody else's API is `plural.version.group`. Raises KeyError for any other that the operator does
    not know.
    """
    plural, version, group = (*resource.split(".", 2), "", "")[:3]
    parts = [f"/apis/{group}/{version}" if group else PREFIXES[resource]]
    resource = plural
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource)
    if name:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def with_params(path: str, params: Mapping[str, Any] | None) -> str:
    """`path` with a query string."""
    return f"{path}?{urlencode(params)}" if params else path


def request_labels(method: str, path: str, params: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """(verb, resource) of a request, as Kubernetes names them: few values, whatever the objects' names."""
    parts = path.strip("/").split("/")
    skip = {"api": 2, "apis": 3}.get(parts[0])
    if skip is None:
        return method.lower(), "nonresource"
    rest = parts[skip:]
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    if not rest:
        return method.lower(), "discovery"
    resource = "/".join([rest[0], *rest[2:3]])
    if method != "GET":
        return _VERBS[method], resource
    if params and params.get("watch"):
        return "watch", resource
    return ("list" if len(rest) == 1 else "get"), resource
