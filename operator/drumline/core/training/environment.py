"""The variables that a training job's processes find, in two parts.

`shared`: the same in every worker of an attempt, rendered once. `ranked`: what tells one worker from
another. A profile (`env_torch`, `env_jax`) belongs to the framework; the TPU variables belong to the
accelerator, whatever the framework; the ``DRUMLINE_*`` ones are for everybody.

Ours stand before the user's, so that ``$(DRUMLINE_RANK)`` expands in the user's. What the user set in a
container is left as it is there (`gang.pods.merged_env`).
"""

from __future__ import annotations

from drumline.api.training import Framework
from drumline.core.gang.names import fqdn, helper_hostname
from drumline.core.training import env_jax, env_torch, env_tpu
from drumline.core.training.environment_facts import EnvVar, GangFacts, WorkerFacts, variables

_PROFILES = {Framework.TORCH: env_torch, Framework.JAX: env_jax}


def shared_env(gang: GangFacts, framework: Framework, *, tpu: bool) -> list[EnvVar]:
    """Variables that all workers have in the same form."""
    profile = _PROFILES.get(framework)
    return [
        *_job(gang),
        *(profile.shared(gang) if profile else ()),
        *(env_tpu.shared(gang) if tpu else ()),
    ]


def ranked_env(gang: GangFacts, framework: Framework, worker: WorkerFacts, *, tpu: bool) -> list[EnvVar]:
    """Variables that tell this worker from the others."""
    profile = _PROFILES.get(framework)
    return [
        *variables(
            [
                ("DRUMLINE_SLICE", worker.slice),
                ("DRUMLINE_WORKER", worker.worker),
                ("DRUMLINE_RANK", worker.rank),
            ]
        ),
        *(profile.ranked(gang, worker) if profile else ()),
        *(env_tpu.ranked(gang, worker) if tpu else ()),
    ]


def helper_env(gang: GangFacts, name: str, replicas: int) -> list[EnvVar]:
    """Variables that all pods of one helper have in the same form."""
    first = fqdn(helper_hostname(gang.job, name, 0), gang.job, gang.namespace, gang.cluster_domain)
    own = [
        ("DRUMLINE_HELPER", name),
        ("DRUMLINE_HELPER_REPLICAS", replicas),
        ("DRUMLINE_HELPER_FIRST", first),
    ]
    return [*_job(gang), *variables(own)]


def helper_ranked_env(index: int) -> list[EnvVar]:
    """Variables that tell this pod of a helper from the others."""
    return variables([("DRUMLINE_HELPER_INDEX", index)])


def _job(gang: GangFacts) -> list[EnvVar]:
    return variables(
        [
            ("DRUMLINE_JOB", gang.job),
            ("DRUMLINE_JOB_NAMESPACE", gang.namespace),
            ("DRUMLINE_JOB_UID", gang.job_uid),
            ("DRUMLINE_ATTEMPT", gang.attempt),
            ("DRUMLINE_EPOCH", 0),  # of the pod's first processes
            ("DRUMLINE_SLICES", gang.slices),
            ("DRUMLINE_WORKERS_PER_SLICE", gang.workers_per_slice),
            ("DRUMLINE_PROCESSES_PER_WORKER", gang.processes_per_worker),
            ("DRUMLINE_WORLD_SIZE", gang.processes),
            ("DRUMLINE_COORDINATOR", gang.coordinator),
        ]
    )
