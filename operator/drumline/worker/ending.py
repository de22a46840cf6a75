"""How a program ended, in words for the report and for the container's termination message."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

TERMINATION_LOG: Final = "/dev/termination-log"
MAX_MESSAGE: Final = 4096  # bytes; more the kubelet cuts off at the end, where the error stands


class Ending(NamedTuple):
    """Exit code, or the signal that ended it (else 0)."""

    code: int
    signal: int = 0
    after: tuple[int, ...] = ()  # signals that were forwarded to it

    @property
    def failed(self) -> bool:
        """Whether it was not a success."""
        return self.code != 0 or self.signal != 0

    def text(self) -> str:
        """In words."""
        what = f"killed by {name(self.signal)}" if self.signal else f"exit code {self.code}"
        asked = ", ".join(dict.fromkeys(name(number) for number in self.after))
        return f"{what} after {asked}" if asked else what


def of_status(status: int, after: Iterable[int] = ()) -> Ending:
    """What waitpid said."""
    forwarded = tuple(after)
    if os.WIFSIGNALED(status):
        return Ending(128 + os.WTERMSIG(status), os.WTERMSIG(status), forwarded)
    return Ending(os.WEXITSTATUS(status), 0, forwarded)


def name(number: int) -> str:
    """SIGTERM and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def message(ending: Ending, lines: Iterable[str], limit: int = MAX_MESSAGE) -> str:
    """The ending and the last lines, as many as fit; at most `limit` bytes."""
    head = ending.text()[:200]
    left = limit - len(head.encode())
    kept: list[str] = []
    for line in reversed(list(lines)):
        size = len(line.encode("utf-8", "replace")) + 1
        if size > left:
            break
        kept.append(line)
        left -= size
    return "\n".join([head, *reversed(kept)])


def clear(path: str = TERMINATION_LOG) -> None:
    """Away with the words of a process that another one follows. Creates no file."""
    log = Path(path)
    with contextlib.suppress(OSError):
        if log.exists():
            os.truncate(log, 0)


def write(text: str, path: str = TERMINATION_LOG) -> bool:
    """Leave it for the kubelet, unless the program has left something itself. Creates no file."""
    log = Path(path)
    with contextlib.suppress(OSError):
        if log.exists() and log.stat().st_size == 0:
            with log.open("r+b") as file:
                file.write(text.encode("utf-8", "replace")[:MAX_MESSAGE])
            return True
    return False
