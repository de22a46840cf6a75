"""The pods that hold spare places: a worker's resources, its images pulled, and nothing that runs.

One container, from the operator's image, waits for the signal to end. It requests what a whole worker does, as
limits too, and takes the same ports of the host, so nobody else gets the place. The worker's images are image
volumes that nothing mounts: the kubelet pulls those before it starts the container, and does without one that can't
be pulled. Of the worker's spec the pod has what decides where it may run and with which credentials images are
pulled. It ends within a second, for a worker may wait for its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api import meta
from drumline.api.training import TrainingJobSpec
from drumline.core.gang import names
from drumline.core.gang.pods import CONTAINER_LISTS, Pod, PodSettings, PreparedPod, Role, prepare
from drumline.core.gang.projection import shape_of
from drumline.core.gang.quantity import spell
from drumline.core.training.render import PreparedGang, role_labels

GRACE_SECONDS: Final = 1
MAX_IMAGES: Final = 32
_FROM_WORKER: Final = (
    *("nodeSelector", "tolerations", "affinity", "runtimeClassName", "schedulerName", "os", "hostNetwork"),
    *("imagePullSecrets", "serviceAccountName", "resourceClaims"),
)

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedSpares:
    """The pods of an attempt's spares, up to name and node."""

    job: str
    attempt: int
    pods: PreparedPod

    def name_of(self, index: int) -> str:
        """Name of the pod at that index among all spare places."""
        return names.helper_pod_name(self.job, self.attempt, meta.ROLE_SPARE, index)

    def pod(self, index: int, node: str | None) -> Pod:
        """The pod at that index, pinned to `node` unless that is None."""
        host = names.helper_hostname(self.job, meta.ROLE_SPARE, index)
        return self.pods.render(self.name_of(index), host, {meta.LABEL_WORKER: str(index)}, (), node)


def prepare_spares(
    gang: PreparedGang, spec: TrainingJobSpec, image: str, settings: PodSettings, *, pull_images: bool = True
) -> PreparedSpares:
    """Pods that hold places of the gang's workers. `image`: the operator's. `pull_images`: by image volumes."""
    pod = _spec(gang.worker(0, None)["spec"], image, pull_images=pull_images)
    # none of the user's labels: what selects the workers by them must not find a pod that does no work
    labels = role_labels(gang.owner, spec, gang.facts.attempt, meta.ROLE_SPARE)
    role = Role(template={"spec": pod}, labels=labels)
    return PreparedSpares(gang.facts.job, gang.facts.attempt, prepare(gang.owner, role, settings))


def _spec(worker: Spec, image: str, *, pull_images: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {key: worker[key] for key in _FROM_WORKER if key in worker}
    images = list(_images(worker, image))[:MAX_IMAGES] if pull_images else []
    if images:
        spec["volumes"] = [{"name": f"image-{n}", "image": source} for n, source in enumerate(images)]
    return {
        **spec,
        "containers": [_holder(worker, image)],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }


def _holder(worker: Spec, image: str) -> dict[str, Any]:
    """The container; fit for the restricted Pod Security Standard where the worker's ports are."""
    # what a runtime class adds is added to this pod as well
    requests = dict(shape_of({**worker, "overhead": None}).requests)
    resources = {name: spell(name, amount) for name, amount in requests.items() if name != "pods"}
    ports = [
        {k: v for k, v in port.items() if k != "name"}
        for container in worker.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort") or worker.get("hostNetwork")
    ]
    return {
        "name": "hold",
        "image": image,
        "command": ["python", "-m", "drumline.worker.hold"],
        "resources": {"requests": resources, "limits": resources},
        **({"ports": ports} if ports else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _images(worker: Spec, own: str) -> Iterator[dict[str, str]]:
    """The images of a worker's containers, each once, but for the operator's."""
    seen = {own}
    for kind in CONTAINER_LISTS:
        for container in worker.get(kind) or ():
            if container.get("image") and container["image"] not in seen:
                seen.add(container["image"])
                policy = container.get("imagePullPolicy")
                yield {"reference": container["image"], **({"pullPolicy": policy} if policy else {})}
