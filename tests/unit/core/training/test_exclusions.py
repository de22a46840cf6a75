"""Which nodes a job avoids, and how strictly."""

from dataclasses import replace

import pytest

from drumline.api.goodput import GoodputStatus, Straggler
from drumline.api.reasons import Cause, ConditionType
from drumline.api.status import AttemptStatus, Avoidance, ExcludedNode, TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Node, PodPhase, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.exclusions import MAX_EXCLUDED, avoid, given_up
from drumline.core.training.observation import Granted
from drumline.core.training.view import View
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

AT = rfc3339_millis(NOW)


def _after(observation, now=NOW + 60):
    return TrainingJobStatus.model_validate(jobs.written(decide(observation, now)))


def _avoided(status):
    return [(n.name, n.avoid, n.cause) for n in status.excluded_nodes]


def _earlier(observation, *nodes, **details):
    """The same job with earlier attempts that failed on these nodes."""
    before = tuple(
        AttemptStatus(
            attempt=0, epoch=i, started_at=AT, finished_at=AT, cause="ApplicationExit", node=n, **details
        )
        for i, n in enumerate(nodes)
    )
    status = observation.status
    return replace(observation, status=status.model_copy(update={"attempts": (*before, *status.attempts)}))


@pytest.mark.parametrize(
    ("change", "grade"),
    [
        ({"deleting": True, "disruption": "DeletionByPodGC"}, Avoidance.IF_POSSIBLE),
        ({"deleting": True, "disruption": "TerminationByKubelet"}, Avoidance.IF_POSSIBLE),
        ({"phase": PodPhase.FAILED, "reason": "OutOfcpu"}, Avoidance.IF_POSSIBLE),
        ({"deleting": True, "disruption": "EvictionByEvictionAPI"}, None),
        ({"deleting": True}, None),  # somebody deleted it: the cause is unknown, but it was seen to go
    ],
)
def test_a_cause_that_speaks_of_the_node_has_another_chosen_if_there_is_one(change, grade):
    failed = jobs.with_pod(jobs.running(), 1, lambda p: replace(p, **change))
    found = _after(failed).excluded_nodes
    assert [(n.name, n.avoid) for n in found] == ([("node-1", grade)] if grade else [])


def test_the_node_of_a_pod_that_vanished_is_known_by_its_place():
    observation = jobs.running()
    gone = replace(observation, pods={n: p for n, p in observation.pods.items() if n != "job-1-1-0"})
    status = _after(gone)
    assert _avoided(status) == [("node-2", Avoidance.IF_POSSIBLE, "Unknown")]
    assert status.attempts[-1].node == "node-2"


def test_two_first_failures_of_any_cause_are_enough():
    observation = jobs.with_pod(_earlier(jobs.running(), "node-1"), 1, lambda p: jobs.failed(p, 1))
    assert _avoided(_after(observation)) == [("node-1", Avoidance.IF_EVER_POSSIBLE, "ApplicationExit")]
    elsewhere = jobs.with_pod(_earlier(jobs.running(), "node-2"), 1, lambda p: jobs.failed(p, 1))
    assert _avoided(_after(elsewhere)) == []


def test_a_stricter_word_stands():
    until = rfc3339_millis(NOW + 100)
    known = ExcludedNode(name="node-1", until=until, cause="DeviceFault", avoid=Avoidance.ALWAYS)
    observation = jobs.running()
    observation = replace(
        observation, status=observation.status.model_copy(update={"excluded_nodes": (known,)})
    )
    lost = jobs.with_pod(
        observation, 1, lambda p: replace(p, deleting=True, disruption="DeletionByTaintManager")
    )
    status = _after(lost)
    assert _avoided(status) == [("node-1", Avoidance.ALWAYS, "NodeLost")]
    assert status.excluded_nodes[0].until > until


def _slow(seconds, lane="1-0"):
    since = rfc3339_millis(NOW + 1000 - seconds)
    slow = Straggler(lane=lane, median_ms=900, since=since)
    observation = jobs.running()
    goodput = GoodputStatus(at=AT, started_at=AT, stragglers=(slow,))
    status = observation.status.model_copy(update={"goodput": goodput})
    return jobs.with_pod(replace(observation, status=status), 1, lambda p: jobs.failed(p, 1))


def test_a_worker_that_was_slow_for_long_is_a_strike_against_its_node():
    assert _after(_slow(599), NOW + 1000).attempts[-1].slow_nodes == ()
    status = _after(_slow(600), NOW + 1000)
    assert status.attempts[-1].slow_nodes == ("node-2",)
    assert _avoided(status) == []
    again = _after(_earlier(_slow(600), "node-0", slow_nodes=("node-2",)), NOW + 1000)
    assert _avoided(again) == [("node-2", Avoidance.IF_EVER_POSSIBLE, "Straggler")]


def test_a_straggler_of_another_shape_of_the_gang_is_nobody():
    for lane in ("7-0", "x", "0-x", ""):
        assert _after(_slow(600, lane), NOW + 1000).attempts[-1].slow_nodes == ()


def test_a_slow_worker_alone_ends_nothing():
    observation = jobs.with_pod(_slow(600), 1, lambda p: jobs.up(replace(p, termination=None)))
    written = jobs.written(decide(observation, NOW + 1000))
    assert written is None or written["phase"] == "Running"


def _restarting(grade):
    observation = jobs.with_pod(jobs.running(), 1, lambda p: jobs.failed(p, 1, at=NOW + 5))
    observation = jobs.settled(observation, NOW + 5)
    entry = ExcludedNode(name="node-1", until=rfc3339_millis(NOW + 100), cause="DeviceFault", avoid=grade)
    status = observation.status.model_copy(update={"excluded_nodes": (entry,)})
    return replace(observation, status=status, pods={})


def test_what_the_next_attempt_cannot_use_is_given_up():
    always, ever = (_restarting(g).status for g in (Avoidance.ALWAYS, Avoidance.IF_EVER_POSSIBLE))
    no_place, no_quota = (Refusal(r, "") for r in ("InsufficientAccelerators", "NamespaceQuotaExceeded"))
    assert given_up(always, None) == given_up(always, no_quota) == {"node-1"}
    assert given_up(ever, None) == given_up(ever, no_quota) == frozenset()
    assert given_up(ever, no_place) == {"node-1"}
    assert given_up(_restarting(Avoidance.IF_POSSIBLE).status, no_place) == frozenset()
    live = always.model_copy(update={"attempts": jobs.running().status.attempts})
    assert given_up(live, no_place) == frozenset()


@pytest.mark.parametrize("grade", [Avoidance.ALWAYS, Avoidance.IF_EVER_POSSIBLE])
def test_a_place_that_was_given_up_is_asked_for_again_though_its_time_is_over(grade):
    observation = _restarting(grade)
    assert decide(observation, NOW + 20).waiting.excluded == {"node-1"}
    late = decide(observation, NOW + 110)
    assert late.intent is None
    assert late.waiting.excluded == frozenset()
    assert late.requeue_after > 0


def test_admission_is_told_how_strictly():
    waiting = {g: decide(_restarting(g), NOW + 20).waiting for g in Avoidance}
    assert (waiting[Avoidance.ALWAYS].if_possible, waiting[Avoidance.ALWAYS].if_ever_possible) == ((), ())
    assert waiting[Avoidance.IF_POSSIBLE].if_possible == ("node-1",)
    assert waiting[Avoidance.IF_EVER_POSSIBLE].if_ever_possible == ("node-1",)


def test_a_node_that_is_used_for_want_of_others_is_named():
    observation = _restarting(Avoidance.IF_EVER_POSSIBLE)
    plan = decide(replace(observation, admission=Granted(observation.placement)), NOW + 20)
    status = TrainingJobStatus.model_validate(plan.intent)
    (placed,) = (c for c in status.conditions if c.type == ConditionType.QUOTA_RESERVED)
    assert "it failed on node-1 before, and there is no other place for it" in placed.message


def test_a_job_that_waits_because_of_a_faulty_node_says_so():
    observation = _restarting(Avoidance.ALWAYS)
    answer = Refusal("InsufficientAccelerators", "needs 4; 3 free")
    status = _after(replace(observation, admission=answer), NOW + 20)
    (waits,) = (c for c in status.conditions if c.type == ConditionType.RESTARTING)
    assert waits.message.startswith("needs 4; 3 free; not used: node-1 (DeviceFault) until ")


def test_a_faulty_device_is_final_and_an_image_that_others_have_is_not():
    xid = Node("node-2", conditions=())
    observation = jobs.with_pod(
        jobs.running(), 2, lambda p: replace(p, deleting=True, disruption="DeletionByDeviceTaintManager")
    )
    status = _after(replace(observation, nodes={"node-2": xid}))
    assert _avoided(status) == [("node-2", Avoidance.ALWAYS, Cause.DEVICE_FAULT.value)]


def test_of_too_many_nodes_those_avoided_the_least_are_forgotten_first():
    view = View(jobs.running(), NOW, jobs.running().status)
    view = avoid(view, "broken", Avoidance.ALWAYS, "DeviceFault")
    for number in range(MAX_EXCLUDED + 5):
        view = avoid(view, f"node-{number}", Avoidance.IF_POSSIBLE, "NodeLost")
    names = [n.name for n in view.status.excluded_nodes]
    assert (len(names), names[0], names[-1]) == (MAX_EXCLUDED, "broken", f"node-{MAX_EXCLUDED + 4}")
    assert "node-0" not in names
