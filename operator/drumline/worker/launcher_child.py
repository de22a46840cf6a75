"""The command's process, the signals on their way to it, and the place where it leaves what we look at."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import queue
import select
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from drumline.worker import marker, stacks

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGWINCH,
)
QUIT: Final = frozenset((signal.SIGQUIT,))
STOPS: Final = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))
BY_SIGNAL: Final = 0  # the request for stacks that has no number
_BY_PROCESS: Final = 0  # SI_USER; a terminal's comes from the kernel
_LOOK: Final = 0  # no signal's number
_LONGEST: Final = (
    3600.0  # seconds; the kernel counts milliseconds in 32 bits. Who waits for longer asks again
)

Look = Callable[[], "float | None"]  # seconds until it wants to be called again


class Child:
    """The command's process, one after the other, and the signals on their way to it.

    Signals come through a pipe: a handler in Python would not run while we wait for the command's end.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.sent: list[int] = []
        self.requests: queue.SimpleQueue[int] = (
            queue.SimpleQueue()
        )  # for stacks: an order's number, or BY_SIGNAL
        self._signals, self._wake = os.pipe()

    def listen(self) -> None:
        """Take signals from now on; what comes before the command runs goes to it then."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, _nothing)  # not SIG_IGN, which the command would inherit
        signal.pthread_sigmask(signal.SIG_BLOCK, QUIT)  # for `take_quits`, in threads yet to come too

    def take_quits(self) -> None:
        """Tell requests for stacks from orders to stop, for ever; in a thread."""
        while True:
            info = signal.sigwaitinfo(QUIT)
            if info.si_code == _BY_PROCESS and info.si_pid == 0:
                os.write(self._wake, bytes([signal.SIGQUIT]))
            else:
                self.requests.put(BY_SIGNAL)

    def look(self) -> None:
        """Have whoever waits look at once; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._wake, bytes([_LOOK]))

    def wait(self, look: Look) -> int:
        """Until it ends; buries whatever else ends meanwhile. Returns waitpid's status."""
        while True:
            for number in self._numbers(look()):
                self._take(number)
            status = self.bury()
            if status is not None:
                return status

    def rest(self, seconds: float) -> bool:
        """While no command runs: until somebody wants a look, `seconds` at most; whether we are told to stop."""
        numbers = self._numbers(seconds)
        self.bury()
        return any(number in STOPS for number in numbers)

    def kill(self, number: int) -> None:
        """Send the command a signal, if it runs."""
        if self.pid > 0:
            with contextlib.suppress(OSError):
                os.kill(self.pid, number)

    def bury(self) -> int | None:
        """Take what has ended; the command's status, if that has."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == self.pid:
                self.pid = -1
                return status
            if pid == 0:
                return None

    def _numbers(self, seconds: float | None) -> bytes:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        # rounded up: too soon would be again and again
        wait = None if seconds is None else max(0, int(min(seconds, _LONGEST) * 1000) + 1)
        found = poll.poll(wait)
        return os.read(self._signals, 512) if found else b""

    def _take(self, number: int) -> None:
        # the terminal sends its interrupts to the command as well
        if number in (*FORWARDED, signal.SIGQUIT) and not (number == signal.SIGINT and terminal(0)):
            if number in STOPS:
                self.sent.append(number)
            self.kill(number)


class Folder:
    """A place of our own for the hook, the stacks and the mark; none where nothing can be written."""

    def __init__(self) -> None:
        self.path: Path | None = None
        with contextlib.suppress(OSError):
            self.path = Path(tempfile.mkdtemp(prefix="drumline-"))

    def environment(self, environ: Mapping[str, str], archive: str) -> dict[str, str]:
        """The command's environment."""
        child = dict(environ)
        if self.path is None:
            return child
        child[marker.VARIABLE] = str(self.path / "reports")
        hook = pkgutil.get_data("drumline.worker", "hook.py")
        if hook is None or environ.get("DRUMLINE_HOOKS") == "0":
            return child
        with contextlib.suppress(OSError):
            hooks, folder = self.path / "hooks", self.path / "stacks"
            hooks.mkdir()
            folder.mkdir()
            (hooks / "sitecustomize.py").write_bytes(hook)
            path = os.pathsep.join([child.get("PYTHONPATH", ""), archive])
            child.update(stacks.environment(hooks, folder, path))
        return child

    @property
    def stacks(self) -> Path | None:
        """Where processes write theirs."""
        return self.path / "stacks" if self.path is not None else None

    def remove(self) -> None:
        """Away with it."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def terminal(descriptor: int) -> bool:
    """Whether it is one."""
    with contextlib.suppress(OSError):
        return os.isatty(descriptor)
    return False


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The pipe has it."""
