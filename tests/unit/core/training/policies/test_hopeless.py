"""What no restart cures ends the job, with advice; what another attempt may cure does not."""

from dataclasses import replace

import pytest

from drumline.api.reasons import ConditionType
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.types import PodPhase
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

_SIZED = {
    "spec": {
        "containers": [
            {
                "name": "train",
                "image": "example.org/train:1",
                "resources": {"limits": {"memory": "64Gi"}, "requests": {"memory": "32Gi"}},
            }
        ]
    }
}
_POLICY = {"maxRestarts": 9, "backoff": {"initialSeconds": 10, "resetAfterSeconds": 600}}


def _running(**policy):
    return jobs.running(jobs.job(jobs.spec(template=_SIZED, failurePolicy={**_POLICY, **policy})))


def _after(observation, now):
    plan = decide(observation, now)
    written = jobs.written(plan)
    status = TrainingJobStatus.model_validate(written) if written is not None else observation.status
    return plan, status


def _verdict(status):
    return jobs.reason(status, ConditionType.FAILED)[1]


def _message(status):
    return next(c.message for c in status.conditions if c.type == "Failed")


def _out_of_memory_again(observation, ran=50, rank=3):
    """The status after rank 3 and then `rank` ran out of memory, the second time after so many seconds."""
    first = jobs.with_pod(observation, 3, lambda p: jobs.failed(p, 137, "OOMKilled", at=NOW + 9))
    _, status = _after(first, NOW + 10)
    again = jobs.begun_again(replace(observation, status=status, pods={}), NOW + 30)
    again = jobs.settled(again, NOW + 30)
    now = NOW + 30 + ran
    second = jobs.with_pod(again, rank, lambda p: jobs.failed(p, 137, "OOMKilled", at=now))
    return _after(second, now)[1]


def test_the_same_rank_out_of_memory_twice():
    status = _out_of_memory_again(_running())
    assert _verdict(status) == "OutOfMemoryRepeated"
    text = _message(status)
    assert "rank 3 (slice 1, worker 1) ran out of memory in attempts 1 and 2" in text
    assert "limit is 64Gi" in text
    assert "request 32Gi" in text
    assert status.attempts[-1].action == "Fail"


def test_another_rank_or_a_stable_run_is_tried_again():
    assert _verdict(_out_of_memory_again(_running(), rank=1)) == ""
    assert _verdict(_out_of_memory_again(_running(), ran=700)) == ""


@pytest.mark.parametrize(
    "policy",
    [
        {"budgets": [{"cause": "OutOfMemory", "maxRestarts": 5}]},
        {"rules": [{"name": "again", "action": "RestartGang", "onCause": ["OutOfMemory"]}]},
    ],
)
def test_the_users_word_takes_its_place(policy):
    assert _verdict(_out_of_memory_again(_running(**policy))) == ""


@pytest.mark.parametrize(
    ("code", "reason", "message", "verdict"),
    [
        (127, "Error", "", "CommandNotFound"),
        (128, "StartError", 'exec: "trian": executable file not found in $PATH', "CommandNotFound"),
        (128, "StartError", "context deadline exceeded", ""),
        (1, "Error", "executable file not found", ""),
    ],
)
def test_a_command_that_is_not_there(code, reason, message, verdict):
    def fail(pod):
        pod = jobs.failed(pod, code, reason)
        return replace(pod, termination=replace(pod.termination, message=message))

    _, status = _after(jobs.with_pod(_running(), 0, fail), NOW + 5)
    assert _verdict(status) == verdict


def test_a_command_that_was_there_is_tried_again():
    observation = jobs.with_pod(_running(), 0, lambda p: jobs.failed(p, 127))
    assert _verdict(_after(observation, NOW + 601)[1]) == ""


def _waiting(pod, reason="ImagePullBackOff"):
    return replace(pod, bound=True, bound_at=NOW, waiting=reason, waiting_message="no such thing")


def _starting(reason="ImagePullBackOff", **policy):
    observation = jobs.begun(jobs.job(jobs.spec(failurePolicy={**_POLICY, **policy})))
    observation = jobs.with_pods(observation, lambda p: _waiting(p, reason))
    return jobs.settled(observation, NOW)


@pytest.mark.parametrize(
    ("reason", "grace", "verdict"),
    [
        ("ImagePullBackOff", 600, "ImageUnavailable"),
        ("ErrImageNeverPull", 600, "ImageUnavailable"),
        ("CreateContainerConfigError", 30, "ConfigurationMissing"),
        ("FailedMount", 600, "VolumeUnavailable"),
        ("FailedAttachVolume", 600, "VolumeUnavailable"),
    ],
)
def test_what_is_missing_has_a_grace(reason, grace, verdict):
    observation = _starting(reason)
    plan, status = _after(observation, NOW + grace - 1)
    assert (_verdict(status), plan.requeue_after) == ("", 1)
    _, status = _after(observation, NOW + grace)
    assert _verdict(status) == verdict
    assert f"{reason}: no such thing" in _message(status)
    assert (status.attempts[-1].rank, status.placement) == (0, None)


def test_a_name_that_is_none_has_no_grace():
    _, status = _after(_starting("InvalidImageName"), NOW)
    assert _verdict(status) == "ImageUnavailable"
    assert "Correct the name" in _message(status)


def test_the_grace_starts_over_when_nothing_waits():
    observation = _starting(imagePullGraceSeconds=20)
    assert observation.status.stalled_since is not None
    pulling = jobs.with_pods(observation, lambda p: replace(p, waiting=""))
    pulling = jobs.settled(pulling, NOW + 10)
    assert pulling.status.stalled_since is None
    again = jobs.settled(jobs.with_pods(pulling, _waiting), NOW + 15)
    assert _verdict(_after(again, NOW + 34)[1]) == ""
    assert _verdict(_after(again, NOW + 35)[1]) == "ImageUnavailable"


@pytest.mark.parametrize("waiting", ["ImagePullBackOff", "FailedMount"])
def test_what_others_have_replaces_the_node(waiting):
    observation = _starting(waiting, imagePullGraceSeconds=20)
    observation = jobs.with_pod(observation, 1, lambda p: replace(p, waiting="", phase=PodPhase.RUNNING))
    _, status = _after(observation, NOW + 20)
    assert (_verdict(status), status.attempts[-1].action) == ("", "ReplaceNode")
    assert [n.name for n in status.excluded_nodes] == ["node-0"]
    assert status.stalled_since is None


def test_a_node_that_makes_no_sandbox_is_replaced():
    observation = _starting("FailedCreatePodSandBox")
    assert _after(observation, NOW + 119)[1].attempts[-1].cause is None
    _, status = _after(observation, NOW + 120)
    assert (_verdict(status), status.attempts[-1].action) == ("", "ReplaceNode")
    assert status.attempts[-1].cause == "PlacementRace"


def test_a_rule_may_requeue_what_stalls():
    rules = [{"name": "registry", "action": "Requeue", "onCause": ["ImageError"]}]
    _, status = _after(_starting(imagePullGraceSeconds=0, rules=rules), NOW)
    assert (_verdict(status), status.attempts[-1].action) == ("", "Requeue")
