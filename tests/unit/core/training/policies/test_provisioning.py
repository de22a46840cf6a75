"""A gang that is refused nodes for long begins without, for an autoscaler to see; late or in part, it ends whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.plan import Delete, Plan
from drumline.core.gang.types import Placement, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

NO = Refusal(Reason.INSUFFICIENT_ACCELERATORS, "needs 4 nodes")
ANYWHERE = Placement(("",) * 4)
AFTER, TIMEOUT = 30, 900
REJECTED = "0/3 nodes are available"


def refused(accelerator: Mapping[str, Any] | None = None, **scheduling: Any) -> Observation:
    """A job that was refused nodes at NOW."""
    chosen = {"provisioning": {"mode": "Unpinned"}, **scheduling}
    raw = jobs.spec(accelerator=accelerator or {"type": "nvidia-h100-80gb"}, scheduling=chosen)
    return jobs.settled(replace(jobs.settled(jobs.job(raw)), admission=NO), NOW)


def unpinned(bound: int = 0, **more: Any) -> Observation:
    """The job after its attempt began unpinned at NOW + AFTER, so many of its pods bound, the rest rejected."""
    obs = refused(**more)
    plan = decide(replace(obs, admission=Granted(ANYWHERE)), NOW + AFTER)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    obs = replace(obs, status=status, placement=ANYWHERE, admission=None)
    found = {}
    for index, pod in enumerate(jobs.pods(obs, created_at=NOW + AFTER)):
        up = replace(jobs.up(pod, NOW + 60), node=f"new-{index}")
        found[pod.name] = up if index < bound else replace(pod, rejected=REJECTED)
    return replace(obs, pods=found, bound={i: f"new-{i}" for i in range(bound)})


def deleted(plan: Plan) -> set[str]:
    return {a.name for s in plan.actions for a in s if isinstance(a, Delete) and a.resource == "pods"}


def test_it_asks_for_nodes_after_a_while() -> None:
    obs = refused()
    early = decide(obs, NOW + AFTER - 1)
    assert early.waiting is not None
    assert not early.waiting.unpinned
    assert early.requeue_after == pytest.approx(1.0)
    plan = decide(obs, NOW + AFTER)
    assert plan.waiting is not None
    assert plan.waiting.unpinned
    unanswered = decide(replace(obs, admission=None), NOW + AFTER + 1)
    assert unanswered.waiting == plan.waiting  # it does not ask in turn for one and the other


@pytest.mark.parametrize("reason", [Reason.QUEUE_QUOTA, Reason.POWER_BUDGET, Reason.NAMESPACE_QUOTA])
def test_more_nodes_are_no_quota_and_no_power(reason: Reason) -> None:
    obs = jobs.settled(replace(refused(), admission=Refusal(reason, "no")), NOW + 1)
    for answer in (obs.admission, None):
        plan = decide(replace(obs, admission=answer), NOW + 10 * AFTER)
        assert plan.waiting is not None
        assert not plan.waiting.unpinned


def test_a_job_that_may_not_ask_waits() -> None:
    for scheduling in ({"provisioning": {"mode": "Never"}}, {"provisioning": None}):
        plan = decide(refused(**scheduling), NOW + 10 * AFTER)
        assert plan.waiting is not None
        assert not plan.waiting.unpinned


def test_it_keeps_its_queue_s_quota() -> None:
    obs = replace(refused(), queue="research")
    asked = decide(obs, NOW + AFTER).waiting
    assert asked is not None
    assert asked.queue == "research"
    status = jobs.written(decide(replace(obs, admission=Granted(ANYWHERE, queue="research")), NOW + AFTER))
    assert status is not None
    assert status["queue"] == "research"
    assert "so that an autoscaler sees them" in str(status["conditions"])


def test_it_waits_longer_than_a_gang_with_nodes() -> None:
    begin = NOW + AFTER
    for bound in (0, 3):
        plan = decide(unpinned(bound), begin + TIMEOUT - 1)
        assert deleted(plan) == set()
        assert plan.requeue_after is not None
        assert plan.requeue_after <= 1.0


def test_a_scale_up_in_part_leaves_nothing() -> None:
    obs = unpinned(3)
    plan = decide(obs, NOW + AFTER + TIMEOUT)
    assert deleted(plan) == set(obs.pods)
    status = jobs.written(plan)
    assert jobs.reason(status, ConditionType.QUOTA_RESERVED) == ("False", "GangTimeout")
    assert status is not None
    assert "3 of 4 pods were bound within 900 s" in status["attempts"][-1]["message"]
    assert status.get("placement") is None
    assert status["refusedSince"] == rfc3339_millis(NOW)


def test_a_pod_that_is_created_later_has_its_own_time() -> None:
    obs = unpinned(3)
    late = NOW + AFTER + 5 * TIMEOUT
    obs = jobs.with_pod(obs, 3, lambda p: replace(p, created_at=late))
    assert deleted(decide(obs, late + TIMEOUT - 1)) == set()
    assert deleted(decide(obs, late + TIMEOUT)) == set(obs.pods)


def timed_out(**more: Any) -> Observation:
    obs = jobs.settled(unpinned(**more), NOW + AFTER + TIMEOUT)
    return replace(obs, pods={}, placement=None, bound={}, admission=NO)


def test_without_another_accelerator_it_asks_again() -> None:
    obs = timed_out()
    late = NOW + AFTER + TIMEOUT + 61
    waiting = decide(obs, late).waiting
    assert waiting is not None
    waited = jobs.settled(obs, late)
    again = decide(replace(waited, admission=None), late + 1).waiting
    assert again is not None
    assert again.unpinned


def test_where_no_nodes_came_the_next_accelerator_is_tried() -> None:
    chosen = {
        "type": "nvidia-h100-80gb",
        "candidates": [{"type": "nvidia-h200-141gb"}],
        "fallbackSeconds": 86400,
    }
    plan = decide(timed_out(accelerator=chosen), NOW + AFTER + TIMEOUT + 61)
    status = jobs.written(plan)
    assert status is not None
    assert (status["candidate"], status.get("refusedSince")) == (1, None)
    assert "no nodes came; asking for nvidia-h200-141gb" in plan.events[0].message


def test_once_it_ran_a_restart_asks_for_the_nodes_that_it_had() -> None:
    begin = NOW + AFTER
    ready = jobs.settled(jobs.published(unpinned(4)), begin + 100)
    assert ready.status.attempts[-1].ready_at is not None
    assert decide(ready, begin + 10 * TIMEOUT).actions == ()  # the clock ran only until all were bound
    broken = jobs.settled(jobs.with_pod(ready, 0, lambda p: jobs.failed(p, at=begin + 5000)), begin + 5000)
    plan = decide(replace(broken, pods={}), begin + 5060)
    assert plan.waiting is not None
    assert not plan.waiting.unpinned
    assert plan.waiting.preferred_nodes == {i: f"new-{i}" for i in range(4)}
    freed = replace(broken, pods={}, placement=None, admission=NO)
    status = freed.status.model_copy(update={"placement": None})
    later = jobs.settled(replace(freed, status=status), begin + 6000)
    assert later.status.refused_since == rfc3339_millis(begin + 6000)  # what was refused before is over


def test_waiting_for_nodes_is_no_admitted_time() -> None:
    obs = unpinned()
    assert obs.status.admitted_at is None
    assert obs.spec is not None
    obs = replace(obs, spec=obs.spec.model_copy(update={"active_deadline_seconds": 600}))
    late = NOW + AFTER + TIMEOUT - 1
    waits = jobs.settled(obs, late).status
    assert (waits.admitted_at, jobs.reason(waits, ConditionType.FAILED)) == (None, ("", ""))
    bound = jobs.with_pod(obs, 0, lambda p: jobs.up(replace(p, rejected=""), late))
    runs = jobs.settled(bound, late).status
    assert runs.admitted_at == rfc3339_millis(late)
    plan = decide(replace(obs, status=runs), late + 600)
    assert jobs.reason(jobs.written(plan), ConditionType.FAILED) == ("True", "DeadlineExceeded")


def test_admitted_time_of_an_attempt_before_is_kept() -> None:
    obs = refused()
    before = {"admitted_at": rfc3339_millis(NOW - 100), "admitted_seconds": 20}
    obs = replace(obs, status=obs.status.model_copy(update=before), admission=Granted(ANYWHERE))
    status = TrainingJobStatus.model_validate(jobs.written(decide(obs, NOW + AFTER)))
    assert (status.admitted_at, status.admitted_seconds) == (None, 20 + 100 + AFTER)
