"""The order and the ends of a plan, against a server kept in memory; real conflicts are integration tests."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from drumline.core.gang.plan import Create, Delete, Event, Plan
from drumline.runtime.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    FieldDropped,
    Forbidden,
    LeaseLost,
    NameConflict,
    NotFound,
    Unavailable,
)
from drumline.runtime.executor import Executor, Owner
from drumline.runtime.expectations import Expectations, creation

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "trainingjobs", "ns", "job", "uid-job", "7")
PODS = "/api/v1/namespaces/ns/pods"
STATUS = "/apis/drumline.dev/v1alpha1/namespaces/ns/trainingjobs/job/status"


class Server:
    """Stands in for the client: keeps objects by path and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, list[Exception]] = {}
        self.version = 7
        self.open = 0
        self.most_open = 0

    async def request(self, method: str, path: str, *, body: Any = None, **options: Any) -> Any:
        body = orjson.loads(body) if isinstance(body, bytes) else body
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
        self.calls.append((method, path))
        self.bodies.append(body)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        await asyncio.sleep(0.01)
        self.open -= 1
        if self.errors.get(path):
            raise self.errors[path].pop(0)
        return self.answer(method, path, body)

    def answer(self, method: str, path: str, body: Any) -> Any:
        self.version += 1
        if path == STATUS:
            assert body[0]["value"] == str(self.version - 1)
            return {"metadata": {"resourceVersion": str(self.version)}}
        if method == "GET" and path in self.objects:
            return self.objects[path]
        if method == "POST" and path not in self.objects:
            self.objects[path] = {"metadata": {**body["metadata"], "uid": f"uid-{self.version}"}}
            return self.objects[path]
        if method == "POST":
            raise AlreadyExists("taken", status=409)
        if method == "DELETE" and path in self.objects:
            return self.objects.pop(path)
        raise NotFound("not found", status=404)


def manifest(
    name: str, owner: str = "uid-job", attempt: str = "1", controller: str = "job"
) -> dict[str, Any]:
    reference = {"uid": owner, "controller": True, "kind": "TrainingJob", "name": controller}
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "labels": {"drumline.dev/attempt": attempt},
            "ownerReferences": [reference],
        }
    }


def creates(*names: str) -> tuple[Create, ...]:
    return tuple(Create("pods", manifest(name)) for name in names)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def expectations() -> Expectations:
    return Expectations(lambda: 0.0)


@pytest.fixture
def executor(server: Server, expectations: Expectations) -> Executor:
    return Executor(server, expectations, now=lambda: 1000.0, concurrency=4)


pytestmark = pytest.mark.looptime


async def test_a_plan_is_applied_in_its_order(executor, server, expectations) -> None:
    server.version = 7
    plan = Plan(
        prepare=(Create("controllerrevisions", manifest("rev")),),
        actions=((Delete("pods", "ns", "old", "uid-old"),), creates("a")),
        events=(Event("Normal", "Placed", "well"),),
    )
    server.objects[f"{PODS}/old"] = manifest("old")
    outcome = await executor.apply(OWNER, plan)
    assert outcome.error is None
    assert (outcome.created, outcome.deleted) == (["controllerrevisions/rev", "pods/a"], ["pods/old"])
    assert [(method, path.split("/")[-2]) for method, path in server.calls] == [
        ("POST", "controllerrevisions"),
        ("DELETE", "pods"),
        ("POST", "pods"),
        ("POST", "events"),
    ]
    assert server.bodies[1]["preconditions"] == {"uid": "uid-old"}
    assert expectations.pending("uid-job") == 2  # the new pod and the old one's going


async def test_status_goes_from_version_to_version(executor, server, expectations) -> None:
    outcome = await executor.apply(
        OWNER, Plan(intent={"attempt": 1}, status={"attempt": 1, "phase": "Starting"})
    )
    assert outcome.error is None
    assert outcome.resource_version == "9"
    assert [body[1]["value"] for body in server.bodies] == [
        {"attempt": 1},
        {"attempt": 1, "phase": "Starting"},
    ]
    assert expectations.behind("uid-job", "8")
    assert not expectations.behind("uid-job", "9")


async def test_refused_intent_has_no_effects(executor, server) -> None:
    server.errors[STATUS] = [Conflict("modified", status=409)]
    outcome = await executor.apply(OWNER, Plan(intent={}, actions=(creates("a"),), status={}))
    assert isinstance(outcome.error, Conflict)
    assert outcome.failed == "status"
    assert server.calls == [("PATCH", STATUS)]


async def test_refused_status_sends_no_events(executor, server) -> None:
    server.errors[STATUS] = [Conflict("modified", status=409)]
    outcome = await executor.apply(OWNER, Plan(status={}, events=(Event("Normal", "A", "b"),)))
    assert isinstance(outcome.error, Conflict)
    assert len(server.calls) == 1


async def test_first_final_refusal_stops_the_rest(executor, server, expectations) -> None:
    names = [f"p{i:02}" for i in range(40)]
    server.errors[f"{PODS}/p05"] = [Forbidden("exceeded quota", status=403)]
    outcome = await executor.apply(OWNER, Plan(actions=(creates(*names), creates("later")), status={}))
    assert isinstance(outcome.error, Forbidden)
    assert outcome.failed == "pods/p05"
    assert len(server.calls) <= 10
    assert len(outcome.created) == len(server.calls) - 1
    assert expectations.pending("uid-job") == len(outcome.created)


async def test_a_stage_is_bounded_and_begins_in_order(executor, server) -> None:
    names = [f"p{i:02}" for i in range(20)]
    await executor.apply(OWNER, Plan(actions=(creates(*names),)))
    assert server.most_open == 4
    assert [path.rsplit("/", 1)[1] for _, path in server.calls] == names


async def test_lost_lease_ends_everything(executor, server) -> None:
    server.errors[f"{PODS}/b"] = [LeaseLost("expired")]
    server.errors[f"{PODS}/c"] = [Unavailable("down")]
    with pytest.raises(LeaseLost):
        await executor.apply(OWNER, Plan(actions=(creates("a", "b", "c"),), status={}))
    assert len(server.calls) == 3


async def test_our_own_object_is_success(executor, server, expectations) -> None:
    server.objects[f"{PODS}/a"] = manifest("a") | {"metadata": manifest("a")["metadata"] | {"uid": "u"}}
    outcome = await executor.apply(OWNER, Plan(actions=(creates("a"),)))
    assert (outcome.error, outcome.created, outcome.found) == (None, [], ["pods/a"])
    assert expectations.pending("uid-job") == 0


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (manifest("a", owner="uid-other", controller="other"), NameConflict),
        (manifest("a", attempt="2"), NameConflict),
        ({"metadata": {"name": "a", "uid": "u"}}, NameConflict),
        (manifest("a", owner="uid-predecessor"), Conflict),
        ({"metadata": {"name": "a", "uid": "u", "deletionTimestamp": "now"}}, Conflict),
    ],
)
async def test_another_objects_name_is_never_adopted(
    executor, server, existing: dict[str, Any], expected: type[ApiError]
) -> None:
    server.objects[f"{PODS}/a"] = existing
    outcome = await executor.apply(OWNER, Plan(actions=(creates("a"),)))
    assert type(outcome.error) is expected
    assert outcome.failed == "pods/a"
    assert server.objects[f"{PODS}/a"] is existing


async def test_name_conflict_says_whose_it_is(executor, server) -> None:
    server.objects[f"{PODS}/a"] = manifest("a", owner="x", controller="other")
    outcome = await executor.apply(OWNER, Plan(actions=(creates("a"),)))
    assert isinstance(outcome.error, NameConflict)
    assert outcome.error.object_name == "pods/a"
    assert "TrainingJob other" in outcome.error.message


async def test_quota_race_is_tried_again(executor, server) -> None:
    server.errors[f"{PODS}/a"] = [Conflict("the object has been modified", status=409)] * 3
    outcome = await executor.apply(OWNER, Plan(actions=(creates("a"),)))
    assert outcome.created == ["pods/a"]


async def test_replace_makes_it_anew(executor, server) -> None:
    path = "/apis/apps/v1/namespaces/ns/controllerrevisions/rev"
    server.objects[path] = {"metadata": manifest("rev")["metadata"] | {"uid": "before"}}
    outcome = await executor.apply(
        OWNER, Plan(prepare=(Create("controllerrevisions", manifest("rev"), True),))
    )
    assert outcome.created == ["controllerrevisions/rev"]
    assert [method for method, _ in server.calls] == ["POST", "GET", "DELETE", "POST"]


async def test_gone_object_is_deleted_enough(executor, server, expectations) -> None:
    plan = Plan(actions=((Delete("pods", "ns", "x", "u", grace_seconds=0),),))
    outcome = await executor.apply(OWNER, plan)
    assert (outcome.error, outcome.deleted) == (None, [])
    assert server.bodies[0]["gracePeriodSeconds"] == 0
    assert expectations.pending("uid-job") == 0


async def test_a_manifest_may_bring_its_encoding(executor, server) -> None:
    class Encoded(dict[str, Any]):
        body = orjson.dumps(manifest("a") | {"spec": {"rendered": True}})

    await executor.apply(OWNER, Plan(actions=((Create("pods", Encoded(manifest("a"))),),)))
    assert server.bodies[0]["spec"] == {"rendered": True}


async def test_failed_event_fails_nothing_and_is_not_said_twice(executor, server) -> None:
    plan = Plan(events=(Event("Warning", "A", "b"), Event("Warning", "A", "b"), Event("Warning", "A", "c")))
    outcome = await executor.apply(OWNER, plan)
    assert outcome.error is None
    assert [body["message"] for body in server.bodies] == ["b", "c"]
    assert len({body["metadata"]["name"] for body in server.bodies}) == 2


async def test_owner_is_deleted_last(executor, server) -> None:
    outcome = await executor.apply(OWNER, Plan(events=(Event("Normal", "A", "b"),), delete_self=True))
    assert outcome.error is None
    assert [method for method, _ in server.calls] == ["POST", "DELETE"]
    assert server.bodies[1]["preconditions"] == {"uid": "uid-job"}


async def test_what_was_dropped_of_a_created_object_is_a_final_no_and_stops_what_follows(
    server, expectations
) -> None:
    executor = Executor(server, expectations, now=lambda: 1000.0, shown=lambda _namespace, _name: False)
    first = Create("pods", manifest("a"), kept=lambda _sent, _answer: "spec.schedulingGroup")
    outcome = await executor.apply(OWNER, Plan(actions=((first,), creates("b"))))
    assert isinstance(outcome.error, FieldDropped)
    assert "dropped spec.schedulingGroup" in outcome.error.message
    assert outcome.failed == "pods/a"
    assert [path for _, path in server.calls] == [f"{PODS}/a"]
    assert expectations.pending("uid-job") == 1, "it is there, and the watch has not shown it"
    expectations.met(creation("pods", "ns", "a"))
    fine = Create("pods", manifest("c"), kept=lambda _sent, _answer: "")
    assert (await executor.apply(OWNER, Plan(actions=((fine,),)))).error is None


async def test_an_object_that_was_there_already_is_read_back_too(server, expectations) -> None:
    executor = Executor(server, expectations, now=lambda: 1000.0, shown=lambda _namespace, _name: True)
    server.objects[f"{PODS}/a"] = {"metadata": {**manifest("a")["metadata"], "uid": "u"}, "spec": {}}
    lost = Create("pods", manifest("a"), kept=lambda _sent, answer: "spec.x" if not answer["spec"] else "")
    outcome = await executor.apply(OWNER, Plan(actions=((lost,),)))
    assert isinstance(outcome.error, FieldDropped)
    assert expectations.pending("uid-job") == 0
    server.objects[f"{PODS}/a"]["spec"] = {"x": 1}
    again = await executor.apply(OWNER, Plan(actions=((lost,),)))
    assert (again.error, again.found) == (None, ["pods/a"])
