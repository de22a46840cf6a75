"""Pods of attempts that are over go, all at once; entries go after the last pod."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.core.gang.types import PodPhase
from drumline.core.inference import groups
from drumline.core.inference.policies.retire import BROKEN_SECONDS, retire
from tests.unit.core.inference import services
from tests.unit.core.inference.services import deleted, group_of, with_groups


def test_pods_of_the_running_attempt_stay() -> None:
    assert retire(services.view(services.serving(count=2))).actions == ()


def test_pods_of_an_attempt_that_ended_go() -> None:
    backoff = services.group(phase=GroupPhase.BACKOFF, created=False)
    observation = with_groups(services.serving(count=2), "serve", backoff, services.group(1))
    assert deleted(retire(services.view(observation))) == ["chat-serve-1-0-0", "chat-serve-1-0-1"]


def test_a_failed_attempt_gets_no_time_to_finish_requests_and_a_drained_one_does() -> None:
    backoff = services.group(phase=GroupPhase.BACKOFF, created=False)
    over = services.group(1, phase=GroupPhase.DRAINING, draining_since=services.ago(9), nodes=())
    observation = with_groups(services.serving(count=2), "serve", backoff, over)
    graces = {a.name: a.grace_seconds for stage in retire(services.view(observation)).actions for a in stage}
    assert {graces["chat-serve-1-0-0"], graces["chat-serve-1-0-1"]} == {BROKEN_SECONDS}
    assert graces["chat-serve-1-1-0"] is None


def test_workers_of_a_drained_group_go_after_their_leader() -> None:
    """Its engine may still have to answer what its metrics, if it has any, did not tell of."""
    observation = with_groups(services.serving(), "serve", services.draining(nodes=()))
    assert deleted(retire(services.view(observation))) == ["chat-serve-1-0-0"]
    leader, worker = observation.pods["serve", 0]
    ending = replace(leader, deleting=True, deleting_until=services.NOW + 40)
    assert deleted(retire(services.view(services.with_pods(observation, "serve", 0, [ending, worker])))) == []
    alone = services.with_pods(observation, "serve", 0, [worker])
    assert deleted(retire(services.view(alone))) == ["chat-serve-1-0-1"]


def test_workers_of_a_leader_that_is_evicted_stay_until_it_has_ended() -> None:
    backoff = services.group(phase=GroupPhase.BACKOFF, created=False)
    observation = with_groups(services.serving(), "serve", backoff)
    for until, gone in ((services.NOW + 40, []), (services.NOW, ["chat-serve-1-0-1"])):
        evicted = services.with_pod(
            observation, "serve", 0, 0, lambda p, until=until: replace(p, deleting=True, deleting_until=until)
        )
        view = retire(services.view(evicted))
        assert deleted(view) == gone
        assert view.requeue_after == (None if gone else 40)
    ended = services.with_pod(
        observation, "serve", 0, 0, lambda p: replace(p, deleting=True, phase=PodPhase.SUCCEEDED)
    )
    assert deleted(retire(services.view(ended))) == ["chat-serve-1-0-1"]


def test_pods_of_an_earlier_attempt_go_while_a_later_one_runs() -> None:
    observation = with_groups(services.serving(), "serve", services.starting(attempt=2))
    assert deleted(retire(services.view(observation))) == ["chat-serve-1-0-0", "chat-serve-1-0-1"]


def test_pods_that_belong_to_no_group_go() -> None:
    observation = with_groups(services.serving(), "serve")
    assert len(deleted(retire(services.view(observation)))) == 2


def test_what_is_deleted_already_is_not_deleted_again() -> None:
    observation = with_groups(services.serving(), "serve")
    observation = services.with_pod(observation, "serve", 0, 0, services.deleting)
    view = services.view(observation)
    view = view.act(*groups.deletions(observation.pods["serve", 0]))
    assert deleted(retire(view)) == ["chat-serve-1-0-1"]


def test_the_entry_of_a_finished_group_goes_after_its_pods() -> None:
    observation = with_groups(services.serving(), "serve", services.draining(nodes=()))
    view = retire(services.view(observation))
    assert deleted(view)
    assert group_of(view.status).id == 0
    gone = retire(services.view(services.with_pods(observation, "serve", 0, [])))
    assert gone.groups("serve") == ()
    assert gone.role("serve").next_group == 1


def test_a_group_that_waits_keeps_its_entry() -> None:
    observation = with_groups(services.service(), "serve", services.waiting())
    assert group_of(retire(services.view(observation)).status).phase is GroupPhase.WAITING
