"""What is exported of a job's ledger: exactly its figures, for as long as it matters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from drumline.api.catalog import Catalog
from drumline.api.goodput import RECOVERY, State
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.types import Member, Pod, PodPhase
from drumline.runtime.metrics import Metrics
from drumline.runtime.metrics_census import Census
from drumline.runtime.metrics_events import MAX_QUEUES, OF_EVENTS, OTHER_QUEUES, EventMetrics
from drumline.runtime.metrics_fragmentation import FRAGMENTATION
from drumline.runtime.metrics_goodput import OF_JOBS, unbalanced_ms
from drumline.runtime.metrics_kept import KEPT_SECONDS
from drumline.runtime.metrics_power import BUDGET, COVERED, DRAWN
from drumline.runtime.metrics_queues import OF_QUEUES
from drumline.runtime.metrics_series import UNBALANCED, JobSeries
from drumline.runtime.metrics_serving import OF_SERVICES
from drumline.runtime.metrics_serving_live import LIVE
from drumline.runtime.metrics_text import Family, seconds
from drumline.runtime.records import JobReader, JobRecord
from tests.unit.core.training import jobs

CREATED = "2026-11-21T12:00:00Z"
NOW = 1_795_262_400.0 + 3600  # an hour later
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"

GOODPUT: dict[str, Any] = {
    "at": "2026-11-21T13:00:00Z",
    "startedAt": CREATED,
    "lanes": 4,
    "chipsPerLane": 8,
    "source": "reported",
    "elapsedMs": 100_500,
    "provisionalMs": 20_250,
    "states": [
        {"state": "queued", "ms": 30_000, "restartMs": 1_000},
        {"state": "productive", "ms": 50_250},
    ],
    "step": 7,
    "committedStep": 5,
    "lostSteps": 2,
    "tokens": 4096,
    "lastProgressAt": "2026-11-21T12:59:59.500Z",
    "hangs": 1,
    "stragglers": [{"lane": "0-3", "medianMs": 900}],
    "ratios": [
        {"name": "ettr", "value": "0.5000", "source": "reported"},
        {"name": "program", "value": "0.4100", "source": "estimated"},
        {"name": "of a newer operator", "value": "1", "source": "observed"},
    ],
    "costDollars": "12.5000",
}


def record(name: str = "a", goodput: Any = GOODPUT, created: str = CREATED, **status: Any) -> JobRecord:
    spec = {
        "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 8},
        "workersPerSlice": 4,
        "queue": "research",
        "template": {"spec": {"containers": [{"name": "train", "image": "i"}]}},
    }
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": created,
    }
    status = {"phase": "Running", **({"goodput": goodput} if goodput else {}), **status}
    return JobReader(Catalog.default()).read({"metadata": metadata, "spec": spec, "status": status})


def pod(index: int) -> Pod:
    member = Member(job="a", job_uid="uid-a", attempt=1, role="worker", slice=0, worker=index)
    return Pod("ns", f"a-{index}", f"u{index}", bound=True, phase=PodPhase.RUNNING, member=member)


class Scene:
    """Jobs that come and go, and a clock."""

    def __init__(self, *records: JobRecord, most: int = 1000) -> None:
        self.jobs = list(records)
        self.now = NOW
        pods = [pod(0), pod(1)]
        self.series = JobSeries(
            lambda: self.jobs, lambda uid: pods if uid == "uid-a" else [], lambda: self.now, most
        )

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        return samples("".join(self.series.lines()))


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    found = [s for f in text_string_to_metric_families(text) for s in f.samples]
    pairs = [((s.name, tuple(s.labels.values())), s.value) for s in found]
    assert len(dict(pairs)) == len(pairs), "a series twice"
    return dict(pairs)


def test_the_ledger_is_exported_as_it_is():
    found = Scene(record()).samples()
    job = ("ns", "a")
    name = "drumline_accelerator_seconds_total"
    assert found[name, (*job, "queued", "0")] == 29.0
    assert found[name, (*job, "queued", "1")] == 1.0
    assert found[name, (*job, "productive", "0")] == 50.25
    assert found["drumline_accelerator_seconds_provisional", job] == 20.25
    assert found["drumline_job_held_accelerators", job] == 16
    assert found["drumline_job_requested_accelerators", job] == 32
    assert found["drumline_job_step", job] == 7
    assert found["drumline_job_committed_step", job] == 5
    assert found["drumline_job_tokens_total", job] == 4096
    assert found["drumline_job_lost_steps_total", job] == 2
    assert found["drumline_job_hangs_total", job] == 1
    assert found["drumline_job_stragglers", job] == 1
    assert found["drumline_job_last_progress_timestamp_seconds", job] == NOW - 0.5
    assert found["drumline_job_ettr_ratio", (*job, "reported")] == 0.5
    assert found["drumline_job_program_goodput_ratio", (*job, "bf16", "estimated")] == 0.41
    assert found["drumline_job_cost_dollars_total", job] == 12.5
    assert found["drumline_job_phase", (*job, "Running")] == 1
    assert found["drumline_job_phase", (*job, "Queued")] == 0
    info = (*job, "TrainingJob", "none", "nvidia-h100-80gb", "", "research")
    assert found["drumline_job_info", info] == 1


def test_every_state_has_a_zero_from_the_start_and_what_is_not_known_has_nothing():
    found = Scene(record(goodput=None)).samples()
    states = {labels[2:] for name, labels in found if name == "drumline_accelerator_seconds_total"}
    assert states == {(s.value, "0") for s in State} | {(s.value, "1") for s in RECOVERY}
    names = {name for name, _ in found}
    assert "drumline_job_step" not in names
    assert "drumline_checkpoint_last_success_timestamp_seconds" not in names
    assert found["drumline_job_lost_steps_total", ("ns", "a")] == 0


def test_a_finished_job_stays_for_a_while():
    ended = record(phase="Succeeded", completionTime="2026-11-21T13:00:00Z")
    scene = Scene(ended)
    assert scene.samples()["drumline_job_tokens_total", ("ns", "a")] == 4096
    scene.now += KEPT_SECONDS + 1
    assert set(scene.samples()) == {("drumline_ledger_unbalanced_seconds", ())}


def test_of_a_deleted_job_the_counters_stay_for_a_while():
    scene = Scene(record())
    scene.samples()
    scene.jobs.clear()
    found = scene.samples()
    assert found["drumline_job_tokens_total", ("ns", "a")] == 4096
    assert not any(name == "drumline_job_phase" for name, _ in found)
    scene.jobs.append(record(goodput=None))
    assert scene.samples()["drumline_job_tokens_total", ("ns", "a")] == 0, "another job of that name"
    scene.jobs.clear()
    scene.samples()
    scene.now += KEPT_SECONDS + 1
    assert set(scene.samples()) == {("drumline_ledger_unbalanced_seconds", ())}


def test_of_too_many_jobs_only_sums_are_exported_and_they_never_fall():
    later = "2026-11-21T13:00:30Z"
    scene = Scene(record("old"), record("b", None, later), record("c", None, later), most=2)
    name = "drumline_job_tokens_total"
    assert scene.samples()[name, ("ns", "")] == 0, "what ran before this process began is no increase"
    scene.jobs = [record("old"), record("b", GOODPUT, later), record("c", GOODPUT, later)]
    found = scene.samples()
    assert found[name, ("ns", "")] == 8192
    assert found["drumline_job_requested_accelerators", ("ns", "")] == 96
    assert not any("job_phase" in n or "ratio" in n for n, _ in found)
    scene.jobs = [record("old", {**GOODPUT, "tokens": 5000}), record("d", None, later)]
    assert scene.samples()[name, ("ns", "")] == 8192 + 904


def test_a_ledger_that_does_not_add_up_shows():
    assert unbalanced_ms(record().status.goodput) == 0
    wrong = record(goodput={**GOODPUT, "elapsedMs": 101_750})
    assert Scene(wrong).samples()["drumline_ledger_unbalanced_seconds", ()] == 1.25


def test_labels_are_escaped_and_seconds_exact():
    family = Family("m", "gauge", "text", ("a",))
    assert family.line(('x"\\\n',), 1) == 'm{a="x\\"\\\\\\n"} 1\n'
    assert [seconds(ms) for ms in (0, 1500, 1, -1500)] == ["0", "1.500", "0.001", "-1.500"]


def test_every_exported_metric_is_documented_and_the_other_way_round():
    metrics = Metrics()
    metrics.follow_jobs(Census)
    text = metrics.render().decode()
    of_capacity = (FRAGMENTATION, BUDGET, COVERED, DRAWN)
    families = (*OF_JOBS, *OF_EVENTS, *OF_SERVICES, *OF_QUEUES, *LIVE, *of_capacity, UNBALANCED)
    exported = {f.name: set(f.labels) for f in families}
    for name in re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE):
        exported.setdefault(name, set())
    documented = re.findall(
        r"^\| `(drumline_\w+)` \| (\w+) \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE
    )
    assert sorted(exported) == sorted(name for name, _, _ in documented)
    for name, _, labels in documented:
        if exported[name]:
            assert set(re.findall(r"\w+", labels)) == exported[name], name


def _status(**changes: Any) -> TrainingJobStatus:
    return TrainingJobStatus.model_validate(changes)


def test_what_happens_once_is_counted_once():
    events = EventMetrics()
    obs = jobs.job(jobs.spec(queue="research"))
    begun = {"attempt": 1, "startedAt": "2026-11-21T12:00:40Z"}
    waiting = _status(queuedAt="2026-11-21T12:00:00Z")
    running = _status(attempt=1, attempts=[begun], placement={"revision": "a", "hash": "b", "pods": 4})
    events.settled(obs, waiting, running)
    failed = {**begun, "cause": "NodeLost"}
    again = {"attempt": 2, "startedAt": "2026-11-21T12:05:00Z"}
    restarted = running.model_copy(
        update={"attempt": 2, "attempts": _status(attempts=[failed, again]).attempts}
    )
    recovered = _status(
        attempts=[
            failed,
            {**again, "recovery": [{"phase": "compile", "ms": 1}, {"phase": "total", "ms": 42_000}]},
        ]
    )
    events.settled(obs, running, restarted)
    events.settled(obs, restarted, restarted.model_copy(update={"attempts": recovered.attempts}))
    events.settled(obs, recovered, recovered)
    found = samples("".join(events.lines()))
    assert found["drumline_job_queue_duration_seconds_count", ("ns", "research")] == 1
    assert found["drumline_job_queue_duration_seconds_sum", ("ns", "research")] == 40
    assert found["drumline_job_recovery_duration_seconds_count", ("ns", "NodeLost")] == 1
    assert found["drumline_job_recovery_duration_seconds_sum", ("ns", "NodeLost")] == 42


def test_a_preempted_job_has_waited_since_it_left():
    events, obs = EventMetrics(), jobs.job(jobs.spec(queue="research"))
    ended = {"attempt": 1, "startedAt": "2026-11-21T12:00:40Z", "finishedAt": "2026-11-21T13:00:00Z"}
    waiting = _status(attempt=1, queuedAt="2026-11-21T12:00:00Z", attempts=[ended])
    begun = {"attempt": 2, "startedAt": "2026-11-21T13:00:05Z"}
    events.settled(obs, waiting, _status(attempt=2, attempts=[ended, begun]))
    found = samples("".join(events.lines()))
    assert found["drumline_job_queue_duration_seconds_sum", ("ns", "research")] == 5


def test_queues_of_any_name_do_not_become_any_number_of_series():
    events = EventMetrics()
    begun = {"attempt": 1, "startedAt": "2026-11-21T12:00:40Z"}
    waiting = _status(queuedAt="2026-11-21T12:00:00Z")
    running = _status(attempt=1, attempts=[begun])
    for number in range(MAX_QUEUES + 3):
        events.settled(jobs.job(jobs.spec(queue=f"q{number}")), waiting, running)
    for queue in ("q0", None):
        events.settled(jobs.job(jobs.spec(queue=queue)), waiting, running)
    found = samples("".join(events.lines()))
    counts = {n[1][1]: v for n, v in found.items() if n[0] == "drumline_job_queue_duration_seconds_count"}
    assert (len(counts), counts[OTHER_QUEUES], counts["q0"], counts[""]) == (MAX_QUEUES + 2, 3, 2, 1)


def test_steps_and_the_end_are_counted_as_the_status_grows():
    events = EventMetrics()
    obs = jobs.job()
    none = [0] * 14
    before = {**GOODPUT, "stepTimes": {"count": 2, "sumMs": 100, "buckets": [0, 0, 2, *none[3:]]}}
    after = {**GOODPUT, "stepTimes": {"count": 5, "sumMs": 400, "buckets": [0, 0, 2, 3, *none[4:]]}}
    end = {
        "phase": "Succeeded",
        "completionTime": "2027-01-15T08:01:00Z",
        "conditions": [
            {"type": "Complete", "status": "True", "reason": "Completed", "lastTransitionTime": CREATED}
        ],
    }
    events.settled(obs, _status(), _status(goodput=before))
    events.settled(obs, _status(goodput=before), _status(goodput=after, **end))
    found = samples("".join(events.lines()))
    assert found["drumline_job_step_duration_seconds_count", ("ns", "cpu")] == 5
    assert found["drumline_job_step_duration_seconds_bucket", ("ns", "cpu", "0.05")] == 2
    assert found["drumline_job_step_duration_seconds_sum", ("ns", "cpu")] == 0.4
    assert found["drumline_job_completion_duration_seconds_sum", ("ns", "TrainingJob", "succeeded")] == 65
