"""The names of all groups resolve to the pods of their running attempts, and to nothing else."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.inference_status import GroupPhase
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.plan import Apply
from drumline.core.inference.policies.discovery import discovery
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NOW, with_groups, with_pod, with_pods

OURS = ObservedDiscovery(service=ObservedService(ours=True))


def applied(observation, resource="endpointslices"):
    found = services.actions(discovery(services.view(observation)))
    return [a.manifest for a in found if isinstance(a, Apply) and a.resource == resource]


def hosts(observation):
    (manifest,) = applied(observation)
    return {e["hostname"]: e["addresses"][0] for e in manifest["endpoints"]}


def test_one_headless_service_has_the_names_of_all_groups() -> None:
    observation = replace(services.serving(count=2), discovery=ObservedDiscovery())
    (service,) = applied(observation, "services")
    assert service["metadata"]["name"] == "chat-peers"
    assert service["metadata"]["labels"]["drumline.dev/service"] == "chat"
    assert sorted(hosts(observation)) == [
        "chat-serve-0-0",
        "chat-serve-0-1",
        "chat-serve-1-0",
        "chat-serve-1-1",
    ]


def test_what_is_published_is_not_written_again() -> None:
    assert discovery(services.view(services.serving(count=2))).actions == ()


def test_the_service_is_there_before_the_first_pod() -> None:
    observation = with_groups(services.fresh(), "serve", services.starting())
    assert len(applied(observation, "services")) == 1
    assert discovery(services.view(with_groups(services.fresh(), "serve", services.waiting()))).actions == ()


def test_names_of_an_attempt_that_ended_go_at_once() -> None:
    resting = services.group(1, phase=GroupPhase.BACKOFF, created=False, started_at=None)
    observation = with_groups(services.serving(count=2), "serve", services.group(0), resting)
    just_written = replace(observation.discovery, last_written_at=NOW)
    assert sorted(hosts(replace(observation, discovery=just_written))) == ["chat-serve-0-0", "chat-serve-0-1"]


def test_a_new_leader_is_published_at_once_and_its_workers_soon() -> None:
    group = services.starting(1, created=True)
    observation = services.serving()
    observation = with_groups(observation, "serve", services.group(), group)
    observation = replace(observation, discovery=replace(observation.discovery, last_written_at=NOW))
    leader, worker = services.pods_of("serve", group)
    coming = with_pods(observation, "serve", 1, [services.up(leader), worker])
    assert "chat-serve-1-0" in hosts(coming)
    only_worker = with_pods(observation, "serve", 1, [leader, services.up(worker)])
    view = discovery(services.view(only_worker))
    assert (view.actions, view.requeue_after) == ((), 3)


def test_pods_that_end_have_no_name() -> None:
    observation = with_pod(services.serving(), "serve", 0, 1, services.deleting)
    assert sorted(hosts(observation)) == ["chat-serve-0-0"]


def test_without_groups_nothing_is_left_published() -> None:
    observation = with_groups(services.serving(), "serve")
    assert hosts_of_nothing(observation) == []


def hosts_of_nothing(observation):
    (manifest,) = applied(observation)
    return manifest["endpoints"]
