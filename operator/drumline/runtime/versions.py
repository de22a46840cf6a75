"""What an API server can do: by what it answers where it can be asked, else by its version.

One that can't be asked just now is asked again until it has answered; meanwhile it is taken for one that can do what is
on by default, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from drumline.core.training.progress_render import RESTART_WHEN_KILLED
from drumline.runtime.errors import ApiError, TransientError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path

IMAGE_VOLUMES: Final = (1, 35)  # on by default since; before that a pod with one is refused
AGAIN_SECONDS: Final = 5.0  # before the server is asked again

Ask = Callable[[], Awaitable[bool]]


async def told_abilities(
    client: Client, namespace: str, tell: Callable[..., None], pause: float = AGAIN_SECONDS
) -> list[asyncio.Task[None]]:
    """Give `tell` what is known as a field of the settings; the tasks that ask for the rest until it is.

    `namespace`: one in which pods may be created. `pause` is in seconds.
    """
    asked: tuple[tuple[str, Ask], ...] = (
        ("image_volumes", lambda: takes_image_volumes(client)),
        ("container_restarts", lambda: restarts_containers(client, namespace)),
    )
    tasks = []
    for field, ask in asked:
        try:
            tell(**{field: await ask()})
        except TransientError:
            tasks.append(asyncio.create_task(_insist(field, ask, tell, pause)))
    return tasks


async def _insist(field: str, ask: Ask, tell: Callable[..., None], pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        try:
            tell(**{field: await ask()})
        except TransientError:
            continue
        return


async def takes_image_volumes(client: Client) -> bool:
    """Whether pods may have image volumes; True where the API server does not tell its version.

    Raises TransientError where it can't be asked now.
    """
    try:
        found = await client.request("GET", "/version")
    except TransientError:
        raise
    except ApiError:
        return True
    numbers = [re.match(r"\d+", str(found.get(part) or "")) for part in ("major", "minor")]
    return not all(numbers) or tuple(int(n[0]) for n in numbers if n) >= IMAGE_VOLUMES


async def restarts_containers(client: Client, namespace: str) -> bool:
    """Whether the API server keeps a container's rules of restart: a pod with some is created, but for real.

    False where it refuses to be asked. Before 1.34 it knows no such field, until 1.35 it drops it, and always where the
    feature is off. Raises TransientError where it can't be asked now.
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
    except TransientError:
        raise
    except ApiError:
        return False
    return bool(found["spec"]["containers"][0].get("restartPolicyRules"))
