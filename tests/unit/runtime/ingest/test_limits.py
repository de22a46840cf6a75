"""Token buckets against a plain model, and a budget of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.runtime.ingest.limits import Buckets, Budget


def test_a_burst_then_the_rate() -> None:
    buckets = Buckets(rate=2, burst=3)
    assert [buckets.take("a", 10.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 10.0) == pytest.approx(0.5)
    assert buckets.take("b", 10.0) == 0.0, "each key has its own"
    assert buckets.take("a", 10.5) == 0.0
    assert buckets.take("a", 10.5) > 0


@given(
    st.lists(st.floats(min_value=0, max_value=3), max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.5, 1, 4]),
)
def test_it_is_a_token_bucket(pauses: list[float], burst: int, rate: float) -> None:
    buckets = Buckets(rate, burst)
    now, tokens = 0.0, float(burst)
    for pause in pauses:
        now += pause
        tokens = min(float(burst), tokens + pause * rate)
        if abs(tokens - 1) < 1e-6:
            return  # rounding decides
        early = buckets.take("key", now)
        assert (early == 0.0) == (tokens > 1)
        if early:
            assert early == pytest.approx((1 - tokens) / rate, abs=1e-6)
        else:
            tokens -= 1


def test_idle_keys_are_forgotten() -> None:
    buckets = Buckets(rate=1, burst=2)
    for i in range(100):
        buckets.take(i, float(i))
    assert len(buckets) <= 3


def test_there_is_a_most_of_keys() -> None:
    buckets = Buckets(rate=1, burst=1, most=10)
    for i in range(100):
        assert buckets.take(i, 0.0) == 0.0
    assert len(buckets) == 10


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_without_sense_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="bad rate"):
        Buckets(rate, burst)


def test_a_budget_is_given_back() -> None:
    budget = Budget(10)
    with budget.hold(6) as first, budget.hold(6) as second:
        assert (first, second, budget.left) == (True, False, 4)
    assert budget.left == 10
    with pytest.raises(KeyError), budget.hold(10):
        raise KeyError
    assert budget.left == 10


def test_what_counts_for_more_has_the_next_one_wait() -> None:
    buckets = Buckets(rate=2, burst=3)
    assert buckets.take("a", 10.0) == 0.0
    buckets.charge("a", 5, 10.0)
    buckets.charge("b", 0, 10.0)
    assert buckets.take("a", 10.0) == pytest.approx(2.0), "six of three at once, and one more"
    assert buckets.take("a", 12.0) == 0.0
    assert len(buckets) == 1
