"""What a dry run is asked, who shares one, and what a namespace's quotas leave."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.plan import Create, GroupResource
from drumline.core.gang.types import GangRequest, Refusal
from drumline.runtime.errors import ApiError, Forbidden, Invalid, NotFound, Unavailable
from drumline.runtime.preflight import Cleared, Preflight, Sample
from drumline.runtime.preflight_backend import object_refusal
from tests.builders import gang

pytestmark = pytest.mark.looptime(start=0)


class Api:
    """Creates pods in dry run, lists quotas, reads claims; counts what it is asked."""

    def __init__(self) -> None:
        self.dry_runs: list[dict[str, Any]] = []
        self.lists = 0
        self.quotas: list[dict[str, Any]] = []
        self.objects: dict[str, Any] = {}
        self.error: ApiError | None = None
        self.news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        await asyncio.sleep(0.01)
        if path == "/api/v1/resourcequotas":
            return {"items": copy.deepcopy(self.quotas), "metadata": {"resourceVersion": "1"}}
        if self.error is not None:
            raise self.error
        if method == "POST":
            self.dry_runs.append(body)
            return copy.deepcopy(body)
        if path.endswith("/resourcequotas"):
            self.lists += 1
            return {"items": copy.deepcopy(self.quotas)}
        return self.objects[path.rpartition("/")[2]]

    async def stream_lines(self, *_: Any, **__: Any) -> AsyncIterator[bytes]:
        while True:
            yield orjson.dumps(await self.news.get())


def manifest(job: str, **container: Any) -> dict[str, Any]:
    env = [
        {"name": "DRUMLINE_JOB_UID", "value": f"uid-{job}"},
        {"name": "MASTER_ADDR", "value": f"{job}-0-0.{job}"},
        {"name": "EPOCHS", "value": "3"},
    ]
    labels = {"drumline.dev/job": job, "drumline.dev/job-uid": f"uid-{job}", "team": "a"}
    return {
        "metadata": {"name": f"{job}-1-0-0", "namespace": "team", "labels": labels},
        "spec": {
            "hostname": f"{job}-0-0",
            "containers": [{"name": "c", "image": "i", "env": env, **container}],
        },
    }


class Jobs:
    """Preflight over an `Api`; `pods` are the manifests that are not the ordinary one."""

    def __init__(self) -> None:
        self.api = Api()
        self.pods: dict[str, dict[str, Any]] = {}
        clock = asyncio.get_event_loop().time
        self.preflight = Preflight(self.api, self.samples, clock)  # type: ignore[arg-type]

    def samples(self, request: GangRequest) -> list[Sample]:
        return [Sample(request.workers, self.pods.get(request.uid) or manifest(request.uid))]

    async def check(self, uid: str, workers: int = 1) -> Cleared | Refusal:
        return await self.preflight.check(gang(uid, workers))


@pytest.fixture
async def jobs() -> Jobs:
    return Jobs()


def quota(pods: int, used: int = 0) -> dict[str, Any]:
    metadata = {"name": "q", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    return {"metadata": metadata, "status": {"hard": {"pods": str(pods)}, "used": {"pods": str(used)}}}


async def test_the_dry_run_takes_nobodys_name(jobs: Jobs) -> None:
    await jobs.check("a")
    metadata = jobs.api.dry_runs[0]["metadata"]
    assert "name" not in metadata
    assert metadata["generateName"] == "a-1-0-0-"


async def test_a_long_name_leaves_room_for_what_is_added(jobs: Jobs) -> None:
    await jobs.check("j" * 56)
    assert len(jobs.api.dry_runs[0]["metadata"]["generateName"]) == 58


async def test_a_refusal_names_the_pod_that_would_be_created_and_stays_the_same(jobs: Jobs) -> None:
    texts = []
    for made_up in ("x7k2p", "b2b2b"):
        jobs.api.error = Forbidden(f'pods "a-1-0-0-{made_up}" is forbidden: no', status=403)
        answer = await jobs.check("a")
        assert isinstance(answer, Refusal)
        assert answer.reason == Reason.POD_FORBIDDEN
        texts.append(answer.message)
    assert texts == ['pod a-1-0-0: pods "a-1-0-0" is forbidden: no'] * 2


async def test_a_right_of_ours_that_is_denied_is_no_refusal_of_the_pod(jobs: Jobs) -> None:
    text = 'pods is forbidden: User "drumline" cannot create resource "pods" in API group ""'
    jobs.api.error = Forbidden(text, status=403)
    with pytest.raises(Forbidden):
        await jobs.check("a")


async def test_jobs_that_share_a_refusal_are_each_told_of_their_own_pod(jobs: Jobs) -> None:
    jobs.api.error = Invalid('Pod "a-1-0-0-abcde" is invalid', status=422)
    answers = await asyncio.gather(jobs.check("a"), jobs.check("b"))
    assert [a.message for a in answers if isinstance(a, Refusal)] == [
        'pod a-1-0-0: Pod "a-1-0-0" is invalid',
        'pod b-1-0-0: Pod "b-1-0-0" is invalid',
    ]


async def test_three_hundred_jobs_of_one_template_share_one_dry_run(jobs: Jobs) -> None:
    await asyncio.gather(*(jobs.check(f"j{i}") for i in range(300)))
    assert len(jobs.api.dry_runs) == 1
    assert jobs.api.lists == 1


async def test_a_pod_that_was_refused_after_all_has_its_namespace_asked_anew(jobs: Jobs) -> None:
    await jobs.check("a")
    jobs.preflight.distrust("other")
    await jobs.check("b")
    assert len(jobs.api.dry_runs) == 1
    jobs.preflight.distrust("team")
    jobs.api.error = Forbidden("violates PodSecurity", status=403)
    found = await jobs.check("c")
    assert isinstance(found, Refusal)
    assert found.reason == Reason.POD_FORBIDDEN


async def test_those_that_wait_keep_one_manifest_for_all_jobs_of_a_template(jobs: Jobs) -> None:
    found = [await jobs.check(f"j{i}") for i in range(3)]
    manifests = {id(answer.roles[0][0]) for answer in found if isinstance(answer, Cleared)}
    assert len(manifests) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"env": [{"name": "EPOCHS", "value": "4"}]},
        {"env": [{"name": "MASTER_ADDR", "vaule": "x"}]},
        {"env": [{"name": "MASTER_ADDR", "value": 5}]},
        {"env": [{"name": "DRUMLINE_JOB", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        {"env": ["not a variable"]},
        {"image": "other"},
    ],
)
async def test_what_a_template_says_is_never_left_out(jobs: Jobs, odd: dict[str, Any]) -> None:
    jobs.pods["b"] = manifest("b", **odd)
    plain = {"env": [{"name": "EPOCHS", "value": "3"}]} if "env" in odd else {}
    jobs.pods["a"] = manifest("a", **plain)
    await jobs.check("a")
    await jobs.check("b")
    assert len(jobs.api.dry_runs) == 2


@pytest.mark.parametrize(
    "labels", [{"team": "b"}, {"bad label": "a"}, {"app.kubernetes.io/instance": "mine"}]
)
async def test_labels_of_a_template_count(jobs: Jobs, labels: dict[str, str]) -> None:
    jobs.pods["b"] = manifest("b")
    jobs.pods["b"]["metadata"]["labels"] |= labels
    await jobs.check("a")
    await jobs.check("b")
    assert len(jobs.api.dry_runs) == 2


async def test_an_error_is_raised_and_not_kept(jobs: Jobs) -> None:
    jobs.api.error = Unavailable("down")
    with pytest.raises(Unavailable):
        await jobs.check("a")
    jobs.api.error = None
    assert isinstance(await jobs.check("a"), Cleared)


async def test_a_claim_counts_until_the_pods_must_be_in_the_quota(jobs: Jobs) -> None:
    jobs.api.quotas = [quota(10)]
    quotas = jobs.preflight.quotas
    first, second = await jobs.check("a", 6), await jobs.check("b", 6)
    assert isinstance(first, Cleared)
    assert isinstance(second, Cleared)
    quotas.claim("a", "team", first.roles)
    assert quotas.refusal("a", "team", first.roles) is None
    refusal = quotas.refusal("b", "team", second.roles)
    assert refusal is not None
    assert refusal.reason == Reason.NAMESPACE_QUOTA
    await asyncio.sleep(100)
    await quotas.refresh("team")
    assert quotas.refusal("b", "team", second.roles) is not None
    quotas.settle("a")
    await asyncio.sleep(6)
    await quotas.refresh("team")
    assert quotas.refusal("b", "team", second.roles) is None


async def test_nobody_begins_beside_a_gang_that_an_earlier_leader_was_still_creating(jobs: Jobs) -> None:
    jobs.api.quotas = [quota(10)]
    quotas = jobs.preflight.quotas
    quotas.inherit("a", "team", 6)
    waiting = await jobs.check("b")
    assert isinstance(waiting, Refusal)
    assert waiting.reason == Reason.NAMESPACE_QUOTA
    assert "before the operator restarted" in waiting.message
    await asyncio.sleep(100)
    assert isinstance(await jobs.check("b"), Refusal), "as long as nobody has seen to the gang"
    quotas.settle("a")
    await asyncio.sleep(6)
    assert isinstance(await jobs.check("b"), Cleared)


async def test_without_quotas_an_inherited_gang_holds_up_nobody(jobs: Jobs) -> None:
    jobs.preflight.quotas.inherit("a", "team", 6)
    assert isinstance(await jobs.check("b"), Cleared)


async def test_a_namespace_that_is_seen_to_have_no_quota_is_not_listed(jobs: Jobs) -> None:
    quotas = jobs.preflight.quotas
    following = asyncio.create_task(quotas.follow())
    await asyncio.sleep(1)
    first = await jobs.check("a")
    assert isinstance(first, Cleared)
    assert quotas.fresh("team")
    assert quotas.refusal("a", "team", first.roles) is None
    assert jobs.api.lists == 0
    jobs.api.quotas = [quota(0)]
    jobs.api.news.put_nowait({"type": "ADDED", "object": jobs.api.quotas[0]})
    await asyncio.sleep(0.1)
    assert not quotas.fresh("team")
    second = await jobs.check("b")
    assert isinstance(second, Refusal)
    assert second.reason == Reason.NAMESPACE_QUOTA
    assert jobs.api.lists == 1
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_claims_that_are_over_are_forgotten_where_nobody_has_a_quota(jobs: Jobs) -> None:
    quotas = jobs.preflight.quotas
    for number in range(50):
        quotas.claim(f"j{number}", "team", ())
        quotas.settle(f"j{number}")
        await asyncio.sleep(1)
    assert len(quotas._claims) < 15


async def test_quotas_of_namespaces_that_nobody_asks_for_are_forgotten(jobs: Jobs) -> None:
    for number in range(50):
        await jobs.preflight.quotas.refresh(f"n{number}")
        await asyncio.sleep(3)
    assert not jobs.preflight.quotas.fresh("n0")
    assert len(jobs.preflight.quotas._lists) == 1


async def test_a_volume_of_an_odd_form_is_an_error_of_this_check_alone(jobs: Jobs) -> None:
    jobs.pods["a"] = manifest("a")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "odd"}}
    jobs.pods["a"]["spec"]["volumes"] = [volume]
    jobs.api.objects["odd"] = {"metadata": {}}
    with pytest.raises(KeyError):
        await jobs.check("a")
    assert isinstance(await jobs.check("b"), Cleared)


async def test_what_a_dry_run_drops_of_a_pod_or_a_group_is_said_and_nothing_is_cleared() -> None:
    jobs = Jobs()
    asked = gang("a", unpinned=True)
    group = Create(
        GroupResource("podgroups.v1.example.com"),
        {"kind": "PodGroup", "metadata": {"name": "a-1", "namespace": "team"}, "spec": {"minCount": 1}},
        kept=lambda _sent, _answer: "spec.minCount",
    )
    clock = asyncio.get_event_loop().time
    with_group = Preflight(jobs.api, jobs.samples, clock, lambda _: (group,))  # type: ignore[arg-type]
    answer = await with_group.check(asked)
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.BACKEND_FIELD_DROPPED
    assert "drops spec.minCount of PodGroup a-1" in answer.message

    def samples(request: GangRequest) -> list[Sample]:
        return [replace(jobs.samples(request)[0], kept=lambda _sent, _answer: "spec.schedulingGroup")]

    answer = await Preflight(jobs.api, samples, clock).check(asked)  # type: ignore[arg-type]
    assert isinstance(answer, Refusal)
    assert "drops spec.schedulingGroup of a pod" in answer.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden("podgroups is forbidden", status=403), Reason.BACKEND_UNAVAILABLE),
        (NotFound("no such kind", status=404), Reason.BACKEND_UNAVAILABLE),
        (Invalid("spec.queue", status=422), Reason.UNSUPPORTED_SCHEDULING),
    ],
)
async def test_a_group_that_cannot_be_made_is_refused(error: ApiError, reason: Reason) -> None:
    api = Api()
    api.error = error
    made = {"kind": "PodGroup", "metadata": {"name": "a-1", "namespace": "team"}, "spec": {}}
    create = Create(GroupResource("podgroups.v1.example.com"), made)
    answer = await object_refusal(api, create)  # type: ignore[arg-type]
    assert answer is not None
    assert answer.reason == reason


async def test_a_gang_pinned_to_no_node_may_use_what_placement_does_not_model() -> None:
    jobs = Jobs()
    pod = manifest("a")
    pod["spec"]["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}
    jobs.pods["a"] = pod
    refused = await jobs.preflight.check(gang("a"))
    assert isinstance(refused, Refusal)
    assert refused.reason == Reason.UNSUPPORTED_SCHEDULING
    assert isinstance(await jobs.preflight.check(gang("a", unpinned=True)), Cleared)
