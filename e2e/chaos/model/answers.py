"""What the API server says when it refuses, word for word. `tests/chaos/recorded` holds what a real one said."""

from __future__ import annotations

from typing import Any

Status = dict[str, Any]
KINDS = {
    "pods": "Pod",
    "services": "Service",
    "trainingjobs": "TrainingJob",
    "inferenceservices": "InferenceService",
    "inferenceroles": "InferenceRole",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "controllerrevisions": "ControllerRevision",
    "endpointslices": "EndpointSlice",
    "nodes": "Node",
}


class Refused(Exception):  # noqa: N818 - an error is named for the fact
    """An answer of HTTP status 400 or more; `document` is the Status object."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.document: Status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": {k: v for k, v in details.items() if v},
        }


def not_found(resource: str, group: str, name: str) -> Refused:
    """404: no object of that name."""
    return Refused(
        404,
        "NotFound",
        f'{_qualified(resource, group)} "{name}" not found',
        name=name,
        group=group,
        kind=resource,
    )


def already_exists(resource: str, group: str, name: str) -> Refused:
    """409: the name is taken."""
    text = f'{_qualified(resource, group)} "{name}" already exists'
    return Refused(409, "AlreadyExists", text, name=name, group=group, kind=resource)


def modified(resource: str, group: str, name: str) -> Refused:
    """409: another version than the request spoke of."""
    text = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, group, name, text)


def other_uid(resource: str, group: str, name: str, given: str, there: str) -> Refused:
    """409: a delete of another object than is there."""
    kind = KINDS.get(resource, resource)
    text = (
        f"the UID in the precondition ({given}) does not match the UID in record ({there}). "
        "The object might have been deleted and then recreated"
    )
    return conflict(kind, group, name, text)


def change_of_other(resource: str, name: str, given: str) -> Refused:
    """422: an apply or a patch with the uid of another object than is there."""
    kind = KINDS.get(resource, resource)
    problem = f'Invalid value: "{given}": field is immutable'
    cause = {"reason": "FieldValueInvalid", "message": problem, "field": "metadata.uid"}
    text = f'{kind} "{name}" is invalid: metadata.uid: {problem}'
    return Refused(422, "Invalid", text, name=name, kind=kind, causes=[cause])


def apply_to_nothing(resource: str, group: str, name: str, given: str) -> Refused:
    """409: an apply with a uid where no object is."""
    text = f"uid mismatch: the provided object specified uid {given}, and no existing object was found"
    return conflict(resource, group, name, text)


def conflict(resource: str, group: str, name: str, text: str) -> Refused:
    """409, with that text after what all conflicts begin with."""
    begins = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}"'
    return Refused(409, "Conflict", f"{begins}: {text}", name=name, group=group, kind=resource)


def throttled() -> Refused:
    """429: not now."""
    return Refused(429, "TooManyRequests", "too many requests, please try again later", retryAfterSeconds=1)


def internal() -> Refused:
    """500: etcd, as a rule."""
    return Refused(500, "InternalError", "Internal error occurred: etcdserver: request timed out")


def expired() -> Refused:
    """410: a version that is not kept any more."""
    return Refused(410, "Expired", "too old resource version: 1 (2)")


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource
