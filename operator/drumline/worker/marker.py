"""How a program tells the launcher around it that it reports by itself: a file that it leaves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "DRUMLINE_LAUNCHER_MARKER"


def leave() -> None:
    """Tell the launcher, if there is one, that this process reports."""
    path = os.environ.get(VARIABLE)
    if path:
        with contextlib.suppress(OSError):
            Path(path).write_text(str(os.getpid()), encoding="ascii")


def left(environ: Mapping[str, str]) -> bool:
    """Whether the program has left its mark."""
    path = environ.get(VARIABLE)
    return bool(path) and Path(path or "").exists()
