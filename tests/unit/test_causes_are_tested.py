"""Every row of the table of causes has a test whose signal its real producer raises, or a reason why it has none.

Who adds a row has to name either here. What a test raises is for its reader to judge; that it exists is checked.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from drumline.core.gang.failure_table import TABLE, Row

ROOT: Final = Path(__file__).parents[2]
_OPERATOR: Final = "tests/integration/operator"
_RECOVERY: Final = f"{_OPERATOR}/test_recovery.py"
_NODES: Final = f"{_OPERATOR}/test_nodes.py"
_KUBELET: Final = "tests/realnode/test_causes.py"
_REFUSALS: Final = "tests/realnode/test_refusals.py"

TESTED: Final = {
    "Preempted disruption=PreemptionByScheduler": f"{_NODES}::test_preemption_by_the_real_scheduler",
    "DeviceFault disruption=DeletionByDeviceTaintManager": (
        f"{_OPERATOR}/test_device_taint.py::test_a_device_with_a_taint_takes_its_pod"
    ),
    "Maintenance disruption=EvictionByEvictionAPI taints=cloud.google.com/impending-node-termination": (
        f"{_RECOVERY}::test_an_eviction_from_a_node_that_is_to_be_terminated"
    ),
    "Maintenance disruption=EvictionByEvictionAPI labels=cloud.google.com/active-node-maintenance": (
        f"{_REFUSALS}::test_a_pod_is_evicted_while_its_node_is_maintained"
    ),
    "NodeLost disruption=DeletionByTaintManager taints=node.kubernetes.io/unreachable": (
        f"{_NODES}::test_a_node_that_is_cut_off_is_left_and_its_pods_are_not_forced"
    ),
    "Evicted disruption=DeletionByTaintManager ready=True": f"{_RECOVERY}::test_a_taint_on_a_node_that_is_well",
    "NodeLost disruption=DeletionByTaintManager": f"{_RECOVERY}::test_a_node_that_is_deleted",
    "Evicted disruption=EvictionByEvictionAPI": f"{_RECOVERY}::test_an_eviction",
    "Evicted disruption=TerminationByKubelet reason=Evicted": (
        f"{_REFUSALS}::test_it_takes_a_pod_for_a_critical_one"
    ),
    "ApplicationExit reason=Evicted": (
        f"{_REFUSALS}::test_it_evicts_a_pod_that_writes_more_than_its_volume_may_hold"
    ),
    "PlacementRace reason=OutOf*": f"{_REFUSALS}::test_the_kubelet_refuses_a_pod",
    "OutOfMemory ended=OOMKilled": f"{_KUBELET}::test_how_a_container_ended",
    "ConfigError ended=ContainerCannotRun": f"{_KUBELET}::test_how_a_container_ended",
    "Maintenance failed taints=cloud.google.com/impending-node-termination": (
        f"{_REFUSALS}::test_a_program_fails_or_is_told_to_end_while_its_node_is_about_to_go"
    ),
    "Maintenance codes=137 labels=cloud.google.com/active-node-maintenance": (
        f"{_REFUSALS}::test_a_program_ends_while_its_node_is_maintained"
    ),
    "ConfigError codes=127": f"{_KUBELET}::test_how_a_container_ended",
    "ApplicationExit failed": f"{_KUBELET}::test_how_a_container_ended",
    "ImageError waiting=ErrImagePull": f"{_KUBELET}::test_what_a_container_waits_for",
    "ConfigError waiting=CreateContainerConfigError": f"{_KUBELET}::test_what_a_container_waits_for",
    "ConfigError waiting=FailedMount": (
        "tests/realnode/test_progress.py"
        "::test_a_volume_that_cannot_be_mounted_ends_the_job_with_the_kubelets_words"
    ),
    "PlacementRace waiting=FailedCreatePodSandBox": f"{_REFUSALS}::test_a_sandbox_that_cannot_be_made",
    "Maintenance taints=cloud.google.com/impending-node-termination going": (
        f"{_REFUSALS}::test_a_program_fails_or_is_told_to_end_while_its_node_is_about_to_go"
    ),
    "NodeLost ready=False going": (
        f"{_NODES}::test_a_pod_that_is_deleted_while_its_node_is_not_ready_went_with_it"
    ),
}
REASONS_WHY_NOT: Final = {
    "Maintenance reason=NodeShutdown": "the kubelet's graceful node shutdown takes its signal from systemd-logind over "
    "D-Bus, which no container or test host of ours has",
    "Maintenance disruption=TerminationByKubelet": "what is left for it after evictions and critical pods is graceful node "
    "shutdown, as above",
    "NodeLost reason=NodeLost": "no controller of Kubernetes 1.36 writes it any more: the function that does has no caller; "
    "it is there for older clusters",
    "NodeLost disruption=WorkloadEvictedDueToNodeFailures": "Kueue writes it where it schedules by topology; the tests "
    "run no Kueue",
    "DeviceFault failed conditions=AcceleratedHardwareReady": "the node agents that report it come with their clouds and "
    "read a driver's log; test_recovery.py patches the condition as such an agent does",
}
# Words of rows that have a test for another of their words.
OTHER_WORDS: Final = {
    "UnexpectedAdmissionError": "takes a device plugin that loses a device between scheduling and admission",
    "OutOf*": "processor and memory are asked for; an accelerator needs a device plugin",
    "node.kubernetes.io/out-of-service": "set by people; handled by the pod garbage collector as a node that is gone",
}


def name_of(row: Row) -> str:
    """Cause, and each column that is not empty with its first alternative; for removals, the usual one."""
    words = [row.cause.value]
    for column in fields(row):
        value = getattr(row, column.name)
        empty = value is None or value == () or (value is False and column.name != "ready")
        if column.name == "cause" or empty:
            continue
        first = value[0] if isinstance(value, tuple) else value
        first = first[0] if isinstance(first, tuple) else first
        words.append(column.name if first is True and column.name != "ready" else f"{column.name}={first}")
    return " ".join(words)


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_a_row_has_a_test_or_a_reason_why_not(row: Row) -> None:
    name = name_of(row)
    assert (name in TESTED) is not (name in REASONS_WHY_NOT), f"{name}: name its test, or say why it has none"


def test_no_two_rows_have_one_name() -> None:
    assert len({name_of(row) for row in TABLE}) == len(TABLE)


def test_nothing_is_named_that_is_no_row() -> None:
    assert {*TESTED, *REASONS_WHY_NOT} <= {name_of(row) for row in TABLE}


@pytest.mark.parametrize("where", sorted(set(TESTED.values())))
def test_the_test_exists(where: str) -> None:
    path, _, function = where.partition("::")
    assert function in _functions(path)


@pytest.mark.parametrize("word", sorted(OTHER_WORDS))
def test_a_word_without_a_test_is_in_the_table(word: str) -> None:
    assert any(word in value for row in TABLE for value in (row.reason, row.taints))
