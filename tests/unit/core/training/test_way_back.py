"""The way back in phases, and how long each failure was not acted upon, in the status."""

from dataclasses import replace

import pytest

from drumline.api.goodput import RECOVERY
from drumline.api.status import AttemptStatus, DetectionTime, PhaseTime, TrainingJobStatus
from drumline.core.gang.departures import Departure
from drumline.core.gang.types import Node, PodTimes, Termination
from drumline.core.training.decide import decide
from drumline.core.training.way_back import PHASE_OF, way_back
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.jobs import NOW
from tests.unit.core.training.policies import test_hang as hangs

DECIDED = NOW + 60.0


def _attempt(number, cause=None, recovery=(), detection=None):
    return AttemptStatus(
        attempt=number,
        started_at="2026-11-20T10:00:00Z",
        cause=cause,
        recovery=tuple(PhaseTime(phase=phase, ms=ms) for phase, ms in recovery),
        detection=DetectionTime(ms=detection, source="observed") if detection is not None else None,
    )


BACK = _attempt(3, recovery=[("compile", 7), ("queued", 5), ("draining", 3), ("hang", 2), ("total", 17)])


def test_phases_are_in_their_order_and_add_up():
    lost = _attempt(1, "NodeLost", detection=40)
    assert list(way_back((lost, BACK), BACK).items()) == [
        ("detect", 40),
        ("teardown", 3),
        ("placement", 5),
        ("compile", 7),
        ("other", 2),
        ("total", 57),
    ]


def test_a_gang_timeout_in_between_is_no_failure_of_its_own():
    attempts = (_attempt(1, "NodeLost", detection=40), _attempt(2, "GangTimeout", detection=9), BACK)
    assert way_back(attempts, BACK)["detect"] == 40


def test_what_is_not_known_is_left_out():
    assert "detect" not in way_back((_attempt(2, "Unknown"), BACK), BACK)
    assert way_back((BACK,), BACK)["total"] == 17
    assert way_back((_attempt(1),), _attempt(1)) == {}


def test_each_state_of_a_recovery_has_a_phase():
    assert {state.value for state in RECOVERY} <= PHASE_OF.keys()


def _last(observation, now=DECIDED):
    status = TrainingJobStatus.model_validate(jobs.written(decide(observation, now)))
    return [a for a in status.attempts if a.finished_at][-1]


def test_a_container_that_failed():
    observation = jobs.with_pod(jobs.running(), 1, lambda p: jobs.failed(p, at=NOW + 57))
    assert _last(observation).detection == DetectionTime(ms=3000, source="observed")


def test_a_node_that_is_lost():
    deleted = {
        "deleting": True,
        "disruption": "DeletionByTaintManager",
        "times": PodTimes(deleted_at=NOW + 50),
    }
    observation = jobs.with_pod(jobs.running(), 2, lambda p: replace(p, **deleted))
    node = Node("node-2", ready=False, unready_since=NOW + 20)
    last = _last(replace(observation, nodes={"node-2": node}))
    assert (last.cause, last.detection) == ("NodeLost", DetectionTime(ms=40_000, source="observed"))


def test_a_process_behind_its_launcher():
    observation = crews.saying(crews.running(), r1=replace(crews.ended(), at=NOW + 59.5))
    assert _last(observation).detection == DetectionTime(ms=500, source="reported")


def test_a_container_that_came_back_with_another_launcher():
    end = Termination("train", 137, "Error", "", NOW + 55)
    observation = jobs.with_pod(crews.running(), 1, lambda p: replace(p, restarted=end))
    again = replace(crews.process(crews.ProcessState.HELD, 0, NOW + 59), origin="other")
    last = _last(crews.saying(observation, r1=again))
    assert (last.exit_code, last.detection) == (137, DetectionTime(ms=5000, source="observed"))


def test_a_hang_since_its_last_step():
    asked = hangs.asked()
    last = _last(hangs.answering(asked, dict.fromkeys(range(4), hangs.READS)), hangs.LATER)
    assert last.cause == "Hang"
    assert last.detection == DetectionTime(ms=350_000, source="reported")


def test_what_has_not_failed_yet_was_not_detected_late():
    observation = jobs.settled(jobs.begun(jobs.job()))
    going = {"node-1": Departure("node-1", "taint going")}
    last = _last(replace(observation, departing=going))
    assert (last.cause, last.detection) == ("Maintenance", None)


@pytest.mark.parametrize("end", [NOW - 3600, NOW + 3600])
def test_clocks_that_differ(end):
    observation = jobs.with_pod(jobs.running(), 1, lambda p: jobs.failed(p, at=end))
    detection = _last(observation).detection
    assert detection.source == "estimated"
    assert 0 <= detection.ms <= 60_000
