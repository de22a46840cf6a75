"""What the operator asks of a launcher while its process runs: stacks, a checkpoint."""

from __future__ import annotations

import os
import signal
import textwrap

import pytest

from drumline.worker import stacks
from drumline.worker.barrier import UNHANDLED_SECONDS, Barrier
from drumline.worker.crew import Orders
from drumline.worker.launcher_child import Child

from .operator_desk import Desk
from .pod import FIRST, SLEEPER, Pod, launcher, operator, pod

__all__ = ["launcher", "operator", "pod"]


@pytest.mark.parametrize("barrier", ["0", "1"])
def test_stacks_are_collected_when_asked_for(pod: Pod, operator: Desk, barrier: str) -> None:
    pod.environ["DRUMLINE_BARRIER"] = barrier
    operator.order(**FIRST)
    process = pod.start(
        """
        import pathlib, time
        def waits_for_peers():
            pathlib.Path("running").write_text("yes")
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
        waits_for_peers()
        """
    )
    pod.wait_for("running")
    operator.order(number=5, kind="Stacks")
    told = operator.until(lambda m: m.seen == 5)
    assert (told.state.value, "in waits_for_peers" in told.stacks) == ("Running", True), told
    operator.order(number=6, kind="")
    operator.until(lambda m: m.digest.split(".")[-2] == "" and not m.stacks)
    (pod.folder / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.count(b"drumline: stacks of process") == 1


def test_a_program_that_is_not_pythons_has_no_stacks(pod: Pod, operator: Desk) -> None:
    pod.environ["DRUMLINE_HOOKS"] = "0"
    operator.order(number=1, kind="Stacks")
    pod.start(SLEEPER)
    assert operator.until(lambda m: m.seen == 1).stacks == "no Python process answers with its stacks"


def test_a_checkpoint_is_asked_for_by_its_signal(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(
        """
        import os, signal, sys, time
        signal.signal(signal.SIGUSR1, lambda *_: open("saved", "w").write("yes"))
        open("running", "w").write("yes")
        while not os.path.exists("saved"):
            time.sleep(0.01)
        """
    )
    pod.wait_for("running")
    operator.order(number=1, kind="Checkpoint", signal="SIGUSR1")
    assert operator.until(lambda m: m.seen == 1).stacks == ""
    assert process.wait(60) == 0
    assert pod.wait_for("saved") == "yes"


def test_who_handles_the_signal_later_is_asked_then(pod: Pod, operator: Desk) -> None:
    operator.order(**FIRST)
    process = pod.start(
        """
        import os, signal, time
        open("running", "w").write("yes")
        while not os.path.exists("loaded"):
            time.sleep(0.01)
        signal.signal(signal.SIGUSR1, lambda *_: open("saved", "w").write("yes"))
        while not os.path.exists("saved"):
            time.sleep(0.01)
        """
    )
    pod.wait_for("running")
    operator.order(number=1, kind="Checkpoint", signal="SIGUSR1")
    operator.until(lambda m: m.seen == 1)
    (pod.folder / "loaded").touch()
    assert process.wait(60) == 0


def test_an_order_that_is_over_asks_nobody_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    found: list[int] = []  # who handles the signal
    monkeypatch.setattr(stacks, "handlers", lambda _root, _number: found)
    monkeypatch.setattr(os, "kill", lambda pid, _number: sent.append(pid))
    child = Child()
    child.pid = 5
    barrier = Barrier(child, {})
    barrier._unhandled = 1, signal.SIGUSR1
    stands, over = Orders("a", number=1, kind="Checkpoint"), Orders("b", number=1)
    assert barrier._ask_again(stands) == UNHANDLED_SECONDS
    assert barrier._ask_again(over) is None
    found.append(7)
    assert barrier._ask_again(stands) is None
    assert sent == []


def test_who_does_not_handle_the_signal_is_not_sent_it(pod: Pod, operator: Desk) -> None:
    """An agent starts a rank that handles it, which forks a child that would too."""
    operator.order(**FIRST)
    (pod.folder / "rank.py").write_text(
        textwrap.dedent(
            """
            import os, signal, time
            signal.signal(signal.SIGUSR1, lambda *_: open(f"saved-{os.getpid()}", "w").write("yes"))
            child = os.fork()
            if child:
                open("running", "w").write(f"{os.getpid()} {child}")
            while not os.path.exists("done"):
                time.sleep(0.01)
            """
        )
    )
    process = pod.start("import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'rank.py']))")
    rank, child = pod.wait_for("running").split()
    operator.order(number=1, kind="Checkpoint", signal="SIGUSR1")
    operator.until(lambda m: m.seen == 1)
    assert pod.wait_for(f"saved-{rank}") == "yes"
    operator.order(number=2, kind="Checkpoint", signal="SIGUSR2")
    operator.until(lambda m: m.seen == 2)
    (pod.folder / "done").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not (pod.folder / f"saved-{child}").exists()
    assert b"no process handles SIGUSR2" in errors
