"""Rollouts by whole groups: nobody is missed on the way, whatever happens to the operator."""

from __future__ import annotations

import pytest

from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.watching import watching

pytestmark = pytest.mark.cluster

IMAGE = "/spec/roles/{}/template/spec/containers/0/image"


def image(version: str, role: int = 0) -> dict[str, str]:
    """A patch that changes a role's image."""
    return {"op": "replace", "path": IMAGE.format(role), "value": f"engine:{version}"}


async def test_a_changed_image_replaces_group_by_group_and_no_group_is_missed(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100 in blocks of 2")
    await services.apply(services.service("chat", services.role(groupSize=2, replicas=3)))
    first = await services.ready("chat")
    async with watching(services, "chat") as seen:
        await services.patch("chat", image("2"))
        found = await services.until(
            "chat",
            lambda s: is_ready(s) and s["status"]["currentRevision"] != first["status"]["currentRevision"],
            "no rollout",
        )
    assert min(seen.ready) >= 3
    assert min(seen.endpoints) >= 3
    assert max(seen.ready) <= 4
    assert [g["id"] for g in groups(found)] == [3, 4, 5]
    images = {c["image"] for p in await services.pods("chat") for c in p["spec"]["containers"]}
    assert images == {"engine:2"}


async def test_two_roles_change_in_step_and_a_pair_of_one_revision_always_serves(services: Services) -> None:
    await services.lab.nodes("4 hosts of h100 in blocks of 2")
    pair = (services.role("prefill", replicas=4), services.role("decode", replicas=2))
    await services.apply(services.service("chat", *pair))
    first = await services.ready("chat")
    async with watching(services, "chat") as seen:
        await services.patch("chat", image("2", 0), image("2", 1))
        await services.until(
            "chat",
            lambda s: is_ready(s) and s["status"]["currentRevision"] != first["status"]["currentRevision"],
            "no rollout",
        )
    for look in seen.pairs:
        revisions = {revision for _, revision in look}
        whole = [r for r in revisions if look["prefill", r] and look["decode", r]]
        assert whole, look
        assert sum(n for (role, _), n in look.items() if role == "prefill") >= 4
        assert sum(n for (role, _), n in look.items() if role == "decode") >= 2


async def test_going_back_to_an_earlier_spec_is_the_earlier_revision_again(services: Services) -> None:
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    await services.apply(services.service("chat"))
    first = (await services.ready("chat"))["status"]["currentRevision"]
    await services.patch("chat", image("2"))
    await services.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] != first)
    await services.patch("chat", image("1"))
    found = await services.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] == first)
    assert found["status"]["revisionCount"] == 3
    revisions = {r["metadata"]["name"]: r["revision"] for r in await services.lab.list("controllerrevisions")}
    assert len(revisions) == 2
    assert revisions[first] == 3
