"""A service whose spec does not hold any more lives on by its last revision that did, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.plan import Apply, Create, Delete
from drumline.core.inference.frozen import last_valid
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import L4, World, gpu_role, node, phases

READY = ServiceCondition.READY
ERRORS = (FieldError("spec.roles[0].accelerator.type", "given nvidia-l5; allowed: nvidia-l4"),)


def frozen(*roles: dict[str, Any], **spec: Any) -> World:
    """A service that serves, whose spec has just become invalid."""
    world = World(services.fresh(services.spec(*(roles or (gpu_role(replicas=2),)), **spec)))
    world.settle()
    freeze(world)
    return world


def freeze(world: World, **changes: Any) -> None:
    """From now on the spec does not hold."""
    spec = last_valid(world.status, world.revisions)
    assert spec is not None
    meta = replace(world.service.service, generation=world.service.service.generation + 1)
    world.service = replace(world.service, service=meta, spec=spec, errors=ERRORS, **changes)


def without_l4() -> Catalog:
    """The catalogue after somebody took the accelerator out."""
    return Catalog({name: raw for name, raw in services.CATALOG._raw.items() if name != L4})


def test_it_is_said_and_nothing_is_written_but_the_status() -> None:
    world = frozen()
    plan = world.decide()
    assert plan.actions == plan.prepare == plan.queue == ()
    (event,) = plan.events
    assert event.message.startswith("the groups go on by the last revision that held: spec.roles[0]")
    world.reconcile()
    assert services.reason(world.status, READY) == ("False", Reason.INVALID_SPEC)
    assert world.status.phase == "Degraded"
    assert services.reason(world.status, ServiceCondition.AVAILABLE) == ("True", Reason.GROUPS_READY)
    assert phases(world) == ["Serving", "Serving"]
    assert (world.status.ready_replicas, world.decide().events) == (2, ())


def test_a_group_that_fails_restarts_as_before() -> None:
    world = frozen()
    world.fail("chat-serve-1-0-1")
    world.wait(20)
    assert phases(world) == ["Serving", "Serving"]
    assert world.groups()[0].attempt == 2
    assert len(world.published) > 0
    assert services.reason(world.status, READY) == ("False", Reason.INVALID_SPEC)


def test_a_group_whose_node_is_lost_comes_up_elsewhere() -> None:
    world = frozen(gpu_role(chips=8, replicas=1))
    lost = world.groups()[0].nodes[1]
    world.set_node(lost, ready=False)
    world.wait(30)
    assert phases(world) == ["Serving"]
    assert lost not in world.groups()[0].nodes


def test_a_cordoned_node_is_left_group_by_group() -> None:
    world = frozen()
    left = world.groups()[0].nodes[0]
    world.capacity.set_node(node("node-9"))
    world.set_node(left, unschedulable=True)
    for _ in range(30):
        world.wait(2)
        assert sum(g.phase is GroupPhase.SERVING for g in world.groups().values()) >= 2
    assert phases(world) == ["Serving", "Serving"]
    assert all(left not in g.nodes for g in world.groups().values())


def test_a_group_that_drains_goes() -> None:
    world = World(services.fresh(services.spec(gpu_role(replicas=2))))
    world.settle()
    role = world.service.spec.roles[0]
    world.load.update({("serve", 0): 5.0, ("serve", 1): 3.0})
    world.edit(roles=(role.model_copy(update={"replicas": 1}),))
    world.settle()
    assert phases(world) == ["Serving", "Draining"]
    freeze(world)
    world.load.clear()
    world.wait(30)
    assert phases(world) == ["Serving"]


def test_numbers_are_those_of_now_and_no_rollout_moves() -> None:
    world = World(services.fresh(services.spec(gpu_role(replicas=1))))
    world.settle()
    role = world.service.spec.roles[0]
    world.edit(roles=(role.model_copy(update={"replicas": 2}),))
    world.settle()
    before = world.groups()
    freeze(world)
    world.wait(30)
    assert world.groups() == before
    assert world.revisions[str(world.status.update_revision)].spec.roles[0].replicas == 1


def test_a_suspended_service_stays_so() -> None:
    world = frozen(suspend=True)
    world.wait(10)
    assert (world.groups(), world.pods) == ({}, {})


def test_no_service_budget_route_or_role_is_touched() -> None:
    world = frozen()
    world.children.clear()
    world.fail("chat-serve-1-0-1")
    for _ in range(10):
        plan = world.decide()
        kinds = {a.resource for s in plan.actions for a in s if isinstance(a, Apply | Create | Delete)}
        assert kinds <= {"pods", "endpointslices", "configmaps"}
        world.wait(2)


def test_what_cant_be_rendered_any_more_waits_and_goes_on_when_it_can_be() -> None:
    world = frozen()
    freeze(world, catalog=without_l4())
    world.fail("chat-serve-1-0-1")
    world.wait(30)
    assert phases(world) == ["Backoff", "Serving"]
    assert "InvalidSpec" in (world.groups()[0].message or "")
    assert [p for p in world.pods.values() if p.member.slice == 0] == []
    freeze(world, catalog=services.CATALOG)
    world.wait(30)
    assert phases(world) == ["Serving", "Serving"]


def test_a_service_of_which_no_revision_is_known_has_nothing_to_go_by() -> None:
    assert last_valid(services.fresh().status, {}) is None
