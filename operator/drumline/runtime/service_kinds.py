"""Kinds that a cluster may have or not: mirrored while the API server serves them.

Asked of API discovery at the start and every few minutes after it, so that nothing breaks where a CRD is not
installed, and what is installed later is used with no restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from drumline.runtime.errors import ApiError, NotFound
from drumline.runtime.http import Client
from drumline.runtime.http_paths import PREFIXES
from drumline.runtime.reflector import Reflector

LOOK_SECONDS: Final = 180.0
RETRY_SECONDS: Final = 1.0  # while the API server can't be asked

logger = logging.getLogger(__name__)


class Kinds:
    """Mirrors by resource. `changed` is called when one of them came or went."""

    def __init__(
        self,
        client: Client,
        reflectors: Mapping[str, Reflector[Any]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._reflectors = dict(reflectors)
        self._changed = changed
        self._running: dict[str, asyncio.Task[None]] = {}

    def served(self, resource: str) -> bool:
        """Whether the cluster has the kind, and all of its objects were seen."""
        return resource in self._running and self._reflectors[resource].synced.is_set()

    def mirrors(self, resource: str) -> bool:
        """Whether the cluster has the kind, though its objects may not all have been seen."""
        return resource in self._running

    async def start(self, required: Iterable[str]) -> None:
        """Mirror what is served; return when all objects of those kinds among `required` were seen."""
        while not await self.look():  # noqa: ASYNC110 - a server that is away sets no event
            await asyncio.sleep(RETRY_SECONDS)
        for resource in required:
            if resource in self._running:
                await self._reflectors[resource].synced.wait()
            else:
                logger.warning("the API server does not serve %s: install its CRD", resource)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> bool:
        """Start and stop mirrors by what is served now; false when the API server could not be asked."""
        try:
            served = {prefix: await self._resources(prefix) for prefix in self._prefixes()}
        except ApiError as error:
            logger.warning("cannot look which kinds are served: %s", error)
            return False
        for resource, reflector in self._reflectors.items():
            there = resource in served[PREFIXES[resource]]
            if there and resource not in self._running:
                self._running[resource] = asyncio.create_task(self._mirror(reflector))
            elif not there and resource in self._running:
                logger.info("%s are not served any more", resource)
                self._running.pop(resource).cancel()
                reflector.resource_version = ""  # the next run lists anew
                self._changed()
        return True

    async def stop(self) -> None:
        """Stop mirroring."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _mirror(self, reflector: Reflector[Any]) -> None:
        reflector.synced.clear()
        seen = asyncio.create_task(self._told(reflector))
        try:
            await reflector.run()
        finally:
            seen.cancel()

    async def _told(self, reflector: Reflector[Any]) -> None:
        await reflector.synced.wait()
        self._changed()

    def _prefixes(self) -> set[str]:
        return {PREFIXES[resource] for resource in self._reflectors}

    async def _resources(self, prefix: str) -> frozenset[str]:
        try:
            found = await self._client.request("GET", prefix)
        except NotFound:
            return frozenset()
        return frozenset(str(r["name"]) for r in found.get("resources") or ())
