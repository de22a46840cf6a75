"""Chaos by the seed.

``python -m e2e.chaos [--seed N] [--seeds M]`` plays M seeds from N on the real control plane;
``python -m e2e.chaos --model`` plays them on core and executor against the model of the API server, on all cores.
The exit status is 1 when anything was wrong; the seeds to play again are named.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence

from e2e.chaos.model import story as model
from e2e.chaos.site import site
from e2e.chaos.story import Story

_SHOWN = 4000  # characters of each thing that was wrong
_MODEL_SEEDS, _REAL_SEEDS = 5000, 20


def main(arguments: Sequence[str]) -> int:
    """Play seeds; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m e2e.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many seeds")
    parser.add_argument("--model", action="store_true", help="against the model of the API server")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of the model, at once")
    given = parser.parse_args(arguments)
    count = given.seeds or (_MODEL_SEEDS if given.model else _REAL_SEEDS)
    seeds = range(given.seed, given.seed + count)
    began = time.monotonic()
    if not given.model:
        bad = asyncio.run(_real(seeds))
    elif given.processes == 1 or count == 1:
        bad = _modelled(seeds)
    else:
        return _spread(given.seed, count, given.processes)
    print(
        f"{count} seeds from {given.seed} in {time.monotonic() - began:.0f} s, {len(bad)} went wrong: {bad}"
    )
    return 1 if bad else 0


async def _real(seeds: Sequence[int]) -> list[int]:
    bad = []
    async with site(random.Random(seeds[0])) as shared:
        for seed in seeds:
            story = Story(seed, shared)
            await story.play()
            _tell(
                seed,
                story.judge.found,
                f"{story.judge.changes} changes in {story.seconds:.0f} s: {story.log}",
            )
            if story.judge.found:
                bad.append(seed)
    return bad


def _modelled(seeds: Sequence[int]) -> list[int]:
    bad = []
    for seed in seeds:
        story = model.play(seed)
        if story.judge.found:
            bad.append(seed)
            _tell(seed, story.judge.found, f"model: {story.log}")
    return bad


def _spread(first: int, count: int, processes: int) -> int:
    """Each process plays a part; the order of sets is the same in all, so that each seed replays."""
    size = -(-count // processes)
    parts = [(at, min(size, first + count - at)) for at in range(first, first + count, size)]
    head = [sys.executable, "-m", "e2e.chaos", "--model", "--processes", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    children = [
        subprocess.Popen([*head, "--seed", str(at), "--seeds", str(many)], env=environment)
        for at, many in parts
    ]
    return max(child.wait() for child in children)


def _tell(seed: int, found: Sequence[str], what: str) -> None:
    print(f"seed {seed}: {'wrong' if found else 'well'}; {what}", flush=True)
    for text in found:
        print(f"    {text[:_SHOWN]}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
