"""What an observation of a service gathers from the mirror, and what was written and is not mirrored yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.meta import ANNOTATION_DIGEST
from drumline.core.gang.plan import Apply, Create, Delete, Plan
from drumline.core.gang.types import Node, PodPhase, Taint
from drumline.core.inference.render import owner_of, revision_manifest
from drumline.runtime.errors import NotFound
from drumline.runtime.executor import Outcome
from drumline.runtime.records import OwnedRecord, SliceRecord, read_owned
from drumline.runtime.service_memory import AWAIT_SECONDS, awaits, learn, recheck
from drumline.runtime.service_records import RoleRecord
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, UID
from tests.unit.runtime.service_lab import GANG, Lab


class Api:
    """Has objects by path, and nothing else."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}

    async def request(self, method: str, path: str, **_: Any) -> Any:
        if path not in self.objects:
            raise NotFound("not there", status=404)
        return {"metadata": self.objects[path]}


@pytest.fixture
async def lab() -> Lab:
    return Lab(Api())


def owned(name: str, digest: str = "", uid: str = "o") -> OwnedRecord:
    return OwnedRecord("ns", name, uid, UID, digest=digest)


def observed(lab: Lab, observation=None):
    return lab.controller._observe(lab.sees(observation or services.serving()))


async def test_pods_stand_by_role_and_group(lab):
    found = observed(lab, services.serving(count=2))
    assert {group: [p.name for p in pods] for group, pods in found.pods.items()} == {
        ("serve", 0): ["chat-serve-1-0-0", "chat-serve-1-0-1"],
        ("serve", 1): ["chat-serve-1-1-0", "chat-serve-1-1-1"],
    }


async def test_nodes_of_groups_are_lost_or_cordoned(lab):
    nodes = lab.jobs.world.nodes.store
    nodes.put(("", "node-0-0"), Node("node-0-0", ready=False))
    nodes.put(("", "node-0-1"), Node("node-0-1", unschedulable=True))
    nodes.remove(("", "node-1-0"))
    nodes.put(("", "elsewhere"), Node("elsewhere", ready=False))
    found = observed(lab, services.serving(count=2))
    assert found.lost == {"node-0-0", "node-1-0"}
    assert found.cordoned == {"node-0-1"}


async def test_taints_that_keep_pods_off_the_nodes_of_groups_are_seen(lab):
    soft, hard = Taint("a", "b", "PreferNoSchedule"), Taint("a", "b", "NoExecute")
    nodes = lab.jobs.world.nodes.store
    nodes.put(("", "node-0-0"), Node("node-0-0", taints=(soft, hard)))
    nodes.put(("", "node-0-1"), Node("node-0-1", taints=(soft,)))
    nodes.put(("", "elsewhere"), Node("elsewhere", taints=(hard,)))
    assert observed(lab, services.serving(count=2)).tainted == {"node-0-0": (hard,)}


async def test_a_pod_that_the_scheduler_placed_says_where_it_is(lab):
    lab.jobs.world.nodes.store.put(("", "edge-1"), Node("edge-1", unschedulable=True))
    edge = services.with_groups(services.service(), "serve", services.group(nodes=("",), size=1))
    pod = replace(services.pod("serve", services.group(size=1), 0), node="edge-1", phase=PodPhase.RUNNING)
    assert observed(lab, services.with_pods(edge, "serve", 0, [pod])).cordoned == {"edge-1"}


async def test_children_are_those_that_it_owns_but_the_headless_service(lab):
    store = lab.jobs.world.services.store
    for child in (owned("chat", "d1"), owned("chat-peers"), replace(owned("chat-serve"), owner="other")):
        store.put(("ns", child.name), child)
    lab.world.children["poddisruptionbudgets"].store.put(("ns", "chat-serve"), owned("chat-serve", "d2"))
    lab.world.roles.store.put(
        ("ns", "chat-serve"), RoleRecord("ns", "chat-serve", "r", UID, "serve", 3, {"replicas": 1})
    )
    found = observed(lab)
    assert {name: child.digest for name, child in found.children.items()} == {
        "services/chat": "d1",
        "poddisruptionbudgets/chat-serve": "d2",
    }
    assert found.role_children["serve"].replicas == 3
    assert found.discovery.service is not None


async def test_what_bears_its_uid_in_another_namespace_is_not_its_own(lab):
    """Whoever knows a uid can write it into an owner reference; the garbage collector comes later."""
    shared, world = lab.jobs.world, lab.world
    first = services.pod("serve", services.group(), 0)
    shared.pods.store.put(("evil", first.name), replace(first, namespace="evil", phase=PodPhase.FAILED))
    for store in (shared.services.store, world.children["poddisruptionbudgets"].store):
        store.put(("evil", "chat"), replace(owned("chat", "d"), namespace="evil"))
    world.roles.store.put(("evil", "chat-serve"), RoleRecord("evil", "chat-serve", "r", UID, "serve", 0))
    service = services.service()
    manifest = revision_manifest(owner_of(service.service), services.NEW, 2, service.spec)
    metadata = {**manifest["metadata"], "uid": "rev", "namespace": "evil"}
    shared.revisions.store.put(("evil", services.NEW), read_owned({**manifest, "metadata": metadata}))
    found = observed(lab)
    assert {p.namespace for pods in found.pods.values() for p in pods} == {"ns"}
    assert (found.children, found.role_children, found.revisions) == ({}, {}, {})


async def test_a_revision_is_read_once(lab):
    service = services.service()
    assert service.spec is not None
    manifest = revision_manifest(owner_of(service.service), services.NEW, 2, service.spec)
    metadata = {**manifest["metadata"], "uid": "rev", "namespace": "ns"}
    lab.jobs.world.revisions.store.put(("ns", services.NEW), read_owned({**manifest, "metadata": metadata}))
    first = observed(lab, service).revisions[services.NEW]
    assert (first.uid, first.number, first.spec) == ("rev", 2, service.spec)
    assert observed(lab, service).revisions[services.NEW] is first
    lab.jobs.world.revisions.store.put(
        ("ns", services.NEW), read_owned({**manifest, "metadata": metadata, "revision": 3})
    )
    assert observed(lab, service).revisions[services.NEW].number == 3
    odd = {**manifest, "metadata": metadata, "revision": 4, "data": {"spec": {"roles": 7}}}
    lab.jobs.world.revisions.store.put(("ns", services.NEW), read_owned(odd))
    assert observed(lab, service).revisions == {}


async def test_what_was_published_counts_before_the_mirror_shows_it(lab):
    record = lab.sees(services.service())
    content = {
        "addressType": "IPv4",
        "endpoints": [{"hostname": "chat-serve-0-0", "addresses": ["10.0.0.1"]}],
    }
    slice_ = {"metadata": {"namespace": "ns", "name": "chat-peers-ipv4-0"}, **content}
    headless = {"metadata": {"namespace": "ns", "name": "chat-peers"}}
    plan = Plan(actions=((Apply("services", headless), Apply("endpointslices", slice_)),))
    outcome = Outcome(applied=["services/chat-peers", "endpointslices/chat-peers-ipv4-0"])
    learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    found = observed(lab, services.service()).discovery
    assert found.service is not None
    assert found.slices == {"chat-peers-ipv4-0": (("chat-serve-0-0", ("10.0.0.1",)),)}
    assert found.last_written_at == NOW
    seen = SliceRecord("ns", "chat-peers-ipv4-0", UID, ())
    lab.world.object_changed("endpointslices", seen, seen)
    lab.world.object_changed("services", owned("chat-peers"), owned("chat-peers"))
    assert (lab.memory.published, lab.memory.peers) == ({}, False)


async def test_a_service_waits_for_the_mirror_to_show_what_was_written(lab):
    record = lab.sees(services.service())

    def waits(later: float = 0.0) -> bool:
        return awaits(lab.world, record, lab.memory, NOW + later)

    annotations = {ANNOTATION_DIGEST: "new"}
    child = {"metadata": {"namespace": "ns", "name": "chat", "annotations": annotations}}
    role = {"metadata": {"namespace": "ns", "name": "chat-serve"}}
    old = Delete("poddisruptionbudgets", "ns", "chat-old", "pdb")
    plan = Plan(actions=((Apply("services", child), Create("inferenceroles", role), old),))
    outcome = Outcome(
        applied=["services/chat", "pods/x"],
        created=["inferenceroles/chat-serve", "pods/y"],
        deleted=["poddisruptionbudgets/chat-old"],
    )
    lab.world.children["poddisruptionbudgets"].store.put(("ns", "chat-old"), owned("chat-old", uid="pdb"))
    lab.jobs.world.services.store.put(("ns", "chat"), owned("chat", "old"))
    learn(record, lab.memory, plan, outcome, lab.controller._clocks)
    assert set(lab.memory.awaited) == {
        "services/chat",
        "inferenceroles/chat-serve",
        "poddisruptionbudgets/chat-old",
    }
    assert waits()
    lab.jobs.world.services.store.put(("ns", "chat"), owned("chat", "new"))
    lab.world.roles.store.put(("ns", "chat-serve"), RoleRecord("ns", "chat-serve", "r", UID, "serve", 1))
    assert waits()
    lab.world.children["poddisruptionbudgets"].store.remove(("ns", "chat-old"))
    assert not waits()
    learn(record, lab.memory, plan, Outcome(created=["services/never"]), lab.controller._clocks)
    assert waits()
    assert not waits(AWAIT_SECONDS + 1)


async def test_a_name_that_was_somebody_elses_is_looked_at_again(lab):
    client = lab.controller._client
    record = lab.sees(services.service())
    lab.memory.foreign = {
        "services/a": NOW,
        "services/b": NOW - 60,
        "services/c": NOW - 60,
        "services/d": NOW - 60,
    }
    path = "/api/v1/namespaces/ns/services/"
    owner = {"apiVersion": "drumline.dev/v1alpha1", "controller": True, "uid": UID}
    client.objects = {f"{path}b": {}, f"{path}d": {"ownerReferences": [owner]}}
    await recheck(client, record, lab.memory, NOW)
    assert lab.memory.foreign == {"services/a": NOW, "services/b": NOW}


async def test_a_service_is_woken_by_what_is_its_own(lab):
    lab.sees(services.serving())
    queue = lab.queue
    lab.world.node_changed(GANG)
    assert len(queue) == 1
    lab.world.node_changed("another/serve/0")
    lab.world.pod_changed("another", None, None)
    lab.world.object_changed("services", replace(owned("chat"), owner=""), None)
    assert (len(queue), queue.delayed) == (1, 0)
    pod = services.serving().pods["serve", 0][0]
    lab.world.pod_changed(UID, None, pod)
    assert queue.delayed == 1


async def test_a_pod_of_a_service_is_no_jobs(lab):
    lab.sees(services.serving())
    pod = services.serving().pods["serve", 0][0]
    lab.jobs.world._on_pod(pod, services.failed(pod))
    assert (len(lab.queue), len(lab.jobs._queue)) == (1, 0)
