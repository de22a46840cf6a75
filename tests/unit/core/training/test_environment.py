"""The whole environment of three ranks of a 256-host job, framework by framework, word for word."""

from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.environment import PREFERENCES, is_reserved
from drumline.api.training import Framework, TrainingJobSpec
from drumline.core.training.observation import JobMeta
from drumline.core.training.render import PreparedGang, prepare_gang

JOB = JobMeta("ml", "llama", "uid-1", 1, "1", 0.0)
HOST = "llama-0-0.llama.ml.svc.cluster.local"
GPU = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
TORCH = {"framework": "torch", "accelerator": GPU, "slices": 8, "workersPerSlice": 32}
JAX = {"framework": "jax", "accelerator": GPU, "slices": 8, "workersPerSlice": 32}
TPU = {"framework": "jax", "accelerator": {"type": "tpu-v5p", "topology": "4x8x8"}, "slices": 4}
NONE = {"framework": "none", "accelerator": {"type": "cpu"}, "slices": 1, "workersPerSlice": 256}


def gang(manifest: dict[str, Any]) -> PreparedGang:
    template = {"spec": {"containers": [{"name": "train", "image": "img"}]}}
    spec = TrainingJobSpec.model_validate({**manifest, "template": template})
    return prepare_gang(JOB, spec, Catalog.default(), 2)


def environment(manifest: dict[str, Any], rank: int) -> dict[str, str]:
    [container] = gang(manifest).worker(rank, None)["spec"]["containers"]
    names = [e["name"] for e in container["env"]]
    assert len(names) == len(set(names)), "no name stands twice"
    return {e["name"]: e["value"] for e in container["env"]}


def ours(slices: int, per_slice: int, processes: int, rank: int) -> dict[str, str]:
    return {
        "DRUMLINE_JOB": "llama",
        "DRUMLINE_JOB_NAMESPACE": "ml",
        "DRUMLINE_JOB_UID": "uid-1",
        "DRUMLINE_ATTEMPT": "2",
        "DRUMLINE_EPOCH": "0",
        "DRUMLINE_SLICES": str(slices),
        "DRUMLINE_WORKERS_PER_SLICE": str(per_slice),
        "DRUMLINE_PROCESSES_PER_WORKER": str(processes),
        "DRUMLINE_WORLD_SIZE": str(256 * processes),
        "DRUMLINE_COORDINATOR": HOST,
        "DRUMLINE_SLICE": str(rank // per_slice),
        "DRUMLINE_WORKER": str(rank % per_slice),
        "DRUMLINE_RANK": str(rank),
    }


@pytest.mark.parametrize("rank", [0, 17, 255])
def test_torch_on_256_hosts_of_8(rank: int) -> None:
    assert environment(TORCH, rank) == {
        **ours(8, 32, 8, rank),
        "PET_NNODES": "256",
        "PET_NPROC_PER_NODE": "8",
        "PET_NODE_RANK": str(rank),
        "PET_MASTER_ADDR": HOST,
        "PET_MASTER_PORT": "29500",
        "PET_RDZV_ID": "uid-1-2-0",
        "MASTER_ADDR": HOST,
        "MASTER_PORT": "29500",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.parametrize("rank", [0, 17, 255])
def test_jax_on_256_gpu_hosts(rank: int) -> None:
    assert environment(JAX, rank) == {
        **ours(8, 32, 1, rank),
        "JAX_COORDINATOR_ADDRESS": f"{HOST}:8482",
        "JAX_NUM_PROCESSES": "256",
        "JAX_PROCESS_ID": str(rank),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.parametrize(("rank", "slice_index", "worker"), [(0, 0, 0), (17, 0, 17), (255, 3, 63)])
def test_jax_on_four_tpu_slices_of_64_hosts(rank: int, slice_index: int, worker: int) -> None:
    hosts = [f"llama-{slice_index}-{n}.llama" for n in range(64)]
    assert environment(TPU, rank) == {
        **ours(4, 64, 1, rank),
        "JAX_COORDINATOR_ADDRESS": f"{HOST}:8482",
        "JAX_NUM_PROCESSES": "256",
        "JAX_PROCESS_ID": str(rank),
        "PYTHONUNBUFFERED": "1",
        "TPU_WORKER_ID": str(worker),
        "TPU_WORKER_HOSTNAMES": ",".join(hosts),
        "TPU_PROCESS_ADDRESSES": ",".join(f"{host}:8476" for host in hosts),
        "TPU_PROCESS_PORT": "8476",
        "TPU_NAME": f"llama-{slice_index}",
        "MEGASCALE_COORDINATOR_ADDRESS": HOST,
        "MEGASCALE_PORT": "8080",
        "MEGASCALE_NUM_SLICES": "4",
        "MEGASCALE_SLICE_ID": str(slice_index),
    }


@pytest.mark.parametrize("rank", [0, 17, 255])
def test_no_framework_means_our_own_variables_only(rank: int) -> None:
    assert environment(NONE, rank) == ours(1, 256, 1, rank)


@pytest.mark.parametrize("manifest", [TORCH, JAX, TPU, NONE, {**TORCH, "processesPerWorker": 1}])
def test_whatever_we_set_is_reserved_or_a_preference(manifest: dict[str, Any]) -> None:
    tpu = manifest["accelerator"]["type"].startswith("tpu")
    for name in environment(manifest, 17):
        assert name in PREFERENCES or is_reserved(name, Framework(manifest["framework"]), tpu=tpu), name


def test_helpers_know_the_job_and_their_own_place() -> None:
    helper = {"name": "loader", "replicas": 3, "template": {"spec": {"containers": [{"name": "c"}]}}}
    [container] = gang({**JAX, "helpers": [helper]}).helper(0, 2, None)["spec"]["containers"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert {k: v for k, v in env.items() if "HELPER" in k} == {
        "DRUMLINE_HELPER": "loader",
        "DRUMLINE_HELPER_REPLICAS": "3",
        "DRUMLINE_HELPER_FIRST": "llama-loader-0.llama.ml.svc.cluster.local",
        "DRUMLINE_HELPER_INDEX": "2",
    }
    assert env["DRUMLINE_COORDINATOR"] == HOST
    assert not any(name.startswith("JAX") for name in env)
