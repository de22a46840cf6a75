"""The policy's invariants over random traces, clusters and failures. `verify` looks at them after every event."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.queue import QueueingStrategy, Reclaim, WithinQueue
from drumline.core.gang.power import Budget, Power, ratings_of
from drumline.core.gang.queues import Queue, QueueQuota
from drumline.core.gang.types import GangRequest
from drumline.core.sim.engine import Simulation
from drumline.core.sim.invariants import verify_end
from drumline.core.sim.line import Line
from drumline.core.sim.model import End
from drumline.core.sim.trace import Row, Size, jobs_of
from tests.unit.core.sim.scenes import CATALOG, H100, V5P, cluster, simulated

GB200 = "nvidia-gb200"
BLOCKS = {"count": 6, "accelerator": H100, "block": 4, "subblock": 2}
SLICES = {"pools": 3, "accelerator": V5P, "topology": "2x2x2"}
RACKS = {"count": 5, "accelerator": GB200, "block": 5, "subblock": 3}
NODES = cluster(BLOCKS, SLICES, RACKS)
TRACES = 100  # a run of a property; with each of them a whole trace is played

PLACES = st.sampled_from([("", ""), ("Required", "block"), ("Required", "subblock"), ("Preferred", "block")])
GPU_SIZES = st.builds(
    lambda slices, workers, chips, place: Size(H100, slices, workers, chips, "", *place),
    st.integers(1, 2),
    st.integers(1, 4),
    st.sampled_from([1, 2, 4, 8, 8]),
    PLACES,
)
# groups of two or four workers on a host, and of two or three hosts in a subblock
GROUPED = st.sampled_from(
    [
        Size(H100, 1, 4, 2, tensor=8),
        Size(H100, 1, 4, 2, tensor=4),
        Size(GB200, 1, 2, 4, tensor=8),
        Size(GB200, 1, 4, 4, tensor=8),
        Size(GB200, 1, 3, 4, tensor=12),
    ]
)
SIZES = st.one_of(
    GPU_SIZES, GPU_SIZES, GROUPED, st.builds(lambda n: Size(V5P, n, topology="2x2x2"), st.integers(1, 3))
)
ROWS = st.builds(
    lambda submit, duration, size, queue, priority, failures: Row(
        "trace:1", "", submit, duration, size, queue, priority, tuple(failures)
    ),
    st.integers(0, 300),
    st.integers(1, 200),
    SIZES,
    st.sampled_from(["a", "b"]),
    st.integers(0, 1),
    st.lists(st.integers(1, 100), max_size=1),
)
TRACE = st.lists(ROWS, min_size=2, max_size=14)
RATINGS = ratings_of(CATALOG)
BUDGETS = st.lists(
    st.builds(
        Budget,
        st.sampled_from(["block", "subblock", "nodepool"]),
        st.sampled_from([2800.0, 5600.0, 12000.0, 17000.0]),
        st.sampled_from(["", "g0-b0", "g0-s0"]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda budget: (budget.level, budget.domain),  # a second one is refused
)
QUOTAS = st.builds(
    QueueQuota,
    st.sampled_from([0, 16, 24]),
    st.sampled_from([None, 0, 8]),
    st.sampled_from([None, 0, 8]),
)
QUEUES = st.builds(
    lambda name, gpus, tpus, strategy, within, reclaim: Queue(
        name, "all", 1.0, strategy, {H100: gpus, V5P: tpus}, within, reclaim, 20.0
    ),
    st.just(""),
    QUOTAS,
    QUOTAS,
    st.sampled_from(QueueingStrategy),
    st.sampled_from(WithinQueue),
    st.sampled_from(Reclaim),
)


@settings(max_examples=TRACES, deadline=None)
@given(TRACE, st.sampled_from([5.0, 60.0]))
def test_every_job_that_fits_ends(rows: list[Row], head_wait: float) -> None:
    simulation, outcomes = simulated(NODES, rows, head_wait=head_wait)
    verify_end(simulation, outcomes)
    for outcome in outcomes:
        if outcome.end is End.COMPLETED:
            assert outcome.productive == outcome.job.duration * outcome.job.chips
            assert outcome.held >= outcome.productive


@settings(max_examples=TRACES, deadline=None)
@given(TRACE, st.integers(0, 2**16), st.sampled_from([0.0, 10.0]))
def test_every_job_that_fits_ends_though_nodes_fail(rows: list[Row], seed: int, interval: float) -> None:
    draw = Random(seed).random
    rules = {"node_mtbf": 5000.0, "repair": 100.0, "gang_timeout": 30.0, "checkpoint_interval": interval}
    simulation, outcomes = simulated(NODES, rows, draw, head_wait=20.0, **rules)
    verify_end(simulation, outcomes)


@settings(max_examples=TRACES, deadline=None)
@given(TRACE, QUEUES, QUEUES, st.integers(0, 2**16))
def test_no_quota_is_exceeded(rows: list[Row], a: Queue, b: Queue, seed: int) -> None:
    queues = {"a": replace(a, name="a"), "b": replace(b, name="b")}
    rules = {"node_mtbf": 20000.0, "repair": 50.0, "checkpoint_interval": 5.0, "horizon": 1e5}
    simulation, outcomes = simulated(NODES, rows, Random(seed).random, queues=queues, **rules)
    verify_end(simulation, outcomes)


@settings(max_examples=TRACES, deadline=None)
@given(TRACE, BUDGETS, st.integers(0, 2**16))
def test_no_power_budget_is_exceeded_and_nobody_starves_for_power(
    rows: list[Row], budgets: list[Budget], seed: int
) -> None:
    rules = {"node_mtbf": 20000.0, "repair": 50.0, "head_wait": 20.0, "power": Power(tuple(budgets), RATINGS)}
    simulation, outcomes = simulated(NODES, rows, Random(seed).random, **rules)
    verify_end(simulation, outcomes)
    assert simulation.power_peak <= 1


@settings(max_examples=30, deadline=None)
@given(TRACE, st.integers(0, 2**16))
def test_the_same_seed_gives_the_same_result(rows: list[Row], seed: int) -> None:
    rules = {"node_mtbf": 3000.0, "repair": 50.0, "checkpoint_interval": 5.0}
    first, second = (simulated(NODES, rows, Random(seed).random, **rules)[1] for _ in range(2))
    assert first == second


class WholeLine(Line):
    """Shows everybody, and wants a round whenever somebody joins."""

    def join(self, kind: Hashable, request: GangRequest) -> bool:
        super().join(kind, request)
        return True

    def front(self, most: object) -> list[GangRequest]:
        return list(self)


class Thorough(Simulation):
    """Has a round whenever somebody arrives."""

    def _may_matter(self, request: GangRequest) -> bool:
        return True


@settings(max_examples=TRACES, deadline=None)
@given(TRACE)
def test_the_front_of_the_line_decides_as_the_whole_line_does(rows: list[Row]) -> None:
    few = [
        replace(row, size=rows[i % min(3, len(rows))].size) for i, row in enumerate(rows)
    ]  # long lines of few kinds
    short, fronts = simulated(NODES, few, head_wait=30.0)
    jobs = jobs_of(few, CATALOG)
    thorough = Thorough(NODES, short.chips, jobs, short.rules, line=WholeLine())
    assert thorough.run() == fronts
    assert thorough.rounds >= short.rounds
