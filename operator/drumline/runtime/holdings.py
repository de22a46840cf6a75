"""What TrainingJobs hold of the capacity and of their queues: as their statuses say, and no more."""

from __future__ import annotations

from collections.abc import Callable

from drumline.core.gang.types import Placement
from drumline.core.training.exclusions import given_up
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import request_of
from drumline.core.training.spares import lost_nodes
from drumline.core.training.view import View
from drumline.runtime.admitter import Admitter
from drumline.runtime.ledger_keeper import LedgerKeeper
from drumline.runtime.queue_jobs import JobQueues
from drumline.runtime.records import JobRecord
from drumline.runtime.world import World


class Holdings:
    """Reserves and releases. `now` gives Unix seconds."""

    def __init__(
        self,
        world: World,
        admitter: Admitter,
        queues: JobQueues,
        keeper: LedgerKeeper,
        now: Callable[[], float],
    ) -> None:
        self._world = world
        self._admitter = admitter
        self._queues = queues
        self._keeper = keeper
        self._now = now

    def keep(self, record: JobRecord, observation: Observation) -> None:
        """Keep the capacity as the observed status has it, whatever became of the answers to our writes.

        A status that names a placement holds its nodes; one that names none holds nothing, unless a grant is on
        its way into the status.
        """
        uid, written = record.meta.uid, record.status.placement
        memory = self._world.remember(uid)
        if (
            observation.status.attempts
            and written is not None
            and not observation.status.attempts[-1].finished_at
        ):
            self._admitter.drop(uid)
        if written is None:
            if memory.held and not self._admitter.granted(uid):
                self.release(uid)
        elif not self._admitter.granted(uid):
            lost = given_up(observation.status, observation.admission) | lost_nodes(observation)
            held = " ".join((written.revision, *sorted(lost)))
            if memory.held != held:
                self._reserve(observation, lost, held)
        if not self._admitter.granted(uid):
            self._queues.hold(observation, self._keeper.checkpoint_of)

    def release(self, uid: str) -> None:
        """The job holds no nodes any more."""
        self._world.remember(uid).held = ""
        if self._world.capacity.reserved(uid):
            self._world.capacity.release(uid)
            self._admitter.wake()

    def _reserve(self, observation: Observation, lost: frozenset[str], held: str) -> None:
        """Hold the placement's nodes, but for those that were given up."""
        if observation.placement is None or observation.spec is None:
            return
        nodes = tuple("" if node in lost else node for node in observation.placement.nodes)
        request = request_of(View(observation, self._now(), observation.status))
        self._world.capacity.reserve(request, Placement(nodes))
        self._world.remember(request.uid).held = held
        self._admitter.wake()
