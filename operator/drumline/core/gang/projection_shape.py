"""From a PodSpec to what placement must know of it (`PodShape`).

What placement does not model is listed by name in `unmodelled`, so that a caller can refuse it by name or
leave the pod unpinned. Bound volumes are listed as ``volumes.persistentVolumeClaim:<claim>``: whoever
knows the volume turns it into node affinity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.core.gang.projection_requests import effective_requests, is_sidecar
from drumline.core.gang.types import PodShape, Requirement, Toleration

Raw = Mapping[str, Any]
HostPort = tuple[str, str, int]

CLAIM_PREFIX: Final = "volumes.persistentVolumeClaim:"
_UNSHARED_DISKS: Final = ("gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi")
_EMPTY_TERM: Final[tuple[tuple[Requirement, ...], ...]] = ((),)  # a term that no node matches


def shape_of(pod_spec: Raw) -> PodShape:
    """The shape of pods made from this raw PodSpec. Raises ValueError for a malformed quantity."""
    return PodShape(
        requests=effective_requests(pod_spec),
        node_selector=tuple(sorted((pod_spec.get("nodeSelector") or {}).items())),
        affinity=_affinity(pod_spec),
        tolerations=tuple(_toleration(t) for t in pod_spec.get("tolerations") or ()),
        host_ports=host_ports(pod_spec),
        unmodelled=tuple(sorted(set(_unmodelled(pod_spec)))),
        claims=tuple(sorted(filter(None, map(_template, pod_spec.get("resourceClaims") or ())))),
    )


def host_ports(spec: Raw) -> tuple[HostPort, ...]:
    """Ports that containers and sidecars take on the node, sorted: (host IP, protocol, port)."""
    found: set[HostPort] = set()
    on_host = bool(spec.get("hostNetwork"))
    for container in _long_running(spec):
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if on_host else 0)
            if number:
                found.add((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(number)))  # noqa: S104 - every address, as the API says it
    return tuple(sorted(found))


def _long_running(spec: Raw) -> Iterator[Raw]:
    yield from spec.get("containers") or ()
    yield from (c for c in spec.get("initContainers") or () if is_sidecar(c))


def _affinity(spec: Raw) -> tuple[tuple[Requirement, ...], ...]:
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return ()
    terms = tuple(_term(t) for t in required.get("nodeSelectorTerms") or ())
    return terms or _EMPTY_TERM


def _term(term: Raw) -> tuple[Requirement, ...]:
    expressions = [_requirement(e, is_field=False) for e in term.get("matchExpressions") or ()]
    fields = [_requirement(e, is_field=True) for e in term.get("matchFields") or ()]
    return (*expressions, *fields)


def _requirement(raw: Raw, *, is_field: bool) -> Requirement:
    return Requirement(raw.get("key", ""), raw.get("operator", ""), tuple(raw.get("values") or ()), is_field)


def _toleration(raw: Raw) -> Toleration:
    return Toleration(
        raw.get("key") or "",
        raw.get("operator") or "Equal",
        raw.get("value") or "",
        raw.get("effect") or "",
        raw.get("tolerationSeconds"),
    )


def _unmodelled(spec: Raw) -> Iterator[str]:
    affinity = spec.get("affinity") or {}
    for name in ("podAffinity", "podAntiAffinity"):
        if (affinity.get(name) or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
            yield f"affinity.{name}"
    for constraint in spec.get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule":
            yield "topologySpreadConstraints"
    yield from (f for f in ("schedulingGates", "schedulingGroup", "nodeName") if spec.get(f))
    yield from (
        f"resourceClaims[{c.get('name', '')}].resourceClaimName"
        for c in spec.get("resourceClaims") or ()
        if not _template(c)
    )
    if spec.get("schedulerName", "default-scheduler") not in ("", "default-scheduler"):
        yield "schedulerName"
    for volume in spec.get("volumes") or ():
        yield from _unmodelled_volume(volume)


def _template(claim: Raw) -> str:
    """The template that each pod has a claim of its own from; "" for a claim that pods share."""
    return claim.get("resourceClaimTemplateName") or ""


def _unmodelled_volume(volume: Raw) -> Iterator[str]:
    if claim := volume.get("persistentVolumeClaim"):
        yield CLAIM_PREFIX + claim.get("claimName", "")
    if "ephemeral" in volume:
        yield f"volumes.ephemeral:{volume.get('name', '')}"
    yield from (f"volumes.{kind}" for kind in _UNSHARED_DISKS if kind in volume)
