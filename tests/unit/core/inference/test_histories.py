"""Whatever happens to a service, in whatever order: groups, pods, places and counters keep their invariants."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drumline.api.inference_status import GroupPhase
from drumline.core.gang.plan import Create
from drumline.core.inference.groups import every, live
from tests.unit.core.inference import services
from tests.unit.core.inference.cluster import GPU, ROUNDS, World, gpu_role

PICK = st.integers(0, 30)
NODES = [f"node-{i}" for i in range(4)]
POLICY = {"maxRestarts": 2, "windowSeconds": 3600}


def raw(initial_seconds: int):
    """Prefill of single pods; decode of pairs whose worker waits for its leader."""
    return services.spec(
        gpu_role("prefill", replicas=2, groupSize=1),
        gpu_role("decode", replicas=2, startPolicy="LeaderFirst", startAfter=["prefill"]),
        failurePolicy={**POLICY, "backoff": {"initialSeconds": initial_seconds, "maxSeconds": 60}},
        scheduling={"gangTimeoutSeconds": 60},
    )


class Histories(RuleBasedStateMachine):
    """Random histories of one service. The operator has no memory: each decision may be a successor's first."""

    @initialize(initial_seconds=st.sampled_from([0, 10]))
    def submit(self, initial_seconds):
        self.world = World(services.fresh(raw(initial_seconds)))
        self.restarts = Counter()
        self.next_group = {}
        self.attempts = {}
        self.bring_up()

    @rule()
    def reconcile(self):
        for _ in range(ROUNDS):
            plan = self._step()
            if plan.requeue_after != 0 and self._is_empty(plan):
                break
        assert self._is_empty(plan), "decisions never come to rest"

    @rule(writes=st.integers(0, 12))
    def crash(self, writes):
        self._step(writes)

    @rule()
    def admit(self):
        self.world.admit()

    @rule()
    def start_pods(self):
        self.world.start()

    @rule()
    def let_go(self):
        self.world.let_go()

    @rule()
    def bring_up(self):
        """What interesting histories need again and again: time passes and groups come into service."""
        self.world.edit(suspend=False)
        for _ in range(6):
            self.world.now += 6
            self.reconcile()
            self.admit()
            self.reconcile()
            self.let_go()
            self.start_pods()
        self.reconcile()

    @rule(pick=PICK, code=st.sampled_from([0, 1, 137]))
    def fail_pod(self, pick, code):
        name = self._name(pick)
        if name and not self.world.pods[name].terminal:
            self.world.fail(name, code)

    @rule(pick=PICK)
    def delete_pod(self, pick):
        name = self._name(pick)
        if name:
            self.world.delete(name)

    @rule(pick=PICK)
    def force_delete_pod(self, pick):
        name = self._name(pick)
        if name:
            self.world.drop(name)

    @rule(pick=PICK, ready=st.booleans())
    def falter(self, pick, ready):
        name = self._name(pick)
        if name and self.world.pods[name].phase == "Running" and not self.world.pods[name].deleting:
            pod = self.world.pods[name]
            leads = pod.member.worker == 0
            self.world.change(name, able=ready, ready=ready and (bool(pod.in_service) or not leads))

    @rule(node=st.sampled_from(NODES))
    def lose_node(self, node):
        self.world.set_node(node, ready=False)

    @rule(node=st.sampled_from(NODES))
    def cordon(self, node):
        self.world.set_node(node, unschedulable=True)

    @rule()
    def nodes_return(self):
        for node in NODES:
            self.world.set_node(node, ready=True, unschedulable=False)

    @rule()
    def suspend(self):
        self.world.edit(suspend=True)

    @rule(role=st.integers(0, 1), replicas=st.integers(0, 3))
    def scale(self, role, replicas):
        roles = list(self.world.service.spec.roles)
        roles[role] = roles[role].model_copy(update={"replicas": replicas})
        self.world.edit(roles=tuple(roles))

    @rule(version=st.integers(1, 3))
    def change_image(self, version):
        template = {"spec": {"containers": [{"name": "engine", "image": f"example.org/engine:{version}"}]}}
        roles = [r.model_copy(update={"template": template}) for r in self.world.service.spec.roles]
        self.world.edit(roles=tuple(roles))

    @rule(role=st.sampled_from(["prefill", "decode"]), group=st.integers(0, 6), requests=st.integers(0, 2))
    def load(self, role, group, requests):
        self.world.load[role, group] = float(requests)

    @rule(seconds=st.sampled_from([1, 7, 31, 61, 301, 4000]))
    def wait(self, seconds):
        self.world.now += seconds

    @invariant()
    def no_two_groups_hold_the_same_chips(self):
        """Neither by what the status holds, nor by pods that are there and have not ended."""
        if not hasattr(self, "world"):
            return
        used = {name: self.world.capacity.now.used(name).get(GPU, 0) for name in NODES}
        by_status, by_pods = Counter(), Counter()
        for _, group in every(self.world.view()):
            if group.phase is not GroupPhase.WAITING:  # such a one begins by a grant only
                by_status.update({node: 4 * group.nodes.count(node) for node in set(group.nodes)})
        for pod in self.world.pods.values():
            if pod.node and not pod.terminal:
                by_pods[pod.node] += dict(pod.requests)[GPU]
        for name in NODES:
            assert max(by_status[name], by_pods[name]) <= used[name] <= 8

    def _step(self, writes=None):
        """One decision, checked, and applied."""
        before = self.world.status
        plan = self.world.decide()
        assert plan == self.world.decide(), "the same observation gives another plan"
        self._check_creates(plan)
        self.world.apply(plan, writes)
        self._check_numbers(before)
        self._check_restarts()
        if writes is None:
            self._check_pods()
        return plan

    def _is_empty(self, plan):
        return not (plan.prepare or plan.intent or plan.actions or plan.status or plan.events)

    def _check_creates(self, plan):
        """A group's pods are of one attempt, and a pod of a group that was whole does not come back alone."""
        whole = {(r, g.id): g.attempt for r, g in every(self.world.view()) if g.created}
        for action in services.actions(plan):
            if isinstance(action, Create) and action.resource == "pods":
                labels = action.manifest["metadata"]["labels"]
                key = labels["drumline.dev/role"], int(labels["drumline.dev/group"])
                assert whole.get(key, -1) < int(labels["drumline.dev/attempt"])

    def _check_numbers(self, before):
        """Numbers of groups are never used again, attempts never fall, revisions never change."""
        known = {(r.name, g.id): g for r in before.roles for g in r.groups}
        for role, group in every(self.world.view()):
            was = known.get((role, group.id))
            if was is None:
                assert group.id >= self.next_group.get(role, 0), f"{role}/{group.id} was used before"
            else:
                assert was.revision == group.revision
            assert was is None or was.attempt <= group.attempt <= was.attempt + 1
        for role in self.world.status.roles:
            assert role.next_group >= self.next_group.get(role.name, 0)
            self.next_group[role.name] = role.next_group

    def _check_restarts(self):
        counts = Counter({r.cause: r.count for r in self.world.status.restarts})
        assert all(counts[cause] >= count for cause, count in self.restarts.items())
        self.restarts = counts

    def _check_pods(self):
        """What was not told to end is of an attempt that is under way, or its leader is still ending."""
        attempts = {(r, g.id): g.attempt for r, g in every(self.world.view()) if live(g)}
        leaders = {p.member for p in self.world.pods.values() if p.deleting and not p.terminal}
        for pod in self.world.pods.values():
            if not pod.deleting and replace(pod.member, worker=0) not in leaders:
                assert attempts.get((pod.member.role, pod.member.slice)) == pod.member.attempt

    def _name(self, pick):
        names = sorted(self.world.pods)
        return names[pick % len(names)] if names else ""


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
