"""What raw pods say: where they are, of which job and attempt, whether they hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drumline.api.meta import (
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_ROLE,
    LABEL_SERVICE_UID,
    ROLE_SPARE,
)
from drumline.api.mounts import LAUNCHER_FILE

Document = Mapping[str, Any]
GPU = "nvidia.com/gpu"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def is_over(pod: Document) -> bool:
    """Whether its containers ended for good: it holds nothing."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def is_deleting(pod: Document) -> bool:
    """Whether somebody deletes it."""
    return "deletionTimestamp" in pod["metadata"]


def bound_to(pod: Document) -> str:
    """The node it is bound to; "" for none."""
    return str(pod["spec"].get("nodeName") or "")


def place_of(pod: Document) -> str:
    """The node that it is bound to, or may only be bound to; "" when it may go anywhere."""
    return bound_to(pod) or pinned_to(pod)


def pinned_to(pod: Document) -> str:
    """The node that its affinity names."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            return str(entry["values"][0])
    return ""


def chips_of(pod: Document) -> int:
    """The GPUs it asks for."""
    limits = (c.get("resources", {}).get("limits") or {} for c in pod["spec"]["containers"])
    return sum(int(found.get(GPU, 0)) for found in limits)


def attempt_of(pod: Document) -> int:
    """The attempt of its gang; 0 for a pod of no gang."""
    return int((pod["metadata"].get("labels") or {}).get(LABEL_ATTEMPT, 0))


def is_spare(pod: Document) -> bool:
    """Whether it only holds a place."""
    return (pod["metadata"].get("labels") or {}).get(LABEL_ROLE) == ROLE_SPARE


def gates_of(pod: Document) -> tuple[str, ...]:
    """Conditions that it needs to be ready, beside its containers."""
    return tuple(gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ())


def has_condition(pod: Document, kind: str) -> bool:
    """Whether a condition of it is True."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def is_launched(pod: Document) -> bool:
    """Whether its program runs behind the launcher."""
    command = pod["spec"]["containers"][0].get("command") or ()
    return LAUNCHER_FILE in command


def owner_of(pod: Document) -> str:
    """Uid of its controller."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")


def gang_of(pod: Document) -> str:
    """Uid of its job; of its service with role and group; "" for a pod of neither."""
    owner, labels = owner_of(pod), pod["metadata"].get("labels") or {}
    if owner and labels.get(LABEL_SERVICE_UID) == owner:
        return f"{owner}/{labels[LABEL_ROLE]}/{labels[LABEL_GROUP]}"
    return owner


def is_service(pod: Document) -> bool:
    """Whether it is of an InferenceService."""
    return LABEL_SERVICE_UID in (pod["metadata"].get("labels") or {})


def answers(pod: Document) -> bool:
    """Whether it is ready, and stays."""
    return has_condition(pod, "Ready") and not is_deleting(pod) and not is_over(pod)


def is_ready_node(node: Document) -> bool:
    """Whether its kubelet is heard of."""
    return has_condition(node, "Ready")
