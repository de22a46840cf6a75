"""A group that stops making progress towards its nodes gives them back; a slow scheduler costs nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import Cause, Reason
from drumline.core.gang.clock import unix
from drumline.core.inference.policies.gang_timeout import gang_timeout
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, group_of, with_pod, with_pods

RAW = services.spec(scheduling={"gangTimeoutSeconds": 60})


def stuck(seconds: float, **changes):
    """Group 0 has waited so long for its second pod."""
    group = services.starting(started_at=services.ago(seconds), **changes)
    observation = services.with_groups(services.service(RAW), "serve", group)
    first, second = services.pods_of("serve", group, created_at=NOW - seconds)
    return with_pods(observation, "serve", 0, [services.up(first, NOW - seconds), second])


def rejected(observation):
    return with_pod(observation, "serve", 0, 1, lambda p: replace(p, rejected="Insufficient cpu"))


def test_a_scheduler_that_is_merely_slow_never_runs_the_clock_out() -> None:
    observation = stuck(10_000)
    assert gang_timeout(services.view(observation)) == services.view(observation)


def test_the_clock_runs_while_the_scheduler_says_no() -> None:
    view = gang_timeout(services.view(rejected(stuck(20))))
    assert view.requeue_after == pytest.approx(40)
    assert group_of(view.status).phase is GroupPhase.STARTING


def test_after_it_the_group_queues_again_without_the_node_it_was_stuck_on() -> None:
    view = gang_timeout(services.view(rejected(stuck(60, requeues=1))))
    group = group_of(view.status)
    assert (group.phase, group.nodes, group.excluded) == (GroupPhase.WAITING, (), ("node-0-1",))
    assert (group.cause, group.requeues, group.restarts) == (Cause.GANG_TIMEOUT, 2, 0)
    assert unix(group.next_attempt_at) - NOW == view.requeue_after == 120
    assert [(r.cause, r.count) for r in view.status.restarts] == [("GangTimeout", 1)]
    assert view.status_first
    assert view.events[-1].reason == Reason.GANG_TIMEOUT


def test_progress_starts_the_clock_anew() -> None:
    observation = with_pod(rejected(stuck(100)), "serve", 0, 0, lambda p: replace(p, bound_at=NOW - 10))
    assert gang_timeout(services.view(observation)).requeue_after == pytest.approx(50)


def test_a_node_that_is_lost_stands_in_the_way_too() -> None:
    observation = replace(stuck(61), lost=frozenset({"node-0-1"}))
    assert group_of(gang_timeout(services.view(observation)).status).excluded == ("node-0-1",)


def test_an_old_pod_that_does_not_leave_its_node_has_its_grace_first() -> None:
    group = services.starting(attempt=2, started_at=services.ago(100))
    old = services.deleting(services.up(services.pod("serve", services.group(), 0)))
    new = services.up(services.pod("serve", group, 1), NOW - 100)
    observation = services.with_groups(services.service(RAW), "serve", group)
    observation = with_pods(observation, "serve", 0, [replace(old, deleting_until=NOW - 20), new])
    assert gang_timeout(services.view(observation)).requeue_after == pytest.approx(40)
    late = gang_timeout(services.view(observation, NOW + 40))
    assert group_of(late.status).excluded == ("node-0-0",)


def test_an_old_worker_has_the_grace_of_its_leader() -> None:
    """It stays for a leader that is ending, see `retire`, and is no reason to shun its node."""
    group = services.starting(attempt=2, started_at=services.ago(100))
    leader, worker = (services.up(services.pod("serve", services.group(), n)) for n in range(2))
    leader = replace(leader, deleting=True, deleting_until=NOW + 20)
    observation = services.with_groups(services.service(RAW), "serve", group)
    observation = with_pods(observation, "serve", 0, [leader, worker])
    assert gang_timeout(services.view(observation)).requeue_after == pytest.approx(80)


def test_a_group_that_is_to_go_ends_there() -> None:
    group = services.draining(started_at=services.ago(61), created=False)
    observation = rejected(stuck(61))
    observation = services.with_groups(observation, "serve", group)
    assert group_of(gang_timeout(services.view(observation)).status).nodes == ()


def test_a_group_that_we_did_not_place_waits_as_long_as_it_takes() -> None:
    edge = services.starting(nodes=("",), size=1, started_at=services.ago(10_000))
    observation = services.with_groups(services.service(RAW), "serve", edge)
    pod = replace(services.pod("serve", edge, 0), rejected="Insufficient cpu")
    observation = with_pods(observation, "serve", 0, [pod])
    assert gang_timeout(services.view(observation)) == services.view(observation)
