import asyncio

import pytest

from drumline.runtime.errors import Unavailable
from drumline.runtime.workqueue import BACK_EVERY, WorkQueue

pytestmark = pytest.mark.looptime(start=0)


class Log:
    """A handler that notes when it began on which key, takes `seconds`, and fails on demand."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.began: list[tuple[float, str]] = []
        self.failing: dict[str, int] = {}
        self.again: dict[str, float] = {}
        self.active: list[str] = []

    async def __call__(self, key: str) -> float | None:
        assert key not in self.active, "one worker at a time"
        self.began.append((round(asyncio.get_running_loop().time(), 3), key))
        self.active.append(key)
        await asyncio.sleep(self.seconds)
        self.active.remove(key)
        if self.failing.get(key, 0) > 0:
            self.failing[key] -= 1
            raise RuntimeError(key)
        return self.again.pop(key, None)


@pytest.fixture
async def queue():
    queue = WorkQueue(initial=1.0, maximum=5.0)
    yield queue
    await queue.stop(0)


async def test_a_key_waits_once(queue) -> None:
    log = Log()
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert len(queue) == 2
    queue.start(log, 4)
    await asyncio.sleep(1)
    assert log.began == [(0, "a"), (0, "b")]


async def test_a_key_added_while_worked_on_comes_back_after(queue) -> None:
    log = Log(seconds=2)
    queue.start(log, 4)
    queue.add("a")
    await asyncio.sleep(1)
    queue.add("a")
    queue.add("a")
    await asyncio.sleep(9)
    assert log.began == [(0, "a"), (2, "a")]


async def test_workers_are_bounded(queue) -> None:
    log = Log(seconds=1)
    queue.start(log, 2)
    for key in "abcd":
        queue.add(key)
    await asyncio.sleep(9)
    assert log.began == [(0, "a"), (0, "b"), (1, "c"), (1, "d")]


async def test_backoff_grows_per_key_to_its_maximum_and_starts_over_after_success(queue) -> None:
    log = Log()
    log.failing = {"a": 5}
    queue.start(log, 1)
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(100)
    assert log.began == [(0, "a"), (0, "b"), (1, "a"), (3, "a"), (7, "a"), (12, "a"), (17, "a")]
    log.began.clear()
    log.failing = {"a": 1}
    queue.add("a")
    await asyncio.sleep(10)
    assert log.began == [(100, "a"), (101, "a")]


async def test_the_earliest_time_wins(queue) -> None:
    log = Log()
    queue.start(log, 1)
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    assert queue.delayed == 1
    await asyncio.sleep(20)
    assert log.began == [(2, "a")]


async def test_a_handler_can_ask_to_be_called_again(queue) -> None:
    log = Log()
    log.again = {"a": 3}
    queue.start(log, 1)
    queue.add("a")
    await asyncio.sleep(20)
    assert log.began == [(0, "a"), (3, "a")]


async def test_no_delay_means_now(queue) -> None:
    log = Log()
    queue.start(log, 1)
    queue.add_after("a", 0)
    await asyncio.sleep(1)
    assert log.began == [(0, "a")]


async def test_stop_lets_workers_finish_and_starts_nothing_new(queue) -> None:
    log = Log(seconds=3)
    queue.start(log, 1)
    for key in "ab":
        queue.add(key)
    queue.add_after("c", 1)
    await asyncio.sleep(1)
    assert await queue.stop(grace=10) is True
    assert asyncio.get_running_loop().time() == pytest.approx(3)
    queue.add("d")
    assert log.began == [(0, "a")]
    assert log.active == []


async def test_stop_cuts_off_what_takes_too_long(queue) -> None:
    log = Log(seconds=100)
    queue.start(log, 2)
    queue.add("a")
    await asyncio.sleep(1)
    assert await queue.stop(grace=10) is False
    assert asyncio.get_running_loop().time() == pytest.approx(11)


@pytest.mark.parametrize(("error", "trace"), [(Unavailable("away"), False), (RuntimeError("a bug"), True)])
async def test_only_what_is_not_expected_is_logged_with_its_trace(queue, caplog, error, trace: bool) -> None:
    async def fail(key: str) -> None:
        raise error

    queue.start(fail, 1)
    queue.add("a")
    await asyncio.sleep(0.5)
    assert [bool(record.exc_info) for record in caplog.records] == [trace]
    assert "trying again in 1.0 s" in caplog.text


async def test_the_front_lane_goes_first_and_the_back_one_is_not_forgotten(queue) -> None:
    log = Log(seconds=1)
    for number in range(3):
        queue.add(f"back{number}", back=True)
    for number in range(BACK_EVERY + 1):
        queue.add(f"front{number}")
    assert len(queue) == BACK_EVERY + 4
    queue.start(log, 1)
    await asyncio.sleep(BACK_EVERY + 4.5)
    began = [key for _, key in log.began]
    assert began[: BACK_EVERY - 1] == [f"front{number}" for number in range(BACK_EVERY - 1)]
    assert began[BACK_EVERY - 1] == "back0"
    assert began[-2:] == ["back1", "back2"]
    assert len(queue) == 0


async def test_a_key_of_the_back_lane_that_matters_now_goes_to_the_front(queue) -> None:
    log = Log(seconds=1)
    queue.add("a", back=True)
    queue.add("b", back=True)
    queue.add("c")
    queue.add("b")
    queue.add("b", back=True)
    queue.start(log, 1)
    await asyncio.sleep(5)
    assert [key for _, key in log.began] == ["c", "b", "a"]


async def test_a_key_that_comes_back_does_so_in_its_lane(queue) -> None:
    log = Log(seconds=1)
    queue.add("a")
    queue.start(log, 1)
    await asyncio.sleep(0.5)
    queue.add("a", back=True)
    queue.add("b", back=True)
    queue.add("c")
    await asyncio.sleep(5)
    assert [key for _, key in log.began] == ["a", "c", "b", "a"]
