"""What `jax.distributed.initialize` and its callers find."""

from drumline.core.training import env_jax
from drumline.core.training.environment_facts import GangFacts, WorkerFacts


def environment(processes: int) -> dict[str, str]:
    facts = GangFacts("llama", "uid-1", "ml", 3, 2, 4, processes, "cluster.local")
    found = [*env_jax.shared(facts), *env_jax.ranked(facts, WorkerFacts(1, 1, 5))]
    return {e["name"]: e["value"] for e in found}


def test_one_process_a_worker() -> None:
    assert environment(1) == {
        "JAX_COORDINATOR_ADDRESS": "llama-0-0.llama.ml.svc.cluster.local:8482",
        "JAX_NUM_PROCESSES": "8",
        "JAX_PROCESS_ID": "5",
        "PYTHONUNBUFFERED": "1",
    }


def test_several_processes_a_worker_are_numbered_by_their_launcher() -> None:
    env = environment(4)
    assert env["JAX_NUM_PROCESSES"] == "32"
    assert "JAX_PROCESS_ID" not in env
