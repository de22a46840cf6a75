"""Sees to it that workers can verify the report ingest, without ever holding up their pods.

A worker that lacks the authority can't report yet; its pod mounts the ConfigMap as soon as it is there. Where jobs
run that an earlier leader began, the authority may be another by now: so they are seen to from the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from drumline.runtime.errors import ApiError
from drumline.runtime.ingest.certificates import CaPublisher

REFRESH_SECONDS: Final = 300.0
ENSURE_SECONDS: Final = 5.0  # a webhook that hangs holds up no pods for longer

logger = logging.getLogger(__name__)


class Trust:
    """The authority of the ingest in every namespace with jobs: the `controller.Authority`."""

    def __init__(self, publisher: CaPublisher) -> None:
        self._publisher = publisher

    async def ensure(self, namespace: str) -> None:
        """Before pods are created there. What goes wrong is logged and tried again with the next pods."""
        try:
            async with asyncio.timeout(ENSURE_SECONDS):
                await self._publisher.ensure(namespace)
        except (ApiError, TimeoutError) as error:
            why = str(error) or f"the API server took more than {ENSURE_SECONDS:g} s"
            logger.warning("workers of namespace %s cannot verify the report ingest yet: %s", namespace, why)

    async def run(self, running: Callable[[], Iterable[str]]) -> None:
        """Keep every namespace up to date, and those in which jobs run: `running`."""
        while True:
            for namespace in set(running()):
                await self.ensure(namespace)
            await asyncio.sleep(REFRESH_SECONDS)
            for error in await self._publisher.refresh():
                logger.warning("an authority of the report ingest was not renewed: %s", error)
