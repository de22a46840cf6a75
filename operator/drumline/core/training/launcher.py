"""How the launcher comes before a user's command, and which commands it comes before.

The launcher is one file of Python. A command that begins with a Python interpreter runs it with that
interpreter. A command that begins with a shell looks for an interpreter first, in that very shell, and
goes on without the launcher where there is none. So does `/bin/sh` for programs that are known to be Python
scripts. Any other program is left alone: nothing tells whether its image has Python. The user's words are handed
on as arguments, never as text of a script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import basename
from typing import Any, Final

from drumline.api.mounts import LAUNCHER_CONTAINER, LAUNCHER_FILE, LAUNCHER_PATH, LAUNCHER_VOLUME
from drumline.api.wire import given

Container = dict[str, Any]  # v1.Container

_PYTHON: Final = re.compile(r"python(3(\.\d+)?)?")
_SHELLS: Final = frozenset({"ash", "bash", "dash", "sh", "zsh"})
# Console scripts of Python packages, by the name that pip gives them.
_SCRIPTS: Final = frozenset({"accelerate", "colossalai", "composer", "deepspeed", "torchrun"})
_SHELL: Final = "/bin/sh"  # not looked for on PATH, which may name the program's own directory alone
# Nothing in it is of the form that the kubelet expands, $(NAME) or $$. What lies beside the command comes last:
# beside /opt/conda/bin/torchrun there is a Python that PATH may not know.
_SCRIPT: Final = (
    f'p={LAUNCHER_FILE}; for i in python3 python "${{1%/*}}/python3"; do '
    'if command -v "$i" >/dev/null 2>&1; then exec "$i" "$p" -- "$@"; fi; done; exec "$@"'
)
_ARGUMENT_0: Final = "drumline"
# As limits, too: a pod whose containers all have them keeps its class of service, Guaranteed.
_RESOURCES: Final = {"cpu": "200m", "memory": "128Mi"}
_USER: Final = 65532  # of the operator's image


def launched(command: list[str]) -> list[str] | None:
    """The command with the launcher before it; None when the launcher does not take it."""
    program = basename(command[0])
    if _PYTHON.fullmatch(program):
        return [command[0], LAUNCHER_FILE, "--", *command]
    if program in _SHELLS or program in _SCRIPTS:
        shell = command[0] if program in _SHELLS else _SHELL
        return [shell, "-c", _SCRIPT, _ARGUMENT_0, *command]
    return None


def refusal(template: Mapping[str, Any]) -> str:
    """Why the launcher does not apply to pods of a valid template; "" when it does."""
    pod = template["spec"]
    if ((pod.get("os") or {}).get("name") or "linux") != "linux":
        return f"spec.template.spec.os is {pod['os']['name']}; the launcher runs on Linux"
    command = command_of(template)
    first = pod["containers"][0]["name"]
    if command is None:
        return f"container {first} has no command, so its image's own entrypoint runs; set command for the launcher"
    if launched(command) is None:
        taken = f"Python, a shell, {', '.join(sorted(_SCRIPTS))}"
        return f"command[0] of container {first} is {given(command[0])}; the launcher takes {taken}"
    return ""


def command_of(template: Mapping[str, Any]) -> list[str] | None:
    """The first container's command; None when it has none, or none that a pod may have."""
    command = template["spec"]["containers"][0].get("command")
    whole = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
    return list(command) if whole else None


def init_container(image: str, template: Mapping[str, Any]) -> Container:
    """The container that puts the launcher into the pod; fit for the restricted Pod Security Standard."""
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    # no user of our own unless need be: some clusters assign one to each namespace
    if (template["spec"].get("securityContext") or {}).get("runAsUser") == 0:
        security["runAsUser"] = _USER
    return {
        "name": LAUNCHER_CONTAINER,
        "image": image,
        "command": ["python", "-m", "drumline.worker.install", LAUNCHER_PATH],
        "resources": {"requests": _RESOURCES, "limits": _RESOURCES},
        "securityContext": security,
        "volumeMounts": [{"name": LAUNCHER_VOLUME, "mountPath": LAUNCHER_PATH}],
    }
