"""Whatever happens to a job, in whatever order: attempts, pods and counters keep their invariants."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drumline.api.reasons import Cause, ConditionType
from drumline.core.training.conditions import is_finished
from tests.unit.core.training import jobs
from tests.unit.core.training.history import NODES, World, created, spec

PICK = st.integers(0, 20)
SOON = 4  # plans in a row that may ask to be decided again at once


class Histories(RuleBasedStateMachine):
    """Random histories of one job. The operator has no memory: each decision may be a successor's first."""

    @initialize(initial_seconds=st.sampled_from([0, 10]))
    def submit(self, initial_seconds):
        self.world = World(jobs.job(spec(initial_seconds)))
        self.restarts = {}
        self.bring_up()

    @rule(turn=st.none() | st.integers(0, len(NODES) - 1), lagging=st.booleans())
    def reconcile(self, turn, lagging):
        for _ in range(SOON):
            plan = self._step(turn=turn, lagging=lagging)
            if plan.requeue_after != 0:
                break
        assert plan.requeue_after != 0, "decisions never come to rest"
        assert created(self._step(lagging=lagging)) == []

    @rule(turn=st.integers(0, len(NODES) - 1), writes=st.integers(0, 12))
    def crash(self, turn, writes):
        self._step(turn=turn, writes=writes)

    @rule()
    def start_pods(self):
        for name, pod in list(self.world.pods.items()):
            if not pod.bound and not pod.deleting:
                self.world.start(name)

    @rule()
    def bring_up(self):
        """What interesting histories need again and again: time passes and the gang runs."""
        self.world.job = replace(
            self.world.job, spec=self.world.job.spec.model_copy(update={"suspend": False})
        )
        for _ in range(4):
            self.world.now += 31
            self.reconcile(0, False)
            self.world.let_go()
            self.start_pods()

    @rule(pick=PICK, code=st.sampled_from([1, 3, 4, 5, 127, 137]))
    def fail_pod(self, pick, code):
        self._change(pick, lambda p: jobs.failed(p, code, at=self.world.now))

    @rule(pick=PICK)
    def end_pod(self, pick):
        self._change(pick, lambda p: jobs.succeeded(p, at=self.world.now))

    @rule(pick=PICK)
    def delete_pod(self, pick):
        if self.world.pods:
            self.world.delete(self._name(pick))

    @rule(pick=PICK)
    def force_delete_pod(self, pick):
        if self.world.pods:
            del self.world.pods[self._name(pick)]

    @rule(pick=PICK)
    def reject_pod(self, pick):
        self._change(pick, lambda p: p if p.bound else replace(p, rejected="0/7 nodes are available"))

    @rule()
    def let_go(self):
        self.world.let_go()

    @rule(node=st.sampled_from(NODES))
    def lose_node(self, node):
        self.world.lose(node)

    @precondition(lambda self: self.world.lost)
    @rule()
    def nodes_return(self):
        self.world.lost.clear()

    @rule(node=st.sampled_from(NODES))
    def announce(self, node):
        """A node is about to go, or it is not any more."""
        self.world.going ^= {node}

    @rule()
    def evict(self):
        """Others go first. Nobody can ask this job for a checkpoint: it leaves at once, wherever it stands."""
        self.world.evicted = True
        self.reconcile(None, False)
        self.world.evicted = False
        assert self.world.status.placement is None

    @rule()
    def commit(self):
        self.world.committed_at = self.world.now

    @rule()
    def stop_or_go_on(self):
        """Steps stop, or go on."""
        self.world.silent_since = 0.0 if self.world.silent_since else self.world.now

    @rule()
    def toggle_suspend(self):
        now = self.world.job.spec
        self.world.job = replace(self.world.job, spec=now.model_copy(update={"suspend": not now.suspend}))

    @rule()
    def upgrade(self):
        self.world.version += 1

    @rule(seconds=st.sampled_from([1, 29, 61, 200, 4000]))
    def wait(self, seconds):
        self.world.now += seconds

    @invariant()
    def one_attempt_is_live_at_most(self):
        if hasattr(self, "world"):
            attempts = self.world.status.attempts
            assert [a.attempt for a in attempts] == sorted({a.attempt for a in attempts})
            assert all(a.finished_at is not None for a in attempts[:-1])
            assert not attempts or attempts[-1].attempt == self.world.status.attempt

    def _step(self, writes=None, **how):
        """One decision, checked, and applied."""
        before = self.world.status
        plan = self.world.decide(**how)
        assert plan == self.world.decide(**how)
        self._check_creates(before, plan)
        self.world.apply(plan, crash_after=writes)
        after = self.world.status
        assert before.attempt <= after.attempt <= before.attempt + 1
        self._check_counters(before, after)
        if writes is None:
            self._check_pods()
        return plan

    def _check_creates(self, before, plan):
        attempt = (plan.intent or plan.status or {}).get("attempt", before.attempt)
        had = set(before.created_helpers)
        if jobs.reason(before, ConditionType.ADMITTED) == ("True", "PodsCreated"):
            had |= {"worker", "loader"}
        for pod in created(plan):
            assert pod.member.attempt == attempt
            assert attempt > before.attempt or pod.member.role not in had, "a lost pod came back alone"

    def _check_counters(self, before, status):
        counts = {r.cause: r.count for r in status.restarts} | {"": status.restart_count}
        assert all(counts.get(cause, 0) >= count for cause, count in self.restarts.items())
        causes = {c for c, count in counts.items() if c and count > self.restarts.get(c, 0)}
        ended = {a.attempt: a.cause for a in status.attempts}.get(before.attempt)
        began = {a.attempt: a.cause for a in before.attempts}.get(before.attempt)
        assert causes == ({ended} if ended not in (began, Cause.GANG_TIMEOUT) else set())
        self.restarts = counts

    def _check_pods(self):
        """What still runs, and was not told to end, is of the attempt that is live."""
        status = self.world.status
        if not is_finished(status):
            kept = [p for p in self.world.pods.values() if not p.deleting and not p.terminal]
            assert {p.member.attempt for p in kept} <= {status.attempt}

    def _name(self, pick):
        return sorted(self.world.pods)[pick % len(self.world.pods)]

    def _change(self, pick, change):
        if self.world.pods:
            name = self._name(pick)
            if not self.world.pods[name].terminal:
                self.world.pods[name] = change(self.world.pods[name])


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
