"""The end of everything that a command has left running, so that its successor finds devices and ports free.

As a container's first process we end all others: whoever is there came from the command, or from an exec. Else those
that descend from us, and those that have the command's mark in their environment, for an orphan has another
parent. Processes that read the output for us stay.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from drumline.worker import marker
from drumline.worker.guard import helpers

SECONDS: Final = 5.0  # a process that the kernel does not let go takes longer
_PAUSE: Final = 0.01


def sweep(mark: str, bury: Callable[[], object]) -> bool:
    """End them, and whatever they begin meanwhile; whether all have gone. `bury` takes our own that ended."""
    until = time.monotonic() + SECONDS
    while True:
        bury()
        found = remaining(mark)
        if not found:
            return True
        if time.monotonic() > until:
            return False
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


def remaining(mark: str) -> set[int]:
    """Pids of what is left of a command whose marker is the file `mark`."""
    me = os.getpid()
    parents = _parents()
    if me == 1:
        return {pid for pid in parents if pid != 1} - helpers()
    ours: set[int] = set()
    spared = helpers()
    todo = [me]
    while todo:
        parent = todo.pop()
        children = {pid for pid, its in parents.items() if its == parent} - ours - spared
        ours |= children
        todo += children
    return ours | {pid for pid in parents if pid != me and _marked(pid, mark)}


def _parents() -> dict[int, int]:
    """Of all processes that have not ended."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 -- a name is enough
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{name}/stat").read_text(encoding="ascii", errors="replace")
                state, parent = stat.rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(name)] = int(parent)
    return found


def _marked(pid: int, mark: str) -> bool:
    with contextlib.suppress(OSError):
        wanted = f"{marker.VARIABLE}={mark}".encode()
        return bool(mark) and wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False
