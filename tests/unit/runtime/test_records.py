"""Which catalogue a job is judged by."""

from __future__ import annotations

from typing import Any

from drumline.api.catalog import Catalog
from drumline.runtime.records import JobReader
from tests.unit.core.training import jobs

BASE = Catalog.default()
FOUR = BASE.merged({"nvidia-h100-80gb": {"chipsPerHost": 4}})
PLACED = {"revision": "job-1", "hash": "h", "pods": 4, "chunks": 1}
LIVE = {"attempt": 1, "placement": PLACED, "attempts": [{"attempt": 1, "startedAt": "2027-01-15T08:00:00Z"}]}


def document(status: dict[str, Any] | None = None, generation: int = 1, **changes: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "ns",
        "name": "job",
        "uid": "u",
        "resourceVersion": "1",
        "generation": generation,
    }
    spec = jobs.spec(accelerator={"type": "nvidia-h100-80gb"}, **changes)
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def test_a_waiting_job_is_judged_by_the_catalogue_in_force() -> None:
    reader = JobReader(BASE)
    record = reader.read(document())
    reader.catalog = FOUR
    judged = reader.judged(record)
    assert record.shape is not None
    assert judged.shape is not None
    assert (record.shape.chips, judged.shape.chips) == (32, 16)
    assert judged.catalog is FOUR
    assert reader.judged(judged) is judged
    assert reader.read(document()).shape == judged.shape


def test_a_type_that_went_is_an_error_and_its_return_mends_it() -> None:
    reader = JobReader(BASE)
    record = reader.read(document())
    reader.catalog = BASE.merged({"nvidia-h100-80gb": None})
    judged = reader.judged(record)
    assert judged.spec is None
    assert judged.errors[0].path == "spec.accelerator.type"
    reader.catalog = BASE
    assert reader.judged(judged).spec == record.spec


def test_a_job_with_its_nodes_keeps_the_catalogue_of_its_attempt() -> None:
    reader = JobReader(BASE)
    reader.read(document())
    reader.catalog = FOUR
    placed = reader.read(document(LIVE, generation=2))
    assert placed.catalog is BASE
    assert reader.judged(placed) is placed
    released = reader.read(document(generation=3))
    assert reader.judged(released).catalog is FOUR


def test_a_change_of_other_types_leaves_the_record_as_it_is() -> None:
    reader = JobReader(BASE)
    record = reader.read(document())
    reader.catalog = BASE.merged({"nvidia-a100-40gb": {"chipsPerHost": 4}})
    assert reader.judged(record) is record


def test_what_is_malformed_stays_so_whatever_the_catalogue_says() -> None:
    reader = JobReader(BASE)
    record = reader.read(document(slices=0))
    assert [e.path for e in record.errors] == ["spec.slices"]
    reader.catalog = FOUR
    assert reader.judged(record) is record


def test_a_live_attempt_of_another_size_than_the_catalogue_gives_is_an_error_not_a_riddle() -> None:
    live = {**LIVE, "placement": {**PLACED, "pods": 2}}
    record = JobReader(BASE).read(document(live))
    assert record.spec is None
    assert "4 pods, and its attempt began with 2" in str(record.errors[0])
    assert JobReader(BASE).read(document(LIVE)).errors == ()


def test_an_elastic_job_has_the_size_of_its_attempt() -> None:
    reader = JobReader(BASE)
    bounds = {"elastic": {"minSlices": 1, "maxSlices": 4}, "slices": 4}
    waiting = reader.read(document(**bounds))
    assert waiting.spec is not None
    assert (waiting.spec.slices, waiting.wanted) == (4, 0)
    running = reader.read(document({**LIVE, "slices": 2}, **bounds))
    assert running.errors == ()
    assert running.spec is not None
    assert running.roster is not None
    assert (running.spec.slices, running.roster.size, running.wanted) == (2, 4, 4)
    assert running.shape is not None
    assert (running.shape.chips, running.wanted_chips, waiting.wanted_chips) == (32, 64, 64)
    misfit = reader.read(document({**LIVE, "slices": 3}, **bounds))
    assert "its attempt began with 4" in misfit.errors[0].message


def test_a_job_has_the_accelerator_that_its_status_names() -> None:
    reader = JobReader(BASE)
    chosen = {
        "type": "tpu-v5p",
        "topology": "4x4x4",
        "candidates": [{"type": "tpu-v5p", "topology": "2x2x4"}],
    }
    raw = document()
    raw["spec"] = {**raw["spec"], "accelerator": chosen, "slices": 1}
    del raw["spec"]["workersPerSlice"]
    first, second = reader.read(raw), reader.read({**raw, "status": {"candidate": 1}})
    assert (first.errors, second.errors) == ((), ())
    assert first.roster is not None
    assert second.roster is not None
    assert (first.roster.workers, second.roster.workers) == (16, 4)
    assert second.spec is not None
    assert second.spec.accelerator.topology == "2x2x4"
    assert second.shape is not None
    assert second.wanted_chips == second.shape.chips == 16


def test_a_change_of_a_candidate_s_type_counts() -> None:
    reader = JobReader(BASE)
    raw = document()
    raw["spec"]["accelerator"] = {"type": "nvidia-h200-141gb", "candidates": [{"type": "nvidia-h100-80gb"}]}
    record = reader.read(raw)
    reader.catalog = BASE.merged({"nvidia-h100-80gb": None})
    judged = reader.judged(record)
    assert [e.path for e in judged.errors] == ["spec.accelerator.candidates[0].type"]
