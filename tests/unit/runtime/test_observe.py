"""What a decision sees of pods that are gone, and of their nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.orders import ProcessState
from drumline.core.gang.crew import Process
from drumline.core.gang.types import Node, Placement, Pod, Termination
from drumline.core.training.observation import Observation, Settings
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.expectations import Expectations
from drumline.runtime.observe import observe
from drumline.runtime.records import JobRecord
from drumline.runtime.world import World
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID
from tests.unit.runtime.test_world import Told


@pytest.fixture
def world() -> World:
    made = World(None, Catalogue(CATALOG), Expectations(lambda: 0.0), Told())  # type: ignore[arg-type]  # it makes no request
    made.keys[UID] = ("ns", "job")
    made.remember(UID)
    return made


def seen(world: World, observation: Observation) -> Observation:
    """What is observed of a job of this status; its placement is remembered."""
    record = JobRecord(
        observation.job,
        observation.spec,
        (),
        observation.shape,
        observation.roster,
        observation.status,
        CATALOG,
    )
    assert observation.status.placement is not None
    assert observation.placement is not None
    world.remember(UID).placement = (observation.status.placement.revision, observation.placement)
    return observe(world, record, None, Settings(), observation.crew)


def gone(world: World, pod: Pod) -> None:
    """A pod is deleted, and the watch says how it was last."""
    world._on_pod(pod, None)


def test_a_pod_that_was_evicted_and_is_gone_is_still_known(world: World) -> None:
    job = jobs.running()
    pod = job.pods["job-1-0-1"]
    gone(world, replace(pod, disruption="EvictionByEvictionAPI", deleting=True))
    gone(world, job.pods["job-1-1-0"])  # nobody said why: it is gone, unseen
    found = seen(world, job).pods
    assert list(found) == ["job-1-0-1"]
    assert found["job-1-0-1"].disruption == "EvictionByEvictionAPI"
    assert found["job-1-0-1"].terminal  # it holds nothing


def test_it_is_forgotten_with_its_attempt(world: World) -> None:
    job = jobs.running()
    gone(world, jobs.failed(job.pods["job-1-0-1"]))
    ended = job.status.attempts[-1].model_copy(update={"finished_at": "2026-11-20T10:00:00Z"})
    over = job.status.model_copy(update={"attempts": (ended,)})
    assert not seen(world, replace(job, status=over)).pods
    later = ended.model_copy(update={"attempt": 2, "finished_at": None})
    again = job.status.model_copy(update={"attempt": 2, "attempts": (ended, later)})
    assert not seen(world, replace(job, status=again)).pods


def test_nodes_of_pods_that_run_are_not_looked_up(world: World) -> None:
    job = jobs.running()
    for index in range(4):
        world.nodes.store.put(("", f"node-{index}"), Node(f"node-{index}"))
    assert seen(world, job).nodes == {}
    pod = job.pods["job-1-0-1"]
    gone(world, jobs.failed(pod, at=NOW))
    assert sorted(seen(world, job).nodes) == [f"node-{i}" for i in range(4)]


def test_nodes_are_looked_up_where_a_process_ended_or_was_started_again(world: World) -> None:
    job = jobs.running()
    for index in range(4):
        world.nodes.store.put(("", f"node-{index}"), Node(f"node-{index}"))
    ended = Process(0, ProcessState.ENDED, "o", NOW, exit_code=3)
    assert len(seen(world, replace(job, crew={2: ended})).nodes) == 4
    assert not seen(world, replace(job, crew={2: replace(ended, state=ProcessState.HELD)})).nodes
    pod = job.pods["job-1-0-1"]
    again = replace(pod, restarted=Termination("train", 137, "OOMKilled", "", NOW))
    world.pods.store.put(("ns", pod.name), again)
    assert len(seen(world, job).nodes) == 4


def test_pods_of_other_namespaces_are_nobodys_whatever_their_owner_reference_says(world: World) -> None:
    job = jobs.running()
    pod = job.pods["job-1-0-1"]
    world.pods.store.put(("ns", pod.name), pod)
    world.pods.store.put(("elsewhere", pod.name), jobs.failed(replace(pod, namespace="elsewhere"), at=NOW))
    found = seen(world, job).pods
    assert found[pod.name].namespace == "ns"
    world.pods.store.put(("elsewhere", "stray"), replace(pod, namespace="elsewhere", name="stray"))
    assert list(seen(world, job).pods) == [pod.name]


def test_of_a_pod_pinned_to_no_node_is_known_where_it_was_bound(world: World) -> None:
    job = jobs.running()
    job = replace(job, placement=Placement(("",) * 4), bound={})
    for pod in job.pods.values():
        world.pods.store.put((pod.namespace, pod.name), pod)
    for name in ("node-0", "node-2", "node-3"):
        world.nodes.store.put(("", name), Node(name))
    found = seen(world, job)
    assert found.bound == {i: f"node-{i}" for i in range(4)}
    assert found.unhealthy == {"node-1"}
    world.pods.store.remove(("ns", "job-1-0-1"))
    assert seen(world, job).bound[1] == "node-1"  # it is gone, and with what it ran on
    later = job.status.model_copy(update={"attempt": 2})
    assert seen(world, replace(job, status=later)).bound == {}
