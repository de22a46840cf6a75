"""The mirrors of events about pods."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from drumline.core.gang.hindrances import HINDRANCES
from drumline.runtime.http import Client
from drumline.runtime.pod_events import PodEvents
from drumline.runtime.reflector import WATCH_SECONDS


class _Quiet:
    """An API server that has no events, and says nothing."""

    def __init__(self) -> None:
        self.patience: list[float] = []

    async def request(self, method: str, path: str, *, params: dict[str, Any], seconds: float) -> Any:
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def stream_lines(self, path: str, params: dict[str, Any], *, inactivity: float) -> Any:
        self.patience.append(inactivity)
        await asyncio.get_running_loop().create_future()
        yield b""


async def test_silence_about_events_is_no_failure() -> None:
    quiet = _Quiet()
    events = PodEvents(cast("Client", quiet), "", lambda _namespace, _pod: None)
    tasks = [asyncio.create_task(r.run()) for r in events.reflectors]
    async with asyncio.timeout(10):
        while len(quiet.patience) < len(HINDRANCES):
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert min(quiet.patience) > WATCH_SECONDS[1], "a watch that nothing happens in ends by itself"
