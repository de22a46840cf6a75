"""Devices for tests: raw objects of resource.k8s.io/v1, and a cluster that counts them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_asks import Matches, SelectorError
from drumline.core.gang.device_capacity import Devices
from drumline.core.gang.devices import Device, Key, read_claim, read_class, read_slice, read_template
from drumline.core.gang.types import GangRequest, Member, Node
from tests.builders import capacity, gang, node, shape

DRIVER = "gpu.example.com"
Raw = dict[str, Any]


def matches(expression: str, device: Device, _namespaces: Collection[str] = ()) -> bool:
    """Selectors of tests: `yes`, `broken`, or `attribute=value`."""
    if expression == "broken":
        raise SelectorError(f"selector 'broken' on device {'/'.join(device.id)}: no such key")
    name, _, value = expression.partition("=")
    return expression == "yes" or str(device.attributes.get(f"{DRIVER}/{name}")) == value


def raw_slice(
    on: str, *devices: str | Raw, name: str = "", generation: int = 1, count: int = 1, **spec: Any
) -> Raw:
    """A slice of a pool that is called like its node."""
    made = [d if isinstance(d, dict) else {"name": d} for d in devices]
    pool = {"name": spec.pop("pool", on), "generation": generation, "resourceSliceCount": count}
    scope = {"nodeName": on} if on and not spec else {}
    return {
        "metadata": {"name": name or f"{on}-slice"},
        "spec": {"driver": DRIVER, "pool": pool, "devices": made, **scope, **spec},
    }


def gpus(count: int, first: int = 0, **more: Any) -> list[Raw]:
    """Devices gpu-0, gpu-1, …; `more` are attributes."""
    attributes = {name: {"string": value} for name, value in more.items()}
    return [{"name": f"gpu-{i}", "attributes": attributes} for i in range(first, first + count)]


def raw_class(name: str = "gpu", *selectors: str) -> Raw:
    """A class; without selectors all devices are of it."""
    return {
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": s}} for s in selectors]},
    }


def raw_request(
    count: int = 1, device_class: str = "gpu", *selectors: str, name: str = "r", **more: Any
) -> Raw:
    """A request of so many devices of a class."""
    cel = [{"cel": {"expression": s}} for s in selectors]
    exactly = {"deviceClassName": device_class, "count": count, "selectors": cel, **more}
    return {"name": name, "exactly": exactly}


def raw_template(name: str, *requests: Raw, **devices: Any) -> Raw:
    """A template in namespace `ml`."""
    spec = {"spec": {"devices": {"requests": list(requests), **devices}}}
    return {"metadata": {"namespace": "ml", "name": name}, "spec": spec}


def raw_claim(name: str, on: str, *devices: str, pod: str = "") -> Raw:
    """An allocated claim in namespace `ml`; made for that pod, whose uid is like its name."""
    owners = [{"kind": "Pod", "name": pod, "uid": f"{pod}-uid", "controller": True}] if pod else []
    field = {"key": "metadata.name", "operator": "In", "values": [on]}
    allocation = {
        "devices": {
            "results": [{"driver": DRIVER, "pool": on, "device": d, "request": "r"} for d in devices]
        },
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]},
    }
    metadata = {"namespace": "ml", "name": name, "uid": f"{name}-uid", "ownerReferences": owners}
    return {"metadata": metadata, "status": {"allocation": allocation}}


class Site:
    """A cluster with devices; everything is put in raw, and again to change it."""

    def __init__(self, *nodes: str | Node, matches: Matches = matches) -> None:
        self.capacity: Capacity = capacity([n if isinstance(n, Node) else node(n, gpus=0) for n in nodes])
        self.members: dict[Key, Member] = {}
        self.devices = Devices(self.capacity, matches, lambda key, uid: self.members.get(key))
        self._seen: dict[tuple[str, str], Any] = {}

    def put(self, *raws: Raw) -> Site:
        """Slices, classes, templates and claims, told apart by what they have."""
        for raw in raws:
            read, take = self._kind(raw)
            key = take.__name__, raw["metadata"]["name"]
            old, new = self._seen.get(key), read(raw)
            self._seen[key] = new
            take(old, new)
        return self

    def remove(self, raw: Raw) -> None:
        """It is deleted."""
        take = self._kind(raw)[1]
        take(self._seen.pop((take.__name__, raw["metadata"]["name"]), None), None)

    def _kind(self, raw: Raw) -> tuple[Any, Any]:
        if "status" in raw:
            return read_claim, self.devices.set_claim
        if "pool" in raw["spec"]:
            return read_slice, self.devices.set_slice
        if "spec" in raw["spec"]:
            return read_template, self.devices.set_template
        return read_class, self.devices.set_class

    def free(self, name: str = "devices of class gpu") -> dict[str, int]:
        """Free devices by node."""
        found = {}
        for each in self.capacity.nodes.values():
            if name in each.allocatable:
                found[each.name] = each.allocatable[name] - self.capacity.now.used(each.name).get(name, 0)
        return found


def claiming(uid: str, workers: int, *templates: str, **more: Any) -> GangRequest:
    """A gang in namespace `ml` whose workers have a claim from each of these templates."""
    worker = shape(claims=templates or ("two",))
    return gang(uid, workers, gpus=0, **{"worker": worker, "namespace": "ml", **more})
