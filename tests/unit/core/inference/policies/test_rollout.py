"""Where a rollout stands, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.inference_status import GroupStatus, RolloutPhase, RolloutStatus
from drumline.api.meta import ANNOTATION_PROMOTE
from drumline.api.reasons import ServiceCondition
from drumline.core.inference.policies.rollout import rollout
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NEW, OLD

CANARY = {"canary": {"replicas": 1}}
BEGUN = RolloutStatus(phase=RolloutPhase.ROLLING, revision=NEW, since=services.ago(60), promoted=NEW)


def rolling(
    *groups: GroupStatus, replicas: int = 2, record: RolloutStatus = BEGUN, **rules: Any
) -> services.Observation:
    """A rollout from OLD to NEW with these groups; those in service have their pods."""
    raw = services.spec(services.role(replicas=replicas), rollout=rules)
    observation = services.old_revision(services.service(raw))
    observation = services.with_groups(observation, "serve", *groups)
    for each in groups:
        if each.ready_at:
            up = services.in_service(services.pods_of("serve", each))
            observation = services.with_pods(observation, "serve", each.id, up)
    return replace(observation, status=observation.status.model_copy(update={"rollout": record}))


def old(number: int) -> GroupStatus:
    return services.group(number, revision=OLD)


def told(view: View) -> tuple[str, str]:
    return services.reason(view.status, ServiceCondition.ROLLOUT_COMPLETE)


def run(observation: services.Observation) -> View:
    return rollout(services.view(observation))


def test_the_first_revision_is_no_rollout() -> None:
    view = run(services.service())
    assert view.status.rollout.phase is RolloutPhase.COMPLETE
    assert view.status.rollout.revision == NEW
    assert told(view) == ("True", "RolledOut")
    assert view.events == ()


def test_a_new_revision_begins_one() -> None:
    done = RolloutStatus(revision=OLD, refused=OLD, message="old news", promoted=OLD)
    view = run(rolling(old(0), old(1), record=done))
    found = view.status.rollout
    assert (found.phase, found.revision, found.since) == (RolloutPhase.ROLLING, NEW, services.ago(0))
    assert (found.promoted, found.refused, found.message) == (NEW, None, None)
    assert told(view) == ("False", "RollingOut")
    assert [(e.reason, e.message) for e in view.events] == [
        ("RollingOut", f"revision {NEW}: serve 0/2 in service, 2 others")
    ]


def test_one_under_way_says_nothing_twice() -> None:
    view = run(rolling(old(0), services.group(1)))
    assert view.events == ()
    assert run(replace(rolling(old(0), services.group(1)), status=view.status)).status == view.status


def test_it_is_over_when_all_groups_are_new_and_in_service() -> None:
    assert run(rolling(services.group(0), services.starting(1))).status.current_revision == OLD
    assert run(rolling(services.group(0), services.group(1), old(2))).status.current_revision == OLD
    view = run(rolling(services.group(0), services.group(1), services.draining(2, revision=OLD)))
    assert view.status.current_revision == NEW
    assert view.status.rollout.phase is RolloutPhase.COMPLETE
    assert told(view) == ("True", "RolledOut")
    assert [e.reason for e in view.events] == ["RolledOut"]


def test_a_complete_one_stays_so_when_a_group_restarts() -> None:
    observation = services.with_groups(services.service(), "serve", services.starting(0))
    record = RolloutStatus(revision=NEW, since=services.ago(60))
    observation = replace(observation, status=observation.status.model_copy(update={"rollout": record}))
    view = run(observation)
    assert view.status.rollout.phase is RolloutPhase.COMPLETE
    assert view.events == ()


def test_a_partition_keeps_it_open() -> None:
    view = run(rolling(services.group(0), old(1), partition=1))
    assert view.status.rollout.phase is RolloutPhase.ROLLING
    assert view.status.current_revision == OLD


def test_paused() -> None:
    view = run(rolling(services.group(0), old(1), paused=True))
    assert view.status.rollout.phase is RolloutPhase.PAUSED
    assert told(view) == ("False", "RolloutPaused")


def test_a_canary_is_one_phase_of_it() -> None:
    record = RolloutStatus(revision=NEW, since=services.ago(60))
    view = run(rolling(old(0), old(1), record=record, **CANARY))
    assert view.status.rollout.phase is RolloutPhase.CANARY
    assert view.status.rollout.promoted is None
    assert told(view) == ("False", "CanaryUnderway")


def test_a_canary_asked_for_in_the_middle_comes_too_late() -> None:
    view = run(rolling(old(0), services.group(1), **CANARY))
    assert view.status.rollout.phase is RolloutPhase.ROLLING


def test_a_canary_taken_out_of_the_spec_is_promoted() -> None:
    record = RolloutStatus(phase=RolloutPhase.CANARY, revision=NEW, since=services.ago(60))
    view = run(rolling(old(0), old(1), record=record))
    assert view.status.rollout.promoted == NEW
    assert view.status.rollout.phase is RolloutPhase.ROLLING


def annotated(observation: services.Observation, revision: str) -> services.Observation:
    meta = replace(observation.service, annotations={ANNOTATION_PROMOTE: revision})
    return replace(observation, service=meta)


def test_a_person_promotes_by_annotation() -> None:
    record = RolloutStatus(phase=RolloutPhase.CANARY, revision=NEW, since=services.ago(60))
    observation = rolling(old(0), old(1), record=record, **CANARY)
    assert run(annotated(observation, OLD)).status.rollout.promoted is None
    view = run(annotated(observation, NEW))
    assert view.status.rollout.promoted == NEW
    assert [e.reason for e in view.events] == ["Promoted", "RollingOut"]


def test_a_person_takes_back_a_refusal() -> None:
    record = RolloutStatus(phase=RolloutPhase.ROLLED_BACK, revision=NEW, refused=NEW, message="too slow")
    observation = rolling(old(0), old(1), record=record, **CANARY)
    refused = run(observation)
    assert refused.status.rollout.phase is RolloutPhase.ROLLED_BACK
    assert told(refused) == ("False", "RolledBack")
    view = run(annotated(observation, NEW))
    assert (view.status.rollout.refused, view.status.rollout.promoted) == (None, NEW)
    assert view.status.rollout.phase is RolloutPhase.ROLLING


def test_a_refusal_outlasts_the_canarys_removal_from_the_spec() -> None:
    record = RolloutStatus(phase=RolloutPhase.ROLLED_BACK, revision=NEW, refused=NEW, message="too slow")
    assert run(rolling(old(0), old(1), record=record)).status.rollout.refused == NEW


def test_the_way_back_to_the_current_revision_ends_with_the_last_of_the_others() -> None:
    observation = services.with_groups(services.service(), "serve", services.group(0), old(1))
    record = RolloutStatus(phase=RolloutPhase.ROLLING, revision=OLD)
    observation = replace(observation, status=observation.status.model_copy(update={"rollout": record}))
    back = run(observation)
    assert back.status.rollout.phase is RolloutPhase.ROLLING
    only = services.with_groups(replace(observation, status=back.status), "serve", services.group(0))
    assert run(only).status.rollout.phase is RolloutPhase.COMPLETE
