"""The user's rules about failures: the first of `spec.failurePolicy.rules` that holds for a pod."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drumline.api.failure import ExitCodeOperator, FailureRule, OnExitCodes, OnNodeCondition
from drumline.api.meta import ROLE_WORKER
from drumline.api.patterns import compile_pattern
from drumline.api.reasons import Cause
from drumline.core.gang.types import Node, Pod

WORKERS = "workers"  # how rules name them


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at."""

    cause: Cause
    pod: Pod | None  # None: gone, unseen
    node: Node | None  # of the pod, where it is known
    role: str  # "worker" or a helper's name


def matching_rule(rules: tuple[FailureRule, ...], facts: Facts) -> FailureRule | None:
    """The first rule of which every condition holds."""
    return next((rule for rule in rules if _holds(rule, facts)), None)


def _holds(rule: FailureRule, facts: Facts) -> bool:
    role = WORKERS if facts.role == ROLE_WORKER else facts.role
    return (
        (not rule.on_roles or role in rule.on_roles)
        and (not rule.on_cause or facts.cause in rule.on_cause)
        and (rule.on_exit_codes is None or _exited(rule.on_exit_codes, facts.pod))
        and (rule.on_node_condition is None or _on_node(rule.on_node_condition, facts.node))
        and (rule.on_reason is None or _found(rule.on_reason, _reasons(facts.pod)))
        and (rule.on_message is None or _found(rule.on_message, _messages(facts.pod)))
    )


def _exited(wanted: OnExitCodes, pod: Pod | None) -> bool:
    end = pod.termination if pod is not None else None
    if end is None or end.exit_code == 0 or wanted.container_name not in (None, end.container):
        return False
    return (end.exit_code in wanted.values) is (wanted.operator is ExitCodeOperator.IN)


def _on_node(wanted: OnNodeCondition, node: Node | None) -> bool:
    return node is not None and any(
        c.type == wanted.type
        and c.status == wanted.status
        and (wanted.reason is None or compile_pattern(wanted.reason).search(c.reason))
        for c in node.conditions
    )


def _found(pattern: str, texts: Iterator[str]) -> bool:
    compiled = compile_pattern(pattern)
    return any(compiled.search(text) for text in texts if text)


def _reasons(pod: Pod | None) -> Iterator[str]:
    if pod is not None:
        yield from (pod.disruption, pod.reason, pod.waiting)
        yield pod.termination.reason if pod.termination is not None else ""


def _messages(pod: Pod | None) -> Iterator[str]:
    if pod is not None:
        yield from (pod.message, pod.waiting_message)
        yield pod.termination.message if pod.termination is not None else ""
