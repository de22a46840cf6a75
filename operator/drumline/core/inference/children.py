"""Objects generated for a service beside its pods: InferenceRoles, Services, disruption budgets.

Each manifest carries a hash of itself in the annotation drumline.dev/digest, so that it is written only when it
would change (`needs`). What routes requests from outside, HTTPRoutes and InferencePools, is `children_routes`'s.

Services. All of them select leaders that are in service (a leader's readiness gate sees to that), by the uid of the
service, and find the port by its name in the pod, so that revisions with different ports can stand side by side:

- ``<service>``: the entry role's; ``<service>-<role>``: each role's; on `routing.port`;
- ``<service>-<role>-<hash>``, where there are several roles: those of one revision, on the very port of its leaders.
  A pod reaches other roles there: a KV cache is only understood by the revision that wrote it;
- ``<service>-stable`` and ``<service>-canary``: the entry role's of one revision each, for a Gateway's weights.

Budgets. A budget counts pods, groups go as a whole: of the pods of the groups that should be in service it lets go
`maxUnavailable`, however many groups these belong to. With 0 nobody may evict anything; the operator itself moves
groups off a node that is being drained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from drumline.api import meta
from drumline.api.inference import InferenceServiceSpec
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Resource
from drumline.core.inference import names
from drumline.core.inference.render_group import APP, MANAGER, port_of

Manifest = dict[str, Any]
Found = tuple[Resource, Manifest]

LEADER: Final = "0"
_ENTRY_ROLES: Final = ("serve", "decode")


@dataclass(frozen=True, slots=True)
class Split:
    """A canary under way: names of both revisions, and the percent of requests that the canary gets."""

    stable: str
    canary: str
    weight: int


def role_manifest(owner: Owner, role: str, replicas: int) -> Manifest:
    """The InferenceRole of a role, as it is created: from then on `spec.replicas` may be somebody else's."""
    body = {
        "apiVersion": meta.API_VERSION,
        "kind": meta.INFERENCE_ROLE,
        "metadata": metadata(owner, names.base(owner.name, role), role),
        "spec": {"service": owner.name, "role": role, "replicas": replicas},
    }
    return digested(body)


def services(
    owner: Owner,
    spec: InferenceServiceSpec,
    revisions: Mapping[str, InferenceServiceSpec],
    split: Split | None = None,
) -> tuple[Found, ...]:
    """The Services. `revisions`: those that have groups, by name; `split`: only where a Gateway is used."""
    entry = entry_role(spec)
    found = [_service(owner, owner.name, entry, spec.routing.port)]
    found += [_service(owner, names.base(owner.name, r.name), r.name, spec.routing.port) for r in spec.roles]
    for revision, its in sorted(revisions.items()):
        found += _of_revision(owner, revision, its)
    if split is not None:
        for name, revision in ((names.STABLE, split.stable), (names.CANARY, split.canary)):
            found.append(_service(owner, names.base(owner.name, name), entry, spec.routing.port, revision))
    return tuple(("services", digested(service)) for service in found)


def budgets(owner: Owner, pods: Mapping[str, int], max_unavailable: int) -> tuple[Found, ...]:
    """A PodDisruptionBudget for each role; `pods`: by role, of the groups that should be in service."""
    return tuple(
        ("poddisruptionbudgets", digested(_budget(owner, role, max(0, count - max_unavailable))))
        for role, count in pods.items()
    )


def needs(found: Found, digest: str | None) -> bool:
    """Whether an object is to be written; `digest`: of the one that is there, None when there is none."""
    mine: str = found[1]["metadata"]["annotations"][meta.ANNOTATION_DIGEST]
    return digest != mine


def key_of(found: Found) -> str:
    """What the observation knows the object by: ``services/x``."""
    return f"{found[0]}/{found[1]['metadata']['name']}"


def entry_role(spec: InferenceServiceSpec) -> str:
    """The role that requests go to first: as said, else `serve`, else `decode`, else the first."""
    if spec.routing.role is not None:
        return spec.routing.role
    known = {role.name for role in spec.roles}
    return next((name for name in _ENTRY_ROLES if name in known), spec.roles[0].name)


def url(owner: Owner, spec: InferenceServiceSpec, cluster_domain: str) -> str:
    """Where requests go within the cluster."""
    port = "" if spec.routing.port == 80 else f":{spec.routing.port}"
    return f"http://{owner.name}.{owner.namespace}.svc.{cluster_domain}{port}"


def pod_labels(owner: Owner, role: str) -> dict[str, str]:
    """Labels that all pods of a role have, and no others."""
    return {meta.LABEL_SERVICE: owner.name, meta.LABEL_SERVICE_UID: owner.uid, meta.LABEL_ROLE: role}


def leader_labels(owner: Owner, role: str, revision: str = "") -> dict[str, str]:
    """Labels of a role's leaders, of one revision if that is named."""
    of_revision = {meta.LABEL_REVISION: revision} if revision else {}
    return {**pod_labels(owner, role), meta.LABEL_WORKER: LEADER, **of_revision}


def leader_selector(owner: Owner, role: str) -> str:
    """The same as text, for `status.selector` of an InferenceRole: one pod a group."""
    return ",".join(f"{key}={value}" for key, value in sorted(leader_labels(owner, role).items()))


def metadata(owner: Owner, name: str, role: str = "") -> dict[str, Any]:
    """Metadata of a generated object."""
    of_role = {meta.APP_COMPONENT: role, meta.LABEL_ROLE: role} if role else {}
    labels = {
        meta.APP_NAME: APP,
        meta.APP_INSTANCE: owner.name,
        meta.APP_MANAGED_BY: MANAGER,
        meta.LABEL_SERVICE: owner.name,
        meta.LABEL_SERVICE_UID: owner.uid,
        **of_role,
    }
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels,
        "ownerReferences": [owner.owner_reference()],
    }


def digested(manifest: Mapping[str, Any]) -> Manifest:
    """The manifest with a hash of itself."""
    text = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    annotations = {meta.ANNOTATION_DIGEST: sha256(text).hexdigest()[:16]}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def _of_revision(owner: Owner, revision: str, spec: InferenceServiceSpec) -> Iterator[Manifest]:
    """A Service for each role of a revision; a single role has nobody to meet."""
    if len(spec.roles) > 1:
        for role in spec.roles:
            name = names.revision_service(owner.name, role.name, revision)
            yield _service(owner, name, role.name, port_of(spec, role.name), revision)


def _service(owner: Owner, name: str, role: str, port: int, revision: str = "") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, name, role),
        "spec": {
            "selector": leader_labels(owner, role, revision),
            "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": names.PORT}],
        },
    }


def _budget(owner: Owner, role: str, min_available: int) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner, names.base(owner.name, role), role),
        "spec": {
            "minAvailable": min_available,
            "selector": {"matchLabels": pod_labels(owner, role)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
