"""What libtpu and Megascale find, and where long host lists stand."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.environment import MAX_BYTES, host_list_bytes
from drumline.core.training import env_tpu
from drumline.core.training.environment_facts import GangFacts, WorkerFacts


def gang(slices: int, workers: int, job: str = "llama") -> GangFacts:
    return GangFacts(job, "uid-1", "ml", 1, slices, workers, 1, "cluster.local")


def environment(facts: GangFacts, slice_index: int, worker: int) -> dict[str, Any]:
    member = WorkerFacts(slice_index, worker, slice_index * facts.workers_per_slice + worker)
    found = [*env_tpu.shared(facts), *env_tpu.ranked(facts, member)]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in found}


def test_one_slice_knows_no_other() -> None:
    assert environment(gang(1, 2), 0, 1) == {
        "TPU_NAME": "llama-0",
        "TPU_PROCESS_ADDRESSES": "llama-0-0.llama:8476,llama-0-1.llama:8476",
        "TPU_PROCESS_PORT": "8476",
        "TPU_WORKER_HOSTNAMES": "llama-0-0.llama,llama-0-1.llama",
        "TPU_WORKER_ID": "1",
    }


def test_each_slice_lists_its_own_hosts() -> None:
    env = environment(gang(2, 2), 1, 0)
    assert env["TPU_WORKER_HOSTNAMES"] == "llama-1-0.llama,llama-1-1.llama"
    assert env["TPU_WORKER_ID"] == "0"
    assert {k: v for k, v in env.items() if k.startswith("MEGASCALE")} == {
        "MEGASCALE_COORDINATOR_ADDRESS": "llama-0-0.llama.ml.svc.cluster.local",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_PORT": "8080",
        "MEGASCALE_SLICE_ID": "1",
    }


def test_a_slice_of_one_host_meets_nobody() -> None:
    assert environment(gang(1, 1), 0, 0) == {
        "TPU_NAME": "llama-0",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    }


def test_short_lists_need_no_configmap() -> None:
    assert list(env_tpu.host_lists(gang(2, 16))) == []
    assert list(env_tpu.host_lists(gang(4000, 1))) == []


def test_long_lists_stand_in_one_configmap() -> None:
    facts = gang(2, 1536)
    [(name, data)] = env_tpu.host_lists(facts)
    env = environment(facts, 1, 7)
    assert name == "llama-hosts"
    assert env["TPU_WORKER_HOSTNAMES"] == {"configMapKeyRef": {"name": name, "key": "slice-1.hostnames"}}
    assert env["TPU_PROCESS_ADDRESSES"] == {"configMapKeyRef": {"name": name, "key": "slice-1.addresses"}}
    hosts = data["slice-1.hostnames"].split(",")
    assert (len(hosts), hosts[7]) == (1536, "llama-1-7.llama")
    assert data["slice-1.addresses"].split(",")[7] == "llama-1-7.llama:8476"


@pytest.mark.parametrize("job", ["llama", "a-job-name-that-is-rather-long-as-some-people-like"])
def test_lists_of_ten_thousand_workers_fit_their_configmaps(job: str) -> None:
    facts = gang(40, 256, job)
    found = dict(env_tpu.host_lists(facts))
    assert all(sum(len(k) + len(v) for k, v in data.items()) < 1_000_000 for data in found.values())
    for index in range(facts.slices):
        source = environment(facts, index, 0)["TPU_WORKER_HOSTNAMES"]["configMapKeyRef"]
        assert found[source["name"]][source["key"]] == ",".join(facts.slice_hosts(index))


@given(st.integers(1, 30), st.integers(1, 400))
def test_every_reference_has_its_list(slices: int, workers: int) -> None:
    facts = gang(slices, workers)
    found = dict(env_tpu.host_lists(facts))
    for index in range(slices):
        for value in environment(facts, index, workers - 1).values():
            if isinstance(value, dict):
                source = value["configMapKeyRef"]
                assert len(found[source["name"]][source["key"]].split(",")) == workers


@given(st.integers(1, 120), st.integers(2, 300), st.text("abc", min_size=1, max_size=50))
def test_validation_knows_the_size_of_the_longest_variable(slices: int, workers: int, job: str) -> None:
    facts = gang(slices, workers, job)
    longest = max(
        len(f"TPU_PROCESS_ADDRESSES={_resolved(facts, i)}".encode()) for i in {0, slices // 2, slices - 1}
    )
    assert longest == host_list_bytes(len(job), slices, workers)


def _resolved(facts: GangFacts, slice_index: int) -> str:
    value = environment(facts, slice_index, 0)["TPU_PROCESS_ADDRESSES"]
    if isinstance(value, str):
        return value
    source = value["configMapKeyRef"]
    return dict(env_tpu.host_lists(facts))[source["name"]][source["key"]]


def test_a_variable_of_the_greatest_size_starts_a_program_and_a_larger_one_does_not() -> None:
    value = "x" * (MAX_BYTES - len("TPU_PROCESS_ADDRESSES="))
    command = [sys.executable, "-c", "import os; print(len(os.environ['TPU_PROCESS_ADDRESSES']))"]
    done = subprocess.run(command, env={"TPU_PROCESS_ADDRESSES": value}, capture_output=True, check=True)
    assert int(done.stdout) == len(value)
    with pytest.raises(OSError, match="too long"):
        subprocess.run(command, env={"TPU_PROCESS_ADDRESSES": value + "x"}, check=True)
