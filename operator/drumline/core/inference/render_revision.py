"""Revisions: the hash of what a service's pods are made from, and the ControllerRevision that keeps the spec.

The hash covers what ends up in pods and leaves out what does not: numbers (replicas, autoscaling), rollout, drain,
routing, SLO, failure policy, scheduling, queue, parallelism.scaleUp. It is of the fields that differ from their defaults, so that a
field that a newer operator knows changes no hash, and of the roles by name, so that their order changes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from drumline.api.inference import InferenceServiceSpec
from drumline.api.meta import (
    APP_INSTANCE,
    APP_MANAGED_BY,
    APP_NAME,
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SERVICE_UID,
)
from drumline.core.gang.names import Owner
from drumline.core.inference.names import revision
from drumline.core.inference.observation import Revision

DIGITS: Final = 10
_SERVICE: Final = frozenset(
    {"engine", "model", "profile", "speculative", "kv_transfer", "priority_class_name"}
)
_ROLE: Final = frozenset(
    {"name", "group_size", "accelerator", "template", "leader_template", "port", "parallelism"}
)


def revision_digest(spec: InferenceServiceSpec) -> str:
    """Ten hexadecimal digits, equal for specs whose pods are equal."""
    service = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=set(_SERVICE))
    roles = sorted((_role(role) for role in spec.roles), key=lambda role: str(role["name"]))
    text = orjson.dumps({**service, "roles": roles}, option=orjson.OPT_SORT_KEYS)
    return sha256(text).hexdigest()[:DIGITS]


def revision_manifest(owner: Owner, name: str, number: int, spec: InferenceServiceSpec) -> dict[str, Any]:
    """The ControllerRevision `name` that keeps the whole spec."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": {
                APP_NAME: "inferenceservice",
                APP_INSTANCE: owner.name,
                APP_MANAGED_BY: "drumline",
                LABEL_SERVICE: owner.name,
                LABEL_SERVICE_UID: owner.uid,
                LABEL_REVISION: name,
            },
            "ownerReferences": [owner.owner_reference()],
        },
        "revision": number,
        "data": {"spec": spec.to_json()},
    }


def read_revision(document: Mapping[str, Any]) -> Revision:
    """What `revision_manifest` wrote. ValueError when it is not one that this operator can read."""
    metadata = document.get("metadata") or {}
    data = document.get("data") or {}
    spec = InferenceServiceSpec.model_validate(data.get("spec"))
    return Revision(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        number=int(document.get("revision") or 0),
        spec=spec,
    )


def revision_name(service: str, spec: InferenceServiceSpec) -> str:
    """Name of the revision that a spec is."""
    return revision(service, revision_digest(spec))


def _role(role: Any) -> dict[str, Any]:
    found: dict[str, Any] = role.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include=set(_ROLE)
    )
    if role.parallelism is not None:
        found["parallelism"].pop("scaleUp", None)  # where pods go, not what they are
    if role.variants:
        found["variants"] = [
            v.accelerator.model_dump(mode="json", by_alias=True, exclude_defaults=True) for v in role.variants
        ]
    return found
