"""The kinds that have a CRD: models, columns, rules, and what else a CustomResourceDefinition says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api import meta
from drumline.api.base import ApiModel
from drumline.api.inference import InferenceRoleScaleSpec, InferenceRoleStatus, InferenceServiceSpec
from drumline.api.inference_status import InferenceServiceStatus
from drumline.api.queue import AcceleratorQueueSpec, AcceleratorQueueStatus
from drumline.api.rules import Rule, rules
from drumline.api.rules_inference import MAX_SERVICE_NAME, inference_rules
from drumline.api.rules_queue import queue_rules
from drumline.api.status import TrainingJobStatus
from drumline.api.training import DNS_1035, DNS_1123, TrainingJobSpec

Column = tuple[str, str, str, str, int]  # name, type, JSON path, description, priority

MAX_JOB_NAME: Final = 53  # 63 less the attempt, one digit of slice and of worker, and their hyphens


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the API. `scale` are the scale subresource's paths: spec, status, selector."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    max_name: int
    columns: tuple[Column, ...]
    rules: Callable[[], Mapping[str, list[Rule]]]
    scale: tuple[str, str, str] | None = None
    scope: str = "Namespaced"  # or Cluster
    name: str = DNS_1035  # pattern

    @property
    def file(self) -> str:
        """Of its CRD, relative to the repository."""
        return f"crds/{meta.GROUP}_{self.plural}.yaml"


_AGE: Final[Column] = ("Age", "date", ".metadata.creationTimestamp", "Time since creation.", 0)

TRAINING_JOB: Final = Kind(
    kind=meta.TRAINING_JOB,
    plural=meta.TRAINING_JOBS,
    short_names=("tj",),
    description="TrainingJob is one distributed training run: a gang of accelerator pods that starts, "
    "runs, restarts and ends as one.",
    spec=TrainingJobSpec,
    status=TrainingJobStatus,
    max_name=MAX_JOB_NAME,
    columns=(
        ("Phase", "string", ".status.phase", "Summary of the conditions.", 0),
        ("Ready", "integer", ".status.workers.ready", "Ready worker pods.", 0),
        ("Desired", "integer", ".status.workers.desired", "Worker pods of the gang.", 0),
        ("Restarts", "integer", ".status.restartCount", "Restarts of the gang.", 0),
        ("Attempt", "integer", ".status.attempt", "Current generation of pods.", 0),
        ("Accelerator", "string", ".spec.accelerator.type", "What each worker computes on.", 1),
        ("Topology", "string", ".spec.accelerator.topology", "Shape of a TPU slice.", 1),
        ("Slices", "integer", ".spec.slices", "Slices of the gang.", 1),
        ("Queue", "string", ".spec.queue", "Queue the job waits in.", 1),
        _AGE,
    ),
    rules=rules,
    scale=(".spec.slices", ".status.slices", ".status.selector"),
)

INFERENCE_SERVICE: Final = Kind(
    kind=meta.INFERENCE_SERVICE,
    plural=meta.INFERENCE_SERVICES,
    short_names=("infsvc",),
    description="InferenceService serves a model with roles of pod groups on accelerators.",
    spec=InferenceServiceSpec,
    status=InferenceServiceStatus,
    max_name=MAX_SERVICE_NAME,
    columns=(
        ("Phase", "string", ".status.phase", "Summary of the conditions.", 0),
        ("Ready", "integer", ".status.readyReplicas", "Groups in service.", 0),
        ("Groups", "integer", ".status.replicas", "Groups that exist.", 0),
        ("Rollout", "string", ".status.rollout.phase", "Where a rollout stands.", 0),
        ("URL", "string", ".status.url", "Where requests go within the cluster.", 0),
        ("Engine", "string", ".spec.engine", "Which server runs.", 1),
        ("Model", "string", ".spec.model.name", "What is served.", 1),
        _AGE,
    ),
    rules=inference_rules,
)

INFERENCE_ROLE: Final = Kind(
    kind=meta.INFERENCE_ROLE,
    plural=meta.INFERENCE_ROLES,
    short_names=("infrole",),
    description="InferenceRole is the scale of one role of an InferenceService. The operator makes it; only its "
    "replicas are for others to set, where the role's autoscaling is External.",
    spec=InferenceRoleScaleSpec,
    status=InferenceRoleStatus,
    max_name=63,
    columns=(
        ("Service", "string", ".spec.service", "InferenceService it belongs to.", 0),
        ("Role", "string", ".spec.role", "Its role.", 0),
        ("Desired", "integer", ".spec.replicas", "Groups it should have.", 0),
        ("Groups", "integer", ".status.replicas", "Groups that exist.", 0),
        ("Ready", "integer", ".status.readyReplicas", "Groups in service.", 0),
        _AGE,
    ),
    rules=dict,
    scale=(".spec.replicas", ".status.replicas", ".status.selector"),
)

ACCELERATOR_QUEUE: Final = Kind(
    kind=meta.ACCELERATOR_QUEUE,
    plural=meta.ACCELERATOR_QUEUES,
    short_names=("aq",),
    description="AcceleratorQueue says who may use how many accelerators, and in which order gangs get them.",
    spec=AcceleratorQueueSpec,
    status=AcceleratorQueueStatus,
    max_name=63,
    columns=(
        ("Cohort", "string", ".spec.cohort", "Queues that lend each other.", 0),
        ("Pending", "integer", ".status.pending", "Gangs that wait.", 0),
        ("Admitted", "integer", ".status.admitted", "Gangs that hold accelerators.", 0),
        ("Share", "string", ".status.share", "Weighted dominant share of what the cohort lends.", 0),
        ("Active", "string", '.status.conditions[?(@.type=="Active")].status', "Whether it can be used.", 0),
        ("Strategy", "string", ".spec.queueingStrategy", "What a gang that does not fit does to others.", 1),
        ("Weight", "number", ".spec.fairSharing.weight", "Against others of the cohort.", 1),
        ("Default", "boolean", ".spec.default", "For jobs that name none.", 1),
        _AGE,
    ),
    rules=queue_rules,
    scope="Cluster",
    name=DNS_1123,
)

KINDS: Final = (TRAINING_JOB, INFERENCE_SERVICE, INFERENCE_ROLE, ACCELERATOR_QUEUE)


def subresources(kind: Kind) -> dict[str, Any]:
    """What the CRD says of `status` and `scale`."""
    if kind.scale is None:
        return {"status": {}}
    spec, status, selector = kind.scale
    paths = {"specReplicasPath": spec, "statusReplicasPath": status, "labelSelectorPath": selector}
    return {"status": {}, "scale": paths}
