"""Names of everything a gang owns: deterministic, so that a retry finds what an earlier try made.

Pods carry the attempt (``<job>-<attempt>-<slice>-<worker>``, helpers ``<job>-<attempt>-<helper>-<index>``),
host names do not, so that rank 0 is ``<job>-0-0.<job>`` for the job's whole life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api.meta import (
    GROUP,
    LABEL_ATTEMPT,
    LABEL_GROUP,
    LABEL_JOB,
    LABEL_ROLE,
    LABEL_SERVICE,
    LABEL_SLICE,
    LABEL_WORKER,
    ROLE_WORKER,
)
from drumline.core.gang.types import Member

DEFAULT_CLUSTER_DOMAIN: Final = "cluster.local"


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that owns a gang, of whatever kind."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def owner_reference(self) -> dict[str, Any]:
        """The controller owner reference for `metadata.ownerReferences` of what the gang consists of."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def pod_name(job: str, attempt: int, slice_index: int, worker: int) -> str:
    """Name of a worker's pod."""
    return f"{job}-{attempt}-{slice_index}-{worker}"


def helper_pod_name(job: str, attempt: int, helper: str, index: int) -> str:
    """Name of a helper's pod."""
    return f"{job}-{attempt}-{helper}-{index}"


def hostname(job: str, slice_index: int, worker: int) -> str:
    """Host name of a worker: the same in every attempt."""
    return f"{job}-{slice_index}-{worker}"


def helper_hostname(job: str, helper: str, index: int) -> str:
    """Host name of a helper: the same in every attempt."""
    return f"{job}-{helper}-{index}"


def revision_name(job: str, attempt: int, chunk: int = 0) -> str:
    """Name of the ControllerRevision that holds an attempt's placement.

    Later chunks end in a letter and a number: no job's own first chunk can have that name.
    """
    return f"{job}-{attempt}" if chunk == 0 else f"{job}-{attempt}-c{chunk}"


def fqdn(host: str, service: str, namespace: str, cluster_domain: str = DEFAULT_CLUSTER_DOMAIN) -> str:
    """Full DNS name of a member under the gang's headless Service, without the trailing dot."""
    return f"{host}.{service}.{namespace}.svc.{cluster_domain}"


def controller_uid(metadata: Mapping[str, Any]) -> str:
    """Uid of the controller owner reference if a kind of our API group owns the object, else ""."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") and reference.get("apiVersion", "").partition("/")[0] == GROUP:
            return str(reference.get("uid", ""))
    return ""


def member_of(labels: Mapping[str, str], owner_uid: str) -> Member | None:
    """Which place of which gang these labels name; None when they are incomplete or not ours.

    `owner_uid` is the controller owner reference's (see `controller_uid`): labels alone prove nothing.
    """
    job = labels.get(LABEL_JOB) or labels.get(LABEL_SERVICE)
    if not owner_uid or job is None:
        return None
    try:
        attempt = int(labels[LABEL_ATTEMPT])
        worker = int(labels[LABEL_WORKER])
        slice_index = int(labels.get(LABEL_SLICE) or labels.get(LABEL_GROUP, "0"))
    except (KeyError, ValueError):
        return None
    role, grouped = labels.get(LABEL_ROLE, ROLE_WORKER), LABEL_JOB not in labels
    return Member(job, owner_uid, attempt, role, slice_index, worker, grouped)
