"""What must hold over every history: nothing held twice, all or nothing, no starvation, the same answer twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from drumline.core.gang.admission import AdmissionRound, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.feasibility import standing_obstacle
from drumline.core.gang.topology import PRESETS
from drumline.core.gang.types import GangRequest, Node, Placement, PlacementPolicy
from tests.builders import (
    GPU,
    GPU_TAINT,
    TOLERATE_GPU,
    capacity,
    gang,
    gpu_block,
    helper,
    pod,
    shape,
    tpu_gang,
    tpu_pool,
)

WAIT = 5.0
GKE = PRESETS["gke-gpu"]


def cluster() -> list[Node]:
    return [
        *gpu_block("a", 4, per_subblock=2),
        *gpu_block("b", 6, per_subblock=3, taints=(GPU_TAINT,)),
        *gpu_block("c", 2, gpus=4),
        *tpu_pool("p1", 2),
        *tpu_pool("p2", 2),
        *tpu_pool("p3", 4),
    ]


@st.composite
def requests(draw: st.DrawFn) -> GangRequest:
    common = {
        "priority": draw(st.integers(0, 1)),
        "excluded": frozenset(draw(st.sets(st.sampled_from(NAMES), max_size=2))),
        "spares": draw(st.integers(0, 2)),
    }
    if draw(st.integers(0, 3)) == 0:
        return tpu_gang(hosts=draw(st.sampled_from([2, 4])), slices=draw(st.integers(1, 2)), **common)
    gpus = draw(st.sampled_from([1, 2, 4, 8]))
    tolerations = (TOLERATE_GPU,) if draw(st.booleans()) else ()
    ports = (("0.0.0.0", "TCP", 80),) if draw(st.integers(0, 5)) == 0 else ()
    policy = draw(st.sampled_from(["", "required", "preferred"]))
    return gang(
        workers=draw(st.integers(1, 6)),
        slices=draw(st.integers(1, 3)),
        gpus=gpus,
        worker=shape(gpus=gpus, tolerations=tolerations, host_ports=ports),
        helpers=(helper("x", draw(st.integers(1, 3)), cpu=4),) if draw(st.booleans()) else (),
        **({policy: draw(st.sampled_from(["block", "subblock", "host"]))} if policy else {}),
        **common,
    )


NAMES = [n.name for n in cluster()]


@dataclass
class World:
    """A cluster lived through: gangs come, start, lose nodes and end."""

    state: Capacity = field(default_factory=lambda: capacity(cluster()))
    now: float = 0.0
    count: int = 0
    waiting: dict[str, GangRequest] = field(default_factory=dict)
    running: dict[str, tuple[GangRequest, Placement]] = field(default_factory=dict)
    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def queue(self, request: GangRequest) -> None:
        self.count += 1
        uid = f"g{self.count:04d}"
        self.waiting[uid] = replace(request, uid=uid, name=uid, queued_at=self.now)

    def round(self) -> AdmissionRound:
        result = admit(self.waiting.values(), self.state, self.now, WAIT, kept=self.targets)
        self.targets = result.targets
        for uid, placement in result.granted:
            self.running[uid] = (self.waiting.pop(uid), placement)
        return result

    def end(self, index: int) -> None:
        if self.running:
            uid = sorted(self.running)[index % len(self.running)]
            del self.running[uid]
            self.state.release(uid)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), requests()),
        st.tuples(st.just("round"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("alien"), st.integers(0, 11)),
    ),
    max_size=25,
)


def check(request: GangRequest, placement: Placement, nodes: dict[str, Node]) -> None:
    """All of it, on nodes that take it, in the domain asked for; so are its spares, as many as there are."""
    spares = placement.nodes[request.pods :]
    assert len(placement.nodes) >= request.pods
    assert len(spares) in range(0, request.spares * request.spare_size + 1, request.spare_size)
    workers = (*placement.nodes[: request.workers], *spares)
    for name in workers:
        assert standing_obstacle(nodes[name], request.worker) == ""
    assert request.excluded.isdisjoint(placement.nodes)
    if request.policy is PlacementPolicy.REQUIRED:
        depth = GKE.depth_of(request.level)
        domains = {GKE.path(nodes[name])[:depth] for name in workers}
        assert len(domains) == 1
        assert all(domain[-1] for domain in domains)
    if request.atomic_pool:
        size = request.workers_per_slice
        pools = [{n.rpartition("-")[0] for n in workers[i : i + size]} for i in range(0, len(workers), size)]
        assert all(len(pool) == 1 for pool in pools)
        assert len(set(workers)) == len(workers)


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_every_placement_is_whole_feasible_and_alone(steps: list[tuple[str, object]]) -> None:
    world = World()
    nodes = {n.name: n for n in cluster()}
    aliens: Counter[str] = Counter()
    for kind, value in steps:
        world.now += 1.0
        if kind == "queue":
            world.queue(value)
        elif kind == "end":
            world.end(value)
        elif kind == "alien" and not world.state.now.used(NAMES[value]).get(GPU):
            aliens[NAMES[value]] += 1
            world.state.set_pod(pod(f"alien-{NAMES[value]}", on=NAMES[value], gpus=1))
        elif kind == "round":
            for uid, placement in world.round().granted:
                check(world.running[uid][0], placement, nodes)
        held = held_by(world)
        for name in aliens:
            held[name, GPU] += 1
        for (name, resource), amount in held.items():
            assert amount <= nodes[name].allocatable.get(resource, 0), (name, resource)


def held_by(world: World) -> Counter[tuple[str, str]]:
    held: Counter[tuple[str, str]] = Counter()
    for request, placement in world.running.values():
        groups = [(request.workers, request.worker), *((h.count, h.shape) for h in request.helpers)]
        shapes = [s for count, s in groups for _ in range(count)]
        shapes += [request.worker] * (len(placement.nodes) - request.pods)
        for name, each in zip(placement.nodes, shapes, strict=True):
            for resource, amount in each.requests:
                held[name, resource] += amount
    return held


@settings(max_examples=60, deadline=None)
@given(st.lists(requests(), max_size=8), st.randoms(use_true_random=False))
def test_the_same_queue_and_cluster_give_the_same_answer(pending: list[GangRequest], random: object) -> None:
    queue = [replace(r, uid=f"g{i}", queued_at=float(i)) for i, r in enumerate(pending)]
    first = admit(queue, capacity(cluster()), 100.0, WAIT)
    shuffled, nodes = list(queue), cluster()
    random.shuffle(shuffled)
    random.shuffle(nodes)
    state = capacity(nodes)
    for name in NAMES[:5]:  # a history that leaves no trace
        state.reserve(gang("past", gpus=1), Placement((name,)))
    state.release("past")
    second = admit(shuffled, state, 100.0, WAIT)
    assert first.granted == second.granted
    assert first.refused == second.refused
    assert first.targets == second.targets


@settings(max_examples=40, deadline=None)
@example(4, "required", [8, 9, 7, 7, 2])  # two blocks, equally free, took turns as the target
@given(
    st.integers(2, 6), st.sampled_from(["", "required"]), st.lists(st.integers(2, 9), min_size=5, max_size=5)
)
def test_a_head_never_starves(hosts: int, policy: str, runs: list[int]) -> None:
    """Small gangs without end take every host that frees up; the large one begins all the same."""
    world = World()
    ends: dict[str, float] = {}
    for _ in range(3 * len(runs)):
        small_gangs_come_and_go(world, runs, ends)
    world.now = 100.0
    world.queue(
        gang(
            workers=hosts,
            worker=shape(gpus=8, tolerations=(TOLERATE_GPU,)),
            **({policy: "block"} if policy else {}),
        )
    )
    head = next(uid for uid, r in world.waiting.items() if r.workers == hosts)
    for _ in range(int(WAIT) + (hosts + 1) * max(runs)):  # each host may change the target once
        small_gangs_come_and_go(world, runs, ends)
        if head in world.running:
            return
    raise AssertionError(f"a gang of {hosts} hosts still waits")


def small_gangs_come_and_go(world: World, runs: list[int], ends: dict[str, float]) -> None:
    world.now += 1.0
    for uid in [uid for uid in world.running if world.now >= ends.get(uid, float("inf"))]:
        world.end(sorted(world.running).index(uid))
    while len(world.waiting) < 20:
        world.queue(gang(worker=shape(gpus=8, tolerations=(TOLERATE_GPU,))))
    for n, (uid, _) in enumerate(world.round().granted):
        ends[uid] = world.now + runs[n % len(runs)]


@settings(max_examples=40, deadline=None)
@given(requests(), st.lists(requests(), min_size=4, max_size=8), st.randoms(use_true_random=False))
def test_every_gang_that_can_fit_begins_in_the_end(
    head: GangRequest, others: list[GangRequest], random: object
) -> None:
    """Gangs of every kind keep coming and each runs a bounded time."""
    world = World()
    for request in others:
        world.queue(replace(request, priority=1))
        world.round()
    world.now = 100.0
    world.queue(replace(head, priority=1))
    uid = next(u for u, r in world.waiting.items() if r.queued_at == 100.0)
    ends: dict[str, float] = {}
    for _ in range(400):
        world.now += 1.0
        world.queue(replace(random.choice(others), priority=1))
        result = world.round()
        if uid in world.running or result.refused[uid].message.endswith("even if every other gang ended"):
            return
        for running in sorted(world.running):
            if world.now >= ends.setdefault(running, world.now + random.randint(1, 8)):
                world.end(sorted(world.running).index(running))
    raise AssertionError(f"{head} still waits: {result.refused[uid]}")
