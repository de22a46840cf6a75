"""The reader of lines: users' patterns, odd lines, and patterns that never end."""

from __future__ import annotations

import os
import re
import time

import pytest

from drumline.worker.guard import NICENESS, STRIKES, GuardedSearch, guarded
from drumline.worker.patterns import LineReader, Observed

PATTERN = r"step=(?P<step>\d+)(?: tokens=(?P<tokens>\d+))?(?: took (?P<seconds>\S+))?"
COMMIT = r"saved at (?P<step>\d+)"


def test_a_users_pattern() -> None:
    reader = LineReader(pattern=PATTERN, commit_pattern=COMMIT)
    assert reader.read("step=5 tokens=4096 took 1.5") == Observed(step=5, tokens=4096, seconds=1.5)
    assert reader.read("step=6") == Observed(step=6)
    assert reader.read("saved at 5") == Observed(committed_step=5)
    assert reader.read("hello") is None


def test_a_users_pattern_goes_before_the_preset_and_leaves_it_the_checkpoints() -> None:
    reader = LineReader("maxtext", pattern=r"^STEP (?P<step>\d+)")
    assert reader.read("completed step: 5, seconds: 0.1, total_weights: 1, loss: 1.0") is None
    assert reader.read("STEP 5") == Observed(step=5)
    assert reader.read("Saved a checkpoint at step 5.") == Observed(committed_step=5)


def test_a_users_commit_pattern_goes_before_the_presets() -> None:
    reader = LineReader("maxtext", commit_pattern=COMMIT)
    assert reader.read("Saved a checkpoint at step 5.") is None
    assert reader.read("saved at 5") == Observed(committed_step=5)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("", None),
        ("step=", None),
        ("step=99999999999999999999999", None),
        ("\x1b[1;31mstep=\x1b[0m7", 7),
        ("\x1b]8;;http://example.com\x07step=7", 7),
        ("x" * 1990 + " step=7", 7),
        ("x" * 5000 + " step=7", None),
    ],
)
def test_odd_lines(line: str, step: int | None) -> None:
    found = LineReader(pattern=PATTERN).read(line)
    assert (found.step if found else None) == step


def test_numbers_that_are_none_are_left_out() -> None:
    reader = LineReader(pattern=r"(?P<step>\d+) (?P<loss>\S+) (?P<tokens>\S+)")
    assert reader.read("1 nan -5") == Observed(step=1)
    assert reader.read("2 inf 1,024") == Observed(step=2, tokens=1024)


def test_the_same_step_twice_says_nothing_but_after_a_restart_it_does() -> None:
    reader = LineReader("maxtext")
    line = "completed step: 5, seconds: 0.1, total_weights: 1, loss: 1.0"
    assert reader.read(line) is not None
    assert reader.read(line) is None
    assert reader.read("restoring from this run's directory step 4") == Observed(resumed_step=4)
    assert reader.read(line) is not None


@pytest.mark.parametrize("pattern", ["(", "(?P<step>", "*"])
def test_a_pattern_that_is_none_is_an_error(pattern: str) -> None:
    with pytest.raises(re.error):
        LineReader(pattern=pattern)
    with pytest.raises(re.error):
        GuardedSearch(pattern)


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(KeyError):
        LineReader("fortran")


def test_a_guarded_pattern_reads_the_same() -> None:
    reader = guarded(pattern=PATTERN, commit_pattern=COMMIT)
    assert reader.read("step=5 tokens=4096 took 1.5") == Observed(step=5, tokens=4096, seconds=1.5)
    assert reader.read("saved at 5") == Observed(committed_step=5)
    assert reader.read("größer \x00 step=6") == Observed(step=6)


def test_a_pattern_without_end_is_cut_off_and_then_switched_off() -> None:
    said: list[str] = []
    search = GuardedSearch(r"(?P<step>(?:\d+)+)$", limit=0.1, notify=said.append)
    assert search("12") == {"step": "12"}
    slow = "1" * 60 + "x"
    for _ in range(STRIKES):
        assert not search.off
        assert search(slow) is None
    assert search.off
    assert search("12") is None
    pattern = r"'(?P<step>(?:\\d+)+)$'"
    assert said == [f"pattern {pattern} is switched off: 3 lines took more than 0.1 s of processor time"]
    assert search._process is None


def test_a_pattern_gives_way_to_whoever_asks() -> None:
    search = GuardedSearch(r"(?P<step>\d+)")
    assert search("5") == {"step": "5"}
    assert search._process is not None
    own, its = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, search._process.pid))
    assert its == min(19, own + NICENESS)
    search.close()


def test_after_one_slow_line_the_pattern_goes_on() -> None:
    search = GuardedSearch(r"^(?:a+)+(?P<step>\d+)$", limit=0.1)
    assert search("a" * 60 + "!") is None
    assert search("a5") == {"step": "5"}
    search.close()


# the worst lines for each preset: all that can precede a match, and no match
@pytest.mark.parametrize(
    "line",
    [
        "completed step: 1, seconds: 1.0, total_weights: " + "TFLOP/s/device: " * 120,
        "Epoch 0: " + "global_step=" * 160,
        " iteration 1/ 2 | consumed samples:" + "| lm loss: " * 170,
        "successfully loaded checkpoint from " * 50,
        "1" * 2000,
        "1," * 1000,
        "step: " * 330,
        "  9%|" + "#" * 1990,
        "{'loss': 1.0, " + "'epoch': " * 200,
    ],
)
def test_presets_are_quick_on_long_lines(line: str) -> None:
    reader = LineReader()
    began = time.thread_time()
    reader.read(line)
    assert time.thread_time() - began < 0.05
