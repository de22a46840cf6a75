"""What torchrun and `env://` find."""

from drumline.core.training import env_torch
from drumline.core.training.environment_facts import GangFacts, WorkerFacts

PROCESS_LEVEL = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}


def gang(processes: int) -> GangFacts:
    return GangFacts("llama", "uid-1", "ml", 3, 2, 4, processes, "cluster.local")


def environment(processes: int, rank: int = 5) -> dict[str, str]:
    facts = gang(processes)
    found = [*env_torch.shared(facts), *env_torch.ranked(facts, WorkerFacts(1, 1, rank))]
    return {e["name"]: e["value"] for e in found}


def test_torchrun_needs_no_argument() -> None:
    env = environment(8)
    assert {k: v for k, v in env.items() if k.startswith("PET_")} == {
        "PET_NNODES": "8",
        "PET_NPROC_PER_NODE": "8",
        "PET_NODE_RANK": "5",
        "PET_MASTER_ADDR": "llama-0-0.llama.ml.svc.cluster.local",
        "PET_MASTER_PORT": "29500",
        "PET_RDZV_ID": "uid-1-3-0",
    }


def test_a_process_rank_is_not_given_where_a_pod_has_several() -> None:
    assert not PROCESS_LEVEL & environment(8).keys()


def test_one_process_a_worker_can_do_without_torchrun() -> None:
    env = environment(1)
    assert {name: env[name] for name in PROCESS_LEVEL} == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
    }
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("llama-0-0.llama.ml.svc.cluster.local", "29500")


def test_attempts_never_share_a_rendezvous() -> None:
    ids = {GangFacts("llama", uid, "ml", n, 1, 1, 1, "").rendezvous_id for uid in "ab" for n in range(20)}
    assert len(ids) == 40
