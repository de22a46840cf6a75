"""Required anti-affinity of pods that are there already: kube-scheduler keeps what it matches off their nodes.

Modelled for the topology key ``kubernetes.io/hostname``, where the domain is the pod's own node. Where a term can't
be told exactly it counts as a match, so that a gang rather avoids a node than is rejected on it: a namespace
selector that asks for labels, and requirements on labels that differ from pod to pod of a gang.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from drumline.api.meta import LABEL_ATTEMPT, LABEL_RANK, LABEL_REVISION, LABEL_SLICE, LABEL_WORKER
from drumline.core.gang.feasibility import holds
from drumline.core.gang.types import Repulsion, Requirement

HOSTNAME: Final = "kubernetes.io/hostname"
EVERYWHERE: Final[tuple[str, ...]] = ("*",)
_VARYING: Final = frozenset({LABEL_ATTEMPT, LABEL_RANK, LABEL_REVISION, LABEL_SLICE, LABEL_WORKER})

Raw = Mapping[str, Any]


def repulsions_of(spec: Raw, namespace: str) -> tuple[Repulsion, ...]:
    """What a raw pod of that namespace keeps off its node."""
    affinity = (spec.get("affinity") or {}).get("podAntiAffinity")
    return _shared(tuple(_repulsions(affinity, namespace))) if affinity else ()


def repels(repulsion: Repulsion, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether pods of that namespace with these labels are kept off."""
    if repulsion.namespaces != EVERYWHERE and namespace not in repulsion.namespaces:
        return False
    return all(r.key in _VARYING or holds(r, labels, "") for r in repulsion.selector)


def _repulsions(affinity: Raw, namespace: str) -> Iterator[Repulsion]:
    for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
        selector = term.get("labelSelector")
        if (
            term.get("topologyKey") == HOSTNAME and selector is not None
        ):  # without a selector it matches nothing
            yield Repulsion(_namespaces(term, namespace), tuple(_requirements(selector)))


def _namespaces(term: Raw, own: str) -> tuple[str, ...]:
    if term.get("namespaceSelector") is not None:
        return EVERYWHERE
    return tuple(term.get("namespaces") or ()) or (own,)


def _requirements(selector: Raw) -> Iterator[Requirement]:
    for key, value in sorted((selector.get("matchLabels") or {}).items()):
        yield Requirement(key, "In", (value,))
    for raw in selector.get("matchExpressions") or ():
        yield Requirement(raw["key"], raw["operator"], tuple(raw.get("values") or ()))


@lru_cache(maxsize=1024)
def _shared(repulsions: tuple[Repulsion, ...]) -> tuple[Repulsion, ...]:
    return repulsions
