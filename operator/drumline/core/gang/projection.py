"""From raw JSON of the API server to `types.Node` and `types.Pod`: only what decisions need.

Strings and tuples that many objects have in common are shared, so that a store of 20,000 pods stays small.
A malformed object is not this module's to judge (the API server validated it), but a field that is absent
or null always means its zero value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from sys import intern
from typing import Any, Final

from drumline.api.meta import ANNOTATION_WATTS, IN_SERVICE
from drumline.api.power import MAX_WATTS
from drumline.core.gang.charges import charge_of, covered
from drumline.core.gang.names import controller_uid, member_of
from drumline.core.gang.projection_requests import effective_requests, is_sidecar
from drumline.core.gang.projection_shape import HostPort, host_ports, shape_of
from drumline.core.gang.projection_times import pod_times, timestamp
from drumline.core.gang.quantity import canonical
from drumline.core.gang.repulsion import repulsions_of
from drumline.core.gang.types import NO_TIMES, Member, Node, NodeCondition, Pod, PodPhase, Taint, Termination

__all__ = ["project_node", "project_pod", "shape_of", "timestamp"]

Raw = Mapping[str, Any]

_MAX_MESSAGE: Final = 512  # characters kept of a message: decisions match on its beginning
_MAX_HEAD: Final = 128  # of these, where the end of a message matters more
_DISRUPTIONS: Final = ("DisruptionTarget", "TerminationTarget")  # the second is Kueue's, which has no first
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_PHASES: Final = {str(phase): phase for phase in PodPhase}


def project_node(raw: Raw) -> Node:
    """What placement needs of a raw v1.Node. Raises ValueError for a malformed quantity."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = status.get("conditions") or ()
    unready = next((c for c in conditions if c.get("type") == "Ready" and c.get("status") != "True"), None)
    return Node(
        name=intern(metadata["name"]),
        uid=metadata.get("uid", ""),
        labels={intern(k): intern(v) for k, v in (metadata.get("labels") or {}).items()},
        taints=tuple(_taint(t) for t in spec.get("taints") or ()),
        allocatable={intern(k): canonical(k, v) for k, v in (status.get("allocatable") or {}).items()},
        unschedulable=bool(spec.get("unschedulable")),
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        conditions=_shared_conditions(
            tuple((c.get("type", ""), c.get("status", ""), c.get("reason") or "") for c in conditions)
        ),
        unready_since=timestamp(unready.get("lastTransitionTime")) if unready is not None else 0.0,
        accelerator_watts=_watts((metadata.get("annotations") or {}).get(ANNOTATION_WATTS)),
    )


def _watts(text: str | None) -> float:
    """Of an annotation that anybody may have written: what is no number of watts counts as not there."""
    try:
        watts = float(text or 0)
    except ValueError:
        return 0.0
    return watts if 0 < watts <= MAX_WATTS else 0.0


def project_pod(raw: Raw) -> Pod:
    """What decisions need of a raw v1.Pod. Raises ValueError for a malformed quantity."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    facts = _conditions(status.get("conditions") or ())
    node = spec.get("nodeName") or ""
    expected = node or status.get("nominatedNodeName") or _daemon_node(metadata, spec)
    waiting, waiting_message = _waiting(status)
    requests = effective_requests(spec, status if facts.resizing else None)
    member = _member(metadata, requests, claims=bool(spec.get("resourceClaims")))
    return Pod(
        namespace=intern(metadata.get("namespace", "")),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        requests=requests,
        node=intern(expected),
        bound=bool(node),
        host_ports=_shared_ports(host_ports(spec)),
        phase=_PHASES.get(status.get("phase") or "Pending", PodPhase.UNKNOWN),
        ready=facts.ready,
        able=facts.able,
        in_service=facts.in_service,
        deleting=bool(metadata.get("deletionTimestamp")),
        deleting_until=timestamp(metadata.get("deletionTimestamp")),
        forced=metadata.get("deletionGracePeriodSeconds") == 0,
        created_at=timestamp(metadata.get("creationTimestamp")),
        bound_at=facts.bound_at,
        rejected=facts.rejected,
        waiting=waiting,
        waiting_message=waiting_message,
        unprepared=bool(node) and facts.unprepared,
        reason=intern(status.get("reason") or ""),
        message=_cut(status.get("message")),
        disruption=facts.disruption,
        termination=_termination(spec, status),
        restarted=_restarted(status),
        ips=tuple(ip["ip"] for ip in status.get("podIPs") or ()),
        member=member,
        times=NO_TIMES if member is None else pod_times(metadata, status),
        repels=repulsions_of(spec, metadata.get("namespace", "")),
    )


def _daemon_node(metadata: Raw, spec: Raw) -> str:
    """The node that a DaemonSet made the pod for, which is as good as taken before it is bound."""
    if not any(o.get("kind") == "DaemonSet" for o in metadata.get("ownerReferences") or ()):
        return ""
    terms = shape_of({"affinity": spec.get("affinity")}).affinity
    names = {v for term in terms for r in term if r.is_field and r.key == "metadata.name" for v in r.values}
    return names.pop() if len(names) == 1 else ""


class _Facts:
    """What the pod's conditions say."""

    __slots__ = (
        "able",
        "bound_at",
        "disruption",
        "in_service",
        "ready",
        "rejected",
        "resizing",
        "unprepared",
    )

    def __init__(self) -> None:
        self.ready = False
        self.able = False
        self.in_service: bool | None = None
        self.resizing = False
        self.unprepared = False
        self.bound_at = 0.0
        self.rejected = ""
        self.disruption = ""


def _conditions(conditions: Iterable[Raw]) -> _Facts:
    facts = _Facts()
    for condition in conditions:
        kind, true = condition.get("type"), condition.get("status") == "True"
        if kind == "Ready":
            facts.ready = true
        elif kind == "ContainersReady":
            facts.able = true
        elif kind == IN_SERVICE:
            facts.in_service = true
        elif kind == "PodScheduled":
            _scheduled(facts, condition, true=true)
        elif kind in _DISRUPTIONS and true and (kind == _DISRUPTIONS[0] or not facts.disruption):
            facts.disruption = intern(condition.get("reason") or "")
        elif kind == "PodReadyToStartContainers":
            facts.unprepared = not true
        elif kind in ("PodResizePending", "PodResizeInProgress"):
            facts.resizing = true
    return facts


def _scheduled(facts: _Facts, condition: Raw, *, true: bool) -> None:
    if true:
        facts.bound_at = timestamp(condition.get("lastTransitionTime"))
    elif condition.get("reason") == "Unschedulable":
        facts.rejected = _cut(condition.get("message")) or "Unschedulable"


def _waiting(status: Raw) -> tuple[str, str]:
    for container in _statuses(status):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") and waiting["reason"] not in _STARTING:
            return intern(waiting["reason"]), _cut(waiting.get("message"))
    return "", ""


def _statuses(status: Raw) -> Iterator[Raw]:
    yield from status.get("containerStatuses") or ()
    yield from status.get("initContainerStatuses") or ()


def _termination(spec: Raw, status: Raw) -> Termination | None:
    """The first failure; of equal times a main container's, and a stopped sidecar's never."""
    ended = [(c, t) for c in _statuses(status) if (t := (c.get("state") or {}).get("terminated"))]
    if ended and spec.get("initContainers"):
        sidecars = {c.get("name") for c in spec["initContainers"] if is_sidecar(c)}
        ended = [(c, t) for c, t in ended if c.get("name") not in sidecars]
    if not ended:
        return None
    container, how = min(ended, key=lambda e: (not e[1].get("exitCode"), timestamp(e[1].get("finishedAt"))))
    return _ended(container, how)


def _restarted(status: Raw) -> Termination | None:
    """The last end of a main container that was started again."""
    again = [c for c in status.get("containerStatuses") or () if c.get("restartCount")]
    ended = [(c, t) for c in again if (t := (c.get("lastState") or {}).get("terminated"))]
    return _ended(*max(ended, key=lambda e: timestamp(e[1].get("finishedAt")))) if ended else None


def _ended(container: Raw, how: Raw) -> Termination:
    return Termination(
        container=intern(container.get("name", "")),
        exit_code=how.get("exitCode", 0),
        reason=intern(how.get("reason") or ""),
        message=_both_ends(how.get("message")),
        finished_at=timestamp(how.get("finishedAt")),
    )


def _member(metadata: Raw, requests: tuple[tuple[str, int], ...], *, claims: bool) -> Member | None:
    if "ownerReferences" not in metadata:
        return None
    member = member_of(metadata.get("labels") or {}, intern(controller_uid(metadata)))
    if member is None:
        return None
    names = intern(member.job), intern(member.role)
    return Member(
        names[0],
        member.job_uid,
        member.attempt,
        names[1],
        member.slice,
        member.worker,
        member.group,
        covered(charge_of(metadata.get("annotations")), requests, claims=claims),
    )


def _taint(raw: Raw) -> Taint:
    return Taint(intern(raw.get("key", "")), intern(raw.get("value") or ""), intern(raw.get("effect", "")))


def _cut(message: str | None) -> str:
    return _shared_text(message[:_MAX_MESSAGE]) if message else ""


def _both_ends(message: str | None) -> str:
    """Of a long termination message, which may be a log's end, more of the end than of the beginning."""
    if not message or len(message) <= _MAX_MESSAGE:
        return _cut(message)
    end = _MAX_MESSAGE - _MAX_HEAD
    return _cut(f"{message[: _MAX_HEAD - 1]}…{message[-end:]}")


@lru_cache(maxsize=256)
def _shared_conditions(facts: tuple[tuple[str, str, str], ...]) -> tuple[NodeCondition, ...]:
    return tuple(_shared_condition(*fact) for fact in facts)


@lru_cache(maxsize=1024)
def _shared_condition(kind: str, status: str, reason: str) -> NodeCondition:
    return NodeCondition(intern(kind), intern(status), intern(reason))


@lru_cache(maxsize=1024)
def _shared_text(text: str) -> str:
    return text


@lru_cache(maxsize=1024)
def _shared_ports(ports: tuple[HostPort, ...]) -> tuple[HostPort, ...]:
    return ports
