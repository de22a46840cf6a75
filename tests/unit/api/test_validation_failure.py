"""`failurePolicy`: what is refused, where, and with which words; and that its defaults are what they were."""

import pytest

from drumline.api.failure import MAX_RULES, FailurePolicy
from drumline.api.reasons import Cause
from tests.unit.api.specs import errors_of, spec, template

_HELPER = {"name": "loader", "template": template()}
_ON = {"onCause": ["Unknown"]}


def _rule(**fields):
    return {"helpers": [_HELPER], "failurePolicy": {"rules": [{"name": "a", "action": "Fail", **fields}]}}


def _budget(**fields):
    return {"failurePolicy": {"budgets": [{"cause": "NodeLost", "maxRestarts": 1, **fields}]}}


_RULES = "spec.failurePolicy.rules[0]"
REFUSED = [
    (_rule(), _RULES, "given no condition; allowed: one at least of onRoles"),
    (_rule(action="Ignore", **_ON), f"{_RULES}.onRoles", "given nothing with action Ignore"),
    (_rule(action="Ignore", onRoles=["loader", "workers"]), f"{_RULES}.onRoles", "names of helpers"),
    (_rule(onRoles=["ghost"]), f"{_RULES}.onRoles", "given 'ghost'; allowed: workers, loader"),
    (_rule(onReason="(a+)+("), f"{_RULES}.onReason", "allowed: a regular expression of"),
    (_rule(onMessage="\\bword\\b"), f"{_RULES}.onMessage", "unknown escape"),
    (_rule(onMessage="a{200}"), f"{_RULES}.onMessage", "more than 128 characters"),
    (_rule(onNodeCondition={"type": "X", "reason": "["}), f"{_RULES}.onNodeCondition.reason", "missing ]"),
    (_rule(onCause=["GangTimeout"]), f"{_RULES}.onCause", "no failure"),
    (_rule(cause="GangTimeout", **_ON), f"{_RULES}.cause", "no failure"),
    (_rule(onExitCodes={"operator": "In", "values": [0]}), f"{_RULES}.onExitCodes.values[0]", "at least 1"),
    (_rule(onExitCodes={"operator": "In", "values": []}), f"{_RULES}.onExitCodes.values", "given"),
    (_rule(action="Explode", **_ON), f"{_RULES}.action", "Fail"),
    (
        {"failurePolicy": {"restartStrategy": "Inplace"}},
        "spec.failurePolicy.restartStrategy",
        "'Recreate' or 'InPlace'",
    ),
    ({"failurePolicy": {"hang": {"floorSeconds": 0}}}, "spec.failurePolicy.hang.floorSeconds", "at least 30"),
    ({"failurePolicy": {"hang": {"action": "Off"}}}, "spec.failurePolicy.hang.action", "Ignore"),
    (_budget(cause="GangTimeout"), "spec.failurePolicy.budgets[0].cause", "no restart"),
    (_budget(maxRestarts=32, windowSeconds=9), "spec.failurePolicy.budgets[0].maxRestarts", "at most 31"),
    (
        {"failurePolicy": {"rules": [{"name": "a", "action": "Fail", **_ON}] * 2}},
        "spec.failurePolicy.rules[1].name",
        "given 'a' again",
    ),
    (
        {"failurePolicy": {"budgets": [{"cause": "Unknown", "maxRestarts": 1}] * 2}},
        "spec.failurePolicy.budgets[1].cause",
        "given 'Unknown' again",
    ),
]


ACCEPTED = [
    _rule(onExitCodes={"operator": "NotIn", "values": [1, 255], "containerName": "train"}),
    _rule(action="Ignore", onRoles=["loader"]),
    _rule(action="RestartInPlace", **_ON),
    {"failurePolicy": {"restartStrategy": "InPlace"}},
    _rule(action="ReplaceNode", cause="DeviceFault", onMessage="(?i)xid (48|79)", onReason="^Error$"),
    _rule(onNodeCondition={"type": "X", "status": "Unknown", "reason": "^NvidiaXID"}),
    _budget(maxRestarts=31, windowSeconds=3600),
    _budget(maxRestarts=10000),
    _budget(cause="Hang"),
    {"failurePolicy": {"hang": {"floorSeconds": 30, "factor": 2, "action": "Ignore"}}},
    {"failurePolicy": {"rules": [{"name": f"r{i}", "action": "Requeue", **_ON} for i in range(MAX_RULES)]}},
]


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED)
def test_refused(fields, path, words):
    messages = {error.path: error.message for error in errors_of(**fields)}
    assert path in messages, messages
    assert words in messages[path]


@pytest.mark.parametrize("fields", ACCEPTED)
def test_accepted(fields):
    assert not errors_of(**fields)


def test_defaults():
    policy = spec().failure_policy
    assert policy == FailurePolicy()
    assert (policy.max_restarts, policy.backoff.initial_seconds, policy.backoff.max_seconds) == (10, 10, 600)
    assert (policy.backoff.reset_after_seconds, policy.image_pull_grace_seconds) == (600, 600)
    assert policy.budget_of(Cause.UNKNOWN) is None
    assert (policy.hang.floor_seconds, policy.hang.factor, policy.hang.action) == (300, 10, "Restart")
