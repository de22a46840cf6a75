"""Each failed pod has one cause, and the first failed rank is the one that counts."""

from dataclasses import replace

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.failures import cause_of, first_failure
from drumline.core.gang.types import Member, Pod, PodPhase, Termination


def _pod(worker=0, **changes):
    base = Pod(
        "ns",
        f"job-1-0-{worker}",
        f"uid-{worker}",
        phase=PodPhase.FAILED,
        member=Member("job", "u", 1, "worker", 0, worker),
    )
    return replace(base, **changes)


def _end(code, reason="Error", at=10.0):
    return Termination("train", code, reason, "", at)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"termination": _end(1)}, Cause.APPLICATION_EXIT),
        ({"termination": _end(137, "OOMKilled")}, Cause.OUT_OF_MEMORY),
        ({"termination": _end(128, "StartError")}, Cause.CONFIG_ERROR),
        ({"disruption": "PreemptionByScheduler", "termination": _end(143)}, Cause.PREEMPTED),
        ({"disruption": "DeletionByTaintManager"}, Cause.NODE_LOST),
        ({"disruption": "DeletionByDeviceTaintManager"}, Cause.DEVICE_FAULT),
        ({"disruption": "EvictionByEvictionAPI"}, Cause.EVICTED),
        ({"disruption": "DeletionByPodGC"}, Cause.NODE_LOST),
        ({"disruption": "TerminationByKubelet", "reason": "Evicted"}, Cause.EVICTED),
        ({"disruption": "TerminationByKubelet", "reason": "Terminated"}, Cause.MAINTENANCE),
        ({"reason": "NodeShutdown"}, Cause.MAINTENANCE),
        ({"reason": "Preempting", "disruption": "TerminationByKubelet"}, Cause.EVICTED),
        ({"reason": "Evicted"}, Cause.APPLICATION_EXIT),
        ({"reason": "NodeLost"}, Cause.NODE_LOST),
        ({"reason": "OutOfcpu"}, Cause.PLACEMENT_RACE),
        ({"reason": "OutOfnvidia.com/gpu"}, Cause.PLACEMENT_RACE),
        ({"reason": "UnexpectedAdmissionError"}, Cause.PLACEMENT_RACE),
        ({"waiting": "ImagePullBackOff"}, Cause.IMAGE_ERROR),
        ({"waiting": "CreateContainerConfigError"}, Cause.CONFIG_ERROR),
        ({"deleting": True, "phase": PodPhase.RUNNING}, Cause.UNKNOWN),
        ({}, Cause.UNKNOWN),
    ],
)
def test_one_cause(facts, cause):
    assert cause_of(_pod(**facts)) is cause


def test_the_earliest_end_is_the_first_failure():
    late, early = _pod(0, termination=_end(1, at=20.0)), _pod(1, termination=_end(2, at=10.0))
    assert first_failure([late, early]) is early


def test_lost_infrastructure_counts_before_the_errors_of_its_peers():
    peer = _pod(0, termination=_end(1, at=5.0))
    lost = _pod(1, disruption="DeletionByTaintManager", phase=PodPhase.RUNNING, deleting=True)
    assert first_failure([peer, lost]) is lost


def test_among_equals_the_lowest_rank():
    pods = [_pod(i, termination=_end(1, at=7.0)) for i in (3, 1, 2)]
    assert first_failure(pods).member.worker == 1


def test_no_failure_is_an_error():
    with pytest.raises(ValueError, match="no pod failed"):
        first_failure([])
