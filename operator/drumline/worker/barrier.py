"""What becomes of the command's processes: the launcher's part in an in-place restart.

Without `DRUMLINE_BARRIER=1`, and for a process that ends well, nothing: the launcher ends as the process did. With it,
and with an operator to ask:

    ask which epoch it is → run → failed: say so, and wait → orders of a later epoch, with `go` → run …
                            orders of a later epoch: end the process and what it left, wait for `go` → run …

A container that was restarted does not begin an epoch that is over: that is what it asks for, `ASK_SECONDS` at most.
At the barrier the launcher ends as its process did when the operator says that the attempt is over, or when nobody has
answered for `DRUMLINE_BARRIER_SECONDS`. SIGTERM ends it there at once with 143, and a process
that was told to end by a signal of ours has no successor.

Stacks and checkpoints are asked for in the same way, whether there is a barrier or not. A program that does not handle
the signal for a checkpoint yet, since it has only begun, is asked as soon as it does, for as long as the order stands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Final

from drumline.worker import crew as crews
from drumline.worker import oom, stacks
from drumline.worker.crew import Crew, Orders
from drumline.worker.ending import Ending
from drumline.worker.epoch import Epoch
from drumline.worker.guard import say
from drumline.worker.identity import Identity, identity
from drumline.worker.launcher_child import BY_SIGNAL, Child

ASK_SECONDS: Final = 5.0
UNHANDLED_SECONDS: Final = 1.0  # until a look whether the program handles the signal by now
BARRIER_SECONDS: Final = 120.0
START_SECONDS: Final = 5.0  # that a request for stacks waits for a command that is being started
_GLANCE_SECONDS: Final = 0.05
_TERMINATED: Final = Ending(128 + signal.SIGTERM)
_LOST: Final = Ending(1)
_SILENT: Final = "no Python process answers with its stacks"


class Barrier:
    """Decides which epochs run. `ending` is how we end when none does any more."""

    def __init__(self, child: Child, environ: Mapping[str, str]) -> None:
        self.ending = _LOST
        who = identity(environ)
        self._child = child
        self._first = who.epoch
        self._crew = _crew(environ, who, child)
        self._closed = self._crew is not None and environ.get("DRUMLINE_BARRIER") == "1"
        self._seconds = _seconds(environ)
        self._epoch: Epoch | None = None
        self._kills = 0  # of the kernel, in this container, before the epoch began
        self._carried = 0  # number of the last order that was carried out, or is being
        self._unhandled: tuple[int, signal.Signals] | None = (
            None  # an order, and its signal that nobody handled yet
        )
        self._kill_at: float | None = None  # set when the process was told to end for another epoch

    def begin(self) -> int | None:
        """The first epoch to run; None: none."""
        for target in (self._child.take_quits, self._answer_requests):
            threading.Thread(target=target, daemon=True).start()
        if self._crew is None or not self._closed:
            return self._first
        self._crew.say(crews.HELD, self._first)
        self._crew.start()
        until = time.monotonic() + ASK_SECONDS
        while self._crew.orders is None and not self._crew.over and time.monotonic() < until:
            if self._child.rest(until - time.monotonic()):
                self.ending = _TERMINATED
                return None
        return self._first if self._crew.orders is None else self._wait(self._first)

    def watch(self, epoch: Epoch) -> int | None:
        """Until its process has ended; the epoch that follows, or None."""
        self._epoch, self._kill_at, self._kills, self._unhandled = epoch, None, oom.kills(), None
        if self._crew is not None:
            self._crew.say(crews.RUNNING, epoch.number)
            if not self._closed:
                self._crew.start()
        self.ending = epoch.ended(self._child.wait(self._look))
        superseded = self._kill_at is not None
        if not self._follows(superseded=superseded):
            epoch.finish(self.ending)
            return None
        return self._next(epoch, superseded=superseded)

    def _follows(self, *, superseded: bool) -> bool:
        """Whether another epoch may follow."""
        told = bool(self._child.sent)  # a pod that is to end
        return self._closed and not told and (superseded or self.ending.failed)

    def _next(self, epoch: Epoch, *, superseded: bool) -> int | None:
        text = epoch.clear(self.ending, told=not superseded)
        if superseded and not self.ending.failed:
            self.ending = _TERMINATED
        if not superseded and self._crew is not None:
            reason = oom.REASON if oom.kills() > self._kills else ""
            self._crew.say(crews.ENDED, epoch.number, self.ending.code, text, reason)
        following = self._wait(epoch.number + 1)
        if following is None:
            epoch.settle()
        return following

    def _wait(self, least: int) -> int | None:
        """At the barrier: the epoch to run, `least` or later; None: end."""
        began, held = time.monotonic(), -1
        while self._crew is not None and not self._crew.over:
            orders = self._crew.orders
            if orders is not None:
                self._once(orders)
                if orders.epoch >= least and orders.go:
                    return orders.epoch
                if orders.epoch >= least and orders.epoch != held:
                    held = orders.epoch
                    self._crew.say(crews.HELD, held)
            left = max(self._crew.answered, began) + self._seconds - time.monotonic()
            if left <= 0:
                say(f"nobody has said for {self._seconds:g} s what is to be done; ending")
                return None
            if self._child.rest(left):
                self.ending = _TERMINATED
                return None
        return None

    def _look(self) -> float | None:
        """Carry out orders while the process runs; seconds until there is more to do."""
        orders = self._crew.orders if self._crew is not None else None
        if orders is None or self._epoch is None:
            return None
        self._once(orders)
        if not self._closed or orders.epoch <= self._epoch.number:
            return self._ask_again(orders)
        now = time.monotonic()
        if self._kill_at is None:
            self._kill_at = now + max(orders.grace_seconds, 0.0)
            self._child.kill(signal.SIGTERM)
        if now < self._kill_at:
            return self._kill_at - now
        self._child.kill(signal.SIGKILL)
        return None

    def _once(self, orders: Orders) -> None:
        """Carry out what is to be done once."""
        if self._crew is None or not orders.kind or orders.number <= self._carried:
            return
        self._carried = orders.number
        if orders.kind == crews.STACKS:
            self._child.requests.put(orders.number)
        elif orders.kind == crews.CHECKPOINT:
            found = getattr(signal, orders.signal, None) if orders.signal.startswith("SIG") else None
            if isinstance(found, signal.Signals):
                if not self._ask(found):
                    say(f"a checkpoint was asked for, and no process handles {found.name}")
                    self._unhandled = orders.number, found
            else:
                say(f"a checkpoint was asked for by {orders.signal!r}, which is no signal")
            self._crew.carried_out(orders.number)

    def _ask(self, number: signal.Signals) -> bool:
        """Send the signal to who handles it, if anybody does: any other would be ended by it."""
        asked = stacks.handlers(self._child.pid, number) if self._child.pid > 0 else []
        for pid in asked:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        return bool(asked)

    def _ask_again(self, orders: Orders) -> float | None:
        """Ask who handles the signal by now, while that order stands; seconds until the next look."""
        if self._unhandled is None:
            return None
        number, found = self._unhandled
        if (orders.number, orders.kind) != (number, crews.CHECKPOINT) or self._ask(found):
            self._unhandled = None
            return None
        return UNHANDLED_SECONDS

    def _answer_requests(self) -> None:
        """Collect stacks, for ever; in a thread."""
        while True:
            number = self._child.requests.get()
            text = ""
            with contextlib.suppress(Exception):
                most = None if number == BY_SIGNAL else crews.MAX_STACKS
                text = self._stacks(most)
            say(f"stacks of {text}" if text else _SILENT)
            if number != BY_SIGNAL and self._crew is not None:
                self._crew.carried_out(number, text or _SILENT)

    def _stacks(self, most: int | None) -> str:
        """Of the epoch under way. Its program may run before we know: whoever forks gets a processor later than it."""
        until = time.monotonic() + START_SECONDS
        while (self._epoch is None or self._child.pid == 0) and time.monotonic() < until:
            time.sleep(_GLANCE_SECONDS)
        return self._epoch.stacks(most) if self._epoch is not None else ""


def _crew(environ: Mapping[str, str], who: Identity, child: Child) -> Crew | None:
    try:
        return crews.crew_of(environ, who, child.look)
    except Exception as error:  # noqa: BLE001 -- the command runs without it
        say(f"nobody is asked for orders: {type(error).__name__}: {error}")
        return None


def _seconds(environ: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(environ.get("DRUMLINE_BARRIER_SECONDS", BARRIER_SECONDS)))
    except ValueError:
        return BARRIER_SECONDS
