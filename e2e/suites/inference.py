"""InferenceServices for the suites: manifests of what runs on the real node, and a look at what became of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.demo_site import Site, claim, volume
from e2e.engines import llamacpp, models
from e2e.engines.exposition import values
from e2e.engines.pods import metrics
from e2e.suites.kubectl import Kubectl, KubectlError, until

Manifest = dict[str, Any]

READY_SECONDS = 120.0
OPERATOR_NAMESPACE = "drumline-system"
_OPERATOR_PORT = 8080
_MODELS = "models"  # the claim
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The operator has waited for what is in flight before it deletes a pod, so the presets' long hooks only cost time.
_HOOK = {"preStop": {"sleep": {"seconds": 1}}}


def load_llamacpp(site: Site) -> None:
    """The server's image into the node's store, and a claim with the tiny models."""
    site.node.store.load(llamacpp.image())
    made = volume(_MODELS, models.models(), "ReadOnlyMany"), claim(_MODELS, "ReadOnlyMany")
    site.kubectl.apply(*made)


def llamacpp_role(*arguments: str, slots: int = 4, **fields: Any) -> Manifest:
    """The role ``serve``: one-pod groups of llama.cpp's server with so many slots; one thread, little memory."""
    size = ["--threads", "1", "--ctx-size", str(2048 * slots), "--parallel", str(slots)]
    container = {
        "name": "engine",
        "image": llamacpp.IMAGE,
        "args": [*size, *arguments],
        "resources": {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": _RESTRICTED,
        "lifecycle": _HOOK,
    }
    return role("serve", container, **fields)


def role(name: str, container: Manifest, **fields: Any) -> Manifest:
    """A role of CPU pods with this container."""
    pod = {"terminationGracePeriodSeconds": 5, "containers": [container]}
    return {"name": name, "accelerator": {"type": "cpu"}, "template": {"spec": pod}, **fields}


def llamacpp_service(name: str, role: Manifest, **spec: Any) -> Manifest:
    """A service that serves the tiny model."""
    model = {"name": "tiny", "source": models.GGUF, "cache": {"claimName": _MODELS}}
    return service(name, role, engine="llamacpp", model=model, **spec)


def service(name: str, *roles: Manifest, **spec: Any) -> Manifest:
    """A service of these roles that drains and restarts after a short while."""
    base = {
        "drain": {"settleSeconds": 2, "timeoutSeconds": 60},
        "failurePolicy": {"backoff": {"initialSeconds": 0, "maxSeconds": 0}},
        "roles": list(roles),
    }
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


@dataclass(frozen=True)
class Served:
    """An InferenceService of the cluster."""

    kubectl: Kubectl
    name: str

    @property
    def url(self) -> str:
        """Its Service, as this host reaches it through kube-proxy; it stays the same."""
        return f"http://{self.kubectl.get('service', self.name)['spec']['clusterIP']}"

    def get(self) -> Manifest:
        return self.kubectl.get("inferenceservice", self.name)

    @property
    def serving(self) -> Manifest:
        """Its account so far."""
        return dict(self.get().get("status", {}).get("serving") or {})

    def groups(self, role: str = "serve") -> list[Manifest]:
        """The groups of a role, as the status has them."""
        return groups(self.get(), role)

    def pods(self, **labels: str) -> list[Manifest]:
        """Its pods, of these labels of ours."""
        wanted = {"service": self.name, **labels}
        return self.kubectl.list("pods", ",".join(f"drumline.dev/{k}={v}" for k, v in wanted.items()))

    def patch(self, *operations: tuple[str, Any]) -> None:
        """Put values at paths of the spec, such as ``/roles/0/replicas``; missing fields are added."""
        body = [{"op": "add", "path": f"/spec{path}", "value": value} for path, value in operations]
        self.kubectl.run("patch", "inferenceservice", self.name, "--type=json", f"--patch={json.dumps(body)}")

    def until(self, holds: Callable[[Manifest], bool], what: str, seconds: float = READY_SECONDS) -> Manifest:
        """The service once this holds; ``TimeoutError`` with its status when it never does."""
        found: Manifest = {}

        def seen() -> bool:
            nonlocal found
            found = self.get()
            return holds(found)

        try:
            until(seen, f"{self.name}: {what}", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {json.dumps(found.get('status'))}") from error
        return found

    def ready(self, seconds: float = READY_SECONDS) -> Manifest:
        """The service once every role has exactly the groups that it should have, all in service."""
        return self.until(is_settled, "all of its groups in service", seconds)


@contextmanager
def running(site: Site, manifest: Manifest) -> Iterator[Served]:
    """Apply a service, and delete it at the end with all that belongs to it."""
    served = Served(site.kubectl, manifest["metadata"]["name"])
    site.kubectl.apply(manifest)
    try:
        yield served
    finally:
        site.kubectl.run("delete", "inferenceservice", served.name, "--wait=true", "--ignore-not-found")
        until(lambda: not served.pods(), f"the pods of {served.name} to go", READY_SECONDS)


def roles(document: Manifest) -> dict[str, Manifest]:
    return {entry["name"]: entry for entry in document.get("status", {}).get("roles", ())}


def groups(document: Manifest, role: str = "serve") -> list[Manifest]:
    return list(roles(document).get(role, {}).get("groups", ()))


def is_settled(document: Manifest) -> bool:
    """Whether the spec is reached: the right groups of the right revision are in service, and no others exist."""
    status = document.get("status", {})
    if status.get("observedGeneration") != document["metadata"]["generation"]:
        return False
    known = roles(document)
    wanted = {entry["name"] for entry in document["spec"]["roles"]}
    return (
        known.keys() == wanted
        and status.get("currentRevision") == status.get("updateRevision")
        and all(_is_whole(entry) for entry in known.values())
    )


def _is_whole(entry: Manifest) -> bool:
    found = entry.get("groups", ())
    phases = {group["phase"] for group in found}
    return phases <= {"Serving"} and entry.get("desired", 0) == entry.get("ready", 0) == len(found)


def adds_up(serving: Manifest) -> bool:
    """Whether the states of an account are the whole of it, and those with a place held are what it says is held."""
    states = [(entry["state"], entry["ms"]) for role in serving["roles"] for entry in role["states"]]
    held = sum(ms for state, ms in states if state != "queued")
    return (sum(ms for _, ms in states), held) == (serving["elapsedMs"], serving["heldMs"])


def operator_metrics(site: Site, service: str) -> dict[str, float]:
    """What the operator's own metrics say of a service, by name, added up over roles and the like."""
    kubectl = Kubectl(site.kubectl.kubeconfig, OPERATOR_NAMESPACE)
    (pod,) = kubectl.list("pods", "app.kubernetes.io/name=drumline")
    text = metrics(f"http://{pod['status']['podIP']}:{_OPERATOR_PORT}")
    label = f'service="{service}"'
    return values("\n".join(line for line in text.splitlines() if label in line))


def drain(kubectl: Kubectl, node: str, service: str, seconds: int) -> str:
    """``kubectl drain`` for the pods of a service alone; what it says when it does not get through, else nothing."""
    flags = ["--pod-selector", f"drumline.dev/service={service}", "--delete-emptydir-data"]
    try:
        kubectl.run("drain", node, *flags, f"--timeout={seconds}s")
    except KubectlError as error:
        return str(error)
    return ""
