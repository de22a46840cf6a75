"""Effective resource requests of a pod: what the scheduler charges a node for it.

    requests = max(sum of containers and sidecars, largest init phase)   per resource
    init phase of init container i = its own + the sidecars (restartable init containers) before it

A missing request defaults to the container's limit. Pod-level requests replace the sum for cpu, memory
and hugepages; overhead is added last, and one of ``pods``. A pod that is being resized in place counts
with the largest of what was asked, what is allotted and what is in effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from drumline.core.gang.quantity import canonical

Requests = tuple[tuple[str, int], ...]
Raw = Mapping[str, Any]


def effective_requests(spec: Raw, status: Raw | None = None) -> Requests:
    """Canonical requests of a raw PodSpec, sorted by name, zeros left out, `pods` included.

    `status` is given for a pod that is being resized. Raises ValueError for a malformed quantity.
    """
    containers: Sequence[Raw] = spec.get("containers") or ()
    plain = status is None and not (
        spec.get("initContainers") or spec.get("overhead") or spec.get("resources")
    )
    if plain and len(containers) == 1:
        return _finish(_own_requests(containers[0]))
    allotted = _allotted(status)
    total = _sum(_with_status(c, allotted) for c in containers)
    total = _with_init_containers(total, spec.get("initContainers") or (), allotted)
    total.update(_pod_level(spec, total))
    for name, value in _canonical(_items(spec.get("overhead"))):
        total[name] = total.get(name, 0) + value
    return _finish(tuple(sorted(total.items())))


def is_sidecar(container: Raw) -> bool:
    """An init container that keeps running."""
    return container.get("restartPolicy") == "Always"


def _with_init_containers(
    total: dict[str, int], init: Sequence[Raw], allotted: Mapping[str, Requests]
) -> dict[str, int]:
    peak: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in init:
        own = _with_status(container, allotted)
        phase = _sum((own, tuple(sidecars.items())))
        if is_sidecar(container):
            sidecars = phase
            total = _sum((own, tuple(total.items())))
        peak = _largest(peak, phase)
    return _largest(total, peak)


def _pod_level(spec: Raw, total: Mapping[str, int]) -> dict[str, int]:
    resources = spec.get("resources") or {}
    requests = dict(_canonical(_items(resources.get("requests"))))
    for name, value in _canonical(_items(resources.get("limits"))):
        requests.setdefault(name, total.get(name) or value)
    return {n: v for n, v in requests.items() if n in ("cpu", "memory") or n.startswith("hugepages-")}


def _own_requests(container: Raw) -> Requests:
    resources = container.get("resources")
    if not resources:
        return ()
    return _container(_items(resources.get("requests")), _items(resources.get("limits")))


def _with_status(container: Raw, allotted: Mapping[str, Requests]) -> Requests:
    own = _own_requests(container)
    other = allotted.get(container.get("name", ""))
    return tuple(_largest(dict(own), dict(other)).items()) if other else own


def _allotted(status: Raw | None) -> dict[str, Requests]:
    if status is None:
        return {}
    statuses = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    result: dict[str, Requests] = {}
    for entry in statuses:
        actual = _canonical(_items((entry.get("resources") or {}).get("requests")))
        allocated = _canonical(_items(entry.get("allocatedResources")))
        result[entry.get("name", "")] = tuple(_largest(dict(actual), dict(allocated)).items())
    return result


def _sum(parts: Iterable[Requests]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part:
            total[name] = total.get(name, 0) + value
    return total


def _largest(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {name: max(a.get(name, 0), b.get(name, 0)) for name in {**a, **b}}


def _items(resources: Raw | None) -> tuple[tuple[str, Any], ...]:
    return tuple(resources.items()) if resources else ()


# The caches below are what makes equal pods share one tuple, and 20,000 of them cheap to read.
@lru_cache(maxsize=4096)
def _canonical(items: tuple[tuple[str, Any], ...]) -> Requests:
    return tuple((name, canonical(name, quantity)) for name, quantity in items)


@lru_cache(maxsize=4096)
def _container(requests: tuple[tuple[str, Any], ...], limits: tuple[tuple[str, Any], ...]) -> Requests:
    return tuple({**dict(_canonical(limits)), **dict(_canonical(requests))}.items())


@lru_cache(maxsize=4096)
def _finish(requests: Requests) -> Requests:
    values = {name: value for name, value in requests if value > 0}
    return tuple(sorted({**values, "pods": 1}.items()))
