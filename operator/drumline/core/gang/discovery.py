"""How the members of a gang find each other: a headless Service without a selector and its EndpointSlices.

With no selector no controller of Kubernetes writes endpoints: the operator writes them itself, a few
writes a gang, with the host names of the current attempt only.

Layout. Member i of the gang (rank order) stands in chunk ``i // 1000`` of the set of its address family;
the slices are ``<service>-ipv4-<chunk>`` and ``<service>-ipv6-<chunk>``. The chunk of a member never
changes, so a write touches only the slices that changed. A slice that has no member left is emptied, not
deleted: it goes with its owner.

Pace. Published at once: rank 0 (peers must not cache its absence) when it has an address and when it has none
any more, and an empty set (the fence that stands before the next attempt's pods exist). Everything else is
written at most once a second, and while some pod has no address yet, at most every three; before rank 0 has one,
nobody is published. The gang can't work before it is whole, and a small one then takes two writes, or one.
Several gangs under one Service have a rank 0 each (`firsts`).

CoreDNS leaves out endpoints that are not ready, so ``ready`` is always true. kube-dns reads only the old
Endpoints object: where it serves, one such object (at most 1000 addresses, rank 0 first) is written too.
What was once written is kept true: mode Auto goes on with an Endpoints object that is there although kube-dns
is not to be seen any more (its pods may be about to come back), mode EndpointSlice empties it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from drumline.api.meta import APP_MANAGED_BY, GROUP, INFERENCE_SERVICE, LABEL_JOB, LABEL_SERVICE
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Action, Apply

MAX_ENDPOINTS: Final = 1000  # per EndpointSlice, and in an Endpoints object
INTERVAL_SECONDS: Final = 1.0
COMING_SECONDS: Final = 3.0  # the same, while more is to come

Published = tuple[tuple[str, tuple[str, ...]], ...]  # (host name, addresses), as an object holds them

_EMPTY: Mapping[str, Published] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A member and its addresses; no addresses while its pod has none."""

    hostname: str
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedService:
    """A Service of the gang's name. `ours`: its controller is the gang's owner, by uid."""

    ours: bool
    uid: str = ""
    owner: str = ""  # for messages, e.g. "Deployment/web"; "" = nobody's


@dataclass(frozen=True, slots=True)
class ObservedDiscovery:
    """What is published now. `last_written_at` is when this gang's endpoints were last written."""

    service: ObservedService | None = None
    slices: Mapping[str, Published] = field(default_factory=lambda: _EMPTY)  # by name, ours only
    endpoints: Published | None = None  # the Endpoints object, None = there is none
    last_written_at: float = 0.0
    kube_dns: bool = False  # the cluster's DNS reads only Endpoints (decides mode Auto)

    @property
    def published(self) -> bool:
        """Some address stands in some object."""
        return any(self.slices.values()) or bool(self.endpoints)


def plan_discovery(
    owner: Owner,
    service: str,
    endpoints: Sequence[Endpoint],
    observed: ObservedDiscovery,
    now: float,
    *,
    mode: str = "Auto",
    coming: Collection[int] = (),
    firsts: Collection[int] = (0,),
) -> tuple[tuple[Action, ...], float | None]:
    """What to write so that `endpoints` (the whole gang, in rank order) resolve, and seconds to the next look.

    No endpoints at all empties what is published, at once. `mode` is Auto, EndpointSlice or Endpoints.
    `coming` are the members whose pod is there and has no address yet, `firsts` those that are published at once.
    Nothing is written beside a Service that is not ours.
    """
    if observed.service is not None and not observed.service.ours:
        return (), None
    actions: list[Action] = []
    if observed.service is None:
        actions.append(Apply("services", service_manifest(owner, service)))
    changes = [*_slice_changes(owner, service, endpoints, observed)]
    if mode == "Endpoints" or (mode == "Auto" and observed.kube_dns) or observed.endpoints is not None:
        wanted = () if mode == "EndpointSlice" else endpoints
        changes += _endpoints_change(owner, service, wanted, observed)
    if firsts and not observed.published and all(first in coming for first in firsts):
        return tuple(actions), None
    interval = COMING_SECONDS if coming else INTERVAL_SECONDS
    wait = observed.last_written_at + interval - now
    if changes and wait > 0 and not _urgent(endpoints, firsts, observed):
        return tuple(actions), min(wait, interval)
    return (*actions, *changes), None


def is_kube_dns(pod: Mapping[str, Any]) -> bool:
    """Whether a raw v1.Pod is one of kube-dns.

    CoreDNS has kube-dns's Service name and label, for compatibility; only kube-dns has a container `kubedns`.
    """
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if metadata.get("namespace") != "kube-system" or labels.get("k8s-app") != "kube-dns":
        return False
    return any(c.get("name") == "kubedns" for c in (pod.get("spec") or {}).get("containers") or ())


def service_manifest(owner: Owner, service: str) -> dict[str, Any]:
    """The headless Service: no selector, no ports, names only."""
    return _manifest(("v1", "Service"), owner, service, {"spec": {"clusterIP": "None", "type": "ClusterIP"}})


def _urgent(endpoints: Sequence[Endpoint], firsts: Collection[int], observed: ObservedDiscovery) -> bool:
    if not any(endpoint.ips for endpoint in endpoints):
        return True
    known: dict[str, set[str]] = {}
    for content in observed.slices.values():
        for host, ips in content:
            known.setdefault(host, set()).update(ips)
    return any(known.get(e.hostname, set()) != set(e.ips) for e in (endpoints[first] for first in firsts))


def _slice_changes(
    owner: Owner, service: str, endpoints: Sequence[Endpoint], observed: ObservedDiscovery
) -> Iterator[Apply]:
    wanted = dict(_wanted_slices(service, endpoints))
    for name in sorted({*wanted, *observed.slices}):
        content = wanted.get(name, ())
        if content != observed.slices.get(name, ()):
            yield Apply("endpointslices", _slice_manifest(owner, service, name, content))


def _wanted_slices(service: str, endpoints: Sequence[Endpoint]) -> Iterator[tuple[str, Published]]:
    for start in range(0, len(endpoints), MAX_ENDPOINTS):
        chunk = endpoints[start : start + MAX_ENDPOINTS]
        for family in ("ipv4", "ipv6"):
            content = tuple((e.hostname, ips) for e in chunk if (ips := _of_family(e.ips, family)))
            if content:
                yield f"{service}-{family}-{start // MAX_ENDPOINTS}", content


def _of_family(ips: tuple[str, ...], family: str) -> tuple[str, ...]:
    return tuple(ip for ip in ips if (":" in ip) == (family == "ipv6"))


def _slice_manifest(owner: Owner, service: str, name: str, content: Published) -> dict[str, Any]:
    labels = {
        "kubernetes.io/service-name": service,
        "endpointslice.kubernetes.io/managed-by": GROUP,
        # without it every kube-proxy of the cluster is sent each update
        "service.kubernetes.io/headless": "",
    }
    body = {
        "addressType": "IPv6" if name.rpartition("-")[0].endswith("-ipv6") else "IPv4",
        "ports": [],
        "endpoints": [
            {"addresses": list(ips), "hostname": host, "conditions": {"ready": True}} for host, ips in content
        ],
    }
    return _manifest(("discovery.k8s.io/v1", "EndpointSlice"), owner, name, body, labels)


def _endpoints_change(
    owner: Owner, service: str, endpoints: Sequence[Endpoint], observed: ObservedDiscovery
) -> Iterator[Apply]:
    content: Published = tuple((e.hostname, e.ips[:1]) for e in endpoints if e.ips)[:MAX_ENDPOINTS]
    if content == (observed.endpoints or ()):
        return
    addresses = [{"ip": ips[0], "hostname": host} for host, ips in content]
    body = {"subsets": [{"addresses": addresses}] if addresses else []}
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true", "service.kubernetes.io/headless": ""}
    yield Apply("endpoints", _manifest(("v1", "Endpoints"), owner, service, body, labels))


def _manifest(
    kind: tuple[str, str],
    owner: Owner,
    name: str,
    body: Mapping[str, Any],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    label = LABEL_SERVICE if owner.kind == INFERENCE_SERVICE else LABEL_JOB
    metadata = {
        "name": name,
        "namespace": owner.namespace,
        "labels": {label: owner.name, APP_MANAGED_BY: "drumline", **labels},
        "ownerReferences": [owner.owner_reference()],
    }
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, **body}
