"""A group comes into service as one, when all its pods are able, and leaves as one."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.api.meta import IN_SERVICE
from drumline.api.reasons import Reason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import PodPhase
from drumline.core.inference.policies.in_service import in_service
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, group_of, patched, with_groups, with_pods

LEADER = "pods/chat-serve-1-0-0"


def starting(leader, worker):
    group = services.starting(created=True, requeues=2)
    observation = with_groups(services.service(), "serve", group)
    pods = services.pods_of("serve", group)
    return with_pods(observation, "serve", 0, [leader(pods[0]), worker(pods[1])])


def judged(observation):
    return in_service(services.view(observation))


def status_of_gate(view):
    (condition,) = patched(view)[LEADER]["status"]["conditions"]
    assert condition["type"] == IN_SERVICE
    return condition["status"]


def opened(pod):
    return replace(services.up(pod), in_service=True)


def test_the_gate_opens_when_all_pods_are_able() -> None:
    view = judged(starting(services.gated, services.up))
    assert status_of_gate(view) == "True"
    assert group_of(view.status).phase is GroupPhase.STARTING, "no Service has it yet"


def test_it_stays_shut_while_a_pod_is_not() -> None:
    for observation in (starting(services.gated, lambda p: p), starting(lambda p: p, services.up)):
        view = judged(observation)
        assert patched(view) == {}
        assert group_of(view.status).phase is GroupPhase.STARTING


def test_a_group_serves_once_its_leader_is_ready() -> None:
    view = judged(starting(opened, services.up))
    group = group_of(view.status)
    assert (group.phase, group.ready_at, group.requeues) == (GroupPhase.SERVING, rfc3339_millis(NOW), 0)
    assert [e.reason for e in view.events] == [Reason.GROUP_IN_SERVICE]
    assert patched(view) == {}


def test_a_group_that_serves_costs_nothing() -> None:
    observation = services.serving(count=3)
    assert judged(observation) == services.view(observation)


def test_a_worker_that_is_not_ready_takes_the_group_out() -> None:
    observation = services.with_pod(services.serving(), "serve", 0, 1, lambda p: replace(p, ready=False))
    view = judged(observation)
    assert status_of_gate(view) == "False"
    group = group_of(view.status)
    assert (group.phase, group.ready_at) == (GroupPhase.STARTING, services.group().ready_at)


def test_a_leader_that_is_not_ready_is_out_by_itself() -> None:
    change = {"ready": False, "able": False}
    observation = services.with_pod(services.serving(), "serve", 0, 0, lambda p: replace(p, **change))
    view = judged(observation)
    assert patched(view) == {}
    assert group_of(view.status).phase is GroupPhase.STARTING


def test_a_group_that_comes_back_keeps_its_first_time_and_tells_nobody() -> None:
    observation = with_groups(services.serving(), "serve", services.group(phase=GroupPhase.STARTING))
    view = judged(observation)
    assert group_of(view.status) == services.group()
    assert view.events == ()


def test_what_a_pod_waits_for_is_told() -> None:
    stuck = {"waiting": "ImagePullBackOff", "waiting_message": "not found"}
    view = judged(starting(lambda p: p, lambda p: replace(p, **stuck)))
    assert group_of(view.status).message == "pod chat-serve-1-0-1: ImagePullBackOff: not found"
    rejected = judged(starting(lambda p: replace(p, rejected="no room"), lambda p: p))
    assert "is not bound: no room" in (group_of(rejected.status).message or "")


def test_a_group_that_goes_or_rests_is_not_touched() -> None:
    for group in (services.draining(), services.group(phase=GroupPhase.BACKOFF)):
        observation = with_groups(starting(services.gated, services.up), "serve", group)
        assert judged(observation) == services.view(observation)


def test_a_leader_that_ended_is_not_let_in() -> None:
    ended = judged(starting(lambda p: replace(services.gated(p), phase=PodPhase.FAILED), services.up))
    assert patched(ended) == {}
