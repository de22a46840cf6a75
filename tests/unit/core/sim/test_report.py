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


def test_who_wants_no_more_takes_nothing_from_anybody() -> None:
    """The first has all that it wants, and less than its part; the others share the rest as they should."""
    rows = [job(0, 100, queue="a")]
    rows += [job(0, 10, queue=queue) for _ in range(6) for queue in ("b", "c")]
    found = report(hosts(3), rows, weights={"a": 9.0})
    assert {s.queue: s.fair for s in found.shares} == {"b": pytest.approx(0.5), "c": pytest.approx(0.5)}
    assert found.jain == pytest.approx(1)
    assert found.deviation == pytest.approx(0)


def test_a_queue_of_weight_0_is_entitled_to_nothing() -> None:
    rows = [job(0, 30, queue="a"), job(0, 10, queue="b"), job(0, 10, queue="c")]
    found = report(hosts(1), rows, weights={"a": 0.0})
    shares = {s.queue: (s.weight, s.share, s.fair) for s in found.shares}
    # 30 s: a holds all that b and c want; 10 s: b holds what c wants half of
    assert shares == {"a": (0.0, 0.75, 0.0), "b": (1.0, 0.25, 0.5), "c": (1.0, 0.0, 0.5)}
    assert found.jain == pytest.approx(0.5)  # of b and c
    assert found.deviation == 0.75


def test_one_queue_with_a_weight_has_no_index() -> None:
    found = report(hosts(1), [job(0, 30, queue="a"), job(1, 10, queue="b")], weights={"a": 0.0})
    assert [(s.queue, s.share, s.fair) for s in found.shares] == [("a", 1.0, 0.0), ("b", 0.0, 1.0)]
    assert found.jain is None


def test_impossible_jobs_are_named_with_the_reason() -> None:
    found = report(hosts(2), [job(0, 10, workers=3, name="big", queue="a"), job(0, 10)])
    assert [(i.name, i.queue) for i in found.impossible] == [("big", "a")]
    assert "24 × nvidia-h100-80gb" in found.impossible[0].why


def test_one_queue_shares_with_nobody() -> None:
    found = report(hosts(1), [job(0, 10), job(0, 10)])
    assert found.shares == ()
    assert found.jain is None
