"""What admission must know of Dynamic Resource Allocation: devices, what asks for them, who has them.

Objects of ``resource.k8s.io/v1`` are reduced to what counting needs. What is not modelled is kept by name
(`odd`), so that a gang that would depend on it is refused by name:

- of a request: `firstAvailable`, `allocationMode` other than ExactCount, `adminAccess`, `capacity`, selectors
  other than CEL; of a template: more than 16 selectors, and constraints other than `matchAttribute` on all devices of
  one kind of request;
- of a device: more than one claim at a time, shared counters, binding conditions, attributes that are lists,
  and not being of one named node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from sys import intern
from typing import Any, Final

from drumline.core.gang.types import EMPTY, Taint, Toleration

Raw = Mapping[str, Any]
DeviceId = tuple[str, str, str]  # driver, pool, device
Key = tuple[str, str]  # namespace, name
Attribute = bool | int | str

PREFIX: Final = "devices of class "  # no resource of a node is called so: names have no spaces
MAX_DEVICES: Final = 32  # of one claim, says the API
MAX_SELECTORS: Final = 16  # of one template: each is evaluated on every device
_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})
_ODD_DEVICE: Final = {
    "allowMultipleAllocations": "which may be shared between claims (allowMultipleAllocations)",
    "consumesCounters": "which is a part of something (consumesCounters)",
    "bindingConditions": "which is prepared before pods are bound (bindingConditions)",
}
_ODD_SCOPE: Final = ("nodeSelector", "allNodes", "perDeviceNodeSelection")
_ODD_REQUEST: Final = ("adminAccess", "capacity")


@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version, as an attribute."""

    text: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a ResourceSlice. `attributes` and `capacity` are by qualified name, ``domain/name``."""

    id: DeviceId
    attributes: Mapping[str, Attribute | Version] = field(default_factory=lambda: EMPTY)
    capacity: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # quantities as they stand
    taints: tuple[Taint, ...] = ()  # those that keep claims off
    odd: str = ""  # why it is not counted


@dataclass(frozen=True, slots=True)
class DeviceSlice:
    """A ResourceSlice."""

    name: str
    pool: tuple[str, str]  # driver, pool
    generation: int
    count: int  # of slices that the pool has in this generation
    node: str  # "" = not of one node
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceAsk:
    """What a request asks of each device. The class's own selectors are looked up when it is counted."""

    device_class: str
    selectors: tuple[str, ...] = ()  # CEL, all of which hold
    tolerations: tuple[Toleration, ...] = ()
    same: tuple[str, ...] = ()  # attributes that the devices of a claim have in common: counted in sets …
    size: int = 1  # … of so many

    @property
    def resource(self) -> str:
        """The name under which such devices are counted, fit for a message."""
        name = f"{PREFIX}{self.device_class}"
        if self.same:
            name += f" in sets of {self.size} with the same {' and '.join(self.same)}"
        if not self.selectors and not self.tolerations:
            return name
        return f"{name} [{sha256(repr((self.selectors, self.tolerations)).encode()).hexdigest()[:8]}]"


@dataclass(frozen=True, slots=True)
class ClaimTemplate:
    """A ResourceClaimTemplate: the devices of one claim made from it."""

    key: Key
    asks: tuple[tuple[DeviceAsk, int], ...] = ()
    odd: tuple[str, ...] = ()  # fields that are not modelled

    @property
    def devices(self) -> int:
        """Devices of one claim."""
        return sum(count * ask.size for ask, count in self.asks)


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """A DeviceClass."""

    name: str
    selectors: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A ResourceClaim that has devices."""

    key: Key
    uid: str
    node: str  # "" = its devices are of no one node
    devices: frozenset[DeviceId]
    pod: Key = ("", "")  # that it was made for
    pod_uid: str = ""


def read_slice(raw: Raw) -> DeviceSlice:
    """A raw ResourceSlice."""
    spec, pool = raw["spec"], raw["spec"]["pool"]
    key = intern(spec["driver"]), intern(pool["name"])
    scope = next((f"pool {key[1]} is not of one node ({f})" for f in _ODD_SCOPE if spec.get(f)), "")
    return DeviceSlice(
        name=raw["metadata"]["name"],
        pool=key,
        generation=int(pool.get("generation") or 0),
        count=int(pool.get("resourceSliceCount") or 0),
        node=intern(spec.get("nodeName") or ""),
        devices=tuple(_device(key, d, scope) for d in spec.get("devices") or ()),
    )


def read_class(raw: Raw) -> DeviceClass:
    """A raw DeviceClass."""
    selectors, odd = _selectors(raw.get("spec") or {}, "")
    return DeviceClass(raw["metadata"]["name"], selectors, odd)


def read_template(raw: Raw) -> ClaimTemplate:
    """A raw ResourceClaimTemplate."""
    devices = (raw["spec"].get("spec") or {}).get("devices") or {}
    asks: dict[DeviceAsk, int] = {}
    odd: list[str] = []
    for request in devices.get("requests") or ():
        ask, count, strange = _request(request)
        odd += strange
        asks[ask] = asks.get(ask, 0) + count
    if len({s for ask in asks for s in ask.selectors}) > MAX_SELECTORS:
        odd.append(f"more than {MAX_SELECTORS} selectors")
    if constraints := devices.get("constraints"):
        names = {request.get("name", "") for request in devices.get("requests") or ()}
        same = {_matched(constraint, names) for constraint in constraints}
        if "" in same or len(asks) != 1:
            odd.append("constraints")
        else:
            asks = {replace(ask, same=tuple(sorted(same)), size=n): 1 for ask, n in asks.items()}
    key = raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
    return ClaimTemplate(key, tuple(asks.items()), tuple(odd))


def _matched(constraint: Raw, requests: set[str]) -> str:
    """The attribute that all devices of a claim have in common; "" where a constraint says something else."""
    known = not constraint.keys() - {"requests", "matchAttribute"}
    every = set(constraint.get("requests") or requests) == requests
    return str(constraint.get("matchAttribute") or "") if known and every else ""


def read_claim(raw: Raw) -> HeldClaim | None:
    """A raw ResourceClaim; None while no devices are allocated to it."""
    metadata = raw["metadata"]
    allocation = (raw.get("status") or {}).get("allocation")
    if not allocation:
        return None
    results = (allocation.get("devices") or {}).get("results") or ()
    owner: Raw = next((o for o in metadata.get("ownerReferences") or () if o.get("kind") == "Pod"), {})
    namespace = intern(metadata.get("namespace", ""))
    return HeldClaim(
        key=(namespace, metadata["name"]),
        uid=metadata["uid"],
        node=_node_of(allocation.get("nodeSelector") or {}),
        devices=frozenset((r["driver"], r["pool"], r["device"]) for r in results if not r.get("adminAccess")),
        pod=(namespace, owner.get("name", "")),
        pod_uid=owner.get("uid", ""),
    )


def claim_template(pod_spec: Raw, name: str | None) -> str:
    """The ResourceClaimTemplate behind a pod's claim of that name; "" when there is none."""
    entries = pod_spec.get("resourceClaims") or ()
    found = (e.get("resourceClaimTemplateName") for e in entries if name and e.get("name") == name)
    return next(found, None) or ""


def _device(pool: tuple[str, str], raw: Raw, scope: str) -> Device:
    odd = scope or next((text for name, text in _ODD_DEVICE.items() if raw.get(name)), "")
    attributes: dict[str, Attribute | Version] = {}
    for name, value in (raw.get("attributes") or {}).items():
        kind, found = next(iter(value.items()), ("", ""))
        if kind not in ("int", "bool", "string", "version"):
            odd = odd or f"whose attribute {name} is of an unknown kind"
            continue
        attributes[_qualified(name, pool[0])] = Version(found) if kind == "version" else found
    capacity = (raw.get("capacity") or {}).items()
    return Device(
        id=(*pool, raw["name"]),
        attributes=attributes,
        capacity={_qualified(name, pool[0]): str(c.get("value", "0")) for name, c in capacity},
        taints=tuple(
            Taint(t["key"], t.get("value") or "", t["effect"])
            for t in raw.get("taints") or ()
            if t.get("effect") in _EFFECTS
        ),
        odd=odd,
    )


def _qualified(name: str, driver: str) -> str:
    """An attribute without a domain is of its driver's."""
    return intern(name if "/" in name else f"{driver}/{name}")


def _request(raw: Raw) -> tuple[DeviceAsk, int, list[str]]:
    name, exactly = raw.get("name", ""), raw.get("exactly") or {}
    where = f"requests[{name}]"
    odd = [f"{where}.{field}" for field in _ODD_REQUEST if exactly.get(field)]
    if not exactly.get("deviceClassName"):
        odd.append(f"{where}.{'firstAvailable' if raw.get('firstAvailable') else 'exactly'}")
    mode = exactly.get("allocationMode") or "ExactCount"
    if mode != "ExactCount":
        odd.append(f"{where}.allocationMode {mode}")
    selectors, strange = _selectors(exactly, f"{where}.")
    tolerations = tuple(_toleration(t) for t in exactly.get("tolerations") or ())
    ask = DeviceAsk(exactly.get("deviceClassName", ""), selectors, tolerations)
    return ask, int(exactly.get("count") or 1), [*odd, *strange]


def _selectors(raw: Raw, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """CEL expressions, and the names of selectors of other kinds."""
    entries = raw.get("selectors") or ()
    found = tuple(e["cel"]["expression"] for e in entries if e.get("cel"))
    return found, tuple(f"{where}selectors[{i}]" for i, e in enumerate(entries) if not e.get("cel"))


def _toleration(raw: Raw) -> Toleration:
    return Toleration(
        raw.get("key") or "", raw.get("operator") or "Equal", raw.get("value") or "", raw.get("effect") or ""
    )


def _node_of(selector: Raw) -> str:
    """The one node that an allocation is for."""
    names = set(_named(selector))
    return intern(names.pop()) if len(names) == 1 else ""


def _named(selector: Raw) -> Iterator[str]:
    for term in selector.get("nodeSelectorTerms") or ():
        for requirement in term.get("matchFields") or ():
            if requirement.get("key") == "metadata.name" and requirement.get("operator") == "In":
                yield from requirement.get("values") or ()
