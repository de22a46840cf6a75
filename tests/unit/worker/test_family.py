"""Who is left of a command, and who is not of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.worker import family, marker
from drumline.worker.guard import GuardedSearch, helpers

# leaves a process that has another parent, and says which
ORPHANS = "import os, time; os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(60)"


class Left:
    """Processes that a test leaves behind."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.pids: list[int] = []

    def orphan(self, mark: str) -> int:
        environ = {**os.environ, marker.VARIABLE: mark}
        parent = subprocess.Popen([sys.executable, "-c", ORPHANS], env=environ, stdout=subprocess.PIPE)
        assert parent.stdout is not None
        self.pids.append(int(parent.stdout.readline()))
        parent.wait()
        return self.pids[-1]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    made = Left(str(tmp_path / "reports"))
    yield made
    for pid in made.pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_orphans_are_known_by_their_mark(left: Left) -> None:
    ours, others = left.orphan(left.mark), left.orphan(left.mark + "-of-another")
    found = family.remaining(left.mark)
    assert ours in found
    assert others not in found
    assert os.getpid() not in found
    assert ours not in family.remaining(""), "no mark is nobody's"


def test_children_and_theirs_are_of_the_family(left: Left) -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    try:
        assert {child.pid, grandchild} <= family.remaining(left.mark)
    finally:
        os.kill(grandchild, signal.SIGKILL)
        child.wait()


def test_who_reads_the_output_for_us_stays(left: Left) -> None:
    others = helpers()  # of tests before this one
    search = GuardedSearch(r"(?P<step>\d+)")
    assert search("5") == {"step": "5"}
    (helper,) = (helpers() - others) & family._parents().keys()
    assert helper not in family.remaining(left.mark)
    search.close()
    assert helper not in helpers()


def test_a_sweep_ends_them_all(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = [left.orphan(left.mark) for _ in range(2)]
    monkeypatch.setattr(family, "remaining", lambda mark: {p for p in pids if family._marked(p, mark)})
    buried: list[None] = []
    assert family.sweep(left.mark, lambda: buried.append(None))
    assert family.remaining(left.mark) == set()
    assert len(buried) >= 2


def test_a_sweep_does_not_wait_for_ever(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "SECONDS", 0.05)
    monkeypatch.setattr(family, "remaining", lambda _mark: {2**22 + 1})  # no pid is so large
    began = time.monotonic()
    assert not family.sweep(left.mark, lambda: None)
    assert time.monotonic() - began < 60.0  # a busy machine's
