"""Helpers that depend on another role: due late, not waited for before, and missed when they are gone."""

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.core.gang.plan import Create
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
