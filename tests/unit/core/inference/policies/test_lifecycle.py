"""The policies that may end a decision: leave alone, validity, name conflict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.errors import FieldError
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.plan import Apply, Create, Plan
from drumline.core.inference.decide import decide
from drumline.core.inference.policies.leave_alone import leave_alone
from drumline.core.inference.policies.name_conflict import name_conflict
from drumline.core.inference.policies.validity import validity
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import World, gpu_role, phases
from tests.unit.core.inference.services import NOW, actions, reason, written

READY = ServiceCondition.READY
ERRORS = tuple(FieldError(f"spec.roles[{i}]", "given x; allowed: y") for i in range(7))


@pytest.mark.parametrize("change", [{"deleting": True}, {"managed_by": "example.org/other"}])
def test_what_is_deleted_or_somebody_elses_is_left_alone(change) -> None:
    observation = services.serving()
    observation = replace(observation, service=replace(observation.service, generation=9, **change))
    assert decide(observation, NOW) == Plan(metadata={"policy": "leave_alone"})
    assert leave_alone(services.view(services.serving())).ended == ""


def test_an_invalid_spec_starts_nothing_and_says_why() -> None:
    observation = services.fresh(spec=None, errors=ERRORS)
    plan = decide(observation, NOW)
    status = written(plan, observation)
    assert reason(status, READY) == ("False", Reason.INVALID_SPEC)
    assert status.phase == "Failed"
    assert "and 2 more" in status.conditions[0].message
    assert [e.reason for e in plan.events] == [Reason.INVALID_SPEC]
    assert plan.actions == plan.prepare == plan.queue == ()


def test_an_invalid_spec_leaves_what_serves_and_says_so_once() -> None:
    observation = replace(services.serving(), spec=None, errors=ERRORS[:1])
    view = validity(services.view(observation))
    assert (view.actions, view.status.phase, len(view.events)) == ((), "Degraded", 1)
    assert view.events[0].message.startswith("the groups are left as they are: spec.roles[0]")
    again = validity(services.view(replace(observation, status=view.status)))
    assert (again.events, again.status) == ((), view.status)


def test_a_taken_name_stops_a_service_that_has_not_begun() -> None:
    observation = services.service(foreign=frozenset({"services/chat-serve"}))
    view = name_conflict(services.view(observation))
    assert view.ended
    assert reason(view.status, READY) == ("False", Reason.NAME_CONFLICT)
    assert "services/chat-serve already exists" in view.events[0].message


def test_a_taken_name_is_written_by_nobody_and_stops_nothing_that_runs() -> None:
    world = World(services.fresh(services.spec(gpu_role())))
    world.settle()
    taken = frozenset({"services/chat-serve"})
    world.children.pop("services/chat-serve", None)
    world.service = replace(world.service, foreign=taken)
    world.fail("chat-serve-1-0-1")
    plan = world.decide()
    assert len(services.deleted(plan)) == 2
    names = [a.manifest["metadata"]["name"] for a in actions(plan) if isinstance(a, Apply | Create)]
    assert "chat-serve" not in names
    assert reason(written(plan, world.service), READY) == ("False", Reason.NAME_CONFLICT)
    world.wait(20)
    assert phases(world) == ["Serving"]


def test_a_group_that_is_ready_does_not_wait_for_the_pods_of_another() -> None:
    """Creating them takes long, and may be refused; whatever fails ends the plan there."""
    world = World(services.fresh(services.spec(gpu_role(replicas=2))))
    world.reconcile()
    world.admit()
    world.apply(world.decide())
    world.start()
    world.drop("chat-serve-1-1-0")
    stages = [{(type(a).__name__, a.resource) for a in stage} for stage in world.decide().actions]
    assert stages.index({("Patch", "pods")}) < stages.index({("Create", "pods")})
