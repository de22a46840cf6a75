"""Whose workers are given the authority, and what becomes of it where that fails."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from drumline.runtime.errors import ApiError, Unavailable
from drumline.runtime.ingest.certificates import CaPublisher
from drumline.runtime.trust import ENSURE_SECONDS, REFRESH_SECONDS, Trust

pytestmark = pytest.mark.looptime(start=0)


class Publisher:
    """Notes who got the authority, and when; one namespace never does."""

    def __init__(self) -> None:
        self.story: list[tuple[float, str]] = []

    def _note(self, what: str) -> None:
        self.story.append((asyncio.get_running_loop().time(), what))

    async def ensure(self, namespace: str) -> None:
        self._note(namespace)
        if namespace == "closed":
            raise Unavailable("no")
        if namespace == "hangs":
            await asyncio.sleep(3600)

    async def refresh(self) -> list[ApiError]:
        self._note("refresh")
        return [Unavailable("no")]


async def test_jobs_that_run_already_are_seen_to_at_once_and_again() -> None:
    publisher, running = Publisher(), ["a", "a"]
    task = asyncio.create_task(Trust(cast(CaPublisher, publisher)).run(lambda: running))
    await asyncio.sleep(REFRESH_SECONDS - 1)
    assert publisher.story == [(0, "a")]
    running[:] = ["closed"]
    await asyncio.sleep(REFRESH_SECONDS)
    assert publisher.story[1:] == [(REFRESH_SECONDS, "refresh"), (REFRESH_SECONDS, "closed")]
    assert not task.done()
    task.cancel()


async def test_pods_are_not_held_up_by_what_fails() -> None:
    await Trust(cast(CaPublisher, Publisher())).ensure("closed")


async def test_pods_are_not_held_up_for_long_by_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    await Trust(cast(CaPublisher, Publisher())).ensure("hangs")
    assert asyncio.get_running_loop().time() == ENSURE_SECONDS
    assert "namespace hangs cannot verify the report ingest yet: the API server took" in caplog.text
