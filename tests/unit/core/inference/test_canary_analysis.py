"""What measurements of a canary are held against it, and what not."""

from __future__ import annotations

import pytest

from drumline.api.inference_rollout import CanaryAnalysis
from drumline.core.inference.canary_analysis import Measured, errors, latency, requests
from drumline.core.inference.signals import GroupSignals, Histogram, Rates

RULES = CanaryAnalysis(max_error_rate=0.01, max_latency_ratio=1.25)
INF = float("inf")


def answered(count: float, failed: float = 0) -> GroupSignals:
    return GroupSignals(since_ready=Rates(60, requests=count, failed_requests=failed))


def roles(canary: GroupSignals, *stable: GroupSignals, role: str = "serve") -> dict[str, Measured]:
    return {role: Measured([canary], list(stable))}


@pytest.mark.parametrize(
    ("count", "failed", "bad"),
    [
        (0, 0, False),
        (0, 1, False),  # one failure among few proves nothing
        (10, 2, True),
        (990, 10, False),  # exactly what is allowed
        (989, 11, True),
    ],
)
def test_errors(count: float, failed: float, bad: bool) -> None:
    assert bool(errors(RULES, roles(answered(count, failed)))) is bad


def test_errors_are_told_with_the_role_and_the_limit() -> None:
    found = errors(RULES, {**roles(answered(100)), **roles(answered(80, 20), role="decode")})
    assert found == "role decode: 20.0% of 100 requests failed, 1.0% are allowed"


def test_errors_of_all_groups_of_a_role_count_together() -> None:
    assert errors(RULES, {"serve": Measured([answered(50, 1), answered(50, 1)], [])})


def test_errors_of_an_engine_that_says_nothing_are_none() -> None:
    assert errors(RULES, roles(GroupSignals())) == ""
    assert requests(roles(GroupSignals())) == 0
    assert requests({}) == 0


def test_requests_are_those_of_the_busiest_role() -> None:
    assert requests({**roles(answered(7), role="prefill"), **roles(answered(9), role="decode")}) == 9


def bucketed(fast: float, late: float) -> Histogram:
    """So many requests within 0.1 s, and so many more within 1 s."""
    return Histogram(((0.1, fast), (1.0, fast + late), (INF, fast + late)), 0.0, fast + late)


def test_a_slow_canary_is_told_by_its_quantile() -> None:
    canary = GroupSignals(since_ready=Rates(60, ttft=bucketed(0, 100)))
    stable = GroupSignals(since_ready=Rates(60, ttft=bucketed(100, 0)))
    found = latency(RULES, roles(canary, stable))
    assert found == "role serve: ttft (quantile 0.9) is 910 ms against 90 ms: ratio 10.11, 1.25 is allowed"
    assert latency(RULES, roles(stable, canary)) == ""


def even(seconds: float) -> Histogram:
    """A hundred requests evenly between 0 and `seconds`: the 0.9 quantile is 0.9 times that."""
    return Histogram(((seconds, 100), (INF, 100)), 50 * seconds, 100)


@pytest.mark.parametrize("metric", ["ttft", "tpot"])
@pytest.mark.parametrize(("ratio", "bad"), [(1.0, False), (1.24, False), (1.26, True)])
def test_the_limit_is_a_ratio(metric: str, ratio: float, bad: bool) -> None:
    canary = GroupSignals(since_ready=Rates(60, **{metric: even(0.1 * ratio)}))
    stable = GroupSignals(since_ready=Rates(60, **{metric: even(0.1)}))
    found = latency(RULES, roles(canary, stable))
    assert bool(found) is bad
    assert metric in found or not bad


def test_few_requests_prove_nothing() -> None:
    late, early = Rates(60, ttft=bucketed(0, 19)), Rates(60, ttft=bucketed(500, 0))
    assert latency(RULES, roles(GroupSignals(since_ready=late), GroupSignals(since_ready=early))) == ""


def test_no_stable_group_no_comparison() -> None:
    late = Rates(60, ttft=bucketed(0, 100))
    assert latency(RULES, roles(GroupSignals(since_ready=late))) == ""


def test_the_last_minute_counts_where_it_has_enough() -> None:
    late, early = bucketed(0, 200), bucketed(200, 0)
    canary = GroupSignals(window=Rates(60, ttft=early), since_ready=Rates(900, ttft=late))
    stable = GroupSignals(window=Rates(60, ttft=early), since_ready=Rates(9e5, ttft=early))
    assert latency(RULES, roles(canary, stable)) == ""
    quiet = GroupSignals(window=Rates(60, ttft=bucketed(9, 0)), since_ready=Rates(9e5, ttft=early))
    assert latency(RULES, roles(canary, quiet)) != ""
