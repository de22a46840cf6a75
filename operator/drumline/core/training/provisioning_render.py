"""The objects by which a gang asks for nodes: a PodTemplate for each role, and the ProvisioningRequest that names them.

A template is the pod as it will be created, so that whoever simulates it finds what the scheduler will: without a node,
without environment, which nobody needs to know there, and with the requests that a pod's limits stand for. The API server
fills those in for pods, not for templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.api import meta
from drumline.api.provisioning import Provisioning
from drumline.core.gang.plan import Create, Manifest, Resource
from drumline.core.gang.pods import CONTAINER_LISTS
from drumline.core.training.provisioned import NEED, REQUESTS, TEMPLATES, brought
from drumline.core.training.rendering import prepared
from drumline.core.training.view import View, owner_of

_OF_A_POD: Final = ("hostname", "subdomain")


def request_name(job: str, number: int) -> str:
    """Name of a job's n-th request."""
    return f"{job}-nodes-{number}"


def rendered_request(view: View, name: str, wish: Provisioning) -> tuple[tuple[Create, ...], Create]:
    """The pod templates, and the request that names them, for the gang at the size that it has."""
    roles = list(_roles(view, wish))
    templates = tuple(
        _create(view, TEMPLATES, "v1", "PodTemplate", f"{name}-{role}", {"template": _template(pod)})
        for role, _, pod in roles
    )
    spec: dict[str, Any] = {
        "provisioningClassName": wish.class_name,
        "podSets": [
            {"podTemplateRef": {"name": f"{name}-{role}"}, "count": count} for role, count, _ in roles
        ],
    }
    if wish.parameters:
        spec["parameters"] = dict(wish.parameters)
    version = f"{NEED.group}/{NEED.version}"
    return templates, _create(view, REQUESTS, version, NEED.kind, name, {"spec": spec})


def _roles(view: View, wish: Provisioning) -> Iterator[tuple[str, int, Manifest]]:
    """What nodes are asked for: role, pods, one of them."""
    gang = prepared(view, view.status.attempt + 1)
    yield meta.ROLE_WORKER, view.roster.workers, gang.worker(0, None)
    for number, helper in enumerate(view.spec.helpers):
        if brought(helper, wish):
            yield helper.name, helper.replicas, gang.helper(number, 0, None)


def _template(pod: Manifest) -> dict[str, Any]:
    metadata, spec = pod["metadata"], {k: v for k, v in pod["spec"].items() if k not in _OF_A_POD}
    for kind in CONTAINER_LISTS:
        if kind in spec:
            spec[kind] = [_container(c) for c in spec[kind]]
    kept = {k: dict(metadata[k]) for k in ("labels", "annotations") if metadata.get(k)}
    return {"metadata": kept, "spec": spec}


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in container.items() if k != "env"}
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        kept["resources"] = {**resources, "requests": {**limits, **(resources.get("requests") or {})}}
    return kept


def _create(
    view: View, resource: Resource, version: str, kind: str, name: str, content: Mapping[str, Any]
) -> Create:
    job = view.obs.job
    metadata = {
        "name": name,
        "namespace": job.namespace,
        "labels": {
            meta.APP_MANAGED_BY: "drumline",
            meta.LABEL_JOB: job.name,
            meta.LABEL_JOB_UID: job.uid,
        },
        "ownerReferences": [owner_of(job).owner_reference()],
    }
    return Create(resource, {"apiVersion": version, "kind": kind, "metadata": metadata, **content})
