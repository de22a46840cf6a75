"""How long a failure was not acted upon, whatever the clocks say."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.goodput import Source
from drumline.api.reasons import Cause
from drumline.core.gang.detection import Detection, Moment, detection, failed_at
from drumline.core.gang.types import Node, Pod, PodTimes, Termination

AT = 1_800_000_000.0
POD = Pod("ns", "job-1-0-0", "u1", node="n1")
ENDED = replace(POD, termination=Termination("train", 3, finished_at=AT))
DELETED = replace(POD, deleting=True, times=PodTimes(deleted_at=AT + 30))
UNREADY = Node("n1", ready=False, unready_since=AT - 60)


@pytest.mark.parametrize(
    ("pod", "node", "cause", "at"),
    [
        (ENDED, None, Cause.APPLICATION_EXIT, AT),
        (replace(ENDED, deleting=True, times=DELETED.times), None, Cause.EVICTED, AT),
        (DELETED, None, Cause.EVICTED, AT + 30),
        (DELETED, UNREADY, Cause.NODE_LOST, AT - 60),
        (ENDED, UNREADY, Cause.NODE_LOST, AT - 60),
        (ENDED, UNREADY, Cause.OUT_OF_MEMORY, AT),
        (DELETED, replace(UNREADY, ready=True, unready_since=0.0), Cause.NODE_LOST, AT + 30),
        (None, UNREADY, Cause.NODE_LOST, AT - 60),
        (None, None, Cause.UNKNOWN, None),
        (POD, None, Cause.PLACEMENT_RACE, None),
        (replace(POD, termination=Termination("train", 0, finished_at=AT)), None, Cause.EVICTED, None),
    ],
)
def test_when_a_pod_failed(pod, node, cause, at):
    found = failed_at(pod, node, cause)
    assert (found.at if found is not None else None) == at
    assert found is None or found.source is Source.OBSERVED


@pytest.mark.parametrize(
    ("at", "ms", "source"),
    [
        (AT + 10.0, 2500, Source.REPORTED),
        (AT + 12.5, 0, Source.REPORTED),
        (AT + 400.0, 0, Source.ESTIMATED),  # the node's clock is ahead
        (AT - 400.0, 12_500, Source.ESTIMATED),  # it is behind: before the attempt began
        (0.0, 12_500, Source.ESTIMATED),
        (AT - 0.9, 12_500, Source.REPORTED),  # the whole second in which the attempt began
        (AT + 13.4, 0, Source.REPORTED),
    ],
)
def test_it_lies_within_the_attempt(at, ms, source):
    assert detection(Moment(at, Source.REPORTED), AT, AT + 12.5) == Detection(ms, source)


@settings(max_examples=50)
@given(*(st.floats(-1e6, 1e6) for _ in range(3)))
def test_it_is_never_negative(at, began, decided):
    found = detection(Moment(AT + at), AT + began, AT + decided)
    assert 0 <= found.ms <= max(0, round(1000 * (decided - began))) + 1
