"""How many groups a role should have: targets, missing metrics, latencies, zero, limits, proportions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.inference import InferenceRoleSpec
from drumline.api.inference_scaling import Slo
from drumline.core.inference.autoscale import STALE_SECONDS, GroupLoad, RoleLoad, recommend, targets
from drumline.core.inference.autoscale_limits import Memory, proportioned
from drumline.core.inference.signals import EngineSample, GroupSignals, Histogram, Rates, Scaling

NOW = 10_000.0
FREE = {"scaleDown": {"stabilizationSeconds": 0, "groups": 500}, "scaleUp": {"groups": 500}}


def role(name: str = "serve", *, behavior: Any = None, **autoscaling: Any) -> InferenceRoleSpec:
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 50,
        "behavior": FREE if behavior is None else behavior,
        **autoscaling,
    }
    template = {"spec": {"containers": [{"name": "e", "image": "i"}]}}
    raw = {"name": name, "accelerator": {"type": "cpu"}, "template": template, "autoscaling": scaling}
    return InferenceRoleSpec.model_validate(raw)


def latencies(seconds: float, count: float = 100.0) -> Histogram:
    """All in the bucket that ends at `seconds`, so that every quantile lies close below it."""
    bounds = (seconds * 0.999, seconds, float("inf"))
    return Histogram(tuple((b, 0.0 if b < seconds else count) for b in bounds), seconds * count, count)


def said(at: float = NOW, **values: Any) -> GroupLoad:
    window = values.pop("window", Rates(60.0, requests=1.0))
    capacity = values.pop("capacity", 1.0)
    sample = EngineSample(at=at, **{"waiting": 0.0, "running": 0.0, **values})
    return GroupLoad(capacity, in_service=True, signals=_signals(sample, window))


def _signals(latest: EngineSample, window: Rates) -> GroupSignals:
    """Two looks, between which happened what the window says."""
    before = EngineSample(latest.at - 5, waiting=0.0, running=0.0, requests=0.0, generation_tokens=0.0)
    now = replace(latest, requests=window.requests, generation_tokens=window.generation_tokens)
    return GroupSignals(latest, (before, now), window)


SILENT = GroupLoad(1.0, in_service=True, signals=GroupSignals())
COMING = GroupLoad(1.0, in_service=False, signals=GroupSignals())


def desired(spec: InferenceRoleSpec, *groups: GroupLoad, slo: Slo | None = None, **load: Any) -> Scaling:
    scaling, _ = recommend(
        spec, slo, RoleLoad(load.pop("current", len(groups)), groups, **load), Memory(), NOW
    )
    return scaling


WAITING = role(metrics=[{"name": "waiting", "target": 2}])
KV = role(metrics=[{"name": "kvCacheUsage", "target": 0.8}])
TPOT = role(metrics=[{"name": "tpot", "targetSeconds": 0.05}])


@pytest.mark.parametrize(
    ("waiting", "groups"),
    [((4, 4), 4), ((2, 2), 2), ((9, 0), 5), ((0, 0), 1), ((2.1, 2.1), 2), ((500, 0), 50)],
)
def test_amounts_add_up_over_groups(waiting: tuple[float, ...], groups: int) -> None:
    assert desired(WAITING, *(said(waiting=n) for n in waiting)).desired == groups


def test_the_use_of_the_cache_is_an_average() -> None:
    assert desired(KV, said(kv_cache_usage=0.9), said(kv_cache_usage=0.9)).desired == 3
    assert desired(KV, said(kv_cache_usage=0.8), said(kv_cache_usage=0.84)).desired == 2
    assert desired(KV, *(said(kv_cache_usage=0.2) for _ in range(4))).desired == 1


def test_the_metric_that_asks_for_most_counts() -> None:
    spec = role(metrics=[{"name": "waiting", "target": 2}, {"name": "kvCacheUsage", "target": 0.5}])
    found = desired(spec, said(waiting=1, kv_cache_usage=1.0), said(waiting=1, kv_cache_usage=1.0))
    assert found.desired == 4
    assert found.message.startswith("kvCacheUsage 1")
    assert {name for name, _, _ in found.metrics} == {"waiting", "kvCacheUsage"}


def test_without_metrics_nothing_changes() -> None:
    assert desired(WAITING, SILENT, SILENT, SILENT).desired == 3
    assert desired(WAITING, SILENT).reason == "MetricsMissing"


@pytest.mark.parametrize("mute", [SILENT, COMING, said(at=NOW - STALE_SECONDS - 1, waiting=0)])
def test_what_says_nothing_never_makes_for_fewer(mute: GroupLoad) -> None:
    assert desired(WAITING, said(waiting=0), mute, mute).desired == 2
    assert desired(WAITING, said(waiting=2), mute).desired == 2


def test_those_that_come_are_counted_before_more_are_asked_for() -> None:
    assert desired(WAITING, said(waiting=6), COMING, COMING).desired == 3
    assert desired(WAITING, said(waiting=6), current=3).desired == 3, "wanted, and not yet there"


@given(
    st.lists(st.sampled_from(["busy", "calm", "mute"]), min_size=1, max_size=8),
    st.sampled_from([WAITING, KV, TPOT]),
)
def test_what_says_nothing_is_never_taken_away(kinds: list[str], spec: InferenceRoleSpec) -> None:
    """Whatever the others say, there is a group for each that is silent, and for each that would have work."""
    loud = {
        "busy": said(waiting=9, kv_cache_usage=0.9, window=Rates(60, 9, tpot=latencies(0.1))),
        "calm": said(waiting=0, kv_cache_usage=0.0, window=Rates(60, 9, tpot=latencies(0.001))),
        "mute": SILENT,
    }
    found = desired(spec, *(loud[kind] for kind in kinds)).desired
    assert found >= kinds.count("mute")
    assert found >= len(kinds) or "calm" in kinds


def test_latency_above_its_target_adds_groups_but_at_most_doubles_them() -> None:
    assert desired(TPOT, *(said(window=Rates(60, 9, tpot=latencies(0.075))) for _ in range(2))).desired == 3
    assert desired(TPOT, *(said(window=Rates(60, 9, tpot=latencies(5.0))) for _ in range(2))).desired == 4


def test_latency_near_its_target_changes_nothing_and_far_below_it_removes_groups() -> None:
    for seconds in (0.03, 0.05, 0.054):
        groups = [said(window=Rates(60, 9, tpot=latencies(seconds))) for _ in range(4)]
        assert desired(TPOT, *groups).desired == 4, seconds
    calm = [said(window=Rates(60, 9, tpot=latencies(0.01))) for _ in range(4)]
    assert desired(TPOT, *calm).desired == 2
    full = [said(kv_cache_usage=0.79, window=Rates(60, 9, tpot=latencies(0.01))) for _ in range(4)]
    assert desired(TPOT, *full).desired == 4, "the cache says that fewer would not do"


def test_an_slo_is_a_target_for_the_roles_that_can_help_it() -> None:
    slo = Slo(ttft_seconds=0.5, tpot_seconds=0.05)
    for name, metrics in (("prefill", ["ttft"]), ("decode", ["tpot"]), ("serve", ["ttft", "tpot"])):
        spec = role(name)
        assert spec.autoscaling is not None
        assert [m.name for m in targets(spec, spec.autoscaling, slo)] == metrics
    assert [m.name for m in targets(role(), role().autoscaling, None)] == ["waiting", "kvCacheUsage"]
    groups = [said(window=Rates(60, 9, ttft=latencies(1.0), tpot=latencies(0.01))) for _ in range(2)]
    assert desired(role(), *groups, slo=slo).desired == 4


def test_tokens_a_second() -> None:
    spec = role(metrics=[{"name": "tokensPerSecond", "target": 100}])
    groups = [said(generation_tokens=1e6, window=Rates(60, 9, generation_tokens=12_000)) for _ in range(2)]
    assert desired(spec, *groups).desired == 4


def test_a_group_that_takes_more_counts_for_more() -> None:
    strong = said(waiting=4, capacity=2.0)
    assert desired(WAITING, strong).desired == 1
    assert desired(WAITING, strong, said(waiting=4), new_capacity=2.0).desired == 3
    assert desired(WAITING, said(waiting=0), said(waiting=4, capacity=2.0)).desired == 1, (
        "the strong one does"
    )


ZERO = role(minReplicas=0, scaleToZero={"idleSeconds": 60}, metrics=[{"name": "waiting", "target": 2}])
IDLE = said(window=Rates(60.0))


def run(spec: InferenceRoleSpec, load: RoleLoad, seconds: int, memory: Memory) -> tuple[Scaling, Memory]:
    found = Scaling(load.current)
    for tick in range(0, seconds + 1, 5):
        groups = tuple(_moved(g, NOW + tick) for g in load.groups)
        found, memory = recommend(spec, None, RoleLoad(load.current, groups, load.held), memory, NOW + tick)
    return found, memory


def _moved(group: GroupLoad, at: float) -> GroupLoad:
    latest = group.signals.latest
    if latest is None:
        return group
    sample = EngineSample(at=at, waiting=latest.waiting, running=latest.running)
    assert group.signals.window is not None
    return GroupLoad(group.capacity, group.in_service, _signals(sample, group.signals.window))


def test_the_last_group_goes_after_so_long_without_a_request() -> None:
    assert run(ZERO, RoleLoad(1, (IDLE,)), 55, Memory())[0].desired == 1
    found, _ = run(ZERO, RoleLoad(1, (IDLE,)), 60, Memory())
    assert (found.desired, found.reason) == (0, "Idle")


@pytest.mark.parametrize(
    "group", [SILENT, COMING, said(running=1, window=Rates(60.0)), said(window=Rates(60.0, requests=1))]
)
def test_who_is_busy_or_says_nothing_stays(group: GroupLoad) -> None:
    assert run(ZERO, RoleLoad(1, (group,)), 600, Memory())[0].desired == 1


def test_from_zero_when_requests_are_held() -> None:
    assert desired(ZERO, current=0).desired == 0
    assert desired(ZERO, current=0, held=3.0).desired == 1
    found, _ = run(ZERO, RoleLoad(1, (IDLE,), held=1.0), 600, Memory())
    assert found.desired == 1


def test_one_that_was_woken_stays_for_the_idle_time() -> None:
    _, memory = run(ZERO, RoleLoad(0, ()), 600, Memory())
    found, _ = recommend(ZERO, None, RoleLoad(1, (_moved(IDLE, NOW + 605),)), memory, NOW + 605)
    assert found.desired == 1


def test_fewer_only_after_the_window_and_more_at_once() -> None:
    spec = role(metrics=[{"name": "waiting", "target": 2}], behavior={})
    calm = tuple(said(waiting=0) for _ in range(4))
    found, memory = run(spec, RoleLoad(4, calm), 295, Memory())
    assert (found.desired, found.reason) == (4, "Stabilizing")
    found, _ = recommend(
        spec, None, RoleLoad(4, tuple(_moved(g, NOW + 300) for g in calm)), memory, NOW + 300
    )
    assert found.desired == 1 if found.reason != "RateLimited" else found.desired < 4
    assert desired(spec, *(said(waiting=4) for _ in range(2))).desired == 4


def test_one_look_at_load_within_the_window_keeps_the_groups() -> None:
    spec = role(
        metrics=[{"name": "waiting", "target": 2}], behavior={"scaleDown": {"stabilizationSeconds": 60}}
    )
    calm, busy = tuple(said(waiting=0) for _ in range(4)), tuple(said(waiting=2) for _ in range(4))
    _, memory = run(spec, RoleLoad(4, calm), 40, Memory())
    at = NOW + 45
    _, memory = recommend(spec, None, RoleLoad(4, tuple(_moved(g, at) for g in busy)), memory, at)
    for at in (NOW + 90.0, NOW + 104.0):
        found, memory = recommend(spec, None, RoleLoad(4, tuple(_moved(g, at) for g in calm)), memory, at)
        assert found.desired == 4, at


def test_rates_are_limited_in_both_directions() -> None:
    rules = {"scaleUp": {"groups": 2}, "scaleDown": {"groups": 1, "stabilizationSeconds": 0}}
    spec = role(metrics=[{"name": "waiting", "target": 2}], behavior=rules)
    found, memory = recommend(spec, None, RoleLoad(2, (said(waiting=20),) * 2), Memory(), NOW)
    assert (found.desired, found.reason) == (4, "RateLimited")
    again, memory = recommend(spec, None, RoleLoad(4, (said(at=NOW + 5, waiting=20),) * 4), memory, NOW + 5)
    assert again.desired == 4, "two were added in this period already"
    later, _ = recommend(spec, None, RoleLoad(4, (said(at=NOW + 70, waiting=20),) * 4), memory, NOW + 70)
    assert later.desired == 6
    assert desired(spec, *(said(waiting=0) for _ in range(5))).desired == 4


@given(st.integers(0, 20), st.lists(st.floats(0, 100), max_size=20), st.integers(0, 3), st.integers(1, 20))
def test_bounds_always_hold(current: int, waiting: list[float], least: int, span: int) -> None:
    zero = {"scaleToZero": {"idleSeconds": 60}} if least == 0 else {}
    spec = role(
        minReplicas=least, maxReplicas=least + span, metrics=[{"name": "waiting", "target": 2}], **zero
    )
    groups = tuple(said(waiting=n) for n in waiting[:current])
    found, _ = recommend(spec, None, RoleLoad(current, groups), Memory(), NOW)
    inside = least <= found.desired <= least + span
    assert inside or abs(found.desired - current) <= 500, "on the way to the bounds"


def test_roles_keep_their_proportion() -> None:
    prefill = role("prefill", ratio={"role": "decode", "min": 0.5, "max": 2})
    roles = {"prefill": prefill, "decode": role("decode")}
    for wanted, other, bound in ((9, 3, 6), (1, 4, 2), (3, 2, 3)):
        found = proportioned(roles, {"prefill": Scaling(wanted), "decode": Scaling(other)}, {})
        assert found["prefill"].desired == bound
        assert found["decode"].desired == other
    alone = proportioned(roles, {"prefill": Scaling(9)}, {"decode": 2})
    assert (alone["prefill"].desired, alone["prefill"].reason) == (4, "Ratio")


def test_a_further_group_of_a_rollout_asks_for_no_more_groups() -> None:
    """What a rollout, a canary or an evacuation has beyond the number is no reason to raise it."""
    busy = said(waiting=2, window=Rates(60.0, tpot=latencies(0.04)))
    assert desired(WAITING, *(busy,) * 4, COMING, current=4).desired == 4
    assert desired(WAITING, *(said(waiting=1.6),) * 5, current=4).desired == 4
    for surge in (COMING, busy, SILENT):
        assert desired(TPOT, *(busy,) * 4, surge, current=4).desired == 4, surge
    assert desired(KV, *(said(kv_cache_usage=0.8),) * 5, current=4).desired == 5, "what all take counts"
    assert desired(WAITING, *(said(waiting=0),) * 4, COMING, current=4).desired == 1
    assert desired(WAITING, *(said(waiting=4),) * 4, COMING, current=4).desired == 8


def test_an_engine_without_a_counter_of_requests_is_busy_while_tokens_come() -> None:
    """Short requests pass between two looks at what is running."""
    tokens = said(window=Rates(60.0, generation_tokens=9.0), generation_tokens=100.0)
    assert run(ZERO, RoleLoad(1, (tokens,)), 600, Memory())[0].desired == 1


def test_the_idle_time_is_all_that_the_last_group_waits_for() -> None:
    spec = role(minReplicas=0, scaleToZero={"idleSeconds": 60}, behavior={})
    assert run(spec, RoleLoad(1, (IDLE,)), 60, Memory())[0].desired == 0


def test_the_idle_time_begins_with_the_last_work_not_when_the_window_has_forgotten_it() -> None:
    samples: list[EngineSample] = []
    memory, found = Memory(), []
    for tick in range(0, 70, 5):
        tokens = 9.0 if tick else 0.0
        samples.append(EngineSample(NOW + tick, waiting=0.0, running=0.0, generation_tokens=tokens))
        known = GroupSignals(samples[-1], tuple(samples), Rates(60.0, generation_tokens=9.0))
        load = RoleLoad(1, (GroupLoad(1.0, in_service=True, signals=known),))
        scaling, memory = recommend(ZERO, None, load, memory, NOW + tick)
        found.append(scaling.desired)
    assert found == [1] * 13 + [0], "the tokens came by the look at 5 s"
