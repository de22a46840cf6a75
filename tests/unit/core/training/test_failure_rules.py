"""The user's rules: the first that holds, and all of its conditions have to."""

from dataclasses import replace

import pytest

from drumline.api.failure import FailureRule
from drumline.api.reasons import Cause
from drumline.core.gang.types import Node, NodeCondition, Pod, PodPhase, Termination
from drumline.core.training.failure_rules import Facts, matching_rule

_POD = Pod(
    "ns",
    "job-1-0-0",
    "uid",
    phase=PodPhase.FAILED,
    reason="Odd",
    message="the pod says no",
    termination=Termination("train", 42, "Error", "Traceback\nRuntimeError: CUDA error: device-side assert"),
)
_NODE = Node("n", conditions=(NodeCondition("HardwareOk", "False", "XID79"), NodeCondition("Ready", "True")))
_FACTS = Facts(Cause.APPLICATION_EXIT, _POD, _NODE, "worker")


def _rule(**on):
    return FailureRule.model_validate({"name": "r", "action": "Fail", **on})


@pytest.mark.parametrize(
    ("on", "holds"),
    [
        ({"onExitCodes": {"operator": "In", "values": [41, 42]}}, True),
        ({"onExitCodes": {"operator": "In", "values": [41]}}, False),
        ({"onExitCodes": {"operator": "NotIn", "values": [41]}}, True),
        ({"onExitCodes": {"operator": "NotIn", "values": [42]}}, False),
        ({"onExitCodes": {"operator": "In", "values": [42], "containerName": "train"}}, True),
        ({"onExitCodes": {"operator": "In", "values": [42], "containerName": "side"}}, False),
        ({"onReason": "^Odd$"}, True),
        ({"onReason": "^Od$"}, False),
        ({"onMessage": "CUDA error"}, True),
        ({"onMessage": "says no$"}, True),
        ({"onMessage": "HIP error"}, False),
        ({"onNodeCondition": {"type": "HardwareOk", "status": "False"}}, True),
        ({"onNodeCondition": {"type": "HardwareOk", "status": "False", "reason": "XID(48|79)"}}, True),
        ({"onNodeCondition": {"type": "HardwareOk", "status": "False", "reason": "XID13"}}, False),
        ({"onNodeCondition": {"type": "HardwareOk"}}, False),
        ({"onCause": ["ApplicationExit", "Unknown"]}, True),
        ({"onCause": ["Unknown"]}, False),
        ({"onRoles": ["workers"]}, True),
        ({"onRoles": ["loader"]}, False),
        ({"onRoles": ["workers"], "onReason": "nothing"}, False),
    ],
)
def test_a_rule(on, holds):
    assert (matching_rule((_rule(**on),), _FACTS) is not None) is holds


def test_the_first_that_holds():
    rules = tuple(_rule(name=n, onReason=p) for n, p in (("a", "^x"), ("b", "dd"), ("c", "Odd")))
    assert matching_rule(rules, _FACTS).name == "b"
    assert matching_rule((), _FACTS) is None


def test_of_a_pod_that_is_gone_only_the_role_and_the_cause_are_known():
    gone = Facts(Cause.UNKNOWN, None, None, "loader")
    assert matching_rule((_rule(onCause=["Unknown"], onRoles=["loader"]),), gone)
    for on in ({"onReason": ""}, {"onMessage": ""}, {"onNodeCondition": {"type": "Ready"}}):
        assert matching_rule((_rule(**on),), gone) is None
    assert matching_rule((_rule(onExitCodes={"operator": "NotIn", "values": [1]}),), gone) is None


def test_a_container_that_ended_well_has_no_exit_code_to_speak_of():
    well = replace(_POD, termination=Termination("train", 0))
    facts = replace(_FACTS, pod=well)
    assert matching_rule((_rule(onExitCodes={"operator": "NotIn", "values": [1]}),), facts) is None
