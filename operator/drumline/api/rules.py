"""CEL rules of the TrainingJob CRD: what admission refuses with no webhook.

Rules hang at a path of the schema. Mutability rules hang at `spec`, where they see both versions: a rule
at a field would not run when the field comes or goes. What CEL can't refuse is in `validation` alone: the
catalogue (a cluster may override it), circles among helpers, and, as the API server hides them from CEL,
fields of a pod spec that the schema does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drumline.api.environment import BY_FRAMEWORK, TPU
from drumline.api.meta import ENV_PREFIX
from drumline.api.names import LAST_ATTEMPT, MAX_LABEL
from drumline.api.podtemplate import MUTABLE_METADATA, MUTABLE_SPEC, OPERATOR_FIELDS, POD_SPEC_FIELDS
from drumline.api.validation import MAX_PODS

Rule = dict[str, Any]  # one of x-kubernetes-validations

_ATTEMPT: Final = len(str(LAST_ATTEMPT)) + 3  # with the three hyphens of a pod's name
FROZEN: Final = (  # always there: required, or with a static default
    "accelerator",
    "failurePolicy",
    "framework",
    "managedBy",
    "progress",
    "scheduling",
    "slices",
    "successPolicy",
)
FROZEN_OPTIONAL: Final = ("checkpoint", "helpers", "model", "processesPerWorker", "workersPerSlice")
FROZEN_WHILE_ACTIVE: Final = ("priorityClassName", "queue")

_SUSPENDED: Final = "self.suspend || oldSelf.suspend"
# Every status write evaluates every rule: while no suspension is about, the whole template is compared once.
_ACTIVE: Final = f"!({_SUSPENDED})"
_IMMUTABLE: Final = "field is immutable"
_IMMUTABLE_ACTIVE: Final = "field is immutable unless the job is suspended"


def rule(expression: str, message: str, field: str = "") -> Rule:
    """One CEL rule. `field` names what is at fault."""
    made: Rule = {"rule": expression, "message": message}
    if field:
        made |= {"fieldPath": field, "reason": "FieldValueInvalid"}
    return made


def same(path: str) -> str:
    """CEL: an optional field is absent from both versions, or equal."""
    return f"(has(self.{path}) ? has(oldSelf.{path}) && self.{path} == oldSelf.{path} : !has(oldSelf.{path}))"


def root_rules() -> list[Rule]:
    """Rules that need the name."""
    worker = (
        f"size(self.metadata.name) + {_ATTEMPT} + size(string(self.spec.slices - 1))"
        " + (has(self.spec.workersPerSlice) ? size(string(self.spec.workersPerSlice - 1)) : 1)"
    )
    helper = f"size(self.metadata.name) + {_ATTEMPT} + size(h.name) + size(string(h.replicas - 1))"
    return [
        rule(
            f"{worker} <= {MAX_LABEL}",
            "metadata.name is too long: pod names <name>-<attempt>-<slice>-<worker> have at most 63 characters",
        ),
        rule(
            f"!has(self.spec.helpers) || self.spec.helpers.all(h, {helper} <= {MAX_LABEL})",
            "metadata.name and a helper's name are too long: pod names <name>-<attempt>-<helper>-<index> have at "
            "most 63 characters",
        ),
    ]


def spec_rules() -> list[Rule]:
    """Rules of `spec`: sense first, then mutability."""
    return [*_accelerator_rules(), *_size_rules(), *_environment_rules(), *_mutability_rules()]


def _accelerator_rules() -> list[Rule]:
    return [
        rule(
            "!self.accelerator.type.startsWith('tpu') || has(self.accelerator.topology)",
            "accelerator.topology is required on TPU, for example 4x4x4",
            ".accelerator.topology",
        ),
        rule(
            "self.accelerator.type.startsWith('tpu') || !has(self.accelerator.topology)",
            "accelerator.topology is for TPU types only",
            ".accelerator.topology",
        ),
        rule(
            "self.accelerator.type != 'cpu' || !has(self.accelerator.chipsPerWorker)"
            " || self.accelerator.chipsPerWorker == 0",
            "accelerator.chipsPerWorker is 0 or absent on cpu",
            ".accelerator.chipsPerWorker",
        ),
    ]


def _size_rules() -> list[Rule]:
    return [
        rule(
            f"self.slices * (has(self.workersPerSlice) ? self.workersPerSlice : 1) <= {MAX_PODS}",
            f"slices x workersPerSlice is at most {MAX_PODS}",
            ".slices",
        )
    ]


def _environment_rules() -> list[Rule]:
    cases = [
        (f"self.framework != '{framework}'", names) for framework, names in BY_FRAMEWORK.items() if names
    ]
    cases.append(("!self.accelerator.type.startsWith('tpu')", TPU))
    return [
        rule(
            f"{unless} || {_no_env(kind, names)}",
            f"reserved environment names: {', '.join(names)}",
            f".template.spec.{kind}",
        )
        for unless, names in cases
        for kind in ("containers", "initContainers")
    ]


def _no_env(kind: str, names: tuple[str, ...]) -> str:
    containers = f"self.template.spec.{kind}"
    listed = ", ".join(f"'{name}'" for name in names)
    return f"!has({containers}) || {containers}.all(c, !has(c.env) || c.env.all(e, !(e.name in [{listed}])))"


def _mutability_rules() -> list[Rule]:
    frozen = [rule(f"self.{name} == oldSelf.{name}", _IMMUTABLE, f".{name}") for name in FROZEN]
    optional = [rule(same(name), _IMMUTABLE, f".{name}") for name in FROZEN_OPTIONAL]
    active = [
        rule(f"{_SUSPENDED} || {same(name)}", _IMMUTABLE_ACTIVE, f".{name}") for name in FROZEN_WHILE_ACTIVE
    ]
    mutable = ", ".join((*MUTABLE_METADATA, *MUTABLE_SPEC))
    template = rule(
        f"{_SUSPENDED} || self.template == oldSelf.template",
        f"field is immutable; while the job is suspended its {mutable} may change",
        ".template",
    )
    parts = [
        rule(
            f"{_ACTIVE} || {same(f'template.spec.{name}')}",
            f"{_IMMUTABLE}, suspended or not",
            f".template.spec.{name}",
        )
        for name in POD_SPEC_FIELDS
        if name not in MUTABLE_SPEC and name != "containers"
    ]
    containers = rule(
        f"{_ACTIVE} || self.template.spec.containers == oldSelf.template.spec.containers",
        f"{_IMMUTABLE}, suspended or not",
        ".template.spec.containers",
    )
    return [*frozen, *optional, *active, template, containers, *parts]


def pod_spec_rules() -> list[Rule]:
    """Rules of a template's pod spec."""
    return [
        rule(f"!has(self.{name})", "field is the operator's to set; allowed: absent", f".{name}")
        for name in OPERATOR_FIELDS
    ]


def container_rules() -> list[Rule]:
    """Rules of a container."""
    return [
        rule(
            f"!has(self.env) || self.env.all(e, !e.name.startsWith('{ENV_PREFIX}'))",
            f"environment names that begin with {ENV_PREFIX} are reserved",
            ".env",
        )
    ]


def helper_rules() -> list[Rule]:
    """Rules of `spec.helpers`, the list."""
    return [
        rule("self.all(h, !(h.name in ['worker', 'workers']))", "names worker and workers are taken"),
        rule(
            "self.all(h, !has(h.dependsOn) || h.dependsOn.all(d, d.name != h.name"
            " && (d.name == 'workers' || self.exists(g, g.name == d.name))))",
            "dependsOn names other helpers, or workers",
        ),
    ]


def failure_policy_rules() -> list[Rule]:
    """Rules of `spec.failurePolicy.backoff`."""
    return [
        rule(
            "self.initialSeconds <= self.maxSeconds",
            "initialSeconds is at most maxSeconds",
            ".initialSeconds",
        )
    ]


def placement_rules() -> list[Rule]:
    """Rules of `spec.scheduling.placement`."""
    return [
        rule(
            "(self.policy == 'Unconstrained') == !has(self.level)",
            "level is required with policy Required or Preferred, and not allowed with Unconstrained",
            ".level",
        )
    ]


def rules() -> Mapping[str, list[Rule]]:
    """Every rule by the path of the schema that it hangs at; ``[]`` is a list's item."""
    by_path = {
        "": root_rules(),
        "spec": spec_rules(),
        "spec.failurePolicy.backoff": failure_policy_rules(),
        "spec.scheduling.placement": placement_rules(),
        "spec.helpers": helper_rules(),
    }
    for pod in ("spec.template.spec", "spec.helpers[].template.spec"):
        by_path[pod] = pod_spec_rules()
        for kind in ("containers", "initContainers"):
            by_path[f"{pod}.{kind}[]"] = container_rules()
    return by_path
