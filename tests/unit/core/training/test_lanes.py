"""Which base state each lane is in, from when on: every row of the table, and what is news."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.goodput import State
from drumline.api.orders import ProcessState
from drumline.core.gang.ledger.events import LanesChanged
from drumline.core.gang.types import Placement, PodPhase, PodTimes
from drumline.core.training.attempts import begun, finished, released
from drumline.core.training.lanes import NOTHING_SEEN, lane_changes, lane_histories, look
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.jobs import NOW

START = int(NOW * 1000)


def at(seconds: float) -> int:
    return START + round(seconds * 1000)


def states(observation, status=None, seconds=60.0):
    histories = lane_histories(observation, status or observation.status, NOW + seconds)
    return [history[-1][1] for history in histories]


def history(observation, lane=0, seconds=60.0):
    return lane_histories(observation, observation.status, NOW + seconds)[lane]


def bound(pod, after=1.0):
    return replace(pod, bound=True, bound_at=NOW + after)


def with_times(**seconds):
    return lambda p: replace(
        bound(p), times=PodTimes(**{f"{k}_at": NOW + v for k, v in seconds.items()}), ready="ready" in seconds
    )


READY = with_times(prepared=2, started=5, ready=6)


def test_a_job_without_a_placement_is_queued_or_suspended():
    assert states(jobs.job()) == [State.QUEUED] * 4
    assert states(jobs.job(jobs.spec(suspend=True))) == [State.SUSPENDED] * 4
    assert history(jobs.job(), seconds=3)[0][0] == at(3)


def test_suspension_goes_before_all_else():
    observation = jobs.with_pods(jobs.begun(), READY)
    spec = observation.spec.model_copy(update={"suspend": True})
    assert states(replace(observation, spec=spec)) == [State.SUSPENDED] * 4


def test_a_job_without_a_valid_spec_has_no_lanes():
    with pytest.raises(ValueError, match="valid spec"):
        lane_histories(replace(jobs.job(), spec=None), jobs.job().status, NOW)


def test_a_place_is_held_until_the_pod_is_bound():
    observation = jobs.begun()
    assert history(observation) == ((START, State.BINDING),)
    assert history(replace(observation, pods={})) == ((START, State.BINDING),)
    assert states(replace(observation, placement=None)) == [State.BINDING] * 4, "not decoded yet"


def test_a_pod_that_is_not_pinned_holds_nothing():
    observation = replace(jobs.begun(), placement=Placement(("", "", "node-2", "node-3")))
    assert states(observation) == [State.PROVISIONING, State.PROVISIONING, State.BINDING, State.BINDING]


def test_bound_until_prepared_is_initialisation():
    observation = jobs.with_pods(jobs.begun(), bound)
    assert history(observation) == ((START, State.BINDING), (at(1), State.POD_INIT))


def test_prepared_until_started_is_pulling_the_image():
    observation = jobs.with_pods(jobs.begun(), with_times(prepared=3))
    assert history(observation)[-2:] == ((at(1), State.POD_INIT), (at(3), State.IMAGE_PULL))


@pytest.mark.parametrize("waiting", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_is_not_to_be_had_is_pulled_all_the_same(waiting):
    observation = jobs.with_pods(jobs.begun(), lambda p: replace(bound(p), waiting=waiting))
    assert history(observation)[-1] == (at(60), State.IMAGE_PULL)


def test_started_lanes_wait_for_the_gang():
    observation = jobs.with_pods(jobs.begun(), READY)
    observation = jobs.with_pod(observation, 3, with_times(prepared=2, started=8))
    assert states(observation) == [State.GANG_WAIT] * 4
    assert history(observation)[-1] == (at(5), State.GANG_WAIT)
    assert history(observation, 3)[-1] == (at(8), State.GANG_WAIT)


def test_the_gang_is_up_when_its_last_worker_is():
    observation = jobs.with_pods(jobs.begun(), READY)
    observation = jobs.with_pod(observation, 3, with_times(prepared=2, started=8, ready=11))
    assert [h[-1] for h in lane_histories(observation, observation.status, NOW + 60)] == [(at(11), None)] * 4
    assert history(observation) == (
        (START, State.BINDING),
        (at(1), State.POD_INIT),
        (at(2), State.IMAGE_PULL),
        (at(5), State.GANG_WAIT),
        (at(11), None),
    )


def test_a_gang_that_was_whole_stays_up_while_a_pod_is_unready():
    observation = jobs.running()
    observation = jobs.with_pod(observation, 2, lambda p: replace(p, ready=False))
    assert states(observation) == [None] * 4


def test_a_lane_that_is_done_waits_for_the_others():
    observation = jobs.settled(jobs.with_pods(jobs.begun(), READY), NOW + 7)

    def ended(pod):
        times = PodTimes(NOW + 2, NOW + 5, 0.0, NOW + 30)
        return replace(jobs.succeeded(pod), bound_at=NOW + 1, times=times)

    observation = jobs.with_pod(observation, 1, ended)
    assert states(observation) == [None, State.IDLE_TAIL, None, None]
    assert history(observation, 1)[-2:] == ((at(6), None), (at(30), State.IDLE_TAIL))


def test_a_lane_whose_pod_is_gone_after_success_is_done_too():
    observation = jobs.settled(jobs.with_pod(jobs.running(), 1, jobs.succeeded))
    name = observation.roster.name_of(1, 1)
    observation = replace(observation, pods={n: p for n, p in observation.pods.items() if n != name})
    assert states(observation)[:2] == [None, State.IDLE_TAIL]


def test_a_failed_pod_drains_from_its_end_and_the_others_from_the_attempts():
    observation = jobs.with_pods(jobs.running(), READY)
    observation = jobs.with_pod(observation, 2, lambda p: jobs.failed(bound(p), at=NOW + 20))
    status = finished(observation.status, NOW + 21.5, cause="ApplicationExit")
    found = lane_histories(observation, status, NOW + 21.5)
    assert [h[-1] for h in found] == [(at(s), State.DRAINING) for s in (21.5, 21.5, 20, 21.5)]


def test_a_pod_that_somebody_deletes_drains_from_then_on():
    def deleting(pod):
        return replace(pod, deleting=True, times=replace(pod.times, deleted_at=NOW + 12))

    observation = jobs.with_pod(jobs.with_pods(jobs.running(), READY), 0, deleting)
    assert history(observation)[-1] == (at(12), State.DRAINING)


def test_between_two_attempts_a_lane_drains_then_holds_its_place():
    observation = jobs.running()
    ended = finished(observation.status, NOW + 20, cause="NodeLost")
    one_gone = dict(list(observation.pods.items())[1:])
    observation = replace(observation, status=ended, pods=one_gone)
    assert history(observation, 0) == ((at(60), State.BINDING),)
    assert history(observation, 1)[-1] == (at(20), State.DRAINING)
    waiting = begun(ended, NOW + 30)
    observation = replace(observation, status=waiting)
    assert history(observation, 0) == ((at(30), State.BINDING),)
    assert history(observation, 1) == ((at(30), State.DRAINING),), "an older attempt's pod holds the lane"


def test_a_gang_that_gave_its_nodes_back_is_queued():
    observation = jobs.running()
    status = released(finished(observation.status, NOW + 20, cause="GangTimeout"), NOW + 20)
    assert states(replace(observation, status=status)) == [State.QUEUED] * 4


def test_times_are_put_in_order_and_never_lie_ahead():
    odd = lambda p: replace(  # noqa: E731 - one pod, told in one expression
        bound(p, -3), times=PodTimes(prepared_at=NOW + 500, started_at=NOW + 4), ready=False
    )
    observation = jobs.with_pods(jobs.begun(), odd)
    found = history(observation)
    assert found == ((START, State.POD_INIT), (at(60), State.GANG_WAIT))


def test_the_phase_alone_makes_no_lane_up():
    observation = jobs.with_pods(jobs.begun(), lambda p: replace(bound(p), phase=PodPhase.RUNNING))
    assert states(observation) == [State.POD_INIT] * 4


def test_a_life_that_nobody_watched_is_told_by_its_times():
    ended = with_times(prepared=2, started=5, ended=40)
    observation = jobs.with_pods(jobs.begun(), READY)
    observation = jobs.with_pod(observation, 1, lambda p: replace(jobs.failed(p), **_fields(ended(p))))
    status = finished(observation.status, NOW + 41, cause="ApplicationExit")
    found = lane_histories(observation, status, NOW + 41)
    assert found[0][-2:] == ((at(6), None), (at(41), State.DRAINING))
    assert found[1][-2:] == ((at(6), None), (at(40), State.DRAINING))


def _fields(pod):
    return {"bound_at": pod.bound_at, "times": pod.times}


def test_what_is_known_is_no_news():
    observation = jobs.with_pods(jobs.begun(), bound)
    first = lane_changes((), lane_histories(observation, observation.status, NOW + 1))
    assert first.events == (
        LanesChanged(START, dict.fromkeys(range(4), State.BINDING)),
        LanesChanged(at(1), dict.fromkeys(range(4), State.POD_INIT)),
    )
    again = lane_changes(first.lanes, lane_histories(observation, observation.status, NOW + 9))
    assert again.events == ()
    assert again.lanes == first.lanes


def test_what_was_missed_is_told_lane_by_lane():
    observation = jobs.with_pods(jobs.begun(), bound)
    known = lane_changes((), lane_histories(observation, observation.status, NOW + 1)).lanes
    observation = jobs.with_pod(observation, 2, with_times(prepared=3, started=5))
    news = lane_changes(known, lane_histories(observation, observation.status, NOW + 9))
    assert news.events == (
        LanesChanged(at(3), {2: State.IMAGE_PULL}),
        LanesChanged(at(5), {2: State.GANG_WAIT}),
    )
    assert [lane[1] for lane in news.lanes] == [
        State.POD_INIT,
        State.POD_INIT,
        State.GANG_WAIT,
        State.POD_INIT,
    ]


def test_after_a_restart_only_what_came_after_the_cut_is_news():
    observation = jobs.with_pods(jobs.begun(), with_times(prepared=3, started=5))
    histories = lane_histories(observation, observation.status, NOW + 9)
    every = dict.fromkeys(range(4), State.GANG_WAIT)
    assert lane_changes((), histories, floor=at(4)).events == (LanesChanged(at(5), every),)
    assert lane_changes((), histories, floor=at(8)).events == (LanesChanged(at(5), every),)


def test_of_a_lane_that_looks_the_same_nothing_is_told():
    observation = jobs.with_pods(jobs.begun(), bound)
    first, seen = look(observation, observation.status, NOW + 1, NOTHING_SEEN)
    assert all(first)
    assert look(observation, observation.status, NOW + 9, seen) == ([None] * 4, seen)
    observation = jobs.with_pod(observation, 2, with_times(prepared=3))
    again, _ = look(observation, observation.status, NOW + 9, seen)
    assert [h is None for h in again] == [True, True, False, True]
    assert lane_changes(lane_changes((), first).lanes, again).events == (
        LanesChanged(at(3), {2: State.IMAGE_PULL}),
    )


def test_when_the_scene_changes_every_lane_is_looked_at():
    observation = jobs.with_pods(jobs.begun(), READY)
    observation = jobs.with_pod(observation, 3, with_times(prepared=2, started=8))
    _, seen = look(observation, observation.status, NOW + 9, NOTHING_SEEN)
    observation = jobs.with_pod(observation, 3, with_times(prepared=2, started=8, ready=11))
    histories, seen = look(observation, observation.status, NOW + 60, seen)
    assert [h[-1] for h in histories] == [(at(11), None)] * 4
    ended = finished(observation.status, NOW + 70, cause="NodeLost")
    histories, _ = look(observation, ended, NOW + 70, seen)
    assert [h[-1] for h in histories] == [(at(70), State.DRAINING)] * 4


def test_a_queued_job_looks_the_same():
    histories, seen = look(jobs.job(), jobs.job().status, NOW, NOTHING_SEEN)
    assert all(histories)
    assert look(jobs.job(), jobs.job().status, NOW + 1, seen)[0] == [None] * 4


def _again(observation, **said):
    """The same job after rank 1 failed; launchers of these lanes hold since so many seconds after NOW."""
    _, world = crews.after(crews.saying(observation, r1=crews.ended(at=NOW + 60)), NOW + 60)
    held = {
        i: crews.process(ProcessState.HELD, 1, NOW + said[f"r{i}"])
        if f"r{i}" in said
        else observation.crew[i]
        for i in range(4)
    }
    return replace(world, crew=held)


def test_between_epochs_lanes_drain_and_wait_for_each_other():
    observation = _again(jobs.with_pods(crews.running(), READY), r0=61, r2=63)
    assert states(observation, seconds=70) == [
        State.GANG_WAIT,
        State.DRAINING,
        State.GANG_WAIT,
        State.DRAINING,
    ]
    assert history(observation, 2, 70) == ((at(60), State.DRAINING), (at(63), State.GANG_WAIT))


def test_an_epoch_is_up_when_all_of_its_processes_run():
    waiting = _again(jobs.with_pods(crews.running(), READY), r0=61, r1=61, r2=61, r3=62)
    _, world = crews.after(crews.at_epoch(waiting, ProcessState.RUNNING, NOW + 64), NOW + 65)
    assert history(world, 3, 70) == (
        (at(60), State.DRAINING),
        (at(64), State.GANG_WAIT),
        (at(65), None),
    )
    successor = replace(world, crew={})
    assert history(successor, 3, 70) == ((at(60), State.DRAINING), (at(65), None))


def test_a_launcher_that_holds_is_news():
    observation = _again(jobs.with_pods(crews.running(), READY), r0=61)
    first, seen = look(observation, observation.status, NOW + 62, NOTHING_SEEN)
    assert all(first)
    later = replace(observation, crew={**observation.crew, 3: crews.process(ProcessState.HELD, 1, NOW + 63)})
    found, seen = look(later, later.status, NOW + 64, seen)
    assert found[3] is not None
    assert found[3][-1] == (at(63), State.GANG_WAIT)
    assert look(later, later.status, NOW + 65, seen)[0] == [None] * 4
