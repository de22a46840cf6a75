"""An InferenceService's pods, group by group.

`prepare_group` works out once what the pods of a group share; `PreparedGroup` then makes each of them from its
number (0 = the leader). What goes into the engine's container is `render_pod`'s, the environment `env_group`'s and
`env_engine`'s; what finds the pods is `gang.discovery`'s and `children`'s.

Leaders wait for the readiness gate drumline.dev/in-service. The gate is opened once: a condition of a pod stays
as it is while nobody is there to change it, so a leader serves on while the operator, or the control plane, is
away. In the profile `edge` the kubelet restarts containers by itself and the pods stay on a node that can't be
reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from drumline.api import meta
from drumline.api.catalog import Catalog
from drumline.api.engines import EnginePreset, EnvironmentStyle, SignalMetrics, preset
from drumline.api.inference import InferenceServiceSpec, Profile
from drumline.api.inference_status import GroupStatus
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Apply
from drumline.core.gang.pods import Pod, PodSettings, PreparedPod, Role, prepare
from drumline.core.inference import env_engine, env_group, names
from drumline.core.inference.env_group import GroupFacts
from drumline.core.inference.observation import Settings
from drumline.core.inference.render_arguments import user_port
from drumline.core.inference.render_pod import Template, dressed, engine_container
from drumline.core.inference.render_shape import GroupShape, accelerator_of, group_shape, role_of

APP: Final = "inferenceservice"
MANAGER: Final = "drumline"
DEFAULT_PORT: Final = 8000
_ANY_NODE: Final = "node"


@dataclass(frozen=True, slots=True)
class PreparedGroup:
    """One attempt of a group, ready to be rendered pod by pod. Manifests share structure: read-only."""

    owner: Owner
    facts: GroupFacts
    styles: tuple[EnvironmentStyle, ...]
    tpu: bool
    shape: GroupShape
    leader: PreparedPod
    workers: PreparedPod

    @property
    def size(self) -> int:
        """Pods of the group."""
        return self.facts.size

    @property
    def render_hash(self) -> str:
        """Hash of everything in the pods that does not depend on the node."""
        parts = [self.pod(0, _ANY_NODE), self.pod(self.size - 1, _ANY_NODE)]
        return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def name_of(self, worker: int) -> str:
        """Name of a pod."""
        facts = self.facts
        return names.pod(facts.service, facts.role, facts.attempt, facts.group, worker)

    def hostname_of(self, worker: int) -> str:
        """Host name of a pod, the same in every attempt."""
        return names.hostname(self.facts.service, self.facts.role, self.facts.group, worker)

    def pod(self, worker: int, node: str | None) -> Pod:
        """Pod `worker` of the group, pinned to `node` unless that is None or "". IndexError beyond the group."""
        if not 0 <= worker < self.size:
            raise IndexError(f"{self.name_of(0)} is of a group of {self.size}; there is no pod {worker}")
        role = self.workers if worker else self.leader
        labels = {meta.LABEL_WORKER: str(worker)}
        env = [
            *env_group.worker_env(worker),
            *env_group.meeting_worker_env(self.facts, self.styles, worker),
            *(env_group.tpu_worker_env(self.facts, worker) if self.tpu else ()),
        ]
        return role.render(self.name_of(worker), self.hostname_of(worker), labels, env, node or None)

    def shared(self) -> tuple[Apply, ...]:
        """What has to be there before the pods that refer to it: nothing, they stand alone."""
        return ()


def prepare_group(
    service: ObjectMeta,
    spec: InferenceServiceSpec,
    role: str,
    group: GroupStatus,
    catalog: Catalog,
    settings: Settings,
    pod_priority_class: str = meta.WORKER_PRIORITY_CLASS,
) -> PreparedGroup:
    """The group's current attempt, ready to be rendered; `spec` is that of the group's revision.

    KeyError, IndexError, ValueError as `group_shape`.
    """
    shape = group_shape(spec, role, catalog, group.variant)
    known, owner = preset(spec.engine), owner_of(service)
    facts = _facts(service, spec, role, group, shape, settings)
    edge = spec.profile is Profile.EDGE
    pods = PodSettings(None if edge else settings.node_loss_seconds, pod_priority_class)
    leader, worker = (
        prepare(owner, _role(spec, facts, shape, catalog, group, leader=is_leader), pods)
        for is_leader in (True, False)
    )
    tpu = catalog[shape.accelerator].is_tpu
    return PreparedGroup(owner, facts, known.environment, tpu, shape, leader, worker)


def owner_of(service: ObjectMeta) -> Owner:
    """The service as owner of what is made for it."""
    return Owner(meta.API_VERSION, meta.INFERENCE_SERVICE, service.namespace, service.name, service.uid)


def port_of(spec: InferenceServiceSpec, role: str) -> int:
    """Port that the role's leaders serve on.

    The role's own, else what the engine's arguments say, else the engine's default, else the first port that the
    container declares. KeyError for an unknown role.
    """
    found, known = role_of(spec, role), preset(spec.engine)
    if found.port is not None:
        return found.port
    container = engine_container(found.leader_template or found.template)
    declared = next(
        (p["containerPort"] for p in container.get("ports") or () if p.get("containerPort")), None
    )
    return user_port(container, known) or known.port or (int(declared) if declared else DEFAULT_PORT)


def metrics_endpoint(spec: InferenceServiceSpec, role: str) -> tuple[int, str, SignalMetrics] | None:
    """Port and path of a leader's metrics, and what they mean; None when the engine has none.

    KeyError for an unknown role.
    """
    known = preset(spec.engine)
    if not known.metrics_path:
        return None
    return known.metrics_port or port_of(spec, role), known.metrics_path, known.signals


def template_of(spec: InferenceServiceSpec, role: str, *, leader: bool) -> Template:
    """The user's template for a leader, or for a worker. KeyError for an unknown role."""
    found = role_of(spec, role)
    return (found.leader_template if leader else None) or found.template


def _facts(
    service: ObjectMeta,
    spec: InferenceServiceSpec,
    role: str,
    group: GroupStatus,
    shape: GroupShape,
    settings: Settings,
) -> GroupFacts:
    domain = settings.cluster_domain
    peers = tuple(
        (other.name, peer_address(service, spec, other.name, group.revision, domain))
        for other in spec.roles
        if other.name != role
    )
    return GroupFacts(
        service=service.name,
        service_uid=service.uid,
        namespace=service.namespace,
        role=role,
        group=group.id,
        attempt=group.attempt,
        revision=group.revision,
        size=shape.size,
        port=port_of(spec, role),
        cluster_domain=domain,
        peers=peers,
    )


def peer_address(
    service: ObjectMeta, spec: InferenceServiceSpec, role: str, revision: str, cluster_domain: str
) -> str:
    """Where the leaders of a role answer that are of that revision: its own Service, on the leaders' port."""
    host = names.revision_service(service.name, role, revision)
    return f"{host}.{service.namespace}.svc.{cluster_domain}:{port_of(spec, role)}"


def _role(
    spec: InferenceServiceSpec,
    facts: GroupFacts,
    shape: GroupShape,
    catalog: Catalog,
    group: GroupStatus,
    *,
    leader: bool,
) -> Role:
    known = preset(spec.engine)
    engine = env_engine.engine_facts(spec, known, facts, shape)
    entry = catalog[shape.accelerator]
    accelerator = accelerator_of(role_of(spec, facts.role), group.variant)
    chips = bool(shape.resource and shape.chips_per_worker)
    model = env_engine.model_of(spec, facts.role)
    return Role(
        template=dressed(template_of(spec, facts.role, leader=leader), known, engine, model, leader=leader),
        labels=_labels(spec, facts),
        env=_env(spec, known, facts, engine, tpu=entry.is_tpu, leader=leader),
        subdomain=names.peers(facts.service),
        node_selector=entry.node_selector(accelerator.topology),
        tolerations=(shape.resource,) if chips else (),
        limit=(shape.resource, shape.chips_per_worker) if chips and not accelerator.resource_claim else None,
        restart_policy="Always" if spec.profile is Profile.EDGE else "Never",
        readiness_gates=(meta.IN_SERVICE,) if leader else (),
    )


def _env(
    spec: InferenceServiceSpec,
    known: EnginePreset,
    facts: GroupFacts,
    engine: env_engine.EngineFacts,
    *,
    tpu: bool,
    leader: bool,
) -> Sequence[Any]:
    return [
        *env_group.shared_env(facts),
        *env_group.meeting_env(facts, known.environment),
        *(env_group.tpu_env(facts) if tpu else ()),
        *env_engine.service_env(spec, facts, engine),
        *env_engine.engine_env(known, engine, leader=leader),
    ]


def _labels(spec: InferenceServiceSpec, facts: GroupFacts) -> dict[str, str]:
    queue = {meta.LABEL_QUEUE: spec.queue} if spec.queue else {}
    return {
        meta.APP_NAME: APP,
        meta.APP_INSTANCE: facts.service,
        meta.APP_COMPONENT: facts.role,
        meta.APP_MANAGED_BY: MANAGER,
        meta.LABEL_SERVICE: facts.service,
        meta.LABEL_SERVICE_UID: facts.service_uid,
        meta.LABEL_ROLE: facts.role,
        meta.LABEL_GROUP: str(facts.group),
        meta.LABEL_ATTEMPT: str(facts.attempt),
        meta.LABEL_REVISION: facts.revision,
        **queue,
    }
