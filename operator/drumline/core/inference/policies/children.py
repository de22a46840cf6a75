"""What is generated for a service beside its pods: InferenceRoles, Services, disruption budgets, routes.

An object is written when it would differ from the one that is there, and deleted when nothing of the service needs it
any more. Three things outlast the spec's change: the Services and budgets of a role that the spec has no more, while
it has groups; the Services by which groups of one revision meet, while there is such a group; and the entry role of
the current revision, which gets the requests until the new one can take them.

Weights of a canary apply only while both sides have a group in service. Their Services stay as long as the spec speaks
of a canary, so that a Gateway that is slow to hear never sends to one that is gone. For the same reason no Service goes while a route can't be written.
"""

from __future__ import annotations

from collections.abc import Mapping

from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import GroupStatus
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang import conditions
from drumline.core.gang.plan import Apply, Delete, Resource
from drumline.core.inference import role_objects
from drumline.core.inference.children import Found, Split, budgets, entry_role, key_of, needs, services
from drumline.core.inference.children_routes import pools, routes
from drumline.core.inference.groups import every, live
from drumline.core.inference.names import base
from drumline.core.inference.render import group_shape
from drumline.core.inference.rollout_goals import canary_of, wanted_groups, way
from drumline.core.inference.view import View, in_service, is_going

Specs = Mapping[str, InferenceServiceSpec]


def children(view: View) -> View:
    """Write what differs, then the routes to it, then delete what is over."""
    view = _routed(role_objects.kept(view))
    backends, ways = _wanted(view)
    for stage in (backends, ways):
        view = view.act(*(Apply(f[0], f[1]) for f in stage if needs(f, _digest(view, f))))
    return _unneeded(view, {key_of(f) for f in (*backends, *ways)})


def _digest(view: View, found: Found) -> str | None:
    child = view.obs.children.get(key_of(found))
    return child.digest if child is not None else None


def _wanted(view: View) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
    """All that should be there: what requests go to, and what sends them there."""
    spec, owner = view.spec, view.owner
    specs = _specs(view)
    split = _split(view)
    found = services(owner, spec, specs, split if _gateway(view) else None)
    found = (*_entry(view, specs), *found[1:], *_of_gone_roles(view, specs))
    found += budgets(owner, _pods(view), spec.rollout.max_unavailable)
    pooled = _pool(view)
    sides = split if split is not None and _both_serve(view, split) else None
    if pooled:
        found += pools(owner, spec, specs, sides)  # of all leaders but during a split: else it would run dry
    return found, routes(owner, spec, sides, pooled=pooled) if _gateway(view) else ()


def _specs(view: View) -> Specs:
    """Specs of the revisions that have groups, by name."""
    found = {g.revision: view.spec_of(g) for _, g in every(view)}
    return {name: spec for name, spec in found.items() if spec is not None}


def _split(view: View) -> Split | None:
    """The sides of a canary, whether one is under way or not."""
    path, canary = way(view), view.spec.rollout.canary
    return Split(path.current, path.update, canary.weight) if canary is not None else None


def _both_serve(view: View, split: Split) -> bool:
    if canary_of(view) is None:
        return False
    groups = view.groups(entry_role(view.spec))
    serving = {g.revision for g in groups if in_service(g) and not is_going(g)}
    return {split.stable, split.canary} <= serving


def _entry(view: View, specs: Specs) -> tuple[Found, ...]:
    """The service's own Service: to the role that requests go to first, of the current revision while that serves."""
    was = specs.get(way(view).current)
    if was is None or entry_role(was) == entry_role(view.spec):
        return services(view.owner, view.spec, {})[:1]
    served = any(in_service(g) and not is_going(g) for g in view.groups(entry_role(was)))
    moved = was.model_copy(
        update={"routing": was.routing.model_copy(update={"port": view.spec.routing.port})}
    )
    return services(view.owner, moved if served else view.spec, {})[:1]


def _of_gone_roles(view: View, specs: Specs) -> tuple[Found, ...]:
    """Services of roles that the spec has no more, while they have groups."""
    named = {r.name for r in view.spec.roles}
    gone = {base(view.owner.name, r.name) for r in view.status.roles if r.groups and r.name not in named}
    found = {
        key_of(f): f
        for spec in specs.values()
        for f in services(view.owner, spec, {})[1:]
        if f[1]["metadata"]["name"] in gone
    }
    return tuple(found.values())


def _pods(view: View) -> dict[str, int]:
    """Pods that are to be available, by role: all of the groups in service, and of those that should be.

    Those of a group that drains count while they are ready, and those of one that comes beside the others from before
    they are created, else their readiness would pass for room to evict others.
    """
    named = {r.name for r in view.spec.roles}
    roles = [*named, *(r.name for r in view.status.roles if r.groups and r.name not in named)]
    return {role: _pods_of(view, role) for role in sorted(roles)}


def _pods_of(view: View, role: str) -> int:
    staying = [g for g in view.groups(role) if in_service(g) and not is_going(g)]
    leaving = sum(_ready(view, role, g) for g in view.groups(role) if is_going(g))
    coming = sum(len(g.nodes) for g in view.groups(role) if live(g) and not (is_going(g) or in_service(g)))
    known = next((r for r in view.spec.roles if r.name == role), None)
    size = group_shape(view.spec, role, view.obs.catalog).size if known is not None else 0
    missing = max(0, wanted_groups(view, role) - len(staying)) * size
    return sum(len(g.nodes) for g in staying) + leaving + max(missing, coming)


def _ready(view: View, role: str, group: GroupStatus) -> int:
    return sum(pod.ready for pod in view.pods(role, group).values())


def _gateway(view: View) -> bool:
    return view.spec.routing.gateway is not None and view.obs.settings.gateway


def _pool(view: View) -> bool:
    return view.spec.routing.inference_pool is not None and view.obs.settings.inference_pool


def _routed(view: View) -> View:
    """Say whether what is asked of the Gateway API can be had; nothing where nothing is asked."""
    routing = view.spec.routing
    lacking = [
        kind
        for kind, asked, there in (
            ("HTTPRoute", routing.gateway, view.obs.settings.gateway),
            ("InferencePool", routing.inference_pool, view.obs.settings.inference_pool),
        )
        if asked is not None and not there
    ]
    kind = ServiceCondition.ROUTED
    known = conditions.find(view.status.conditions, kind.value)
    if routing.gateway is None and routing.inference_pool is None:
        rest = tuple(c for c in view.status.conditions if c is not known)
        return view if known is None else view.with_status(conditions=rest)
    for what, why in sorted(view.obs.refused.items()):
        text = f"the API server refuses {what}: {why}"[:1024]
        if known is None or known.message != text:
            view = view.event("Warning", Reason.CREATE_REFUSED, text)
        return view.condition(kind, False, Reason.CREATE_REFUSED, text)
    if not lacking:
        return view.condition(kind, True, Reason.ROUTES_APPLIED, "what routes requests is applied")
    text = f"no {' and no '.join(lacking)} can be made: the cluster has no such kind, or the operator is to leave them alone"
    if known is None or known.message != text:
        view = view.event("Warning", Reason.NO_GATEWAY_API, text)
    return view.condition(kind, False, Reason.NO_GATEWAY_API, text)


def _unneeded(view: View, wanted: set[str]) -> View:
    stays = "services/" if view.obs.refused else None
    namespace = view.obs.service.namespace
    return view.act(
        *(
            Delete(_resource(key), namespace, key.partition("/")[2], child.uid)
            for key, child in sorted(view.obs.children.items())
            if child.ours and key not in wanted and not (stays and key.startswith(stays))
        )
    )


_RESOURCES: dict[str, Resource] = {
    "services": "services",
    "poddisruptionbudgets": "poddisruptionbudgets",
    "httproutes": "httproutes",
    "inferencepools": "inferencepools",
}


def _resource(key: str) -> Resource:
    return _RESOURCES[key.partition("/")[0]]
