"""Names of everything a service consists of: deterministic, so that a retry finds what an earlier try made.

A role's base name is ``<service>-<role>``, also that of its InferenceRole and its Service. Groups are named as
the slices of a job: pods ``<base>-<attempt>-<group>-<worker>``, host names ``<base>-<group>-<worker>`` under the
one headless Service ``<service>-peers``.
"""

from __future__ import annotations

from drumline.core.gang import names

PEERS = "peers"
CANARY = "canary"
STABLE = "stable"
PORT = "drumline"  # name of the port that a leader serves on, in its pod
_GROUP = "-g"
RESERVED_ROLES = frozenset({PEERS, CANARY, STABLE})


def base(service: str, role: str) -> str:
    """Of a role: its InferenceRole, its Service, the beginning of its pods' names."""
    return f"{service}-{role}"


def peers(service: str) -> str:
    """The headless Service under which all pods of the service have names."""
    return f"{service}-{PEERS}"


def pod(service: str, role: str, attempt: int, group: int, worker: int) -> str:
    """Name of a pod; worker 0 is the leader."""
    return names.pod_name(base(service, role), attempt, group, worker)


def hostname(service: str, role: str, group: int, worker: int) -> str:
    """Host name of a pod: the same in every attempt."""
    return names.hostname(base(service, role), group, worker)


def backend_group(service: str, role: str, attempt: int, group: int) -> str:
    """What another scheduler or queue knows an attempt of a group by; no job's attempt is called like it."""
    return f"{base(service, role)}-{attempt}-{group}{_GROUP}"


def pods_of(backend_group: str) -> str:
    """What the names of that attempt's pods begin with."""
    return backend_group.removesuffix(_GROUP)


def gang_uid(service_uid: str, role: str, group: int) -> str:
    """What admission and the capacity know a group by."""
    return f"{service_uid}/{role}/{group}"


def service_uid(gang: str) -> str:
    """The service's uid of a gang's; "" when it is no group's."""
    uid, slash, _ = gang.partition("/")
    return uid if slash else ""


def revision(service: str, digest: str) -> str:
    """Name of a revision's ControllerRevision."""
    return f"{service}-{digest}"


def digest_of(revision_name: str) -> str:
    """The hash that a revision's name ends in."""
    return revision_name.rpartition("-")[2]


def revision_service(service: str, role: str, revision_name: str) -> str:
    """Service of the groups of one role that are of one revision."""
    return f"{base(service, role)}-{digest_of(revision_name)}"
