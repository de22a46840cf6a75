"""Pods of running attempts are created as soon as their nodes are free, leaders first where asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.meta import ANNOTATION_QUOTA
from drumline.core.gang.types import PodPhase
from drumline.core.inference.policies.creation import creation
from tests.builders import H100
from tests.unit.core.inference import services
from tests.unit.core.inference.services import created, group_of, with_groups, with_pods

LEADER_FIRST = services.spec(services.role(startPolicy="LeaderFirst", groupSize=3))


def made(observation):
    return created(creation(services.view(observation)))


def pods(group, *workers):
    return [services.pod("serve", group, w) for w in workers]


def test_all_pods_are_created_each_pinned_to_its_node() -> None:
    view = creation(services.view(with_groups(services.service(), "serve", services.starting(3))))
    manifests = [a.manifest for a in services.actions(view)]
    assert [m["metadata"]["name"] for m in manifests] == ["chat-serve-1-3-0", "chat-serve-1-3-1"]
    terms = [
        m["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for m in manifests
    ]
    pins = [t["nodeSelectorTerms"][0]["matchFields"][0]["values"] for t in terms]
    assert pins == [["node-3-0"], ["node-3-1"]]
    assert not group_of(view.status, number=3).created, "not before they have been seen"


def test_pods_say_what_they_count_for_in_the_queue_that_let_their_group_in() -> None:
    raw = services.spec(services.role(accelerator={"type": H100, "chipsPerWorker": 4}))
    for queue, wanted in (("research", f"research/{H100}/4"), (None, None)):
        group = services.starting(3).model_copy(update={"queue": queue})
        view = creation(services.view(with_groups(services.service(raw), "serve", group)))
        said = [a.manifest["metadata"]["annotations"].get(ANNOTATION_QUOTA) for a in services.actions(view)]
        assert said == [wanted, wanted]


def test_what_is_there_is_not_created_again_and_all_seen_is_on_record() -> None:
    group = services.starting()
    observation = with_groups(services.service(), "serve", group)
    assert made(with_pods(observation, "serve", 0, pods(group, 0))) == ["chat-serve-1-0-1"]
    whole = creation(services.view(with_pods(observation, "serve", 0, pods(group, 0, 1))))
    assert (created(whole), group_of(whole.status).created) == ([], True)


def test_a_lost_pod_of_a_whole_group_does_not_come_back_alone() -> None:
    observation = services.serving()
    assert made(with_pods(observation, "serve", 0, observation.pods["serve", 0][:1])) == []


def test_a_pod_waits_until_its_node_is_free_of_an_older_attempt() -> None:
    group = services.starting(attempt=2)
    old = services.deleting(services.up(services.pod("serve", services.group(), 1)))
    observation = with_pods(with_groups(services.service(), "serve", group), "serve", 0, [old])
    assert made(observation) == ["chat-serve-2-0-0"]
    ended = replace(old, phase=PodPhase.FAILED)
    assert len(made(with_pods(observation, "serve", 0, [ended]))) == 2


@pytest.mark.parametrize(
    ("leader", "expected"),
    [
        (None, ["chat-serve-1-0-0"]),
        (lambda p: p, []),
        (services.gated, ["chat-serve-1-0-1", "chat-serve-1-0-2"]),
    ],
    ids=["nothing is there", "the leader starts", "the leader runs"],
)
def test_workers_wait_for_their_leader_where_asked(leader, expected) -> None:
    group = services.starting(size=3)
    observation = with_groups(services.service(LEADER_FIRST), "serve", group)
    if leader is not None:
        observation = with_pods(observation, "serve", 0, [leader(services.pod("serve", group, 0))])
    assert made(observation) == expected


def test_nothing_is_created_for_groups_that_go_rest_or_wait() -> None:
    resting = services.group(1, phase="Backoff", created=False, started_at=None)
    observation = with_groups(
        services.service(), "serve", services.draining(0, created=False), resting, services.waiting(2)
    )
    assert made(observation) == []


def test_edge_pods_are_pinned_nowhere() -> None:
    raw = services.spec(services.role(groupSize=1), profile="edge")
    group = services.starting(nodes=("",), size=1)
    view = creation(services.view(with_groups(services.service(raw), "serve", group)))
    (pod,) = [a.manifest for a in services.actions(view) if a.resource == "pods"]
    assert "nodeAffinity" not in (pod["spec"].get("affinity") or {})
    assert pod["spec"]["restartPolicy"] == "Always"


def test_a_group_of_an_older_revision_starts_again_as_it_was() -> None:
    was = services.spec(
        services.role(template={"spec": {"containers": [{"name": "engine", "image": "old"}]}})
    )
    observation = services.old_revision(services.service(), was)
    observation = with_groups(observation, "serve", services.starting(revision=services.OLD))
    pod = services.actions(creation(services.view(observation)))[0].manifest
    assert pod["spec"]["containers"][0]["image"] == "old"
