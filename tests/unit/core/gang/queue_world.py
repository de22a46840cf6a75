"""A cluster with queues lived through: gangs come, begin, are told to leave, leave and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from drumline.api.queue import QueueingStrategy, Reclaim, WithinQueue
from drumline.core.gang.admission import AdmissionRound, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.queue_fit import chips_placed
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Node, Placement
from tests.builders import H100, capacity, gang, gpu_block

NAMES = ("a", "b", "c", "d")
MIN_RUN = 3.0
WITHIN = (WithinQueue.LOWER_PRIORITY, WithinQueue.LOWER_PRIORITY, WithinQueue.NEVER)
RECLAIM = (Reclaim.ANY, Reclaim.ANY, Reclaim.LOWER_PRIORITY, Reclaim.NEVER)


def cluster() -> list[Node]:
    """48 chips."""
    return [*gpu_block("x", 3, per_subblock=3), *gpu_block("y", 3, per_subblock=3)]


QUOTAS = st.builds(
    QueueQuota,
    st.sampled_from([0, 8, 16, 24]),
    st.sampled_from([None, None, 0, 8, 16]),
    st.sampled_from([None, None, 0, 4, 16]),
)


@st.composite
def some_queues(draw: st.DrawFn, *, strict: bool = True, preempt: bool = True) -> dict[str, Queue]:
    """Four queues; the last one may be of no cohort."""
    strategies = list(QueueingStrategy) if strict else [QueueingStrategy.BEST_EFFORT_FIFO]
    return {
        name: Queue(
            name,
            draw(st.sampled_from(["all", "all", "" if name == "d" else "all"])),
            draw(st.sampled_from([0.0, 1.0, 2.0])),
            draw(st.sampled_from(strategies)),
            {H100: draw(QUOTAS)},
            draw(st.sampled_from(WITHIN)) if preempt else WithinQueue.NEVER,
            draw(st.sampled_from(RECLAIM)) if preempt else Reclaim.NEVER,
            MIN_RUN,
        )
        for name in NAMES
    }


@st.composite
def requests(draw: st.DrawFn) -> GangRequest:
    """Gangs of 1 to 32 chips, some elastic, some with spares, some of no queue."""
    slices = draw(st.integers(1, 2))
    return gang(
        workers=draw(st.integers(1, 2)),
        slices=slices,
        gpus=draw(st.sampled_from([8, 8, 8, 4, 1])),
        priority=draw(st.integers(0, 2)),
        queue=draw(st.sampled_from([*NAMES, *NAMES[:2], ""])),
        min_slices=draw(st.sampled_from([0, 0, 1])) if slices > 1 else 0,
        spares=draw(st.sampled_from([0, 0, 1])),
        **({"required": "block"} if draw(st.booleans()) else {}),
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), requests()),
        st.tuples(st.just("queue"), requests()),
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
    ),
    min_size=10,
    max_size=30,
)


@dataclass
class QueueWorld:
    """What there is and what runs."""

    queues: dict[str, Queue]
    wait: float = 5.0
    state: Capacity = field(default_factory=lambda: capacity(cluster()))
    now: float = 0.0
    count: int = 0
    waiting: dict[str, GangRequest] = field(default_factory=dict)
    asked: dict[str, GangRequest] = field(default_factory=dict)
    queued_at: dict[str, float] = field(default_factory=dict)  # the last time
    placed: dict[str, Placement] = field(default_factory=dict)
    running: dict[str, RunningGang] = field(default_factory=dict)
    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def crowd(self) -> QueueWorld:
        """Let small gangs of low priority take all that their queues may have, and run for a while."""
        for n in range(2 * len(NAMES) * 3):
            self.queue(gang(gpus=(8, 4)[n % 3 == 0], priority=-1, queue=NAMES[n % len(NAMES)]))
        self.round()
        self.now += MIN_RUN
        return self

    def known(self) -> Queues:
        return Queues(self.queues, dict(self.running))

    def queue(self, request: GangRequest) -> str:
        self.count += 1
        uid = f"g{self.count:04d}"
        self.waiting[uid] = self.asked[uid] = replace(request, uid=uid, name=uid, queued_at=self.now)
        return uid

    def round(self) -> AdmissionRound:
        result = admit(
            self.waiting.values(), self.state, self.now, self.wait, kept=self.targets, queues=self.known()
        )
        self.targets = result.targets
        for uid, placement in result.granted:
            request = self.waiting.pop(uid)
            self.queued_at[uid] = request.queued_at
            begun = replace(request, slices=result.sizes.get(uid, request.slices))
            self.placed[uid] = placement
            self.running[uid] = RunningGang(
                uid, request.queue, H100, chips_placed(begun, placement), request.priority, self.now
            )
        for uid in (victim for victims in result.victims.values() for victim in victims):
            self.running[uid] = replace(self.running[uid], leaving=True)
        return result

    def end(self, uid: str) -> None:
        """It holds nothing any more; one that had to leave waits again."""
        gone = self.running.pop(uid)
        self.state.release(uid)
        if gone.leaving:
            self.waiting[uid] = replace(self.asked[uid], queued_at=self.now)

    def leaving(self) -> list[str]:
        return sorted(uid for uid, gang in self.running.items() if gang.leaving)

    def step(self, kind: str, value: object) -> AdmissionRound:
        """Something happens, and a round follows."""
        self.now += float(value) if kind == "wait" and isinstance(value, int) else 1.0
        if isinstance(value, GangRequest):
            self.queue(value)
        elif kind in ("end", "leave") and isinstance(value, int):
            some = self.leaving() if kind == "leave" else sorted(self.running)
            if some:
                self.end(some[value % len(some)])
        return self.round()
