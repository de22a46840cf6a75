"""A real node with the operator installed by its chart: where the demo and the suites run real training."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster import build, images
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.images import Image
from e2e.cluster.realnode import RealNode
from e2e.suites.kubectl import Kubectl, until

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "examples"
OPERATOR_NAMESPACE = "drumline-system"
_READY_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """A cluster with a real node and an operator in a pod. ``scratch`` is a directory of this run."""

    cluster: EmbeddedCluster
    node: RealNode
    kubectl: Kubectl
    scratch: Path
    say: Callable[[str], None] = field(default=print)

    def checkpoints(self, claim: str) -> Path:
        """Give a claim of this name a writable directory on the node, and return it."""
        path = self.scratch / claim
        path.mkdir()
        # Workers run as a user of their own.
        path.chmod(0o777)
        self.kubectl.apply(volume(claim, path, "ReadWriteMany"))
        return path

    def torch(self) -> None:
        """Make the claim ``torch``: the host's copy of PyTorch, read-only."""
        with_claim = volume("torch", images.torch_tree(), "ReadOnlyMany"), claim("torch", "ReadOnlyMany")
        self.kubectl.apply(*with_claim)

    def kill_worker(self, pod: str) -> None:
        """Kill a worker's process without warning, as the kernel does when memory runs out."""
        status = self.kubectl.get("pod", pod)["status"]["containerStatuses"][0]
        self.node.store.kill(status["containerID"].rpartition("/")[2])

    def kill_operator(self) -> None:
        """Kill the operator's process without warning; the kubelet starts it again."""
        kubectl = Kubectl(self.kubectl.kubeconfig, OPERATOR_NAMESPACE)
        (pod,) = kubectl.list("pods", "app.kubernetes.io/name=drumline")
        status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == "operator")
        self.node.store.kill(status["containerID"].rpartition("/")[2])

    def operator_log(self) -> str:
        """What the operator has logged."""
        kubectl = Kubectl(self.kubectl.kubeconfig, OPERATOR_NAMESPACE)
        return kubectl.run("logs", "--selector=app.kubernetes.io/name=drumline", "--tail=-1")


def wait_for_interrupt(kubeconfig: Path) -> None:
    """Leave everything running until the user has seen enough."""
    print(f"\nThe cluster stays until Ctrl-C: export KUBECONFIG={kubeconfig}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)
    print()


@contextlib.contextmanager
def real_site(*workers: Callable[[], Image]) -> Iterator[Site]:
    """Build what is missing, start a cluster with a real node, load images, install the chart."""
    say = Say()
    build.build(build.GROUPS["real-node"])
    built = [image() for image in (images.operator, *workers)]
    say("programs and images are built")
    with (
        tempfile.TemporaryDirectory(prefix="drumline-demo-") as scratch,
        RealNode() as node,
        EmbeddedCluster(node.options()) as cluster,
    ):
        # Below it are directories that pods write to.
        Path(scratch).chmod(0o755)
        say(f"control plane at {cluster.advertised_url}")
        node.join(cluster)
        say("the real node is Ready: containerd, kubelet, kube-proxy, CoreDNS")
        node.store.load(*built)
        say(f"images are in the node's store: {', '.join(image.name for image in built)}")
        install_operator(cluster.kubeconfig)
        say("helm install charts/drumline: the operator runs in a pod, with the chart's rights only")
        yield Site(cluster, node, Kubectl(cluster.kubeconfig), Path(scratch), say)


def install_operator(kubeconfig: Path) -> None:
    """``helm install`` of the chart, then wait until the operator is ready; raises ``RuntimeError``."""
    arguments = ["install", "drumline", str(REPOSITORY / "charts" / "drumline"), "--create-namespace"]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [
                str(build.binary("helm")),
                *arguments,
                f"--namespace={OPERATOR_NAMESPACE}",
                f"--kubeconfig={kubeconfig}",
            ],
            env={"HOME": home, "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"helm install failed: {done.stderr.strip()}")
    kubectl = Kubectl(kubeconfig, OPERATOR_NAMESPACE)
    until(lambda: _is_available(kubectl), "the operator to be ready", _READY_SECONDS)


def _is_available(kubectl: Kubectl) -> bool:
    deployments = kubectl.list("deployments")
    return bool(deployments) and all(item["status"].get("readyReplicas") for item in deployments)


def volume(name: str, path: Path, mode: str) -> dict[str, Any]:
    """A PersistentVolume on the node's disk, kept for the claim of the same name."""
    reserved = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": [mode],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(path), "type": "Directory"},
            "claimRef": reserved,
        },
    }


def claim(name: str, mode: str) -> dict[str, Any]:
    """A claim for the volume of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


class Say:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, line: str) -> None:
        print(f"[{time.monotonic() - self._started:6.1f} s] {line}", file=sys.stdout, flush=True)
