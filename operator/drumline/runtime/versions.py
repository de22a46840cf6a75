"""What an API server can do: by what it answers where it can be asked, else by its version."""

from __future__ import annotations

import re
from typing import Final

from drumline.core.training.progress_render import RESTART_WHEN_KILLED
from drumline.runtime.errors import ApiError, DrumlineError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path

IMAGE_VOLUMES: Final = (1, 35)  # on by default since; before that a pod with one is refused


async def takes_image_volumes(client: Client) -> bool:
    """Whether pods may have image volumes; True where the API server does not tell its version."""
    try:
        found = await client.request("GET", "/version")
    except ApiError:
        return True
    numbers = [re.match(r"\d+", str(found.get(part) or "")) for part in ("major", "minor")]
    return not all(numbers) or tuple(int(n[0]) for n in numbers if n) >= IMAGE_VOLUMES


async def restarts_containers(client: Client, namespace: str) -> bool:
    """Whether the API server keeps a container's rules of restart: a pod with some is created, but for real.

    False where it can't be asked. Before 1.34 it knows no such field, until 1.35 it drops it, and always where the
    feature is off.
    """
    secure = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    resources = {"cpu": "1m", "memory": "1Mi"}
    container = {
        "name": "probe",
        "image": "none.invalid/probe",
        "securityContext": secure,
        "resources": {"requests": resources, "limits": resources},
        **RESTART_WHEN_KILLED,
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "drumline-probe-"}, "spec": spec}
    params = {"dryRun": "All", "fieldValidation": "Ignore"}
    try:
        found = await client.request("POST", resource_path("pods", namespace), body=pod, params=params)
    except DrumlineError:
        return False
    return bool(found["spec"]["containers"][0].get("restartPolicyRules"))
