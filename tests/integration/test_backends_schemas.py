"""What adapters make and read, before a real API server with the CRDs that the other projects publish.

On a cluster of its own: other tests' operators would take these kinds for schedulers that are there.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from drumline.api.reasons import Reason
from drumline.core.gang.backends.base import GangBackend, GangFacts, RoleFacts
from drumline.core.gang.backends.coscheduling import Coscheduling
from drumline.core.gang.backends.kai import Kai
from drumline.core.gang.backends.kueue import GATE, Kueue
from drumline.core.gang.backends.volcano import Volcano
from drumline.core.gang.names import Owner
from drumline.core.gang.types import PlacementPolicy
from drumline.core.training.render import prepare_gang
from e2e.cluster.provider import Cluster, KubectlError
from tests.integration import foreign_schedulers
from tests.unit.core.training import jobs

RACK = "example.com/rack"
BACKENDS: tuple[GangBackend, ...] = (
    Kueue(),
    Volcano(tiers={RACK: "rack"}),
    Coscheduling(),
    Kai(topology="fabric"),
)
WITH_GROUPS = BACKENDS[1:]
OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "default", "job", jobs.UID)
ASKED = [
    (PlacementPolicy.UNCONSTRAINED, ""),
    (PlacementPolicy.PREFERRED, RACK),
    (PlacementPolicy.REQUIRED, RACK),
]


@pytest.fixture(scope="module")
def served(own_cluster: Cluster) -> Cluster:
    """A cluster that has all their kinds, and the priority class that pods name."""
    foreign_schedulers.install(own_cluster)
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    own_cluster.apply({**kind, "metadata": {"name": "high"}, "value": 1000})
    return own_cluster


def gang(policy: PlacementPolicy = PlacementPolicy.UNCONSTRAINED, key: str = "") -> GangFacts:
    requests = {"cpu": 250, "memory": 2**30, "ephemeral-storage": 10**9, "nvidia.com/gpu": 8, "pods": 1}
    roles = (RoleFacts("worker", 4, 0, requests), RoleFacts("loader", 1, 4, {"cpu": 1000}))
    labels = {"drumline.dev/job": "job"}
    return GangFacts(OWNER, "job-1", 1, roles, "research", "high", policy, key, 120, labels)


def dry(cluster: Cluster, manifest: Any, *options: str) -> dict[str, Any]:
    """What the API server would store; unknown fields are refused."""
    command = (
        "create",
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "json",
        "-n",
        "default",
        *options,
        "-f",
        "-",
    )
    answer: dict[str, Any] = json.loads(cluster.kubectl(*command, stdin=json.dumps(manifest)))
    return answer


def within(small: Any, big: Any) -> bool:
    """Whether all that is in one is in the other, which may have more: defaults."""
    if isinstance(small, dict) and isinstance(big, dict):
        return all(key in big and within(value, big[key]) for key, value in small.items())
    return bool(small == big)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_what_it_needs_is_what_they_serve(served: Cluster, backend: GangBackend) -> None:
    for need in backend.needs:
        found = json.loads(served.kubectl("get", "--raw", f"/apis/{need.group}/{need.version}"))
        assert (need.plural, need.kind) in {(r["name"], r["kind"]) for r in found["resources"]}


@pytest.mark.parametrize(("policy", "key"), ASKED)
@pytest.mark.parametrize("backend", WITH_GROUPS, ids=lambda b: b.name)
def test_groups_are_stored_as_sent(
    served: Cluster, backend: GangBackend, policy: PlacementPolicy, key: str
) -> None:
    if backend.refusal(gang(policy, key)) is not None:
        assert (backend.name, policy) == ("coscheduling", PlacementPolicy.REQUIRED)
        return
    (group,) = backend.objects(gang(policy, key))
    assert within(group, dry(served, group))


@pytest.mark.parametrize("backend", WITH_GROUPS, ids=lambda b: b.name)
def test_a_field_that_they_do_not_have_would_be_refused(served: Cluster, backend: GangBackend) -> None:
    (group,) = backend.objects(gang())
    wrong = copy.deepcopy(dict(group))
    wrong["spec"]["minMembers"] = 4
    with pytest.raises(KubectlError, match="minMembers"):
        dry(served, wrong)


@pytest.mark.parametrize(("policy", "key"), ASKED)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_pods_are_taken_with_all_their_marks(
    served: Cluster, backend: GangBackend, policy: PlacementPolicy, key: str
) -> None:
    seen = jobs.job()
    assert seen.spec is not None
    rendered = prepare_gang(seen.job, seen.spec, seen.catalog, 1)
    for index in (0, 3):
        pod = rendered.pod(index, None)
        sent = backend.prepare_pod(
            {**pod, "metadata": {**pod["metadata"], "namespace": "default"}}, gang(policy, key), index
        )
        answer = dry(served, sent)
        lost = backend.kept(sent, answer)
        assert lost.startswith(f"scheduling gate {GATE}") if backend.name == "kueue" else lost == ""
        assert answer["spec"]["priorityClassName"] == "high"


NO_ROOM = {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "3 of 5"}
TOO_MUCH = {"reason": "OverLimit", "message": "over the limit of research"}
POOL = {"type": "UnschedulableOnNodePool", "status": "True", "reason": "Unschedulable", "message": "no"}
SAID: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "volcano": ({"phase": "Inqueue", "conditions": [NO_ROOM]}, Reason.INSUFFICIENT_ACCELERATORS, "3 of 5"),
    "coscheduling": (
        {"phase": "Scheduling", "running": 2},
        Reason.INSUFFICIENT_ACCELERATORS,
        "Scheduling, 2 of 5",
    ),
    "kai": (
        {"schedulingConditions": [{**POOL, "reasons": [TOO_MUCH]}]},
        Reason.QUEUE_QUOTA,
        "over the limit",
    ),
}


@pytest.mark.parametrize("backend", WITH_GROUPS, ids=lambda b: b.name)
def test_what_their_schedulers_write_is_read(served: Cluster, backend: GangBackend) -> None:
    facts, status = gang(), SAID[backend.name]
    (group,) = backend.objects(facts)
    where = f"{backend.needs[0].plural}.{backend.needs[0].group}"
    # the owner is made up: kept, the garbage collector would delete the group, sooner or later
    served.apply({**group, "metadata": {**group["metadata"], "ownerReferences": []}})
    foreign_schedulers.say(served, where, facts.group, "default", status[0])
    found = served.get(where, facts.group, "-n", "default")
    assert within(status[0], found["status"])
    said = backend.waits(facts, [found])
    served.kubectl("delete", where, facts.group, "-n", "default", "--wait=false")
    assert said is not None
    assert (said.reason, status[2] in said.message) == (status[1], True)


def test_what_kueue_writes_is_read(served: Cluster) -> None:
    facts, backend = gang(), Kueue()
    container = {"name": "train", "image": "example.org/train:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    workload = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": facts.group, "namespace": "default"},
        "spec": {"queueName": "research", "podSets": [{"name": "main", "count": 5, "template": template}]},
    }
    served.apply(workload)
    waiting = {
        "type": "QuotaReserved",
        "status": "False",
        "reason": "WaitingForQuota",
        "message": "insufficient unused quota for nvidia.com/gpu",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    where = "workloads.kueue.x-k8s.io"
    foreign_schedulers.say(served, where, facts.group, "default", {"conditions": [waiting]})
    said = backend.waits(facts, [served.get(where, facts.group, "-n", "default")])
    assert said is not None
    assert (said.reason, "insufficient unused quota" in said.message) == (Reason.QUEUE_QUOTA, True)
    admitted = [{**waiting, "type": kind, "status": "True"} for kind in ("QuotaReserved", "Admitted")]
    admission = {"clusterQueue": "all", "podSetAssignments": [{"name": "main", "count": 5}]}
    foreign_schedulers.say(
        served, where, facts.group, "default", {"conditions": admitted, "admission": admission}
    )
    assert backend.waits(facts, [served.get(where, facts.group, "-n", "default")]) is None
    served.kubectl("delete", where, facts.group, "-n", "default", "--wait=false")
