"""Every row of the table of causes holds for something, and what a node says counts."""

from dataclasses import replace

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.failure_table import TABLE, holds
from drumline.core.gang.failures import cause_of, describe, first_failure
from drumline.core.gang.types import Member, Node, NodeCondition, Pod, PodPhase, Taint, Termination

_POD = Pod(
    "ns", "job-1-0-0", "uid", node="n", phase=PodPhase.FAILED, member=Member("job", "u", 1, "worker", 0, 0)
)
_WELL = Node("n", ready=True)
_LEAVING = Node("n", taints=(Taint("cloud.google.com/impending-node-termination", "", "NoSchedule"),))
_MAINTAINED = Node("n", labels={"cloud.google.com/active-node-maintenance": "ONGOING"})
_UNREACHABLE = Node("n", taints=(Taint("node.kubernetes.io/unreachable", "", "NoExecute"),), ready=False)
_FAULTY = Node("n", conditions=(NodeCondition("AcceleratedHardwareReady", "False", "NvidiaXID79Error"),))


def _end(code, reason="Error", message=""):
    return Termination("train", code, reason, message, 10.0)


_GOING = {"deleting": True, "phase": PodPhase.RUNNING}
CASES = [
    ({"disruption": "WorkloadEvictedDueToNodeFailures"}, _WELL, Cause.NODE_LOST),
    ({"disruption": "PreemptionByScheduler"}, None, Cause.PREEMPTED),
    ({"disruption": "DeletionByDeviceTaintManager"}, None, Cause.DEVICE_FAULT),
    ({"disruption": "EvictionByEvictionAPI"}, _LEAVING, Cause.MAINTENANCE),
    ({"disruption": "DeletionByTaintManager"}, _MAINTAINED, Cause.MAINTENANCE),
    ({"disruption": "DeletionByTaintManager"}, _UNREACHABLE, Cause.NODE_LOST),
    ({"disruption": "DeletionByTaintManager"}, _WELL, Cause.EVICTED),
    ({"disruption": "DeletionByPodGC"}, None, Cause.NODE_LOST),
    ({"disruption": "EvictionByEvictionAPI"}, _WELL, Cause.EVICTED),
    ({"reason": "NodeShutdown"}, None, Cause.MAINTENANCE),
    ({"reason": "Evicted", "disruption": "TerminationByKubelet"}, None, Cause.EVICTED),
    ({"reason": "Evicted"}, None, Cause.APPLICATION_EXIT),
    ({"reason": "Odd", "disruption": "TerminationByKubelet"}, None, Cause.MAINTENANCE),
    ({"reason": "NodeLost"}, None, Cause.NODE_LOST),
    ({"reason": "OutOfmemory"}, None, Cause.PLACEMENT_RACE),
    ({"termination": _end(137, "OOMKilled")}, _LEAVING, Cause.OUT_OF_MEMORY),
    ({"termination": _end(128, "StartError")}, None, Cause.CONFIG_ERROR),
    ({"termination": _end(1)}, _FAULTY, Cause.DEVICE_FAULT),
    ({"termination": _end(143)}, _LEAVING, Cause.MAINTENANCE),
    ({"termination": _end(137)}, _MAINTAINED, Cause.MAINTENANCE),
    ({"termination": _end(127)}, None, Cause.CONFIG_ERROR),
    ({"termination": _end(1)}, _WELL, Cause.APPLICATION_EXIT),
    ({"waiting": "ErrImageNeverPull"}, None, Cause.IMAGE_ERROR),
    ({"waiting": "RunContainerError"}, None, Cause.CONFIG_ERROR),
    ({"waiting": "FailedMount"}, None, Cause.CONFIG_ERROR),
    ({"waiting": "FailedCreatePodSandBox"}, None, Cause.PLACEMENT_RACE),
    (_GOING, _LEAVING, Cause.MAINTENANCE),
    (_GOING, replace(_WELL, ready=False), Cause.NODE_LOST),
]


@pytest.mark.parametrize(("facts", "node", "cause"), CASES)
def test_the_cause(facts, node, cause):
    assert cause_of(replace(_POD, **facts), node) is cause


def test_every_row_decides_a_case():
    deciding = [
        next(i for i, row in enumerate(TABLE) if holds(row, replace(_POD, **facts), node))
        for facts, node, _ in CASES
    ]
    assert sorted(deciding) == list(range(len(TABLE)))


@pytest.mark.parametrize(
    ("facts", "node", "cause"),
    [
        ({"termination": _end(1)}, _MAINTAINED, Cause.APPLICATION_EXIT),  # its own error, whatever is planned
        ({"termination": _end(1)}, None, Cause.APPLICATION_EXIT),
        (_GOING, _WELL, Cause.UNKNOWN),
        (_GOING, None, Cause.UNKNOWN),
        ({"disruption": "DeletionByTaintManager"}, None, Cause.NODE_LOST),
        ({"termination": _end(0, "Completed"), **_GOING}, _FAULTY, Cause.UNKNOWN),
    ],
)
def test_what_a_node_does_not_say(facts, node, cause):
    assert cause_of(replace(_POD, **facts), node) is cause


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("WorkloadEvictedDueToPreempted", Cause.PREEMPTED),
        ("WorkloadEvicted", Cause.PREEMPTED),
        ("NotAdmitted", Cause.PREEMPTED),
        ("WorkloadDeleted", Cause.EVICTED),
    ],
)
def test_what_kueue_says_counts_before_how_the_program_then_ended(reason, cause):
    assert cause_of(replace(_POD, disruption=reason, termination=_end(143)), _WELL) is cause


def test_a_label_that_says_false_says_nothing():
    node = Node("n", labels={"cloud.google.com/active-node-maintenance": "False"})
    assert cause_of(replace(_POD, termination=_end(143)), node) is Cause.APPLICATION_EXIT


def test_a_faulty_node_counts_before_the_errors_of_its_peers():
    peer = replace(_POD, name="job-1-0-1", node="other", termination=_end(1))
    own = replace(_POD, termination=replace(_end(1), finished_at=20.0))
    assert first_failure([peer, own], {"n": _FAULTY}) is own
    assert first_failure([peer, own]) is peer


def test_words():
    waiting = replace(_POD, phase=PodPhase.PENDING, waiting="ErrImagePull", waiting_message="not found")
    assert describe(waiting) == "ImageError: pod job-1-0-0 on node n: ErrImagePull: not found"
    assert describe(replace(_POD, termination=_end(1)), _FAULTY).startswith("DeviceFault: container train")
