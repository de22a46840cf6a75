"""The operator, which also writes how long each reconcile took to a file: eight bytes each, seconds.

``python -m e2e.bench.timed_operator FILE run …``
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from drumline.__main__ import main
from drumline.runtime.metrics import Metrics

_SAMPLE = struct.Struct("<d")


def read(path: Path, since: int = 0) -> list[float]:
    """Seconds of each reconcile, the first `since` left out."""
    data = path.read_bytes()
    whole = len(data) // _SAMPLE.size
    return [seconds for (seconds,) in _SAMPLE.iter_unpack(data[: whole * _SAMPLE.size])][since:]


def _record(path: Path) -> None:
    plain = Metrics.reconciled
    file = path.open("ab", buffering=0)

    def reconciled(metrics: Metrics, seconds: float, result: str, kind: str) -> None:
        file.write(_SAMPLE.pack(seconds))
        plain(metrics, seconds, result, kind)

    Metrics.reconciled = reconciled  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    _record(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
