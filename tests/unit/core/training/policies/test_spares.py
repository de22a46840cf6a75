"""Spares: their pods beside the gang, a spare for a lost node, and the end of a spare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.departures import Departure
from drumline.core.gang.plan import Create, Delete, Plan
from drumline.core.gang.types import Node, Placement, PodPhase, Refusal, Taint
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation, Settings
from drumline.core.training.spares import lost_nodes
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.spare_jobs import (
    LATER,
    NODES,
    SETTINGS,
    after_loss_of,
    asking,
    granted,
    running,
    spare_pod,
)


def created(plan: Plan) -> dict[str, str]:
    """Pods that a plan creates, by name, with their nodes."""
    found = {}
    for action in (a for stage in plan.actions for a in stage):
        if isinstance(action, Create) and action.resource == "pods":
            terms = action.manifest["spec"]["affinity"]["nodeAffinity"]
            (term,) = terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            found[action.manifest["metadata"]["name"]] = term["matchFields"][0]["values"][0]
    return found


def deleted(plan: Plan) -> set[str]:
    return {a.name for stage in plan.actions for a in stage if isinstance(a, Delete) and a.resource == "pods"}


def status_of(plan: Plan) -> TrainingJobStatus:
    return TrainingJobStatus.model_validate(jobs.written(plan))


def message(plan: Plan) -> str:
    status = status_of(plan)
    return next(c.message for c in status.conditions if c.type == ConditionType.QUOTA_RESERVED)


def test_spares_are_asked_for_and_their_pods_are_created_after_the_gangs():
    observation = asking()
    waiting = decide(observation, NOW).waiting
    assert waiting is not None
    assert waiting.spares == 2
    plan = granted(observation)
    assert created(plan) == {
        "job-1-0-0": "node-0",
        "job-1-0-1": "node-1",
        "job-1-1-0": "node-2",
        "job-1-1-1": "node-3",
        "job-1-spare-0": "spare-0",
        "job-1-spare-1": "spare-1",
    }
    assert plan.intent is not None
    assert (plan.intent["placement"]["pods"], plan.intent["placement"]["spares"]) == (4, 2)
    assert message(plan).endswith("; 2 of 2 spares")


def test_fewer_spares_than_asked_for_hold_nothing_up():
    plan = granted(asking(3))
    assert message(plan).endswith("; 2 of 3 spares")
    assert len(created(plan)) == 6
    assert len(created(granted(asking(3), NODES[:4]))) == 4


def test_a_job_that_asks_for_no_spares_says_nothing_of_them():
    plan = granted(asking(0), NODES[:4])
    assert "spare" not in str(plan.intent)


def test_without_an_image_places_are_all_that_spares_are():
    bare = replace(asking(), settings=Settings())
    plan = granted(bare)
    assert len(created(plan)) == 4
    assert "2 of 2 spares (places only" in message(plan)


def test_a_gang_runs_without_its_spares_pods():
    observation = running()
    workers_only = {n: p for n, p in observation.pods.items() if "spare" not in n}
    assert jobs.reason(observation.status, ConditionType.PODS_READY) == ("True", "AllPodsReady")
    assert observation.status.workers.ready == 4
    plan = decide(replace(observation, pods=workers_only), NOW + 1)
    assert set(created(plan)) == {"job-1-spare-0", "job-1-spare-1"}
    assert plan.status is None


def test_nothing_is_planned_while_all_is_well():
    plan = decide(running(), NOW + 1)
    assert (plan.actions, plan.status, plan.events) == ((), None, ())


def test_a_spare_takes_the_place_of_a_lost_node_without_asking_admission():
    plan = decide(after_loss_of(running(), 1), LATER)
    assert plan.waiting is None
    assert plan.begins
    assert created(plan) == {
        "job-2-0-0": "node-0",
        "job-2-0-1": "spare-0",
        "job-2-1-0": "node-2",
        "job-2-1-1": "node-3",
        "job-2-spare-0": "spare-1",
    }
    (event,) = [e for e in plan.events if e.reason == Reason.SPARE_PROMOTED]
    assert event.message == "attempt 2: spare spare-0 takes the place of node-1 (index 1); 1 of 2 spares"


def test_the_first_loss_that_a_spare_makes_up_for_waits_for_nothing():
    observation = replace(running(), unhealthy=frozenset({"node-1"}))
    failing = jobs.with_pod(observation, 1, lambda p: replace(p, deleting=True, reason="NodeLost"))
    plan = decide(failing, NOW + 1)
    assert plan.begins
    assert status_of(plan).attempt == 2
    bare = replace(running(asking(0), NODES[:4]), unhealthy=frozenset({"node-1"}))
    failing = jobs.with_pod(bare, 1, lambda p: replace(p, deleting=True, reason="NodeLost"))
    plan = decide(failing, NOW + 1)
    assert not plan.begins
    assert plan.requeue_after == 10


def test_a_restart_that_needs_no_node_keeps_every_place():
    observation = running()
    failing = jobs.settled(jobs.with_pod(observation, 0, jobs.failed))
    plan = decide(replace(failing, pods={}), LATER)
    assert list(created(plan).values()) == list(NODES)
    assert not [e for e in plan.events if e.reason == Reason.SPARE_PROMOTED]


def lacking_a_spare() -> Observation:
    """A job of two spares that has one, between two attempts."""
    failing = jobs.settled(jobs.with_pod(running(asking(), NODES[:5]), 0, jobs.failed))
    return replace(failing, pods={})


def test_a_restart_that_lacks_spares_asks_for_them_and_keeps_its_nodes():
    plan = decide(lacking_a_spare(), NOW + 10)
    assert not plan.begins
    assert plan.waiting is not None
    assert plan.waiting.preferred_nodes == dict(enumerate(NODES[:5]))
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 2
    plan = decide(replace(lacking_a_spare(), admission=Granted(Placement(NODES))), NOW + 10)
    assert list(created(plan).values()) == list(NODES)


def test_nothing_moves_the_gang_for_the_sake_of_spares():
    asked = decide(lacking_a_spare(), NOW + 10).waiting
    assert asked is not None
    assert asked.stays
    several = replace(after_loss_of(running(), 1), unhealthy=frozenset(NODES[:3]))
    asked = decide(several, LATER).waiting
    assert asked is not None
    assert not asked.stays, "it has to move"
    refused = Refusal(Reason.NAMESPACE_QUOTA, "no")
    plan = decide(replace(lacking_a_spare(), admission=refused), NOW + 10)
    assert list(created(plan).values()) == list(NODES[:5])


def test_a_grant_is_taken_though_the_old_nodes_are_well_again():
    """It is what is reserved: another gang may have been granted the old places since."""
    elsewhere = ("other", *NODES[1:])
    plan = decide(replace(lacking_a_spare(), admission=Granted(Placement(elsewhere))), NOW + 10)
    assert list(created(plan).values()) == list(elsewhere)
    bare = jobs.settled(jobs.with_pod(running(asking(0), NODES[:4]), 0, jobs.failed))
    granted = Granted(Placement(elsewhere[:4]))
    plan = decide(replace(bare, pods={}, admission=granted), LATER)
    assert list(created(plan).values()) == list(elsewhere[:4])


def test_nobody_waits_for_spares_for_long():
    plan = decide(lacking_a_spare(), NOW + 12.5)
    assert list(created(plan).values()) == list(NODES[:5])


def test_an_excluded_or_tainted_node_is_replaced_too():
    observation = running()
    failing = jobs.settled(jobs.with_pod(observation, 0, jobs.failed))
    taint = Taint("broken", "", "NoSchedule")
    nodes = {n: Node(n, taints=(taint,) if n == "node-2" else ()) for n in NODES}
    plan = decide(replace(failing, pods={}, nodes=nodes), LATER)
    assert created(plan)["job-2-1-0"] == "spare-0"


def test_the_old_spares_pod_leaves_before_the_worker_is_created():
    lost = after_loss_of(running(), 1)
    pod = spare_pod(0, "spare-0")
    plan = decide(replace(lost, pods={pod.name: pod}), LATER)
    assert deleted(plan) == {pod.name}
    assert "job-2-0-1" not in created(plan)
    assert "job-2-0-0" in created(plan)


def test_more_losses_than_spares_ask_admission_again():
    observation = running()
    lost = after_loss_of(observation, 1)
    several = replace(lost, unhealthy=frozenset({"node-0", "node-1", "node-2"}))
    plan = decide(several, LATER)
    assert not plan.begins
    assert plan.waiting is not None
    assert plan.waiting.preferred_nodes[4] == "spare-0"


@pytest.mark.parametrize(
    "change",
    [
        {"phase": PodPhase.FAILED, "reason": "Evicted"},
        {"deleting": True},
        {"phase": PodPhase.SUCCEEDED},
    ],
)
def test_a_spare_whose_pod_ends_is_lost_and_nothing_else_is(change: dict[str, Any]):
    observation = running()
    pod = spare_pod(0, "spare-0", **change)
    plan = decide(replace(observation, pods={**observation.pods, pod.name: pod}), NOW + 1)
    status = status_of(plan)
    assert status.placement is not None
    assert status.placement.lost_spares == (0,)
    assert status.attempts[-1].finished_at is None
    assert jobs.reason(status, ConditionType.PODS_READY)[0] == "True"
    assert created(plan) == {}
    (event,) = plan.events
    assert (event.type, event.reason) == ("Warning", Reason.SPARE_LOST)
    again = replace(observation, status=status, pods={**observation.pods, pod.name: pod})
    assert decide(again, NOW + 2).events == ()


def test_a_lost_spare_is_neither_promoted_nor_held():
    observation = running()
    pod = spare_pod(0, "spare-0", deleting=True)
    lost = jobs.settled(replace(observation, pods={**observation.pods, pod.name: pod}))
    assert lost_nodes(lost) == {"spare-0"}
    plan = decide(after_loss_of(lost, 1), LATER)
    assert created(plan)["job-2-0-1"] == "spare-1"
    assert "job-2-spare-0" not in created(plan)


def test_a_spare_that_has_no_pod_yet_is_lost_with_its_node():
    observation = running()
    pods = {n: p for n, p in observation.pods.items() if n != "job-1-spare-1"}
    plan = decide(replace(observation, pods=pods, unhealthy=frozenset({"spare-1"})), NOW + 1)
    placement = status_of(plan).placement
    assert placement is not None
    assert placement.lost_spares == (1,)


def test_a_spare_whose_node_is_about_to_go_is_lost_and_the_gang_stays():
    observation = replace(running(), departing={"spare-1": Departure("spare-1", "taint going")})
    plan = decide(observation, NOW + 1)
    status = status_of(plan)
    assert status.placement is not None
    assert status.placement.lost_spares == (1,)
    assert (status.order, status.attempts[-1].finished_at) == (None, None)
    assert deleted(plan) == {"job-1-spare-1"}


def test_spares_pods_go_with_the_job_and_the_survivors_grace_is_not_theirs():
    observation = running()
    done = jobs.with_pods(observation, lambda p: jobs.succeeded(p) if p.member.role == "worker" else p)
    complete = jobs.settled(done)
    assert jobs.reason(complete.status, ConditionType.COMPLETE)[0] == "True"
    assert deleted(decide(complete, NOW + 1)) == {"job-1-spare-0", "job-1-spare-1"}


def test_a_refused_pod_costs_the_gang_nothing_and_is_told_once():
    observation = replace(running(), spares_refused="pods/job-1-spare-0: exceeded quota")
    observation = replace(observation, pods={n: p for n, p in observation.pods.items() if "spare" not in n})
    plan = decide(observation, NOW + 1)
    assert created(plan) == {}
    (event,) = plan.events
    assert event.reason == Reason.SPARE_REFUSED
    assert "exceeded quota" in message(plan)
    assert decide(replace(observation, status=status_of(plan)), NOW + 2).events == ()


def test_on_tpu_a_spare_is_a_slice():
    tpu = {"accelerator": {"type": "tpu-v5p", "topology": "2x2x2"}, "slices": 2, "workersPerSlice": None}
    raw = {k: v for k, v in jobs.spec(spares=1, **tpu).items() if v is not None}
    observation = replace(jobs.job(raw), settings=SETTINGS)
    nodes = tuple(f"p{pool}-{worker}" for pool in range(3) for worker in range(2))
    plan = granted(observation, nodes)
    assert {n for n in created(plan) if "spare" in n} == {"job-1-spare-0", "job-1-spare-1"}
    begun = running(observation, nodes)
    plan = decide(after_loss_of(begun, 1), LATER)
    assert [created(plan)[f"job-2-{s}-{w}"] for s in range(2) for w in range(2)] == [
        "p2-0",
        "p2-1",
        "p1-0",
        "p1-1",
    ]
    half = spare_pod(1, "p2-1", deleting=True)
    lost = decide(replace(begun, pods={**begun.pods, half.name: half}), NOW + 1)
    assert deleted(lost) == {"job-1-spare-0", "job-1-spare-1"} - {half.name}


def test_an_old_spares_pod_that_does_not_end_costs_the_gang_nothing():
    failing = jobs.settled(jobs.with_pod(running(), 0, jobs.failed))
    again = jobs.settled(replace(failing, pods={}), LATER)
    assert again.status.attempt == 2
    up = {p.name: jobs.up(p, LATER) for p in jobs.pods(again, LATER)}
    old = spare_pod(0, "spare-0", deleting=True, deleting_until=LATER)
    nodes = {"spare-0": Node("spare-0", ready=True)}
    stuck = replace(again, pods={**up, old.name: old}, nodes=nodes)
    plan = decide(jobs.settled(jobs.published(stuck), LATER), LATER + 1000)
    status = status_of(plan)
    assert (status.attempt, status.attempts[-1].finished_at) == (2, None)
    assert "spare-0" in [n.name for n in status.excluded_nodes]
