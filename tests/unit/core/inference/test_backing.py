"""Groups that somebody else admits: what they are to that backend, and their life in a small cluster with one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, invariant

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Cause, ServiceCondition
from drumline.api.serving import ServingState
from drumline.core.gang.backends.base import Found, RoleFacts
from drumline.core.gang.backends.kueue import Kueue
from drumline.core.gang.backends.registry import Choice
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.types import Pod
from drumline.core.inference import backing
from drumline.core.inference.groups import every
from drumline.core.inference.ledger_times import Facts, spans
from drumline.core.inference.policies.admission import admission, request_of
from drumline.core.inference.policies.canary import canary
from drumline.core.inference.policies.creation import creation
from drumline.core.inference.policies.failure import failure
from drumline.core.inference.policies.gang_timeout import gang_timeout
from drumline.core.inference.policies.in_service import in_service
from drumline.core.inference.policies.retire import retire
from drumline.core.inference.policies.summary import summary
from tests.unit.core.inference import elsewhere, services
from tests.unit.core.inference.cluster import gpu_role
from tests.unit.core.inference.elsewhere import GROUPS, NEED, THEIRS, Elsewhere
from tests.unit.core.inference.services import NOW, ago, group_of
from tests.unit.core.inference.test_histories import Histories
from tests.unit.core.inference.test_histories import raw as history

NAME = "chat-serve-1-0-g"
KUEUE = Choice("kueue", Kueue())


def left(**changes: object) -> GroupStatus:
    """Group 0 with its first attempt under way at Kubernetes' own scheduler."""
    return services.starting(**{"nodes": ("", ""), "backend": "native", **changes})


def seen(group: GroupStatus | None = None, raw: dict | None = None, **changes: object):
    """A service with that group, which its scheduler knows; or with one that waits."""
    observation = services.service(raw or elsewhere.raw())
    observation = services.with_groups(observation, "serve", group or services.waiting())
    there = (elsewhere.found(NAME),) if group is not None else ()
    more = {"backend": THEIRS, "backends": {"native": THEIRS}, "theirs": there}
    return replace(observation, **{**more, "theirs_known": frozenset({NEED}), **changes})


def with_pods(observation, *bound: bool, **changes: object):
    """The observation with the first pods of group 0; each says whether it is bound."""
    group = group_of(observation.status)
    pods = services.pods_of("serve", group, NOW - 100)[: len(bound)]
    made = [
        replace(p, bound=b, bound_at=NOW - 90 if b else 0.0, node="node-0" if b else "", **changes)
        for p, b in zip(pods, bound, strict=True)
    ]
    return services.with_pods(observation, "serve", 0, made)


class TestWhatABackendIsTold:
    def test_a_group_of_equal_pods_is_one_role(self) -> None:
        view = services.view(seen(left()))
        behind = backing.backed(view, "serve", left())
        assert behind is not None
        facts = behind.facts
        assert (facts.group, facts.attempt, facts.timeout_seconds) == (NAME, 1, 60)
        assert (facts.roles[0].name, facts.roles[0].count, len(facts.roles)) == ("worker", 2, 1)
        assert facts.owner.kind == "InferenceService"
        [made] = behind.objects
        assert made.resource == GROUPS
        assert made.manifest["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}

    def test_a_leader_that_asks_for_something_else_is_a_role_of_its_own(self) -> None:
        cpu = {"requests": {"cpu": "3"}}
        template = {"spec": {"containers": [{"name": "e", "image": "i", "resources": cpu}]}}
        raw = services.spec(services.role(groupSize=3, leaderTemplate=template))
        group = services.starting(nodes=("", "", ""), backend="native")
        view = services.view(seen(group, raw))
        facts = backing.facts_of(view, "serve", group, backing.prepared(view, "serve", group))
        shapes = [(role.name, role.count, role.first) for role in facts.roles]
        assert shapes == [("worker", 2, 1), ("leader", 1, 0)]
        assert isinstance(facts.roles[1], RoleFacts)
        assert facts.roles[1].requests["cpu"] == 3000

    def test_its_queue_is_the_one_named_else_the_services_and_stays(self) -> None:
        raw = elsewhere.raw(scheduling={"backendQueue": "mine"})
        assert backing.queue_of(services.view(seen(raw=raw)), services.waiting()) == "mine"
        plain = services.view(seen(queue="research"))
        assert backing.queue_of(plain, services.waiting()) == "research"
        assert backing.queue_of(plain, left(backend_queue="old")) == "old"


class TestAdmission:
    def test_it_asks_for_no_room_and_begins_with_no_nodes(self) -> None:
        asked = admission(services.view(seen()))
        [request, *_] = asked.queue
        assert (request.unpinned, request.queue, request.uid) == (True, "", f"{services.UID}/serve/0")
        begun = group_of(admission(services.view(services.granted(seen(), "serve", 0, "", ""))).status)
        assert (begun.attempt, begun.nodes, begun.backend, begun.queue) == (1, ("", ""), "native", None)

    def test_an_answer_to_another_question_is_none(self) -> None:
        theirs = services.granted(seen(), "serve", 0, "node-0", "node-1")
        ours = services.granted(seen(backend=services.service().backend), "serve", 0, "", "")
        for observation in (theirs, ours):
            view = admission(services.view(observation))
            assert group_of(view.status).attempt == 0
            assert view.queue

    def test_a_group_that_is_left_to_others_gives_back_what_it_held(self) -> None:
        held = services.group(phase=GroupPhase.BACKOFF, created=False, started_at=None, ready_at=None)
        waits = group_of(admission(services.view(seen(held, theirs=()))).status)
        assert (waits.phase, waits.nodes) == (GroupPhase.WAITING, ())

    @pytest.mark.parametrize(
        ("observation", "reason", "text"),
        [
            (seen(backend=Choice("kai", None, "it serves no x")), "BackendUnavailable", "kai: it serves no x"),
            (seen(backend=KUEUE), "UnsupportedScheduling", "no LocalQueue of Kueue is named"),
            (
                seen(raw=services.spec(services.role(startPolicy="LeaderFirst"))),
                "UnsupportedScheduling",
                "spec.roles[0].startPolicy can't be had of backend native",
            ),
        ],
    )  # fmt: skip
    def test_what_can_not_be_had_is_said_and_nothing_is_asked(self, observation, reason, text) -> None:
        view = summary(admission(services.view(observation)))
        assert not view.queue
        message = group_of(view.status).message
        assert message is not None
        assert message.startswith(reason)
        assert text in message
        assert services.reason(view.status, ServiceCondition.READY) == ("False", reason)

    def test_what_a_group_holds_is_asked_for_as_what_it_is(self) -> None:
        placed = services.starting()
        view = services.view(seen(placed, theirs=()))
        assert not request_of(view, "serve", placed).unpinned
        assert request_of(services.view(seen(left())), "serve", left()).unpinned


class TestCreation:
    def test_the_object_goes_first_and_the_first_pod_alone(self) -> None:
        stages = creation(services.view(seen(left(), theirs=()))).actions
        names = [[a.manifest["metadata"]["name"] for a in stage] for stage in stages]
        assert names == [[NAME], ["chat-serve-1-0-0"], ["chat-serve-1-0-1"]]
        pod = stages[1][0]
        assert isinstance(pod, Create)
        assert pod.manifest["spec"]["schedulingGroup"] == {"podGroupName": NAME}
        assert "affinity" not in pod.manifest["spec"]
        assert pod.kept is not None
        assert pod.kept(pod.manifest, {"spec": {}}) == "spec.schedulingGroup"

    def test_nodes_that_failed_it_are_kept_off(self) -> None:
        view = creation(services.view(seen(left(excluded=("bad",)), theirs=())))
        pod = services.actions(view)[1].manifest["spec"]
        assert "bad" in str(pod["affinity"]["nodeAffinity"])

    def test_where_the_backend_is_gone_no_pod_follows(self) -> None:
        gone = {"native": Choice("native", None, "gone")}
        view = creation(services.view(seen(left(), theirs=(), backends=gone)))
        assert (services.actions(view), view.requeue_after) == ([], 10.0)

    def test_an_object_that_somebody_deleted_while_the_group_waits_is_made_again(self) -> None:
        for group, pods in ((left(created=True), (False, False)), (left(), (False,))):
            made = creation(services.view(with_pods(seen(group, theirs=()), *pods))).actions[0]
            assert [action.manifest["metadata"]["name"] for action in made] == [NAME]
        none = ({"theirs": (elsewhere.found(NAME),)}, {"theirs": (), "theirs_known": frozenset()})
        for changes in none:
            waits = with_pods(seen(left(created=True), **changes), False, False)
            assert services.actions(creation(services.view(waits))) == []
        bound = with_pods(seen(left(created=True), theirs=()), True, True)
        assert services.actions(creation(services.view(bound))) == []


class TestTheWayBack:
    def test_at_the_gate_no_clock_runs_and_a_part_that_is_bound_starts_it(self) -> None:
        none = with_pods(seen(left(started_at=ago(9000))), False, False, rejected="no room")
        assert gang_timeout(services.view(none)) == services.view(none)
        part = with_pods(seen(left(started_at=ago(9000))), True, False)
        view = gang_timeout(services.view(part))
        group = group_of(view.status)
        assert (group.phase, group.cause, group.excluded) == (GroupPhase.WAITING, Cause.GANG_TIMEOUT, ())
        assert group.message is not None
        assert "1 of 2 pods were bound" in group.message
        assert "GenericWorkload" in group.message
        whole = with_pods(seen(left(started_at=ago(9000))), True, True)
        assert gang_timeout(services.view(whole)) == services.view(whole)

    def test_an_eviction_by_the_backend_is_no_fault_and_asks_again(self) -> None:
        evicted = with_pods(seen(left(created=True)), True, True)
        evicted = services.with_pod(
            evicted, "serve", 0, 1, lambda p: services.deleting(p, "PreemptionByScheduler")
        )
        group = group_of(failure(services.view(evicted)).status)
        assert (group.cause, group.restarts, group.nodes) == (Cause.PREEMPTED, 0, ())
        assert group.phase is GroupPhase.BACKOFF

    def test_what_the_backend_has_goes_with_the_attempt_and_before_the_groups_entry(self) -> None:
        running = retire(services.view(with_pods(seen(left(created=True)), True, True)))
        assert services.actions(running) == []
        over = seen(left(attempt=2), theirs=(elsewhere.found(NAME), elsewhere.found("chat-serve-2-0-g")))
        [delete] = services.actions(retire(services.view(over)))
        assert isinstance(delete, Delete)
        assert (delete.resource, delete.name) == (GROUPS, NAME)
        gone = seen(services.draining(nodes=(), backend="native"))
        view = retire(services.view(gone))
        assert [a.name for a in services.actions(view)] == [NAME]
        assert view.groups("serve")
        assert not retire(services.view(replace(gone, theirs=()))).groups("serve")
        unseen = retire(services.view(replace(gone, theirs=(), theirs_known=frozenset())))
        assert unseen.groups("serve"), "a new leader has not seen yet what there is"
        assert unseen.requeue_after == 1.0

    def over(self, *theirs: Found, attempt: int = 1):
        """A group that was just taken out of service, all its pods there, and what its backend has."""
        running = with_pods(seen(left(attempt=attempt), theirs=theirs), True, True)
        done = services.draining(nodes=(), backend="native", attempt=attempt)
        return services.with_groups(running, "serve", done)

    def test_what_the_backend_has_stays_while_a_leader_answers_and_goes_with_its_workers(self) -> None:
        """Kueue deletes every pod of an attempt of which there is no Workload any more."""
        over = self.over(elsewhere.found(NAME))
        assert gone(retire(services.view(over))) == ["chat-serve-1-0-0"]
        for until, expected in ((NOW + 40, []), (NOW, ["chat-serve-1-0-1", NAME])):
            ends = {"deleting": True, "deleting_until": until}
            ending = services.with_pod(over, "serve", 0, 0, lambda p, ends=ends: replace(p, **ends))
            assert gone(retire(services.view(ending))) == expected

    def test_what_it_has_of_another_attempt_goes_all_the_same(self) -> None:
        over = self.over(elsewhere.found(NAME), elsewhere.found("chat-serve-2-0-g"), attempt=2)
        assert gone(retire(services.view(over))) == ["chat-serve-2-0-0", NAME]

    def test_what_may_not_be_listed_holds_a_groups_entry_for_a_while_only(self) -> None:
        unknown = {"theirs": (), "theirs_known": frozenset(), "theirs_denied": frozenset({NEED})}
        for seconds, stays in ((backing.UNSEEN_SECONDS - 1, True), (backing.UNSEEN_SECONDS + 1, False)):
            over = services.draining(nodes=(), backend="native", draining_since=ago(seconds))
            view = retire(services.view(seen(over, **unknown)))
            assert bool(view.groups("serve")) is stays
            slow = retire(services.view(seen(over, **{**unknown, "theirs_denied": frozenset()})))
            assert slow.groups("serve"), "a list that only takes its time is waited for"

    def test_an_absent_backend_has_nothing_once_it_is_known_to_be_absent(self) -> None:
        absent = {"backends": {"native": Choice("native", None, "no")}, "theirs": ()}
        over = seen(services.draining(nodes=(), backend="native"), **absent, discovered=False)
        assert retire(services.view(over)).groups("serve")
        assert not retire(services.view(replace(over, discovered=True))).groups("serve")
        ours = seen(services.draining(nodes=()), theirs=(), discovered=False)
        assert not retire(services.view(ours)).groups("serve")


def gone(view) -> list[str]:
    """Names of what is deleted."""
    return [action.name for action in services.actions(view) if isinstance(action, Delete)]


def test_a_canary_that_waits_at_the_gate_has_no_place_yet() -> None:
    raw = elsewhere.raw(rollout={"canary": {"replicas": 1, "weight": 5}})
    old = services.old_revision(services.service(raw))
    new = left(number=2, created=True)
    groups = (services.group(0, revision=services.OLD), services.group(1, revision=services.OLD), new)
    seen_ = replace(services.with_groups(old, "serve", *groups), backend=THEIRS, backends={"native": THEIRS})
    pods = services.pods_of("serve", new)
    waits = canary(services.view(services.with_pods(seen_, "serve", 2, pods)))
    assert waits.status.rollout.canary_placed_at is None
    bound = [replace(p, bound=True, bound_at=NOW) for p in pods]
    placed = canary(services.view(services.with_pods(seen_, "serve", 2, bound)))
    assert placed.status.rollout.canary_placed_at is not None


def test_what_the_backend_says_of_a_group_is_its_message() -> None:
    waits = with_pods(seen(left(created=True)), False, False)
    view = in_service(services.view(waits))
    assert group_of(view.status).message == (
        f"Queued: the scheduler has said nothing of PodGroup {NAME} yet: does it know PodGroups?"
    )


def test_a_backend_that_is_gone_is_the_message_too_and_an_unknown_accelerator_is_no_error() -> None:
    waits = with_pods(seen(left(created=True)), False, False)
    gone = replace(waits, backends={"native": Choice("native", None, "the cluster does not serve it")})
    message = group_of(in_service(services.view(gone)).status).message
    assert message == "BackendUnavailable: backend native: the cluster does not serve it"
    unknown = replace(waits, catalog=services.CATALOG.merged({"nvidia-l4": None}), theirs=())
    assert group_of(in_service(services.view(unknown)).status).message is None
    assert services.actions(creation(services.view(unknown))) == []


def test_time_at_the_gate_is_queued_and_held_from_the_first_bound_pod_on() -> None:
    group = left(started_at=ago(100), queued_at=ago(120), created=True)
    first, second = services.pods_of("serve", group)

    def states(*pods: Pod) -> list[tuple[float, ServingState]]:
        facts = Facts(group, 2, dict(enumerate(pods)), leftovers=False)
        return [(until - since, state) for since, until, state in spans(facts, NOW - 120, NOW)]

    assert {state for _, state in states(first, second)} == {ServingState.QUEUED}
    bound = replace(first, bound=True, bound_at=NOW - 40)
    spent = {state: pytest.approx(seconds) for seconds, state in _joined(states(bound, second))}
    assert spent == {ServingState.QUEUED: 80, ServingState.BINDING: 40}


def _joined(found: list[tuple[float, ServingState]]) -> list[tuple[float, ServingState]]:
    sums: Counter[ServingState] = Counter()
    for seconds, state in found:
        sums[state] += seconds
    return [(seconds, state) for state, seconds in sums.items()]


class TestLife:
    def world(self) -> Elsewhere:
        world = Elsewhere(services.fresh(elsewhere.raw()))
        world.settle()
        return world

    def test_groups_come_into_service_unpinned_and_hold_nothing_of_ours(self) -> None:
        world = self.world()
        assert {g.phase for g in world.groups().values()} == {GroupPhase.SERVING}
        assert set(world.groups_there) == world.expected() == {NAME, "chat-serve-1-1-g"}
        assert not any(world.capacity.reserved(uid) for uid in (f"{services.UID}/serve/{n}" for n in (0, 1)))
        assert all(world.group_of[name] in world.groups_there for name in world.pods)

    def test_a_restart_a_rollout_and_a_smaller_number_leave_no_object_behind(self) -> None:
        world = self.world()
        world.fail("chat-serve-1-0-1")
        world.settle()
        assert world.groups()[0].attempt == 2
        assert set(world.groups_there) == world.expected()
        roles = [r.model_copy(update={"port": 9000}) for r in world.service.spec.roles]
        world.edit(roles=tuple(roles))
        world.wait(60)
        assert {g.phase for g in world.groups().values()} == {GroupPhase.SERVING}
        assert min(world.groups()) >= 2
        assert set(world.groups_there) == world.expected()
        world.edit(suspend=True)
        world.wait(60)
        assert (world.groups_there, world.pods) == ({}, {})

    def test_whoever_is_named_admits_the_next_attempt_and_the_running_one_stays(self) -> None:
        world = self.world()
        elsewhere.choose(world, ours=True)
        world.settle()
        assert [g.backend for g in world.groups().values()] == ["native", "native"]
        world.fail("chat-serve-1-0-1")
        world.settle()
        moved = world.groups()[0]
        assert (moved.backend, moved.phase, all(moved.nodes)) == (None, GroupPhase.SERVING, True)
        assert set(world.groups_there) == {"chat-serve-1-1-g"}
        elsewhere.choose(world, ours=False)
        world.fail("chat-serve-2-0-0")
        world.settle()
        assert (world.groups()[0].backend, world.groups()[0].phase) == ("native", GroupPhase.SERVING)
        assert set(world.groups_there) == world.expected()


class LeftToOthers(Histories):
    """The same histories, with a scheduler that binds groups whole; nobody's leader goes first."""

    @initialize()
    def submit(self, initial_seconds=0):
        raw = history(initial_seconds)
        raw["roles"][1] = gpu_role("decode", replicas=2, startAfter=["prefill"])
        self.world = Elsewhere(services.fresh(raw))
        self.restarts, self.next_group, self.attempts = Counter(), {}, {}
        self.bring_up()

    @invariant()
    def no_object_without_its_group(self):
        if not hasattr(self, "world"):
            return
        known = {(role, group.id): group.attempt for role, group in every(self.world.view())}
        for name in self.world.groups_there:
            role, attempt, number = name.removeprefix("chat-").removesuffix("-g").rsplit("-", 2)
            assert int(attempt) <= known[role, int(number)]


TestLeftToOthers = LeftToOthers.TestCase
TestLeftToOthers.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
