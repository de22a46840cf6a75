"""Specs of AcceleratorQueues: a full one, and what is wrong with others."""

from __future__ import annotations

import copy
from typing import Any

Raw = dict[str, Any]


def full() -> Raw:
    """Every field."""
    return copy.deepcopy(
        {
            "default": True,
            "cohort": "all",
            "fairSharing": {"weight": 2.5},
            "queueingStrategy": "StrictFIFO",
            "quotas": [
                {
                    "accelerator": "nvidia-h100-80gb",
                    "nominalQuota": 512,
                    "borrowingLimit": 256,
                    "lendingLimit": 128,
                },
                {"accelerator": "tpu-v5p", "nominalQuota": 0},
            ],
            "preemption": {
                "withinQueue": "LowerPriority",
                "reclaimWithinCohort": "Any",
                "minRunSeconds": 60,
            },
            "maxRunSeconds": 604800,
            "namespaceSelector": {
                "matchLabels": {"team": "research"},
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
                    {"key": "team", "operator": "Exists"},
                ],
            },
        }
    )


def _quota(**fields: Any) -> list[Raw]:
    return [{"accelerator": "nvidia-h100-80gb", "nominalQuota": 8, **fields}]


def _term(**fields: Any) -> Raw:
    return {"matchExpressions": [{"key": "team", **fields}]}


# what differs from an empty spec, and the field at fault
MALFORMED: list[tuple[Raw, str]] = [
    ({"quotas": _quota() * 2}, "spec.quotas[1].accelerator"),
    ({"quotas": _quota(borrowingLimit=8)}, "spec.quotas[0].borrowingLimit"),
    ({"quotas": _quota(lendingLimit=8)}, "spec.quotas[0].lendingLimit"),
    ({"cohort": "all", "quotas": _quota(lendingLimit=9)}, "spec.quotas[0].lendingLimit"),
    ({"quotas": _quota(nominalQuota=-1)}, "spec.quotas[0].nominalQuota"),
    ({"quotas": [{"accelerator": "H100", "nominalQuota": 1}]}, "spec.quotas[0].accelerator"),
    ({"quotas": [{"accelerator": "nvidia-h100-80gb"}]}, "spec.quotas[0].nominalQuota"),
    ({"cohort": "All"}, "spec.cohort"),
    ({"fairSharing": {"weight": -1}}, "spec.fairSharing.weight"),
    ({"queueingStrategy": "LIFO"}, "spec.queueingStrategy"),
    ({"preemption": {"withinQueue": "Any"}}, "spec.preemption.withinQueue"),
    ({"preemption": {"reclaimWithinCohort": "Always"}}, "spec.preemption.reclaimWithinCohort"),
    ({"maxRunSeconds": 0}, "spec.maxRunSeconds"),
    ({"namespaceSelector": _term(operator="In")}, "spec.namespaceSelector.matchExpressions[0].values"),
    (
        {"namespaceSelector": _term(operator="Exists", values=["a"])},
        "spec.namespaceSelector.matchExpressions[0].values",
    ),
    (
        {"namespaceSelector": _term(operator="Equals", values=["a"])},
        "spec.namespaceSelector.matchExpressions[0].operator",
    ),
    (
        {"namespaceSelector": {"matchExpressions": [{"key": "bad key!", "operator": "Exists"}]}},
        "spec.namespaceSelector.matchExpressions[0].key",
    ),
    (
        {"namespaceSelector": _term(operator="In", values=["a b"])},
        "spec.namespaceSelector.matchExpressions[0].values[0]",
    ),
    ({"surprise": 1}, "spec.surprise"),
]
