"""What the runtime makes of spares: quota and refusals cost pods of spares, never the gang; lost ones are let go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import GangRequest, Node, Placement
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation, Settings
from drumline.runtime.admitter import Admitter, Patience
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import ApiError, Forbidden, Invalid, Unavailable
from drumline.runtime.executor import Outcome
from drumline.runtime.preflight import Preflight, Sample
from drumline.runtime.records import JobRecord
from drumline.runtime.versions import takes_image_volumes
from drumline.runtime.workqueue import WorkQueue
from tests.builders import capacity, gang, gpu_block
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID

SETTINGS = Settings(launcher_image="example.org/operator:1")
NODES = ("node-0", "node-1", "node-2", "node-3", "spare-0")


class Api:
    """Dry runs, which refuse spares where told to, and a quota of pods."""

    def __init__(self, pods: int | None = None, *, refuse: bool = False) -> None:
        self.pods = pods
        self.refuse = refuse

    async def request(self, method: str, _path: str, *, body: Any = None, **_: Any) -> Any:
        if method == "POST":
            if self.refuse and body["metadata"]["labels"]["drumline.dev/role"] == "spare":
                raise Invalid("no image volumes", status=422)
            return body
        status = {"hard": {"pods": str(self.pods)}, "used": {"pods": "0"}}
        return {"items": [] if self.pods is None else [{"metadata": {"name": "q"}, "status": status}]}


def _samples(request: GangRequest) -> list[Sample]:
    def one(role: str, count: int, *, optional: bool = False) -> Sample:
        limits = {"nvidia.com/gpu": "8"}
        spec = {"containers": [{"name": "c", "resources": {"limits": limits, "requests": {"cpu": "1"}}}]}
        metadata = {"name": f"g-1-{role}", "labels": {"drumline.dev/role": role}}
        return Sample(count, {"metadata": metadata, "spec": spec}, optional)

    return [one("worker", request.workers), one("spare", request.spares * request.spare_size, optional=True)]


async def _answered(api: Api, room: Capacity, request: GangRequest) -> Any:
    clock = asyncio.get_running_loop().time
    preflight = Preflight(api, _samples, clock)  # type: ignore[arg-type]
    admitter = Admitter(room, preflight, lambda _: None, clock, Patience(300.0))
    loop = asyncio.create_task(admitter.run())
    admitter.want(request)
    await asyncio.sleep(10)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    return admitter.answer(request.uid)


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize(("pods", "spares"), [(None, 4), (6, 4), (5, 3), (3, 1), (2, 0)])
async def test_spares_give_way_to_a_quota_before_their_gang_does(pods: int | None, spares: int) -> None:
    answer = await _answered(Api(pods), capacity(gpu_block("a", 8)), gang(workers=2, spares=4))
    assert isinstance(answer, Granted)
    assert len(answer.placement.nodes) == 2 + spares


@pytest.mark.looptime(start=0)
async def test_a_quota_without_room_for_the_gang_itself_refuses_it() -> None:
    answer = await _answered(Api(1), capacity(gpu_block("a", 8)), gang(workers=2, spares=4))
    assert answer.reason == "NamespaceQuotaExceeded"


@pytest.mark.looptime(start=0)
async def test_a_spares_pod_that_the_api_server_refuses_keeps_no_gang_waiting() -> None:
    answer = await _answered(Api(refuse=True), capacity(gpu_block("a", 8)), gang(workers=2, spares=1))
    assert isinstance(answer, Granted)
    assert len(answer.placement.nodes) == 3


@pytest.fixture
def controller() -> Controller:
    made = Controller(None, WorkQueue(), Catalogue(CATALOG), SETTINGS, Clocks(lambda: NOW, lambda: NOW))  # type: ignore[arg-type]
    for name in NODES:
        made.world.capacity.set_node(Node(name, allocatable={"cpu": 8000, "pods": 1}))
    return made


def _job() -> Observation:
    return replace(jobs.job(jobs.spec(spares=1)), settings=SETTINGS)


def _begin() -> tuple[Observation, Plan]:
    plan = decide(replace(_job(), admission=Granted(Placement(NODES))), NOW)
    status = jobs.TrainingJobStatus.model_validate(plan.intent)
    return replace(_job(), status=status, placement=Placement(NODES)), plan


def _record(controller: Controller, o: Observation) -> JobRecord:
    record = JobRecord(o.job, o.spec, o.errors, o.shape, o.roster, o.status, o.catalog)
    controller.world.jobs.store.put(record.key, record)
    controller.world.keys[UID] = record.key
    return record


def _holding(controller: Controller) -> set[str]:
    return {name for name in NODES if UID in controller.world.capacity.holders(name)}


async def test_spares_are_held_until_they_are_lost(controller: Controller) -> None:
    observation, _ = _begin()
    controller.holdings.keep(_record(controller, observation), observation)
    assert _holding(controller) == set(NODES)
    written = observation.status.placement
    assert written is not None
    lost = observation.status.model_copy(
        update={"placement": written.model_copy(update={"lost_spares": (0,)})}
    )
    observation = replace(observation, status=lost)
    controller.holdings.keep(_record(controller, observation), observation)
    assert _holding(controller) == set(NODES[:4])


async def test_a_refused_spare_tears_no_gang_down_and_stops_no_other_try(controller: Controller) -> None:
    observation, plan = _begin()
    record = _record(controller, observation)
    no = Outcome(failed="pods/job-1-spare-0", error=Forbidden("exceeded quota", status=403))
    controller._learn(record, plan, no)
    memory = controller.world.remember(UID)
    assert (memory.blocked, memory.spares_refused) == ("", "pods/job-1-spare-0: exceeded quota")
    assert controller._again(record, plan, no) == 0.0
    other = Outcome(failed="status", error=Unavailable("boom", status=500))
    with pytest.raises(Unavailable):
        controller._again(record, plan, other)


@pytest.mark.parametrize(
    ("answer", "takes"),
    [
        ({"major": "1", "minor": "36"}, True),
        ({"major": "1", "minor": "35+"}, True),
        ({"major": "1", "minor": "34"}, False),
        ({"major": "2", "minor": "0"}, True),
        ({}, True),
    ],
)
async def test_image_volumes_by_version(answer: dict[str, str], takes: bool) -> None:
    class Server:
        async def request(self, *_: Any) -> Any:
            return answer

    assert await takes_image_volumes(Server()) is takes  # type: ignore[arg-type]


async def test_a_server_that_does_not_tell_its_version_is_taken_for_a_new_one() -> None:
    class Server:
        async def request(self, *_: Any) -> Any:
            raise ApiError("no", status=403)

    assert await takes_image_volumes(Server())  # type: ignore[arg-type]
