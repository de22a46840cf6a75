"""When a pod came how far, as its conditions and containers tell."""

from __future__ import annotations

from typing import Any

from drumline.core.gang.projection import project_pod, timestamp
from drumline.core.gang.types import NO_TIMES, PodTimes

LABELS = {"drumline.dev/job": "llama", "drumline.dev/attempt": "1", "drumline.dev/worker": "0"}
OWNER = {"controller": True, "apiVersion": "drumline.dev/v1alpha1", "kind": "TrainingJob", "uid": "u"}


def at(seconds: int) -> str:
    return f"2026-11-21T12:00:{seconds:02d}Z"


def unix(seconds: int) -> float:
    return timestamp(at(seconds))


def condition(kind: str, seconds: int, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": at(seconds)}


def times(
    conditions: list[dict[str, Any]], containers: tuple[dict[str, Any], ...] = (), **metadata: Any
) -> PodTimes:
    head = {"namespace": "n", "name": "p", "labels": LABELS, "ownerReferences": [OWNER], **metadata}
    status = {"conditions": conditions, "containerStatuses": [{"name": "c", "state": s} for s in containers]}
    return project_pod({"metadata": head, "spec": {}, "status": status}).times


def test_a_pod_of_others_has_none():
    conditions = [condition("Initialized", 1)]
    assert times(conditions, ownerReferences=[]) is NO_TIMES
    assert times([]) is NO_TIMES


def test_images_are_pulled_once_sandbox_and_init_containers_are_done():
    sandbox_late = [condition("Initialized", 1), condition("PodReadyToStartContainers", 3)]
    init_late = [condition("Initialized", 5), condition("PodReadyToStartContainers", 3)]
    no_sandbox = [condition("Initialized", 1), condition("PodReadyToStartContainers", 1, "False")]
    old_kubelet = [condition("Initialized", 1)]
    assert times(sandbox_late).prepared_at == unix(3)
    assert times(init_late).prepared_at == unix(5)
    assert times(no_sandbox).prepared_at == 0
    assert times(old_kubelet).prepared_at == unix(1)
    assert times([condition("Initialized", 1, "False")]).prepared_at == 0


def test_a_pod_has_started_when_all_its_containers_have():
    first, second = {"running": {"startedAt": at(4)}}, {"running": {"startedAt": at(6)}}
    ready = [condition("Initialized", 1), condition("Ready", 7)]
    assert times(ready, (first, {"waiting": {"reason": "ContainerCreating"}})).started_at == 0
    found = times(ready, (first, second))
    assert (found.started_at, found.ready_at, found.ended_at) == (unix(6), unix(7), 0)


def test_a_pod_that_ended_still_says_how_it_began():
    over = {"terminated": {"startedAt": at(4), "finishedAt": at(9), "exitCode": 0}}
    conditions = [
        condition("Initialized", 2),
        condition("PodReadyToStartContainers", 9, "False"),
        condition("Ready", 9, "False"),
    ]
    found = times(conditions, (over,))
    assert found == PodTimes(prepared_at=unix(2), started_at=unix(4), ended_at=unix(9))


def test_deletion_was_asked_for_before_its_grace():
    found = times([], deletionTimestamp=at(40), deletionGracePeriodSeconds=30)
    assert found.deleted_at == unix(10)
