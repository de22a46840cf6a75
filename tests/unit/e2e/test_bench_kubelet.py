"""What stands in for pods where only admission is measured behaves as far as the operator asks."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import PodPhase
from drumline.runtime.errors import AlreadyExists, NotFound
from e2e.bench.kubelet import RUN_MS, Kubelet

pytestmark = pytest.mark.looptime(start=0)

PODS = "/api/v1/namespaces/team/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices"


def pinned(run_ms: int) -> dict[str, Any]:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["host-3"]}]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {
        "metadata": {"name": "p", "annotations": {RUN_MS: str(run_ms)}},
        "spec": {"affinity": affinity, "containers": [{"name": "train"}]},
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/pods", "pods"),
        (PODS, "pods"),
        (f"{PODS}/p", "pods"),
        (SLICES, "endpointslices"),
        ("/api/v1/namespaces/team", ""),
        ("/api/v1/namespaces/pods/events", ""),
        ("/apis/drumline.dev/v1alpha1/trainingjobs", ""),
    ],
)
def test_it_answers_for_its_kinds_only(path: str, kind: str) -> None:
    assert Kubelet.kind_of(path) == kind


async def test_a_pod_runs_at_once_where_it_is_pinned_and_ends_in_its_time() -> None:
    kubelet, seen = Kubelet(), list[tuple[str, Any]]()

    async def follow() -> None:
        async for line in kubelet.watch("pods"):
            event = orjson.loads(line)
            seen.append((event["type"], project_pod(event["object"])))

    following = asyncio.create_task(follow())
    await asyncio.sleep(1)
    kubelet.answer("POST", PODS, pinned(1500))
    await asyncio.sleep(1)
    assert [(kind, pod.phase, pod.node, pod.ready) for kind, pod in seen] == [
        ("ADDED", PodPhase.RUNNING, "host-3", True)
    ]
    await asyncio.sleep(1)
    kind, pod = seen[-1]
    assert (kind, pod.phase, pod.ready) == ("MODIFIED", PodPhase.SUCCEEDED, False)
    kubelet.answer("DELETE", f"{PODS}/p", {})
    await asyncio.sleep(1)
    assert seen[-1][0] == "DELETED"
    assert kubelet.answer("GET", "/api/v1/pods", None)["items"] == []
    following.cancel()


async def test_a_pod_that_nobody_placed_is_an_error() -> None:
    pod = pinned(0)
    del pod["spec"]["affinity"]
    with pytest.raises(KeyError):
        Kubelet().answer("POST", PODS, pod)


def test_names_are_taken_once_and_changed_only_where_they_are() -> None:
    kubelet = Kubelet()
    first = {"metadata": {"name": "s", "labels": {"a": "1"}}, "endpoints": []}
    made = kubelet.answer("POST", SLICES, orjson.dumps(first))
    with pytest.raises(AlreadyExists):
        kubelet.answer("POST", SLICES, first)
    changed = kubelet.answer("PATCH", f"{SLICES}/s", {"metadata": {"labels": {"a": "2"}}, "endpoints": [{}]})
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["labels"] == {"a": "2"}
    for method in ("GET", "PATCH", "DELETE"):
        with pytest.raises(NotFound):
            kubelet.answer(method, f"{SLICES}/other", {})
