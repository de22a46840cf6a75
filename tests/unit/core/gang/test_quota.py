"""A gang that a namespace's quota can't hold whole is not begun."""

import pytest

from drumline.core.gang.projection_shape import shape_of
from drumline.core.gang.quota import check_quota

POD = {
    "metadata": {"name": "p"},
    "spec": {
        "priorityClassName": "drumline-worker",
        "containers": [
            {
                "name": "a",
                "resources": {
                    "requests": {"cpu": "500m"},
                    "limits": {"memory": "1Gi", "nvidia.com/gpu": "8"},
                },
            }
        ],
    },
}


def _roles(count=8):
    return [(POD, shape_of(POD["spec"]), count)]


def _quota(hard, used=None, **spec):
    return {
        "metadata": {"name": "team"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


@pytest.mark.parametrize(
    ("hard", "used", "message"),
    [
        ({"pods": "7"}, {}, "pods: the gang needs 8, 7 are free"),
        ({"count/pods": "10"}, {"count/pods": "3"}, "count/pods: the gang needs 8, 7 are free"),
        ({"requests.nvidia.com/gpu": "60"}, {}, "requests.nvidia.com/gpu: the gang needs 64, 60 are free"),
        ({"cpu": "3500m"}, {}, "cpu: the gang needs 4, 3500m are free"),
        (
            {"requests.memory": "8Gi"},
            {"requests.memory": "1Gi"},
            "requests.memory: the gang needs 8Gi, 7Gi are free",
        ),
        ({"limits.memory": "7Gi"}, {}, "limits.memory: the gang needs 8Gi, 7Gi are free"),
        ({"pods": "5"}, {"pods": "6"}, "pods: the gang needs 8, 0 are free"),
    ],
)
def test_what_does_not_fit_is_named(hard, used, message):
    refusal = check_quota([_quota(hard, used)], _roles())
    assert refusal.reason == "NamespaceQuotaExceeded"
    assert refusal.message == f"quota team of the namespace: {message}"


@pytest.mark.parametrize(
    "quota",
    [
        _quota({"pods": "8", "requests.nvidia.com/gpu": "64", "cpu": "4"}),
        _quota({"services": "0", "count/configmaps": "0"}),
        _quota({"pods": "1"}, scopes=["Terminating"]),
        _quota({"pods": "1"}, scopes=["BestEffort"]),
        _quota(
            {"pods": "1"},
            scopeSelector={
                "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
            },
        ),
    ],
)
def test_what_fits_or_does_not_concern_the_gang_passes(quota):
    assert check_quota([quota], _roles()) is None


@pytest.mark.parametrize("scopes", [["NotTerminating"], ["NotBestEffort"], ["SomethingNew"]])
def test_scopes_that_match_or_are_not_known_hold_the_gang_back(scopes):
    assert check_quota([_quota({"pods": "7"}, scopes=scopes)], _roles()) is not None


def test_no_quota_is_no_limit():
    assert check_quota([], _roles(10_000)) is None
