"""Requests for nodes are mirrored for jobs that ask by them; what they hold of a queue is theirs from the grant on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from drumline.core.gang.backends.registry import BackendSettings
from drumline.core.gang.queues import Queue, QueueQuota
from drumline.core.gang.types import Node
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation, Settings
from drumline.core.training.provisioned import NOTHING, PROVISIONED, TEMPLATES, Owned
from drumline.runtime import backends
from drumline.runtime.backends import Backends
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import Forbidden, Invalid, NotFound
from drumline.runtime.executor import Outcome
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_jobs import JobQueues
from drumline.runtime.records import JobRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID
from tests.unit.core.training.nodes_asked import ANYWHERE, ASKED, NAME, asking, refused

pytestmark = pytest.mark.looptime(start=0)
GROUP = "autoscaling.x-k8s.io"
OWNER = {
    "apiVersion": "drumline.dev/v1alpha1",
    "kind": "TrainingJob",
    "name": "job",
    "uid": UID,
    "controller": True,
}


def document(name: str, owner: str = UID, **more: Any) -> dict[str, Any]:
    """An object as a list has it."""
    owners = [{**OWNER, "uid": owner}]
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": {**metadata, "ownerReferences": owners}, **more}


class Api:
    """Serves the kind or does not, and a request and a template of it, which never change while they are watched."""

    def __init__(self) -> None:
        self.served, self.denied = False, False
        said = [{"type": "Provisioned", "status": "True", "reason": "Done", "message": "all of them"}]
        self.requests = [document(NAME, status={"conditions": said}), document("other-nodes-1", "another")]

    async def request(self, method: str, path: str, **_: Any) -> Any:
        await asyncio.sleep(0.01)
        if path == "/apis":
            versions = [{"version": "v1"}] if self.served else []
            return {"groups": [{"name": GROUP, "versions": versions}]}
        if path == f"/apis/{GROUP}/v1":
            return {"resources": [{"name": "provisioningrequests"}]}
        if path.endswith(("/provisioningrequests", "/podtemplates")):
            if self.denied:
                raise Forbidden(
                    'podtemplates is forbidden: User "x" cannot list resource "podtemplates"', status=403
                )
            found = self.requests if path.endswith("requests") else [document(f"{NAME}-worker")]
            return {"items": found, "metadata": {"resourceVersion": "1"}}
        raise NotFound("no such path", status=404)

    async def stream_lines(self, path: str, params: Any, *, inactivity: float) -> Any:
        await asyncio.get_running_loop().create_future()
        yield b""


def beside(api: Api) -> Backends:
    return Backends(api, "builtin", BackendSettings(), lambda _: "", lambda _: "")  # type: ignore[arg-type]


async def test_a_job_that_does_not_ask_is_left_as_it_is() -> None:
    job = jobs.job()
    assert beside(Api()).told(job) is job


async def test_a_kind_that_appears_wakes_the_jobs_and_is_mirrored() -> None:
    api, changed, appeared = Api(), [], asyncio.Event()
    known = beside(api)
    known.appeared, known.requests.changed = appeared.set, changed.append
    job = replace(asking()[0], provisioner=NOTHING)
    assert not known.told(job).provisioner.served
    running = asyncio.create_task(known.run())
    await asyncio.sleep(1)
    assert not appeared.is_set()
    api.served = True
    await asyncio.wait_for(appeared.wait(), 2 * backends.ABSENT_SECONDS)
    await asyncio.sleep(1)
    found = known.told(job).provisioner
    assert found.served
    assert {o.name for o in found.objects} == {NAME, f"{NAME}-worker"}
    request = found.request(NAME)
    assert isinstance(request, Owned)
    assert request.holds(PROVISIONED) is not None
    assert request.text(PROVISIONED) == "Done: all of them"
    assert sorted(changed) == [UID, UID, "another"]
    elsewhere = replace(job, job=replace(job.job, namespace="elsewhere"))
    assert known.told(elsewhere).provisioner.objects == ()
    running.cancel()


async def test_a_right_that_is_denied_is_told_and_so_is_that_it_came() -> None:
    api, news = Api(), [0]
    api.served = api.denied = True
    known, job = beside(api), asking()[0]
    known.appeared = lambda: news.append(1)
    known.told(job)
    running = asyncio.create_task(known.run())
    await asyncio.sleep(2 * backends.ABSENT_SECONDS)
    told = known.told(job).provisioner
    assert (told.served, told.denied, told.listed) == (True, True, False)
    before, api.denied = len(news), False
    await asyncio.sleep(2 * backends.ABSENT_SECONDS)
    told = known.told(job).provisioner
    assert (told.served, told.denied, told.listed) == (True, False, True)
    assert len(news) > before
    running.cancel()


async def test_templates_of_a_kind_that_goes_are_still_known() -> None:
    api = Api()
    api.served = True
    known = beside(api)
    await known.refresh()
    job = asking()[0]
    known.told(job)
    running = asyncio.create_task(known.run())
    await asyncio.sleep(1)
    assert known.told(job).provisioner.objects
    api.served = False
    await asyncio.sleep(2 * backends.REFRESH_SECONDS)
    left = known.told(job).provisioner
    assert not left.served
    assert [o.resource for o in left.objects] == [TEMPLATES]
    running.cancel()


def test_what_is_asked_for_counts_in_the_queue_until_it_is_given_up() -> None:
    book = QueueBook(lambda _: True, lambda _: None, lambda: NOW)
    book.queues = {"research": Queue("research", quotas={"nvidia-h100-80gb": QueueQuota(32)})}
    queues, (obs, _) = JobQueues(book), asking(queue="research")
    queues.hold(obs, lambda _: None)
    gang = book.gang(UID)
    assert gang is not None
    assert (gang.queue, gang.chips, gang.leaving) == ("research", 32, False)
    assert (gang.admitted_at, gang.loss(ASKED + 3600)) == (0.0, 0.0)  # nothing runs that could be lost
    given_up = obs.status.model_copy(update={"queue": None, "provisioning": None})
    queues.hold(replace(obs, status=given_up), lambda _: None)
    assert book.now().running == {}


def begun(controller: Controller, obs: Observation) -> tuple[JobRecord, Any]:
    """The job's record, and the plan by which it asks, in a controller whose admission granted it the quota."""
    asks = decide(obs, ASKED)
    assert asks.waiting is not None
    controller.admitter.want(asks.waiting)
    controller.admitter._answers[UID] = Granted(ANYWHERE)
    controller.world.capacity.reserve(asks.waiting, ANYWHERE)
    record = JobRecord(obs.job, obs.spec, obs.errors, obs.shape, obs.roster, obs.status, obs.catalog)
    controller.world.jobs.store.put(record.key, record)
    controller.world.keys[UID] = record.key
    return record, decide(replace(obs, admission=Granted(ANYWHERE)), ASKED)


@pytest.fixture
def controller() -> Controller:
    clocks = Clocks(lambda: NOW, lambda: NOW)
    made = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), clocks)  # type: ignore[arg-type]
    made.world.capacity.set_node(Node("node-0", allocatable={"cpu": 8000, "pods": 10}))
    return made


async def test_the_quota_that_was_granted_is_kept_until_the_status_names_it(controller: Controller) -> None:
    obs = refused()
    record, plan = begun(controller, obs)
    controller._ask(record, obs, plan)
    assert controller.admitter.granted(UID)
    controller._learn(record, plan, Outcome(resource_version="101"))
    assert controller.admitter.answer(UID) is None
    written = replace(obs, status=asking()[0].status)
    controller.holdings.keep(record, written)
    assert not controller.world.capacity.reserved(UID)


@pytest.mark.parametrize("resource", ["podtemplates", "provisioningrequests.v1.autoscaling.x-k8s.io"])
async def test_a_request_that_is_refused_for_good_is_remembered(
    controller: Controller, resource: str
) -> None:
    record, plan = begun(controller, refused())
    name = f"{NAME}-worker" if resource == "podtemplates" else NAME
    error = Invalid("no", status=422)
    controller._learn(record, plan, Outcome(resource_version="101", failed=f"{resource}/{name}", error=error))
    assert controller.world.remember(UID).blocked == f"{resource}/{name}: no"
