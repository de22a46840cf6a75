"""A trace of jobs played against a cluster in virtual time, by the code that admits and places them in the operator.

Events lie in a heap by time; of those at the same time ends come first, then failures, repairs, arrivals, restarts.
When all that happens at one time has happened, and it may let a gang in, there is one round of `core.gang.admission.admit`
over the front of the line (`core.sim.line`). Between two events nothing changes, so nothing is looked at.

Failures of nodes are a Poisson process over all nodes, each of which fails every `node_mtbf` seconds in the mean and
is well again after `repair` seconds. As in the operator a gang then keeps what it holds, waits for its backoff, avoids
the failed node for a while, and asks for a placement near its old one; if it gets none for `gang_timeout` seconds it
lets its nodes go and queues as of that time. A program that fails by itself starts again on its nodes.

With queues there are quotas, shares and preemption, all of `admit`. Who is preempted leaves at once, with all of its
progress if it makes checkpoints at all, and queues as of that time, after its backoff.

The same trace, rules and draws give the same result. Not simulated: pods, and how long they take to come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from heapq import heappop, heappush
from itertools import chain
from math import log1p
from typing import Final, NamedTuple

from drumline.api.reasons import Cause
from drumline.core.gang.admission import admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import hierarchy_for, place, place_later
from drumline.core.gang.types import GangRequest, Node, Placement, Refusal
from drumline.core.sim.account import Account
from drumline.core.sim.cluster import places_of
from drumline.core.sim.fairness import Fairness
from drumline.core.sim.fragments import copies_for, stranded_chips
from drumline.core.sim.gangs import Gang
from drumline.core.sim.line import Line, order_of
from drumline.core.sim.model import Draw, End, Outcome, Rules, Sample, SimJob
from drumline.core.sim.quotas import beyond_quota, queues_now

_SHORTEST_LOOK: Final = 0.05  # seconds until the next look at a head, as in the operator


class Kind(IntEnum):
    """What happens, in the order in which it does at one time."""

    COMPLETES = 0
    PROGRAM_FAILS = 1
    NODE_FAILS = 2
    NODE_IS_WELL = 3
    ARRIVES = 4
    MAY_RESTART = 5
    GIVES_UP = 6
    LOOK = 7


class Event(NamedTuple):
    """`subject` is a gang or a node; `turn` that of the gang when this was foreseen."""

    at: float
    kind: Kind
    subject: str
    turn: int = 0


@dataclass(slots=True)
class Simulation:
    """`chips` = accelerator type and chips by node (`cluster.chips_of`); without `draw` no node fails.

    `watch` is called with the cluster's state after each time at which something happened, `verify` likewise with the
    simulation.
    """

    nodes: Iterable[Node]
    chips: Mapping[str, tuple[str, int]]
    jobs: Iterable[SimJob]
    rules: Rules
    draw: Draw | None = None
    watch: Callable[[Sample], None] | None = None
    verify: Callable[[Simulation], None] | None = None

    now: float = 0.0
    rounds: int = 0
    backfills: int = 0
    node_failures: int = 0
    preemptions: int = 0
    cut_off: bool = False  # by the horizon
    capacity: Capacity = field(default_factory=Capacity)
    power_peak: float = 0.0  # highest share of a power budget that was ever drawn
    line: Line = field(default_factory=Line)
    gangs: dict[str, Gang] = field(default_factory=dict)  # that have arrived and are not over
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)  # kept for heads, by their uid
    tried: frozenset[Hashable] = frozenset()  # by the last round; see `preemption`
    account: Account = field(init=False)
    _jobs: dict[str, SimJob] = field(init=False)
    _heap: list[Event] = field(default_factory=list)
    _impossible: dict[tuple[int, str], str] = field(default_factory=dict)  # why, by kind of job and queue
    _look_at: float | None = None

    def __post_init__(self) -> None:
        self._jobs = {job.uid: job for job in self.jobs}
        nodes = list(self.nodes)
        places = places_of(nodes, self.chips, self.capacity.topology)
        self.account = Account(self.chips, places, fairness=Fairness(self.rules.weights))
        self.capacity.set_power(self.rules.power)
        for node in nodes:
            self.capacity.set_node(node)
            if node.name in self.chips:
                self.account.add_node(node.name, well=node.ready and not node.unschedulable)
        for job in self._jobs.values():
            if self._key(job) not in self._impossible:
                found = place_later(job.request, self.capacity)
                unplaced = found.message if isinstance(found, Refusal) else ""
                self._impossible[self._key(job)] = unplaced or beyond_quota(job, self.rules.queues)
            self._push(job.request.queued_at, Kind.ARRIVES, job.uid)
        self._foresee_node_failure()

    def run(self) -> list[Outcome]:
        """Play it to its end; what became of each job, in the order of the trace."""
        last = max((job.request.queued_at for job in self._jobs.values()), default=0.0)
        end = last + self.rules.horizon
        while self._heap and len(self.outcomes) < len(self._jobs) and self._heap[0].at <= end:
            self.step()
        self.cut_off = bool(self._heap) and self._heap[0].at > end
        for uid, gang in self.gangs.items():
            self.outcomes[uid] = self._outcome(gang, End.UNFINISHED)
        return [self.outcomes[uid] for uid in self._jobs if uid in self.outcomes]

    def step(self) -> None:
        """All that happens at the next time at which something does."""
        self.now = self._heap[0].at
        self.account.advance(self.now, self.line.wanted())
        due = False
        while self._heap and self._heap[0].at == self.now:
            due |= self._happen(heappop(self._heap))
        if due:
            self._decide()
        self.account.note()
        shares = (s.drawn / s.budget for s in self.capacity.supplies() if s.budget)
        self.power_peak = max(self.power_peak, *shares, 0.0)
        if self.watch is not None:
            self.watch(self._sample())
        if self.verify is not None:
            self.verify(self)

    def _happen(self, event: Event) -> bool:
        """Whether a round is due."""
        if event.kind is Kind.ARRIVES:
            return self._arrive(self._jobs[event.subject])
        if event.kind is Kind.NODE_FAILS:
            return self._lose(event.subject)
        if event.kind is Kind.NODE_IS_WELL:
            self._set_node(event.subject, well=True)
            return True
        if event.kind is Kind.LOOK:
            self._look_at = None
            return True
        gang = self.gangs.get(event.subject)
        if gang is None or gang.turn != event.turn:
            return False  # what was foreseen did not come
        return self._goes_on(gang, event.kind)

    def _goes_on(self, gang: Gang, kind: Kind) -> bool:
        if kind is Kind.COMPLETES:
            return self._complete(gang)
        if kind is Kind.PROGRAM_FAILS:
            return self._fail(gang, Cause.APPLICATION_EXIT)
        if kind is Kind.MAY_RESTART:
            return self._restart(gang)
        return self._give_up(gang)

    def _arrive(self, job: SimJob) -> bool:
        gang = Gang(job, job.request)
        if why := self._impossible[self._key(job)]:
            self.outcomes[job.uid] = replace(gang.outcome(End.IMPOSSIBLE, self.now, 0.0, self.rules), why=why)
            return False
        self.gangs[job.uid] = gang
        first = self.line.join(self._key(job), gang.request)
        return first and self._may_matter(gang.request)  # behind one of its kind that waits it would wait too

    def _may_matter(self, request: GangRequest) -> bool:
        """Whether a round would change anything for a gang that has just joined, or because of it.

        It does not when the gang does not fit and takes no head's place.
        """
        if self.rules.queues:
            return True  # others may have to leave for it
        ahead = (other for uid in self.targets if (other := self.gangs.get(uid)) is not None)
        rivals = [other.request for other in ahead if other.request.accelerator == request.accelerator]
        if any(order_of(rival) > order_of(request) for rival in rivals):
            return True
        if isinstance(place(request, self.capacity), Placement):
            return True
        self._contest()
        self._look(self.now + self.rules.head_wait)
        return False

    def _complete(self, gang: Gang) -> bool:
        uid = gang.job.uid
        self._let_go(gang)
        self.outcomes[uid] = self._outcome(gang, End.COMPLETED)
        del self.gangs[uid]
        return len(self.line) > 0

    def _fail(self, gang: Gang, cause: Cause) -> bool:
        delay = gang.fail(self.now, cause, self.rules)
        self._push(self.now + delay, Kind.MAY_RESTART, gang.job.uid, gang.turn)
        return False  # it keeps its nodes

    def _lose(self, node: str) -> bool:
        self._foresee_node_failure()
        if node not in self.account.well:
            return False
        self.node_failures += 1
        self._set_node(node, well=False)
        self._push(self.now + self.rules.repair, Kind.NODE_IS_WELL, node)
        for uid in self.account.holders(node):
            gang = self.gangs[uid]
            if gang.running:
                gang.avoided[node] = self.now + self.rules.exclude
                self._fail(gang, Cause.NODE_LOST)
        return len(self.line) > 0  # a head's target may have lost a node

    def _restart(self, gang: Gang) -> bool:
        uid, holds = gang.job.uid, self.account.holds(gang.job.uid)
        if gang.may_stay(self.now, self.account.well) and holds:
            self._begin(gang, gang.nodes)
            return False
        self.line.join(uid, gang.asks_again())
        if holds:
            self._push(self.now + self.rules.gang_timeout, Kind.GIVES_UP, uid, gang.turn)
        return True

    def _give_up(self, gang: Gang) -> bool:
        """It seeks other nodes, and holds none any more meanwhile."""
        uid = gang.job.uid
        if self.account.holds(uid):
            self._let_go(gang)
            gang.queued_at = self.now
            self.line.leave(uid)
            self.line.join(uid, gang.asks_again())
        return True

    def _preempt(self, gang: Gang) -> None:
        """It leaves for another one."""
        self.preemptions += 1
        if gang.job.uid in self.line:
            self._give_up(gang)
            return
        if gang.running:
            self._fail(gang, Cause.PREEMPTED)
        self._let_go(gang)
        gang.queued_at = self.now

    def _decide(self) -> None:
        """Rounds of admission until none makes room: by a gang that gives up nodes for others, or that is preempted."""
        again = True
        while again and len(self.line):
            self.rounds += 1
            front = self.line.front(self._most)
            holding = (self.gangs[uid] for uid, _ in self.account.holdings())
            queues = queues_now(self.rules.queues, holding, self.now, self.rules)
            result = admit(
                front,
                self.capacity,
                self.now,
                self.rules.head_wait,
                kept=self.targets,
                queues=queues,
                tried=self.tried,
            )
            for error in result.errors.values():
                raise error
            self.targets, self.tried = result.targets, result.tried
            again = any(self.account.holds(uid) for uid, _ in result.granted) or bool(result.victims)
            self._grant({request.uid: request for request in front}, result.granted)
            for uid in chain.from_iterable(result.victims.values()):
                self._preempt(self.gangs[uid])
            if result.requeue_after is not None:
                self._look(self.now + max(_SHORTEST_LOOK, result.requeue_after))
        self._contest()

    def _grant(self, front: Mapping[str, GangRequest], granted: Iterable[tuple[str, Placement]]) -> None:
        granted = list(granted)
        for uid, _ in granted:
            self.line.leave(uid)
        heads: dict[str, tuple[int, float, str]] = {}
        for request in self.line.firsts():
            order, kind = order_of(request), request.accelerator
            heads[kind] = min(heads.get(kind, order), order)
        for uid, placement in granted:
            request = front[uid]
            head = heads.get(request.accelerator)
            self.backfills += head is not None and head < order_of(request)
            self.capacity.reserve(request, placement)
            self._begin(self.gangs[uid], placement.nodes)

    def _begin(self, gang: Gang, nodes: tuple[str, ...]) -> None:
        uid, chips = gang.job.uid, gang.job.request.chips_per_worker
        if not self.account.holds(uid):
            gang.admitted_at = self.now
        gang.begin(self.now, nodes)
        held = {node: copies * chips for node, copies in Counter(nodes).items()}
        self.account.hold(uid, gang.request.queue, held)
        self._push(gang.completes_at(self.rules), Kind.COMPLETES, uid, gang.turn)
        fails_at = gang.fails_at()
        if fails_at is not None:
            self._push(fails_at, Kind.PROGRAM_FAILS, uid, gang.turn)

    def _let_go(self, gang: Gang) -> None:
        self.capacity.release(gang.job.uid)
        self.account.release(gang.job.uid)

    def _set_node(self, name: str, *, well: bool) -> None:
        self.capacity.set_node(replace(self.capacity.nodes[name], ready=well))
        self.account.set_node(name, well=well)

    def _key(self, job: SimJob) -> tuple[int, str]:
        """Of gangs that are told apart by priority and age alone."""
        return job.kind, job.request.queue if self.rules.queues else ""

    def _most(self, request: GangRequest) -> int:
        """How many gangs like this one could begin, at most."""
        hierarchy = hierarchy_for(request, self.capacity)
        return 0 if hierarchy is None else copies_for(request, self.capacity, hierarchy) // request.workers

    def _contest(self) -> None:
        stranded = stranded_chips(self.line.firsts(), self.capacity, self.account)
        for name, of_type in self.account.types.items():
            of_type.contested = name in stranded
            of_type.stranded = stranded.get(name, 0)

    def _look(self, at: float) -> None:
        if self._look_at is None or at < self._look_at:
            self._look_at = at
            self._push(at, Kind.LOOK, "")

    def _foresee_node_failure(self) -> None:
        if self.draw is None or not self.rules.node_mtbf or not self.chips:
            return
        pause = -log1p(-self.draw()) * self.rules.node_mtbf / len(self.chips)
        node = list(self.chips)[int(self.draw() * len(self.chips))]
        self._push(self.now + pause, Kind.NODE_FAILS, node)

    def _push(self, at: float, kind: Kind, subject: str, turn: int = 0) -> None:
        heappush(self._heap, Event(at, kind, subject, turn))

    def _outcome(self, gang: Gang, end: End) -> Outcome:
        return gang.outcome(end, self.now, self.account.gang_seconds(gang.job.uid), self.rules)

    def _sample(self) -> Sample:
        types = self.account.types.values()
        return Sample(
            self.now,
            held=sum(t.held for t in types),
            free=sum(t.free for t in types),
            down=sum(t.down for t in types),
            waiting=len(self.line),
            running=sum(1 for _ in self.account.holdings()),
            stranded=sum(t.stranded for t in types),
        )
