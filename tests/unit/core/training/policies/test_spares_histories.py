"""Whatever happens to a job with spares: it keeps every invariant of jobs, and its spares keep theirs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from drumline.api.meta import ROLE_SPARE
from drumline.core.gang.revision import decode
from drumline.core.gang.types import Placement
from drumline.core.training.observation import Granted
from tests.unit.core.training import jobs
from tests.unit.core.training.history import NODES, World, spec
from tests.unit.core.training.policies import test_histories

SPARES = 2


class SpareWorld(World):
    """A world in which admission finds places for spares beside the gang, as many as there are nodes left."""

    refused = ""

    def observe(self, **how):
        seen = super().observe(**how)
        return replace(
            seen,
            settings=replace(seen.settings, launcher_image="example.org/operator:1"),
            spares_refused=self.refused,
        )

    def _answer(self, turn):
        answer = super()._answer(turn)
        if not isinstance(answer, Granted):
            return answer
        avoided = self.lost | self.going | {n.name for n in self.status.excluded_nodes}
        rest = [n for n in NODES if n not in avoided and n not in answer.placement.nodes]
        return Granted(Placement((*answer.placement.nodes, *rest[:SPARES])))

    def _node_of(self, pod):
        if pod.member is None or pod.member.role != ROLE_SPARE:
            return super()._node_of(pod)
        written = self.status.placement
        if written is None or pod.member.attempt != self.status.attempt:
            return ""
        return self.revisions[written.revision].nodes[self.job.roster.size + pod.member.worker]


class SpareHistories(test_histories.Histories):
    """Random histories of one job with two spares."""

    @initialize(initial_seconds=st.sampled_from([0, 10]))
    def submit(self, initial_seconds):
        self.world = SpareWorld(jobs.job({**spec(initial_seconds), "spares": SPARES}))
        self.restarts = {}
        self.bring_up()

    @rule()
    def refuse_spares(self):
        self.world.refused = "" if self.world.refused else "pods/x: exceeded quota"

    @rule(number=st.integers(0, SPARES - 1))
    def lose_a_spares_node(self, number):
        """Of a gang that runs nothing is felt but the loss."""
        before = self.world.status
        spares = [p for p in self.world.pods.values() if p.member.role == ROLE_SPARE and not p.deleting]
        for pod in [p for p in spares if p.member.worker == number]:
            calm = plan_of_nothing(self.world.decide())
            self.world.delete(pod.name)
            self._step()
            if calm:
                assert self.world.status.attempts == before.attempts

    @invariant()
    def spares_are_no_more_than_asked_for_and_on_nodes_of_their_own(self):
        world = getattr(self, "world", None)
        if world is None or world.status.placement is None:
            return
        written = world.status.placement
        nodes = world.revisions[written.revision].nodes
        assert len(nodes) == world.job.roster.size + written.spares
        assert written.spares <= SPARES
        assert len(set(nodes)) == len(nodes), "a place was held twice"
        assert set(written.lost_spares or ()) <= set(range(written.spares))

    def _check_creates(self, before, plan):
        super()._check_creates(before, plan)
        if (
            plan.begins and not self.world.waiting
        ):  # on the nodes that it has; others are admission's to choose
            nodes = {n for c in plan.prepare for n in decode([c.manifest]).nodes}
            excluded = {n["name"] for n in plan.intent["excludedNodes"]}
            seen = self.world.observe().unhealthy
            assert nodes.isdisjoint(seen), "placed on a node that is lost"
            assert nodes.isdisjoint(excluded), "placed on a node that it avoids"


def plan_of_nothing(plan):
    """Whether there is nothing to do."""
    return plan.status is None and plan.intent is None and not plan.actions and not plan.delete_self


TestSpareHistories = SpareHistories.TestCase
TestSpareHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
