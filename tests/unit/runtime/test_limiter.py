import asyncio

import pytest

from drumline.runtime.limiter import Limiter


async def _starts(limiter: Limiter, count: int, hold: float = 0.0) -> list[float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    starts: list[float] = []

    async def one() -> None:
        async with limiter.slot():
            starts.append(round(loop.time() - began, 3))
            await asyncio.sleep(hold)

    await asyncio.gather(*(one() for _ in range(count)))
    return starts


@pytest.mark.looptime
async def test_burst_then_rate() -> None:
    assert await _starts(Limiter(qps=10, burst=3, in_flight=99), 6) == [0, 0, 0, 0.1, 0.2, 0.3]


@pytest.mark.looptime
async def test_burst_comes_back_with_time() -> None:
    limiter = Limiter(qps=10, burst=3, in_flight=99)
    await _starts(limiter, 3)
    await asyncio.sleep(10)
    assert await _starts(limiter, 4) == [0, 0, 0, 0.1]


@pytest.mark.looptime
async def test_number_in_flight() -> None:
    assert await _starts(Limiter(in_flight=2), 5, hold=1) == [0, 0, 1, 1, 2]


@pytest.mark.looptime
@pytest.mark.parametrize("qps", [0, 100])
async def test_pause_holds_everybody(qps: float) -> None:
    limiter = Limiter(qps=qps, burst=5, in_flight=9)
    limiter.pause(2)
    assert await _starts(limiter, 2) == [2, 2]


@pytest.mark.parametrize("bad", [{"qps": -1}, {"burst": 0}, {"in_flight": 0}])
def test_nonsense_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="bad limit"):
        Limiter(**bad)
