"""Groups on cordoned nodes are marked, once, and unmarked."""

from __future__ import annotations

from dataclasses import replace

from drumline.core.inference.policies.evacuation import evacuation
from tests.unit.core.inference import services


def test_a_cordoned_node_marks_the_group() -> None:
    observation = replace(services.serving(count=2), cordoned=frozenset({"node-1-1"}))
    view = evacuation(services.view(observation))
    assert [g.evacuating_since for g in view.groups("serve")] == [None, services.ago(0)]
    assert [(e.type, e.reason) for e in view.events] == [("Normal", "Evacuating")]
    assert view.requeue_after == 300


def test_the_mark_stays_and_time_runs_from_it() -> None:
    marked = services.group(0, evacuating_since=services.ago(100))
    observation = services.with_groups(services.serving(), "serve", marked)
    view = evacuation(services.view(replace(observation, cordoned=frozenset({"node-0-0"}))))
    assert view.groups("serve") == (marked,)
    assert view.events == ()
    assert view.requeue_after == 200


def test_a_node_that_is_back_unmarks_it() -> None:
    marked = services.group(0, evacuating_since=services.ago(100))
    observation = services.with_groups(services.serving(), "serve", marked)
    (group,) = evacuation(services.view(observation)).groups("serve")
    assert group.evacuating_since is None


def test_a_lost_node_and_a_draining_group_are_others_business() -> None:
    both = frozenset({"node-0-0"})
    lost = replace(services.serving(), cordoned=both, lost=both)
    assert evacuation(services.view(lost)).groups("serve")[0].evacuating_since is None
    leaving = services.with_groups(services.serving(), "serve", services.draining(0))
    view = evacuation(services.view(replace(leaving, cordoned=both)))
    assert view.groups("serve")[0].evacuating_since is None


def test_an_unpinned_group_is_where_its_pods_are() -> None:
    group = services.group(0, size=1)
    observation = services.with_pods(services.service(), "serve", 0, services.pods_of("serve", group))
    unpinned = group.model_copy(update={"nodes": ("",)})
    observation = services.with_groups(observation, "serve", unpinned)
    view = evacuation(services.view(replace(observation, cordoned=frozenset({"node-0-0"}))))
    assert view.groups("serve")[0].evacuating_since == services.ago(0)
