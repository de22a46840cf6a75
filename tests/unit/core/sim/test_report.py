from __future__ import annotations

import pytest

from drumline.core.sim.report import PARTS, Report, jain, report_of, waits_of
from tests.unit.core.sim.scenes import H100, hosts, job, simulated


def report(*args: object, **rules: object) -> Report:
    return report_of(*simulated(*args, **rules))  # type: ignore[arg-type]


def test_waits() -> None:
    waits = waits_of(range(1, 101))
    assert (waits.mean, waits.p50, waits.p90, waits.p99, waits.max) == (50.5, 50, 90, 99, 100)
    assert waits_of([]).max == 0
    assert waits_of([7.0]).p50 == 7


def test_jains_index() -> None:
    assert jain([2.0, 2.0, 2.0]) == pytest.approx(1)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([0.0, 0.0]) == 1


def test_utilisation_and_its_course() -> None:
    found = report(hosts(2), [job(0, 50, workers=2), job(0, 50)])
    assert found.makespan == 100
    assert found.types[0].utilisation == pytest.approx(0.75)
    assert len(found.utilisation) == PARTS
    assert found.utilisation[0] == pytest.approx(1)
    assert found.utilisation[-1] == pytest.approx(0.5)
    assert sum(found.utilisation) / PARTS == pytest.approx(0.75)


def test_half_a_host_is_of_no_use_to_a_gang_of_whole_ones() -> None:
    rows = [job(0, 100, chips=4), job(0, 10, workers=2)]
    found = report(hosts(2), rows)
    assert found.types[0].name == H100
    # while it waits 12 are free, 8 of them on the empty host
    assert found.types[0].stranded == pytest.approx(4 / 12)
    assert found.types[0].split == pytest.approx(4 / 12)
    assert found.types[0].fragmented == (("node", pytest.approx(4 / 12)),)


def test_fragmentation_is_of_the_whole_time_and_of_each_level() -> None:
    rows = [job(0, 100), job(50, 50, workers=4)]
    found = report(hosts(8, block=4), rows)
    # 50 s: a block of 32 chips is whole beside 24; 50 s: it is held
    assert found.types[0].fragmented == (
        ("block", pytest.approx(1 - 32 * 50 / (56 * 50 + 24 * 50))),
        ("node", pytest.approx(0.0)),
    )
    assert report(hosts(1), [job(0, 10)]).types[0].fragmented == ()


def test_without_anybody_waiting_nothing_is_stranded() -> None:
    assert report(hosts(2), [job(0, 10)]).types[0].stranded is None


def test_goodput_counts_progress_once() -> None:
    found = report(hosts(1), [job(0, 90, failures=(30,))])
    assert found.total.held == (30 + 10 + 90) * 8
    assert found.total.productive == 90 * 8
    assert found.total.lost == 30 * 8
    assert found.total.goodput == pytest.approx(90 / 130)
    assert found.total.restarts == 1


def test_fairness_is_of_contested_times() -> None:
    rows = [job(0, 30, queue="a"), job(0, 10, queue="b"), job(50, 100, queue="b")]
    found = report(hosts(1), rows, weights={"a": 3.0})
    shares = {s.queue: s for s in found.shares}
    # b waits for 30 s, all held by a; nobody waits after that
    assert shares["a"].share == pytest.approx(1)
    assert shares["a"].fair == pytest.approx(0.75)
    assert found.deviation == pytest.approx(0.25)
    assert found.jain == pytest.approx(0.5)


def test_one_queue_shares_with_nobody() -> None:
    found = report(hosts(1), [job(0, 10), job(0, 10)])
    assert found.shares == ()
    assert found.jain is None
