"""What is free, kept up event by event, and what every pod shape can make of it.

    free = allocatable - requests of bound or nominated pods that have not ended - reservations

A reservation stands for its gang: on each node the gang is charged the larger of its reservation and its own
pods' sum there, resource by resource, so that a pod that appears where it was planned costs nothing more and a
pod of an older attempt that still holds a node is not overlooked.

Two views share the nodes. ``now`` is charged with everything; ``later`` only with pods that belong to no gang:
what a gang could have if all others ended (see `capacity_view`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice

from drumline.core.gang.capacity_view import View
from drumline.core.gang.equipment import Claims, Equipment, bare, equipped, in_full
from drumline.core.gang.feasibility import charge_of, shape_charge
from drumline.core.gang.power import NO_POWER, Coverage, Power, Supply
from drumline.core.gang.power_meter import PowerMeter
from drumline.core.gang.projection_requests import Requests
from drumline.core.gang.repulsion import EVERYWHERE, repels
from drumline.core.gang.topology import Hierarchy, Topology
from drumline.core.gang.types import (
    EMPTY,
    GangRequest,
    Node,
    Placement,
    Pod,
    Repulsion,
    Resources,
)


class Capacity:
    """The cluster's nodes, the pods on them and the reservations of gangs."""

    def __init__(self, topology: Topology | None = None, power: Power = NO_POWER) -> None:
        self.topology = topology or Topology()
        self.nodes: dict[str, Node] = {}
        self.now = View(self.nodes, PowerMeter(power, self.topology))
        self.later = View(self.nodes, PowerMeter(power, self.topology))
        self._pods: dict[tuple[str, str], tuple[str, str, dict[str, int]]] = {}  # → node, gang, charge
        self._gang_pods: dict[tuple[str, str], dict[str, int]] = {}  # (gang, node) → sum of its pods
        self._reserved: dict[str, dict[str, dict[str, int]]] = {}  # gang → node → charge
        self._holders: dict[str, set[str]] = {}  # node → gangs
        self._spread: dict[str, set[str]] = {}  # gang → nodes
        self.devices: Claims | None = None  # who counts devices, where the cluster has any
        self._equipment: dict[str, Equipment] = {}  # node → its devices
        self.now.equipment = self.later.equipment = self._equipment
        self._labels: Counter[str] = Counter()
        self._repelling: dict[str, dict[Repulsion, Counter[str]]] = {}  # namespace → … → node → pods with it
        self._repels: dict[tuple[str, str], tuple[str, tuple[Repulsion, ...]]] = {}  # pod → node, what it has

    def equip(self, name: str, equipment: Equipment) -> None:
        """From now on a node has these devices, if it is there."""
        before = {gang: self._gang_charge(gang, name) for gang in self.holders(name)}
        self._equipment[name] = equipment
        for gang, charge in before.items():
            self._settle(gang, name, charge)
        if (node := self.nodes.get(name)) is not None:
            self.set_node(bare(node))

    def set_node(self, node: Node) -> None:
        """A node came or changed."""
        node = equipped(node, self._equipment.get(node.name))
        before = self.nodes.get(node.name)
        if before == node:
            return
        if before is not None:
            self._count_labels(before, -1)
        self._count_labels(node, 1)
        self.nodes[node.name] = node
        self.now.changed(node.name)
        self.later.changed(node.name)

    def remove_node(self, name: str) -> None:
        """A node went; what is charged on it stays until the pods are gone."""
        node = self.nodes.pop(name, None)
        if node is not None:
            self._count_labels(node, -1)
            self.now.changed(name)
            self.later.changed(name)

    def set_power(self, power: Power) -> None:
        """Budgets, or what accelerators draw, changed."""
        for view in (self.now, self.later):
            view.metered(PowerMeter(power, self.topology))

    def supplies(self) -> tuple[Supply, ...]:
        """How each domain with a power budget stands."""
        return self.now.meter.supplies()

    def coverage(self) -> tuple[Coverage, ...]:
        """The domains of which each power budget speaks."""
        return self.now.meter.coverage()

    def set_pod(self, pod: Pod) -> None:
        """A pod came or changed."""
        key = (pod.namespace, pod.name)
        self._set_repulsions(key, "" if pod.terminal else pod.node, pod.repels)
        if not pod.node or pod.terminal:
            self._drop(key)
            return
        gang = pod.member.gang if pod.member is not None else ""
        charge = _pod_charge(pod.requests, pod.host_ports)
        if self._pods.get(key) != (pod.node, gang, charge):
            self._drop(key)
            self._pods[key] = (pod.node, gang, charge)
            self._charge(pod.node, gang, charge, 1)

    def remove_pod(self, namespace: str, name: str) -> None:
        """A pod went."""
        self._set_repulsions((namespace, name), "", ())
        self._drop((namespace, name))

    def reserve(self, request: GangRequest, placement: Placement) -> None:
        """Hold a placement for a gang, in place of what it held before."""
        if self.devices is not None:
            request = self.devices.held(request)
        charges = gang_charges(request, placement.nodes)
        before = self._reserved.get(request.uid, {})
        if before != charges:
            self._change_reservation(request.uid, before, charges)

    def reserve_too(self, request: GangRequest, placement: Placement) -> None:
        """Hold a placement beside what the gang has, which is its own until it begins there and `reserve` says so.

        Should that never be, as when the leader ends before the gang's status names the new places, the gang is where
        it was, and nobody else may have been let in.
        """
        before = self._reserved.get(request.uid, {})
        after = dict(gang_charges(request, placement.nodes))
        for node, charge in before.items():
            other = after.get(node, EMPTY)
            after[node] = {n: max(charge.get(n, 0), other.get(n, 0)) for n in {**charge, **other}}
        if before != after:
            self._change_reservation(request.uid, before, after)

    def release(self, uid: str) -> None:
        """Give a gang's reservation back; its pods still count until they are gone."""
        self._change_reservation(uid, self._reserved.get(uid, {}), {})
        self._reserved.pop(uid, None)
        self.forget(uid)

    def forget(self, uid: str) -> None:
        """A gang that holds nothing waits no more either."""
        if self.devices is not None and uid not in self._reserved:
            self.devices.forget(uid)

    def reserved(self, uid: str) -> bool:
        """Whether a gang holds a reservation."""
        return uid in self._reserved

    def has_pods(self, uid: str) -> bool:
        """Whether pods of a gang that have not ended are on nodes."""
        return any((uid, node) in self._gang_pods for node in self._spread.get(uid, ()))

    def repelling(self, request: GangRequest) -> frozenset[str]:
        """Nodes with a pod whose required anti-affinity keeps pods of this gang off."""
        matching = (
            nodes
            for namespace in (request.namespace, *EVERYWHERE)
            for repulsion, nodes in self._repelling.get(namespace, {}).items()
            if any(repels(repulsion, request.namespace, labels) for labels in request.labels)
        )
        return frozenset().union(*matching)

    def holders(self, node: str) -> frozenset[str]:
        """Uids of the gangs with a reservation or a pod on a node."""
        return frozenset(self._holders.get(node, ()))

    def hierarchy(self, level: str) -> Hierarchy | None:
        """The hierarchy that a level ("" = any) belongs to in this cluster; None: no such level."""
        return self.topology.hierarchy(level, self._labels.keys())

    def scaling_up(self) -> Hierarchy | None:
        """The hierarchy with a scale-up level that nodes of this cluster have labels of."""
        return self.topology.scaling_up(self._labels.keys())

    @contextmanager
    def without(self, uid: str) -> Iterator[None]:
        """Inside the block nothing that this gang holds is charged in `now`."""
        charges = {node: self._gang_charge(uid, node) for node in self._spread.get(uid, ())}
        for node, charge in charges.items():
            self.now.recharge(node, charge, EMPTY)
        try:
            yield
        finally:
            for node, charge in charges.items():
                self.now.recharge(node, EMPTY, charge)

    def _set_repulsions(self, key: tuple[str, str], node: str, after: tuple[Repulsion, ...]) -> None:
        """Keep count of the anti-affinity terms on nodes; nearly no pod has any."""
        if not after and key not in self._repels:
            return
        where, before = self._repels.pop(key, ("", ()))
        for namespace, repulsion in _each(before):
            nodes = self._repelling[namespace][repulsion]
            nodes[where] -= 1
            if not nodes[where]:
                del nodes[where]
            if not nodes:
                del self._repelling[namespace][repulsion]
        if node and after:
            self._repels[key] = node, after
            for namespace, repulsion in _each(after):
                found = self._repelling.setdefault(namespace, {})
                found.setdefault(repulsion, Counter())[node] += 1

    def _change_reservation(
        self, uid: str, before: Mapping[str, Resources], after: dict[str, dict[str, int]]
    ) -> None:
        nodes = {*before, *after}
        charges = {node: self._gang_charge(uid, node) for node in nodes}
        self._reserved[uid] = after
        for node in nodes:
            self._settle(uid, node, charges[node])

    def _drop(self, key: tuple[str, str]) -> None:
        known = self._pods.pop(key, None)
        if known is not None:
            node, gang, charge = known
            self._charge(node, gang, charge, -1)

    def _charge(self, node: str, gang: str, charge: dict[str, int], sign: int) -> None:
        if not gang:
            for view in (self.now, self.later):
                view.recharge(node, *((EMPTY, charge) if sign > 0 else (charge, EMPTY)))
            return
        before = self._gang_charge(gang, node)
        total = dict(self._gang_pods.get((gang, node), EMPTY))
        for name, amount in charge.items():
            total[name] = total.get(name, 0) + sign * amount
        total = {name: amount for name, amount in total.items() if amount}
        if total:
            self._gang_pods[gang, node] = total
        else:
            self._gang_pods.pop((gang, node), None)
        self._settle(gang, node, before)

    def _gang_charge(self, gang: str, node: str) -> Resources:
        pods = self._gang_pods.get((gang, node), EMPTY)
        reserved = self._reserved.get(gang, EMPTY).get(node, EMPTY)
        if reserved and self._equipment:
            reserved = in_full(self._equipment, node, reserved)
        if not pods or not reserved or pods == reserved:
            return reserved or pods
        return {name: max(pods.get(name, 0), reserved.get(name, 0)) for name in {**pods, **reserved}}

    def _settle(self, gang: str, node: str, before: Resources) -> None:
        after = self._gang_charge(gang, node)
        self.now.recharge(node, before, after)
        if after:
            self._holders.setdefault(node, set()).add(gang)
            self._spread.setdefault(gang, set()).add(node)
            return
        for index, key, value in ((self._holders, node, gang), (self._spread, gang, node)):
            values = index.get(key, set())
            values.discard(value)
            if not values:
                index.pop(key, None)

    def _count_labels(self, node: Node, sign: int) -> None:
        for label in self.topology.labels() & node.labels.keys():
            self._labels[label] += sign
            if not self._labels[label]:
                del self._labels[label]


def _each(repulsions: Iterable[Repulsion]) -> Iterator[tuple[str, Repulsion]]:
    return ((namespace, repulsion) for repulsion in repulsions for namespace in repulsion.namespaces)


@lru_cache(maxsize=4096)
def _pod_charge(requests: Requests, host_ports: tuple[tuple[str, str, int], ...]) -> dict[str, int]:
    """One mapping for all equal pods; nobody writes to it."""
    return charge_of(requests, host_ports)


def gang_charges(request: GangRequest, nodes: Iterable[str]) -> dict[str, dict[str, int]]:
    """What a gang whose pods stand on these nodes, in index order, takes from each of them; "" is none."""
    names = iter(nodes)
    charges: dict[str, dict[str, int]] = {}
    groups = [(request.workers, request.worker), *((h.count, h.shape) for h in request.helpers)]
    for count, shape in (*groups, (None, request.worker)):
        places = Counter(filter(None, islice(names, count)))
        for node, copies in places.items():
            total = charges.setdefault(node, {})
            for name, amount in shape_charge(shape, copies).items():
                total[name] = total.get(name, 0) + amount
    return charges
