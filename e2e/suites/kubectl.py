"""kubectl as a few functions: what the suites and the demo do to a cluster, a person could type."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import build

_POLL_SECONDS = 0.2


class KubectlError(RuntimeError):
    """kubectl failed; the message is its own."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster and one namespace."""

    kubeconfig: Path
    namespace: str = "default"

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command and return its output; raises ``KubectlError``."""
        done = subprocess.run(
            [*self.command, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KubectlError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    @property
    def command(self) -> list[str]:
        """The program and its fixed flags."""
        return [
            str(build.binary("kubectl")),
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
        ]

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects; JSON is YAML too."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--filename=-", stdin=json.dumps(items))

    def apply_file(self, path: Path) -> None:
        """Apply a manifest."""
        self.run("apply", f"--filename={path}")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object; raises ``KubectlError`` when there is none."""
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "--output=json"))
        return found

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind that the label selector matches."""
        answer = json.loads(self.run("get", kind, f"--selector={selector}", "--output=json"))
        return list(answer["items"])

    def logs(self, pod: str, *flags: str) -> str:
        """What a pod's container has printed."""
        return self.run("logs", pod, *flags)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object and wait until it is gone; one that is not there is fine."""
        self.run("delete", kind, name, "--ignore-not-found", "--grace-period=1", "--wait=true")

    def wait_pod(self, name: str, phase: str, seconds: float = 150) -> dict[str, Any]:
        """Wait until a pod is in a phase; raises ``TimeoutError`` with its state and log otherwise."""
        wrong = {"Succeeded": "Failed", "Failed": "Succeeded"}.get(phase)
        pod: dict[str, Any] = {}

        def arrived() -> bool:
            nonlocal pod
            pod = self.get("pod", name)
            if pod["status"]["phase"] == wrong:
                raise AssertionError(f"pod {name} is {wrong}:\n{self.logs(name)}")
            return bool(pod["status"]["phase"] == phase)

        try:
            until(arrived, f"pod {name} to be {phase}", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {json.dumps(pod.get('status'))}") from error
        return pod


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll until a condition holds; raises ``TimeoutError``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(_POLL_SECONDS)
