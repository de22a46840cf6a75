"""Lists of quotas: when the mirror's word is not enough, and when one went before it was used."""

from __future__ import annotations

import asyncio

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.types import Refusal
from drumline.runtime import preflight_quota
from drumline.runtime.errors import Unavailable
from drumline.runtime.preflight import Cleared
from tests.unit.runtime.test_preflight import Jobs, quota

pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
async def jobs() -> Jobs:
    return Jobs()


@pytest.mark.parametrize("stopped", ["outdated", "error"])
async def test_a_mirror_that_has_stopped_is_not_believed(jobs: Jobs, stopped: str) -> None:
    quotas = jobs.preflight.quotas
    following = asyncio.create_task(quotas.follow())
    await asyncio.sleep(1)
    assert quotas.fresh("team")
    setattr(quotas._mirror, stopped, Unavailable("gone") if stopped == "error" else True)
    jobs.api.quotas = [quota(0)]
    assert not quotas.fresh("team")
    found = await jobs.check("a")
    assert isinstance(found, Refusal)
    assert found.reason == Reason.NAMESPACE_QUOTA
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_list_that_went_before_it_was_looked_at_is_asked_for_again(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = jobs.preflight.quotas
    listed, lost = quotas._list, [True]

    async def losing(namespace: str) -> None:
        await listed(namespace)
        if lost:
            lost.clear()
            del quotas._lists[namespace]  # as another list does after the loop stood still

    monkeypatch.setattr(quotas, "_list", losing)
    assert isinstance(await jobs.check("a"), Cleared)
    assert jobs.api.lists == 2


async def test_within_one_look_nothing_grows_old(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.api.quotas = [quota(10)]
    quotas = jobs.preflight.quotas
    first = await jobs.check("a", 6)
    assert isinstance(first, Cleared)
    quotas.claim("a", "team", first.roles)
    quotas.settle("a")
    now = quotas._clock()
    with quotas.as_of_now():
        monkeypatch.setattr(quotas, "_clock", lambda: now + 10 * preflight_quota.CLAIM_SECONDS)
        assert quotas.fresh("team")
        assert quotas.refusal("b", "team", first.roles) is not None, "its pods are not in this list"
    assert not quotas.fresh("team")
