"""What the controller of services keeps beside the plans: each group's capacity and its place in the queue."""

from __future__ import annotations

from copy import copy

import pytest

from drumline.core.gang.plan import Create, Plan
from drumline.core.gang.types import Refusal
from drumline.core.inference import names
from drumline.runtime.errors import Conflict, Forbidden, NameConflict, NotFound
from drumline.runtime.executor import Outcome
from drumline.runtime.service_gangs import placed_by, samples_of, status_after
from drumline.runtime.service_memory import learn
from drumline.runtime.service_records import _Parsed
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, UID
from tests.unit.runtime.service_lab import GANG, KEY, Lab

NODES = ("node-0-0", "node-0-1")


@pytest.fixture
async def lab() -> Lab:
    return Lab()


def waiting():
    return services.with_groups(services.service(), "serve", services.waiting())


def begins(observation) -> Plan:
    """The plan that begins the first group's attempt on its nodes."""
    begun = services.with_groups(observation, "serve", services.starting())
    return Plan(intent=begun.status.to_json())


async def test_each_group_holds_its_nodes_as_the_status_has_them(lab):
    lab.hold(services.serving(count=2))
    assert lab.reserved()
    assert lab.reserved(names.gang_uid(UID, "serve", 1))
    lab.hold(services.serving(count=1))
    assert lab.reserved()
    assert not lab.reserved(names.gang_uid(UID, "serve", 1))
    lab.hold(waiting())
    assert not lab.reserved()
    assert lab.memory.held == {}


async def test_a_group_that_the_scheduler_places_holds_nothing(lab):
    lab.hold(services.with_groups(services.service(), "serve", services.group(nodes=("", ""))))
    assert not lab.reserved()


async def test_a_groups_pods_take_no_more_than_its_reservation(lab):
    observation = services.serving()
    lab.hold(observation)
    used = dict(lab.jobs.world.capacity.now.used("node-0-0"))
    for pod in observation.pods["serve", 0]:
        lab.jobs.world.capacity.set_pod(pod)
    assert dict(lab.jobs.world.capacity.now.used("node-0-0")) == used
    assert lab.jobs.world.capacity.holders("node-0-0") == {GANG}


async def test_a_grant_is_kept_until_the_status_that_takes_it_up_is_seen(lab):
    observation = waiting()
    lab.grant(observation, *NODES)
    lab.hold(observation)
    assert lab.reserved()
    plan = begins(observation)
    placed = placed_by(UID, status_after(plan))
    assert placed == {GANG: NODES}
    lab.controller._ask(lab.memory, plan, placed)
    assert lab.jobs.admitter.granted(GANG)
    record = lab.sees(observation)
    lab.controller._taken(record, lab.memory, plan, Outcome(resource_version="101"))
    assert not lab.jobs.admitter.granted(GANG)
    assert (lab.memory.asked, lab.memory.held) == (set(), {GANG: NODES})
    assert lab.reserved()


async def test_a_grant_taken_up_by_a_write_that_failed_waits_for_the_next_plan(lab):
    observation = waiting()
    lab.grant(observation, *NODES)
    plan = begins(observation)
    lab.controller._ask(lab.memory, plan, placed_by(UID, status_after(plan)))
    lab.controller._taken(lab.sees(observation), lab.memory, plan, Outcome(error=Conflict("no", status=409)))
    assert lab.jobs.admitter.granted(GANG)
    assert lab.memory.asked == {GANG}


async def test_a_grant_whose_taking_up_was_written_and_never_answered_is_the_statuss(lab):
    lab.grant(waiting(), *NODES)
    lab.hold(services.with_groups(services.service(), "serve", services.starting()))
    assert not lab.jobs.admitter.granted(GANG)
    assert lab.reserved()


async def test_a_grant_that_no_plan_takes_up_is_given_back(lab):
    lab.grant(waiting(), *NODES)
    lab.controller._ask(lab.memory, Plan(), {})
    assert not lab.reserved()
    assert lab.jobs.admitter.answer(GANG) is None
    assert len(lab.jobs.admitter) == 0


async def test_only_groups_that_wait_are_in_the_queue(lab):
    observation = waiting()
    request = lab.ask(observation)
    lab.controller._ask(lab.memory, Plan(queue=(request,)), {})
    assert len(lab.jobs.admitter) == 1
    lab.controller._ask(lab.memory, Plan(), {})
    assert len(lab.jobs.admitter) == 0


async def test_a_service_that_is_gone_holds_and_asks_nothing(lab):
    lab.hold(services.serving())
    lab.ask(waiting())
    lab.controller.service_gone(UID)
    assert not lab.reserved()
    assert len(lab.jobs.admitter) == 0
    assert UID not in lab.world.memory
    assert lab.controller.signals.of(UID).groups == {}


async def test_a_new_leader_holds_what_an_earlier_one_placed_before_anybody_is_admitted(lab):
    half = services.with_groups(services.service(), "serve", services.group(), services.starting(1))
    lab.sees(half)
    lab.jobs.beside.take_over()
    assert lab.reserved()
    assert lab.reserved(names.gang_uid(UID, "serve", 1))
    claims = lab.jobs.preflight.quotas._claims
    assert {gang: claim.pods for gang, claim in claims.items()} == {names.gang_uid(UID, "serve", 1): 2}


async def test_one_odd_service_keeps_no_other_from_its_nodes(lab, monkeypatch):
    lab.sees(services.serving())
    odd = services.service()
    lab.world.records.store.put(("ns", "odd"), lab.sees(odd))
    seen = lab.sees(services.serving())
    plain = lab.controller._observe

    def observe(record):
        if record is not seen:
            raise RuntimeError("odd")
        return plain(record)

    monkeypatch.setattr(lab.controller, "_observe", observe)
    lab.controller.take_over()
    assert lab.reserved()


async def test_answers_and_samples_find_the_service_by_the_gangs_uid(lab):
    lab.controller._queue = WorkQueue()
    request = lab.ask(waiting())
    lab.sees(waiting())
    lab.jobs._look_at(request.uid)
    assert len(lab.controller._queue) == 1
    samples = lab.jobs._samples(request)
    assert [s.count for s in samples] == [1, 1]
    assert [s.manifest["metadata"]["name"] for s in samples] == ["chat-serve-1-0-0", "chat-serve-1-0-1"]
    lab.controller.service_gone(UID)
    with pytest.raises(KeyError):
        lab.jobs._samples(request)


async def test_a_group_has_samples_before_the_mirror_shows_it(lab):
    request = lab.ask(waiting())
    lab.sees(services.service())
    with pytest.raises(KeyError):
        samples_of(services.view(services.service()), request)
    lab.memory.decided = waiting().status
    assert len(lab.controller.samples(request)) == 2


async def test_an_error_of_ours_costs_this_service_a_while(lab, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("drumline.runtime.service_controller.decide", broken)
    plan = lab.controller._decide(services.service())
    assert plan.requeue_after == 300
    assert "ZeroDivisionError" in plan.events[0].message


def _creating(observation) -> Plan:
    labels = {
        "drumline.dev/service": "chat",
        "drumline.dev/role": "serve",
        "drumline.dev/group": "0",
        "drumline.dev/worker": "0",
        "drumline.dev/attempt": "1",
    }
    manifest = {"metadata": {"namespace": "ns", "name": "chat-serve-1-0-0", "labels": labels}}
    return Plan(intent=observation.status.to_json(), actions=((Create("pods", manifest),),))


async def test_a_create_that_was_refused_for_good_blocks_its_group_for_that_attempt(lab):
    observation = services.with_groups(services.service(), "serve", services.starting(), services.starting(1))
    record = lab.sees(observation)
    plan = _creating(observation)
    outcome = Outcome(failed="pods/chat-serve-1-0-0", error=Forbidden("exceeded quota", status=403))
    decisive = learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    assert lab.controller._again(lab.memory, plan, outcome, decisive=decisive) == 0.0
    assert lab.controller._observe(record).blocked == {GANG: "pods/chat-serve-1-0-0: exceeded quota"}
    later = services.with_groups(services.service(), "serve", services.starting(attempt=2))
    assert lab.controller._observe(lab.sees(later)).blocked == {}


async def test_a_right_that_is_denied_for_a_moment_costs_no_attempt(lab):
    record = lab.sees(services.service())
    plan = _creating(services.service())
    text = 'pods is forbidden: User "drumline" cannot create resource "pods" in API group ""'
    outcome = Outcome(failed="pods/chat-serve-1-0-0", error=Forbidden(text, status=403))
    for _ in range(10):
        assert not learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    assert learn(record, lab.memory, plan, outcome, lab.controller._clocks)


async def test_conflicts_are_tried_again_ever_later_and_end_in_another_attempt(lab):
    record = lab.sees(services.service())
    plan = _creating(services.service())
    outcome = Outcome(failed="pods/chat-serve-1-0-0", error=Conflict("still going away", status=409))
    waits = []
    for _ in range(10):
        assert not learn(record, lab.memory, plan, outcome, lab.controller._clocks)
        waits.append(lab.controller._again(lab.memory, plan, outcome, decisive=False))
    assert waits == sorted(waits)
    assert waits[-1] == 10.0
    assert learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    assert lab.memory.blocked[GANG][0] == 1


async def test_what_came_of_a_plan_says_when_to_look_again(lab):
    again = lab.controller._again
    assert again(lab.memory, Plan(requeue_after=30), Outcome(), decisive=False) == 30
    assert again(lab.memory, Plan(), Outcome(), decisive=False) is None
    assert again(lab.memory, Plan(), Outcome(error=NotFound("gone", status=404)), decisive=False) == 0.05
    lab.memory.foreign["services/chat"] = NOW
    assert again(lab.memory, Plan(requeue_after=30), Outcome(), decisive=False) == 10
    with pytest.raises(Forbidden):
        again(lab.memory, Plan(), Outcome(error=Forbidden("no", status=403)), decisive=False)


async def test_in_a_namespace_that_is_being_deleted_nothing_is_tried_hard_and_nobody_blamed(lab):
    causes = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
    error = Forbidden("it is being terminated", status=403, details=causes)
    outcome = Outcome(failed="pods/chat-serve-1-0-0", error=error)
    observation = services.with_groups(services.service(), "serve", services.starting())
    plan = _creating(observation)
    assert not learn(lab.sees(observation), lab.memory, plan, outcome, lab.controller._clocks)
    assert lab.memory.blocked == {}
    assert lab.controller._again(lab.memory, plan, outcome, decisive=False) == 30


async def test_what_is_refused_for_good_is_said_and_tried_again(lab, monkeypatch):
    """As a quota of Services that is used up: without an event nobody would know why nothing happens."""
    plans = []

    async def apply(_owner, plan):
        plans.append(plan)
        return Outcome(failed="services/chat", error=Forbidden("exceeded quota: services", status=403))

    lab.sees(services.service())
    monkeypatch.setattr(lab.jobs.executor, "apply", apply)
    with pytest.raises(Forbidden):
        await lab.controller.reconcile(KEY)
    (event,) = plans[-1].events
    assert (event.type, event.reason) == ("Warning", "CreateRefused")
    assert event.message == "the API server refuses services/chat: exceeded quota: services"


async def test_what_was_granted_by_another_catalogue_is_given_back(lab):
    """A host may have other chips by the new one, and the group another size."""
    record = lab.sees(waiting())
    lab.grant(waiting(), *NODES)
    lab.world._reader._parsed[UID] = _Parsed(1, services.CATALOG, record.spec, record.spec, ())
    assert lab.controller._judged(record, lab.memory) is record
    assert lab.reserved()
    lab.world.cluster_changed(copy(services.CATALOG))
    assert lab.controller._judged(record, lab.memory) is not record
    assert (lab.reserved(), lab.memory.asked) == (False, set())
    assert lab.jobs.admitter.answer(GANG) is None


async def test_services_of_other_namespaces_do_not_hear_which_queues_one_may_use(lab, monkeypatch):
    record = lab.sees(waiting())
    heard = []
    monkeypatch.setattr(lab.controller, "service_changed", lambda key, urgent: heard.append(key))
    lab.world.queues_changed("elsewhere")
    assert heard == []
    lab.world.queues_changed(record.meta.namespace)
    lab.world.queues_changed("")
    assert heard == [record.key] * 2


async def test_a_name_that_is_taken_is_remembered(lab):
    error = NameConflict("services/chat", "belongs to somebody else")
    outcome = Outcome(failed="services/chat", error=error)
    assert learn(lab.sees(services.service()), lab.memory, Plan(), outcome, lab.controller._clocks)
    assert lab.controller._observe(lab.sees(services.service())).foreign == {"services/chat"}


async def test_a_pod_whose_name_is_taken_costs_its_group_an_attempt_and_no_other(lab):
    observation = services.with_groups(services.service(), "serve", services.starting())
    record, plan = lab.sees(observation), _creating(observation)
    outcome = Outcome(failed="pods/chat-serve-1-0-0", error=NameConflict("pods/chat-serve-1-0-0", "not ours"))
    assert learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    assert (set(lab.memory.blocked), lab.memory.foreign) == ({GANG}, {})


async def test_refusals_reach_the_observation_by_gang(lab):
    lab.ask(waiting())
    lab.jobs.admitter._answers[GANG] = Refusal("Queued", "later")
    assert lab.controller._observe(lab.sees(waiting())).admission == {GANG: Refusal("Queued", "later")}


async def test_a_service_that_is_not_there_is_nothing_to_do(lab):
    assert await lab.controller.reconcile(KEY) is None
