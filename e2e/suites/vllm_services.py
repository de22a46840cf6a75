"""vLLM by InferenceServices: what the engine's preset leaves to the user, and nothing else."""

from typing import Any

from e2e.demo_site import Site
from e2e.engines import claims, models, vllm
from e2e.engines.pods import RESTRICTED, is_ready, metrics
from e2e.suites.inference import Manifest, Served, role, service

READY_SECONDS = 480.0  # two engines at once, on few cores that others use too
_TREES = (vllm.MOUNT, vllm.TORCH_MOUNT)
# The operator has waited for what is in flight before it deletes a pod.
_HOOK = {"preStop": {"sleep": {"seconds": 1}}}


def load_vllm(site: Site) -> None:
    """The image into the node's store, and claims with vLLM, torch and the tiny models."""
    site.node.store.load(vllm.image())
    site.kubectl.apply(*claims.objects(vllm.trees()))


def vllm_role(name: str, **fields: Any) -> Manifest:
    """A role of one-pod groups; the preset gives model, port, probes, shared memory and shutdown."""
    container = {
        "name": "engine",
        "image": vllm.IMAGE,
        "args": list(vllm.SMALL),
        "resources": {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "6Gi"}},
        "volumeMounts": claims.mounts(_TREES),
        "securityContext": RESTRICTED,
        "lifecycle": _HOOK,
    }
    made = role(name, container, **fields)
    made["template"]["spec"]["volumes"] = claims.volumes(_TREES)
    return made


def vllm_service(name: str, *roles: Manifest, **spec: Any) -> Manifest:
    """A service that serves the tiny model."""
    cache = {"claimName": "models", "mountPath": models.MOUNT}
    model = {"name": "tiny", "source": models.CHECKPOINT, "cache": cache}
    return service(name, *roles, engine="vllm", model=model, **spec)


def engine_metrics(served: Served, role: str) -> list[str]:
    """What the engines of a role's groups in service expose themselves, in the order of their pods' names."""
    found = sorted(served.pods(role=role, worker="0"), key=lambda pod: pod["metadata"]["name"])
    return [metrics(f"http://{pod['status']['podIP']}:{vllm.PORT}") for pod in found if is_ready(pod)]
