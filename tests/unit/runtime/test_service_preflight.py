"""Groups of a service in the admission queue's preflight, and its chips in the census."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.core.gang.names import member_of
from drumline.core.inference.policies.admission import request_of
from drumline.runtime.metrics_census import Census
from drumline.runtime.preflight import Cleared, Preflight
from drumline.runtime.service_census import with_services
from drumline.runtime.service_gangs import samples_of
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, UID
from tests.unit.runtime.service_lab import Lab

L4 = {"type": "nvidia-l4", "chipsPerWorker": 2}


class Api:
    """Takes every dry run as it is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        if method == "GET":
            return {"items": []}
        self.asked.append(body["metadata"]["generateName"])
        return body


def container(cpu: str) -> dict[str, Any]:
    return {"name": "engine", "image": "i", "resources": {"requests": {"cpu": cpu}}}


async def test_a_place_is_for_the_leader_or_a_worker_whichever_asks_for_more() -> None:
    raw = services.spec(
        services.role(
            groupSize=3,
            accelerator=L4,
            template={"spec": {"containers": [container("2")]}},
            leaderTemplate={"spec": {"containers": [container("5")]}},
        )
    )
    view = services.view(services.with_groups(services.service(raw), "serve", services.waiting()))
    preflight = Preflight(Api(), lambda request: samples_of(view, request), lambda: NOW)  # type: ignore[arg-type]
    cleared = await preflight.check(request_of(view, "serve", services.waiting()))
    assert isinstance(cleared, Cleared)
    assert dict(cleared.request.worker.requests)["cpu"] == 5000
    assert dict(cleared.request.worker.requests)["nvidia.com/gpu"] == 2
    assert [count for _, _, count in cleared.roles] == [1, 2]


async def test_groups_of_one_role_share_their_dry_runs() -> None:
    groups = [services.waiting(number) for number in range(50)]
    view = services.view(services.with_groups(services.service(), "serve", *groups))
    api = Api()
    preflight = Preflight(api, lambda request: samples_of(view, request), lambda: NOW)  # type: ignore[arg-type]
    for group in groups:
        assert isinstance(await preflight.check(request_of(view, "serve", group)), Cleared)
    assert len(api.asked) == 2  # the leader's and a worker's


def test_each_group_is_a_gang_of_its_own() -> None:
    labels = {
        "drumline.dev/service": "chat",
        "drumline.dev/role": "decode",
        "drumline.dev/group": "7",
        "drumline.dev/attempt": "2",
        "drumline.dev/worker": "1",
    }
    member = member_of(labels, "u")
    assert member is not None
    assert (member.job, member.job_uid, member.gang) == ("chat", "u", "u/decode/7")
    job = member_of({**labels, "drumline.dev/job": "train"}, "u")
    assert job is not None
    assert job.gang == "u"


async def test_chips_of_services_are_counted_with_those_of_jobs() -> None:
    lab = Lab()
    raw = services.spec(services.role(replicas=3, accelerator=L4))
    observation = services.serving(services.service(raw))
    roles = tuple(r.model_copy(update={"desired": 3}) for r in observation.status.roles)
    status = observation.status.model_copy(update={"roles": roles})
    lab.sees(replace(observation, status=status))
    jobs = Census(held={"nvidia-l4": 5, "cpu": 0}, requested={"nvidia-l4": 8})
    census = with_services(jobs, lab.world)
    assert census.held == {"nvidia-l4": 5 + 4, "cpu": 0}
    assert census.requested == {"nvidia-l4": 8 + 12}
    pod = observation.pods["serve", 0][0]
    lab.jobs.world.pods.store.put(("ns", pod.name), services.failed(pod))
    lab.world.keys[UID] = ("ns", "chat")
    assert with_services(jobs, lab.world).held["nvidia-l4"] == 5 + 2
