"""The keeper and a job that falls back on an accelerator with another number of workers."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.candidates import with_candidate
from drumline.api.goodput import State
from drumline.api.reasons import Reason
from drumline.api.shape import resolve_shape
from drumline.core.gang.types import Granted, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.members import roster
from drumline.core.training.observation import Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.runtime.test_ledger_keeper import Stage

NO = Refusal(Reason.INSUFFICIENT_ACCELERATORS, "needs 16 nodes")
CHIPS = 4  # of a worker
CHOSEN = {
    "type": "tpu-v5p",
    "topology": "4x4x4",
    "candidates": [{"type": "tpu-v5p", "topology": "2x2x4"}],
    "fallbackSeconds": 100,
}


def as_read(obs: Observation) -> Observation:
    """The observation of the candidate that its status names."""
    assert obs.spec is not None
    spec = with_candidate(obs.spec, obs.status.candidate or 0)
    shape = resolve_shape(spec, obs.catalog)
    return replace(obs, spec=spec, shape=shape, roster=roster(obs.job.name, spec, shape.workers_per_slice))


def test_lanes_follow_the_candidate_and_all_time_is_accounted_for() -> None:
    stage = Stage(jobs.job(jobs.spec(accelerator=CHOSEN, slices=1, workersPerSlice=None), admission=NO))
    stage.look()
    stage.look(100)
    assert stage.observation.status.candidate == 1
    assert stage.goodput.lanes == 16
    stage.observation = replace(as_read(stage.observation), admission=None)
    stage.look()
    given = jobs.placement(stage.observation)
    plan = decide(replace(stage.observation, admission=Granted(given)), NOW + 150)
    stage.look(50, plan=plan)
    assert stage.goodput.lanes == 4
    assert stage.states()[State.QUEUED] == CHIPS * (16 * 105 + 4 * 50) * 1000
    assert stage.goodput.elapsed_ms == CHIPS * (16 * 105 + 4 * 50) * 1000
    assert stage.observation.status.placement is not None
    assert stage.observation.status.placement.pods == 4
    stage.keeper = stage.new_keeper()  # another leader goes on where the status ends
    stage.observation = replace(stage.observation, placement=given)
    stage.look(40)
    found = stage.goodput
    whole = CHIPS * (16 * 105 + 4 * 90) * 1000
    assert sum(s.ms for s in found.states) + found.provisional_ms == found.elapsed_ms == whole
