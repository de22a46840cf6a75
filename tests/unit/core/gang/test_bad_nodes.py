"""Which nodes nobody should use, and the patches of their taints."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.bad_nodes import SUSPECT, Failure, Verdict, end_of, to_free, to_taint, verdicts
from drumline.core.gang.failures import INFRASTRUCTURE

NOW, HOUR = 1_800_000_000.0, 3600.0
UNTIL, LATER = "2027-01-15T09:00:00Z", "2027-01-15T09:00:10Z"
GPU = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
OURS = {"key": "drumline.dev/bad-node", "value": "DeviceFault", "effect": "NoSchedule"}
KEY = "/metadata/annotations/drumline.dev~1bad-node-until"


def failed(gang: str, cause: str = "ApplicationExit", ago: float = 60.0, node: str = "n1") -> Failure:
    return Failure(gang, node, cause, NOW - ago)


def judged(*failures: Failure) -> dict[str, Verdict]:
    return verdicts(failures, NOW, HOUR)


def node(*taints: dict[str, str], until: str | None = None) -> dict[str, Any]:
    annotations = {"annotations": {"drumline.dev/bad-node-until": until}} if until else {}
    return {
        "metadata": {"name": "n1", "resourceVersion": "7", **annotations},
        "spec": {"taints": list(taints)},
    }


def test_one_job_may_fail_on_a_node_as_often_as_it_likes() -> None:
    assert judged(failed("a"), failed("a", ago=30)) == {}


def test_two_jobs_may_not() -> None:
    assert judged(failed("a"), failed("b", "Hang", ago=10)) == {"n1": Verdict("Hang", NOW - 10 + HOUR, 2)}
    assert judged(failed("a"), failed("b", node="n2")) == {}


def test_a_device_at_fault_is_enough() -> None:
    found = judged(failed("a", "DeviceFault"), failed("a", ago=5))
    assert found == {"n1": Verdict("DeviceFault", NOW - 5 + HOUR, 1)}


def test_what_was_long_ago_is_forgotten() -> None:
    assert judged(failed("a"), failed("b", ago=HOUR)) == {}
    assert judged(failed("a", "DeviceFault", ago=HOUR + 1)) == {}


@pytest.mark.parametrize("cause", sorted(set(Cause) - SUSPECT))
def test_what_says_nothing_against_a_node_does_not_count(cause: Cause) -> None:
    assert judged(failed("a", cause), failed("b", cause)) == {}


def test_what_takes_a_node_away_by_itself_is_no_suspect() -> None:
    assert {Cause.DEVICE_FAULT, Cause.PLACEMENT_RACE} == SUSPECT & INFRASTRUCTURE


def test_a_taint_is_put_beside_the_others() -> None:
    patch = to_taint(node(GPU), Verdict("DeviceFault", NOW + HOUR, 1))
    assert patch == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/spec/taints", "value": [GPU, OURS]},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": KEY, "value": UNTIL},
    )


def test_and_lasts_longer_after_another_failure() -> None:
    there = node(OURS, until=UNTIL)
    assert to_taint(there, Verdict("DeviceFault", NOW + HOUR, 1)) == ()
    patch = to_taint(there, Verdict("DeviceFault", NOW + HOUR + 10, 1))
    assert patch[1:] == ({"op": "add", "path": KEY, "value": LATER},)


def test_who_took_it_off_by_hand_is_not_contradicted_without_another_failure() -> None:
    freed = node(until=UNTIL)
    assert to_taint(freed, Verdict("DeviceFault", NOW + HOUR, 1)) == ()
    assert to_taint(freed, Verdict("DeviceFault", NOW + HOUR + 10, 1))[1]["value"] == [OURS]


def test_it_is_taken_off_when_its_time_is_over() -> None:
    there = node(GPU, OURS, until=UNTIL)
    assert to_free(there, NOW + HOUR - 1) == ()
    assert to_free(there, NOW + HOUR)[1:] == (
        {"op": "add", "path": "/spec/taints", "value": [GPU]},
        {"op": "remove", "path": KEY},
    )


def test_somebody_elses_taint_is_left_alone() -> None:
    foreign = node(OURS)
    assert end_of(foreign) is None
    assert to_free(foreign, NOW + 10 * HOUR) == ()
    assert to_taint(foreign, Verdict("DeviceFault", NOW + HOUR, 1)) == ()
