"""A canary on a real control plane: watched, promoted and refused, by the analysis and from the command line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drumline.cli.main import main
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.test_rollout import image
from tests.integration.inference.watching import watching

pytestmark = pytest.mark.cluster

EXIT_CODE = "/spec/roles/0/template/metadata/annotations/fake.drumline.dev~1exit-code"


async def kubectl_drumline(services: Services, command: str, *more: str) -> None:
    """As the plugin does it, with the test's kubeconfig."""
    where = ["-n", services.lab.namespace, "--kubeconfig", str(services.lab.cluster.kubeconfig)]
    assert await asyncio.to_thread(main, [command, "chat", *where, *more]) == 0


async def begun(services: Services, **canary: Any) -> str:
    """A service of two groups with a canary asked for; its revision."""
    await services.lab.nodes("1 hosts of h100 in blocks of 1")
    role = services.role(replicas=2, annotations={"start-seconds": "0"})
    policy = {"maxRestarts": 0, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    await services.apply(services.service("chat", role, rollout={"canary": canary}, failurePolicy=policy))
    found = await services.ready("chat")
    return str(found["status"]["currentRevision"])


def canary_serves(service: dict[str, Any]) -> bool:
    status = service["status"]
    serving = [g["revision"] for g in groups(service) if g["phase"] == "Serving"]
    return status["rollout"]["phase"] == "Canary" and sorted(serving) == sorted(
        [status["currentRevision"]] * 2 + [status["updateRevision"]]
    )


async def test_a_canary_stands_beside_all_groups_until_a_person_promotes_it(services: Services) -> None:
    first = await begun(services, automatic=False, analysis={"minSeconds": 0})
    async with watching(services, "chat") as seen:
        await services.patch("chat", image("2"))
        found = await services.until("chat", canary_serves, "no canary")
        assert found["status"]["currentRevision"] == first
        await kubectl_drumline(services, "promote")
        found = await services.until(
            "chat", lambda s: is_ready(s) and s["status"]["currentRevision"] != first
        )
    assert min(seen.ready) >= 2
    assert max(seen.ready) <= 3
    assert found["status"]["rollout"]["phase"] == "Complete"


async def test_a_canary_that_does_well_is_promoted_by_itself(services: Services) -> None:
    first = await begun(services, analysis={"minSeconds": 1})
    await services.patch("chat", image("2"))
    await services.until("chat", lambda s: s["status"]["rollout"]["phase"] == "Canary", "no canary")
    await services.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] != first)


async def test_a_canary_that_fails_is_refused_and_nobody_is_missed(services: Services) -> None:
    first = await begun(services)
    async with watching(services, "chat") as seen:
        await services.patch("chat", image("2"), {"op": "add", "path": EXIT_CODE, "value": "3"})
        found = await services.until(
            "chat",
            lambda s: s["status"]["rollout"]["phase"] == "RolledBack" and len(groups(s)) == 2,
            "not refused",
        )
        assert found["status"]["rollout"]["refused"] == found["status"]["updateRevision"]
        assert {g["revision"] for g in groups(found)} == {first}
        assert [g["id"] for g in groups(found)] == [0, 1]
        await kubectl_drumline(services, "rollback")
        found = await services.until("chat", is_ready, "not back")
    assert min(seen.ready) >= 2
    assert found["status"]["currentRevision"] == first
    assert found["status"]["rollout"]["phase"] == "Complete"
    assert [g["id"] for g in groups(found)] == [0, 1]


async def test_rollback_goes_to_the_revision_before_without_a_canary(services: Services) -> None:
    first = await begun(services, automatic=False)
    await services.patch("chat", image("2"))
    await services.until("chat", canary_serves, "no canary")
    await kubectl_drumline(services, "promote")
    await services.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] != first)
    await services.patch("chat", {"op": "replace", "path": "/spec/roles/0/replicas", "value": 3})
    await services.ready("chat")
    await kubectl_drumline(services, "rollback")
    found = await services.until("chat", lambda s: is_ready(s) and s["status"]["currentRevision"] == first)
    assert [g["revision"] for g in groups(found)] == [first] * 3
