"""Whatever happens to an elastic job: whole slices within bounds, one pod a node, and a ledger that adds up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.ledger.events import Ticked
from drumline.core.gang.ledger.fold import fold_all
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.placement_elastic import most_slices
from drumline.core.gang.types import GangRequest, Granted, Node, Pod, Refusal
from drumline.core.training import accounts
from drumline.core.training.conditions import is_finished
from drumline.core.training.elastic import fitted
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import asked_of
from drumline.core.training.view import View
from tests.unit.core.training import elastic_jobs, jobs
from tests.unit.core.training.history import NODES, World, created

WORKERS = 2  # of a slice
LEAST, MOST = 1, 3


@dataclass
class ElasticWorld(World):
    """The same, with real admission on nodes that take one pod each."""

    request: GangRequest | None = None
    saved: float | None = None
    taken: set[str] = field(default_factory=set)  # by others

    def capacity(self) -> Capacity:
        """Nodes that are there, less those that others have."""
        made = Capacity()
        for name in set(NODES) - self.lost - self.taken:
            made.set_node(Node(name, allocatable={"cpu": 8000, "pods": 1}))
        return made

    def observe(self, *, lagging: bool = False, turn: int | None = None) -> Observation:
        """As of any job, at the attempt's size, with the room that there is."""
        seen = fitted(super().observe(lagging=lagging, turn=turn), self.status)
        if seen.placement is None:
            return seen
        room = most_slices(asked_of(View(seen, self.now, self.status)), self.capacity())
        return replace(seen, room=room, checkpoint_at=self.saved)

    def _answer(self, _turn: int) -> Granted | Refusal:
        assert self.request is not None
        found = admit([self.request], self.capacity(), self.now, 1e9)
        if found.granted:
            return Granted(found.granted[0][1], found.sizes[self.request.uid])
        return found.refused[self.request.uid]

    def _node_of(self, pod: Pod) -> str:
        written, members = self.status.placement, fitted(self.job, self.status).roster
        if (
            written is None
            or pod.member is None
            or members is None
            or pod.member.attempt != self.status.attempt
        ):
            return ""
        index = members.index_of(pod.member)
        return "" if index is None else self.revisions[written.revision].nodes[index]


class ElasticHistories(RuleBasedStateMachine):
    """Random histories; the operator has no memory but its ledger."""

    @initialize(
        slices=st.integers(LEAST, MOST),
        regrow=st.sampled_from([0, 60]),
        taken=st.sets(st.sampled_from(NODES), max_size=6),
    )
    def submit(self, slices: int, regrow: int, taken: set[str]) -> None:
        bounds = {"minSlices": LEAST, "maxSlices": MOST, "regrowSeconds": regrow}
        self.world = ElasticWorld(elastic_jobs.job(slices, workers=WORKERS, **bounds))
        self.ledger: Ledger = accounts.new_ledger(self.world.job)
        self.world.taken = taken
        self.known, self.ended, self.expected = accounts.NO_LANES, (0, 0), self.ledger.elapsed_ms
        self.bring_up()

    @rule()
    def bring_up(self) -> None:
        for _ in range(4):
            self.wait(7)
            self.reconcile()
            self.world.let_go()
            for name, pod in list(self.world.pods.items()):
                if not pod.bound and not pod.deleting:
                    self.world.start(name)

    @rule()
    def reconcile(self) -> None:
        for _ in range(4):
            before = self.world.observe(turn=0)
            plan = self.world.decide(turn=0)
            assert plan == self.world.decide(turn=0)
            self.world.request = plan.waiting
            self.world.apply(plan)
            self.account(before)
            if plan.requeue_after != 0:
                break
        assert plan.requeue_after != 0, "decisions never come to rest"
        assert created(self.world.decide()) == []

    @rule(slices=st.integers(LEAST, MOST))
    def scale(self, slices: int) -> None:
        spec = self.world.job.spec.model_copy(update={"slices": slices})
        shape = replace(self.world.job.shape, slices=slices)
        plain = elastic_jobs.job(slices, workers=WORKERS)
        self.world.job = replace(self.world.job, spec=spec, shape=shape, roster=plain.roster)

    @rule()
    def save(self) -> None:
        self.reconcile()
        self.wait(1)
        self.world.saved = self.world.now
        self.reconcile()

    @rule(slices=st.integers(LEAST, MOST))
    def scale_at_a_checkpoint(self, slices: int) -> None:
        self.bring_up()
        self.scale(slices)
        self.save()
        self.bring_up()

    @rule(lost=st.sets(st.sampled_from(NODES), max_size=4), back=st.booleans())
    def lose_nodes_and_go_on(self, lost: set[str], back: bool) -> None:
        self.bring_up()
        for node in sorted(lost):
            self.world.lose(node)
        self.bring_up()
        if back:
            self.nodes_return()
            self.wait(61)
            self.save()

    @rule(node=st.sampled_from(NODES))
    def lose_node(self, node: str) -> None:
        self.world.lose(node)

    @rule()
    def nodes_return(self) -> None:
        self.world.lost.clear()

    @rule(nodes=st.sets(st.sampled_from(NODES), max_size=4))
    def others_take(self, nodes: set[str]) -> None:
        placed = self.world.observe().placement
        self.world.taken = nodes.difference(placed.nodes if placed is not None else ())

    @rule(pick=st.integers(0, 9))
    def fail_pod(self, pick: int) -> None:
        if self.world.pods:
            name = sorted(self.world.pods)[pick % len(self.world.pods)]
            self.world.pods[name] = jobs.failed(self.world.pods[name], at=self.world.now)

    @rule(seconds=st.sampled_from([1, 61, 700]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    def account(self, before: Observation) -> None:
        """The ledger is told as the keeper tells it; every lane of every moment is accounted for."""
        after, now = self.world.status, self.world.now
        if is_finished(before.status):
            return
        lanes, at = len(self.ledger.lanes), self.ledger.at
        news, self.known = accounts.lane_news(before, after, self.known, at, now)
        attempts = accounts.attempt_events(after, self.ledger, self.ended, now)
        sizes = accounts.resize_news(before, after, lanes, now)
        self.ended = accounts.last_ended(after)
        for event in [*accounts.in_time([*attempts, *sizes, *news]), Ticked(round(now * 1000))]:
            lanes, at = len(self.ledger.lanes), self.ledger.at
            self.ledger = fold_all(self.ledger, (event,))
            self.expected += lanes * (self.ledger.at - at)
        if not is_finished(after):
            assert len(self.ledger.lanes) == fitted(before, after).roster.workers

    @invariant()
    def the_ledger_adds_up(self) -> None:
        if hasattr(self, "world"):
            assert self.ledger.elapsed_ms == self.expected
            assert sum(self.ledger.totals) + self.ledger.provisional_ms() == self.expected

    @invariant()
    def whole_slices_within_bounds(self) -> None:
        if not hasattr(self, "world") or self.world.status.placement is None:
            return
        status = self.world.status
        placed = self.world.revisions[status.placement.revision].nodes
        assert LEAST <= status.slices <= MOST
        assert status.placement.pods == len(placed) == len(set(placed)) == status.slices * WORKERS
        live = [p for p in self.world.pods.values() if p.member.attempt == status.attempt]
        assert len(live) <= len(placed)
        assert {p.member.slice for p in live} <= set(range(status.slices))


TestElasticHistories = ElasticHistories.TestCase
TestElasticHistories.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
