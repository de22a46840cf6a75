"""One failed pod ends its group's attempt: one cause, one count, one delay; the other groups go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import Cause, DrainReason, Reason
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import PodPhase
from drumline.core.inference.policies.failure import failure, restart_delay
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, group_of, with_pod


def judged(observation):
    return failure(services.view(observation))


def test_a_service_in_order_is_left_as_it_is() -> None:
    observation = services.serving(count=2)
    assert judged(observation) == services.view(observation)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (services.failed, Cause.APPLICATION_EXIT),
        (lambda p: services.failed(p, 137, "OOMKilled"), Cause.OUT_OF_MEMORY),
        (services.deleting, Cause.UNKNOWN),
        (lambda p: services.deleting(p, "EvictionByEvictionAPI"), Cause.EVICTED),
        (lambda p: services.deleting(p, "DeletionByTaintManager"), Cause.NODE_LOST),
        (lambda p: replace(services.failed(p), reason="UnexpectedAdmissionError"), Cause.PLACEMENT_RACE),
        (lambda p: replace(p, phase=PodPhase.SUCCEEDED), Cause.APPLICATION_EXIT),
    ],
)
def test_any_end_of_a_pod_ends_the_attempt_with_its_cause(change, cause) -> None:
    view = judged(with_pod(services.serving(count=2), "serve", 1, 1, change))
    group = group_of(view.status, number=1)
    assert (group.phase, group.cause, group.nodes) == (GroupPhase.BACKOFF, cause, ("node-1-0", "node-1-1"))
    assert not group.created
    assert group.ready_at is None
    assert group_of(view.status, number=0).phase is GroupPhase.SERVING
    assert [(r.cause, r.count) for r in view.status.restarts] == [(cause, 1)]
    assert view.status_first, "the evidence goes with the pods: the end is on record first"


def test_of_several_failed_pods_the_first_one_tells_the_cause() -> None:
    observation = with_pod(services.serving(), "serve", 0, 0, lambda p: services.failed(p, 1, at=NOW - 5))
    view = judged(
        with_pod(observation, "serve", 0, 1, lambda p: services.failed(p, 137, "OOMKilled", at=NOW - 9))
    )
    assert group_of(view.status).cause == Cause.OUT_OF_MEMORY
    assert [(r.cause, r.count) for r in view.status.restarts] == [("OutOfMemory", 1)]


def test_a_pod_that_vanished_is_a_failure_once_all_had_been_created() -> None:
    observation = services.serving()
    one = observation.pods["serve", 0][:1]
    assert group_of(judged(services.with_pods(observation, "serve", 0, one)).status).cause == Cause.UNKNOWN
    starting = services.with_groups(services.service(), "serve", services.starting())
    assert group_of(judged(services.with_pods(starting, "serve", 0, one)).status).cause is None


def test_a_leader_that_vanished_under_its_workers_is_missed_before_all_are_created() -> None:
    raw = services.spec(services.role(startPolicy="LeaderFirst"))
    starting = services.with_groups(services.service(raw), "serve", services.starting())
    workers = services.pods_of("serve", services.group())[1:]
    assert group_of(judged(services.with_pods(starting, "serve", 0, workers)).status).cause == Cause.UNKNOWN


def test_the_delay_doubles_with_each_counted_failure() -> None:
    delays = []
    for restarts in range(3):
        observation = services.with_groups(
            services.serving(services.service(services.spec(failurePolicy={"maxRestarts": 9}))),
            "serve",
            services.group(restarts=restarts),
        )
        view = judged(with_pod(observation, "serve", 0, 0, services.failed))
        delays.append(unix(group_of(view.status).next_attempt_at) - NOW)
        assert view.requeue_after == delays[-1]
    assert delays == [10, 20, 40]


def test_the_delay_has_a_limit() -> None:
    backoff = services.parsed(services.spec()).failure_policy.backoff
    assert [restart_delay(n, backoff) for n in (0, 1, 7, 4000)] == [10, 10, 600, 600]


def test_infrastructure_costs_no_budget() -> None:
    observation = services.with_groups(services.serving(), "serve", services.group(restarts=2))
    lost = lambda p: services.deleting(p, "DeletionByTaintManager")  # noqa: E731 - a change in a few words
    group = group_of(judged(with_pod(observation, "serve", 0, 0, lost)).status)
    assert (group.phase, group.restarts) == (GroupPhase.BACKOFF, 2)


def spent(**changes):
    observation = services.with_groups(
        services.serving(count=2), "serve", services.group(restarts=2, **changes), services.group(1)
    )
    return with_pod(observation, "serve", 0, 0, services.failed)


def test_a_spent_budget_ends_the_group_and_no_other() -> None:
    view = judged(spent())
    group = group_of(view.status)
    assert (group.phase, group.nodes, group.restarts) == (GroupPhase.FAILED, (), 3)
    assert unix(group.next_attempt_at) == NOW + 3600
    assert "maxRestarts" in (group.message or "")
    assert group_of(view.status, number=1).phase is GroupPhase.SERVING
    assert view.events[-1].reason == Reason.MAX_RESTARTS


def test_a_group_that_ran_for_the_window_begins_with_a_fresh_budget() -> None:
    group = group_of(judged(spent(ready_at=services.ago(3600), excluded=("node-9",))).status)
    assert (group.phase, group.restarts, group.excluded) == (GroupPhase.BACKOFF, 1, ())


def test_a_failed_group_begins_again_after_the_window_or_when_the_spec_changes() -> None:
    failed = services.group(
        phase=GroupPhase.FAILED, nodes=(), restarts=3, created=False, next_attempt_at=rfc3339_millis(NOW + 60)
    )
    observation = services.with_groups(services.service(), "serve", failed)
    assert judged(observation).requeue_after == pytest.approx(60)
    assert group_of(judged(observation).status).phase is GroupPhase.FAILED
    later = failure(services.view(observation, NOW + 60))
    edited = judged(replace(observation, service=replace(observation.service, generation=2)))
    for view in (later, edited):
        group = group_of(view.status)
        assert (group.phase, group.restarts, group.next_attempt_at) == (GroupPhase.WAITING, 0, None)


def test_a_node_is_avoided_when_it_fails_the_group_twice_running() -> None:
    observation = with_pod(services.serving(), "serve", 0, 1, services.failed)
    once = group_of(judged(observation).status)
    assert (once.failed_node, once.excluded) == ("node-0-1", ())
    again = services.with_groups(observation, "serve", services.group(failed_node="node-0-1"))
    assert group_of(judged(again).status).excluded == ("node-0-1",)


def test_a_node_with_faulty_devices_is_avoided_at_once() -> None:
    faulty = with_pod(
        services.serving(), "serve", 0, 1, lambda p: services.deleting(p, "DeletionByDeviceTaintManager")
    )
    assert group_of(judged(faulty).status).excluded == ("node-0-1",)


def test_a_draining_group_that_fails_is_at_its_end() -> None:
    observation = services.with_groups(services.serving(), "serve", services.draining())
    view = judged(with_pod(observation, "serve", 0, 1, services.failed))
    group = group_of(view.status)
    assert (group.phase, group.nodes, group.drain_reason) == (GroupPhase.DRAINING, (), "ScaleDown")
    assert view.status.restarts == ()
    assert group.drain_reason != DrainReason.FINISHED


def test_a_final_no_of_the_api_server_fails_the_group_and_gives_its_nodes_back() -> None:
    observation = services.with_groups(services.service(), "serve", services.starting())
    blocked = {services.view(observation).uid_of("serve", 0): "pods/x: exceeded quota"}
    view = judged(replace(observation, blocked=blocked))
    group = group_of(view.status)
    assert (group.phase, group.nodes, group.cause) == (GroupPhase.BACKOFF, (), Cause.CONFIG_ERROR)
    assert view.events[-1].reason == Reason.CREATE_REFUSED
    assert "exceeded quota" in view.events[-1].message


def test_a_pod_name_that_is_taken_ends_that_attempt_alone() -> None:
    observation = services.with_groups(services.service(), "serve", services.starting())
    view = judged(replace(observation, foreign=frozenset({"pods/chat-serve-1-0-1"})))
    group = group_of(view.status)
    assert (group.phase, group.nodes, group.cause) == (
        GroupPhase.BACKOFF,
        ("node-0-0", "node-0-1"),
        Cause.CONFIG_ERROR,
    )
    assert view.events[-1].reason == Reason.NAME_CONFLICT
    later = services.with_groups(observation, "serve", services.starting(attempt=2))
    same = replace(later, foreign=frozenset({"pods/chat-serve-1-0-1"}))
    assert judged(same) == services.view(same)
