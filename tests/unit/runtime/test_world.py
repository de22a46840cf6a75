"""What the mirror concludes from other people's pods."""

from dataclasses import replace
from typing import Any

import pytest

from drumline.core.gang.departures import Signals
from drumline.core.gang.types import Member, Node, Pod, PodPhase
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.expectations import Expectations, creation
from drumline.runtime.world import World
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, UID


class Told:
    """Remembers which jobs are to be looked at."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []
        self.capacity = 0  # how often it was said that it changed

    def job_changed(self, key: tuple[str, str], *, urgent: bool) -> None:
        self.jobs.append(key)

    def job_gone(self, uid: str) -> None: ...

    def capacity_changed(self) -> None:
        self.capacity += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def world(told: Told) -> World:
    made = World(None, Catalogue(CATALOG), Expectations(lambda: 0.0), told)  # type: ignore[arg-type]  # it makes no request
    made.keys[UID] = ("ns", "job")
    return made


def event(kind: str, name: str, container: str, phase: str = "Running") -> dict[str, Any]:
    metadata = {"namespace": "kube-system", "name": name, "uid": name, "labels": {"k8s-app": "kube-dns"}}
    spec = {"nodeName": "n", "containers": [{"name": container}]}
    version = f"{kind}{phase}"
    document = {
        "metadata": {**metadata, "resourceVersion": version},
        "spec": spec,
        "status": {"phase": phase},
    }
    return {"type": kind, "object": document}


def test_pods_of_kube_dns_say_that_it_serves_and_wake_the_jobs_once(world: World, told: Told) -> None:
    world.pods._event(event("ADDED", "coredns-1", "coredns"))
    assert (world.kube_dns, told.jobs) == (False, [])
    world.pods._event(event("ADDED", "kube-dns-1", "kubedns"))
    world.pods._event(event("ADDED", "kube-dns-2", "kubedns"))
    assert (world.kube_dns, told.jobs) == (True, [("ns", "job")])


@pytest.mark.parametrize(("kind", "phase"), [("DELETED", "Running"), ("MODIFIED", "Failed")])
def test_kube_dns_serves_until_its_last_pod_is_gone(world: World, kind: str, phase: str) -> None:
    for name in ("kube-dns-1", "kube-dns-2"):
        world.pods._event(event("ADDED", name, "kubedns"))
    world.pods._event(event(kind, "kube-dns-1", "kubedns", phase))
    assert world.kube_dns
    world.pods._event(event(kind, "kube-dns-2", "kubedns", phase))
    assert not world.kube_dns


def _node(name: str, **metadata: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "resourceVersion": str(metadata), **metadata}
    spec = {"taints": [{"key": k, "effect": "NoSchedule"} for k in metadata.pop("taints", ())]}
    return {"metadata": metadata, "spec": spec, "status": {}}


def _nodes(world: World, told: Told, kind: str, document: dict[str, Any]) -> tuple[list[str], int]:
    """Which nodes are about to go after an event, and how often jobs were woken."""
    told.jobs.clear()
    world.nodes._event({"type": kind, "object": document})
    return sorted(world.departing), len(told.jobs)


def test_nodes_that_are_about_to_go_are_known_and_wake_who_may_wait_for_them(
    world: World, told: Told
) -> None:
    world.signals = Signals(taints=("example.com/going",))
    assert _nodes(world, told, "ADDED", _node("a")) == ([], 0)
    assert _nodes(world, told, "MODIFIED", _node("a", taints=["example.com/going"])) == (["a"], 1)
    assert _nodes(world, told, "MODIFIED", _node("a", taints=["example.com/going", "x"])) == (["a"], 0)
    scheduled = {"cloud.google.com/scheduled-maintenance-time": "1800000000"}
    assert _nodes(world, told, "ADDED", _node("b", labels=scheduled)) == (["a", "b"], 1)
    assert _nodes(world, told, "MODIFIED", _node("a")) == (["b"], 1)
    assert _nodes(world, told, "DELETED", _node("b", labels=scheduled)) == ([], 1)


@pytest.mark.parametrize(
    "then", [{"phase": PodPhase.RUNNING, "bound": True}, {"phase": PodPhase.FAILED}, None]
)
def test_a_job_that_is_gone_holds_its_nodes_while_the_scheduler_may_bind_its_pods(
    world: World, told: Told, then: dict[str, Any] | None
) -> None:
    observation = jobs.begun()
    request = request_of(View(observation, jobs.NOW, observation.status))
    placement = jobs.placement(observation)
    for name in placement.nodes:
        world.capacity.set_node(Node(name, allocatable={"cpu": 8000, "pods": 10}))
    world.capacity.reserve(request, placement)
    pod = replace(next(iter(observation.pods.values())), node="", bound=False)
    key = (pod.namespace, pod.name)
    world.pods.store.put(key, pod)
    world._on_pod(None, pod)
    world.forget(UID)
    assert world.capacity.reserved(UID)
    after = replace(pod, **then) if then is not None else None
    world.pods.store.remove(key) if after is None else world.pods.store.put(key, after)
    world._on_pod(pod, after)
    assert not world.capacity.reserved(UID)


def test_a_job_that_is_gone_holds_its_nodes_while_its_pods_are_not_shown(world: World) -> None:
    observation = jobs.begun()
    placement = jobs.placement(observation)
    world.capacity.reserve(request_of(View(observation, jobs.NOW, observation.status)), placement)
    pod = next(iter(observation.pods.values()))
    token = creation("pods", pod.namespace, pod.name)
    world.expectations.expect(UID, token)
    world.expectations.made(token, "20")
    world.forget(UID)
    assert world.capacity.reserved(UID)
    world._pods_listed("19")
    assert world.capacity.reserved(UID)
    world._pods_listed("20")
    assert not world.capacity.reserved(UID)


@pytest.mark.parametrize("last", ["nodes", "pods"])
def test_a_job_that_is_gone_holds_its_nodes_until_pods_and_nodes_are_listed_anew(
    world: World, told: Told, last: str
) -> None:
    observation = jobs.begun()
    placement = jobs.placement(observation)
    world.capacity.reserve(request_of(View(observation, jobs.NOW, observation.status)), placement)
    world.pods.outdated = world.nodes.outdated = True
    world.forget(UID)
    first = world.nodes if last == "pods" else world.pods
    for reflector in (first, getattr(world, last)):
        assert world.capacity.reserved(UID)
        reflector.outdated = False
        assert reflector._on_listed is not None
        told.capacity = 0
        reflector._on_listed("20")
    assert not world.capacity.reserved(UID)
    assert told.capacity > 0


def test_a_job_that_is_gone_and_has_no_such_pod_holds_nothing(world: World) -> None:
    observation = jobs.begun()
    placement = jobs.placement(observation)
    for name in placement.nodes:
        world.capacity.set_node(Node(name, allocatable={"cpu": 8000, "pods": 10}))
    world.capacity.reserve(request_of(View(observation, jobs.NOW, observation.status)), placement)
    world.forget(UID)
    assert not world.capacity.reserved(UID)


def test_a_gang_is_gone_with_the_last_of_its_own_pods(world: World) -> None:
    groups = [Member("chat", UID, 1, "decode", number, 0, group=True) for number in (0, 1)]
    pods = [
        Pod("ns", f"p{n}", uid=f"p{n}", requests=(), node="n", bound=True, member=member)
        for n, member in enumerate(groups)
    ]
    for pod in pods:
        world.pods.store.put((pod.namespace, pod.name), pod)
    assert not any(world.is_gone(member.gang) for member in groups)
    world.pods.store.put(("ns", "p0"), replace(pods[0], phase=PodPhase.FAILED))
    assert [world.is_gone(member.gang) for member in groups] == [True, False]
    world.pods.store.remove(("ns", "p1"))
    assert world.is_gone(groups[1].gang)


def test_a_gang_is_not_gone_while_a_pod_of_it_was_not_seen_yet(world: World) -> None:
    assert world.is_gone(UID)
    token = creation("pods", "ns", "job-1-0-0")
    world.expectations.expect(UID, token)
    assert not world.is_gone(UID)
    assert not world.is_gone(f"{UID}/decode/0"), "its service's may be its own"
    world.expectations.met(token)
    assert world.is_gone(UID)


@pytest.mark.parametrize("kind", ["pods", "nodes"])
def test_while_pods_or_nodes_are_to_be_listed_anew_nothing_is_concluded_from_them(
    world: World, kind: str
) -> None:
    """A replica that has just come to lead must not take for gone what its predecessor has made."""
    assert not world.expectations.pending(UID)
    assert world.is_gone(UID)
    getattr(world, kind).outdated = True
    assert world.expectations.pending(UID)
    assert not world.is_gone(UID)
