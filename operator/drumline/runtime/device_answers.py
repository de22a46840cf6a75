"""What selectors say of devices, found out in a process of its own, so that none holds anything else up.

    who asks for an answer that is not known gets NotYetError; `answered` is called once it is
    namespaces take turns, one expression each with all devices that it was asked of; `MAX_SECONDS` at most

A tenant's selectors wait for his own, and for at most one of each other tenant's. An expression that outlives its time,
or its process, is refused by name; the process is begun anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from drumline.core.gang.device_asks import NotYetError
from drumline.core.gang.devices import Device
from drumline.runtime.device_selectors import MAX_SECONDS, Looks, Selector, remembered, told
from drumline.runtime.selector_worker import READY, packed

COMMAND: Final = (sys.executable, "-m", "drumline.runtime.selector_worker")
LEAST_SECONDS: Final = 0.05  # of processor time, however much was spent before
WALL_SECONDS: Final = 30.0  # for an answer: a process that waits for something uses no processor time
START_SECONDS: Final = 120.0
AGAIN_SECONDS: Final = 5.0  # after a process that can't be started
MAX_LINE: Final = 1 << 26

logger = logging.getLogger(__name__)


class _EndedError(Exception):
    """The process ended over an expression; the message says what that means."""


class Answers:
    """Selectors as the operator evaluates them. `answered` is called with each expression of which more is known."""

    def __init__(self, answered: Callable[[str], None], command: Sequence[str] = COMMAND) -> None:
        self._answered = answered
        self._command = command
        self._known: OrderedDict[str, Selector] = OrderedDict()
        self._asked: dict[str, dict[Looks, Device]] = {}  # by expression
        self._lines: dict[str, dict[str, None]] = {}  # namespace → expressions, in order
        self._turns: deque[str] = deque()  # namespaces
        self._wake = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    def __call__(self, expression: str, device: Device, namespaces: Collection[str] = ()) -> bool:
        """Whether the expression holds for a device. SelectorError, NotYetError."""
        known = remembered(self._known, expression)
        looks = known.looks(device)
        answer = known.refused or known.answers.get(looks)
        if answer is not None:
            return told(expression, device, answer)
        if looks not in known.asked:
            known.asked.add(looks)
            self._asked.setdefault(expression, {})[looks] = device
        self._queue(expression, namespaces)
        raise NotYetError

    async def run(self) -> None:
        """Find out what is asked for, until cancelled."""
        try:
            while True:
                expression = self._next()
                if expression is None:
                    self._wake.clear()
                    await self._wake.wait()
                else:
                    await self._find_out(expression)
        finally:
            await self._end()

    def _queue(self, expression: str, namespaces: Collection[str]) -> None:
        if expression not in self._asked:  # it is being looked at
            return
        for namespace in namespaces or ("",):
            if namespace not in self._lines:
                self._lines[namespace] = {}
                self._turns.append(namespace)
            self._lines[namespace].setdefault(expression)
        self._wake.set()

    def _next(self) -> str | None:
        """The next expression of the next namespace."""
        while self._turns:
            namespace = self._turns.popleft()
            line = self._lines[namespace]
            expression = next((e for e in line if e in self._asked), None)
            if expression is None:
                del self._lines[namespace]
                continue
            del line[expression]
            self._turns.append(namespace)
            return expression
        return None

    async def _find_out(self, expression: str) -> None:
        devices = self._asked.pop(expression)
        known = remembered(self._known, expression)
        try:
            found, spent = await self._ask(expression, tuple(devices.values()), known)
        except _EndedError as error:
            known.refused = str(error)
        except (OSError, TimeoutError) as error:
            logger.warning("cannot evaluate selectors of devices: %s; trying again", error)
            await self._end()
            await asyncio.sleep(AGAIN_SECONDS)
            self._asked.setdefault(expression, {}).update(devices)
            self._queue(expression, ())
            return
        else:
            known.answers.update(zip(devices, found, strict=True))
            known.spend(spent)
        known.asked.difference_update(devices)
        self._answered(expression)

    async def _ask(
        self, expression: str, devices: Sequence[Device], known: Selector
    ) -> tuple[list[bool | str], float]:
        """What the process says of each device, and what that took. _EndedError, OSError, TimeoutError."""
        process = await self._started()
        if process.stdin is None or process.stdout is None:
            raise OSError("no pipes")
        seconds = max(LEAST_SECONDS, MAX_SECONDS - known.spent)
        asked = {"expression": expression, "seconds": seconds, "devices": [packed(d) for d in devices]}
        line = b""
        with suppress(TimeoutError, ConnectionError, ValueError):
            async with asyncio.timeout(WALL_SECONDS):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            code = await self._end()
            if code == -signal.SIGPROF:
                raise _EndedError(f"it takes more than {MAX_SECONDS:g} s to evaluate on all devices")
            raise _EndedError("its evaluation did not end well")
        said: dict[str, Any] = json.loads(line)
        return said["answers"], said["spent"]

    async def _started(self) -> asyncio.subprocess.Process:
        """The process, ready. OSError, TimeoutError."""
        if self._process is None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, limit=MAX_LINE
            )
            async with asyncio.timeout(START_SECONDS):
                stdout = self._process.stdout
                first = await stdout.readline() if stdout is not None else b""
            if first != READY:
                raise OSError("the process that evaluates them does not begin")
        return self._process

    async def _end(self) -> int | None:
        """End the process; the code that it ended with."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError, TimeoutError):
            async with asyncio.timeout(1):  # one that ended by itself says why
                return await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
