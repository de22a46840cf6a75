"""The operator with a wall clock that may be wrong: by what, in seconds, a file of eight bytes says at any moment.

``python -m e2e.chaos.skewed FILE run …``
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

_OFFSET = struct.Struct("<d")


def skew(path: Path, seconds: float) -> None:
    """Have the operator's clock be wrong by so many seconds from now on."""
    if not path.exists():
        path.write_bytes(_OFFSET.pack(seconds))
        return
    with path.open("r+b") as file:
        file.write(_OFFSET.pack(seconds))


def _clock(path: Path) -> Callable[[], float]:
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    right = time.time  # noqa: TID251 - an edge of the program

    def now() -> float:
        return right() + float(_OFFSET.unpack_from(shared)[0])

    return now


if __name__ == "__main__":
    from drumline.__main__ import main
    from drumline.runtime import shell

    shell.now = _clock(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
