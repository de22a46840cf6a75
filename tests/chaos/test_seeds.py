"""A few seeds of chaos on the real control plane; `make chaos` plays twenty."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from e2e.chaos.site import Site, site
from e2e.chaos.story import Story

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(500)]

SEEDS = (6, 10, 12, 13)  # each kind of fault but cuts, each form, and services at least once


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Site]:
    async with site(random.Random(SEEDS[0])) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_strikes_every_job_ends_and_every_service_serves_as_it_should(
    shared: Site, seed: int
) -> None:
    story = Story(seed, shared)
    await story.play()
    replay = f"python -m e2e.chaos --seed {seed} --seeds 1"
    assert not story.judge.found, "\n".join([replay, *story.log, *story.judge.found])
    assert story.judge.changes > len(story.scripts)
