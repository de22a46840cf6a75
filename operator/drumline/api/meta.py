"""Names that outside readers see: API group, label and annotation keys, kinds.

Every key of ours has the prefix ``drumline.dev/``; the recommended ``app.kubernetes.io/*`` labels stand
beside them.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "drumline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "drumline"
MANAGED_BY: Final = "drumline.dev/operator"

TRAINING_JOB: Final = "TrainingJob"
TRAINING_JOBS: Final = "trainingjobs"
INFERENCE_SERVICE: Final = "InferenceService"
INFERENCE_SERVICES: Final = "inferenceservices"
INFERENCE_ROLE: Final = "InferenceRole"
INFERENCE_ROLES: Final = "inferenceroles"
ACCELERATOR_QUEUE: Final = "AcceleratorQueue"
ACCELERATOR_QUEUES: Final = "acceleratorqueues"

LABEL_JOB: Final = "drumline.dev/job"
LABEL_SERVICE: Final = "drumline.dev/service"
LABEL_SERVICE_UID: Final = "drumline.dev/service-uid"
LABEL_GROUP: Final = "drumline.dev/group"
LABEL_JOB_UID: Final = "drumline.dev/job-uid"
LABEL_QUEUE: Final = "drumline.dev/queue"
LABEL_ROLE: Final = "drumline.dev/role"
LABEL_ATTEMPT: Final = "drumline.dev/attempt"
LABEL_SLICE: Final = "drumline.dev/slice"
LABEL_WORKER: Final = "drumline.dev/worker"
LABEL_RANK: Final = "drumline.dev/rank"
LABEL_REVISION: Final = "drumline.dev/revision"

ROLE_WORKER: Final = "worker"
ROLE_SPARE: Final = "spare"

ANNOTATION_DIGEST: Final = "drumline.dev/digest"  # of what was last applied to a generated object
ANNOTATION_SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
ANNOTATION_DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"

ANNOTATION_QUOTA: Final = "drumline.dev/quota"  # of a pod: queue, type and chips that it counts for

TAINT_BAD_NODE: Final = "drumline.dev/bad-node"
ANNOTATION_BAD_NODE_UNTIL: Final = "drumline.dev/bad-node-until"

ANNOTATION_WATTS: Final = "drumline.dev/accelerator-watts"  # of a node: what each of its accelerators draws
ANNOTATION_PROMOTE: Final = "drumline.dev/promote"  # names a revision that needs no (more) canary

APP_NAME: Final = "app.kubernetes.io/name"
APP_INSTANCE: Final = "app.kubernetes.io/instance"
APP_COMPONENT: Final = "app.kubernetes.io/component"
APP_MANAGED_BY: Final = "app.kubernetes.io/managed-by"

IN_SERVICE: Final = "drumline.dev/in-service"  # readiness gate of an InferenceService's leaders

ENV_PREFIX: Final = "DRUMLINE_"
WORKER_PRIORITY_CLASS: Final = "drumline-worker"
