"""A service lives in a small cluster: it starts, restarts, rolls out, loses nodes, and goes."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import Reason, ServiceCondition
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import World, gpu_role, node, phases

READY = ServiceCondition.READY


def started(*roles, **changes):
    world = World(services.fresh(services.spec(*(roles or (gpu_role(replicas=2),)), **changes)))
    world.settle()
    return world


def test_a_service_comes_into_service_by_itself() -> None:
    world = started()
    assert phases(world) == ["Serving", "Serving"]
    assert services.reason(world.status, READY) == ("True", Reason.GROUPS_READY)
    assert sorted(world.pods) == [f"chat-serve-1-{g}-{w}" for g in range(2) for w in range(2)]
    assert all(pod.in_service for pod in world.pods.values() if pod.member.worker == 0)


def test_a_group_restarts_as_one_on_its_nodes_and_the_other_goes_on() -> None:
    world = started()
    nodes = world.groups()[0].nodes
    kept = [p for n, p in world.pods.items() if n.startswith("chat-serve-1-1")]
    world.fail("chat-serve-1-0-1")
    world.reconcile()
    assert phases(world) == ["Backoff", "Serving"]
    world.wait(20)
    assert phases(world) == ["Serving", "Serving"]
    assert (world.groups()[0].attempt, world.groups()[0].nodes) == (2, nodes)
    assert [world.pods[p.name] for p in kept] == kept
    assert [(r.cause, r.count) for r in world.status.restarts] == [("ApplicationExit", 1)]


def test_a_group_that_fails_again_and_again_stops_with_a_reason() -> None:
    world = started()
    for attempt in range(1, 4):
        world.fail(f"chat-serve-{attempt}-0-0")
        world.wait(60, step=10)
    assert phases(world) == ["Failed", "Serving"]
    assert services.reason(world.status, READY) == ("False", Reason.MAX_RESTARTS)
    assert not [p for p in world.pods.values() if p.member.slice == 0]
    world.wait(3600, step=900)
    assert phases(world) == ["Serving", "Serving"]


def test_a_lost_node_is_replaced_and_the_other_one_kept() -> None:
    world = started(gpu_role(chips=8, replicas=1))
    first, second = world.groups()[0].nodes
    world.set_node(second, ready=False)
    world.wait(30)
    group = world.groups()[0]
    assert group.phase is GroupPhase.SERVING
    assert group.nodes[0] == first
    assert group.nodes[1] not in (first, second)


def test_a_group_waits_for_room_and_takes_it() -> None:
    world = started(gpu_role(chips=8, replicas=3))
    assert phases(world) == ["Serving", "Serving", "Waiting"]
    assert services.reason(world.status, READY) == ("False", Reason.INSUFFICIENT_ACCELERATORS)
    for name in ("node-8", "node-9"):
        world.capacity.set_node(node(name))
    world.settle()
    assert phases(world) == ["Serving", "Serving", "Serving"]


def test_decode_begins_after_prefill_and_workers_after_their_leader() -> None:
    world = World(
        services.fresh(
            services.spec(
                gpu_role("prefill", groupSize=1),
                gpu_role("decode", startPolicy="LeaderFirst", startAfter=["prefill"]),
            )
        )
    )
    seen = []
    for _ in range(6):
        world.reconcile()
        world.admit()
        world.reconcile()
        seen += [n for n in sorted(world.pods) if n not in seen]
        world.start()
    assert seen == ["chat-prefill-1-0-0", "chat-decode-1-0-0", "chat-decode-1-0-1"]
    world.settle()
    assert phases(world, "decode") == ["Serving"]


def test_a_change_rolls_out_without_a_moment_below_the_number_of_groups() -> None:
    world = started()
    template = {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:2"}]}}
    world.edit(roles=(world.service.spec.roles[0].model_copy(update={"template": template}),))
    for _ in range(30):
        world.wait(2)
        assert sum(1 for g in world.groups().values() if g.phase is GroupPhase.SERVING) >= 2
    assert sorted(world.groups()) == [2, 3]
    assert world.status.current_revision == world.status.update_revision


def test_an_old_group_that_is_not_ready_for_a_moment_is_not_replaced_for_it() -> None:
    world = started()
    template = {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:2"}]}}
    world.edit(roles=(world.service.spec.roles[0].model_copy(update={"template": template}),))
    world.reconcile()
    world.change("chat-serve-1-0-0", ready=False)
    world.reconcile()
    assert (phases(world)[:2], world.groups()[0].draining_since) == (["Starting", "Serving"], None)
    world.now += 20
    assert world.decide().requeue_after is not None
    world.reconcile()
    assert world.groups()[0].draining_since is None
    world.change("chat-serve-1-0-0", ready=True)
    world.reconcile()
    assert (phases(world)[:2], world.groups()[0].unready_since) == (["Serving", "Serving"], None)


def test_an_old_group_that_stays_unready_makes_room_for_a_new_one() -> None:
    world = started()
    template = {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:2"}]}}
    world.edit(roles=(world.service.spec.roles[0].model_copy(update={"template": template}),))
    world.change("chat-serve-1-0-0", ready=False)
    world.reconcile()
    due = world.decide().requeue_after
    assert due is not None
    assert due <= 30
    world.now += 30
    world.reconcile()
    assert 0 not in world.groups() or world.groups()[0].draining_since is not None


def test_a_suspended_service_keeps_nothing_and_comes_back_with_new_groups() -> None:
    world = started()
    world.edit(suspend=True)
    world.wait(20)
    assert (world.pods, world.groups(), world.status.phase) == ({}, {}, "Suspended")
    assert not any(world.published.values())
    world.edit(suspend=False)
    world.settle()
    assert sorted(world.groups()) == [2, 3]


def test_an_edge_service_needs_no_admission_and_stays_on_a_lost_node() -> None:
    world = World(services.fresh(services.spec(services.role(groupSize=1), profile="edge")))
    world.reconcile()
    assert list(world.pods) == ["chat-serve-1-0-0"]
    assert world.queue == {}
    up = services.up(world.pods["chat-serve-1-0-0"])
    world.put(replace(up, node="node-0", ready=False))
    world.settle()
    world.change("chat-serve-1-0-0", ready=True)
    world.settle()
    assert phases(world) == ["Serving"]
    world.capacity.set_node(node("node-0", ready=False))
    world.settle()
    assert list(world.pods) == ["chat-serve-1-0-0"]
    world.fail("chat-serve-1-0-0")
    world.wait(14)
    assert list(world.pods) == ["chat-serve-2-0-0"]
