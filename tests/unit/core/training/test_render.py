"""A job's objects for one attempt."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.names import member_of
from drumline.core.gang.pods import PodSettings
from drumline.core.gang.types import Placement
from drumline.core.training.observation import JobMeta
from drumline.core.training.render import PreparedGang, RenderSettings, placement_hash, prepare_gang

JOB = JobMeta("ml", "llama", "uid-1", 1, "1", 0.0)
TEMPLATE = {"spec": {"containers": [{"name": "train", "image": "img"}]}}
GPU = {"accelerator": {"type": "nvidia-h100-80gb"}, "slices": 2, "workersPerSlice": 3}
TPU = {"accelerator": {"type": "tpu-v5p", "topology": "4x4x4"}, "slices": 2}
CPU = {"accelerator": {"type": "cpu"}, "workersPerSlice": 2}
HELPERS = [
    {"name": "loader", "replicas": 2, "template": TEMPLATE},
    {"name": "eval", "template": TEMPLATE},
]


def gang(manifest: dict[str, Any], attempt: int = 4, settings: RenderSettings | None = None) -> PreparedGang:
    spec = TrainingJobSpec.model_validate({"framework": "jax", "template": TEMPLATE, **manifest})
    return prepare_gang(JOB, spec, Catalog.default(), attempt, settings)


def test_a_worker_is_named_for_its_place() -> None:
    pod = gang({**GPU, "queue": "research"}).worker(4, "node-a")
    metadata, spec = pod["metadata"], pod["spec"]
    assert (metadata["namespace"], metadata["name"]) == ("ml", "llama-4-1-1")
    assert (spec["hostname"], spec["subdomain"]) == ("llama-1-1", "llama")
    assert metadata["labels"] == {
        "app.kubernetes.io/name": "trainingjob",
        "app.kubernetes.io/instance": "llama",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "drumline",
        "drumline.dev/job": "llama",
        "drumline.dev/job-uid": "uid-1",
        "drumline.dev/queue": "research",
        "drumline.dev/role": "worker",
        "drumline.dev/attempt": "4",
        "drumline.dev/revision": "llama-4",
        "drumline.dev/slice": "1",
        "drumline.dev/worker": "1",
        "drumline.dev/rank": "4",
    }


def test_gpu_pods_ask_for_gpus_and_their_nodes() -> None:
    spec = gang(GPU).worker(0, None)["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert spec["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "affinity" not in spec


def test_tpu_pods_ask_for_chips_and_their_slices_topology() -> None:
    spec = gang(TPU).worker(0, None)["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"google.com/tpu": "4"}}
    assert spec["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
    }
    assert spec["tolerations"][0]["key"] == "google.com/tpu"


def test_cpu_pods_ask_for_nothing() -> None:
    spec = gang(CPU).worker(0, None)["spec"]
    assert "resources" not in spec["containers"][0]
    assert "nodeSelector" not in spec
    assert [t["key"].partition("/")[0] for t in spec["tolerations"]] == ["node.kubernetes.io"] * 2


def test_helpers_ask_for_no_accelerator() -> None:
    spec = gang({**TPU, "helpers": HELPERS}).helper(0, 0, None)["spec"]
    assert "resources" not in spec["containers"][0]
    assert "nodeSelector" not in spec


def test_index_order_is_workers_then_helpers() -> None:
    prepared = gang({**GPU, "helpers": HELPERS})
    pods = [prepared.pod(i, None) for i in range(prepared.roster.size)]
    names = [pod["metadata"]["name"] for pod in pods]
    workers = [f"llama-4-{s}-{w}" for s in range(2) for w in range(3)]
    assert names == [*workers, "llama-4-loader-0", "llama-4-loader-1", "llama-4-eval-0"]
    assert names == [prepared.name_of(i) for i in range(prepared.roster.size)]
    assert [pod["spec"]["hostname"] for pod in pods] == [prepared.hostname_of(i) for i in range(9)]
    with pytest.raises(IndexError, match="9 pods"):
        prepared.pod(9, None)


def test_labels_lead_back_to_the_index() -> None:
    prepared = gang({**GPU, "helpers": HELPERS})
    for index in range(prepared.roster.size):
        member = member_of(prepared.pod(index, None)["metadata"]["labels"], "uid-1")
        assert member is not None
        assert member.attempt == 4
        assert prepared.roster.index_of(member) == index


def test_long_tpu_lists_are_one_object_that_precedes_the_pods() -> None:
    big = {"accelerator": {"type": "tpu-v5p", "topology": "16x16x24"}}
    [apply] = gang(big).shared()
    manifest = apply.manifest
    assert (apply.resource, manifest["kind"]) == ("configmaps", "ConfigMap")
    assert manifest["metadata"]["name"] == "llama-hosts"
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert len(manifest["data"]["slice-0.hostnames"].split(",")) == 1536
    assert gang(TPU).shared() == ()
    assert gang(GPU).shared() == ()


def test_settings_reach_the_pods() -> None:
    settings = RenderSettings(PodSettings(node_loss_seconds=5, priority_class="calm"), "cluster.example")
    spec = gang(CPU, settings=settings).worker(1, None)["spec"]
    assert {t["tolerationSeconds"] for t in spec["tolerations"]} == {5}
    assert spec["priorityClassName"] == "calm"
    [address] = [e["value"] for e in spec["containers"][0]["env"] if e["name"] == "JAX_COORDINATOR_ADDRESS"]
    assert address == "llama-0-0.llama.ml.svc.cluster.example:8482"


class TestHash:
    def test_is_stable(self) -> None:
        assert gang(TPU).render_hash == gang(copy.deepcopy(TPU)).render_hash

    @pytest.mark.parametrize(
        "change",
        [
            {"framework": "torch"},
            {"slices": 3},
            {"helpers": HELPERS},
            {"queue": "other"},
            {"template": {"spec": {"containers": [{"name": "train", "image": "img:2"}]}}},
        ],
    )
    def test_sees_every_change_of_the_objects(self, change: dict[str, Any]) -> None:
        assert gang({**GPU, **change}).render_hash != gang(GPU).render_hash

    def test_sees_a_changed_setting(self) -> None:
        other = RenderSettings(PodSettings(node_loss_seconds=31))
        assert gang(GPU, settings=other).render_hash != gang(GPU).render_hash

    def test_of_a_placement_sees_every_node(self) -> None:
        nodes = ("a", "b")
        hashes = {
            placement_hash(Placement(nodes), "r"),
            placement_hash(Placement(nodes[::-1]), "r"),
            placement_hash(Placement(("ab", "")), "r"),
            placement_hash(Placement(nodes), "other"),
        }
        assert len(hashes) == 4


@given(st.sampled_from([GPU, TPU, CPU]), st.integers(0, 5), st.none() | st.just("n1"))
def test_rendering_is_deterministic_and_leaves_no_trace(
    manifest: dict[str, Any], index: int, node: str | None
) -> None:
    prepared = gang({**manifest, "helpers": HELPERS})
    index = min(index, prepared.roster.size - 1)
    first = json.dumps(prepared.pod(index, node))
    prepared.pod(0, "other")
    assert json.dumps(prepared.pod(index, node)) == first
    assert json.dumps(gang({**manifest, "helpers": HELPERS}).pod(index, node)) == first


def test_only_the_attempt_differs_between_attempts() -> None:
    one, two = (json.dumps(gang(TPU, attempt=n).worker(17, "n1")) for n in (41, 42))
    assert one.replace("41", "42") == two


def test_another_job_of_the_same_name_is_another_owner() -> None:
    spec = TrainingJobSpec.model_validate({"template": TEMPLATE, **CPU})
    other = prepare_gang(replace(JOB, uid="uid-2"), spec, Catalog.default(), 4)
    assert other.worker(0, None)["metadata"]["ownerReferences"][0]["uid"] == "uid-2"
