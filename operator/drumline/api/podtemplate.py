"""The shallow schema of a pod template: what Drumline itself reads of it.

A template is a whole core/v1 PodTemplateSpec. The CRD does not copy the pod schema: every object below
keeps unknown fields, and the API server validates the rendered pod. Named here are the fields of a pod
spec one level deep, because a rule can compare only fields that the schema names, and the few deeper
ones that the rules read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAX_CONTAINERS: Final = 16
MAX_ENV: Final = 256
MAX_ITEMS: Final = 256

Schema = dict[str, Any]


def _open(properties: Mapping[str, Schema] | None = None, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if properties:
        schema["properties"] = dict(properties)
    if required:
        schema["required"] = list(required)
    return schema


def _list(item: Schema, most: int, least: int = 0) -> Schema:
    schema: Schema = {
        "type": "array",
        "items": item,
        "maxItems": most,
        "x-kubernetes-list-type": "atomic",
    }
    return {**schema, "minItems": least} if least else schema


def _text(most: int = 253, **more: Any) -> Schema:
    return {"type": "string", "maxLength": most, **more}


def _map(most_length: int, most: int = MAX_ITEMS) -> Schema:
    return {"type": "object", "additionalProperties": _text(most_length), "maxProperties": most}


_QUANTITIES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"x-kubernetes-int-or-string": True},
    "maxProperties": MAX_ITEMS,
}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_INTEGER: Final[Schema] = {"type": "integer", "format": "int64"}
_OBJECTS: Final[Schema] = _list(_open(), MAX_ITEMS)
_ENV: Final[Schema] = _open(
    {"name": _text(256, minLength=1), "value": {"type": "string"}}, required=("name",)
)
_CONTAINER: Final[Schema] = _open(
    {
        "name": _text(63, minLength=1),
        "image": _text(1024, minLength=1),
        "env": _list(_ENV, MAX_ENV),
        "resources": _open({"limits": _QUANTITIES, "requests": _QUANTITIES}),
    },
    required=("name", "image"),
)

_TERM: Final[Schema] = _open({"matchExpressions": _OBJECTS, "matchFields": _OBJECTS})
_TERMS: Final[Schema] = _open({"nodeSelectorTerms": _list(_TERM, MAX_ITEMS)})
_AFFINITY: Final[Schema] = _open(
    {"nodeAffinity": _open({"requiredDuringSchedulingIgnoredDuringExecution": _TERMS})}
)

# Set by the operator for each pod of the gang, so refused in a template.
OPERATOR_FIELDS: Final = ("ephemeralContainers", "hostname", "nodeName", "schedulingGates", "subdomain")

# What may change while a job is suspended.
MUTABLE_METADATA: Final = ("annotations", "labels")
MUTABLE_SPEC: Final = ("nodeSelector", "tolerations")

POD_SPEC_FIELDS: Final[Mapping[str, Schema]] = {
    "activeDeadlineSeconds": _INTEGER,
    "affinity": _AFFINITY,
    "automountServiceAccountToken": _BOOLEAN,
    "containers": _list(_CONTAINER, MAX_CONTAINERS, least=1),
    "dnsConfig": _open(),
    "dnsPolicy": _text(),
    "enableServiceLinks": _BOOLEAN,
    "ephemeralContainers": _OBJECTS,
    "hostAliases": _OBJECTS,
    "hostIPC": _BOOLEAN,
    "hostNetwork": _BOOLEAN,
    "hostPID": _BOOLEAN,
    "hostUsers": _BOOLEAN,
    "hostname": _text(),
    "hostnameOverride": _text(),
    "imagePullSecrets": _OBJECTS,
    "initContainers": _list(_CONTAINER, MAX_CONTAINERS),
    "nodeName": _text(),
    "nodeSelector": _map(63),
    "os": _open(),
    "overhead": _open(),
    "preemptionPolicy": _text(),
    "priority": _INTEGER,
    "priorityClassName": _text(),
    "readinessGates": _OBJECTS,
    "resourceClaims": _OBJECTS,
    "resources": _open(),
    "restartPolicy": _text(enum=["Never"]),
    "runtimeClassName": _text(),
    "schedulerName": _text(),
    "schedulingGates": _OBJECTS,
    "schedulingGroup": _open(),
    "securityContext": _open(),
    "serviceAccount": _text(),
    "serviceAccountName": _text(),
    "setHostnameAsFQDN": _BOOLEAN,
    "shareProcessNamespace": _BOOLEAN,
    "subdomain": _text(),
    "terminationGracePeriodSeconds": _INTEGER,
    "tolerations": _OBJECTS,
    "topologySpreadConstraints": _OBJECTS,
    "volumes": _OBJECTS,
    "workloadRef": _open(),
}

POD_TEMPLATE_SCHEMA: Final[Schema] = _open(
    {
        "metadata": _open({"annotations": _map(262144), "labels": _map(63)}),
        "spec": _open(POD_SPEC_FIELDS, required=("containers",)),
    },
    required=("spec",),
)
