"""When a node is read and its taint changed; what the verdicts and patches are is tested with `core.gang.bad_nodes`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.gang.clock import rfc3339
from drumline.core.gang.projection import project_node
from drumline.runtime.bad_nodes import BadNodes
from drumline.runtime.errors import Conflict, NotFound
from drumline.runtime.executor import Executor
from drumline.runtime.expectations import Expectations
from drumline.runtime.store import Store

NOW, HOUR = 1_800_000_000.0, 3600.0
TAINT = {"key": "drumline.dev/bad-node", "value": "DeviceFault", "effect": "NoSchedule"}


class Cluster:
    """One node, as the API server has it, and what is asked of it."""

    def __init__(self, **spec: Any) -> None:
        metadata = {"name": "n1", "uid": "u1", "resourceVersion": "1", "annotations": {}}
        self.node: dict[str, Any] = {"metadata": metadata, "spec": spec, "status": {}}
        self.now = NOW
        self.asked: list[str] = []
        self.events: list[str] = []
        self.error: Exception | None = None
        self.jobs: Store[Any] = Store()
        self.world = SimpleNamespace(
            jobs=SimpleNamespace(store=self.jobs), nodes=SimpleNamespace(store=Store())
        )
        executor = Executor(self, Expectations(lambda: 0.0), now=lambda: self.now)  # type: ignore[arg-type]
        self.keeper = BadNodes(self, self.world, executor, HOUR, lambda: self.now)  # type: ignore[arg-type]

    async def request(self, method: str, path: str, *, body: Any = None, **_options: Any) -> Any:
        if path.endswith("/events"):
            self.events.append(body["reason"])
            return {}
        self.asked.append(method)
        if self.error is not None:
            raise self.error
        if method == "PATCH":
            self._patch(body)
        return self.node

    def _patch(self, operations: list[dict[str, Any]]) -> None:
        test, *rest = operations
        assert test["value"] == self.node["metadata"]["resourceVersion"]
        for operation in rest:
            *way, last = (part.replace("~1", "/") for part in operation["path"].split("/")[1:])
            place = self.node
            for part in way:
                place = place[part]
            if operation["op"] == "remove":
                del place[last]
            else:
                place[last] = operation["value"]
        self.node["metadata"]["resourceVersion"] += "1"

    def fails(self, job: str, cause: str, at: float) -> None:
        when = rfc3339(at)
        attempt = AttemptStatus(attempt=1, started_at=when, finished_at=when, cause=cause, node="n1")
        record = SimpleNamespace(meta=SimpleNamespace(uid=job), status=TrainingJobStatus(attempts=(attempt,)))
        self.jobs.put(("ns", job), record)

    async def round(self, after: float = 5.0) -> list[str]:
        """What was asked of the node in a round so much later; the mirror is up to date."""
        self.now += after
        self.world.nodes.store.put(("", "n1"), project_node(self.node))
        self.asked.clear()
        await self.keeper.round()
        return self.asked

    @property
    def taints(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.node["spec"].get("taints", [])
        return found


async def test_a_taint_comes_stays_and_goes_with_few_questions() -> None:
    cluster = Cluster()
    assert await cluster.round() == []
    cluster.fails("a", "DeviceFault", cluster.now)
    assert await cluster.round() == ["GET", "PATCH"]
    assert cluster.taints == [TAINT]
    assert await cluster.round() == ["GET"]  # whether it arrived
    assert await cluster.round() == []
    assert await cluster.round(after=HOUR) == ["GET", "PATCH"]
    assert cluster.taints == []
    assert await cluster.round() == []
    assert cluster.events == ["BadNode", "BadNodeExpired"]


async def test_a_successor_takes_off_what_its_predecessor_put_on() -> None:
    cluster = Cluster(taints=[TAINT])
    cluster.node["metadata"]["annotations"]["drumline.dev/bad-node-until"] = rfc3339(NOW + 60)
    assert await cluster.round() == ["GET"]
    assert await cluster.round() == []
    assert await cluster.round(after=60) == ["GET", "PATCH"]
    assert cluster.taints == []


async def test_somebody_elses_taint_is_looked_at_once() -> None:
    cluster = Cluster(taints=[TAINT])
    assert await cluster.round() == ["GET"]
    assert await cluster.round(after=2 * HOUR) == []
    cluster.fails("a", "DeviceFault", cluster.now)
    assert await cluster.round() == ["GET"]
    assert await cluster.round() == []


async def test_a_taint_that_was_taken_off_by_hand_comes_back_for_another_failure_only() -> None:
    cluster = Cluster()
    cluster.fails("a", "DeviceFault", NOW)
    await cluster.round()
    cluster.node["spec"]["taints"] = []
    assert await cluster.round() == ["GET"]
    assert await cluster.round() == []
    cluster.fails("b", "DeviceFault", cluster.now)
    assert await cluster.round() == ["GET", "PATCH"]
    assert cluster.taints == [TAINT]


async def test_a_node_that_changed_meanwhile_is_read_again() -> None:
    cluster = Cluster()
    cluster.fails("a", "DeviceFault", NOW)
    plain = cluster._patch

    def late(operations: list[dict[str, Any]]) -> None:
        cluster._patch = plain  # type: ignore[method-assign]
        raise Conflict("changed", status=409)

    cluster._patch = late  # type: ignore[method-assign]
    assert await cluster.round() == ["GET", "PATCH"]
    assert (cluster.taints, cluster.events) == ([], [])
    assert await cluster.round() == ["GET", "PATCH"]
    assert cluster.events == ["BadNode"]


async def test_a_node_that_is_gone_is_no_error() -> None:
    cluster = Cluster()
    cluster.fails("a", "DeviceFault", NOW)
    cluster.error = NotFound("gone", status=404)
    assert await cluster.round() == ["GET"]
