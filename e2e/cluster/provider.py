"""Clusters behind one interface: one that is there already, kind, or the embedded one.

``DRUMLINE_CLUSTER`` names the provider: ``existing`` uses the cluster of ``KUBECONFIG``, ``kind`` and
``embedded`` make one. Unset, kind is taken where its binary and a Docker engine answer, else the embedded one.
"""

import base64
import importlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from e2e.cluster import build
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster

# The kind node image of the Kubernetes version that is pinned by default.
_KIND_VERSION = "1.36.1"


class KubectlError(RuntimeError):
    """A kubectl command failed; the message is what it wrote to stderr."""


@dataclass
class Cluster:
    """A running cluster, however it came to be.

    ``kubeconfig`` is an administrator's; ``url`` and ``ca`` (PEM) are what it says. ``embedded`` is set for
    an embedded cluster: its programs can be paused, killed and restarted.
    """

    provider: str
    kubeconfig: Path
    url: str
    ca: bytes
    embedded: EmbeddedCluster | None = None
    _end: Callable[[], None] = field(default=lambda: None, repr=False)

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl as administrator and return its stdout; raises ``KubectlError``."""
        command = [str(build.binary("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir()}
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=environment,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply these objects (server side, so that big ones fit); raises ``KubectlError``."""
        documents = "\n---\n".join(json.dumps(item) for item in objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=documents)

    def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed; raises ``KubectlError``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def stop(self) -> None:
        """End the cluster if it was made here; one that was there already stays."""
        self._end()


class Provider(Protocol):
    """A way to get a cluster."""

    name: str

    def why_not(self) -> str | None:
        """Why this provider cannot be used here, or None where it can."""

    def start(self, options: ClusterOptions) -> Cluster:
        """Bring a cluster up; options that only the embedded one knows are ignored by the others."""


class Existing:
    """The cluster that ``KUBECONFIG`` names. Never chosen unless asked for: tests write to it."""

    name = "existing"

    def why_not(self) -> str | None:
        return None if os.environ.get("KUBECONFIG") else "KUBECONFIG is not set"

    def start(self, options: ClusterOptions) -> Cluster:
        return _from_kubeconfig(self.name, Path(os.environ["KUBECONFIG"]), lambda: None)


class Kind:
    """A cluster in Docker containers, by the kind binary through pytest-kubernetes."""

    name = "kind"

    def why_not(self) -> str | None:
        if build.kubernetes() != build.DEFAULT_KUBERNETES:
            return f"its node image is Kubernetes {_KIND_VERSION}"
        for program in ("docker", "kind"):
            if shutil.which(program) is None:
                return f"{program} is not installed"
        answer = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
        return None if answer.returncode == 0 else "no Docker engine answers"

    def start(self, options: ClusterOptions) -> Cluster:
        # Imported only where Docker is, and by name, since the library has no types.
        options_of = importlib.import_module("pytest_kubernetes.options").ClusterOptions
        manager_of = importlib.import_module("pytest_kubernetes.providers.kind").KindManagerBase
        directory = Path(tempfile.mkdtemp(prefix="drumline-kind-"))
        manager = manager_of(f"drumline-{os.getpid()}")
        manager.create(options_of(kubeconfig_path=directory / "kubeconfig", api_version=_KIND_VERSION))

        def end() -> None:
            manager.delete()
            shutil.rmtree(directory, ignore_errors=True)

        return _from_kubeconfig(self.name, directory / "kubeconfig", end)


class Embedded:
    """A control plane of our own, with fake nodes."""

    name = "embedded"

    def why_not(self) -> str | None:
        return None if os.uname().sysname == "Linux" else "the embedded cluster needs Linux"

    def start(self, options: ClusterOptions) -> Cluster:
        return of_embedded(EmbeddedCluster(options).start())


PROVIDERS: tuple[Provider, ...] = (Existing(), Kind(), Embedded())


def choose() -> Provider:
    """The provider to use; raises ``RuntimeError`` with every reason when there is none."""
    asked = os.environ.get("DRUMLINE_CLUSTER")
    if asked is not None:
        return _asked(asked)
    reasons = []
    for provider in PROVIDERS[1:]:
        reason = provider.why_not()
        if reason is None:
            return provider
        reasons.append(f"{provider.name}: {reason}")
    raise RuntimeError(f"no cluster can be had here ({'; '.join(reasons)})")


def start(options: ClusterOptions | None = None) -> Cluster:
    """Bring up a cluster by the chosen provider."""
    return choose().start(options or ClusterOptions())


def of_embedded(embedded: EmbeddedCluster) -> Cluster:
    """A running embedded cluster behind the common interface."""
    ca = embedded.ca.read_bytes()
    return Cluster("embedded", embedded.kubeconfig, embedded.url, ca, embedded, embedded.stop)


def _asked(name: str) -> Provider:
    for provider in PROVIDERS:
        if provider.name == name:
            reason = provider.why_not()
            if reason is not None:
                raise RuntimeError(f"DRUMLINE_CLUSTER={name}: {reason}")
            return provider
    known = ", ".join(provider.name for provider in PROVIDERS)
    raise RuntimeError(f"DRUMLINE_CLUSTER={name} is none of {known}")


def _from_kubeconfig(name: str, kubeconfig: Path, end: Callable[[], None]) -> Cluster:
    cluster = Cluster(name, kubeconfig, "", b"", None, end)
    view = json.loads(cluster.kubectl("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
    entry = view["clusters"][0]["cluster"]
    cluster.url = entry["server"]
    cluster.ca = base64.b64decode(entry.get("certificate-authority-data", ""))
    return cluster
