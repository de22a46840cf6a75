"""Whatever happens to requests for nodes: quota and requests are held together, and no pod comes before its nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.status import ProvisioningPhase, TrainingJobStatus
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.queues import Eviction
from drumline.core.training.observation import Granted, Observation
from drumline.core.training.provisioned import CONSUMES, REQUESTS, Owned, Provisioner, Said, open_request
from tests.unit.core.training import jobs
from tests.unit.core.training.history import World
from tests.unit.core.training.nodes_asked import ANYWHERE, CLASS, NO

CONDITIONS = ("Accepted", "Provisioned", "Failed", "BookingExpired", "CapacityRevoked")
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 31, 100, 700, 4000])),
    st.tuples(st.just("says"), st.sampled_from(CONDITIONS)),
    st.tuples(st.just("evicted"), st.booleans()),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("served"), st.booleans()),
    st.tuples(st.just("room"), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 6)),
)


class Cluster(World):
    """A world with an autoscaler's kind, where admission grants quota at once and places when there is `room`."""

    def __init__(self) -> None:
        wish = {"mode": "ProvisioningRequest", "className": CLASS}
        super().__init__(jobs.job(jobs.spec(scheduling={"provisioning": wish})))
        self.objects: dict[str, Owned] = {}
        self.served, self.room, self.unpinned = True, False, False

    def observe(self, **_: Any) -> Observation:
        seen = super().observe()
        provisioner = Provisioner(self.served, tuple(self.objects.values()) if self.served else ())
        evicted = Eviction("ns/other", "x") if self.evicted and self.status.queue else None
        return replace(
            seen,
            provisioner=provisioner,
            queue=self.status.queue or "research",
            admission=self._said(seen) if self.waiting else None,
            evicted=evicted,
        )

    def _said(self, seen: Observation) -> Any:
        if self.unpinned:
            return Granted(ANYWHERE, queue="research")
        return Granted(jobs.placement(seen), queue="research") if self.room else NO

    def step(self, crash_after: int | None = None) -> None:
        self.let_go()
        plan = self.decide()
        if plan.waiting is not None:
            self.unpinned = plan.waiting.unpinned
        self.apply(plan, crash_after)

    def _write(self, write: Any) -> None:
        super()._write(write)
        if isinstance(write, Create) and write.resource in (REQUESTS, "podtemplates"):
            name = write.manifest["metadata"]["name"]
            made = Owned(write.resource, "ns", name, f"uid-{name}", jobs.UID)
            self.objects.setdefault(f"{write.resource}/{name}", made)
        elif isinstance(write, Delete) and write.resource in (REQUESTS, "podtemplates"):
            self.objects.pop(f"{write.resource}/{write.name}", None)

    def _create_pod(self, manifest: Any) -> None:
        super()._create_pod(manifest)
        request = (manifest["metadata"].get("annotations") or {}).get(CONSUMES)
        asked = open_request(self.status)
        assert (asked.request if asked is not None else None) == request
        assert asked is None or asked.phase is ProvisioningPhase.PROVISIONED

    def says(self, kind: str) -> None:
        for key, found in self.objects.items():
            if found.resource == REQUESTS:
                self.objects[key] = replace(found, said=(*found.said, Said(kind, True, "x")))


def act(world: Cluster, what: str, value: Any) -> None:
    if what == "wait":
        world.now += value
    elif what == "says":
        world.says(value)
    elif what == "suspend":
        assert world.job.spec is not None
        spec = world.job.spec.model_copy(update={"suspend": value})
        world.job = replace(world.job, spec=spec)
    elif what == "crash":
        world.step(crash_after=value)
    else:
        setattr(world, what, value)


def check(world: Cluster) -> None:
    """What holds after each decision that was applied whole, a few of them after another."""
    status: TrainingJobStatus = world.status
    asked = open_request(status)
    if status.queue is not None:
        assert status.placement is not None or asked is not None or world.pods
    if asked is not None and status.placement is None:
        assert status.queue == "research"
        assert not world.pods
    if (
        world.served and not world.evicted
    ):  # one that is let go of at once again is deleted by the next decision
        names = {o.name for o in world.objects.values() if o.resource == REQUESTS}
        assert names <= ({asked.request} if asked is not None else set())
        if asked is None:
            assert not world.objects


@settings(max_examples=25)
@given(st.lists(STEPS, max_size=12))
def test_quota_and_requests_are_held_together(steps: list[tuple[str, Any]]) -> None:
    world = Cluster()
    for what, value in steps:
        act(world, what, value)
        for _ in range(4):
            world.step()
        check(world)


@settings(max_examples=12)
@given(st.lists(STEPS, max_size=8))
def test_it_gets_there_once_the_autoscaler_brings_nodes(steps: list[tuple[str, Any]]) -> None:
    world = Cluster()
    for what, value in steps:
        act(world, what, value)
        world.step()
    for what in ("evicted", "suspend"):
        act(world, what, value=False)
    world.served, world.room = True, False
    for _ in range(12):
        world.now += 4000
        for _ in range(4):
            world.step()
        asked = open_request(world.status)
        if asked is not None and asked.phase is ProvisioningPhase.REQUESTED:
            world.says("Provisioned")
            world.room = True
            for _ in range(4):
                world.step()
        if world.status.placement is not None and len(world.pods) == 4:
            return
    raise AssertionError(world.status)
