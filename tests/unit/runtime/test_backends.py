"""What is served is asked, adapters are chosen by it, and what backends have of gangs is mirrored for who wants it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from drumline.api.training import Scheduling
from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.registry import OURS, BackendSettings
from drumline.core.training.observation import Observation
from drumline.runtime import backends
from drumline.runtime.backends import Backends
from drumline.runtime.errors import Forbidden, NotFound, Unavailable
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import UID

pytestmark = pytest.mark.looptime(start=0)
V1ALPHA2 = "/apis/scheduling.k8s.io/v1alpha2"


class Api:
    """Serves groups, and the objects of one kind, which never change while they are watched."""

    def __init__(self, *versions: str) -> None:
        self.versions = list(versions)
        self.asked: list[str] = []
        self.items: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.no_list: Exception | None = None

    async def request(self, method: str, path: str, **_: Any) -> Any:
        self.asked.append(path)
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        if path == "/apis":
            versions = [{"version": v} for v in self.versions]
            return {"groups": [{"name": "scheduling.k8s.io", "versions": versions}]}
        if path.endswith("/podgroups") and self.no_list is not None:
            raise self.no_list
        if path.endswith("/podgroups"):
            return {"items": self.items, "metadata": {"resourceVersion": "1"}}
        if path.rpartition("/")[2] in self.versions:
            return {"resources": [{"name": "podgroups"}, {"name": "podgroups/status"}]}
        raise NotFound("no such version", status=404)

    async def stream_lines(self, path: str, params: Any, *, inactivity: float) -> Any:
        await asyncio.get_running_loop().create_future()
        yield b""


def beside(api: Api, default: str = "builtin", queue: str = "") -> Backends:
    labels = {"rack": "example.com/rack"}
    return Backends(api, default, BackendSettings(), lambda _: queue, lambda level: labels.get(level, ""))  # type: ignore[arg-type]


def named(backend: str | None) -> Observation:
    job = jobs.job()
    assert job.spec is not None
    scheduling = Scheduling.model_validate({"backend": backend})
    return replace(job, spec=job.spec.model_copy(update={"scheduling": scheduling}))


async def test_a_job_of_ours_is_left_as_it_is_and_asks_nobody() -> None:
    api = Api()
    job = named(None)
    assert beside(api).told(job) is job
    assert beside(api).told(job).backend is OURS
    assert api.asked == []


@pytest.mark.parametrize(
    ("job", "queue", "default", "wanted"),
    [
        ("kueue", "volcano", "native", "kueue"),
        (None, "volcano", "native", "volcano"),
        (None, "", "native", "native"),
        ("builtin", "volcano", "native", "builtin"),
    ],
)
async def test_the_job_is_asked_first_then_its_queue_then_the_operator(
    job: str | None, queue: str, default: str, wanted: str
) -> None:
    assert beside(Api(), default, queue).told(named(job)).backend.name == wanted


async def test_the_running_attempt_keeps_the_backend_that_it_began_with() -> None:
    job = jobs.begun()
    assert job.status.placement is not None
    placement = job.status.placement.model_copy(update={"backend": "native"})
    status = job.status.model_copy(update={"placement": placement})
    assert beside(Api(), "kueue").told(replace(job, status=status)).backend.name == "native"
    assert beside(Api(), "kueue").told(job).backend is OURS


async def test_a_gang_that_restarts_stays_where_its_queue_had_put_it() -> None:
    job = jobs.begun()
    assert job.status.placement is not None
    placement = job.status.placement.model_copy(update={"backend": "native"})
    ended = job.status.attempts[-1].model_copy(update={"finished_at": "2027-01-15T08:00:00Z"})
    status = job.status.model_copy(update={"placement": placement, "attempts": (ended,)})
    job = replace(job, status=status)
    assert beside(Api()).told(job).backend.name == "native"
    assert beside(Api()).told(replace(named("kueue"), status=status)).backend.name == "kueue"


async def test_what_is_served_decides_and_is_asked_again() -> None:
    api = Api()
    known = beside(api)
    assert not await known.refresh()
    assert known.told(named("native")).backend.adapter is None
    api.versions = ["v1", "v1alpha2"]
    assert await known.refresh()
    adapter = known.told(named("native")).backend.adapter
    assert adapter is not None
    assert adapter.needs[0].version == "v1alpha2"
    assert V1ALPHA2 in api.asked
    assert not await known.refresh()


async def test_an_api_server_that_does_not_answer_changes_nothing() -> None:
    api = Api("v1alpha2")
    known = beside(api)
    await known.refresh()
    api.error = Unavailable("away", status=503)
    assert not await known.refresh()
    assert known.choice("native").adapter is not None


@pytest.mark.parametrize("answer", [{"resources": None}, {"groups": None}, None])
async def test_an_answer_without_what_it_should_have_ends_nothing(answer: Any) -> None:
    api = Api("v1alpha2")
    known = beside(api)
    asked = api.request

    async def odd(method: str, path: str, **more: Any) -> Any:
        found = await asked(method, path, **more)
        return answer if path == V1ALPHA2 or answer != {"resources": None} else found

    api.request = odd  # type: ignore[method-assign]
    assert not await known.refresh()
    assert known.choice("native").adapter is None


async def test_a_backend_that_appears_wakes_the_jobs_and_is_mirrored() -> None:
    api = Api()
    owner = {"kind": "TrainingJob", "name": "job", "uid": UID}
    metadata = {
        "namespace": "ns",
        "name": "job-1",
        "uid": "u",
        "resourceVersion": "1",
        "ownerReferences": [owner],
    }
    api.items = [{"metadata": {**metadata, "managedFields": ["long"]}, "status": {"conditions": []}}]
    known, seen = beside(api), []
    appeared = asyncio.Event()
    known.appeared = appeared.set
    known.changed = lambda namespace, found: seen.append((namespace, found))
    job = replace(jobs.begun(), status=jobs.begun().status.model_copy(update={"placement": None}))
    known.told(named("native"))
    running = asyncio.create_task(known.run())
    await asyncio.sleep(1)
    assert api.asked.count("/apis") >= 1
    api.versions = ["v1alpha2"]
    await asyncio.wait_for(appeared.wait(), 2 * backends.ABSENT_SECONDS)
    await asyncio.sleep(1)
    running.cancel()
    ((namespace, found),) = seen
    assert isinstance(found, Found)
    assert (namespace, found.document["kind"]) == ("ns", "PodGroup")
    assert "managedFields" not in found.document["metadata"]
    assert known.told(job).groups == (found,)
    assert known.told(job).groups_known == {found.need}
    assert known.told(replace(job, job=replace(job.job, uid="another"))).groups == ()


DENIED = Forbidden(
    'podgroups is forbidden: User "op" cannot list resource "podgroups" in API group "scheduling.k8s.io"',
    status=403,
)


async def test_a_backend_whose_objects_may_not_be_listed_gets_no_new_attempt_until_they_may() -> None:
    api, looks = Api("v1alpha2"), []
    api.no_list = DENIED
    known = beside(api)
    known.appeared = lambda: looks.append(known.told(named("native")).backend.absent)
    running = jobs.begun()
    assert running.status.placement is not None
    placement = running.status.placement.model_copy(update={"backend": "native"})
    running = replace(running, status=running.status.model_copy(update={"placement": placement}))
    await known.refresh()
    known.told(named("native"))
    task = asyncio.create_task(known.run())
    await asyncio.sleep(3 * backends.ABSENT_SECONDS)
    assert len(looks) == 1, "who waits is told once"
    assert "may not list podgroups.scheduling.k8s.io" in looks[0]
    assert "native" in looks[0]
    assert "chart's `backends`" in looks[0]
    assert known.told(running).backend.adapter is not None, "an attempt that runs goes on"
    assert known.denied == set(known.choice("native").adapter.needs)  # type: ignore[union-attr]
    api.no_list = None
    await asyncio.sleep(3 * backends.ABSENT_SECONDS)
    task.cancel()
    assert looks[1:] == [""]
    assert (known.denied, len(known.known)) == (frozenset(), 1)


async def test_a_list_that_fails_for_another_reason_is_not_denied() -> None:
    api = Api("v1alpha2")
    api.no_list = Unavailable("away", status=503)
    known = beside(api)
    await known.refresh()
    known.told(named("native"))
    task = asyncio.create_task(known.run())
    await asyncio.sleep(2 * backends.ABSENT_SECONDS)
    task.cancel()
    assert (known.denied, known.known) == (frozenset(), frozenset())
    assert known.told(named("native")).backend.adapter is not None


async def test_what_is_served_is_known_once_the_api_server_has_said_so() -> None:
    api = Api()
    api.error = Unavailable("away", status=503)
    known = beside(api)
    await known.refresh()
    assert not known.discovered
    api.error = None
    assert not await known.refresh()
    assert known.discovered


async def test_a_level_is_known_by_its_label() -> None:
    job = named("native")
    assert job.spec is not None
    scheduling = Scheduling.model_validate(
        {"backend": "native", "placement": {"policy": "Required", "level": "rack"}}
    )
    job = replace(job, spec=job.spec.model_copy(update={"scheduling": scheduling}))
    assert beside(Api()).told(job).topology_key == "example.com/rack"
