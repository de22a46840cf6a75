"""Changes of a service through the very decisions, on a small cluster: nothing that serves is lost, and it ends.

The operator has no memory here: each decision is made from what stands in the API alone, and plans are cut off.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.inference_status import InferenceServiceStatus, RolloutPhase
from drumline.core.gang.clock import unix
from drumline.core.inference.decide import decide
from drumline.core.inference.observation import Settings
from drumline.core.inference.view import is_going
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import ROUNDS, World, gpu_role

IMAGE = {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:1"}]}}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["image", "scale", "fail", "cordon", "uncordon", "crash", "start", "gone", "back", "wait"]
        ),
        st.integers(0, 100),
    ),
    max_size=16,
)
ROLES = ("prefill", "decode")


def raw(image: int = 0, prefill: int = 2, decode: int = 2, **rules: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "engine", "image": f"example.org/engine:{image}"}]}}
    return services.spec(
        gpu_role("prefill", chips=1, replicas=prefill, groupSize=1, template=template),
        gpu_role("decode", chips=2, replicas=decode, groupSize=1, template=template),
        rollout=rules,
        drain={"settleSeconds": 1, "timeoutSeconds": 30},
        failurePolicy={"maxRestarts": 50, "backoff": {"initialSeconds": 1, "maxSeconds": 2}},
    )


class Story:
    """A service that runs, and what happens to it."""

    def __init__(self, **rules: Any) -> None:
        self.rules = rules
        self.unavailable = rules.get("maxUnavailable", 0)
        self.now_has = {"image": 0, "prefill": 2, "decode": 2}
        self.world = World(services.fresh(raw(**self.now_has, **rules)))
        self.world.settle()

    def change(self, **changes: int) -> None:
        self.now_has |= changes
        self.world.edit(roles=services.parsed(raw(**self.now_has, **self.rules)).roles)

    def ready(self, role: str) -> set[int]:
        """Groups whose leader gets requests."""
        pods = self.world.pods.values()
        return {
            p.member.slice for p in pods if p.member and p.member.role == role and p.ready and not p.deleting
        }

    def serving(self, role: str) -> set[int]:
        """Groups that get requests and are to go on: whose end was decided on counts no more, whatever changed since."""
        return self.ready(role) - {g.id for g in self.world.groups(role).values() if is_going(g)}

    def step(self, writes: int | None = None) -> bool:
        """One decision, applied as far as told; it takes nothing from what is needed."""
        world, before = self.world, {role: self.serving(role) for role in ROLES}
        plan = world.decide()
        assert plan == world.decide()
        if plan.intent is None and plan.status is None:
            assert InferenceServiceStatus.model_validate(world.status.to_json()) == world.status
        overdue = {g.id for role in ROLES for g in world.groups(role).values() if self.is_overdue(g)}
        wrote = world.apply(plan, writes)
        for role in ROLES:
            wanted = self.now_has[role] - self.unavailable
            left = self.serving(role)
            assert len(left | (overdue & before[role])) >= min(len(before[role]), wanted)
            staying = [g for g in world.groups(role).values() if not is_going(g)]
            assert len(staying) <= self.now_has[role] + self.rules.get("maxSurge", 1)
        return wrote

    def is_overdue(self, group: Any) -> bool:
        since = group.evacuating_since
        return since is not None and self.world.now - unix(since) >= Settings().evacuate_seconds

    def reconcile(self) -> None:
        for _ in range(ROUNDS):
            if not self.step() and self.world.decide().requeue_after != 0:
                return
        raise AssertionError("decisions never come to rest")

    def happen(self, event: str, number: int) -> None:
        world = self.world
        pods = sorted(world.pods)
        if event == "image":
            self.change(image=number)
        elif event == "scale":
            self.change(**{ROLES[number % 2]: number % 5})
        elif event == "back":
            self.change(image=0)
        elif event == "fail" and pods:
            world.fail(pods[number % len(pods)])
        elif event in ("cordon", "uncordon"):
            world.set_node(f"node-{number % 4}", unschedulable=event == "cordon")
        elif event == "start":
            world.start()
        elif event == "gone":
            world.let_go()
        elif event == "crash":
            self.step(number % 6)
        elif event == "wait":
            world.now += number % 20

    def round(self) -> None:
        self.reconcile()
        self.world.admit()
        self.reconcile()
        self.world.let_go()
        self.world.start()
        self.world.now += 5

    def finish(self) -> None:
        for node in range(4):
            self.world.set_node(f"node-{node}", unschedulable=False)
        for _ in range(60):
            self.round()
            if self.is_over():
                return
        raise AssertionError(f"still changing: {self.world.status.rollout} {self.world.status.roles}")

    def is_over(self) -> bool:
        status = self.world.status
        groups = [g for role in ROLES for g in self.world.groups(role).values()]
        return (
            status.rollout.phase is RolloutPhase.COMPLETE
            and all(len(self.ready(role)) == self.now_has[role] for role in ROLES)
            and all(g.revision == status.update_revision and not is_going(g) for g in groups)
        )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([(1, 0), (2, 0), (0, 1), (1, 1)]), EVENTS)
def test_whatever_happens_it_ends_and_nothing_that_is_needed_is_lost(
    limits: tuple[int, int], events: list[tuple[str, int]]
) -> None:
    story = Story(maxSurge=limits[0], maxUnavailable=limits[1])
    for event, number in events:
        story.happen(event, number)
        story.step()
    story.finish()


def test_a_group_that_began_to_drain_goes_though_more_are_wanted_since() -> None:
    story = Story(maxSurge=0, maxUnavailable=1)
    for event, number in (("image", 1), ("scale", 14), ("fail", 1), ("gone", 0)):
        story.happen(event, number)
        story.step()
    assert len(story.ready("prefill") - story.serving("prefill")) == 1
    story.finish()


def test_a_rollout_keeps_a_whole_pair_of_one_revision_in_service() -> None:
    story = Story()
    story.change(image=1)
    for _ in range(30):
        story.round()
        groups = {role: story.world.groups(role) for role in ROLES}
        kinds = [{groups[role][n].revision for n in story.ready(role)} for role in ROLES]
        assert kinds[0] & kinds[1]
    assert story.is_over()


def test_a_canary_passes_and_the_rest_follows() -> None:
    story = Story(canary={"analysis": {"minSeconds": 60}})
    story.change(image=1)
    for _ in range(8):
        story.round()
    assert story.world.status.rollout.phase is RolloutPhase.CANARY
    assert all(len(story.world.groups(role)) == 3 for role in ROLES)
    story.finish()


def test_a_canary_that_never_starts_is_rolled_back_and_not_tried_again() -> None:
    story = Story(canary={"analysis": {"readySeconds": 60, "minSeconds": 30}})
    good = story.world.status.current_revision
    story.change(image=1)
    for _ in range(40):
        story.reconcile()
        story.world.admit()
        story.reconcile()
        story.world.let_go()
        story.world.now += 5
    status = story.world.status
    assert (status.rollout.phase, status.rollout.refused) == (
        RolloutPhase.ROLLED_BACK,
        status.update_revision,
    )
    assert status.current_revision == good
    assert all({g.revision for g in story.world.groups(r).values()} == {good} for r in ROLES)
    story.change(image=2)
    story.finish()
    story.change(image=1)
    story.finish()


@pytest.mark.parametrize("canary", [None, {"analysis": {"minSeconds": 3600}}])
def test_an_operator_that_is_replaced_goes_on_as_the_one_before(canary: dict[str, Any] | None) -> None:
    story = Story(**({"canary": canary} if canary else {}))
    story.change(image=1)
    for _ in range(6):
        story.round()
        observation = story.world.observe()
        again = InferenceServiceStatus.model_validate(observation.status.to_json())
        assert again == observation.status
        assert decide(observation, story.world.now) == story.world.decide()


def test_a_role_that_the_spec_has_no_more_serves_until_the_others_do() -> None:
    story = Story()
    alone = gpu_role("serve", chips=1, replicas=1, groupSize=1, template=IMAGE)
    story.world.edit(roles=services.parsed(services.spec(alone)).roles)
    for _ in range(3):
        story.world.reconcile()
        story.world.admit()
        story.world.reconcile()
    assert all(len(story.ready(role)) == 2 for role in ROLES)
    story.world.wait(30)
    assert [len(story.ready(role)) for role in (*ROLES, "serve")] == [0, 0, 1]
    assert {r.name for r in story.world.status.roles} == {"serve"}
    assert set(story.world.roles) == {"serve"}
