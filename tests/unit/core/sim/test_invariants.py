"""The checks find what is wrong: each is shown a simulation that was tampered with."""

from __future__ import annotations

import pytest

from drumline.core.gang.power import Budget, Power, ratings_of
from drumline.core.gang.queues import Queue, QueueQuota
from drumline.core.sim.cluster import chips_of
from drumline.core.sim.engine import Simulation
from drumline.core.sim.invariants import InvariantError, verify, verify_end
from drumline.core.sim.model import Rules
from drumline.core.sim.quotas import exceeded
from drumline.core.sim.trace import Row, jobs_of
from tests.unit.core.sim.scenes import CATALOG, H100, cluster, hosts, job, simulated, tpu_job


def begun(rows: list[Row], nodes: int = 2) -> Simulation:
    """A simulation after its first event."""
    here = hosts(nodes)
    simulation = Simulation(here, chips_of(here, CATALOG), jobs_of(rows, CATALOG), Rules())
    simulation.step()
    verify(simulation)
    return simulation


def test_a_node_held_twice_is_found() -> None:
    simulation = begun([job(0, 10), job(0, 10)])
    node = simulation.gangs["00000000"].nodes[0]
    simulation.account.hold("00000001", "", {node: 8})
    with pytest.raises(InvariantError, match=f"16 chips of {node} are held"):
        verify(simulation)


def test_half_a_gang_is_found() -> None:
    simulation = begun([job(0, 10, workers=2)])
    simulation.account.hold("00000000", "", {"g0-0": 8})
    with pytest.raises(InvariantError, match="holds 8 of 16 chips"):
        verify(simulation)


def test_a_gang_on_a_failed_node_is_found() -> None:
    simulation = begun([job(0, 10)])
    simulation.account.set_node(simulation.gangs["00000000"].nodes[0], well=False)
    with pytest.raises(InvariantError, match="runs on a node that failed"):
        verify(simulation)


def test_an_idle_cluster_is_found() -> None:
    simulation = begun([job(0, 10, workers=2), job(0, 10)])
    simulation.account.release("00000000")
    with pytest.raises(InvariantError, match="waits though it fits"):
        verify(simulation)


def test_a_scattered_slice_is_found() -> None:
    nodes = cluster({"pools": 2, "accelerator": "tpu-v5p", "topology": "2x2x2"})
    jobs = jobs_of([tpu_job(0, 10)], CATALOG)
    simulation = Simulation(nodes, chips_of(nodes, CATALOG), jobs, Rules())
    simulation.step()
    verify(simulation)
    simulation.gangs["00000000"].nodes = ("g0-p0-0", "g0-p1-0")
    with pytest.raises(InvariantError, match="no whole node pool"):
        verify(simulation)


def test_who_never_ended_is_found() -> None:
    simulation, outcomes = simulated(hosts(1), [job(0, 100, name="x")], horizon=50)
    with pytest.raises(InvariantError, match="1 jobs never ended, x among them"):
        verify_end(simulation, outcomes)


def test_a_domain_that_draws_too_much_is_found() -> None:
    nodes = cluster({"count": 2, "accelerator": H100, "block": 2})
    rules = Rules(power=Power((Budget("block", 8 * 700),), ratings_of(CATALOG)))
    jobs = jobs_of([job(0, 10), job(0, 10)], CATALOG)
    simulation = Simulation(nodes, chips_of(nodes, CATALOG), jobs, rules)
    simulation.step()
    verify(simulation)
    held = simulation.gangs["00000000"].nodes[0]
    (other,) = {n.name for n in nodes} - {held}
    simulation.account.hold("00000001", "", {other: 8})
    with pytest.raises(InvariantError, match="block g0-b0 draws 11200 W of 5600 W"):
        verify(simulation)


def test_an_exceeded_quota_is_found() -> None:
    alone = {"a": Queue("a", quotas={H100: QueueQuota(8)})}
    assert not list(exceeded(alone, {("a", H100): 8}))
    assert list(exceeded(alone, {("a", H100): 16})) == [f"queue a holds 16 of 8 × {H100}"]


def test_more_than_a_cohort_lends_is_found() -> None:
    lender = Queue("a", "all", quotas={H100: QueueQuota(16, lending_limit=8)})
    borrower = Queue("b", "all", quotas={H100: QueueQuota(0, borrowing_limit=16)})
    queues = {"a": lender, "b": borrower}
    assert not list(exceeded(queues, {("a", H100): 8, ("b", H100): 8}))
    assert list(exceeded(queues, {("b", H100): 16})) == [f"cohort all holds 16 of 8 × {H100} that it lends"]
    assert next(exceeded(queues, {("b", H100): 24})) == f"queue b holds 24 of 16 × {H100}"
