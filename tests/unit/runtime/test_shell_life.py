"""The order of a replica's life, with a lease kept in memory and a controller that notes what happens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Self

import pytest

from drumline.runtime import shell_life
from drumline.runtime.config import Config
from drumline.runtime.errors import LeaseLost, NotFound, Unavailable
from drumline.runtime.metrics_census import Census
from drumline.runtime.shell_life import Built, Lane, Process, Replica
from drumline.runtime.workqueue import WorkQueue

pytestmark = pytest.mark.looptime(start=0)


class Client:
    """A connection that knows nothing but one Lease."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.fence: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.story.note("closed")

    async def request(self, method: str, path: str, *, body: Any = None, **options: Any) -> Any:
        if self.story.cut:
            raise Unavailable("cut off")
        if method == "GET" and self.story.lease is None:
            raise NotFound("no lease", status=404)
        if method != "GET":
            holder = body["spec"]["holderIdentity"]
            if self.story.lease is None or holder != self.story.lease["spec"]["holderIdentity"]:
                self.story.note(f"lease of {holder or 'nobody'}")
            body["metadata"]["resourceVersion"] = "1"
            self.story.lease = body
        return self.story.lease


class Health:
    def __init__(self, story: Story) -> None:
        self.story = story

    async def start(self, host: str, port: int) -> None:
        self.story.note("serving")

    async def stop(self) -> None:
        self.story.note("not serving")


class Story:
    """One replica, everything that happened to it, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.events: list[tuple[float, str]] = []
        self.lease: dict[str, Any] | None = None
        self.cut = False
        self.work = 1.0  # seconds a reconcile takes
        self.broken = ""

        async def connect(*_: object, **options: Any) -> Client:
            return Client(self)

        monkeypatch.setattr(shell_life, "connect", connect)
        process = Process("me", "ns", now=self.now, monotonic=self.now, die=lambda _: self.note("died"))
        self.replica = Replica(Config(**settings), process, self.build)
        self.replica.health = Health(self)

    def build(self, client: Client, queue: Any, config: Config) -> Built:
        self.client = client
        return Built(self, Census)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def note(self, what: str) -> None:
        self.events.append((round(self.now(), 2), what))

    def fail(self, where: str) -> None:
        if self.broken == where:
            raise RuntimeError(where)

    async def mirror(self) -> None:
        self.fail("mirror")
        assert not self.replica._is_ready()
        await asyncio.sleep(2)
        self.note("mirrored")

    async def start(self) -> None:
        self.fail("start")
        self.note("started")
        self.replica.queue.add(("ns", "job"))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self.note("work begins")
        await asyncio.sleep(self.work)
        self.client.fence()
        self.note("work ends")
        return None

    async def stop(self) -> None:
        self.note("stopped")

    @property
    def order(self) -> list[str]:
        return [what for _, what in self.events]


async def test_life_in_order(monkeypatch) -> None:
    story = Story(monkeypatch)
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(2.5)
    assert story.replica._is_ready()
    story.replica.stopping.set()
    await task
    assert story.order == [
        "serving",
        "mirrored",
        "lease of me",
        "started",
        "work begins",
        "work ends",
        "stopped",
        "lease of nobody",
        "not serving",
        "closed",
        "closed",
    ]
    assert story.now() == 3
    assert not story.replica._is_ready()


async def test_long_work_is_cut_off_before_the_lease_is_given_back(monkeypatch) -> None:
    story = Story(monkeypatch, shutdown_grace=10.0)
    story.work = 100
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(5)
    story.replica.stopping.set()
    await task
    assert story.now() == 15
    assert "work ends" not in story.order
    assert story.order.index("stopped") < story.order.index("lease of nobody")


async def test_stop_before_leading(monkeypatch) -> None:
    story = Story(monkeypatch)
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(1)
    story.replica.stopping.set()
    await task
    assert story.order == ["serving", "stopped", "not serving", "closed", "closed"]


async def test_standby_mirrors_and_does_not_work(monkeypatch) -> None:
    story = Story(monkeypatch)
    story.lease = {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": "other"}}
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(10)
    assert story.order == ["serving", "mirrored"]
    assert story.replica._is_ready()
    story.replica.stopping.set()
    await task


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("mirror", ["serving", "stopped", "not serving", "closed", "closed"]),
        ("start", ["lease of me", "stopped", "lease of nobody", "not serving", "closed", "closed"]),
    ],
)
async def test_failure_ends_the_replica_in_order(monkeypatch, where: str, expected: list[str]) -> None:
    story = Story(monkeypatch)
    story.broken = where
    with pytest.raises(RuntimeError, match=where):
        await story.replica.run()
    assert story.order[-len(expected) :] == expected


async def test_lost_lease_ends_the_process(monkeypatch) -> None:
    story = Story(monkeypatch)
    story.work = 30
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(5)
    story.cut = True
    with pytest.raises(LeaseLost):
        await task
    assert "died" in story.order
    assert "work ends" not in story.order
    assert 10 <= story.events[story.order.index("died")][0] <= 15


class Beside:
    """A controller of another kind."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.seen: list[tuple[float, tuple[str, str]]] = []

    async def mirror(self) -> None:
        self.story.note("other mirrored")

    async def start(self) -> None:
        self.story.note("other started")

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self.seen.append((self.story.now(), key))
        return None

    async def stop(self) -> None:
        self.story.note("other stopped")


async def test_another_kind_has_a_queue_and_workers_of_its_own(monkeypatch) -> None:
    story = Story(monkeypatch, workers=1)
    story.work = 100
    beside = Beside(story)
    lane: Lane = Lane("InferenceService", "inferenceservices", beside, WorkQueue())
    monkeypatch.setattr(story, "build", lambda *_: Built(story, Census, (lane,)))
    story.client = Client(story)
    story.replica._build = story.build
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(5)
    story.replica.changed("inferenceservices", ("ns", "chat"))
    story.replica.changed("trainingjobs", ("ns", "another"))
    story.replica.changed("somethingelse", ("ns", "x"))
    await asyncio.sleep(1)
    assert beside.seen == [(5.0, ("ns", "chat"))]  # though the only worker of jobs is busy
    text = story.replica.metrics.render().decode()
    assert 'drumline_reconcile_duration_seconds_count{kind="InferenceService",result="success"} 1.0' in text
    assert "drumline_workqueue_depth 1.0" in text
    story.replica.stopping.set()
    await task
    assert story.order[1:3] == ["mirrored", "other mirrored"]
    assert story.order.index("started") < story.order.index("other started")
    assert story.order.index("other stopped") < story.order.index("stopped")


async def test_reconciles_are_measured(monkeypatch) -> None:
    story = Story(monkeypatch)
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(5)
    text = story.replica.metrics.render().decode()
    assert 'drumline_reconcile_duration_seconds_sum{kind="TrainingJob",result="success"} 1.0' in text
    assert "drumline_leader 1.0" in text
    story.replica.stopping.set()
    await task


class Bus:
    """The operator's end of the report ingest."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.deliver: Any = shell_life.not_leading
        self.crews: Any = None

    async def start(self) -> None:
        self.story.note("hears")

    async def stop(self) -> None:
        self.story.note("deaf")

    def attend(self, crews: Any) -> None:
        self.crews = crews

    def ignore(self) -> None:
        self.crews = None


async def test_reports_are_taken_while_it_leads_and_at_no_other_time(monkeypatch) -> None:
    story = Story(monkeypatch)
    bus = story.replica.bus = Bus(story)
    crews: Any = object()
    built = Built(story, Census, deliver=lambda *_: None, crews=crews)
    story.replica._build = lambda *_: built
    story.build(Client(story), None, story.replica.config)
    story.work = 0
    monkeypatch.setattr(story, "reconcile", lambda _key: asyncio.sleep(0))
    task = asyncio.create_task(story.replica.run())
    await asyncio.sleep(1)
    assert story.order == ["serving", "hears"]
    assert (bus.deliver, bus.crews) == (shell_life.not_leading, None)
    await asyncio.sleep(2)
    assert (bus.deliver, bus.crews) == (built.deliver, crews)
    story.replica.stopping.set()
    await task
    assert (bus.deliver, bus.crews) == (shell_life.not_leading, None)
    assert story.order[-4:] == ["deaf", "not serving", "closed", "closed"]


@pytest.mark.parametrize("held", [False, True])
def test_restarts_are_exported_by_the_leader_alone(held: bool) -> None:
    process = Process("me", "ns", now=lambda: 0.0, monotonic=lambda: 0.0, die=lambda _: None)
    replica = Replica(Config(), process, lambda *_: pytest.fail("built"))
    census = Census(phases={"Running": 1}, restarts={("ns", "job", "Hang"): 2})
    replica._measure(Built(None, lambda: census), SimpleNamespace(held=held))  # type: ignore[arg-type]
    text = replica.metrics.render().decode()
    assert 'drumline_jobs{phase="Running"} 1.0' in text
    assert ('drumline_job_restarts_total{cause="Hang",job="job",namespace="ns"} 2.0' in text) is held
