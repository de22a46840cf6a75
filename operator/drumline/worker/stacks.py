"""Python stacks of a program and its descendants, on request.

Every Python process under the launcher that has loaded `drumline.worker.hook` has a file, named by its pid. The
signal goes only to processes that have such a file, or descend from one that has (a forked child shares it), and
that handle the signal: to any other it would be deadly.

Whoever was asked writes as soon as it gets a processor, which may take a while where many want one. So collecting ends
once each file has grown that somebody who still lives was asked for, and none grows any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

SIGNAL: Final = int(getattr(signal, "SIGRTMAX", 64)) - 3
MAX_BYTES: Final = 65_536
SETTLE_SECONDS: Final = 0.2
LIMIT_SECONDS: Final = 8.0  # whoever is stopped or waits for a disk never answers; the operator waits for 15
_STEADY: Final = 2  # looks in a row at which nothing has grown
_HEADING: Final = 20  # characters


def environment(hooks: Path, folder: Path, python_path: str) -> dict[str, str]:
    """What a child's environment needs for it."""
    parts = [str(hooks), *(part for part in python_path.split(os.pathsep) if part)]
    return {
        "DRUMLINE_STACKS": str(folder),
        "DRUMLINE_STACKS_SIGNAL": str(SIGNAL),
        "PYTHONPATH": os.pathsep.join(parts),
    }


def collect(
    folder: Path, root: int, sleep: Callable[[float], None] = time.sleep, most: int | None = None
) -> str:
    """Ask the process `root` and its descendants for their stacks; "" when none can answer.

    `most` characters in all: each process then has its share, of which the end is kept, where its main thread is.
    """
    parents = _parents()
    files = {int(path.name): path for path in _listed(folder) if path.name.isdigit()}
    owners = ((pid, _owner(pid, files, parents)) for pid in _descendants(root, parents))
    asked = {pid: owner for pid, owner in owners if owner is not None and handles(pid)}
    before = {pid: _size(files[pid]) for pid in files}
    for pid in asked:
        with contextlib.suppress(OSError):
            os.kill(pid, SIGNAL)
    if not asked:
        return ""
    _settle(files, before, asked, sleep)
    texts = [(pid, _since(path, before[pid])) for pid, path in sorted(files.items())]
    answers = [(pid, text) for pid, text in texts if text]
    share = None if most is None else max(most // max(len(answers), 1) - _HEADING, 0)
    return "\n".join(f"process {pid}:\n{_end(text, share)}" for pid, text in answers)[:most]


def _end(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[len(text) - most :]


def handlers(root: int, number: int) -> list[int]:
    """The process `root`, if it catches that signal, else the first of its descendants that do.

    A shell, or an agent that starts others, catches none of what they do; what a program forks catches what it does.
    """
    parents = _parents()
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        if handles(pid, number):
            found.append(pid)
        else:
            todo.extend(child for child, parent in parents.items() if parent == pid)
    return sorted(found)


def handles(pid: int, number: int = SIGNAL) -> bool:
    """Whether the process catches the signal."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _parents() -> dict[int, int]:
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 -- a name is enough
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{name}/stat").read_text(encoding="ascii", errors="replace")
                parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def _descendants(root: int, parents: dict[int, int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, ()))
    return sorted(found)


def _owner(pid: int, files: Mapping[int, Path], parents: Mapping[int, int]) -> int | None:
    """Whose file the process writes to: its own, or that of the nearest ancestor that has one."""
    for _ in range(len(parents) + 1):
        if pid in files:
            return pid
        if pid not in parents:
            return None
        pid = parents[pid]
    return None


def _settle(
    files: Mapping[int, Path],
    before: Mapping[int, int],
    asked: Mapping[int, int],
    sleep: Callable[[float], None],
) -> None:
    """Wait until all that were `asked`, with whose file is theirs, have written."""
    last, steady = dict(before), 0
    for _ in range(int(LIMIT_SECONDS / SETTLE_SECONDS)):
        sleep(SETTLE_SECONDS)
        sizes = {pid: _size(path) for pid, path in files.items()}
        steady = steady + 1 if sizes == last else 0
        last = sizes
        missing = {owner for pid, owner in asked.items() if sizes[owner] == before[owner] and handles(pid)}
        if not missing and steady >= _STEADY:
            return


def _listed(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _since(path: Path, start: int) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(start)
        return file.read(MAX_BYTES).decode("utf-8", "replace")
    return ""
