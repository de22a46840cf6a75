"""What the controller keeps beside the plans: capacity held, names taken, creates refused."""

from dataclasses import replace

import pytest

from drumline.api.status import Avoidance, ExcludedNode
from drumline.core.gang.clock import rfc3339
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Node, Placement
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Settings
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import Conflict, Forbidden, NameConflict
from drumline.runtime.executor import Outcome
from drumline.runtime.records import JobRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID


@pytest.fixture
def controller():
    made = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), Clocks(lambda: NOW, lambda: NOW))
    for index in range(4):
        made.world.capacity.set_node(Node(f"node-{index}", allocatable={"cpu": 8000, "pods": 10}))
    return made


def _record(observation):
    o = observation
    return JobRecord(o.job, o.spec, o.errors, o.shape, o.roster, o.status, o.catalog)


def _seen(controller, observation):
    record = _record(observation)
    controller.world.jobs.store.put(record.key, record)
    controller.world.keys[UID] = record.key
    return record


def _hold(controller, observation):
    controller.holdings.keep(_seen(controller, observation), observation)


async def test_a_status_with_a_placement_holds_its_nodes_though_its_answer_was_lost(controller):
    _hold(controller, jobs.begun())
    assert controller.world.capacity.reserved(UID)
    assert controller.world.remember(UID).held == "job-1"


async def test_a_status_without_one_gives_them_back_though_its_answer_was_lost(controller):
    observation = jobs.begun()
    _hold(controller, observation)
    released = observation.status.model_copy(update={"placement": None})
    _hold(controller, replace(observation, status=released, placement=None))
    assert not controller.world.capacity.reserved(UID)


async def test_what_was_granted_is_not_given_back_by_a_status_that_does_not_know_it(controller):
    queued = jobs.job()
    plan = decide(queued, NOW)
    controller.admitter.want(plan.waiting)
    controller.world.capacity.reserve(plan.waiting, jobs.placement(queued))
    controller.admitter._answers[UID] = Granted(jobs.placement(queued))
    _hold(controller, queued)
    assert controller.world.capacity.reserved(UID)


async def test_a_grant_that_is_not_taken_up_is_given_back(controller):
    queued = jobs.job()
    plan = decide(queued, NOW)
    controller.admitter.want(plan.waiting)
    controller.world.capacity.reserve(plan.waiting, jobs.placement(queued))
    controller.admitter._answers[UID] = Granted(jobs.placement(queued))
    controller._ask(_seen(controller, queued), queued, Plan())
    assert not controller.world.capacity.reserved(UID)
    assert controller.admitter.answer(UID) is None


async def test_a_grant_that_is_not_taken_up_leaves_what_the_status_names(controller):
    observation = jobs.settled(jobs.with_pod(jobs.running(), 0, jobs.failed))
    _hold(controller, observation)
    capacity = controller.world.capacity
    request = request_of(View(observation, NOW, observation.status))
    capacity.reserve(request, Placement(("node-1",) * 4))
    controller.admitter.want(request)
    controller.admitter._answers[UID] = Granted(Placement(("node-1",) * 4))
    controller._ask(_record(observation), observation, Plan())
    assert controller.admitter.answer(UID) is None
    assert all(UID in capacity.holders(f"node-{i}") for i in range(4)), "nobody else gets them meanwhile"


async def test_a_job_that_is_gone_holds_and_asks_nothing(controller):
    controller.admitter.want(decide(jobs.job(), NOW).waiting)
    _hold(controller, jobs.begun())
    controller.job_gone(UID)
    assert not controller.world.capacity.reserved(UID)
    assert len(controller.admitter) == 0
    assert UID not in controller.world.memory


def _beginning(controller):
    observation = jobs.job()
    plan = decide(replace(observation, admission=Granted(jobs.placement(observation))), NOW)
    return _seen(controller, observation), plan


async def test_a_create_refused_by_the_plan_that_began_the_attempt_is_remembered(controller):
    record, plan = _beginning(controller)
    outcome = Outcome(
        resource_version="101", failed="pods/job-1-0-1", error=Forbidden("exceeded quota", status=403)
    )
    controller._learn(record, plan, outcome)
    assert controller.world.remember(UID).blocked == "pods/job-1-0-1: exceeded quota"
    assert controller._again(record, plan, outcome) == 0.0


async def test_a_refusal_of_something_else_tears_no_gang_down(controller):
    record, plan = _beginning(controller)
    outcome = Outcome(failed="endpointslices/job-ipv4-0", error=Forbidden("no", status=403))
    controller._learn(record, plan, outcome)
    assert controller.world.remember(UID).blocked == ""
    with pytest.raises(Forbidden):
        controller._again(record, plan, outcome)


async def test_a_name_that_is_taken_is_remembered(controller):
    record, plan = _beginning(controller)
    outcome = Outcome(failed="services/job", error=NameConflict("services/job", "belongs to somebody else"))
    controller._learn(record, plan, outcome)
    assert controller.world.remember(UID).foreign == {"services/job"}


async def test_a_name_that_a_later_helper_needs_and_somebody_has_ends_no_gang(controller):
    late = {"name": "eval", "dependsOn": [{"name": "workers", "status": "Ready"}], "template": jobs.TEMPLATE}
    observation = jobs.begun(jobs.job(jobs.spec(helpers=[late])))
    status = observation.status.model_copy(update={"created_helpers": ()})
    there = {n: jobs.up(p) for n, p in observation.pods.items() if "eval" not in n}
    observation = replace(observation, status=status, pods=there)
    plan, record = decide(observation, NOW), _seen(controller, observation)
    outcome = Outcome(
        failed="pods/job-1-eval-0", error=NameConflict("pods/job-1-eval-0", "belongs to somebody else")
    )
    controller._learn(record, plan, outcome)
    memory = controller.world.remember(UID)
    assert memory.foreign == frozenset()
    assert memory.late_refused == ("pods/job-1-eval-0: belongs to somebody else", NOW)


async def test_a_pod_that_is_refused_casts_doubt_on_the_dry_runs_of_its_namespace(controller, monkeypatch):
    doubted = []
    monkeypatch.setattr(controller.preflight, "distrust", doubted.append)
    record, plan = _beginning(controller)
    controller._learn(record, plan, Outcome(failed="services/job", error=Forbidden("no", status=403)))
    controller._learn(record, plan, Outcome(failed="pods/job-1-0-1", error=Conflict("going", status=409)))
    assert doubted == []
    controller._learn(record, plan, Outcome(failed="pods/job-1-0-1", error=Forbidden("no", status=403)))
    assert doubted == ["ns"]


async def test_conflicts_are_tried_again_ever_later_and_end_in_another_attempt(controller):
    record, plan = _beginning(controller)
    outcome = Outcome(failed="pods/job-1-0-1", error=Conflict("still going away", status=409))
    waits = []
    for _ in range(10):
        controller._learn(record, plan, outcome)
        waits.append(controller._again(record, plan, outcome))
    assert waits == sorted(waits)
    assert waits[0] <= 0.1
    assert waits[-1] == 10.0
    controller._learn(record, plan, outcome)
    assert controller.world.remember(UID).blocked


async def test_a_right_that_is_denied_for_a_moment_costs_no_attempt(controller):
    """An API server that has only begun denies everybody everything."""
    record, plan = _beginning(controller)
    text = 'pods is forbidden: User "drumline" cannot create resource "pods" in API group ""'
    outcome = Outcome(failed="pods/job-1-0-1", error=Forbidden(text, status=403))
    for _ in range(10):
        controller._learn(record, plan, outcome)
        with pytest.raises(Forbidden):
            controller._again(record, plan, outcome)
    assert controller.world.remember(UID).blocked == ""
    controller._learn(record, plan, outcome)
    assert controller.world.remember(UID).blocked == f"pods/job-1-0-1: {text}"


async def test_what_a_new_leader_finds_placed_it_holds(controller):
    observation = jobs.running()
    record = _seen(controller, observation)
    plan = decide(replace(jobs.job(), admission=Granted(jobs.placement(observation))), NOW)
    for create in plan.prepare:
        document = {
            **create.manifest,
            "metadata": {**create.manifest["metadata"], "uid": "rev", "resourceVersion": "1"},
        }
        controller.world.revisions._upsert(document)
    controller._hold_at_start(record)
    assert controller.world.capacity.reserved(UID)
    assert controller.world.remember(UID).placement[1] == Placement(tuple(f"node-{i}" for i in range(4)))


@pytest.mark.parametrize("there", [0, 3, 4])
async def test_what_an_earlier_leader_was_still_creating_is_inherited(controller, there):
    observation = jobs.begun()
    record = _seen(controller, observation)
    for pod in list(observation.pods.values())[:there]:
        controller.world.pods.store.put((pod.namespace, pod.name), pod)
    quotas = controller.preflight.quotas
    quotas._lists["ns"] = (NOW, [{"metadata": {"name": "q"}, "status": {"hard": {"pods": "9"}}}])
    controller._hold_at_start(record)
    refused = quotas.refusal("another", "ns", []) is not None
    assert refused is (there < 4)
    if refused:
        assert quotas._claims[UID].until == float("inf")
        controller.holdings.keep(record, observation)
        assert quotas._claims[UID].until < NOW + 6, "from its first look on the claim ends by itself"


async def test_what_admission_said_under_another_catalogue_is_void(controller):
    document = {
        "metadata": {"namespace": "ns", "name": "job", "uid": UID, "resourceVersion": "1"},
        "spec": jobs.spec(),
    }
    controller.world.jobs._upsert(document)
    queued = jobs.job()
    record = controller.world.jobs.store.get("ns", "job")
    controller.admitter.want(decide(queued, NOW).waiting)
    controller.world.capacity.reserve(decide(queued, NOW).waiting, jobs.placement(queued))
    controller.admitter._answers[UID] = Granted(jobs.placement(queued))
    assert controller._judged(record) is record
    controller.world._on_catalogue(CATALOG.merged({"cpu": {"nodeLabels": {"pool": "cpu"}}}))
    judged = controller._judged(record)
    assert judged is controller.world.jobs.store.get("ns", "job")
    assert judged.catalog["cpu"].node_labels == {"pool": "cpu"}
    assert controller.admitter.answer(UID) is None
    assert not controller.world.capacity.reserved(UID)


async def test_a_place_that_the_next_attempt_cannot_use_is_not_held(controller):
    observation = jobs.settled(jobs.with_pod(jobs.running(), 1, lambda p: jobs.failed(p, 1)))
    _hold(controller, observation)
    assert controller.world.capacity.holders("node-1") == {UID}
    entry = ExcludedNode(name="node-1", until=rfc3339(NOW + 60), avoid=Avoidance.ALWAYS)
    status = observation.status.model_copy(update={"excluded_nodes": (entry,)})
    _hold(controller, replace(observation, status=status))
    assert [bool(controller.world.capacity.holders(f"node-{i}")) for i in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    again = status.model_copy(update={"attempts": jobs.begun().status.attempts})
    _hold(controller, replace(observation, status=again))  # an attempt that runs holds all of its nodes
    assert controller.world.capacity.holders("node-1") == {UID}
