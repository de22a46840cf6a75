"""Events that say why a pod does not start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.failures import cause_of
from drumline.core.gang.hindrances import Hindrance, hindered, project_event
from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import Pod, PodPhase

POD = Pod("default", "p", "u", node="n", bound=True, unprepared=True)


def event(reason: str, at: float = 1.0, message: str = "why") -> Hindrance:
    return Hindrance("default", "p", "u", reason, message, at)


def raw(reason: str, **more: object) -> dict[str, object]:
    about = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
    return {
        "metadata": {"creationTimestamp": "1970-01-01T00:00:01Z"},
        "involvedObject": about,
        "reason": reason,
        "message": "why",
        **more,
    }


def test_what_is_kept_of_an_event() -> None:
    assert project_event(raw("FailedMount")) == event("FailedMount")
    late = raw("FailedMount", lastTimestamp="1970-01-01T00:00:05Z")
    assert project_event(late) == event("FailedMount", 5.0)
    series = {**late, "series": {"count": 9, "lastObservedTime": "1970-01-01T00:00:09.000000Z"}}
    assert project_event(series) == event("FailedMount", 9.0)
    assert project_event(raw("Pulled")) is None
    assert project_event(raw("FailedMount", involvedObject={"kind": "Node", "name": "n"})) is None


def test_the_latest_counts_as_what_the_pod_waits_for() -> None:
    seen = hindered(POD, [event("FailedAttachVolume", 3.0, "a"), event("FailedMount", 2.0, "b")])
    assert (seen.waiting, seen.waiting_message) == ("FailedAttachVolume", "a")
    assert hindered(POD, []) is POD


@pytest.mark.parametrize(
    "pod",
    [
        replace(POD, unprepared=False),
        replace(POD, waiting="ErrImagePull"),
        replace(POD, phase=PodPhase.FAILED),
        replace(POD, deleting=True),
    ],
)
def test_a_pod_that_got_further_is_not_hindered_by_an_old_event(pod: Pod) -> None:
    assert hindered(pod, [event("FailedMount")]) == pod


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("FailedMount", Cause.CONFIG_ERROR),
        ("FailedAttachVolume", Cause.CONFIG_ERROR),
        ("FailedCreatePodSandBox", Cause.PLACEMENT_RACE),
    ],
)
def test_each_has_its_cause(reason: str, cause: Cause) -> None:
    assert cause_of(hindered(POD, [event(reason)])) is cause


@pytest.mark.parametrize(
    ("status", "node", "unprepared"),
    [("False", "n", True), ("True", "n", False), ("False", "", False), ("", "n", False)],
)
def test_only_a_bound_pod_without_a_sandbox_is_unprepared(status: str, node: str, unprepared: bool) -> None:
    found = [{"type": "PodReadyToStartContainers", "status": status}] if status else []
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": node}, "status": {"conditions": found}}
    assert project_pod(pod).unprepared is unprepared
