"""How many pods of a shape fit on a node, and if none, why: the scheduler's filters, restated.

Modelled: nodeSelector, required node affinity (terms ORed, expressions ANDed), taints NoSchedule and
NoExecute, every requested resource, host ports. Stricter than the scheduler in one way: a cordoned or not
ready node is never used, whatever the pod tolerates. What a node has given away is a mapping ``used`` of
resource to amount in which a taken host port is one more key (`port_key`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from drumline.core.gang.types import EMPTY, Node, PodShape, Requirement, Resources, Taint, Toleration

CORDONED: Final = "cordoned"
NOT_READY: Final = "not ready"
MISMATCH: Final = "do not match the pod's node selector or affinity"
PORT_TAKEN: Final = "have a host port taken"

_PORT: Final = "hostPort:"
_ANY_IP: Final = "0.0.0.0"  # noqa: S104 - an address in a pod spec, nothing is bound to it


def port_key(host_ip: str, protocol: str, port: int) -> str:
    """The key under which a taken host port stands in `used`."""
    return f"{_PORT}{protocol}:{port}:{host_ip}"


def charge_of(
    requests: Iterable[tuple[str, int]], host_ports: Iterable[tuple[str, str, int]], copies: int = 1
) -> dict[str, int]:
    """What `copies` pods take from a node, host ports included."""
    charge = {name: amount * copies for name, amount in requests}
    for port in host_ports:
        charge[port_key(*port)] = 1
    return charge


def shape_charge(shape: PodShape, copies: int = 1) -> dict[str, int]:
    """What `copies` pods of a shape take from a node, and what of that only counts for power."""
    return charge_of((*shape.requests, *shape.draws), shape.host_ports, copies)


def fits(node: Node, shape: PodShape, used: Resources = EMPTY) -> int:
    """How many pods of this shape the node takes beside what is `used`; 0 if it takes none."""
    return examine(node, shape, used)[0]


def why_not(node: Node, shape: PodShape, used: Resources = EMPTY) -> str:
    """What keeps a pod of this shape off the node, in words that follow a count of nodes; "" if nothing does."""
    return examine(node, shape, used)[1]


def examine(node: Node, shape: PodShape, used: Resources = EMPTY) -> tuple[int, str]:
    """`fits` and `why_not` in one."""
    obstacle = standing_obstacle(node, shape)
    if obstacle:
        return 0, obstacle
    copies, scarce = _copies(node.allocatable, shape, used)
    if copies < 1:
        return 0, f"insufficient {scarce}"
    if shape.host_ports:
        return (0, PORT_TAKEN) if _port_taken(shape, used) else (1, "")
    return copies, ""


def standing_obstacle(node: Node, shape: PodShape) -> str:
    """What keeps the shape off the node whatever is free there; "" if nothing does."""
    if node.unschedulable:
        return CORDONED
    if not node.ready:
        return NOT_READY
    labels = node.labels
    if any(labels.get(key) != value for key, value in shape.node_selector) or not _affine(node, shape):
        return MISMATCH
    for taint in node.taints:
        if taint.effect != "PreferNoSchedule" and not any(tolerates(t, taint) for t in shape.tolerations):
            value = f"={taint.value}" if taint.value else ""
            return f"with untolerated taint {taint.key}{value}:{taint.effect}"
    return ""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether the toleration covers the taint."""
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return toleration.operator in ("", "Equal") and (toleration.key, toleration.value) == (
        taint.key,
        taint.value,
    )


def holds(requirement: Requirement, labels: Mapping[str, str], name: str) -> bool:
    """Whether a node of this name with these labels meets the requirement."""
    if requirement.is_field:
        value = name if requirement.key == "metadata.name" else None
    else:
        value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, requirement)
        case _:
            return False


def _affine(node: Node, shape: PodShape) -> bool:
    if not shape.affinity:
        return True
    # a term without requirements matches nothing, unlike all() of nothing
    return any(term and all(holds(r, node.labels, node.name) for r in term) for term in shape.affinity)


def _compares(value: str | None, requirement: Requirement) -> bool:
    try:
        left, right = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return left > right if requirement.operator == "Gt" else left < right


def _copies(allocatable: Resources, shape: PodShape, used: Resources) -> tuple[int, str]:
    copies, scarce = -1, ""
    for name, amount in shape.requests:
        room = (allocatable.get(name, 0) - used.get(name, 0)) // amount
        if copies < 0 or room < copies:
            copies, scarce = max(0, room), name
            if copies == 0:
                break
    return copies, scarce


def _port_taken(shape: PodShape, used: Resources) -> bool:
    return any(_clash(ip, f"{_PORT}{protocol}:{port}:", used) for ip, protocol, port in shape.host_ports)


def _clash(ip: str, prefix: str, used: Resources) -> bool:
    taken = (key[len(prefix) :] for key, amount in used.items() if amount > 0 and key.startswith(prefix))
    return any(_ANY_IP in (ip, other) or ip == other for other in taken)
