"""CEL rules of the InferenceService CRD: what admission refuses with no webhook.

As with TrainingJobs (`drumline.api.rules`), rules hang as deep as they can. What CEL can't refuse (the catalogue,
circles, what an engine can do) is in `drumline.api.validation_inference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drumline.api.inference_parallelism import RULE as _PARALLELISM
from drumline.api.meta import ENV_PREFIX
from drumline.api.podtemplate import OPERATOR_FIELDS
from drumline.api.rules import Rule, rule
from drumline.api.rules_backend import OWN_QUEUE

# 63 less the hyphens of a pod's name, an attempt and a group of five digits each, and a worker of four
NAME_AND_ROLE: Final = 45
MAX_SERVICE_NAME: Final = NAME_AND_ROLE - 1
RESERVED_ROLES: Final = ("canary", "peers", "stable")

_BACKOFF: Final = rule(
    "self.initialSeconds <= self.maxSeconds", "initialSeconds is at most maxSeconds", ".initialSeconds"
)
_PLACEMENT: Final = rule(
    "(self.policy == 'Unconstrained') == !has(self.level)",
    "level is required with policy Required or Preferred, and not allowed with Unconstrained",
    ".level",
)
_FOREIGN: Final = rule(
    "!has(self.scheduling) || !has(self.scheduling.backend) || self.scheduling.backend == 'builtin' || "
    "(self.profile != 'edge' && !has(self.scheduling.together) && self.roles.all(r, (!has(r.variants) || "
    "r.variants.size() == 0) && (r.startPolicy == 'Parallel' || !has(r.groupSize) || r.groupSize == 1)))",
    "profile edge, scheduling.together, roles[].variants, and startPolicy LeaderFirst in groups of several pods need "
    "scheduling.backend builtin",
    ".scheduling",
)
_OPERATORS: Final = rule("false", "field is the operator's to set; allowed: absent")


def inference_rules() -> Mapping[str, list[Rule]]:
    """Every rule by the path of the schema that it hangs at; ``[]`` is a list's item."""
    by_path: dict[str, list[Rule]] = {
        "": [
            rule(
                f"self.spec.roles.all(r, size(self.metadata.name) + size(r.name) <= {NAME_AND_ROLE})",
                f"the service's name and a role's have at most {NAME_AND_ROLE} characters together",
            )
        ],
        "spec": _spec_rules(),
        "spec.roles": _role_list_rules(),
        "spec.roles[]": _role_rules(),
        "spec.roles[].accelerator": _accelerator_rules(),
        "spec.roles[].autoscaling": _autoscaling_rules(),
        "spec.roles[].autoscaling.metrics[]": _metric_rules(),
        "spec.roles[].autoscaling.ratio": [rule("self.min <= self.max", "min is at most max", ".min")],
        "spec.failurePolicy.backoff": [_BACKOFF],
        "spec.scheduling": [rule(*OWN_QUEUE)],
        "spec.scheduling.placement": [_PLACEMENT],
        "spec.rollout": [
            rule(
                "self.maxSurge + self.maxUnavailable > 0",
                "maxSurge and maxUnavailable are not both 0, or no group could ever be replaced",
                ".maxSurge",
            )
        ],
        "spec.speculative": [
            rule(
                "(self.method == 'draftModel') == has(self.draftModel)",
                "draftModel is required with method draftModel, and not allowed with ngram",
                ".draftModel",
            )
        ],
        "spec.managedBy": [rule("self == oldSelf", "field is immutable")],
    }
    for template in ("template", "leaderTemplate"):
        pod = f"spec.roles[].{template}.spec"
        for name in OPERATOR_FIELDS:
            by_path[f"{pod}.{name}"] = [_OPERATORS]
        for kind in ("containers", "initContainers"):
            by_path[f"{pod}.{kind}[]"] = [_environment_rule()]
    return by_path


def _spec_rules() -> list[Rule]:
    return [
        rule(
            "self.engine == 'custom' || has(self.model)", "model is required but for engine custom", ".model"
        ),
        rule(
            "!has(self.routing.role) || self.roles.exists(r, r.name == self.routing.role)",
            "routing.role names a role",
            ".routing.role",
        ),
        rule(
            "self.profile != 'edge' || self.roles.all(r, !has(r.groupSize) || r.groupSize == 1)",
            "groupSize is 1 or absent in every role of profile edge",
            ".profile",
        ),
        _FOREIGN,
        rule(
            "!has(self.kvTransfer) || self.roles.size() > 1",
            "kvTransfer is between two roles",
            ".kvTransfer",
        ),
    ]


def _role_list_rules() -> list[Rule]:
    reserved = list(RESERVED_ROLES)
    return [
        rule(f"self.all(r, !(r.name in {reserved}))", f"role names {', '.join(RESERVED_ROLES)} are taken"),
        rule(
            "self.all(r, !has(r.startAfter) || r.startAfter.all(n, n != r.name && self.exists(o, o.name == n)))",
            "startAfter names other roles",
        ),
        rule(
            "self.all(r, !has(r.autoscaling) || !has(r.autoscaling.ratio) || "
            "(r.autoscaling.ratio.role != r.name && self.exists(o, o.name == r.autoscaling.ratio.role)))",
            "autoscaling.ratio.role names another role",
        ),
    ]


def _role_rules() -> list[Rule]:
    return [
        rule(
            "!has(self.autoscaling) || self.replicas <= self.autoscaling.maxReplicas",
            "replicas is at most autoscaling.maxReplicas",
            ".replicas",
        ),
        rule(*_PARALLELISM),
    ]


def _accelerator_rules() -> list[Rule]:
    return [
        rule(
            "self.type.startsWith('tpu') == has(self.topology)",
            "accelerator.topology is required on TPU, for example 2x4, and for TPU types only",
            ".topology",
        ),
        rule(
            "self.type != 'cpu' || !has(self.chipsPerWorker) || self.chipsPerWorker == 0",
            "accelerator.chipsPerWorker is 0 or absent on cpu",
            ".chipsPerWorker",
        ),
    ]


def _autoscaling_rules() -> list[Rule]:
    return [
        rule("self.minReplicas <= self.maxReplicas", "minReplicas is at most maxReplicas", ".minReplicas"),
        rule(
            "self.mode != 'Builtin' || (self.minReplicas == 0) == has(self.scaleToZero)",
            "minReplicas 0 needs scaleToZero, and scaleToZero needs minReplicas 0",
            ".minReplicas",
        ),
        rule(
            "self.mode == 'Builtin' || (!has(self.metrics) && !has(self.ratio) && !has(self.scaleToZero))",
            "metrics, ratio and scaleToZero are for mode Builtin",
            ".mode",
        ),
    ]


def _metric_rules() -> list[Rule]:
    latency = "(self.name == 'ttft' || self.name == 'tpot')"
    return [
        rule(
            f"{latency} == has(self.targetSeconds)",
            "targetSeconds is required for ttft and tpot, and only for them",
            ".targetSeconds",
        ),
        rule(
            f"{latency} != has(self.target)",
            "target is required but for ttft and tpot, which have targetSeconds",
            ".target",
        ),
        rule(f"{latency} || !has(self.quantile)", "quantile is for ttft and tpot", ".quantile"),
    ]


def _environment_rule() -> Rule:
    return rule(
        f"!has(self.env) || self.env.all(e, !e.name.startsWith('{ENV_PREFIX}'))",
        f"environment names that begin with {ENV_PREFIX} are reserved",
        ".env",
    )
