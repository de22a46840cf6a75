"""What selectors say of devices, found out in a process of its own, so that none holds anything else up.

    who asks for an answer that is not known gets NotYetError; `answered` is called once it is
    namespaces take turns, one expression each with all devices that it was asked of; `MAX_SECONDS` at most

A tenant's selectors wait for his own, and for at most one of each other tenant's. An expression that outlives its time is
refused by name. A process that ends otherwise, or does not say what it should, may have done so for another reason: the
expression is tried once more in a fresh one, refused if that ends too, and tried again after `REFUSED_SECONDS`, each time
later. A process that has evaluated `MAX_SERVED` expressions is replaced.
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
from typing import Final

from drumline.core.gang.device_asks import NotYetError
from drumline.core.gang.devices import Device
from drumline.runtime.device_selectors import MAX_EXPRESSIONS, MAX_SECONDS, Looks, Selector, remembered, told
from drumline.runtime.selector_worker import READY, packed

COMMAND: Final = (sys.executable, "-m", "drumline.runtime.selector_worker")
LEAST_SECONDS: Final = 0.05  # of processor time, however much was spent before
WALL_SECONDS: Final = 30.0  # for an answer: a process that waits for something uses no processor time
START_SECONDS: Final = 120.0
END_SECONDS: Final = 1.0  # for a process to end by itself
MAX_SERVED: Final = 256  # expressions of one process
REFUSED_SECONDS: Final = 300.0  # doubled with each refusal, up to:
MAX_REFUSED_SECONDS: Final = 3600.0
AGAIN_SECONDS: Final = 5.0  # after a process that can't be started
MAX_LINE: Final = 1 << 26

logger = logging.getLogger(__name__)


Found = tuple[list[bool | str], float]  # answers, and the seconds of processor time that they took
UNWELL: Final = "its evaluation did not end well"


class _TooLongError(Exception):
    """The expression used its time up."""


class _EndedError(Exception):
    """The process ended over an expression, for whatever reason, or said what is no answer."""


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
        self._served = 0  # expressions, by this process
        self._refusals: dict[str, int] = {}  # expression → how often its process ended
        self._timers: dict[str, asyncio.TimerHandle] = {}  # by expression: when it is tried again

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
                    continue
                try:
                    await self._find_out(expression)
                except Exception:
                    logger.exception("cannot tell what a selector of devices matches; going on with others")
        finally:
            for timer in self._timers.values():
                timer.cancel()
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
            found, spent = await self._ask_twice(expression, tuple(devices.values()), known)
        except _TooLongError:
            known.refused = f"it takes more than {MAX_SECONDS:g} s to evaluate on all devices"
        except _EndedError:
            self._refuse(expression, known)
        except (OSError, TimeoutError) as error:
            logger.warning("cannot evaluate selectors of devices: %s; trying again", error)
            await self._end()
            await asyncio.sleep(AGAIN_SECONDS)
            self._asked.setdefault(expression, {}).update(devices)
            self._queue(expression, ())
            return
        except Exception:
            logger.exception("cannot evaluate a selector of devices")
            await self._end()
            self._refuse(expression, known)
        else:
            known.answers.update(zip(devices, found, strict=True))
            known.spend(spent)
            self._refusals.pop(expression, None)
        known.asked.difference_update(devices)
        self._answered(expression)

    def _refuse(self, expression: str, known: Selector) -> None:
        """For some time: the process may have ended for another reason."""
        times = self._refusals[expression] = self._refusals.pop(expression, 0) + 1
        if len(self._refusals) > MAX_EXPRESSIONS:
            del self._refusals[next(iter(self._refusals))]
        known.refused = UNWELL
        seconds = min(REFUSED_SECONDS * 2 ** min(times - 1, 10), MAX_REFUSED_SECONDS)
        logger.warning("a selector's evaluation did not end well; trying again in %g s", seconds)

        def try_again() -> None:
            self._timers.pop(expression, None)
            if known.refused == UNWELL:
                known.refused = ""
                self._answered(expression)

        if (before := self._timers.pop(expression, None)) is not None:
            before.cancel()
        self._timers[expression] = asyncio.get_running_loop().call_later(seconds, try_again)

    async def _ask_twice(self, expression: str, devices: Sequence[Device], known: Selector) -> Found:
        """As `_ask`; once more, in a fresh process, if one ended for no reason that is the expression's."""
        try:
            return await self._ask(expression, devices, known)
        except _EndedError:
            return await self._ask(expression, devices, known)

    async def _ask(self, expression: str, devices: Sequence[Device], known: Selector) -> Found:
        """What the process says of each device. _TooLongError, _EndedError, OSError, TimeoutError."""
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
        found = _read(line, len(devices))
        if found is not None:
            return found
        if await self._end() == -signal.SIGPROF:
            raise _TooLongError
        raise _EndedError

    async def _started(self) -> asyncio.subprocess.Process:
        """The process, ready. OSError, TimeoutError."""
        ended = self._process is not None and self._process.returncode is not None
        if ended or self._served >= MAX_SERVED:
            await self._end()
        if self._process is None:
            self._served = 0
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, limit=MAX_LINE
            )
            async with asyncio.timeout(START_SECONDS):
                stdout = self._process.stdout
                first = await stdout.readline() if stdout is not None else b""
            if first != READY:
                raise OSError("the process that evaluates them does not begin")
        self._served += 1
        return self._process

    async def _end(self) -> int | None:
        """End the process; the code that it ended with."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):  # one that ended by itself says why
                return await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def _read(line: bytes, count: int) -> Found | None:
    """What an answer says of so many devices; None if it is none."""
    try:
        said = json.loads(line)
        answers, spent = said["answers"], float(said["spent"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = line.endswith(b"\n") and isinstance(answers, list) and len(answers) == count
    return (answers, spent) if whole and all(isinstance(a, bool | str) for a in answers) else None
