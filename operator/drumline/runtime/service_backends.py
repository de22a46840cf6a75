"""Other people's schedulers beside the controller of InferenceServices: what it tells them and what they tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from drumline.api.inference import Profile
from drumline.api.inference_status import GroupStatus
from drumline.core.gang.backends.base import BUILTIN, Found
from drumline.core.inference.backing import belongs, names_of
from drumline.core.inference.observation import Observation
from drumline.runtime.backends import Backends
from drumline.runtime.service_world import Key, ServiceWorld


def told(backends: Backends, obs: Observation) -> Observation:
    """The observation with who admits its groups and what they have of them; the very same where that is only us."""
    name = _next(backends, obs)
    left = [(r.name, g) for r in obs.status.roles for g in r.groups if g.backend is not None]
    with_whom = {g.backend for _, g in left if g.backend is not None}
    backends.want(name, *with_whom)
    if name == BUILTIN and not left:
        return obs
    level = obs.spec.scheduling.placement.level if obs.spec is not None else None
    return replace(
        obs,
        backend=backends.offered(name),
        backends={known: backends.choice(known) for known in sorted(with_whom)},
        topology_key=backends.key_of(level),
        theirs=tuple(_found(backends, obs, left)),
        theirs_known=backends.known,
        theirs_denied=backends.denied,
        discovered=backends.discovered,
    )


def join(backends: Backends, world: ServiceWorld, look: Callable[[Key], None]) -> None:
    """Have services looked at, beside jobs, when something of a backend's changes."""
    jobs_changed, jobs_may_begin = backends.changed, backends.appeared

    def changed(namespace: str, found: Found) -> None:
        jobs_changed(namespace, found)
        if (key := _owner(world, namespace, found.document["metadata"])) is not None:
            look(key)

    def appeared() -> None:
        jobs_may_begin()
        for key in list(world.records.store):
            look(key)

    backends.changed, backends.appeared = changed, appeared


def _owner(world: ServiceWorld, namespace: str, metadata: Mapping[str, object]) -> Key | None:
    """The service that owns an object, or of which a pod does."""
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        pod = world.shared.pods.store.get(namespace, owner["name"]) if owner["kind"] == "Pod" else None
        uid = pod.member.job_uid if pod is not None and pod.member is not None else owner["uid"]
        if (key := world.keys.get(uid)) is not None:
            return key
    return None


def _next(backends: Backends, obs: Observation) -> str:
    """Who admits attempts that are yet to begin. Groups of the profile edge ask nobody."""
    if obs.spec is None or obs.spec.profile is Profile.EDGE:
        return BUILTIN
    return backends.resolved(obs.spec.scheduling.backend, obs.queue)


def _found(backends: Backends, obs: Observation, left: list[tuple[str, GroupStatus]]) -> Iterator[Found]:
    service = obs.service
    for role, group in left:
        for name in names_of(service.name, role, group):
            yield from (f for f in backends.named(service.namespace, name) if belongs(service.uid, f))
