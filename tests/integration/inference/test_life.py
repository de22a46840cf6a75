"""A service from its creation to its end: groups come into service, restart as one, and leave nothing behind."""

from __future__ import annotations

import pytest

from tests.integration.inference.services import Services, groups, is_pod_ready, roles
from tests.integration.operator.lab import node_of

pytestmark = pytest.mark.cluster


async def test_two_roles_become_ready_group_by_group(services: Services) -> None:
    await services.lab.nodes("4 hosts of h100 in blocks of 2")
    pair = (services.role("prefill"), services.role("decode", groupSize=2, replicas=2))
    await services.apply(services.service("chat", *pair))
    found = await services.ready("chat")
    assert {n: (r["ready"], r["replicas"]) for n, r in roles(found).items()} == {
        "prefill": (1, 1),
        "decode": (2, 2),
    }
    pods = await services.pods("chat")
    assert len(pods) == 5
    assert all(is_pod_ready(p) for p in pods)
    for group in groups(found, "decode"):
        members = await services.pods("chat", role="decode", group=str(group["id"]))
        assert [node_of(p) for p in members] == list(group["nodes"])
    slices = await services.lab.list("endpointslices")
    hosts = {
        e["hostname"]
        for s in slices
        if s["metadata"]["labels"]["kubernetes.io/service-name"] == "chat-peers"
        for e in s["endpoints"]
    }
    assert hosts == {
        "chat-prefill-0-0",
        "chat-decode-0-0",
        "chat-decode-0-1",
        "chat-decode-1-0",
        "chat-decode-1-1",
    }
    role = await services.get("chat-decode", "inferenceroles")
    assert (role["status"]["replicas"], role["status"]["readyReplicas"]) == (2, 2)
