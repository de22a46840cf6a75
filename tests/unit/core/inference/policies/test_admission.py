"""From waiting to a place: whole groups, kept nodes, roles in order, variants by cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.inference_status import GroupPhase
from drumline.api.reasons import DrainReason, Reason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Refusal, Taint
from drumline.core.inference.policies.admission import admission, awaited, request_of
from drumline.core.inference.scale import role_spec
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, group_of, waiting, with_groups

L4 = {"type": "nvidia-l4", "chipsPerWorker": 1}
H100 = {"type": "nvidia-h100-80gb", "chipsPerWorker": 1}


def judged(observation, now=NOW):
    return admission(services.view(observation, now))


def refused(observation, reason=Reason.INSUFFICIENT_ACCELERATORS, number=0):
    uid = services.view(observation).uid_of("serve", number)
    return replace(observation, admission={uid: Refusal(reason, "needs 2; 1 free")})


def one(group, **changes):
    return with_groups(services.service(**changes), "serve", group)


def test_a_group_asks_for_a_place_for_all_its_pods() -> None:
    view = judged(one(waiting()))
    (request,) = view.queue
    assert (request.uid, request.pods) == (f"{services.UID}/serve/0", 2)
    assert request.queued_at == NOW - 5
    assert (group_of(view.status).phase, view.status_first) == (GroupPhase.WAITING, False)


def test_a_granted_group_begins_with_its_placement_on_record_first() -> None:
    view = judged(services.granted(one(waiting()), "serve", 0, "a", "b"))
    group = group_of(view.status)
    assert (group.phase, group.attempt, group.nodes) == (GroupPhase.STARTING, 1, ("a", "b"))
    assert (group.queued_at, group.created) == (None, False)
    assert view.status_first
    assert view.queue == ()


def test_a_refusal_is_told_once_for_its_reason() -> None:
    observation = refused(one(waiting()))
    view = judged(observation)
    assert group_of(view.status).message == "InsufficientAccelerators: needs 2; 1 free"
    assert [e.reason for e in view.events] == ["InsufficientAccelerators"]
    assert len(view.queue) == 1
    assert judged(replace(observation, status=view.status)).events == ()


def test_no_attempt_begins_before_its_backoff_is_over() -> None:
    rests = services.group(
        phase=GroupPhase.BACKOFF, created=False, next_attempt_at=rfc3339_millis(NOW + 7), started_at=None
    )
    view = judged(one(rests))
    assert (view.queue, view.requeue_after) == ((), pytest.approx(7))
    begun = group_of(judged(one(rests), NOW + 7).status)
    assert (begun.attempt, begun.nodes, begun.phase) == (2, rests.nodes, GroupPhase.STARTING)


def test_nobody_waits_for_a_clock_that_was_put_back() -> None:
    rests = services.group(
        phase=GroupPhase.BACKOFF, created=False, next_attempt_at=rfc3339_millis(NOW + 3600), started_at=None
    )
    assert group_of(judged(one(rests)).status).attempt == 2


@pytest.mark.parametrize(
    ("observation", "group"),
    [
        ({"lost": frozenset({"node-0-1"})}, {}),
        ({"cordoned": frozenset({"node-0-0"})}, {}),
        ({"tainted": {"node-0-0": (Taint("a", "b", "NoSchedule"),)}}, {}),
        ({}, {"excluded": ("node-0-1",)}),
    ],
    ids=["lost", "cordoned", "tainted", "avoided"],
)
def test_a_restart_asks_again_when_a_node_is_not_well_and_holds_the_others(observation, group) -> None:
    rests = services.group(phase=GroupPhase.BACKOFF, created=False, **group)
    view = judged(one(rests, **observation))
    (request,) = view.queue
    assert dict(request.preferred_nodes) == {0: "node-0-0", 1: "node-0-1"}
    assert request.excluded == set(group.get("excluded", ()))
    found = group_of(view.status)
    assert (found.phase, found.nodes) == (GroupPhase.WAITING, rests.nodes)


def test_a_group_that_asked_for_a_place_begins_by_a_grant_only() -> None:
    held = services.group(phase=GroupPhase.WAITING, created=False, queued_at=services.ago(5))
    assert len(judged(one(held)).queue) == 1, "its nodes are well again, and may be somebody else's"
    rests = services.group(phase=GroupPhase.BACKOFF, created=False)
    granted = services.granted(one(rests), "serve", 0, "a", "b")
    assert group_of(judged(granted).status).nodes == ("a", "b")


def test_nodes_are_held_for_the_gang_timeout_only() -> None:
    held = services.group(phase=GroupPhase.WAITING, created=False, queued_at=services.ago(100))
    view = judged(one(held, lost=frozenset({"node-0-1"})))
    assert view.requeue_after == pytest.approx(200)
    late = judged(one(held, lost=frozenset({"node-0-1"})), NOW + 200)
    assert group_of(late.status).nodes == ()
    assert late.queue[0].preferred_nodes == {}


def test_nodes_are_not_held_until_a_clock_that_was_ahead_is_caught_up_with() -> None:
    held = services.group(phase=GroupPhase.WAITING, created=False, queued_at=services.ago(-3600))
    view = judged(one(held, lost=frozenset({"node-0-1"})))
    assert group_of(view.status).queued_at == services.ago(0)
    assert view.requeue_after == pytest.approx(300)


def test_a_node_is_avoided_for_a_while_only() -> None:
    held = waiting(excluded=("bad",), queued_at=services.ago(3500))
    assert judged(one(held)).requeue_after == pytest.approx(100)
    assert group_of(judged(one(held), NOW + 100).status).excluded == ()


def test_groups_that_run_rest_for_good_or_go_ask_for_nothing() -> None:
    failed = services.group(0, phase=GroupPhase.FAILED, nodes=())
    observation = with_groups(
        services.service(), "serve", failed, services.draining(1, nodes=()), services.group(2)
    )
    assert judged(observation) == services.view(observation)


def test_a_class_that_is_not_there_is_looked_for_again() -> None:
    view = judged(one(waiting(), priority=None))
    assert (view.queue, view.requeue_after) == ((), 10)
    assert view.events[0].reason == Reason.NO_PRIORITY_CLASS


def of_yesterday(group):
    """The group's revision asks for what the catalogue does not know any more."""
    observation = one(group)
    was = services.parsed(services.spec(services.role(accelerator={"type": "of-yesterday"})))
    return replace(
        observation, revisions={services.OLD: replace(observation.revisions[services.NEW], spec=was)}
    )


@pytest.mark.parametrize("observed", [one, of_yesterday], ids=["gone", "unknown accelerator"])
def test_a_group_that_can_not_be_made_any_more_makes_room(observed) -> None:
    found = group_of(judged(observed(services.starting(revision=services.OLD))).status)
    assert (found.nodes, found.drain_reason) == ((), DrainReason.REVISION_LOST)
    new = judged(observed(waiting(revision=services.OLD)))
    assert "RevisionLost" in (group_of(new.status).message or "")
    assert (new.queue, group_of(new.status).phase) == ((), GroupPhase.WAITING)


def test_edge_pods_begin_at_once_on_whatever_node_the_scheduler_likes() -> None:
    edge = services.spec(services.role(groupSize=1), profile="edge")
    view = judged(with_groups(services.service(edge), "serve", waiting()))
    group = group_of(view.status)
    assert (group.phase, group.nodes, view.queue) == (GroupPhase.STARTING, ("",), ())


def phases_of_two(prefill, decode, **changes):
    raw = services.spec(services.role("prefill"), services.role("decode", startAfter=["prefill"]))
    observation = with_groups(services.service(raw), "prefill", *prefill)
    return services.view(replace(with_groups(observation, "decode", *decode), **changes))


def test_a_role_waits_for_the_ones_it_starts_after() -> None:
    view = phases_of_two([services.starting()], [waiting()])
    decode = role_spec(view, "decode")
    assert awaited(view, decode) == ("prefill",)
    assert admission(view).queue == ()
    ready = phases_of_two([services.group()], [waiting()])
    assert awaited(ready, decode) == ()
    assert [r.uid for r in admission(ready).queue] == [f"{services.UID}/decode/0"]


def test_a_role_that_has_begun_is_not_held_up_again() -> None:
    view = phases_of_two([services.starting()], [waiting(0), services.group(1)])
    assert awaited(view, role_spec(view, "decode")) == ()


def test_a_role_without_groups_is_not_waited_for() -> None:
    raw = services.spec(services.role("prefill", replicas=0), services.role("decode", startAfter=["prefill"]))
    view = services.view(with_groups(services.service(raw), "decode", waiting()))
    assert awaited(view, role_spec(view, "decode")) == ()


VARIED = services.spec(
    services.role(
        groupSize=1,
        accelerator=H100,
        variants=[{"accelerator": L4, "capacity": 0.25, "maxReplicas": 2}],
    )
)


def test_the_cheapest_variant_for_its_capacity_comes_first() -> None:
    # 0.56 dollars for a quarter of the load against 10.98 for all of it
    view = judged(with_groups(services.service(VARIED), "serve", waiting(queued_at=services.ago(0))))
    assert (group_of(view.status).variant, view.queue, view.requeue_after) == (1, (), 0)
    again = judged(with_groups(services.service(VARIED), "serve", waiting(variant=1)))
    assert again.queue[0].accelerator == "nvidia-l4"
    assert again.requeue_after == pytest.approx(25)


def test_the_next_variant_is_tried_while_there_is_no_place() -> None:
    later = waiting(variant=1, queued_at=services.ago(31))
    view = judged(refused(with_groups(services.service(VARIED), "serve", later)))
    assert (group_of(view.status).variant, view.queue) == (0, ())
    back = waiting(variant=0, queued_at=services.ago(61))
    assert group_of(judged(with_groups(services.service(VARIED), "serve", back)).status).variant == 1


def test_an_answer_is_taken_before_the_next_variant_has_its_turn() -> None:
    later = waiting(variant=1, queued_at=services.ago(31))
    observation = with_groups(services.service(VARIED), "serve", later)
    group = group_of(judged(services.granted(observation, "serve", 0, "a")).status)
    assert (group.variant, group.nodes) == (1, ("a",))


def test_a_variant_that_has_its_groups_takes_no_more() -> None:
    others = [services.group(n, 1, variant=1) for n in range(2)]
    observation = with_groups(services.service(VARIED), "serve", *others, waiting(2))
    view = judged(observation)
    assert group_of(view.status, number=2).variant == 0
    assert view.queue[0].accelerator == "nvidia-h100-80gb"


def test_groups_that_wish_to_be_together_name_the_others_nodes() -> None:
    raw = services.spec(services.role("prefill"), services.role("decode"), scheduling={"together": "block"})
    observation = with_groups(services.service(raw), "prefill", services.group())
    view = services.view(with_groups(observation, "decode", waiting()))
    request = request_of(view, "decode", view.groups("decode")[0])
    assert (request.near, request.near_level) == (("node-0-0", "node-0-1"), "block")
