"""What must hold over every history with queues: quotas, lending, order, fair victims, nobody waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.queue import QueueingStrategy, Reclaim, WithinQueue
from drumline.api.reasons import Reason
from drumline.core.gang.admission import AdmissionRound
from drumline.core.gang.placement_elastic import place_most
from drumline.core.gang.preemption import Claim
from drumline.core.gang.queue_fit import fit
from drumline.core.gang.queue_quota import QueueQuotas, chips_of
from drumline.core.gang.queues import Queue, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import GPU, H100
from tests.unit.core.gang.queue_world import MIN_RUN, STEPS, QueueWorld, cluster, requests, some_queues

NODES = {node.name: node for node in cluster()}
Steps = list[tuple[str, object]]


def used_by(running: dict[str, RunningGang]) -> Counter[str]:
    used: Counter[str] = Counter()
    for each in running.values():
        used[each.queue] += each.chips
    return used


@settings(max_examples=60, deadline=None)
@given(some_queues(), STEPS)
def test_quota_is_never_exceeded_and_no_more_is_lent_than_may_be(
    queues: dict[str, Queue], steps: Steps
) -> None:
    world = QueueWorld(queues)
    for kind, value in steps:
        world.step(kind, value)
        used = used_by(world.running)
        cohort = [q for q in queues.values() if q.cohort]
        beyond = 0
        lent = 0
        for queue in queues.values():
            quota = queue.quotas[H100]
            limit = 0 if not queue.cohort else quota.borrowing_limit
            assert limit is None or used[queue.name] <= quota.nominal + limit
        for queue in cohort:
            quota = queue.quotas[H100]
            beyond += max(0, used[queue.name] - quota.nominal)
            lent += min(quota.lendable, max(0, quota.nominal - used[queue.name]))
        assert beyond <= lent


@settings(max_examples=40, deadline=None)
@given(some_queues(), STEPS)
def test_no_accelerator_is_held_twice(queues: dict[str, Queue], steps: Steps) -> None:
    world = QueueWorld(queues)
    for kind, value in steps:
        world.step(kind, value)
        held: Counter[str] = Counter()
        for uid in world.running:
            chips = world.asked[uid].chips_per_worker
            held.update(
                {name: chips * world.placed[uid].nodes.count(name) for name in set(world.placed[uid].nodes)}
            )
        for name, chips in held.items():
            assert chips <= NODES[name].allocatable[GPU]
        assert world.state.now.withheld == frozenset()


@settings(max_examples=60, deadline=None)
@given(some_queues(), STEPS)
def test_only_those_are_told_to_leave_whom_policy_allows(queues: dict[str, Queue], steps: Steps) -> None:
    world = QueueWorld(queues).crowd()
    for kind, value in steps:
        before = dict(world.running)
        result = world.step(kind, value)
        told = [uid for victims in result.victims.values() for uid in victims]
        assert len(told) == len(set(told))
        for uid, victims in result.victims.items():
            lawful(world, world.asked[uid], [before[v] for v in victims])


def lawful(world: QueueWorld, request: GangRequest, victims: list[RunningGang]) -> None:
    queue = world.queues[request.queue]
    used = used_by(world.running)
    for victim in victims:
        assert not victim.leaving
        assert world.now - victim.admitted_at >= MIN_RUN
        if victim.queue == queue.name:
            assert queue.within_queue is WithinQueue.LOWER_PRIORITY
            assert victim.priority < request.priority
            continue
        other = world.queues[victim.queue]
        assert queue.reclaim is not Reclaim.NEVER
        assert queue.reclaim is Reclaim.ANY or victim.priority < request.priority
        assert queue.cohort
        assert other.cohort == queue.cohort
        assert used[other.name] > other.quotas[H100].nominal
        least = chips_of(request, request.min_slices or None)
        assert least <= queue.quotas[H100].nominal


@settings(max_examples=60, deadline=None)
@given(some_queues(), STEPS, st.booleans(), st.booleans())
def test_when_its_victims_have_left_a_gang_begins_and_none_left_in_vain(
    queues: dict[str, Queue], steps: Steps, gradually: bool, heads: bool
) -> None:
    world = QueueWorld(queues, wait=5.0 if heads else 1e9).crowd()
    for kind, value in steps:
        result = world.step(kind, value)
        if not result.victims:
            continue
        for uid, victims in result.victims.items():
            needed(world, world.asked[uid], victims)
        preemptors = {uid for uid, target in world.targets.items() if isinstance(target, Claim)}
        assert result.victims.keys() <= preemptors
        for _ in range(40):
            if not preemptors & world.waiting.keys():
                break
            for uid in world.leaving()[: 1 if gradually else None]:
                world.end(uid)
            world.now += 1.0
            told = world.round().victims
            assert not told.keys() & preemptors
        assert not preemptors & world.waiting.keys()


def needed(world: QueueWorld, request: GangRequest, victims: tuple[str, ...]) -> None:
    """Without any one of those who are told, and everybody else who is leaving gone, it would not do."""
    others = set(world.leaving()) - set(victims)
    quotas = QueueQuotas(world.known())
    for uid in victims:
        stays = [v for v in victims if v != uid]
        world.state.now.withhold(
            frozenset().union(*(t for u, t in world.targets.items() if u != request.uid))
        )
        _, answer = fit(request, world.state, quotas, world.now, {*others, *stays})
        world.state.now.withhold(())
        if len(world.targets) == 1 and world.wait > world.now:  # else quota kept for others is in the way too
            assert not isinstance(answer, Placement)


@settings(max_examples=60, deadline=None)
@given(some_queues(strict=False, preempt=False), STEPS)
def test_nothing_is_left_idle_that_a_gang_could_take(queues: dict[str, Queue], steps: Steps) -> None:
    world = QueueWorld(queues, wait=1e9)
    for kind, value in steps:
        world.step(kind, value)
        quotas = QueueQuotas(world.known())
        for request in world.waiting.values():
            _, answer = fit(request, world.state, quotas, world.now)
            assert not isinstance(answer, Placement)


@settings(max_examples=60, deadline=None)
@given(some_queues(), STEPS)
def test_in_a_strict_queue_nobody_passes_the_head(queues: dict[str, Queue], steps: Steps) -> None:
    world = QueueWorld(queues)
    for kind, value in steps:
        claimed = {uid for uid, target in world.targets.items() if isinstance(target, Claim)}
        result = world.step(kind, value)
        for queue in queues.values():
            if queue.strategy is QueueingStrategy.STRICT_FIFO:
                strict(world, queue, result, claimed)


def strict(world: QueueWorld, queue: Queue, result: AdmissionRound, claimed: set[str]) -> None:
    most = QueueQuotas(Queues(world.queues)).most(queue.name, H100)
    waiting = [
        r
        for r in world.waiting.values()
        if r.queue == queue.name and r.uid in result.refused and chips_of(r, r.min_slices or None) <= most
    ]
    head = min(((-r.priority, r.queued_at, r.uid) for r in waiting), default=None)
    for uid, _ in result.granted:
        request = world.asked[uid]
        if head is not None and request.queue == queue.name and uid not in claimed:
            assert (-request.priority, world.queued_at[uid], uid) < head


@settings(max_examples=40, deadline=None)
@given(some_queues(), st.lists(requests(), max_size=12), st.randoms(use_true_random=False))
def test_every_gang_that_may_and_can_fit_begins_in_the_end(
    queues: dict[str, Queue], every: list[GangRequest], random: object
) -> None:
    """Each runs a bounded time; who has to leave begins anew."""
    world = QueueWorld(queues)
    for request in every:
        world.queue(request)
        world.now += 1.0
        world.round()
    for _ in range(60 * (len(every) + 1)):
        if not world.waiting:
            return
        world.now += 1.0
        world.round()
        for uid in sorted(world.running):
            each = world.running[uid]
            if each.leaving or world.now - each.admitted_at >= random.randint(2, 9):
                world.end(uid)
    for request in world.waiting.values():
        assert hopeless(world, request), request


def hopeless(world: QueueWorld, request: GangRequest) -> bool:
    """It could not begin in an empty cluster, or somebody of its strict queue who could not stands before it."""
    empty = QueueWorld(world.queues)
    quotas = QueueQuotas(empty.known())
    if not isinstance(fit(request, empty.state, quotas, world.now)[1], Placement):
        return True
    queue = world.queues.get(request.queue)
    if queue is None or queue.strategy is not QueueingStrategy.STRICT_FIFO:
        return False
    ahead = [r for r in world.waiting.values() if r.queue == queue.name and r.uid != request.uid]
    return (
        any(not isinstance(place_most(r, empty.state, world.now)[1], Placement) for r in ahead)
        and world.round().refused[request.uid].reason == Reason.HEAD_OF_QUEUE_RESERVED
    )
