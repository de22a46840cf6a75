"""TrainingJobs and InferenceServices of a cluster, read with the user's own kubeconfig."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from drumline.api.meta import INFERENCE_SERVICE, INFERENCE_SERVICES, TRAINING_JOB, TRAINING_JOBS

Manifest = Mapping[str, Any]

PLURALS: Final = {TRAINING_JOB: TRAINING_JOBS, INFERENCE_SERVICE: INFERENCE_SERVICES}
PAGE: Final = 500  # objects a request
CONNECT_ATTEMPTS: Final = 2  # a person waits


class ClusterError(Exception):
    """The cluster can't be reached, or refused; the message says why."""


class RefusedError(ClusterError):
    """The user may not read that."""


class NotFoundError(ClusterError):
    """No such object."""


OK: Final = 0
UNREACHABLE: Final = 1


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, as whom. An empty `kubeconfig` = the pod's service account."""

    kubeconfig: str = ""
    context: str | None = None


def add_arguments(parser: ArgumentParser) -> None:
    """Declare kubectl's options for reaching a cluster."""
    parser.add_argument("-n", "--namespace", help="default: the context's namespace")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="objects of all namespaces")
    add_connection(parser)


def add_connection(parser: ArgumentParser) -> None:
    """Declare which cluster, for a command that says itself which namespaces it looks at."""
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, then ~/.kube/config")
    parser.add_argument("--context", help="default: the kubeconfig's current context")


def access_of(args: Namespace, environment: Mapping[str, str] = os.environ) -> Access:
    """What the options and the environment say."""
    default = Path(environment.get("HOME", "/")) / ".kube" / "config"
    found = args.kubeconfig or environment.get("KUBECONFIG") or (str(default) if default.exists() else "")
    return Access(found, args.context)


def namespace_of(access: Access) -> str:
    """Namespace of the context in use; `default` where it names none or can't be read."""
    documents = [_document(path) for path in access.kubeconfig.split(os.pathsep) if path]
    current = access.context or next(
        (d["current-context"] for d in documents if d.get("current-context")), ""
    )
    contexts = [entry for d in documents for entry in d.get("contexts") or ()]
    chosen: Any = next((entry.get("context") for entry in contexts if entry.get("name") == current), None)
    return str((chosen or {}).get("namespace") or "default")


def _document(path: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # the connection names what is wrong with it
    return found if isinstance(found, dict) else {}


def list_all(access: Access, kind: str, namespace: str) -> list[Manifest]:
    """Objects of a kind in a namespace; in all where it is empty. NotFoundError, ClusterError."""
    return asyncio.run(_read(access, kind, namespace, ""))


def get(access: Access, kind: str, namespace: str, name: str) -> Manifest:
    """One object. NotFoundError, ClusterError."""
    return asyncio.run(_read(access, kind, namespace, name))[0]


def list_each(access: Access, resources: Mapping[str, str]) -> dict[str, list[Manifest]]:
    """Objects of several resources, in all namespaces, by resource; the values are label selectors. ClusterError."""
    return asyncio.run(_read_each(access, resources))


async def _read_each(access: Access, resources: Mapping[str, str]) -> dict[str, list[Manifest]]:
    # what follows takes half a second to import, and reading a file needs none of it
    from drumline.runtime.errors import DrumlineError, Forbidden  # noqa: PLC0415
    from drumline.runtime.http_paths import resource_path  # noqa: PLC0415
    from drumline.runtime.kube import connect  # noqa: PLC0415

    try:
        async with await connect(
            access.kubeconfig or None, access.context, attempts=CONNECT_ATTEMPTS
        ) as client:
            return {
                resource: await _list(client, resource_path(resource), selector)
                for resource, selector in resources.items()
            }
    except Forbidden as error:
        raise RefusedError(str(error)) from error
    except DrumlineError as error:
        raise ClusterError(str(error)) from error


async def _read(access: Access, kind: str, namespace: str, name: str) -> list[Manifest]:
    # what follows takes half a second to import, and reading a file needs none of it
    from drumline.runtime.errors import DrumlineError, Forbidden, NotFound  # noqa: PLC0415
    from drumline.runtime.http_paths import resource_path  # noqa: PLC0415
    from drumline.runtime.kube import connect  # noqa: PLC0415

    path = resource_path(PLURALS[kind], namespace, name)
    try:
        async with await connect(
            access.kubeconfig or None, access.context, attempts=CONNECT_ATTEMPTS
        ) as client:
            found = [await client.request("GET", path)] if name else await _list(client, path)
    except NotFound as error:
        what = f"{kind} {namespace}/{name} not found" if name else f"this cluster has no {kind}s"
        raise NotFoundError(f"{what}: {error}") from error
    except Forbidden as error:
        raise RefusedError(str(error)) from error
    except DrumlineError as error:
        raise ClusterError(str(error)) from error
    # the items of a list do not say what they are
    return [{**item, "kind": kind} for item in found]


async def _list(client: Any, path: str, selector: str = "") -> list[Manifest]:
    found: list[Manifest] = []
    chosen = {"labelSelector": selector} if selector else {}
    params: dict[str, Any] = {"limit": PAGE, **chosen}
    while True:
        page = await client.request("GET", path, params=params)
        found += page.get("items") or ()
        token = page["metadata"].get("continue")
        if not token:
            return found
        params = {"limit": PAGE, "continue": token, **chosen}
