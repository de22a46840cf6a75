"""Whether the kernel killed a process of this container for want of memory, which an exit code does not tell.

The container's own cgroup counts them. Where the whole container is killed, as is usual with cgroup v2, nobody is left
to ask, and the kubelet says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

REASON: Final = "OOMKilled"  # as the kubelet has it
FILES: Final = (
    Path("/sys/fs/cgroup/memory.events"),  # v2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # v1
)
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def kills(files: tuple[Path, ...] = FILES) -> int:
    """How many processes the kernel has killed so far; 0 where it does not say."""
    for path in files:
        try:
            found = _COUNT.search(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if found:
            return int(found[1])
    return 0
