"""Entries for missing groups, and the mark on those too many."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.core.inference.policies.scale import scale
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NEW, OLD


def scaled(observation: services.Observation) -> View:
    return scale(services.view(observation))


def test_missing_groups_get_entries_before_anything_else() -> None:
    view = scaled(services.service(services.spec(services.role(replicas=2))))
    assert [(g.id, g.revision, g.phase, g.attempt) for g in view.groups("serve")] == [
        (0, NEW, GroupPhase.WAITING, 0),
        (1, NEW, GroupPhase.WAITING, 0),
    ]
    assert view.groups("serve")[0].queued_at == services.ago(0)
    assert view.role("serve").next_group == 2
    assert view.status_first
    assert view.actions == ()


def test_nothing_to_do_changes_nothing() -> None:
    observation = services.serving()
    view = scaled(observation)
    assert view.status == observation.status
    assert not view.status_first


def test_numbers_are_never_used_again() -> None:
    observation = services.with_groups(services.service(), "serve", services.draining(7))
    view = scaled(observation)
    assert [g.id for g in view.groups("serve")] == [7, 8]


def test_a_surplus_group_is_taken_out_of_service_and_said_to_be() -> None:
    view = scaled(services.serving(count=2))
    kept, going = view.groups("serve")
    assert (kept.phase, kept.draining_since) == (GroupPhase.SERVING, None)
    assert (going.phase, going.draining_since, going.drain_reason) == (
        GroupPhase.DRAINING,
        services.ago(0),
        "ScaledDown",
    )
    assert going.nodes
    assert view.status_first


def test_a_draining_group_counts_for_nothing() -> None:
    observation = services.with_groups(services.service(), "serve", services.draining(0))
    assert [g.id for g in scaled(observation).groups("serve")] == [0, 1]


def test_a_leader_that_is_not_ready_now_is_not_relied_on() -> None:
    observation = services.old_revision(services.serving(count=2))
    old = services.group(0, revision=OLD)
    observation = services.with_groups(observation, "serve", old, services.group(1))
    blinking = services.with_pod(observation, "serve", 1, 0, lambda p: replace(p, ready=False))
    assert not any(g.draining_since for g in scaled(blinking).groups("serve"))
    assert [bool(g.draining_since) for g in scaled(observation).groups("serve")] == [True, False]


def test_suspension_takes_everything_out() -> None:
    observation = services.serving(services.service(services.spec(suspend=True)))
    (group,) = scaled(observation).groups("serve")
    assert (group.phase, group.drain_reason) == (GroupPhase.DRAINING, "SuspendedBySpec")


def test_a_paused_rollout_scales_with_the_current_revision() -> None:
    raw = services.spec(services.role(replicas=3), rollout={"paused": True})
    observation = services.old_revision(services.service(raw))
    groups = (services.group(0, revision=OLD), services.group(1))
    observation = services.with_groups(observation, "serve", *groups)
    view = scaled(observation)
    assert [(g.id, g.revision, bool(g.draining_since)) for g in view.groups("serve")] == [
        (0, OLD, False),
        (1, NEW, False),
        (2, OLD, False),
    ]


def test_a_refused_revision_goes_and_the_current_one_comes_back() -> None:
    observation = services.old_revision(services.serving(count=1))
    record = observation.status.rollout.model_copy(update={"refused": NEW, "revision": NEW})
    observation = replace(observation, status=observation.status.model_copy(update={"rollout": record}))
    view = scaled(observation)
    assert [(g.revision, bool(g.draining_since)) for g in view.groups("serve")] == [
        (NEW, False),
        (OLD, False),
    ]


def test_a_lost_current_revision_is_not_made_up() -> None:
    raw = services.spec(services.role(replicas=2), rollout={"partition": 1})
    observation = services.service(raw)
    status = observation.status.model_copy(update={"current_revision": OLD})
    view = scaled(replace(observation, status=status))
    assert [g.revision for g in view.groups("serve")] == [NEW, NEW]


def test_a_rollout_lets_go_of_no_group_because_all_nodes_are_silent_for_a_moment() -> None:
    """As when the control plane is cut off from them: every leader is not ready, and none has failed."""
    groups = [services.group(n, revision=OLD, phase=GroupPhase.STARTING) for n in range(3)]
    observation = services.serving(services.service(services.spec(services.role(replicas=3))), count=3)
    observation = services.with_groups(services.old_revision(observation), "serve", *groups)
    for number in range(3):
        observation = services.with_pod(
            observation, "serve", number, 0, lambda p: replace(p, ready=False, able=False)
        )
    silent = replace(observation, lost=frozenset(n for g in groups for n in g.nodes))
    assert [g.phase for g in scaled(silent).groups("serve")[:3]] == [GroupPhase.STARTING] * 3
    broken = [g.phase for g in scaled(observation).groups("serve")[:3]]
    assert broken == [GroupPhase.DRAINING] * 3, "what fails on nodes that are well is replaced at once"
