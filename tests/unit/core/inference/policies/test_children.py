"""What is generated beside the pods, and how long it stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.inference_status import GroupPhase, RolloutPhase, RolloutStatus
from drumline.api.meta import ANNOTATION_DIGEST
from drumline.api.reasons import ServiceCondition
from drumline.core.gang.plan import Apply, Create, Delete, Patch
from drumline.core.inference.decide import decide
from drumline.core.inference.observation import Child, RoleChild, Settings
from drumline.core.inference.policies.children import children
from drumline.core.inference.signals import Scaling, Signals
from drumline.core.inference.view import View
from tests.unit.core.inference import services
from tests.unit.core.inference.services import NEW, OLD

GATEWAY = {"gateway": {"name": "public"}}
POOL = {"inferencePool": {"endpointPicker": "picker"}}
BOTH = Settings(gateway=True, inference_pool=True)
PAIR = services.spec(services.role("prefill"), services.role("decode"))


def run(observation: services.Observation) -> View:
    return children(services.view(observation))


def applied(view: View) -> dict[str, Any]:
    found = [a for a in services.actions(view) if isinstance(a, Apply)]
    return {f"{a.resource}/{a.manifest['metadata']['name']}": a.manifest for a in found}


def removed(view: View) -> list[str]:
    return [f"{a.resource}/{a.name}" for a in services.actions(view) if isinstance(a, Delete)]


def there(observation: services.Observation) -> services.Observation:
    """The same with everything written that it asks for."""
    view = run(observation)
    known = {
        key: Child(f"uid-{key}", manifest["metadata"]["annotations"][ANNOTATION_DIGEST])
        for key, manifest in applied(view).items()
    }
    created = {
        a.manifest["spec"]["role"]: RoleChild("uid", a.manifest["spec"]["replicas"])
        for a in services.actions(view)
        if isinstance(a, Create)
    }
    observation = replace(observation, children={**observation.children, **known})
    observation = replace(observation, role_children={**observation.role_children, **created})
    statuses = {role: run(observation_with(observation, role)).obs.role_children[role] for role in created}
    return replace(observation, role_children={**observation.role_children, **statuses})


def observation_with(observation: services.Observation, role: str) -> services.Observation:
    """The same with the InferenceRole's status as it is to be."""
    name = f"chat-{role}"
    body = next(
        a.body["status"]
        for a in services.actions(run(observation))
        if isinstance(a, Patch) and a.name == name and a.subresource == "status"
    )
    child = replace(observation.role_children[role], status=body)
    return replace(observation, role_children={**observation.role_children, role: child})


def min_available(view: View, role: str = "serve") -> int:
    return int(applied(view)[f"poddisruptionbudgets/chat-{role}"]["spec"]["minAvailable"])


def test_a_service_gets_all_it_needs_and_then_nothing_more() -> None:
    observation = services.serving()
    view = run(observation)
    assert set(applied(view)) == {"services/chat", "services/chat-serve", "poddisruptionbudgets/chat-serve"}
    assert [a.manifest["metadata"]["name"] for a in services.actions(view) if isinstance(a, Create)] == [
        "chat-serve"
    ]
    assert services.actions(run(there(observation))) == []


def test_what_differs_is_written_again_and_what_nobody_needs_goes() -> None:
    observation = there(services.serving())
    odd = {"services/chat": Child("u1", "other"), "services/chat-old": Child("u2", "x")}
    foreign = {"services/chat-theirs": Child("u3", ours=False)}
    view = run(replace(observation, children={**observation.children, **odd, **foreign}))
    assert set(applied(view)) == {"services/chat"}
    assert removed(view) == ["services/chat-old"]


def test_groups_of_one_revision_meet_for_as_long_as_there_is_one() -> None:
    observation = services.old_revision(services.serving(services.service(PAIR), "prefill"))
    groups = (services.group(0, revision=OLD), services.waiting(1))
    view = run(services.with_groups(observation, "prefill", *groups))
    names = {key for key in applied(view) if "aaaaaaaaaa" in key or "bbbbbbbbbb" in key}
    assert names == {
        f"services/chat-{role}-{digest}"
        for role in ("prefill", "decode")
        for digest in ("aaaaaaaaaa", "bbbbbbbbbb")
    }
    done = there(services.with_groups(observation, "prefill", *groups))
    gone = run(services.with_groups(done, "prefill", services.group(1)))
    assert removed(gone) == ["services/chat-decode-aaaaaaaaaa", "services/chat-prefill-aaaaaaaaaa"]


def test_budgets_count_pods_of_the_groups_that_should_serve() -> None:
    raw = services.spec(services.role(replicas=3))
    assert min_available(run(services.serving(services.service(raw), count=3))) == 6
    loose = {**raw, "rollout": {"maxUnavailable": 1}}
    assert min_available(run(services.serving(services.service(loose), count=3))) == 5
    assert min_available(run(services.serving(services.service(raw), count=2))) == 6
    assert min_available(run(services.serving(services.service(raw), count=4))) == 8
    assert min_available(run(services.service(services.spec(services.role(replicas=0))))) == 0


def test_a_group_that_drains_makes_no_room_for_evictions() -> None:
    observation = services.serving(services.service(services.spec(services.role(replicas=1))), count=2)
    observation = services.with_groups(observation, "serve", services.group(0), services.draining(1))
    closed = services.with_pod(observation, "serve", 1, 0, lambda p: replace(p, ready=False))
    assert min_available(run(closed)) == 3


def test_pods_of_a_group_that_starts_make_no_room_for_evictions() -> None:
    observation = services.serving(services.service(services.spec(services.role(replicas=1))), count=2)
    starting = services.group(1, phase=GroupPhase.STARTING, ready_at=None)
    observation = services.with_groups(observation, "serve", services.group(0), starting)
    loading = services.with_pod(observation, "serve", 1, 0, lambda p: replace(p, ready=False))
    assert min_available(run(loading)) == 4, (
        "whether they are ready yet or not: the budget must be there before"
    )
    first = services.with_groups(loading, "serve", starting)
    assert min_available(run(first)) == 2, "one that is to be there counts as a whole"


def roles_patched(view: View) -> list[dict[str, Any]]:
    return [dict(a.body) for a in services.actions(view) if isinstance(a, Patch) and not a.subresource]


def test_the_inference_role_shows_what_there_should_be() -> None:
    raw = services.spec(services.role(replicas=3))
    observation = replace(services.service(raw), role_children={"serve": RoleChild("u", 2)})
    assert roles_patched(run(observation)) == [{"spec": {"replicas": 3}}]
    suspended = replace(
        services.service({**raw, "suspend": True}), role_children={"serve": RoleChild("u", 2)}
    )
    assert roles_patched(run(suspended)) == []


def test_an_inference_role_that_others_scale_is_theirs() -> None:
    external = services.role(replicas=2, autoscaling={"mode": "External", "maxReplicas": 9})
    observation = services.service(services.spec(external))
    created = [a for a in services.actions(run(observation)) if isinstance(a, Create)]
    assert [a.manifest["spec"]["replicas"] for a in created] == [2]
    assert roles_patched(run(replace(observation, role_children={"serve": RoleChild("u", 7)}))) == []


def test_the_autoscalers_word_is_kept_in_the_inference_role() -> None:
    builtin = services.role(replicas=1, autoscaling={"maxReplicas": 4, "minReplicas": 2})
    observation = services.service(services.spec(builtin))
    created = [a for a in services.actions(run(observation)) if isinstance(a, Create)]
    assert [a.manifest["spec"]["replicas"] for a in created] == [2]
    said = Signals(scaling={"serve": Scaling(desired=4)})
    known = {"serve": RoleChild("u", 2)}
    assert roles_patched(run(replace(observation, role_children=known, signals=said))) == [
        {"spec": {"replicas": 4}}
    ]


def test_the_inference_roles_status_counts_groups() -> None:
    observation = replace(services.serving(count=2), role_children={"serve": RoleChild("u", 1)})
    observation = services.with_groups(
        observation, "serve", services.group(0), services.starting(1), services.draining(2)
    )
    (patch,) = [a for a in services.actions(run(observation)) if isinstance(a, Patch) and a.subresource]
    status = patch.body["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 1)
    assert "drumline.dev/worker=0" in status["selector"]


def test_a_role_that_is_no_more_keeps_its_things_while_it_has_groups() -> None:
    pair = services.service(services.spec(services.role("decode"), services.role("serve")))
    observation = there(services.serving(pair, "serve"))
    only = services.parsed(services.spec(services.role("decode")))
    old = services.group(0, revision=OLD)
    change = replace(
        services.old_revision(observation, services.spec(services.role("decode"), services.role("serve"))),
        spec=only,
    )
    change = services.with_groups(change, "serve", old)
    view = run(change)
    assert not {"services/chat-serve", "poddisruptionbudgets/chat-serve"} & set(removed(view))
    assert "services/chat" not in applied(view), "requests still go to the role that serves"
    over = run(services.with_groups(change, "serve"))
    assert {"services/chat-serve", "poddisruptionbudgets/chat-serve", "inferenceroles/chat-serve"} <= set(
        removed(over)
    )
    assert applied(over)["services/chat"]["spec"]["selector"]["drumline.dev/role"] == "decode"


def canary(*, record: RolloutStatus | None = None, **routing: Any) -> services.Observation:
    """One old group and one of the canary, both in service."""
    raw = services.spec(services.role(), rollout={"canary": {"weight": 20}}, routing=routing or GATEWAY)
    observation = services.old_revision(services.service(raw, settings=BOTH))
    record = record or RolloutStatus(phase=RolloutPhase.CANARY, revision=NEW)
    observation = replace(observation, status=observation.status.model_copy(update={"rollout": record}))
    return services.with_groups(observation, "serve", services.group(0, revision=OLD), services.group(1))


def weights(view: View) -> list[tuple[str, int]]:
    route = applied(view)["httproutes/chat"]
    return [(b["name"], b["weight"]) for b in route["spec"]["rules"][0]["backendRefs"]]


def test_a_canary_gets_its_weight_once_both_sides_serve() -> None:
    assert weights(run(canary())) == [("chat-stable", 80), ("chat-canary", 20)]
    early = services.with_groups(canary(), "serve", services.group(0, revision=OLD), services.starting(1))
    assert weights(run(early)) == [("chat", 100)]
    promoted = RolloutStatus(phase=RolloutPhase.ROLLING, revision=NEW, promoted=NEW)
    assert weights(run(canary(record=promoted))) == [("chat", 100)]
    refused = RolloutStatus(phase=RolloutPhase.ROLLED_BACK, revision=NEW, refused=NEW)
    assert weights(run(canary(record=refused))) == [("chat", 100)]


def test_the_sides_stay_when_the_weights_are_over() -> None:
    done = RolloutStatus(phase=RolloutPhase.ROLLING, revision=NEW, promoted=NEW)
    view = run(canary(record=done))
    assert {"services/chat-stable", "services/chat-canary"} <= set(applied(view))
    assert removed(view) == []


def test_routes_follow_what_they_send_to() -> None:
    resources = [[a.resource for a in stage if isinstance(a, Apply)] for stage in run(canary()).actions]
    applies = [stage for stage in resources if stage]
    assert "httproutes" not in applies[0]
    assert applies[1] == ["httproutes"]


def test_a_pool_stands_where_it_is_asked_for() -> None:
    view = run(canary(**GATEWAY, **POOL))
    pool = applied(view)["inferencepools/chat"]["spec"]["selector"]["matchLabels"]
    assert pool["drumline.dev/revision"] == OLD
    route = applied(view)["httproutes/chat"]["spec"]["rules"][0]["backendRefs"]
    assert [(b["kind"], b["weight"]) for b in route] == [("InferencePool", 80), ("Service", 20)]
    done = RolloutStatus(phase=RolloutPhase.ROLLING, revision=NEW, promoted=NEW)
    after = run(canary(record=done, **GATEWAY, **POOL))
    assert (
        "drumline.dev/revision"
        not in applied(after)["inferencepools/chat"]["spec"]["selector"]["matchLabels"]
    )


def test_a_route_that_is_refused_holds_up_nothing_else_and_is_said_once() -> None:
    raw = services.spec(services.role(), routing=GATEWAY)
    no = {"httproutes/chat": "no such host"}
    observation = replace(services.service(raw, settings=BOTH), refused=no, withheld=frozenset(no))
    plan = decide(observation, services.NOW)
    written = {
        (a.resource, a.manifest["metadata"]["name"]) for s in plan.actions for a in s if isinstance(a, Apply)
    }
    assert ("services", "chat") in written
    assert ("httproutes", "chat") not in written
    view = run(observation)
    assert services.reason(view.status, ServiceCondition.ROUTED) == ("False", "CreateRefused")
    assert [e.message for e in view.events] == ["the API server refuses httproutes/chat: no such host"]
    due = replace(observation, status=view.status, withheld=frozenset())
    assert run(due).events == ()
    assert "httproutes/chat" in applied(run(due))
    assert services.reason(run(due).status, ServiceCondition.ROUTED) == ("False", "CreateRefused")
    again = run(replace(observation, status=view.status, refused={}))
    assert services.reason(again.status, ServiceCondition.ROUTED) == ("True", "RoutesApplied")


def test_what_a_route_may_still_lead_to_stays_while_the_route_cant_be_written() -> None:
    found = canary(record=RolloutStatus(phase=RolloutPhase.ROLLING, revision=NEW, promoted=NEW))
    plain = found.spec.model_copy(update={"rollout": found.spec.rollout.model_copy(update={"canary": None})})
    sides = {f"services/chat-{side}": Child(side, "digest") for side in ("stable", "canary")}
    over = replace(found, spec=plain, children=sides)
    assert {"services/chat-stable", "services/chat-canary"} <= set(removed(run(over)))
    no = {"httproutes/chat": "a webhook does not answer"}
    assert removed(run(replace(over, refused=no))) == []


def test_a_route_that_cant_be_deleted_is_left_out_too() -> None:
    raw = services.spec(services.role(), routing={})
    observation = services.service(raw, settings=BOTH, children={"httproutes/chat": Child("u", "old")})
    deletes = {
        a.resource for s in decide(observation, services.NOW).actions for a in s if isinstance(a, Delete)
    }
    assert deletes == {"httproutes"}
    no = {"httproutes/chat": "a webhook does not answer"}
    held = replace(observation, refused=no, withheld=frozenset(no))
    assert not any(isinstance(a, Delete) for s in decide(held, services.NOW).actions for a in s)


def test_without_the_kinds_nothing_breaks_and_it_is_said_once() -> None:
    raw = services.spec(services.role(), routing={**GATEWAY, **POOL})
    observation = services.serving(services.service(raw))
    view = run(observation)
    assert set(applied(view)) == {"services/chat", "services/chat-serve", "poddisruptionbudgets/chat-serve"}
    assert services.reason(view.status, ServiceCondition.ROUTED) == ("False", "GatewayApiMissing")
    assert [(e.type, e.reason) for e in view.events] == [("Warning", "GatewayApiMissing")]
    assert "no HTTPRoute and no InferencePool can be made" in view.events[0].message
    assert run(replace(observation, status=view.status)).events == ()
    found = run(replace(observation, status=view.status, settings=BOTH))
    assert services.reason(found.status, ServiceCondition.ROUTED) == ("True", "RoutesApplied")
    plain = replace(observation, spec=services.parsed(services.spec()), status=found.status)
    assert services.reason(run(plain).status, ServiceCondition.ROUTED) == ("", "")
