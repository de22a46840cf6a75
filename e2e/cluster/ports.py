"""Free TCP ports for programs that cannot choose one themselves.

A port that is free when asked for may be taken when the program gets to it. So ports come from a range below
the one the kernel takes outgoing ports from, and each is reserved, for all clusters on this machine, by a
lock on a file that bears its number. The kernel drops the lock when the owner ends, however it ends.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(20_000, 30_000)


class Port:
    """A reserved TCP port; ``release`` gives it back, as does the end of the process."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock: int | None = lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def reserve() -> Port:
    """Reserve a port nobody on this machine listens on; raises ``OSError`` when the range is used up."""
    locks = directory()
    for number in random.sample(_RANGE, len(_RANGE)):
        port = try_reserve(locks, number)
        if port is not None:
            return port
    raise OSError(f"no free port between {_RANGE.start} and {_RANGE.stop}")


def directory() -> Path:
    """Where the locks are: one directory a user, so that two do not stumble over each other's files."""
    path = Path(tempfile.gettempdir()) / f"drumline-ports-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def is_free(number: int) -> bool:
    """Whether a program could listen on this port, on any address, now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", number))
        except OSError:
            return False
    return True


def try_reserve(locks: Path, number: int) -> Port | None:
    """Reserve this port, or return None when it is reserved or listened on."""
    lock = os.open(locks / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if is_free(number):
        return Port(number, lock)
    os.close(lock)
    return None
