"""One gang of several sizes: what depends on the size follows the attempt's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.status import PlacementStatus, TrainingJobStatus
from drumline.core.gang.types import Placement
from drumline.core.training.elastic import carried, cut, fitted, sized, wanted
from drumline.core.training.render import prepare_gang
from tests.unit.core.training import elastic_jobs, jobs

HELD = PlacementStatus(revision="r", hash="h", pods=2)
LOADER = [{"name": "loader", "replicas": 2, "template": jobs.TEMPLATE}]


def test_an_attempt_has_its_own_size_and_the_queue_the_one_that_is_wanted():
    job = elastic_jobs.job(4, workers=2)
    held = fitted(job, TrainingJobStatus(slices=3, placement=HELD))
    assert (held.spec.slices, held.shape.slices, held.shape.workers, held.roster.size) == (3, 3, 6, 6)
    assert wanted(held) == 4
    assert fitted(held, TrainingJobStatus(slices=3)).roster == job.roster
    assert fitted(held, TrainingJobStatus(slices=5, placement=HELD)).roster.workers == 10


def test_any_other_job_has_one_size():
    job = jobs.job()
    assert fitted(job, TrainingJobStatus(slices=1, placement=HELD)) is job
    assert wanted(job) == job.spec.slices


def test_nothing_of_the_size_wanted_reaches_the_pods():
    two = sized(elastic_jobs.job(4), 2)
    plain = jobs.job(jobs.spec(slices=2, workersPerSlice=1))
    for index in range(2):
        pods = [prepare_gang(o.job, o.spec, o.catalog, 1).worker(index, "n") for o in (two, plain)]
        assert pods[0] == pods[1]
        env = {e["name"]: e.get("value") for e in pods[0]["spec"]["containers"][0]["env"]}
        assert (env["DRUMLINE_SLICES"], env["DRUMLINE_WORLD_SIZE"]) == ("2", "2")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (2, {0: "a", 1: "b", 2: "x", 3: "y", 4: "spare"}),
        (3, {0: "a", 1: "b", 2: "c", 3: "x", 4: "y", 5: "spare"}),
        (5, {0: "a", 1: "b", 2: "c", 5: "x", 6: "y", 7: "spare"}),
    ],
)
def test_places_are_carried_to_another_size(after, expected):
    three = elastic_jobs.job(3, helpers=LOADER)
    nodes = ("a", "b", "c", "x", "y", "spare")
    assert carried(nodes, three.roster, sized(three, after).roster) == expected


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_the_first_slices_stay(before, after, workers):
    job = sized(elastic_jobs.job(6, workers=workers, helpers=LOADER), before)
    nodes = tuple(f"node-{i}" for i in range(job.roster.size))
    kept = cut(Placement(nodes), job.roster, after).nodes
    smaller = sized(job, min(before, after)).roster
    assert len(kept) == smaller.size
    assert kept[: smaller.workers] == nodes[: smaller.workers]
    assert kept[smaller.workers :] == nodes[job.roster.workers :]


def test_a_job_without_a_valid_spec_has_no_size():
    broken = replace(jobs.job(), spec=None, shape=None, roster=None)
    assert sized(broken, 3) is broken
    with pytest.raises(ValueError, match="no size"):
        wanted(broken)
