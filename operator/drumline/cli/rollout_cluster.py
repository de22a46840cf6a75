"""One InferenceService of a cluster and its revisions, read and changed with the user's own kubeconfig."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from drumline.api.meta import INFERENCE_SERVICES, LABEL_SERVICE
from drumline.cli.cluster import (
    CONNECT_ATTEMPTS,
    PAGE,
    Access,
    ClusterError,
    Manifest,
    NotFoundError,
    access_of,
    add_connection,
    namespace_of,
)


class ChangedError(ClusterError):
    """The service was changed since it was read."""


@dataclass(frozen=True, slots=True)
class Found:
    """A service as it stands, and the ControllerRevisions that it owns."""

    service: Manifest
    revisions: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """Which service of which cluster, as whom."""

    access: Access
    namespace: str
    name: str


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the service's name and kubectl's options for reaching a cluster."""
    parser.add_argument("name", metavar="NAME", help="InferenceService")
    parser.add_argument("-n", "--namespace", help="default: the context's namespace")
    add_connection(parser)


def address_of(args: Namespace) -> Address:
    """What the options and the environment say."""
    access = access_of(args)
    return Address(access, args.namespace or namespace_of(access), args.name)


def load(address: Address) -> Found:
    """The service and its revisions. NotFoundError, ClusterError."""
    return asyncio.run(_load(address))


def patch(address: Address, body: Mapping[str, Any]) -> None:
    """Merge `body` into the service. NotFoundError, ChangedError, ClusterError."""
    asyncio.run(_patch(address, body))


async def _load(address: Address) -> Found:
    async with _session(address) as client:
        service = await client.request("GET", address_path(address))
        revisions = await _revisions(client, address, service["metadata"]["uid"])
    return Found(service, revisions)


async def _revisions(client: Any, address: Address, uid: str) -> tuple[Manifest, ...]:
    from drumline.core.gang.names import controller_uid  # noqa: PLC0415  (see `_session`)
    from drumline.runtime.http_paths import resource_path  # noqa: PLC0415

    path = resource_path("controllerrevisions", address.namespace)
    params: dict[str, Any] = {"labelSelector": f"{LABEL_SERVICE}={address.name}", "limit": PAGE}
    found: list[Manifest] = []
    while True:
        page = await client.request("GET", path, params=params)
        found += [item for item in page["items"] if controller_uid(item["metadata"]) == uid]
        token = page["metadata"].get("continue")
        if not token:
            return tuple(found)
        params = {**params, "continue": token}


async def _patch(address: Address, body: Mapping[str, Any]) -> None:
    from drumline.runtime.http import MERGE_PATCH  # noqa: PLC0415  (see `_session`)

    async with _session(address) as client:
        params = {"fieldManager": "kubectl-drumline"}
        await client.request(
            "PATCH", address_path(address), body=body, params=params, content_type=MERGE_PATCH
        )


def address_path(address: Address) -> str:
    """Path of the service."""
    from drumline.runtime.http_paths import resource_path  # noqa: PLC0415  (see `_session`)

    return resource_path(INFERENCE_SERVICES, address.namespace, address.name)


@asynccontextmanager
async def _session(address: Address) -> AsyncIterator[Any]:
    """A connection whose errors are those of the command line."""
    # what follows takes half a second to import, and showing help needs none of it
    from drumline.runtime.errors import Conflict, DrumlineError, NotFound  # noqa: PLC0415
    from drumline.runtime.kube import connect  # noqa: PLC0415

    access = address.access
    try:
        async with await connect(
            access.kubeconfig or None, access.context, attempts=CONNECT_ATTEMPTS
        ) as client:
            yield client
    except NotFound as error:
        what = f"{address.namespace}/{address.name}"
        raise NotFoundError(f"InferenceService {what} not found: {error}") from error
    except Conflict as error:
        raise ChangedError(f"it was changed meanwhile; look at it and try again: {error}") from error
    except DrumlineError as error:
        raise ClusterError(str(error)) from error
