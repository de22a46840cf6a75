"""What is exported of an InferenceService: exactly its account, for as long as it matters, and what engines say now."""

from __future__ import annotations

from typing import Any

from drumline.api.catalog import Catalog
from drumline.core.inference.signals import EngineSample, GroupSignals, Histogram, Rates, Scaling, Signals
from drumline.runtime.metrics_kept import KEPT_SECONDS
from drumline.runtime.metrics_serving_series import ServiceSeries
from drumline.runtime.service_records import ServiceReader, ServiceRecord
from tests.unit.core.inference import services
from tests.unit.runtime.test_metrics_goodput import samples

CREATED = "2026-11-21T12:00:00Z"
NOW = 1_795_262_400.0 + 3600  # an hour later
S = ("ns", "chat")
DECODE: dict[str, Any] = {
    "role": "decode",
    "states": [{"state": "loading", "ms": 90_000}, {"state": "serving", "ms": 600_250}],
    "promptTokens": 70,
    "generationTokens": 7000,
    "requests": 40,
    "failedRequests": 2,
    "tpotMet": 90,
    "tpotMeasured": 100,
    "draftTokens": 50,
    "acceptedTokens": 30,
}
STATUS: dict[str, Any] = {
    "phase": "Degraded",
    "conditions": [
        {"type": "Available", "status": "True", "reason": "x", "lastTransitionTime": CREATED},
        {"type": "Ready", "status": "False", "reason": "x", "lastTransitionTime": CREATED},
    ],
    "roles": [
        {
            "name": "decode",
            "desired": 3,
            "replicas": 2,
            "ready": 1,
            "updated": 1,
            "groups": [
                {"id": 0, "revision": "r", "phase": "Serving"},
                {"id": 1, "revision": "r", "phase": "Failed"},
            ],
        }
    ],
    "rollout": {"phase": "Rolling", "revision": "r", "since": CREATED},
    "restarts": [{"cause": "NodeLost", "count": 3}],
    "serving": {"at": CREATED, "elapsedMs": 690_250, "heldMs": 690_250, "roles": [DECODE], "costUsd": 1.5},
}
ROLES = (
    services.role("prefill"),
    services.role("decode", autoscaling={"mode": "Builtin", "minReplicas": 1, "maxReplicas": 8}),
)


def record(name: str = "chat", created: str = CREATED, **status: Any) -> ServiceRecord:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": created,
    }
    spec = services.spec(*ROLES, slo={"tpotSeconds": 0.05}, queue="chats", model={"name": "llama"})
    document = {"metadata": metadata, "spec": spec, "status": {**STATUS, **status}}
    found = ServiceReader(Catalog.default()).read(document)
    assert found.errors == ()
    return found


class Scene:
    """Services that come and go, what their engines say, and a clock."""

    def __init__(self, *records: ServiceRecord, most: int = 1000) -> None:
        self.records = list(records)
        self.signals: dict[str, Signals] = {}
        self.now = NOW
        self._series = ServiceSeries(
            lambda: self.records, lambda uid: self.signals.get(uid, Signals()), lambda: self.now, most
        )

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        found = samples("".join(self._series.lines()))
        return {(name.removeprefix("drumline_serving_"), labels): v for (name, labels), v in found.items()}


def test_the_account_is_exported_as_it_is() -> None:
    found = Scene(record()).samples()
    decode = (*S, "decode")
    assert found["accelerator_seconds_total", (*decode, "serving")] == 600.25
    assert found["accelerator_seconds_total", (*decode, "loading")] == 90
    assert found["prompt_tokens_total", decode] == 70
    assert found["generation_tokens_total", decode] == 7000
    assert found["requests_total", (*decode, "answered")] == 40
    assert found["requests_total", (*decode, "failed")] == 2
    assert found["slo_met_total", (*decode, "tpot")] == 90
    assert found["slo_measured_total", (*decode, "tpot")] == 100
    assert found["draft_tokens_total", decode] == 50
    assert found["accepted_tokens_total", decode] == 30
    assert found["restarts_total", (*S, "NodeLost")] == 3
    assert found["cost_dollars_total", S] == 1.5


def test_what_it_is_and_how_it_stands() -> None:
    found = Scene(record()).samples()
    decode = (*S, "decode")
    states = {s: found["groups", (*decode, s)] for s in ("desired", "current", "ready", "updated")}
    assert states == {"desired": 3, "current": 2, "ready": 1, "updated": 1}
    assert found["group_phases", (*decode, "Failed")] == 1
    assert found["group_phases", (*decode, "Draining")] == 0
    assert found["info", (*S, "custom", "llama", "standard", "chats")] == 1
    assert found["role_info", (*decode, "cpu", "Builtin")] == 1
    assert found["role_info", (*S, "prefill", "cpu", "none")] == 1
    assert found["replica_limit", (*decode, "max")] == 8
    assert ("replica_limit", (*S, "prefill", "max")) not in found
    assert (found["phase", (*S, "Degraded")], found["phase", (*S, "Serving")]) == (1, 0)
    assert (found["condition", (*S, "Available")], found["condition", (*S, "Ready")]) == (1, 0)
    assert ("condition", (*S, "Progressing")) not in found
    assert (found["rollout_phase", (*S, "Rolling")], found["rollout_phase", (*S, "Paused")]) == (1, 0)
    assert found["rollout_phase_timestamp_seconds", S] == NOW - 3600
    assert found["slo_target_seconds", (*S, "tpot")] == 0.05
    assert found["slo_target_ratio", S] == 0.9


def test_a_role_without_an_account_has_zeros_and_nobody_promised_a_first_token() -> None:
    found = Scene(record()).samples()
    assert found["accelerator_seconds_total", (*S, "prefill", "serving")] == 0
    assert found["requests_total", (*S, "prefill", "failed")] == 0
    assert not any(name.startswith("slo") and "ttft" in labels for name, labels in found)
    without = Scene(record(serving=None)).samples()
    assert without["generation_tokens_total", (*S, "decode")] == 0
    assert ("cost_dollars_total", S) not in without


def test_of_a_deleted_service_the_counters_stay_for_a_while() -> None:
    scene = Scene(record())
    scene.signals["uid-chat"] = Signals({("decode", 0): GroupSignals(latest=EngineSample(NOW, waiting=1))})
    assert ("requests_waiting", (*S, "decode")) in scene.samples()
    scene.records.clear()
    found = scene.samples()
    assert found["generation_tokens_total", (*S, "decode")] == 7000
    assert {name for name, _ in found if not name.endswith("_total")} == set()
    scene.now += KEPT_SECONDS + 1
    assert scene.samples() == {}


def test_of_too_many_services_only_sums_are_exported() -> None:
    scene = Scene(record("old"), record("new", "2026-11-21T13:00:30Z"), most=1)
    scene.signals["uid-old"] = Signals({("decode", 0): GroupSignals(latest=EngineSample(NOW, waiting=1))})
    found = scene.samples()
    whole = ("ns", "", "decode")
    assert found["generation_tokens_total", whole] == 7000, "what came before this process is no increase"
    assert found["groups", (*whole, "ready")] == 2
    assert {labels[1] for _, labels in found} == {""}
    assert not {"info", "phase", "requests_waiting", "slo_target_ratio"} & {name for name, _ in found}
    grown = {**STATUS["serving"], "roles": [{**DECODE, "generationTokens": 7005}]}
    scene.records = [record("old", serving=grown)]
    assert scene.samples()["generation_tokens_total", whole] == 7005


def latencies(*counts: float) -> Histogram:
    bounds = (0.1, 0.2, float("inf"))
    whole = [sum(counts[: i + 1]) for i in range(len(bounds))]
    return Histogram(tuple(zip(bounds, whole, strict=True)), 1.0, whole[-1])


def says(waiting: float, kv: float | None, ttft: Histogram) -> GroupSignals:
    latest = EngineSample(NOW, waiting=waiting, running=2, kv_cache_usage=kv)
    return GroupSignals(latest=latest, window=Rates(60, ttft=ttft))


def test_what_the_engines_of_a_role_say_is_put_together() -> None:
    scene = Scene(record())
    silent = GroupSignals(latest=EngineSample(NOW - 90, waiting=500), failing_since=NOW - 80)
    groups = {
        ("decode", 0): says(3, 0.2, latencies(10, 0, 0)),
        ("decode", 1): says(1, 0.6, latencies(0, 10, 0)),
        ("decode", 2): silent,
    }
    word = Scaling(4, metrics=(("waiting", 2.0, 1.0),))
    scene.signals["uid-chat"] = Signals(groups, {"decode": word})
    found = scene.samples()
    decode = (*S, "decode")
    assert found["requests_waiting", decode] == 4
    assert found["requests_running", decode] == 4
    assert found["kv_cache_usage_ratio", decode] == 0.4
    assert found["ttft_seconds", (*decode, "50")] == 0.1
    assert found["ttft_seconds", (*decode, "90")] == 0.18
    assert found["groups_without_metrics", decode] == 1
    assert ("tpot_seconds", (*decode, "50")) not in found
    assert found["autoscaler_desired_groups", decode] == 4
    assert found["autoscaler_metric", (*decode, "waiting")] == 2
    assert found["autoscaler_target", (*decode, "waiting")] == 1
