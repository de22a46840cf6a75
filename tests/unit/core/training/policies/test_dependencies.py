"""Helpers that depend on another role: due late, not waited for before, and missed when they are gone."""

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Create, Delete
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def _gang(status="Complete"):
    """Four workers, one loader, and an evaluator that waits for the workers. Nobody has looked at it."""
    depends = [{"name": "workers", "status": status}]
    helpers = [
        {"name": "loader", "template": jobs.TEMPLATE},
        {"name": "eval", "replicas": 2, "dependsOn": depends, "template": jobs.TEMPLATE},
    ]
    return jobs.job(jobs.spec(helpers=helpers, successPolicy={"type": "Roles"}))


def _without(observation, part):
    return replace(observation, pods={n: p for n, p in observation.pods.items() if part not in n})


def _up(status="Complete"):
    """All but the evaluator is ready."""
    observation = _without(jobs.begun(_gang(status)), "eval")
    return jobs.settled(jobs.published(jobs.with_pods(observation, jobs.up)), NOW)


def _evaluated():
    """The evaluator has come and is ready too."""
    observation = _up("Ready")
    late = {p.name: jobs.up(p) for p in jobs.pods(observation) if "eval" in p.name}
    observation = replace(observation, pods={**observation.pods, **late})
    return jobs.settled(jobs.published(observation), NOW)


def _created(plan):
    return [a.manifest["metadata"]["name"] for s in plan.actions for a in s if isinstance(a, Create)]


def _other_rendering(observation):
    placed = observation.status.placement.model_copy(update={"hash": "of-another-version"})
    return replace(observation, status=observation.status.model_copy(update={"placement": placed}))


def test_a_gang_is_running_while_a_helper_waits_for_its_end():
    status = _up().status
    assert status.phase == "Running"
    assert jobs.reason(status, ConditionType.PODS_READY) == ("True", "AllPodsReady")
    ready = next(c for c in status.conditions if c.type == "PodsReady")
    assert ready.message == "5 of 5 pods are ready"


def test_what_the_attempt_begins_with_is_on_record_while_a_helper_waits():
    status = _up().status
    assert jobs.reason(status, ConditionType.ADMITTED) == ("True", "PodsCreated")
    assert status.created_helpers == ()


def test_a_worker_that_vanishes_while_a_helper_waits_ends_the_attempt():
    status = jobs.settled(_without(_up(), "job-1-0-1"), NOW + 60).status
    assert (status.attempts[-1].cause, status.attempts[-1].pod) == ("Unknown", "job-1-0-1")


def test_a_late_helper_that_vanishes_ends_the_attempt():
    observation = _evaluated()
    assert observation.status.created_helpers == ("eval",)
    plan = decide(_without(observation, "eval-1"), NOW + 60)
    assert jobs.written(plan)["attempts"][-1]["pod"] == "job-1-eval-1"
    assert _created(plan) == []


def test_a_helper_created_in_part_is_completed():
    half = _without(_evaluated(), "eval-1")
    observation = replace(half, status=half.status.model_copy(update={"created_helpers": ()}))
    plan = decide(observation, NOW + 60)
    assert _created(plan) == ["job-1-eval-1"]
    assert jobs.written(plan)["createdHelpers"] == ["eval"]


def test_the_next_attempt_has_had_no_helper_created():
    observation = jobs.with_pod(_evaluated(), 0, lambda p: jobs.failed(p, 1, at=NOW + 60))
    observation = replace(jobs.settled(observation, NOW + 60), pods={})
    again = jobs.settled(observation, NOW + 100)
    assert (again.status.attempt, again.status.created_helpers) == (2, ())


def test_another_rendering_never_ends_a_running_gang_whose_helper_waits():
    plan = decide(_other_rendering(_up()), NOW + 60)
    assert (plan.actions, jobs.written(plan), plan.events) == ((), None, ())


def test_a_late_helper_of_a_running_gang_gets_the_rendering_of_today():
    observation = _other_rendering(_up("Ready"))
    observation = replace(observation, status=observation.status.model_copy(update={"created_helpers": ()}))
    plan = decide(observation, NOW + 60)
    assert _created(plan) == ["job-1-eval-0", "job-1-eval-1"]
    assert jobs.reason(jobs.written(plan) or observation.status, ConditionType.RESTARTING)[0] != "True"


def test_a_helper_that_is_due_and_not_ready_is_waited_for():
    observation = _evaluated()
    falters = jobs.with_pod(observation, 6, lambda p: replace(p, ready=False))
    status = jobs.settled(falters, NOW + 60).status
    assert jobs.reason(status, ConditionType.PODS_READY) == ("False", "PodsNotReady")
    assert status.phase == "Running"


REJECTED = "0/7 nodes are available: 7 Insufficient cpu"


def _pending():
    """Both evaluators have come and the scheduler finds no node for them."""
    observation = _up("Ready")
    late = {p.name: replace(p, rejected=REJECTED) for p in jobs.pods(observation) if "eval" in p.name}
    return replace(observation, pods={**observation.pods, **late})


def _due():
    """The evaluators are due and were not created yet."""
    observation = _up("Ready")
    return replace(observation, status=observation.status.model_copy(update={"created_helpers": ()}))


def _deleted(plan):
    return [a.name for s in plan.actions for a in s if isinstance(a, Delete) and a.resource == "pods"]


def test_a_gang_that_runs_goes_on_without_a_helper_that_finds_no_node():
    unhealthy = frozenset({"node-5", "node-6"})
    for observation in (_pending(), replace(_pending(), unhealthy=unhealthy)):
        plan = decide(observation, NOW + 100_000)
        assert _deleted(plan) == []
        status = jobs.written(plan)
        assert jobs.reason(status, ConditionType.PODS_READY) == ("False", "HelperPending")
        assert (status["phase"], bool(status["attempts"][-1]["readyAt"])) == ("Running", True)
        assert [(e.reason, REJECTED in e.message) for e in plan.events] == [("HelperPending", True)]
        again = decide(jobs.settled(observation, NOW + 100_000), NOW + 100_001)
        assert (again.events, jobs.written(again)) == ((), None)


def test_a_helper_that_has_found_its_node_makes_the_gang_whole_again():
    observation = jobs.settled(_pending(), NOW + 60)
    observation = jobs.published(jobs.with_pods(observation, lambda p: jobs.up(replace(p, rejected=""))))
    status = jobs.settled(observation, NOW + 120).status
    assert jobs.reason(status, ConditionType.PODS_READY) == ("True", "AllPodsReady")


def test_a_worker_that_is_unready_is_said_rather_than_a_helper_that_waits():
    observation = jobs.settled(_pending(), NOW + 30)
    observation = jobs.with_pod(observation, 0, lambda p: replace(p, ready=False))
    status = jobs.settled(observation, NOW + 60).status
    assert jobs.reason(status, ConditionType.PODS_READY) == ("False", "PodsNotReady")


def test_an_old_pod_on_a_later_helpers_node_is_no_reason_to_end_the_gang():
    observation = _up()
    stuck = replace(observation.pods["job-1-0-0"], name="job-0-0-0", uid="uid-0-0", node="node-5")
    member = replace(stuck.member, attempt=0)
    stuck = replace(stuck, member=member, deleting=True, deleting_until=NOW)
    observation = replace(observation, pods={**observation.pods, stuck.name: stuck})
    status = jobs.settled(observation, NOW + 100_000).status
    assert status.attempts[-1].finished_at is None


def test_a_helper_whose_node_is_not_fit_any_more_is_pinned_to_none():
    observation = replace(_due(), unhealthy=frozenset({"node-5"}))
    made = [a.manifest for s in decide(observation, NOW + 60).actions for a in s if isinstance(a, Create)]
    pinned = {m["metadata"]["name"]: "node-" in str(m["spec"].get("affinity")) for m in map(rendered, made)}
    assert pinned == {"job-1-eval-0": False, "job-1-eval-1": True}


def test_a_helper_whose_place_is_not_on_record_any_more_is_pinned_to_none_and_ends_no_gang():
    observation = replace(_due(), placement=None)
    plan = decide(observation, NOW + 60)
    made = [rendered(a.manifest) for s in plan.actions for a in s if isinstance(a, Create)]
    pinned = {m["metadata"]["name"]: "node-" in str(m["spec"].get("affinity")) for m in made}
    assert pinned == {"job-1-eval-0": False, "job-1-eval-1": False}
    status = jobs.settled(observation, NOW + 60).status
    assert status.attempts[-1].finished_at is None
    assert jobs.reason(status, ConditionType.RESTARTING)[0] != "True"


def test_a_helper_that_is_refused_is_tried_again_while_the_gang_runs():
    text = "pods/job-1-eval-0: exceeded quota"
    refused = replace(_due(), late_refused=(text, NOW + 60))
    plan = decide(refused, NOW + 61)
    assert (_created(plan), _deleted(plan), plan.requeue_after) == ([], [], 14)
    assert jobs.reason(jobs.written(plan), ConditionType.PODS_READY) == ("False", "HelperPending")
    assert text in plan.events[0].message
    assert len(_created(decide(refused, NOW + 75))) == 2
    assert len(_created(decide(refused, NOW + 30))) == 2, "the clock was put back"
