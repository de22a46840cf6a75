"""helm against a cluster, in one namespace."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import build
from e2e.cluster.provider import Cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "drumline"


@dataclass(frozen=True)
class Helm:
    """helm with a home of its own, so that nobody's configuration or plug-in has a say."""

    cluster: Cluster
    namespace: str
    home: Path

    def __call__(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        """What helm prints; AssertionError with its complaint when it fails."""
        command = [str(build.binary("helm")), *arguments, "--namespace", self.namespace]
        command += ["--kubeconfig", str(self.cluster.kubeconfig)]
        command += ["--values", "-"] if values is not None else []
        done = subprocess.run(
            command,
            input=json.dumps(values),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"HOME": str(self.home), "PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, values: dict[str, Any]) -> None:
        """A release named like the namespace, whose objects are named `op`."""
        self(
            "install",
            # Tests of the API have applied the same CRDs with kubectl, which then owns their fields.
            "--force-conflicts",
            self.namespace,
            str(CHART),
            values={**self._shared(), **values, "fullnameOverride": "op"},
        )

    def uninstall(self) -> None:
        """Take the release away, if it is there."""
        if self.namespace in self("list", "--short").split():
            self("uninstall", self.namespace, "--wait")

    def kubeconfig(self) -> dict[str, Any]:
        """For whoever runs beside the cluster with the rights of the release's service account."""
        token = self.cluster.kubectl("create", "token", "op", "-n", self.namespace).strip()
        view = self.cluster.kubectl("config", "view", "--minify", "--flatten", "--raw", "-o", "json")
        cluster = json.loads(view)["clusters"][0]["cluster"]
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "op",
            "contexts": [{"name": "op", "context": {"cluster": "it", "user": "op"}}],
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "op", "user": {"token": token}}],
        }

    def _shared(self) -> dict[str, Any]:
        """The cluster's PriorityClass may be another release's already."""
        classes = {c["metadata"]["name"] for c in self.cluster.get("priorityclasses")["items"]}
        return {"priorityClass": {"create": "drumline-worker" not in classes}}
