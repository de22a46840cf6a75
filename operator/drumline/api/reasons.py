"""Condition types, condition reasons, failure causes and event reasons, in one place.

A reason is CamelCase, machine readable and stable: people write alerts and scripts on it.
``docs/troubleshooting.md`` has a section for each.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of a TrainingJob."""

    SUSPENDED = "Suspended"
    QUOTA_RESERVED = "QuotaReserved"
    ADMITTED = "Admitted"
    PODS_READY = "PodsReady"
    RESTARTING = "Restarting"
    PROGRESS_REPORTED = "ProgressReported"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ServiceCondition(StrEnum):
    """Condition types of an InferenceService."""

    READY = "Ready"  # every role has all its groups in service
    AVAILABLE = "Available"  # requests are answered: each role has a group in service
    PROGRESSING = "Progressing"  # groups come, go or restart
    SCALING_ACTIVE = "ScalingActive"
    ROLLOUT_COMPLETE = "RolloutComplete"
    ROUTED = "Routed"  # where a Gateway or an InferencePool is asked for: their objects are there


class QueueCondition(StrEnum):
    """Condition types of an AcceleratorQueue."""

    ACTIVE = "Active"


class DrainReason(StrEnum):
    """Why a group of an InferenceService goes (`drainReason`)."""

    SCALED_DOWN = "ScaledDown"
    ROLLOUT = "Rollout"
    ROLLED_BACK = "RolledBack"
    EVACUATED = "Evacuated"  # a node of it is being emptied
    PREEMPTED = "Preempted"  # others go first in their queues
    ROLE_REMOVED = "RoleRemoved"
    SUSPENDED = "SuspendedBySpec"
    FINISHED = "Finished"  # it failed while it was to go, or nobody drained it
    REVISION_LOST = "RevisionLost"  # what it is made from is not to be had any more


class ServicePhase(StrEnum):
    """`status.phase` of an InferenceService: for people only."""

    SUSPENDED = "Suspended"
    PENDING = "Pending"
    SERVING = "Serving"
    DEGRADED = "Degraded"
    FAILED = "Failed"


class Phase(StrEnum):
    """`status.phase`: for people only, derived from the conditions."""

    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Reason(StrEnum):
    """Reasons of conditions and events."""

    # waiting for admission
    QUEUED = "Queued"
    PREFLIGHT = "PreflightPending"
    INSUFFICIENT_ACCELERATORS = "InsufficientAccelerators"
    NO_FEASIBLE_NODE = "NoFeasibleNode"
    TOPOLOGY_UNSATISFIABLE = "TopologyUnsatisfiable"
    HEAD_OF_QUEUE_RESERVED = "HeadOfQueueReserved"
    NAMESPACE_QUOTA = "NamespaceQuotaExceeded"
    QUEUE_QUOTA = "QueueQuotaExceeded"
    QUEUE_NOT_FOUND = "QueueNotFound"
    QUEUE_INVALID = "QueueInvalid"
    NAMESPACES_UNKNOWN = "NamespacesUnknown"
    QUEUE_NOT_ALLOWED = "QueueNotAllowed"
    QUEUE_AMBIGUOUS = "QueueAmbiguous"
    POWER_BUDGET = "PowerBudgetExceeded"
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    BACKEND_FIELD_DROPPED = "BackendFieldDropped"
    BACKOFF = "BackoffPending"
    FALLBACK = "AcceleratorFallback"
    NODES_REQUESTED = "NodesRequested"
    NODES_PROVISIONED = "NodesProvisioned"
    PROVISIONING_FAILED = "ProvisioningFailed"
    PROVISIONING_UNAVAILABLE = "ProvisioningUnavailable"
    # admitted and starting
    PLACED = "Placed"
    PODS_CREATED = "PodsCreated"
    PODS_STARTING = "PodsStarting"
    ALL_PODS_READY = "AllPodsReady"
    PODS_NOT_READY = "PodsNotReady"
    HELPER_PENDING = "HelperPending"
    GANG_TIMEOUT = "GangTimeout"
    # running
    RESTARTING = "GangRestarting"
    RESTARTING_IN_PLACE = "RestartingInPlace"
    REQUEUED = "Requeued"
    PREEMPTED = "Preempted"
    PREEMPTION_WITHDRAWN = "PreemptionWithdrawn"
    RESIZE_PENDING = "ResizePending"
    RESIZED = "Resized"
    FAILURE_IGNORED = "FailureIgnored"
    FORCE_DELETED = "PodForceDeleted"
    BAD_NODE = "BadNode"  # on nodes
    BAD_NODE_EXPIRED = "BadNodeExpired"
    RECOVERED = "Recovered"
    SPARE_PROMOTED = "SparePromoted"
    SPARE_LOST = "SpareLost"
    SPARE_REFUSED = "SparePodRefused"
    HANG_DETECTED = "HangDetected"
    HANG_OVER = "HangOver"
    CHECKPOINT_REQUESTED = "CheckpointRequested"
    NODE_DEPARTING = "NodeDeparting"
    NODE_STAYS = "NodeStays"
    SUSPENDED = "SuspendedBySpec"
    RESUMED = "Resumed"
    # what is known of steps
    NO_REPORTS = "NoReports"
    LAUNCHER_NOT_APPLIED = "LauncherNotApplied"
    LAUNCHER_SILENT = "LauncherSilent"
    NO_PYTHON = "NoPython"
    REPORTS_RECEIVED = "ReportsReceived"
    LOG_FOLLOWED = "LogFollowed"
    SCRAPED = "Scraped"
    # a service changes
    ROLLING_OUT = "RollingOut"
    CANARY = "CanaryUnderway"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLED_OUT = "RolledOut"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    EVACUATING = "Evacuating"
    DRAIN_TIMEOUT = "DrainTimeout"
    ROUTES_APPLIED = "RoutesApplied"
    NO_GATEWAY_API = "GatewayApiMissing"
    # groups in and out of service
    GROUPS_READY = "AllGroupsReady"
    GROUPS_STARTING = "GroupsStarting"
    GROUP_RESTARTING = "GroupRestarting"
    GROUP_IN_SERVICE = "GroupInService"
    NO_GROUP_READY = "NoGroupReady"
    START_AFTER = "WaitingForRole"
    SCALED_TO_ZERO = "ScaledToZero"
    GROUPS_CHANGING = "GroupsChanging"
    GROUPS_SETTLED = "GroupsSettled"
    SCALED_BY_METRICS = "ScaledByMetrics"
    SCALED_EXTERNALLY = "ScaledExternally"
    METRICS_MISSING = "MetricsMissing"
    NOT_SCALED = "NoAutoscaling"
    # ended
    COMPLETE = "Completed"
    MAX_RESTARTS = "MaxRestartsExceeded"
    BUDGET_SPENT = "RestartBudgetExceeded"
    FAILED_BY_RULE = "FailedByRule"
    OUT_OF_MEMORY_AGAIN = "OutOfMemoryRepeated"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    COMMAND_NOT_FOUND = "CommandNotFound"
    CONFIG_MISSING = "ConfigurationMissing"
    DEADLINE = "DeadlineExceeded"
    QUEUE_MAX_RUN = "QueueMaxRunExceeded"
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    TEMPLATE_REFUSED = "TemplateRefused"
    NO_PRIORITY_CLASS = "PriorityClassNotFound"
    POD_FORBIDDEN = "PodForbidden"
    UNSUPPORTED_SCHEDULING = "UnsupportedScheduling"
    CREATE_REFUSED = "CreateRefused"
    INTERNAL_ERROR = "InternalError"
    QUEUE_ACTIVE = "QueueActive"  # on AcceleratorQueues
    UNKNOWN_ACCELERATOR = "UnknownAccelerator"
    INVALID_CATALOG = "InvalidCatalog"  # on the catalogue's ConfigMap


class Cause(StrEnum):
    """Why an attempt ended: one cause per attempt, that of the first failed rank."""

    APPLICATION_EXIT = "ApplicationExit"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_LOST = "NodeLost"
    PREEMPTED = "Preempted"
    EVICTED = "Evicted"
    MAINTENANCE = "Maintenance"
    DEVICE_FAULT = "DeviceFault"
    IMAGE_ERROR = "ImageError"
    CONFIG_ERROR = "ConfigError"
    PLACEMENT_RACE = "PlacementRace"
    GANG_TIMEOUT = "GangTimeout"
    HANG = "Hang"
    UNKNOWN = "Unknown"
