"""CEL rules of the TrainingJob CRD: what admission refuses with no webhook.

Rules hang at a path of the schema. What CEL can't refuse is in `validation` alone: the catalogue (a cluster
may override it), circles among helpers, and, as the API server hides them from CEL, fields of a pod spec that
the schema does not name.

Cost. The API server evaluates every rule at every write, a status write included. A rule as such costs it
next to nothing; each look at a field costs in proportion to the number of fields that the schema names beside
it (it copies their schemas), so about 20 µs at `spec` and 60 µs at a pod spec. Hence a rule hangs as deep as it
can, where `self` is the value itself. At `spec` hang those that need several of its fields, or both versions of
a field that may come or go (a rule at the field would not run then), and what is nearly always true is asked
first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drumline.api.elastic import RULES as ELASTIC
from drumline.api.environment import BY_FRAMEWORK, SWITCHES, TPU
from drumline.api.meta import ENV_PREFIX, ROLE_SPARE
from drumline.api.names import LAST_ATTEMPT, MAX_LABEL
from drumline.api.parallelism import RULES as PARALLELISM
from drumline.api.podtemplate import MUTABLE_METADATA, MUTABLE_SPEC, OPERATOR_FIELDS, POD_SPEC_FIELDS
from drumline.api.provisioning import RULES as PROVISIONING
from drumline.api.rules_backend import FOREIGN, OWN_QUEUE
from drumline.api.rules_elastic import BOUNDS, MOST, NO_SPARES, RESIZE
from drumline.api.rules_failure import BUDGET, FAILURE_RULE, NODE_CONDITION
from drumline.api.rules_progress import MODEL, PROGRESS
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
    "spares",
    "successPolicy",
)
FROZEN_OPTIONAL: Final = (
    "checkpoint",
    "elastic",
    "helpers",
    "model",
    "parallelism",
    "processesPerWorker",
    "workersPerSlice",
)
FROZEN_WHILE_ACTIVE: Final = ("priorityClassName", "queue")
FIXED_OF_POD: Final = tuple(n for n in POD_SPEC_FIELDS if n not in (*MUTABLE_SPEC, *OPERATOR_FIELDS))

_SUSPENDED: Final = "self.suspend || oldSelf.suspend"
_IMMUTABLE: Final = "field is immutable"
_IMMUTABLE_ACTIVE: Final = "field is immutable unless the job is suspended"
_IMMUTABLE_EVER: Final = "field is immutable, suspended or not"
_LONGEST_NUMBER: Final = len(str(MAX_PODS - 1))  # of a slice or a worker


def rule(expression: str, message: str, field: str = "", says: str = "") -> Rule:
    """One CEL rule. `field` names what is at fault; `says` is an expression that gives a better message."""
    made: Rule = {"rule": expression, "message": message}
    if field:
        made |= {"fieldPath": field, "reason": "FieldValueInvalid"}
    if says:
        made["messageExpression"] = says
    return made


def same(path: str) -> str:
    """CEL: an optional field is absent from both versions, or equal."""
    return f"(has(self.{path}) ? has(oldSelf.{path}) && self.{path} == oldSelf.{path} : !has(oldSelf.{path}))"


def stays(path: str) -> str:
    """CEL: an optional field is in both versions, or in neither. A rule at the field compares its values."""
    return f"has(self.{path}) == has(oldSelf.{path})"


def root_rules() -> list[Rule]:
    """Rules that need the name. A short one fits whatever else is in the pods' names."""
    size = "size(self.metadata.name)"
    most = MOST.replace("self.", "self.spec.")
    worker = (
        f"{size} + {_ATTEMPT} + size(string({most} - 1))"
        " + (has(self.spec.workersPerSlice) ? size(string(self.spec.workersPerSlice - 1)) : 1)"
    )
    helper = f"{size} + {_ATTEMPT} + size(h.name) + size(string(h.replicas - 1))"
    spare = f"{size} + {_ATTEMPT + len(ROLE_SPARE)} + size(string(self.spec.spares - 1))"
    return [
        rule(
            f"{size} <= {MAX_LABEL - _ATTEMPT - 2 * _LONGEST_NUMBER} || {worker} <= {MAX_LABEL}",
            "metadata.name is too long: pod names <name>-<attempt>-<slice>-<worker> have at most 63 characters",
        ),
        rule(
            f"!has(self.spec.helpers) || self.spec.helpers.all(h, {helper} <= {MAX_LABEL})",
            "metadata.name and a helper's name are too long: pod names <name>-<attempt>-<helper>-<index> have at "
            "most 63 characters",
        ),
        rule(
            f"self.spec.spares == 0 || {spare} <= {MAX_LABEL}",
            "metadata.name is too long: pod names <name>-<attempt>-spare-<index> have at most 63 characters",
        ),
    ]


def spec_rules() -> list[Rule]:
    """Rules that need several fields of `spec`: sense first, then mutability."""
    return [*_size_rules(), *_environment_rules(), *_mutability_rules()]


def accelerator_rules() -> list[Rule]:
    """Rules of `spec.accelerator`, which is immutable as a whole, and of each of its candidates."""
    return [
        rule(
            "!self.type.startsWith('tpu') || has(self.topology)",
            "accelerator.topology is required on TPU, for example 4x4x4",
            ".topology",
        ),
        rule(
            "self.type.startsWith('tpu') || !has(self.topology)",
            "accelerator.topology is for TPU types only",
            ".topology",
        ),
        rule(
            "self.type != 'cpu' || !has(self.chipsPerWorker) || self.chipsPerWorker == 0",
            "accelerator.chipsPerWorker is 0 or absent on cpu",
            ".chipsPerWorker",
        ),
    ]


def candidates_rules() -> list[Rule]:
    """Rules of `spec.accelerator` as a list to choose from."""
    return [
        rule(
            "!has(self.candidates) || !has(self.resourceClaim)",
            "accelerator.candidates and accelerator.resourceClaim exclude each other: a claim asks for devices of one "
            "type",
            ".candidates",
        ),
        rule(
            "!has(self.fallbackSeconds) || has(self.candidates)",
            "accelerator.fallbackSeconds needs accelerator.candidates",
            ".fallbackSeconds",
        ),
    ]


def _size_rules() -> list[Rule]:
    return [
        rule(
            f"!has(self.workersPerSlice) || {MOST} * self.workersPerSlice <= {MAX_PODS}",
            f"slices x workersPerSlice is at most {MAX_PODS}",
            ".slices",
        ),
        rule(*BOUNDS),
        rule(*NO_SPARES),
        rule(*FOREIGN),
        *(rule(*parts) for parts in PARALLELISM),
    ]


def _environment_rules() -> list[Rule]:
    """One rule for each list of containers; what is reserved is looked up only for containers with variables."""
    cases = [(f"self.framework == '{f}'", names) for f, names in BY_FRAMEWORK.items() if names]
    cases.append(("self.accelerator.type.startsWith('tpu')", TPU))
    reserved = " || ".join(f"{case} && e.name in {list(names)}" for case, names in cases)
    texts = " + ".join(f"({case} ? ' {', '.join(names)}' : '')" for case, names in cases)
    rules = []
    for kind, absent in (
        ("containers", ""),
        ("initContainers", "!has(self.template.spec.initContainers) || "),
    ):
        containers = f"self.template.spec.{kind}"
        rules.append(
            rule(
                f"{absent}{containers}.all(c, !has(c.env) || !c.env.exists(e, {reserved}))",
                "an environment name is reserved",
                f".template.spec.{kind}",
                f"'reserved environment names:' + {texts}",
            )
        )
    return rules


def _mutability_rules() -> list[Rule]:
    optional = [rule(stays(name), _IMMUTABLE, f".{name}") for name in FROZEN_OPTIONAL]
    active = [
        rule(f"{same(name)} || {_SUSPENDED}", _IMMUTABLE_ACTIVE, f".{name}") for name in FROZEN_WHILE_ACTIVE
    ]
    return [rule(*RESIZE), *optional, *active, _template_rule()]


def _template_rule() -> Rule:
    """Status writes find the template as it was; of a changed one, no field that is fixed may come or go."""
    stay = {n: stays(f"template.spec.{n}") for n in FIXED_OF_POD if n != "containers"}
    mutable = ", ".join((*MUTABLE_METADATA, *MUTABLE_SPEC))
    message = f"field is immutable; while the job is suspended its {mutable} may change"
    moved = " + ".join(f"({held} ? '' : ' spec.template.spec.{name}')" for name, held in stay.items())
    return rule(
        f"self.template == oldSelf.template || ({_SUSPENDED}) && {' && '.join(stay.values())}",
        message,
        ".template",
        f"{_SUSPENDED} ? '{_IMMUTABLE_EVER}:' + {moved} : '{message}'",
    )


def container_rules() -> list[Rule]:
    """Rules of a container."""
    return [
        rule(
            f"!has(self.env) || self.env.all(e, !e.name.startsWith('{ENV_PREFIX}') || e.name in {list(SWITCHES)})",
            f"environment names that begin with {ENV_PREFIX} are reserved, but for {', '.join(SWITCHES)}",
            ".env",
        )
    ]


def helper_rules() -> list[Rule]:
    """Rules of `spec.helpers`, the list."""
    return [
        rule(
            "self.all(h, !(h.name in ['spare', 'worker', 'workers']))",
            "names spare, worker and workers are taken",
        ),
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
        "spec.failurePolicy.rules[]": [rule(*parts) for parts in FAILURE_RULE],
        "spec.failurePolicy.rules[].onNodeCondition": [rule(*parts) for parts in NODE_CONDITION],
        "spec.failurePolicy.budgets[]": [rule(*parts) for parts in BUDGET],
        "spec.scheduling.placement": placement_rules(),
        "spec.helpers": helper_rules(),
        "spec.model": [rule(*parts) for parts in MODEL],
        **{f"spec.{name}": [rule("self == oldSelf", _IMMUTABLE)] for name in FROZEN},
        **{f"spec.template.spec.{n}": [rule("self == oldSelf", _IMMUTABLE_EVER)] for n in FIXED_OF_POD},
    }
    for name in FROZEN_OPTIONAL:
        by_path.setdefault(f"spec.{name}", []).append(rule("self == oldSelf", _IMMUTABLE))
    by_path["spec.elastic"] += [rule(*parts) for parts in ELASTIC]
    by_path["spec.scheduling"] += [rule(*parts) for parts in (*PROVISIONING, OWN_QUEUE)]
    by_path["spec.accelerator"] += [*accelerator_rules(), *candidates_rules()]
    by_path["spec.accelerator.candidates[]"] = accelerator_rules()
    by_path["spec.progress"] += [rule(*parts) for parts in PROGRESS]
    for pod in ("spec.template.spec", "spec.helpers[].template.spec"):
        for name in OPERATOR_FIELDS:
            by_path[f"{pod}.{name}"] = [rule("false", "field is the operator's to set; allowed: absent")]
        for kind in ("containers", "initContainers"):
            by_path[f"{pod}.{kind}[]"] = container_rules()
    return by_path
