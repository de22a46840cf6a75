"""Selectors are evaluated beside the operator: whatever one does, others get their answers."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from drumline.core.gang.device_asks import NotYetError, SelectorError
from drumline.core.gang.devices import Device, Version
from drumline.runtime import device_answers
from drumline.runtime.device_answers import Answers
from drumline.runtime.selector_worker import MAX_BYTES, packed, unpacked

SECONDS = 120  # on a machine that is busy with other things
DOMAIN = "device.attributes['gpu.example.com']"
GPU = Device(
    ("gpu.example.com", "pool", "gpu-0"),
    {"gpu.example.com/index": 3, "gpu.example.com/driver": Version("1.2.3"), "gpu.example.com/ok": True},
    {"gpu.example.com/memory": "80Gi"},
)
ENDLESS = f"{DOMAIN}.index >= 0 && [{','.join(map(str, range(230)))}].all(x, x + x >= x || x < 0)"
STUB = """
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    {0}
    print(json.dumps({{"answers": [True] * len(asked["devices"]), "spent": 0.0}}), flush=True)
"""


def stub(body: str = "pass") -> tuple[str, ...]:
    """A process that says yes to everything, after `body`."""
    return sys.executable, "-c", STUB.format(body)


class Desk:
    """Asks, and waits for answers."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.order: list[str] = []
        self.news = asyncio.Event()
        self.answers = Answers(self._answered, command)

    def _answered(self, expression: str) -> None:
        self.order.append(expression)
        self.news.set()

    def ask(self, expression: str, device: Device = GPU, namespace: str = "ml") -> bool | str | None:
        """The answer, the error, or None while there is none."""
        try:
            return self.answers(expression, device, (namespace,))
        except SelectorError as error:
            return str(error)
        except NotYetError:
            return None

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not done():
                self.news.clear()
                await self.news.wait()

    async def get(self, expression: str, device: Device = GPU) -> bool | str | None:
        self.ask(expression, device)
        await self.until(lambda: expression in self.order)
        return self.ask(expression, device)


@asynccontextmanager
async def desk(*command: str) -> AsyncIterator[Desk]:
    made = Desk(command or device_answers.COMMAND)
    running = asyncio.create_task(made.answers.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def address_space(pid: int) -> tuple[int, int]:
    """What a process may have, and has, in bytes."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return int(line.split()[3]), pages * resource.getpagesize()


def many(count: int) -> list[Device]:
    return [
        Device((*GPU.id[:2], f"gpu-{i}"), {**GPU.attributes, "gpu.example.com/index": i})
        for i in range(count)
    ]


def test_a_device_is_the_same_on_the_other_side() -> None:
    there = unpacked(packed(GPU))
    assert (there.id[0], there.attributes, there.capacity) == (GPU.id[0], GPU.attributes, GPU.capacity)


async def test_answers_come_later_and_stay() -> None:
    async with desk() as at:
        assert at.ask(f"{DOMAIN}.index == 3") is None
        assert await at.get(f"{DOMAIN}.index == 3") is True
        memory = "device.capacity['gpu.example.com'].memory.isLessThan(quantity('1Gi'))"
        assert await at.get(f"{memory} || {DOMAIN}.driver.isLessThan(semver('1.0.0'))") is False
        said = await at.get(f"{DOMAIN}.absent == 1")
        assert isinstance(said, str)
        assert "absent" in said
        assert "gpu.example.com/pool/gpu-0" in said
        assert "walks over 2 lists" in str(at.ask("[1].all(x, [1].all(y, x == y))")), (
            "of that nobody is asked"
        )


async def test_one_that_takes_too_long_is_ended_and_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_answers, "MAX_SECONDS", 0.2)
    async with desk() as at:
        for device in many(250):
            assert at.ask(ENDLESS, device, "hostile") is None
        at.ask(f"{DOMAIN}.ok", namespace="ml")
        await at.until(lambda: len(at.order) == 2)
        assert "takes more than 0.2 s to evaluate on all devices" in str(at.ask(ENDLESS))
        assert at.ask(f"{DOMAIN}.ok") is True


async def test_the_process_gets_only_so_much_memory() -> None:
    async with desk() as at:
        assert await at.get(f"{DOMAIN}.ok") is True
        process = at.answers._process
        assert process is not None
        limit, size = address_space(process.pid)
        assert limit <= size + MAX_BYTES


async def test_namespaces_take_turns() -> None:
    async with desk(*stub()) as at:
        for number in range(30):
            at.ask(f"{number} == {number}", namespace="hostile")
        at.ask("true", namespace="ml")
        at.ask("!false", namespace="ml")
        await at.until(lambda: len(at.order) == 32)
    assert at.order.index("true") <= 1
    assert at.order.index("!false") <= 3


async def test_who_asks_for_what_another_asked_for_gets_it_in_his_own_turn() -> None:
    async with desk(*stub()) as at:
        for number in range(30):
            at.ask(f"{number} == {number}", namespace="hostile")
        at.ask("29 == 29", namespace="ml")
        await at.until(lambda: len(at.order) == 30)
    assert at.order.index("29 == 29") <= 1


async def test_all_devices_that_differ_go_together_and_those_alike_once() -> None:
    async with desk(*stub()) as at:
        for device in many(5):
            at.ask(f"{DOMAIN}.index > 1", device)
            at.ask("device.driver == 'x'", device)
        await at.until(lambda: len(at.order) == 2)
        assert [len(known.answers) for known in at.answers._known.values()] == [5, 1]


@pytest.mark.parametrize("body", ["sys.exit(3)", "print(1, end='', flush=True); sys.exit(0)"])
async def test_a_process_that_ends_over_an_expression_is_begun_anew(body: str) -> None:
    async with desk(*stub(f"if 'bad' in line: {body}")) as at:
        at.ask("'bad' == 'bad'")
        at.ask("true")
        await at.until(lambda: len(at.order) == 2)
        assert "its evaluation did not end well" in str(at.ask("'bad' == 'bad'"))
        assert at.ask("true") is True


async def test_a_process_that_does_not_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_answers, "AGAIN_SECONDS", 0.01)
    async with desk("/nonexistent") as at:
        at.ask("true")
        at.answers._command = stub()
        await at.until(lambda: at.order == ["true"])
        assert at.ask("true") is True


async def test_an_answer_that_never_comes_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_answers, "WALL_SECONDS", 0.1)
    monkeypatch.setattr(device_answers, "END_SECONDS", 0.01)
    async with desk(*stub("import time; time.sleep(3600)")) as at:
        assert "its evaluation did not end well" in str(await at.get("true"))
