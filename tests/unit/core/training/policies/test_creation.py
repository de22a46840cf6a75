"""Missing pods are created once, in order of what they depend on, with the rendering the attempt began with."""

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.core.gang.plan import Create
from drumline.core.training.conditions import set_condition
from drumline.core.training.decide import decide
from drumline.core.training.observation import Settings
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW


def _created(plan):
    return [a.manifest["metadata"]["name"] for s in plan.actions for a in s if isinstance(a, Create)]


def _started(observation, now=NOW):
    observation = jobs.begun(observation, now)
    return replace(observation, pods={})


def test_only_what_is_missing_is_created():
    observation = jobs.begun()
    status = _not_yet_all(observation.status)
    partly = {n: p for n, p in observation.pods.items() if n in ("job-1-0-0", "job-1-1-1")}
    plan = decide(replace(observation, status=status, pods=partly), NOW + 1)
    assert _created(plan) == ["job-1-0-1", "job-1-1-0"]
    assert jobs.reason(jobs.written(plan), ConditionType.ADMITTED) == ("True", "PodsCreated")


def test_a_big_gang_is_created_in_bounded_plans():
    granted = jobs.begun()
    status = _not_yet_all(granted.status)
    observation = replace(granted, status=status, pods={}, settings=Settings(creates_per_plan=3))
    plan = decide(observation, NOW + 1)
    assert len(_created(plan)) == 3
    assert plan.requeue_after == 0
    assert jobs.reason(jobs.written(plan) or status, ConditionType.ADMITTED) == ("True", "Placed")


def test_a_helper_waits_for_what_it_depends_on():
    raw = jobs.spec(
        helpers=[
            {"name": "loader", "replicas": 2, "template": jobs.TEMPLATE},
            {"name": "eval", "dependsOn": [{"name": "workers"}], "template": jobs.TEMPLATE},
        ]
    )
    observation = jobs.begun(jobs.job(raw))
    early = {n: p for n, p in observation.pods.items() if "eval" not in n}
    assert len(early) == 6
    waiting = replace(observation, pods=early, status=_not_yet_all(observation.status))
    assert _created(decide(waiting, NOW + 1)) == []
    ready = jobs.with_pods(waiting, lambda p: jobs.up(p) if p.member.role == "worker" else p)
    assert _created(decide(ready, NOW + 2)) == ["job-1-eval-0"]


def test_another_rendering_writes_to_no_pod_of_a_whole_attempt():
    observation = _other_rendering(jobs.running())
    plan = decide(observation, NOW + 60)
    assert (plan.actions, jobs.written(plan), plan.intent) == ((), None, None)


def test_another_rendering_begins_an_attempt_again_that_is_not_whole():
    observation = jobs.begun()
    observation = _other_rendering(replace(observation, status=_not_yet_all(observation.status)))
    observation = replace(observation, pods={n: p for n, p in observation.pods.items() if n == "job-1-0-0"})
    plan = decide(observation, NOW + 1)
    assert jobs.reason(jobs.written(plan), ConditionType.RESTARTING)[0] == "True"
    assert plan.requeue_after == 0
    after = jobs.settled(observation, NOW + 1)
    assert after.status.restart_count == 0
    assert decide(after, NOW + 2).intent["attempt"] == 2


def _not_yet_all(status):
    return set_condition(status, ConditionType.ADMITTED, True, "Placed", "", NOW)


def _other_rendering(observation):
    placed = observation.status.placement.model_copy(update={"hash": "of-another-version"})
    return replace(observation, status=observation.status.model_copy(update={"placement": placed}))


def test_a_placement_that_is_not_in_view_yet_is_waited_for():
    observation = jobs.begun()
    late = replace(observation, status=_not_yet_all(observation.status), pods={}, placement=None)
    plan = decide(late, NOW + 2)
    assert (_created(plan), plan.events) == ([], ())
    assert plan.requeue_after == 1
    assert jobs.settled(late, NOW + 2).status.attempts[-1].finished_at is None


def test_a_placement_that_is_gone_for_good_begins_another_attempt():
    observation = jobs.begun()
    gone = replace(observation, status=_not_yet_all(observation.status), pods={}, placement=None)
    status = jobs.settled(gone, NOW + 31).status
    assert status.attempts[-1].finished_at is not None
    assert jobs.reason(status, ConditionType.RESTARTING)[0] == "True"
