"""Rounds that take long: what was listed for one is good in it, however late it comes to the gang."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drumline.core.gang.admission import admit
from drumline.runtime import admitter
from tests.builders import capacity, gpu_block
from tests.unit.runtime.test_admitter import Hall

pytestmark = pytest.mark.looptime(start=0)


@pytest.mark.parametrize("took", [0.6, 3.0, 20.0])
async def test_a_gang_with_a_quota_is_let_in_however_long_a_round_takes(
    monkeypatch: pytest.MonkeyPatch, took: float
) -> None:
    loop, real, late = asyncio.get_running_loop(), asyncio.get_running_loop().time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real() + late[0])

    def slow(*args: Any) -> Any:
        late[0] += took
        return admit(*args)

    hall = Hall(capacity(gpu_block("a", 8)))
    hall.api.quotas["team"] = 8
    hall.want("a", 8)
    await asyncio.sleep(5)
    monkeypatch.setattr(admitter, "admit", slow)
    hall.want("first", 4)
    hall.want("second", 3)
    hall.want("behind", 1, namespace="other", queued_at=1.0)
    await asyncio.sleep(20 * took)
    hall.admitter.drop("a")
    hall.room.release("a")
    hall.admitter.wake()
    await asyncio.sleep(20 * took + 20)
    assert [hall.reason(uid) for uid in ("first", "second", "behind")] == ["granted"] * 3
    hall.loop.cancel()
    await asyncio.gather(hall.loop, return_exceptions=True)
