"""The process that evaluates selectors: its end, its memory and its output are blamed on no expression for good."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from drumline.core.gang.devices import Device
from drumline.runtime import device_answers, device_selectors
from drumline.runtime.device_selectors import evaluate
from tests.unit.runtime.test_device_answers import DOMAIN, GPU, SECONDS, Desk, desk, stub

WORKER = """
from drumline.runtime import selector_worker
real = selector_worker.evaluate
def evaluate(expression, device):
    if "fat" in expression:
        raise MemoryError
    if "loud" in expression:
        print("by the way")
        import os
        os.write(1, b"so to speak\\n")
    return real(expression, device)
selector_worker.evaluate = evaluate
selector_worker.main()
"""


def worker() -> tuple[str, ...]:
    """The real one, where what has `fat` in it finds no memory, and what has `loud` prints."""
    return sys.executable, "-c", WORKER


def once(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A process that does this over the first expression that has `bad` in it, and never again."""
    mark = tmp_path / "mark"
    return stub(
        f"if 'bad' in line and not __import__('os').path.exists({str(mark)!r}): open({str(mark)!r}, 'w'); {body}"
    )


def process_of(at: Desk) -> asyncio.subprocess.Process:
    process = at.answers._process
    assert process is not None
    return process


async def test_one_that_died_while_idle_is_begun_anew() -> None:
    async with desk(*stub()) as at:
        assert await at.get("true") is True
        process = process_of(at)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert await at.get("!false") is True
        assert process_of(at).pid != process.pid


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(3)",
        "print('by the way', flush=True)",
        "print('{}', flush=True)",
        "print('[1]', flush=True)",
        """print('{"answers": [], "spent": 0}', flush=True)""",
        """print('{"answers": [7], "spent": 0}', flush=True)""",
        "sys.stdout.buffer.write(bytes([255, 10])); sys.stdout.flush()",
    ],
)
async def test_an_end_that_is_not_the_expressions_doing_costs_it_nothing(tmp_path: Path, body: str) -> None:
    async with desk(*once(tmp_path, body)) as at:
        assert await at.get("'bad' == 'bad'") is True
        assert await at.get("true") is True


async def test_a_refusal_for_that_expires(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device_answers, "REFUSED_SECONDS", 0.01)
    mark = tmp_path / "well"
    async with desk(*stub(f"if not __import__('os').path.exists({str(mark)!r}): sys.exit(3)")) as at:
        said = await at.get("true")
        assert said is None or "its evaluation did not end well" in str(said)
        await at.until(lambda: len(at.order) >= 2)
        mark.touch()
        while at.ask("true") is not True:
            at.news.clear()
            await asyncio.wait_for(at.news.wait(), SECONDS)


async def test_out_of_memory_is_no_answer() -> None:
    async with desk(*worker()) as at:
        assert await at.get(f"{DOMAIN}.ok") is True
        process = process_of(at)
        assert "its evaluation did not end well" in str(await at.get("'fat' == 'fat'"))
        assert await process.wait() == 70
        assert await at.get(f"{DOMAIN}.index == 3") is True


async def test_what_is_printed_is_no_answer() -> None:
    async with desk(*worker()) as at:
        assert await at.get("'loud' == 'loud'") is True
        process = process_of(at)
        assert await at.get(f"{DOMAIN}.index == 3") is True
        assert process_of(at) is process


async def test_a_process_is_replaced_after_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_answers, "MAX_SERVED", 2)
    async with desk(*stub()) as at:
        pids = []
        for expression in ("1 == 1", "2 == 2", "3 == 3"):
            assert await at.get(expression) is True
            pids.append(process_of(at).pid)
    assert pids[0] == pids[1] != pids[2]


async def test_what_goes_wrong_here_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: Device) -> list[object]:
        raise KeyError(device.id)

    async with desk(*stub()) as at:
        with monkeypatch.context() as patch:
            patch.setattr(device_answers, "packed", broken)
            assert "its evaluation did not end well" in str(await at.get("1 == 1"))
        assert await at.get("true") is True


async def test_who_is_told_may_fail() -> None:
    async with desk(*stub()) as at:
        tell, called = at.answers._answered, asyncio.Event()

        def fails(expression: str) -> None:
            called.set()
            raise KeyError(expression)

        at.answers._answered = fails
        at.ask("1 == 1")
        await asyncio.wait_for(called.wait(), SECONDS)
        at.answers._answered = tell
        assert await at.get("true") is True


@pytest.mark.parametrize("wrapped", [False, True])
def test_being_out_of_memory_says_nothing_of_an_expression(
    monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    def full(_expression: str) -> object:
        if not wrapped:
            raise MemoryError
        raise ValueError("as the library puts it") from MemoryError()

    monkeypatch.setattr(device_selectors, "_program", full)
    with pytest.raises(MemoryError):
        evaluate("true", GPU)
