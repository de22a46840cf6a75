"""Whatever launchers say and lose, and whoever leads: epochs, barrier and counters keep their invariants.

Launchers here do what real ones do: they follow orders, say what is true, and know nothing of each other. Leaders
come and go; a new one knows nothing but what is written and what it has been told since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drumline.api.orders import Orders, ProcessState
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.crew import Process
from drumline.core.gang.plan import Create, Delete
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.jobs import NOW

HELD, RUNNING, ENDED = ProcessState.HELD, ProcessState.RUNNING, ProcessState.ENDED
SIZE = 4
RANK = st.integers(0, SIZE - 1)


@dataclass
class Launcher:
    """One launcher and its process."""

    epoch: int = 0
    state: ProcessState = RUNNING
    stuck: bool = False  # its process does not end

    def hear(self, orders: Orders) -> None:
        """Do what is ordered."""
        if orders.epoch > self.epoch and not (self.stuck and self.state is RUNNING):
            self.epoch, self.state = orders.epoch, HELD
        if orders.go and orders.epoch == self.epoch and self.state is HELD:
            self.state = RUNNING


class Epochs(RuleBasedStateMachine):
    """Random histories of a gang that restarts in place."""

    @initialize(seconds=st.sampled_from([0, 5]))
    def submit(self, seconds):
        policy = {"backoff": {"initialSeconds": seconds}, "maxRestarts": 1000}
        self.world = crews.running(failurePolicy=policy)
        self.now = NOW
        self.launchers = [Launcher() for _ in range(SIZE)]
        self.heard = dict(self.world.crew)
        self.orders = Orders()
        self.since = 0.0
        self.said: list[int] = []

    @rule(rank=RANK)
    def fail(self, rank):
        if self.launchers[rank].state is RUNNING:
            self.launchers[rank].state = ENDED
            self.said.append(rank)

    @rule(rank=RANK)
    def get_stuck(self, rank):
        self.launchers[rank].stuck = True

    @rule(rank=RANK)
    def hear(self, rank):
        self._obey(rank)

    @rule(rank=RANK)
    def say(self, rank):
        self._say(rank)

    @rule(lost=st.integers(0, 3))
    def reconcile(self, lost):
        self._step(written=lost != 0)

    @rule()
    def lead_anew(self):
        self.heard, self.since, self.orders = {}, self.now, None

    @rule(seconds=st.sampled_from([1, 6, 31, 60]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def settle(self):
        """All hear, speak and are decided about: an epoch change comes to its end."""
        for launcher in self.launchers:
            launcher.stuck = False
        for _ in range(8):
            for rank in range(SIZE):
                self._obey(rank)
                self._say(rank)
            self._step()
            self.now += 40
        status = self.world.status
        running = [e for e in status.attempts if e.finished_at is None]
        assert [(e.attempt, e.epoch) for e in running] == [(status.attempt, status.epoch)]
        assert all((x.epoch, x.state) == (status.epoch, RUNNING) for x in self.launchers)
        assert running[0].ready_at is not None
        assert status.phase == "Running"

    @invariant()
    def entries_are_in_order(self):
        entries = [(e.attempt, e.epoch) for e in self.world.status.attempts]
        assert entries == sorted(set(entries))
        assert all(e.finished_at for e in self.world.status.attempts[:-1])

    def _obey(self, rank):
        if self.orders is None:
            return
        before = replace_of(self.launchers[rank])
        self.launchers[rank].hear(self.orders)
        if before.state is not RUNNING and self.launchers[rank].state is RUNNING:
            others = [x for x in self.launchers if x.epoch < self.launchers[rank].epoch]
            assert not [x for x in others if x.state is RUNNING], "two epochs run at once"

    def _say(self, rank):
        launcher = self.launchers[rank]
        code = 3 if launcher.state is ENDED else 0
        self.heard[rank] = Process(launcher.epoch, launcher.state, "o", self.now, exit_code=code)

    def _step(self, *, written=True):
        seen = replace(self.world, crew=dict(self.heard), crew_since=self.since)
        plan = decide(seen, self.now)
        assert plan == decide(seen, self.now)
        before = self.world.status
        found = jobs.written(plan)
        after = before if found is None else TrainingJobStatus.model_validate(found)
        assert (after.attempt, after.epoch) >= (before.attempt, before.epoch)
        if found is not None and not written:
            return
        self._check(before, after)
        again = after.attempt > before.attempt
        touched = [a for s in plan.actions for a in s if isinstance(a, Create | Delete)]
        assert again or after.attempts[-1].finished_at or not [a for a in touched if a.resource == "pods"]
        self.world = replace(self.world, status=after)
        self.orders = plan.orders or self.orders
        if again or after.attempts[-1].finished_at:
            self._recreate(again=again)

    def _check(self, before, after):
        """An epoch that began is one failure, counted once."""
        counts = [sum(r.count for r in s.restarts) for s in (before, after)]
        ended = {(e.attempt, e.epoch) for e in after.attempts if e.cause}
        ended -= {(e.attempt, e.epoch) for e in before.attempts if e.cause}
        late = [e for e in after.attempts if (e.attempt, e.epoch) in ended and "did not" in (e.message or "")]
        late = [e for e in late if "in place" not in (e.message or "")]
        assert counts[1] - counts[0] == len(ended) - len(late)

    def _recreate(self, *, again):
        if not again:
            self.now += 700
            granted = Granted(jobs.placement(self.world))
            plan = decide(replace(self.world, pods={}, crew={}, admission=granted), self.now)
            status = TrainingJobStatus.model_validate(jobs.written(plan))
            self.world = replace(self.world, status=status)
        pods = {p.name: jobs.up(p, self.now) for p in jobs.pods(self.world, created_at=self.now)}
        self.world = jobs.settled(replace(self.world, pods=pods, crew={}), self.now)
        self.launchers = [Launcher() for _ in range(SIZE)]
        self.heard = {}
        self.orders = Orders()


def replace_of(launcher):
    """A copy."""
    return Launcher(launcher.epoch, launcher.state, launcher.stuck)


TestEpochs = Epochs.TestCase
TestEpochs.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
