"""Devices as counted resources: what Dynamic Resource Allocation adds to a node's capacity, and to a gang's needs.

    free = devices that match the ask - devices of claims that are allocated - reservations

An ask (class, selectors, tolerations) is counted under a name of its own, as if it were a resource of the node:

1. A node's allocatable has, for each ask, how many of its devices match (`device_asks`).
2. An allocated claim is charged like a pod on its devices' node, for each ask by how many of them match. A claim made
   for a pod of a gang is charged to the gang, so that it takes from the gang's reservation and is not charged twice.
3. A reservation for an ask is charged, on nodes where others match the very same devices, to those as well.
4. Devices that are accelerators are charged once more, for power budgets alone (`device_power`).

An ask is known from the first gang that has it on; only what changes is looked at again. Where no gang has claims
nothing of this is computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_asks import KnownAsk, Matches, Relations
from drumline.core.gang.device_limits import too_many
from drumline.core.gang.device_pools import Pools
from drumline.core.gang.device_power import Accelerators
from drumline.core.gang.devices import (
    MAX_DEVICES,
    ClaimTemplate,
    DeviceAsk,
    DeviceClass,
    DeviceSlice,
    HeldClaim,
    Key,
)
from drumline.core.gang.equipment import Equipment
from drumline.core.gang.power import claimed
from drumline.core.gang.types import GangRequest, Member, Pod, PodShape, Refusal

Amounts = tuple[tuple[str, int], ...]
MemberOf = Callable[[Key, str], Member | None]  # pod's key and uid → its place in a gang

NOTHING_KNOWN: Final = Refusal(
    Reason.UNSUPPORTED_SCHEDULING,
    "the pods have resourceClaims, and nothing is known of devices (resource.k8s.io/v1)",
)
_UNKNOWN = DeviceClass("")


class Devices:
    """Slices, classes, templates and claims of the cluster, kept up in `capacity`."""

    def __init__(
        self, capacity: Capacity, matches: Matches, member_of: MemberOf, *, whole: bool = True
    ) -> None:
        """Counted from now on; if it is not `whole` yet, from `attach` on."""
        self._capacity = capacity
        self._matches = matches
        self._member_of = member_of
        self._pools = Pools()
        self._classes: dict[str, DeviceClass] = {}
        self._templates: dict[Key, ClaimTemplate] = {}
        self._asks: dict[str, KnownAsk] = {}  # by resource name, in the order of their coming
        self._relations = Relations()
        self._accelerators = Accelerators()
        self._claims: dict[Key, tuple[HeldClaim, Member | None]] = {}
        self._on_node: dict[str, set[Key]] = {}  # claims
        self._of_pod: dict[str, set[Key]] = {}  # pod's uid → claims
        self._held: dict[str, GangRequest] = {}  # what gangs with reservations asked, resolved
        if whole:
            self.attach()

    def attach(self) -> None:
        """All slices, classes, templates and claims that there are have been seen: gangs may have them."""
        self._capacity.devices = self

    def set_class(self, old: DeviceClass | None, new: DeviceClass | None) -> None:
        """A class came, changed or went."""
        name = (new or old or _UNKNOWN).name
        if new is None:
            self._classes.pop(name, None)
        else:
            self._classes[name] = new
        if any(known.ask.device_class == name for known in self._asks.values()):
            self._renew(tuple(self._pools.nodes()))

    def set_template(self, old: ClaimTemplate | None, new: ClaimTemplate | None) -> None:
        """A template came, changed or went."""
        if new is not None:
            self._templates[new.key] = new
        elif old is not None:
            self._templates.pop(old.key, None)

    def set_slice(self, old: DeviceSlice | None, new: DeviceSlice | None) -> None:
        """A slice came, changed or went."""
        touched = self._pools.take(old, new)
        if self._asks:
            self._renew(touched)

    def set_claim(self, old: HeldClaim | None, new: HeldClaim | None) -> None:
        """A claim was given devices, or they were taken back."""
        if old is not None:
            self._drop(old)
            self._count_sets(old.node)
        if new is not None and new.node:
            member = self._member_of(new.pod, new.pod_uid) if new.pod_uid else None
            self._claims[new.key] = new, member
            self._on_node.setdefault(new.node, set()).add(new.key)
            if new.pod_uid:
                self._of_pod.setdefault(new.pod_uid, set()).add(new.key)
            if self._asks:
                self._charge(new, member)
                self._count_sets(new.node)

    def pod_seen(self, uid: str, member: Member) -> None:
        """A pod of a gang is there: claims that were made for it are the gang's."""
        for key in self._of_pod.get(uid, ()):
            claim, known = self._claims[key]
            if known is None:
                self._claims[key] = claim, member
                if self._asks:
                    self._charge(claim, member)

    def answered(self, expression: str) -> None:
        """It is known now for which devices a selector holds, or why that can't be told."""
        for known in self._asks.values():
            if known.unsure and known.uses(expression, self._classes.get(known.ask.device_class)):
                self._renew(known.unsure, (known,))

    def resolve(self, request: GangRequest) -> GangRequest | Refusal:
        """The request with its claims as counted resources, or why they can't be counted."""
        if not request.claims:
            return request
        asked = self._asked_by_role(request)
        if isinstance(asked, Refusal):
            return asked
        refusal = (
            self._wrong_count(request)
            or self._too_many(request, asked)
            or self._unsettled()
            or self._uncountable(request, asked)
        )
        return self._counted(request, asked) if refusal is None else refusal

    def held(self, request: GangRequest) -> GangRequest:
        """The request of a gang that has its nodes; as it was before where its templates are gone, or ask too much."""
        if not request.claims:
            return request
        asked, known = self._asked_by_role(request), self._held.get(request.uid)
        if isinstance(asked, Refusal) or (known is not None and self._too_many(request, asked) is not None):
            if known is None:
                return replace(
                    request, worker=replace(request.worker, draws=_draws(request, _chips(request)))
                )
            return replace(request, worker=known.worker, helpers=known.helpers)
        for ask in {a for counts in asked for a in counts}:
            self._know(ask, request.namespace).use(request.uid, request.namespace, request.name)
        found = self._held[request.uid] = self._counted(request, asked)
        return found

    def forget(self, uid: str) -> None:
        """The gang neither waits nor holds anything."""
        self._held.pop(uid, None)
        for known in self._asks.values():
            known.forget(uid)

    def _asked_by_role(self, request: GangRequest) -> list[Counter[DeviceAsk]] | Refusal:
        """Devices of one pod by ask: the workers', then each helper's."""
        found: list[Counter[DeviceAsk]] = []
        for shape in (request.worker, *(h.shape for h in request.helpers)):
            asked = self._asked(request.namespace, shape)
            if isinstance(asked, Refusal):
                return asked
            found.append(asked)
        return found

    def _asked(self, namespace: str, shape: PodShape) -> Counter[DeviceAsk] | Refusal:
        """Devices of one pod by ask."""
        total: Counter[DeviceAsk] = Counter()
        for name in shape.claims:
            template, where = (
                self._templates.get((namespace, name)),
                f"resourceclaimtemplate {namespace}/{name}",
            )
            if template is None:
                return Refusal(Reason.NO_FEASIBLE_NODE, f"{where} does not exist")
            if template.odd:
                text = f"{where}: gang placement does not model {', '.join(template.odd)}"
                return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
            if template.devices > MAX_DEVICES:
                text = f"{where}: asks for {template.devices} devices; a claim has at most {MAX_DEVICES}"
                return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
            total.update(dict(template.asks))
        return total

    def _counted(self, request: GangRequest, asked: Sequence[Counter[DeviceAsk]]) -> GangRequest:
        self._note_accelerators(request)
        worker, *helpers = ((counts, _draws(request, self._accelerators_of(counts))) for counts in asked)
        groups = zip(request.helpers, helpers, strict=True)
        return replace(
            request,
            worker=_with(request.worker, *worker),
            helpers=tuple(replace(h, shape=_with(h.shape, *found)) for h, found in groups),
        )

    def _note_accelerators(self, request: GangRequest) -> None:
        """What the gang's accelerators come by brings accelerators, whoever else asks for it."""
        template = self._templates.get((request.namespace, request.chips_claim))
        for ask, _ in template.asks if template is not None else ():
            known = self._know(ask, request.namespace)
            known.accelerator = known.accelerator or request.accelerator
            self._learn((known,))

    def _accelerators_of(self, counts: Counter[DeviceAsk]) -> int:
        """How many of the devices of one pod are accelerators."""
        asked = ((self._asks[ask.resource], count * ask.size) for ask, count in counts.items())
        return sum(n for known, n in asked if known.accelerator or self._accelerators.among(known.drivers))

    def _learn(self, looked: Iterable[KnownAsk]) -> None:
        """Charge every claim anew where asks match devices of drivers that were not known to bring accelerators."""
        found = [self._accelerators.learn(k.drivers, k.accelerator) for k in looked if k.accelerator]
        if any(found):
            for claim, member in self._claims.values():
                self._charge(claim, member)

    def _too_many(self, request: GangRequest, asked: Iterable[Counter[DeviceAsk]]) -> Refusal | None:
        names = {ask.resource for counts in asked for ask in counts}
        return too_many(names, self._asks, request.namespace)

    def _wrong_count(self, request: GangRequest) -> Refusal | None:
        """The claim that brings the accelerators has to bring as many as the job says a worker has."""
        template = self._templates.get((request.namespace, request.chips_claim))
        if template is None or template.devices == request.chips_per_worker:
            return None
        text = (
            f"resourceclaimtemplate {request.namespace}/{request.chips_claim} asks for {template.devices} "
            f"device(s), and a worker has {request.chips_per_worker} × {request.accelerator}: let accelerator."
            "chipsPerWorker be the count of devices"
        )
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)

    def _uncountable(self, request: GangRequest, asked: Iterable[Counter[DeviceAsk]]) -> Refusal | None:
        every = [list(counts) for counts in asked]
        for ask in dict.fromkeys(a for asks in every for a in asks):
            known = self._know(ask, request.namespace)
            known.use(request.uid, request.namespace, request.name)
            refusal = self._trouble(known) or self._overlap(known, request.uid)
            if refusal is not None:
                return refusal
        pairs = (pair for asks in every for pair in combinations(asks, 2))
        return next((r for a, b in pairs if (r := self._same(a, b)) is not None), None)

    def _trouble(self, known: KnownAsk) -> Refusal | None:
        name = known.ask.device_class
        device_class = self._classes.get(name)
        if device_class is None:
            return Refusal(Reason.NO_FEASIBLE_NODE, f"deviceclass {name} does not exist")
        text = f"{', '.join(device_class.odd)}" if device_class.odd else known.trouble
        if not text:
            return _pending(known) if known.pending else None
        return Refusal(
            Reason.UNSUPPORTED_SCHEDULING, f"gang placement can't count {known.ask.resource}: {text}"
        )

    def _unsettled(self) -> Refusal | None:
        """What gangs hold has to be known before anybody gets more."""
        pending = (known for known in self._asks.values() if known.pending)
        held = (known for known in pending if any(map(self._capacity.reserved, known.users)))
        return next((_pending(known) for known in held), None)

    def _overlap(self, known: KnownAsk, uid: str) -> Refusal | None:
        """Who came first goes on; what overlaps in part with what he asks has to wait until he has ended."""
        name = known.ask.resource
        for other, node in self._relations.overlapping(name):
            users = self._asks[other].users
            others = {gang: job for gang, job in users.items() if gang != uid}
            first = others and self._is_first(other, name)
            if uid in users or first or any(map(self._capacity.reserved, others)):
                who = f", which {next(iter(others.values()))} asks for" if others else ""
                sets = known.ask.same or self._asks[other].ask.same
                how = "the same devices, in sets" if sets else "some of the same devices, but not all"
                equal = "" if sets else "equal or "
                text = (
                    f"gang placement can't count {name} beside {other}{who}: on node {node} they are {how}; let "
                    f"requests match {equal}disjoint devices of a node"
                )
                return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)
        return None

    def _is_first(self, a: str, b: str) -> bool:
        return next(name for name in self._asks if name in (a, b)) == a

    def _same(self, a: DeviceAsk, b: DeviceAsk) -> Refusal | None:
        node = self._relations.meeting(a.resource, b.resource)
        if not node:
            return None
        text = f"{a.resource} and {b.resource} of one pod are the same devices on node {node}: make them one request"
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, text)

    def _know(self, ask: DeviceAsk, namespace: str) -> KnownAsk:
        """The ask, looked at on every node; for each namespace that asks once more what is not known yet."""
        name = ask.resource
        fresh = name not in self._asks
        if name not in self._asks:
            # a cluster sees few kinds of asks; those that nobody has any more go when a new one comes
            self._asks = {n: known for n, known in self._asks.items() if known.users}
            self._asks[name] = KnownAsk(ask)
        known = self._asks[name]
        if namespace not in known.namespaces:
            known.namespaces.add(namespace)
            self._renew({*self._pools.nodes(), *self._on_node} if fresh else tuple(known.pending), (known,))
        return known

    def _renew(self, nodes: Iterable[str], asks: Collection[KnownAsk] | None = None) -> None:
        """Look at what nodes have, for these asks; None = for all."""
        looking = self._asks.values() if asks is None else asks
        for node in nodes:
            devices = self._pools.on(node)
            for known in looking:
                known.look(node, devices, self._classes.get(known.ask.device_class), self._matches)
            if node:
                self._equip(node)
        self._learn(looking)

    def _equip(self, node: str) -> None:
        matched = {name: m for name, known in self._asks.items() if (m := known.matched.get(node))}
        sets = [name for name in matched if self._asks[name].ask.same]
        equals = self._relations.renew(node, matched, sets)
        claims = [self._claims[key][0].devices for key in self._on_node.get(node, ())]
        counts = {name: self._asks[name].count(node, claims) for name in matched}
        self._capacity.equip(node, Equipment(counts, equals))
        for key in self._on_node.get(node, ()):
            self._charge(*self._claims[key])

    def _count_sets(self, node: str) -> None:
        """How many sets there are depends on which devices claims have."""
        if node and any(known.ask.same and node in known.matched for known in self._asks.values()):
            self._equip(node)

    def _charge(self, claim: HeldClaim, member: Member | None) -> None:
        taken = ((name, known.charge(claim.node, claim.devices)) for name, known in self._asks.items())
        own = self._held.get(member.gang) if member is not None else None
        draws = self._accelerators.charge(claim, own.accelerator if own is not None else "")
        requests = tuple(sorted((name, count) for name, count in (*taken, *draws) if count))
        self._capacity.set_pod(
            Pod(
                *_pod_key(claim), uid=claim.uid, requests=requests, node=claim.node, bound=True, member=member
            )
        )

    def _drop(self, claim: HeldClaim) -> None:
        if self._claims.pop(claim.key, None) is None:
            return
        for index, key in ((self._on_node, claim.node), (self._of_pod, claim.pod_uid)):
            values = index.get(key, set())
            values.discard(claim.key)
            if not values:
                index.pop(key, None)
        self._capacity.remove_pod(*_pod_key(claim))


def resolved(request: GangRequest, capacity: Capacity) -> GangRequest | Refusal:
    """The request as `capacity` can judge it, or why it can't."""
    if not request.claims:
        return request
    if capacity.devices is None:
        return NOTHING_KNOWN
    return capacity.devices.resolve(request)


def _pending(known: KnownAsk) -> Refusal:
    text = f"the selectors of {known.ask.resource} are being evaluated on {len(known.pending)} node(s)"
    return Refusal(Reason.PREFLIGHT, text)


def _with(shape: PodShape, asked: Counter[DeviceAsk], draws: Amounts) -> PodShape:
    wanted = Counter(dict(shape.requests))
    wanted.update({ask.resource: count for ask, count in asked.items()})
    return replace(shape, requests=tuple(sorted(wanted.items())), claims=(), draws=draws)


def _chips(request: GangRequest) -> int:
    """Accelerators that claims bring to a worker."""
    return request.chips_per_worker if request.chips_claim else 0


def _draws(request: GangRequest, count: int) -> Amounts:
    return ((claimed(request.accelerator), count),) if count else ()


def _pod_key(claim: HeldClaim) -> Key:
    """No pod is called so: names have no slashes."""
    return claim.key[0], f"resourceclaim/{claim.key[1]}"
