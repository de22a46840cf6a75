"""A role's template with what its engine needs: arguments, probes, port, shutdown, weights.

All of it goes to the template's first container, the engine; the others are the user's affair. It gives way to
the user's own word: a probe of a kind that is there, a hook, a grace period, a volume mount at the same path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from drumline.api.engines import EnginePreset, Probe, ProbeKind
from drumline.api.inference_model import Model, ModelCache
from drumline.api.mounts import MODEL_VOLUME, SHM_PATH, SHM_VOLUME
from drumline.core.inference import names
from drumline.core.inference.env_engine import EngineFacts
from drumline.core.inference.render_arguments import with_arguments

Template = Mapping[str, Any]  # v1.PodTemplateSpec
Container = Mapping[str, Any]

_KINDS: Final = (("startupProbe", "startup"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness"))


def engine_container(template: Template) -> Container:
    """The container that runs the engine. An empty one when the template has none: validation finds that."""
    containers: Sequence[Container] = (template.get("spec") or {}).get("containers") or ({},)
    return containers[0]


def dressed(
    template: Template, preset: EnginePreset, facts: EngineFacts, model: Model | None, *, leader: bool
) -> dict[str, Any]:
    """The template with what a leader's, or a worker's, engine needs. It is not changed itself."""
    spec = dict(template.get("spec") or {})
    container = with_arguments(engine_container(template), preset, facts, leader=leader)
    if model is not None:
        container = _with_weights(container, model)
        spec = _with_volume(spec, model.cache)
    if preset.shared_memory and not spec.get("hostIPC"):
        container, spec = _with_shared_memory(container, spec)
    if leader:
        port = int(facts.values["port"])
        on_host = bool(spec.get("hostNetwork"))
        container = _with_port(_with_hook(_with_probes(container, preset, port), preset), port, on_host)
    spec["containers"] = [container, *(spec.get("containers") or ())[1:]]
    spec.setdefault("terminationGracePeriodSeconds", preset.shutdown.grace_seconds)
    # a Service called "vllm" would put VLLM_PORT=tcp://… into every pod, which vLLM refuses
    spec.setdefault("enableServiceLinks", False)
    return {**template, "spec": spec}


def _with_probes(container: Container, preset: EnginePreset, port: int) -> dict[str, Any]:
    probes = preset.probes
    if probes.kind is ProbeKind.NONE:
        return dict(container)
    found = {}
    for key, kind in _KINDS:
        numbers: Probe | None = getattr(probes, kind)
        if numbers is not None and not container.get(key):
            path = probes.ready_path if kind == "readiness" else ""
            found[key] = _probe(numbers, probes.kind, path or probes.health_path, port)
    return {**container, **found}


def _probe(numbers: Probe, kind: ProbeKind, path: str, port: int) -> dict[str, Any]:
    how: dict[str, Any] = (
        {"httpGet": {"path": path, "port": port}} if kind is ProbeKind.HTTP else {"tcpSocket": {"port": port}}
    )
    return {**how, **numbers.to_json()}


def _with_hook(container: Container, preset: EnginePreset) -> dict[str, Any]:
    lifecycle = container.get("lifecycle") or {}
    seconds = preset.shutdown.pre_stop_seconds
    if not seconds or lifecycle.get("preStop"):
        return dict(container)
    return {**container, "lifecycle": {**lifecycle, "preStop": {"sleep": {"seconds": seconds}}}}


def _with_port(container: Container, port: int, on_host: bool) -> dict[str, Any]:
    """The container with its port under our name, by which Services find it whatever revision it is of.

    On the host's network a port may stand there only once: there, and where it has no name, it takes ours.
    """
    ports = list(container.get("ports") or ())
    if any(p.get("name") == names.PORT for p in ports):
        return dict(container)
    for index, known in enumerate(ports):
        same = known.get("containerPort") == port and (known.get("protocol") or "TCP") == "TCP"
        if same and (on_host or not known.get("name")):
            return {
                **container,
                "ports": [*ports[:index], {**known, "name": names.PORT}, *ports[index + 1 :]],
            }
    own = {"name": names.PORT, "containerPort": port, "protocol": "TCP"}
    return {**container, "ports": [*ports, own]}


def _with_weights(container: Container, model: Model) -> dict[str, Any]:
    found = dict(container)
    if model.secret_ref is not None:
        # the later entry wins: the user's
        found["envFrom"] = [{"secretRef": {"name": model.secret_ref.name}}, *(container.get("envFrom") or ())]
    cache = model.cache
    mounts = container.get("volumeMounts") or ()
    if cache is not None and all(m.get("mountPath") != cache.mount_path for m in mounts):
        found["volumeMounts"] = [*mounts, _mount(cache)]
    return found


def _with_shared_memory(
    container: Container, spec: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """More of it than the 64 MiB that a container has; it counts against the container's memory limit."""
    mounts, volumes = container.get("volumeMounts") or (), spec.get("volumes") or ()
    if any(str(m.get("mountPath")).rstrip("/") == SHM_PATH for m in mounts):
        return dict(container), dict(spec)
    mount = {"name": SHM_VOLUME, "mountPath": SHM_PATH}
    volume = {"name": SHM_VOLUME, "emptyDir": {"medium": "Memory"}}
    known = any(v.get("name") == SHM_VOLUME for v in volumes)
    whole = {**spec, "volumes": [*volumes, *(() if known else (volume,))]}
    return {**container, "volumeMounts": [*mounts, mount]}, whole


def _mount(cache: ModelCache) -> dict[str, Any]:
    part = {"subPath": cache.sub_path} if cache.sub_path else {}
    return {"name": MODEL_VOLUME, "mountPath": cache.mount_path, "readOnly": cache.read_only, **part}


def _with_volume(spec: Mapping[str, Any], cache: ModelCache | None) -> dict[str, Any]:
    volumes = spec.get("volumes") or ()
    if cache is None or any(v.get("name") == MODEL_VOLUME for v in volumes):
        return dict(spec)
    claim = {"claimName": cache.claim_name, **({"readOnly": True} if cache.read_only else {})}
    return {**spec, "volumes": [*volumes, {"name": MODEL_VOLUME, "persistentVolumeClaim": claim}]}
