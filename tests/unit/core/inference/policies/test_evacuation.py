"""Groups on nodes that are being emptied are marked, once, and unmarked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from drumline.core.gang.types import Taint
from drumline.core.inference.policies.evacuation import evacuation
from drumline.core.inference.view import View
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


def test_a_mark_that_a_clock_set_which_was_ahead_is_set_anew() -> None:
    marked = services.group(0, evacuating_since=services.ago(-3600))
    observation = services.with_groups(services.serving(), "serve", marked)
    view = evacuation(services.view(replace(observation, cordoned=frozenset({"node-0-0"}))))
    assert [g.evacuating_since for g in view.groups("serve")] == [services.ago(0)]
    assert view.requeue_after == 300


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


def tainted(*taints: Taint, tolerations: Sequence[dict[str, object]] = ()) -> View:
    """What is decided about a group whose first node has these taints, and whose pods tolerate that."""
    pod = {**services.TEMPLATE["spec"], "tolerations": list(tolerations)}
    raw = services.spec(services.role(template={"spec": pod}))
    observation = services.serving(services.service(raw), count=1)
    return evacuation(services.view(replace(observation, tainted={"node-0-0": taints})))


MAINTENANCE = Taint("example.org/maintenance", "now", "NoExecute")
TOLERATED = {"key": "example.org/maintenance", "operator": "Exists"}


@pytest.mark.parametrize(
    ("taint", "tolerations", "leaves"),
    [
        (MAINTENANCE, [], True),
        (MAINTENANCE, [{**TOLERATED, "effect": "NoExecute", "tolerationSeconds": 600}], True),
        (MAINTENANCE, [TOLERATED], False),
        (MAINTENANCE, [{"operator": "Exists"}], False),
        (replace(MAINTENANCE, effect="NoSchedule"), [], False),
        (Taint("karpenter.sh/disrupted", "", "NoSchedule"), [], True),
        (Taint("ToBeDeletedByClusterAutoscaler", "1793000000", "NoSchedule"), [], True),
        (Taint("node.kubernetes.io/not-ready", "", "NoExecute"), [], False),
        (Taint("node.kubernetes.io/unreachable", "", "NoExecute"), [], False),
    ],
)
def test_a_taint_by_which_a_node_is_emptied_marks_the_group(
    taint: Taint, tolerations: list[dict[str, object]], *, leaves: bool
) -> None:
    (group,) = tainted(taint, tolerations=tolerations).groups("serve")
    assert (group.evacuating_since is not None) is leaves


def test_the_taint_is_named() -> None:
    (event,) = tainted(MAINTENANCE).events
    assert "node node-0-0 has the taint example.org/maintenance=now:NoExecute" in event.message
