"""Pods of a gang, of whatever kind: a template prepared once, then one small copy per pod.

What all pods of a role share (labels, owner, tolerations, the user's whole template) is worked out once
and is the same object in every manifest. A pod copies only what differs: name, labels, host name,
environment and pin. Manifests therefore share structure and are read-only.

Who wins. The template is the user's: whatever it says stands, but for what makes the gang a gang: name,
host name, subdomain, restart policy, priority class, the labels of our prefix. What we add (node selector,
tolerations, limits, annotations, environment) gives way to a user's own word on the same key.

Pinning. A pod goes to its node by required node affinity on ``metadata.name``. Node selector terms are
alternatives, so the pin is added to every one of them. A term with nothing in it matches no node and has
to go on matching none: it is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from drumline.api.environment import LIST_LIKE
from drumline.api.meta import (
    ANNOTATION_DO_NOT_DISRUPT,
    ANNOTATION_SAFE_TO_EVICT,
    GROUP,
    WORKER_PRIORITY_CLASS,
)
from drumline.core.gang.names import Owner

EnvVar = Mapping[str, Any]  # v1.EnvVar
PodSpec = Mapping[str, Any]  # v1.PodSpec
Pod = dict[str, Any]  # v1.Pod, shared structure: read-only

CONTAINER_LISTS: Final = ("initContainers", "containers")
_ANNOTATIONS: Final = {ANNOTATION_SAFE_TO_EVICT: "false", ANNOTATION_DO_NOT_DISRUPT: "true"}
_NODE_LOST_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the operator's configuration says about pods.

    `node_loss_seconds`: how long a pod stays bound to a node that is not ready or unreachable (Kubernetes'
    own default is 300); None = for ever. `priority_class`: what the pods carry, see `pod_priority_class`. `annotations`
    are those of one gang, which a template does not override.
    """

    node_loss_seconds: int | None = 30
    priority_class: str = WORKER_PRIORITY_CLASS
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """One role of a gang: the template its pods are made from and what is added to each of them.

    `env` are variables that every pod of the role has in the same form. `tolerations` are keys of taints
    to tolerate. `limit` is a resource and how much of it one pod needs, filled in where the template does
    not name the resource. `leading` are init containers of ours, as they are, before the template's.
    `readiness_gates` are pod conditions that must be True for a pod to be ready, beside the template's.
    """

    template: Mapping[str, Any]  # v1.PodTemplateSpec
    labels: Mapping[str, str]
    env: Sequence[EnvVar] = ()
    subdomain: str = ""
    node_selector: Mapping[str, str] | None = None
    tolerations: Sequence[str] = ()
    limit: tuple[str, int] | None = None
    leading: Sequence[Mapping[str, Any]] = ()
    restart_policy: str = "Never"
    readiness_gates: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PreparedContainer:
    """A container up to its environment: ours, then the user's."""

    body: Mapping[str, Any]
    shared: tuple[EnvVar, ...]  # ours that every pod has, and then all of the user's
    taken: frozenset[str]  # names that the user set

    def render(self, env: Sequence[EnvVar]) -> dict[str, Any]:
        """The container with this pod's own variables first."""
        mine = [e for e in env if e["name"] not in self.taken] if self.taken else env
        return {**self.body, "env": [*mine, *self.shared]}


@dataclass(frozen=True, slots=True)
class PreparedPod:
    """Everything that the pods of one role share."""

    metadata: Mapping[str, Any]
    labels: Mapping[str, str]
    spec: PodSpec
    containers: tuple[tuple[str, tuple[PreparedContainer, ...]], ...]  # by field of the pod spec
    leading: Sequence[Mapping[str, Any]] = ()

    def render(
        self, name: str, hostname: str, labels: Mapping[str, str], env: Sequence[EnvVar], node: str | None
    ) -> Pod:
        """One pod. `labels` and `env` are what only this pod has; `node` None leaves it unpinned."""
        spec: dict[str, Any] = {**self.spec, "hostname": hostname}
        for key, containers in self.containers:
            spec[key] = [container.render(env) for container in containers]
        if self.leading:
            spec["initContainers"] = [*self.leading, *(spec.get("initContainers") or ())]
        if node is not None:
            spec["affinity"] = pinned(self.spec.get("affinity"), node)
        metadata = {"name": name, "labels": {**self.labels, **labels}, **self.metadata}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def prepare(owner: Owner, role: Role, settings: PodSettings) -> PreparedPod:
    """Work out once what all pods of `role` share. `role.template` is not changed."""
    metadata = role.template.get("metadata") or {}
    spec = _shared_spec(role, settings)
    containers = tuple(
        (key, tuple(_prepare_container(c, role.env) for c in spec[key]))
        for key in CONTAINER_LISTS
        if spec.get(key)
    )
    own = {key: value for key, value in role.labels.items() if key.startswith(f"{GROUP}/")}
    labels = {**role.labels, **(metadata.get("labels") or {}), **own}
    return PreparedPod(_shared_metadata(owner, metadata, settings), labels, spec, containers, role.leading)


def pod_priority_class(name: str | None, preemption_policy: str | None) -> str:
    """Priority class of a gang's pods for the gang's own priority class `name`.

    A placed pod must never evict anybody: that is the queue's business. So the gang's class is used only
    if it is known (`preemption_policy` not None) and never preempts.
    """
    return name if name and preemption_policy == "Never" else WORKER_PRIORITY_CLASS


def pin(spec: PodSpec, node: str) -> dict[str, Any]:
    """`spec` with required node affinity to `node`, in every term that is there."""
    return {**spec, "affinity": pinned(spec.get("affinity"), node)}


def pinned(affinity: Mapping[str, Any] | None, node: str) -> dict[str, Any]:
    """`affinity` with `node` required in every node selector term; one new term if there are none."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    if not affinity:
        return {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchFields": [field]}]}}}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = node_affinity.get(_REQUIRED) or {}
    terms = [_narrowed(term, [field]) for term in required.get("nodeSelectorTerms") or ()]
    selector = {**required, "nodeSelectorTerms": terms or [{"matchFields": [field]}]}
    return {**affinity, "nodeAffinity": {**node_affinity, _REQUIRED: selector}}


def kept_off(affinity: Mapping[str, Any] | None, nodes: Iterable[tuple[str, bool]]) -> dict[str, Any]:
    """`affinity` that keeps a pod off these nodes: always where the flag is True, else while others have room."""
    rules = [(strict, {"key": "metadata.name", "operator": "NotIn", "values": [n]}) for n, strict in nodes]
    never = [field for strict, field in rules if strict]
    seldom = [
        {"weight": 100, "preference": {"matchFields": [field]}} for strict, field in rules if not strict
    ]
    node_affinity = {**((affinity or {}).get("nodeAffinity") or {})}
    if never:
        required = node_affinity.get(_REQUIRED) or {}
        terms = required.get("nodeSelectorTerms") or ()
        every = [_narrowed(term, never) for term in terms] or [{"matchFields": never}]
        node_affinity[_REQUIRED] = {**required, "nodeSelectorTerms": every}
    if seldom:
        node_affinity[_PREFERRED] = [*(node_affinity.get(_PREFERRED) or ()), *seldom]
    return {**(affinity or {}), "nodeAffinity": node_affinity}


def merged_env(ours: Iterable[EnvVar], user: Sequence[EnvVar]) -> list[EnvVar]:
    """Our variables, then the user's, in an order in which ``$(VAR)`` in the user's may name ours.

    A name that the user set is left to the user, except that our flags in a list-like variable go before
    the user's flags (the last wins); a list-like value that comes from elsewhere (`valueFrom`) stands alone.
    """
    flags = {e["name"]: e["value"] for e in ours if e["name"] in LIST_LIKE and e.get("value")}
    taken = {e["name"] for e in user}
    return [*(e for e in ours if e["name"] not in taken), *(_with_flags(e, flags) for e in user)]


def _with_flags(variable: EnvVar, flags: Mapping[str, str]) -> EnvVar:
    ours = flags.get(variable["name"])
    if not ours or "valueFrom" in variable:
        return variable
    return {**variable, "value": f"{ours} {variable.get('value') or ''}".strip()}


def _narrowed(term: Mapping[str, Any], more: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fields = term.get("matchFields") or ()
    if not fields and not term.get("matchExpressions"):
        return dict(term)
    return {**term, "matchFields": [*fields, *more]}


def _prepare_container(container: Mapping[str, Any], ours: Sequence[EnvVar]) -> PreparedContainer:
    user = container.get("env") or ()
    return PreparedContainer(container, tuple(merged_env(ours, user)), frozenset(e["name"] for e in user))


def _shared_metadata(owner: Owner, metadata: Mapping[str, Any], settings: PodSettings) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "namespace": owner.namespace,
        "annotations": {**_ANNOTATIONS, **(metadata.get("annotations") or {}), **settings.annotations},
        "ownerReferences": [owner.owner_reference()],
    }
    if metadata.get("finalizers"):
        shared["finalizers"] = metadata["finalizers"]
    return shared


def _shared_spec(role: Role, settings: PodSettings) -> dict[str, Any]:
    spec = dict(role.template.get("spec") or {})
    spec |= {"restartPolicy": role.restart_policy, "priorityClassName": settings.priority_class}
    if role.subdomain:
        spec["subdomain"] = role.subdomain
    if role.node_selector:
        spec["nodeSelector"] = {**role.node_selector, **(spec.get("nodeSelector") or {})}
    spec["tolerations"] = _tolerations(spec.get("tolerations") or (), role.tolerations, settings)
    if role.readiness_gates:
        gates = ({"conditionType": gate} for gate in role.readiness_gates)
        spec["readinessGates"] = [*(spec.get("readinessGates") or ()), *gates]
    if role.limit is not None:
        spec["containers"] = _limited(spec, *role.limit)
    # the node's resolver, which a pod on the host's network has by default, knows no member's name
    if spec.get("hostNetwork") and not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"
    return spec


def _tolerations(
    user: Sequence[Mapping[str, Any]], keys: Iterable[str], settings: PodSettings
) -> list[Mapping[str, Any]]:
    limited = settings.node_loss_seconds is not None
    seconds = {"tolerationSeconds": settings.node_loss_seconds} if limited else {}
    wanted: list[Mapping[str, Any]] = [
        *({"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys),
        *({"key": key, "operator": "Exists", "effect": "NoExecute", **seconds} for key in _NODE_LOST_TAINTS),
    ]
    return [*user, *(t for t in wanted if not _tolerates(user, t["key"], t["effect"]))]


def _tolerates(tolerations: Iterable[Mapping[str, Any]], key: str, effect: str) -> bool:
    """The user has said something about this taint, whatever its value."""
    return any((t.get("key") or key) == key and (t.get("effect") or effect) == effect for t in tolerations)


def _limited(spec: PodSpec, resource: str, count: int) -> list[Mapping[str, Any]]:
    containers = list(spec.get("containers") or ())
    every = [*containers, *(spec.get("initContainers") or ())]
    if not containers or any(_names_resource(c, resource) for c in every):
        return containers
    first = containers[0]
    resources = first.get("resources") or {}
    limits = {**(resources.get("limits") or {}), resource: str(count)}
    return [{**first, "resources": {**resources, "limits": limits}}, *containers[1:]]


def _names_resource(container: Mapping[str, Any], resource: str) -> bool:
    resources = container.get("resources") or {}
    return any(resource in (resources.get(kind) or {}) for kind in ("limits", "requests"))
