"""A process fails in a pod that lives on: what follows, and when the gang is recreated instead."""

from dataclasses import replace

import pytest

from drumline.api.orders import ProcessState
from drumline.api.reasons import Cause, ConditionType
from drumline.core.gang.bad_nodes import Failure, verdicts
from drumline.core.gang.departures import Departure
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.types import Node, NodeCondition, Placement, Termination
from drumline.core.training.recovery import Ended, end_attempt
from drumline.core.training.view import View
from tests.unit.core.training import crews, jobs
from tests.unit.core.training.crews import after, at_epoch, ended, saying
from tests.unit.core.training.jobs import NOW

HELD, RUNNING = ProcessState.HELD, ProcessState.RUNNING
_LOADER = [{"name": "loader", "template": jobs.TEMPLATE}]


def _failed(observation=None, now=NOW + 61, **said):
    return after(saying(observation or crews.running(), **(said or {"r1": ended()})), now)


def _over(world):
    """The last entry that has ended."""
    return [a for a in world.status.attempts if a.finished_at][-1]


def _touched(plan):
    return [a for stage in plan.actions for a in stage if isinstance(a, Create | Delete)]


def test_a_new_epoch_begins_and_no_pod_is_touched():
    plan, world = _failed()
    first, second = world.status.attempts
    assert (first.label, first.cause, first.rank, first.exit_code) == ("1", "ApplicationExit", 1, 3)
    assert (first.action, first.pod, first.last_lines) == ("RestartInPlace", "job-1-0-1", "exit code 3")
    assert (second.label, second.ready_at, world.status.epoch, world.status.attempt) == ("1.1", None, 1, 1)
    assert (world.status.phase, world.status.restart_count) == ("Restarting", 1)
    assert jobs.reason(world.status, ConditionType.RESTARTING) == ("True", "RestartingInPlace")
    assert jobs.reason(world.status, ConditionType.PODS_READY) == ("True", "AllPodsReady")
    assert [e.reason for e in plan.events] == ["RestartingInPlace"]
    assert _touched(plan) == []
    assert plan.intent is not None
    assert (plan.orders.epoch, plan.orders.go, plan.orders.grace_seconds) == (1, False, 28)


def test_all_start_together_and_the_epoch_is_whole_when_all_run():
    _, world = _failed()
    plan, world = after(saying(at_epoch(world, HELD), r3=ended()), NOW + 62)
    assert (plan.orders.go, world.status.epoch) == (False, 1)
    plan, world = after(at_epoch(world, HELD), NOW + 62)
    assert plan.orders.go
    mixed = saying(at_epoch(world, HELD), r0=crews.process(RUNNING, 1))
    plan, world = after(mixed, NOW + 62)
    assert plan.orders.go
    assert world.status.attempts[-1].ready_at is None
    plan, world = after(at_epoch(world, RUNNING), NOW + 63)
    assert world.status.attempts[-1].ready_at == "2027-01-15T08:01:03.000Z"
    assert (world.status.phase, world.status.next_attempt_at) == ("Running", None)
    assert jobs.reason(world.status, ConditionType.RESTARTING) == ("False", "Recovered")
    assert [e.reason for e in plan.events] == ["Recovered"]
    plan, _ = after(world, NOW + 64)
    assert jobs.written(plan) is None
    assert plan.orders.go


def test_the_first_by_time_then_by_rank_is_the_cause():
    _, world = _failed(r0=ended(at=NOW + 59), r2=ended(code=7, at=NOW + 58), r3=ended(at=NOW + 58))
    assert (world.status.attempts[0].rank, world.status.attempts[0].exit_code) == (2, 7)


def test_a_failure_of_an_earlier_epoch_is_none():
    _, world = _failed()
    _, after_it = after(world, NOW + 62)
    assert after_it.status == world.status


def test_the_delay_holds_the_gate_shut():
    _, world = _failed(crews.running(failurePolicy={"backoff": {"initialSeconds": 10}}))
    plan, _ = after(at_epoch(world, HELD), NOW + 70)
    assert (plan.orders.go, plan.requeue_after) == (False, 1.0)
    plan, _ = after(at_epoch(world, HELD), NOW + 71)
    assert plan.orders.go


def test_the_same_table_rules_and_budgets_as_for_pods():
    world = crews.running()
    xid = NodeCondition("AcceleratedHardwareReady", "False", "NvidiaXID79Error")
    _, faulty = _failed(replace(world, nodes={"node-1": Node("node-1", conditions=(xid,))}))
    assert (faulty.status.attempts[-1].cause, faulty.status.attempts[-1].action) == (
        "DeviceFault",
        "ReplaceNode",
    )
    rule = {"name": "no", "action": "Fail", "onExitCodes": {"operator": "In", "values": [3]}}
    plan, ruled = _failed(crews.running(failurePolicy={"rules": [rule]}))
    assert jobs.reason(ruled.status, ConditionType.FAILED) == ("True", "FailedByRule")
    assert plan.orders is None
    _, spent = _failed(crews.running(failurePolicy={"maxRestarts": 0}))
    assert jobs.reason(spent.status, ConditionType.FAILED) == ("True", "MaxRestartsExceeded")


def test_killed_is_not_out_of_memory_unless_the_kernel_says_so():
    _, world = _failed(r1=ended(code=137, text="killed by SIGKILL"))
    assert world.status.attempts[0].cause == "ApplicationExit"
    _, world = _failed(r1=replace(ended(code=137), reason="OOMKilled"))
    assert world.status.attempts[0].cause == "OutOfMemory"


def _killed(world, at, said_at, finished_at=None, reason="Error"):
    """Rank 1's container was killed and started again; its new launcher speaks at `said_at`."""
    end = Termination("train", 137, reason, "", at if finished_at is None else finished_at)
    world = jobs.with_pod(world, 1, lambda p: replace(p, restarted=end))
    return saying(world, r1=crews.process(RUNNING, world.status.epoch, said_at))


def test_a_launcher_that_was_killed_and_came_back_is_a_failure_once():
    _, world = after(_killed(crews.running(), NOW + 60, NOW + 62, reason="OOMKilled"), NOW + 62)
    assert (world.status.attempts[0].cause, world.status.attempts[0].rank) == ("OutOfMemory", 1)
    assert (world.status.attempts[0].exit_code, world.status.attempts[-1].label) == (137, "1.1")
    _, again = after(at_epoch(world, RUNNING, NOW + 64), NOW + 64)
    assert again.status.epoch == 1
    _, same = after(again, NOW + 71)
    assert same.status == again.status
    _, world = after(_killed(same, NOW + 80, NOW + 82), NOW + 82)
    assert world.status.epoch == 2


def test_a_nodes_clock_does_not_matter_to_a_leader_that_was_there():
    for skew in (-100, 100):
        _, world = after(_killed(crews.running(), 0, NOW + 62, finished_at=NOW + 60 + skew), NOW + 62)
        _, world = after(at_epoch(world, RUNNING, NOW + 64), NOW + 64)
        _, world = after(world, NOW + 65)
        assert world.status.epoch == 1


def test_another_leader_goes_by_the_containers_own_time():
    _, world = after(_killed(crews.running(), NOW + 60, NOW + 62), NOW + 62)
    _, world = after(at_epoch(world, RUNNING, NOW + 64), NOW + 64)
    later = replace(at_epoch(world, RUNNING, NOW + 90), crew_since=NOW + 80)
    assert after(later, NOW + 91)[1].status.epoch == 1
    killed = replace(_killed(world, NOW + 70, NOW + 90), crew_since=NOW + 80)
    assert after(killed, NOW + 91)[1].status.epoch == 2


def test_a_rule_asks_for_it_without_the_strategy():
    rule = {"name": "again", "action": "RestartInPlace", "onExitCodes": {"operator": "In", "values": [3]}}
    policy = {"restartStrategy": "Recreate", "rules": [rule]}
    _, world = _failed(crews.running(failurePolicy=policy))
    assert (world.status.attempts[0].action, world.status.epoch) == ("RestartInPlace", 1)
    _, world = _failed(crews.running(failurePolicy=policy), r1=ended(code=4))
    assert (world.status.attempts[0].action, world.status.epoch) == ("RestartGang", 0)
    rule = {**rule, "action": "RestartGang"}
    _, world = _failed(crews.running(failurePolicy={"rules": [rule]}))
    assert world.status.attempts[0].action == "RestartGang"


def _without_launcher():
    return replace(crews.running(), settings=replace(crews.SETTINGS, launcher_image=""))


def _succeeded_worker():
    return jobs.with_pod(crews.running(), 2, jobs.succeeded)


def _cordoned():
    return replace(crews.running(), unhealthy=frozenset({"node-3"}))


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        (_without_launcher(), "the operator was started without a launcher"),
        (crews.running(progress={"source": "log"}), "progress.source is log"),
        (_succeeded_worker(), "rank 2 has succeeded already"),
        (_cordoned(), "node node-3 is gone, not ready or cordoned"),
        (
            jobs.with_pod(crews.running(), 3, lambda p: replace(p, phase="Pending")),
            "pod job-1-1-1 does not run",
        ),
    ],
)
def test_where_it_can_not_be_the_gang_is_recreated_and_told_why(observation, why):
    plan, world = _failed(observation)
    last = _over(world)
    assert (last.action, world.status.epoch, last.cause) == ("RestartGang", 0, "ApplicationExit")
    assert f"not in place: {why}" in last.message
    assert any(isinstance(a, Delete) for a in _touched(plan))


def test_a_helper_never_restarts_in_place():
    observation = jobs.with_pod(crews.running(helpers=_LOADER), 4, lambda p: jobs.failed(p, 1))
    _, world = after(observation, NOW + 61)
    assert "not in place: a helper has no launcher" in _over(world).message


def test_three_in_a_row_that_do_not_last_and_the_gang_is_recreated():
    world, now, actions = crews.running(), NOW + 60, []
    for epoch in range(4):
        now += 60
        _, world = _failed(world, now, r1=ended(epoch, at=now - 1))
        actions.append(next(a for a in world.status.attempts if a.epoch == epoch).action)
        _, world = after(at_epoch(world, RUNNING, now), now + 1)
    assert actions == ["RestartInPlace"] * 3 + ["RestartGang"]
    assert "3 restarts in place in a row did not last" in _over(world).message


def test_an_epoch_that_lasted_begins_the_row_anew():
    world, now = crews.running(), NOW
    for epoch in range(5):
        now += 60 if epoch != 2 else 700
        _, world = _failed(world, now, r1=ended(epoch, at=now - 1))
        _, world = after(at_epoch(world, RUNNING, now), now + 1)
    assert (world.status.epoch, world.status.attempts[-1].finished_at) == (5, None)


@pytest.mark.parametrize(("seconds", "late"), [(57, False), (58, True)])
def test_a_launcher_that_does_not_hold_in_time_costs_the_pods_and_is_not_counted(seconds, late):
    _, world = _failed()
    waits = saying(at_epoch(world, HELD), r2=crews.process(RUNNING, 0))
    plan, world = after(waits, NOW + 61 + seconds)
    assert (world.status.attempt == 2) is late
    if not late:
        assert plan.requeue_after == 1.0
        return
    last = _over(world)
    assert (last.cause, last.rank, last.action, last.label) == ("ApplicationExit", 2, "RestartGang", "1.1")
    assert "did not hold within 58 s" in last.message
    assert [(r.cause, r.count) for r in world.status.restarts] == [("ApplicationExit", 1)]
    assert jobs.reason(world.status, ConditionType.RESTARTING) == ("True", "GangRestarting")
    assert (world.status.epoch, len([a for a in _touched(plan) if isinstance(a, Delete)])) == (0, 4)


def test_a_launcher_that_does_not_start_its_process_costs_the_pods():
    _, world = _failed()
    stuck = saying(at_epoch(world, RUNNING), r3=crews.process(HELD, 1, NOW + 61))
    _, early = after(stuck, NOW + 118)
    assert early.status.attempts[-1].finished_at is None
    _, late = after(stuck, NOW + 119)
    assert "rank 3 did not start its process within 58 s" in _over(late).message


def test_a_new_leader_waits_for_launchers_to_ask_it():
    _, world = _failed()
    successor = replace(world, crew={}, crew_since=NOW + 200)
    plan, same = after(successor, NOW + 201)
    assert same.status.attempts[-1].finished_at is None
    assert not plan.orders.go
    plan, _ = after(replace(at_epoch(world, HELD), crew_since=NOW + 200), NOW + 202)
    assert plan.orders.go


def test_the_grace_is_the_pods_own_less_a_margin():
    template = {"spec": {**crews.TEMPLATE["spec"], "terminationGracePeriodSeconds": 12}}
    plan, _ = _failed(crews.running(template=template))
    assert plan.orders.grace_seconds == 10
    template = {"spec": {**crews.TEMPLATE["spec"], "terminationGracePeriodSeconds": 600}}
    plan, _ = _failed(crews.running(template=template))
    assert plan.orders.grace_seconds == 28


def test_a_job_that_fails_lets_the_failed_process_end_its_pod():
    plan, world = _failed(crews.running(failurePolicy={"maxRestarts": 0}))
    deleted = {a.name for a in _touched(plan)}
    assert deleted == {"job-1-0-0", "job-1-1-0", "job-1-1-1"}
    left = replace(world, pods={n: p for n, p in world.pods.items() if n not in deleted})
    left = replace(left, crew={})  # the runtime lets go of it, and so of its launchers
    plan, _ = after(left, NOW + 62)
    assert (_touched(plan), plan.requeue_after) == ([], 9.0)
    plan, _ = after(left, NOW + 71)
    assert [a.name for a in _touched(plan)] == ["job-1-0-1"]


@pytest.mark.parametrize(
    ("cause", "action"),
    [
        (Cause.HANG, "RestartInPlace"),
        (Cause.OUT_OF_MEMORY, "RestartInPlace"),
        (Cause.UNKNOWN, "RestartGang"),
        (Cause.NODE_LOST, "RestartGang"),
        (Cause.EVICTED, "RestartGang"),
        (Cause.DEVICE_FAULT, "ReplaceNode"),
        (Cause.PREEMPTED, "Requeue"),
    ],
)
def test_which_causes_new_processes_may_cure(cause, action):
    world = crews.running()
    view = View(world, NOW + 60, world.status)
    view = end_attempt(view, Ended(cause, 2, "why", world.pods["job-1-1-0"]), "test")
    assert next(a for a in view.status.attempts if a.finished_at).action == action
    assert view.status.epoch == (action == "RestartInPlace")


def test_a_rank_that_ended_well_meanwhile_costs_the_pods_and_is_not_counted():
    """Its launcher is gone: the others would wait at their rendezvous for a rank that never comes."""
    _, world = _failed()
    world = jobs.with_pod(saying(at_epoch(world, HELD), r0=crews.process(RUNNING)), 0, jobs.succeeded)
    plan, world = after(world, NOW + 62)
    assert (_over(world).message, _over(world).action) == (
        "1.1: rank 0 has succeeded meanwhile",
        "RestartGang",
    )
    assert world.status.restart_count == 1
    assert (_over(world).node, _over(world).rank) == (None, None), "nobody's node is to blame"
    assert [e.reason for e in plan.events] == ["GangRestarting"]
    plan, world = after(replace(world, pods={}), NOW + 63)
    assert (world.status.attempt, world.status.succeeded) == (2, None)


@pytest.mark.parametrize(("rank", "cause", "bad"), [(2, "Unknown", []), (1, "DeviceFault", ["node-1"])])
def test_what_was_wrong_with_one_node_is_not_said_of_another_whose_launcher_is_late(rank, cause, bad):
    codes = {"operator": "In", "values": [3]}
    rule = {"name": "xid", "action": "RestartInPlace", "cause": "DeviceFault", "onExitCodes": codes}
    _, world = _failed(crews.running(failurePolicy={"rules": [rule]}))
    first = _over(world)
    assert (first.cause, first.node, first.action) == ("DeviceFault", "node-1", "RestartInPlace")
    waits = saying(at_epoch(world, HELD), **{f"r{rank}": crews.process(RUNNING, 0)})
    _, world = after(waits, NOW + 200)
    last = _over(world)
    assert (last.cause, last.node) == (cause, f"node-{rank}")
    failure = Failure("gang", last.node, last.cause, NOW)
    assert list(verdicts([failure], NOW, 3600)) == bad


def test_a_gang_that_is_recreated_waits_for_no_clock_that_was_put_back():
    _, world = _failed(crews.running(failurePolicy={"backoff": {"initialSeconds": 3}}))
    world = jobs.with_pod(at_epoch(world, HELD), 0, jobs.succeeded)
    _, world = after(world, NOW - 3600)
    assert "has succeeded meanwhile" in _over(world).message
    _, world = after(replace(world, pods={}), NOW - 3599)
    assert world.status.attempt == 2


def test_a_launcher_that_does_not_come_is_not_waited_for_until_the_old_clocks_time():
    _, world = _failed()
    _, world = after(saying(at_epoch(world, HELD), r2=crews.process(RUNNING)), NOW - 3600)
    assert "did not hold" in _over(world).message


def test_no_epoch_begins_beside_a_node_that_is_about_to_go():
    goes = {"node-2": Departure("node-2", "taint example.com/going")}
    plan, world = _failed(replace(crews.running(), departing=goes))
    (entry,) = world.status.attempts
    assert (entry.cause, entry.action, world.status.epoch) == ("ApplicationExit", "RestartGang", 0)
    assert "not in place: node node-2 is about to go (taint example.com/going)" in entry.message
    assert [e.reason for e in plan.events] == ["GangRestarting"]


def test_what_becomes_of_a_spares_node_is_no_reason_for_new_pods():
    observation = crews.running()
    nodes = (*observation.placement.nodes, "spare-0")
    world = replace(observation, placement=Placement(nodes), unhealthy=frozenset({"spare-0"}))
    _, world = _failed(world)
    assert (world.status.epoch, _over(world).action) == (1, "RestartInPlace")
