"""Short stories of which every second is known."""

from __future__ import annotations

from math import expm1

import pytest

from drumline.api.queue import Reclaim, WithinQueue
from drumline.core.gang.queues import Queue, QueueQuota
from drumline.core.sim.model import End, Outcome
from tests.unit.core.sim.scenes import H100, cluster, draws, hosts, job, simulated, tpu_job


def times(outcomes: list[Outcome]) -> list[tuple[float | None, float | None]]:
    return [(o.first_start, o.finished) for o in outcomes]


def after(seconds: float, mtbf: float, nodes: int) -> float:
    """The draw that makes the next failure come after so long."""
    return -expm1(-seconds * nodes / mtbf)


def test_jobs_run_side_by_side_and_one_after_the_other() -> None:
    simulation, outcomes = simulated(hosts(2), [job(0, 100), job(10, 100), job(20, 50, workers=2)])
    assert times(outcomes) == [(0, 100), (10, 110), (110, 160)]
    assert simulation.now == 160
    assert [o.held for o in outcomes] == [800, 800, 800]


def test_small_ones_pass_a_head_until_it_has_waited() -> None:
    rows = [job(0, 100), job(1, 50, workers=2), job(2, 20), job(30, 100)]
    simulation, outcomes = simulated(hosts(2), rows, head_wait=10)
    assert times(outcomes) == [(0, 100), (100, 150), (2, 22), (150, 250)]
    assert simulation.backfills == 1


def test_priority_goes_first() -> None:
    _, outcomes = simulated(hosts(1), [job(0, 10), job(1, 10), job(2, 10, priority=1)])
    assert times(outcomes) == [(0, 10), (20, 30), (10, 20)]


def test_what_no_cluster_could_hold_is_told_at_once() -> None:
    _, outcomes = simulated(hosts(2), [job(0, 10, workers=3), job(0, 10)])
    assert [o.end for o in outcomes] == [End.IMPOSSIBLE, End.COMPLETED]
    assert times(outcomes)[0] == (None, None)


def test_a_program_that_fails_starts_again_on_its_nodes() -> None:
    rows = [job(0, 100, failures=(50,)), job(1, 10)]
    _, outcomes = simulated(hosts(1), rows, checkpoint_interval=20)
    # 50 s, of which 40 are saved; 10 s of backoff; 60 s
    assert times(outcomes) == [(0, 120), (120, 130)]
    assert (outcomes[0].attempts, outcomes[0].lost, outcomes[0].productive) == (2, 80, 800)
    assert outcomes[0].held == 960


def test_backoff_doubles_in_a_row_of_early_failures() -> None:
    _, outcomes = simulated(hosts(1), [job(0, 100, failures=(1, 2, 3))])
    assert outcomes[0].finished == 3 + 10 + 20 + 40 + 100


def test_start_up_makes_no_progress() -> None:
    _, outcomes = simulated(hosts(1), [job(0, 100, failures=(50,))], startup=30, checkpoint_interval=15)
    # 30 s of start-up, 20 of progress, 15 of them saved; 10 s of backoff; 30 + 85 s
    assert outcomes[0].finished == 50 + 10 + 30 + 85
    assert outcomes[0].lost == 5 * 8


def test_a_gang_that_loses_a_node_moves_to_another() -> None:
    fails = (after(50, 1000, 3), 0.0)  # the first node, after 50 s
    simulation, outcomes = simulated(
        hosts(3), [job(0, 100, workers=2)], draws(*fails), node_mtbf=1000, repair=500
    )
    assert simulation.node_failures == 1
    assert outcomes[0].attempts == 2
    assert outcomes[0].finished == pytest.approx(50 + 10 + 100)


def test_a_gang_that_finds_no_other_node_lets_its_own_go() -> None:
    fails = (after(50, 1000, 2), 0.0)
    rows = [job(0, 100, workers=2), job(60, 10)]
    _, outcomes = simulated(hosts(2), rows, draws(*fails), node_mtbf=1000, repair=300, gang_timeout=120)
    assert outcomes[1].first_start == pytest.approx(50 + 10 + 120)
    assert outcomes[0].finished == pytest.approx(50 + 300 + 100)


def test_a_slice_takes_a_whole_pool() -> None:
    nodes = cluster({"pools": 2, "accelerator": "tpu-v5p", "topology": "2x2x2"})
    _, outcomes = simulated(nodes, [tpu_job(0, 10), tpu_job(0, 20, slices=2), tpu_job(1, 10, slices=3)])
    assert times(outcomes) == [(0, 10), (10, 30), (None, None)]


def test_who_has_not_ended_by_the_horizon_is_cut_off() -> None:
    simulation, outcomes = simulated(hosts(1), [job(0, 100), job(0, 100)], horizon=150)
    assert [o.end for o in outcomes] == [End.COMPLETED, End.UNFINISHED]
    assert simulation.cut_off


def test_a_queue_keeps_to_its_quota() -> None:
    queues = {"a": Queue("a", quotas={H100: QueueQuota(8)}), "b": Queue("b", quotas={H100: QueueQuota(8)})}
    rows = [job(0, 100, queue="a"), job(1, 100, queue="a"), job(2, 100, workers=2, queue="b")]
    _, outcomes = simulated(hosts(2), rows, queues=queues)
    assert times(outcomes) == [(0, 100), (100, 200), (None, None)]
    assert outcomes[2].end is End.IMPOSSIBLE


def test_who_borrowed_leaves_and_comes_back() -> None:
    quota = {H100: QueueQuota(8)}
    lender = Queue("a", "all", quotas=quota, reclaim=Reclaim.ANY, min_run_seconds=0)
    queues = {"a": lender, "b": Queue("b", "all", quotas=quota, min_run_seconds=0)}
    rows = [job(0, 100, queue="b"), job(1, 100, queue="b"), job(50, 30, queue="a")]
    simulation, outcomes = simulated(hosts(2), rows, queues=queues, checkpoint_interval=1)
    assert simulation.preemptions == 1
    assert outcomes[2].first_start == 50
    # its checkpoint lost nothing
    assert [o.lost for o in outcomes] == [0, 0, 0]
    assert sorted(o.finished or 0 for o in outcomes[:2]) == [101, 130]


def test_a_higher_priority_preempts_in_its_queue() -> None:
    queue = Queue("a", quotas={H100: QueueQuota(16)}, within_queue=WithinQueue.LOWER_PRIORITY)
    rows = [job(0, 1000, workers=2, queue="a"), job(100, 10, queue="a", priority=5)]
    simulation, outcomes = simulated(hosts(2), rows, queues={"a": queue})
    assert outcomes[1].first_start == 300  # no gang is preempted before it has run for so long
    assert (simulation.preemptions, outcomes[0].attempts) == (1, 2)
    assert outcomes[0].lost == 300 * 16  # it makes no checkpoints
