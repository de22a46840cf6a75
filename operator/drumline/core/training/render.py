"""A TrainingJob's objects for one attempt: worker pods, helper pods, and the ConfigMaps they refer to.

`prepare_gang` works out once what does not depend on the pod; `PreparedGang` then makes each pod from its
index in the placement's order (workers slice by slice, then the helpers in the order of the spec). What
finds a gang's members, Service and EndpointSlices, is `gang.discovery`'s.

The rendering's hash covers everything that an operator upgrade or a changed catalogue could alter: the
first and the last worker, the first pod of every helper, and the ConfigMaps, all pinned to a made-up node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import orjson

from drumline.api import meta
from drumline.api.catalog import Catalog
from drumline.api.shape import GangShape, resolve_shape
from drumline.api.training import Framework, Helper, TrainingJobSpec
from drumline.core.gang import names
from drumline.core.gang.names import DEFAULT_CLUSTER_DOMAIN, Owner
from drumline.core.gang.plan import Apply
from drumline.core.gang.pods import Pod, PodSettings, PreparedPod, Role, prepare
from drumline.core.gang.types import Placement
from drumline.core.training import env_tpu, environment, progress_render
from drumline.core.training.environment_facts import GangFacts, WorkerFacts
from drumline.core.training.members import Roster, roster
from drumline.core.training.observation import JobMeta
from drumline.core.training.progress_render import Reporting
from drumline.core.training.provisioned import brought
from drumline.core.training.view import owner_of

Manifest = dict[str, Any]

_APP = "trainingjob"
_MANAGER = "drumline"
_ANY_NODE = "node"


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """What the operator's configuration says about a TrainingJob's objects."""

    pods: PodSettings = field(default_factory=PodSettings)
    cluster_domain: str = DEFAULT_CLUSTER_DOMAIN
    reporting: Reporting = field(default_factory=Reporting)


@dataclass(frozen=True, slots=True)
class PreparedGang:
    """One attempt of a job, ready to be rendered pod by pod. Manifests share structure: read-only."""

    owner: Owner
    roster: Roster
    facts: GangFacts
    framework: Framework
    tpu: bool
    chips_per_worker: int
    workers: PreparedPod
    helpers: tuple[PreparedPod, ...]

    @property
    def render_hash(self) -> str:
        """Hash of everything in the objects that does not depend on pod or node."""
        parts: list[Manifest] = [self.worker(0, _ANY_NODE), self.worker(self.roster.workers - 1, _ANY_NODE)]
        parts += [self.helper(h, 0, _ANY_NODE) for h in range(len(self.helpers))]
        parts += self.configmaps()
        return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def name_of(self, index: int) -> str:
        """Name of the pod at that index of the placement."""
        return self.roster.name_of(index, self.facts.attempt)

    def hostname_of(self, index: int) -> str:
        """Host name of the pod at that index, the same in every attempt."""
        return self.roster.hostname_of(index)

    def pod(self, index: int, node: str | None) -> Pod:
        """The pod at that index, pinned to `node` unless that is None. IndexError beyond the gang."""
        if index < self.roster.workers:
            return self.worker(index, node)
        for number, (name, count) in enumerate(self.roster.helpers):
            start = self.roster.offsets[name]
            if index < start + count:
                return self.helper(number, index - start, node)
        raise IndexError(f"{self.owner.name} has {self.roster.size} pods; there is no index {index}")

    def worker(self, index: int, node: str | None) -> Pod:
        """The worker of that rank."""
        slice_index, worker = divmod(index, self.roster.workers_per_slice)
        env = environment.ranked_env(
            self.facts, self.framework, WorkerFacts(slice_index, worker, index), tpu=self.tpu
        )
        labels = {
            meta.LABEL_SLICE: str(slice_index),
            meta.LABEL_WORKER: str(worker),
            meta.LABEL_RANK: str(index),
        }
        job = self.facts.job
        name = names.pod_name(job, self.facts.attempt, slice_index, worker)
        return self.workers.render(name, names.hostname(job, slice_index, worker), labels, env, node)

    def helper(self, number: int, index: int, node: str | None) -> Pod:
        """Pod `index` of the helper that stands at `number` in the spec."""
        job, helper = self.facts.job, self.roster.helpers[number][0]
        name = names.helper_pod_name(job, self.facts.attempt, helper, index)
        labels = {meta.LABEL_WORKER: str(index)}
        env = environment.helper_ranked_env(index)
        return self.helpers[number].render(name, names.helper_hostname(job, helper, index), labels, env, node)

    def configmaps(self) -> list[Manifest]:
        """The host lists of TPU slices too long to stand in every pod; none otherwise."""
        return list(self._configmaps())

    def shared(self) -> tuple[Apply, ...]:
        """What has to be there before the pods that refer to it."""
        return tuple(Apply("configmaps", manifest) for manifest in self._configmaps())

    def _configmaps(self) -> Iterator[Manifest]:
        if not self.tpu:
            return
        for name, data in env_tpu.host_lists(self.facts):
            metadata = {
                "name": name,
                "namespace": self.owner.namespace,
                "labels": {meta.LABEL_JOB: self.owner.name, meta.APP_MANAGED_BY: _MANAGER},
                "ownerReferences": [self.owner.owner_reference()],
            }
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def prepare_gang(
    job: JobMeta,
    spec: TrainingJobSpec,
    catalog: Catalog,
    attempt: int,
    settings: RenderSettings | None = None,
) -> PreparedGang:
    """One attempt of a valid job, ready to be rendered. KeyError, ValueError as `resolve_shape`."""
    settings = settings or RenderSettings()
    shape = resolve_shape(spec, catalog)
    owner = owner_of(job)
    facts = _facts(job, shape, attempt, settings)
    worker = _reporting(
        _worker_role(owner, spec, catalog, shape, facts), spec, settings.reporting, shape.chips
    )
    return PreparedGang(
        owner=owner,
        roster=roster(job.name, spec, shape.workers_per_slice),
        facts=facts,
        framework=spec.framework,
        tpu=catalog[spec.accelerator.type].is_tpu,
        chips_per_worker=shape.chips_per_worker,
        workers=prepare(owner, worker, settings.pods),
        helpers=tuple(
            prepare(owner, _helper_role(owner, spec, facts, h), _helper_settings(spec, h, settings.pods))
            for h in spec.helpers
        ),
    )


def placement_hash(placement: Placement, render_hash: str) -> str:
    """Hash of where each pod goes and of how it is rendered: an attempt keeps both."""
    return sha256("\n".join((render_hash, *placement.nodes)).encode()).hexdigest()[:16]


def _facts(job: JobMeta, shape: GangShape, attempt: int, settings: RenderSettings) -> GangFacts:
    return GangFacts(
        job=job.name,
        job_uid=job.uid,
        namespace=job.namespace,
        attempt=attempt,
        slices=shape.slices,
        workers_per_slice=shape.workers_per_slice,
        processes_per_worker=shape.processes_per_worker,
        cluster_domain=settings.cluster_domain,
    )


def _worker_role(
    owner: Owner, spec: TrainingJobSpec, catalog: Catalog, shape: GangShape, facts: GangFacts
) -> Role:
    entry = catalog[spec.accelerator.type]
    chips = bool(shape.resource and shape.chips_per_worker)
    by_claim = spec.accelerator.resource_claim is not None
    return Role(
        template=spec.template,
        labels=role_labels(owner, spec, facts.attempt, meta.ROLE_WORKER),
        env=environment.shared_env(facts, spec.framework, tpu=entry.is_tpu),
        subdomain=owner.name,
        node_selector={
            **entry.node_selector(spec.accelerator.topology),
            **spec.accelerator.node_selector,
        },
        tolerations=(shape.resource,) if chips else (),
        limit=(shape.resource, shape.chips_per_worker) if chips and not by_claim else None,
    )


def _reporting(role: Role, spec: TrainingJobSpec, reporting: Reporting, chips: int) -> Role:
    """The workers' role with what reporting adds."""
    return replace(
        role,
        template=progress_render.instrumented(spec, reporting),
        env=[*role.env, *progress_render.progress_env(spec, reporting, chips)],
        leading=progress_render.leading_containers(spec, reporting),
    )


def _helper_settings(spec: TrainingJobSpec, helper: Helper, settings: PodSettings) -> PodSettings:
    """What is said about a helper's pods: one that no nodes were asked for consumes none."""
    asked = brought(helper, spec.scheduling.provisioning)
    return settings if asked or not settings.annotations else replace(settings, annotations={})


def _helper_role(owner: Owner, spec: TrainingJobSpec, facts: GangFacts, helper: Helper) -> Role:
    return Role(
        template=helper.template,
        labels=role_labels(owner, spec, facts.attempt, helper.name),
        env=environment.helper_env(facts, helper.name, helper.replicas),
        subdomain=owner.name,
    )


def role_labels(owner: Owner, spec: TrainingJobSpec, attempt: int, role: str) -> dict[str, str]:
    """Labels of ours that every pod of a role has."""
    queue = {meta.LABEL_QUEUE: spec.queue} if spec.queue else {}
    return {
        meta.APP_NAME: _APP,
        meta.APP_INSTANCE: owner.name,
        meta.APP_COMPONENT: role,
        meta.APP_MANAGED_BY: _MANAGER,
        meta.LABEL_JOB: owner.name,
        meta.LABEL_JOB_UID: owner.uid,
        meta.LABEL_ROLE: role,
        meta.LABEL_ATTEMPT: str(attempt),
        meta.LABEL_REVISION: names.revision_name(owner.name, attempt),
        **queue,
    }
