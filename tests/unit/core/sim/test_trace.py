from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.core.gang.types import PlacementPolicy
from drumline.core.sim.trace import Row, Size, TraceError, jobs_of
from tests.unit.core.sim.scenes import CATALOG, H100, V5P, job, tpu_job


def test_jobs_ask_for_what_a_training_job_asks_for() -> None:
    rows = [job(5, 10, workers=4, policy="Required", level="block"), tpu_job(7, 10, "4x4x4", slices=2)]
    gpu, tpu = jobs_of(rows, CATALOG)
    assert (gpu.request.workers, gpu.request.chips_per_worker, gpu.chips) == (4, 8, 32)
    assert (gpu.request.policy, gpu.request.level) == (PlacementPolicy.REQUIRED, "block")
    assert dict(gpu.request.worker.requests)["nvidia.com/gpu"] == 8
    assert (tpu.request.workers_per_slice, tpu.request.atomic_pool, tpu.chips) == (16, True, 128)
    assert dict(tpu.request.worker.node_selector)["cloud.google.com/gke-tpu-topology"] == "4x4x4"


def test_time_begins_with_the_first_job_and_equals_share_their_kind() -> None:
    first, second, other = jobs_of([job(50, 1, name="late"), job(20, 1), job(60, 1, workers=2)], CATALOG)
    assert [j.request.queued_at for j in (first, second, other)] == [0, 30, 40]
    assert second.request.name == "late"
    assert first.kind == second.kind != other.kind
    assert len({j.uid for j in (first, second, other)}) == 3


@pytest.mark.parametrize(
    ("size", "field"),
    [
        (Size("h100"), "accelerator.type"),
        (Size(V5P, topology="3x3x3"), "accelerator.topology"),
        (Size(H100, chips_per_worker=64), "accelerator.chipsPerWorker"),
        (Size(H100, workers_per_slice=2, tensor=16), "parallelism"),
        (Size(H100, policy="Sometimes"), "scheduling.placement.policy"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(size: Size, field: str) -> None:
    row = replace(job(0, 1), where="jobs.csv:7", size=size)
    with pytest.raises(TraceError, match=rf"^jobs.csv:7: {field}: "):
        jobs_of([row], CATALOG)


def test_no_rows_are_no_jobs() -> None:
    nothing: list[Row] = []
    assert jobs_of(nothing, CATALOG) == []
