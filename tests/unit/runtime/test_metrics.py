from collections import Counter

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from drumline import __version__
from drumline.api.catalog import Catalog
from drumline.core.gang.types import Member, Pod, PodPhase
from drumline.runtime.health import HealthServer
from drumline.runtime.metrics import Metrics
from drumline.runtime.metrics_census import MAX_JOBS, Census, take_census
from drumline.runtime.records import JobReader, JobRecord


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def labels(**values: str) -> frozenset:
    return frozenset(values.items())


def test_requests_and_reconciles_are_counted() -> None:
    metrics = Metrics()
    metrics.request("create", "pods", "201")
    metrics.request("create", "pods", "201")
    metrics.reconciled(0.02, "success", "TrainingJob")
    found = samples(metrics)
    assert found["drumline_api_requests_total", labels(verb="create", resource="pods", code="201")] == 2
    count = "drumline_reconcile_duration_seconds_count"
    assert found[count, labels(kind="TrainingJob", result="success")] == 1
    assert found[count, labels(kind="TrainingJob", result="error")] == 0, "zeros exist from the start"
    build = labels(version=__version__, revision="unknown")
    assert found["drumline_build_info", build] == 1


def test_the_commit_is_told_where_it_is_known() -> None:
    found = samples(Metrics(revision="0a1b2c"))
    assert found["drumline_build_info", labels(version=__version__, revision="0a1b2c")] == 1


def test_what_is_known_elsewhere_is_read_at_each_scrape() -> None:
    metrics = Metrics()
    state = {"depth": 1, "leader": False}
    metrics.follow(depth=lambda: state["depth"], delayed=lambda: 7, leader=lambda: state["leader"])
    metrics.follow_jobs(
        lambda: Census({"Running": state["depth"]}, {"tpu-v6e": 16}, {}, {("ns", "a", "OutOfMemory"): 2})
    )
    assert samples(metrics)["drumline_leader", labels()] == 0
    state |= {"depth": 5, "leader": True}
    found = samples(metrics)
    assert found["drumline_workqueue_depth", labels()] == 5
    assert found["drumline_workqueue_delayed", labels()] == 7
    assert found["drumline_leader", labels()] == 1
    assert found["drumline_jobs", labels(phase="Running")] == 5
    assert found["drumline_accelerators_held", labels(accelerator="tpu-v6e")] == 16
    assert found["drumline_job_restarts_total", labels(namespace="ns", job="a", cause="OutOfMemory")] == 2


def job(name: str, *, phase: str | None = None, suspend: bool = False, restarts: int = 0) -> JobRecord:
    spec = {
        "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 8},
        "workersPerSlice": 4,
        "suspend": suspend,
        "template": {"spec": {"containers": [{"name": "train", "image": "i"}]}},
    }
    status = {"phase": phase, "restarts": [{"cause": "NodeLost", "count": restarts}] if restarts else []}
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    return JobReader(Catalog.default()).read({"metadata": metadata, "spec": spec, "status": status})


def pod(index: int, *, bound: bool = True, phase: PodPhase = PodPhase.RUNNING, role: str = "worker") -> Pod:
    member = Member(job="a", job_uid="uid-a", attempt=1, role=role, slice=0, worker=index)
    return Pod("ns", f"a-{index}", f"u{index}", bound=bound, phase=phase, member=member)


def test_census_counts_phases_and_chips() -> None:
    jobs = [
        job("a", phase="Running"),
        job("b"),
        job("c", phase="Succeeded"),
        job("d", phase="Suspended", suspend=True),
    ]
    pods = [pod(0), pod(1), pod(2, bound=False), pod(3, phase=PodPhase.SUCCEEDED), pod(4, role="loader")]
    census = take_census(jobs, lambda uid: pods if uid == "uid-a" else [])
    assert census.phases["Running"] == census.phases["Queued"] == census.phases["Suspended"] == 1
    assert census.phases["Starting"] == 0
    assert census.requested == {"nvidia-h100-80gb": 64}
    assert census.held == {"nvidia-h100-80gb": 16}


def test_spec_that_does_not_hold_is_still_a_job() -> None:
    broken = JobReader(Catalog.default()).read(
        {"metadata": {"namespace": "ns", "name": "x", "uid": "u", "resourceVersion": "1"}, "spec": {"a": 1}}
    )
    assert take_census([broken], lambda _: []).phases["Queued"] == 1


def test_many_jobs_are_added_up_by_namespace() -> None:
    few = take_census([job("a", restarts=3)], lambda _: [])
    assert few.restarts == {("ns", "a", "NodeLost"): 3}
    one = job("a", restarts=2)
    many = take_census([one] * (MAX_JOBS + 1), lambda _: [])
    assert many.restarts == Counter({("ns", "", "NodeLost"): 2 * (MAX_JOBS + 1)})


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_probes(ready: bool, status: int) -> None:
    server = HealthServer(lambda: b"some_metric 1\n", lambda: ready)
    await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            answers = [await session.get(path) for path in ("/metrics", "/healthz", "/readyz", "/other")]
            assert [answer.status for answer in answers] == [200, 200, status, 404]
            assert await answers[0].text() == "some_metric 1\n"
            assert answers[0].headers["Content-Type"].startswith("text/plain; version=")
    finally:
        await server.stop()
