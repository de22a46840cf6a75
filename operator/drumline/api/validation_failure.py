"""Whether the rules and budgets of `spec.failurePolicy` can do what they say."""

from __future__ import annotations

from collections.abc import Iterator

from drumline.api.errors import FieldError
from drumline.api.failure import MAX_RECENT, FailureAction, FailureRule, RestartBudget
from drumline.api.patterns import PatternError, compile_pattern
from drumline.api.reasons import Cause
from drumline.api.training import TrainingJobSpec
from drumline.api.wire import given

POLICY = "spec.failurePolicy"
WORKERS = "workers"
_CAUSES = ", ".join(c.value for c in Cause if c is not Cause.GANG_TIMEOUT)


def failure_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """Errors of `spec.failurePolicy` that its schema does not see."""
    policy = spec.failure_policy
    backoff = policy.backoff
    if backoff.initial_seconds > backoff.max_seconds:
        yield FieldError(
            f"{POLICY}.backoff.initialSeconds",
            f"given {backoff.initial_seconds}; allowed: at most maxSeconds, {backoff.max_seconds}",
        )
    helpers = {h.name for h in spec.helpers}
    yield from _repeated(f"{POLICY}.rules", "name", [rule.name for rule in policy.rules])
    for index, rule in enumerate(policy.rules):
        yield from _rule_errors(f"{POLICY}.rules[{index}]", rule, helpers)
    yield from _repeated(f"{POLICY}.budgets", "cause", [b.cause.value for b in policy.budgets])
    for index, budget in enumerate(policy.budgets):
        yield from _budget_errors(f"{POLICY}.budgets[{index}]", budget)


def _repeated(path: str, key: str, values: list[str]) -> Iterator[FieldError]:
    """A list by key holds each once, as the API server has it."""
    for index, value in enumerate(values):
        if value in values[:index]:
            yield FieldError(f"{path}[{index}].{key}", f"given {value!r} again; allowed: each once")


def _rule_errors(path: str, rule: FailureRule, helpers: set[str]) -> Iterator[FieldError]:
    if not (
        rule.on_roles
        or rule.on_exit_codes
        or rule.on_reason is not None
        or rule.on_message is not None
        or rule.on_node_condition
        or rule.on_cause
    ):
        yield FieldError(
            path,
            "given no condition; allowed: one at least of onRoles, onExitCodes, onReason, onMessage, "
            "onNodeCondition, onCause",
        )
    yield from _action_errors(path, rule)
    for role in rule.on_roles:
        if role != WORKERS and role not in helpers:
            allowed = ", ".join((WORKERS, *sorted(helpers)))
            yield FieldError(f"{path}.onRoles", f"given {role!r}; allowed: {allowed}")
    if Cause.GANG_TIMEOUT in (rule.cause, *rule.on_cause):
        field = "cause" if rule.cause is Cause.GANG_TIMEOUT else "onCause"
        yield FieldError(f"{path}.{field}", f"given GangTimeout, which is no failure; allowed: {_CAUSES}")
    condition = rule.on_node_condition
    yield from _pattern_errors(f"{path}.onReason", rule.on_reason)
    yield from _pattern_errors(f"{path}.onMessage", rule.on_message)
    yield from _pattern_errors(f"{path}.onNodeCondition.reason", condition.reason if condition else None)


def _action_errors(path: str, rule: FailureRule) -> Iterator[FieldError]:
    if rule.action is FailureAction.IGNORE and (not rule.on_roles or WORKERS in rule.on_roles):
        yield FieldError(
            f"{path}.onRoles",
            f"given {', '.join(rule.on_roles) or 'nothing'} with action Ignore; allowed: names of helpers, as a "
            "gang does not go on without a worker",
        )


def _pattern_errors(path: str, pattern: str | None) -> Iterator[FieldError]:
    if pattern is None:
        return
    try:
        compile_pattern(pattern)
    except PatternError as error:
        yield FieldError(
            path,
            f"given {given(pattern)} ({error}); allowed: a regular expression of literals, classes, groups, "
            "|, * + ? {m,n}, ^ and $",
        )


def _budget_errors(path: str, budget: RestartBudget) -> Iterator[FieldError]:
    if budget.cause is Cause.GANG_TIMEOUT:
        yield FieldError(f"{path}.cause", f"given GangTimeout, which is no restart; allowed: {_CAUSES}")
    if budget.window_seconds is not None and budget.max_restarts >= MAX_RECENT:
        yield FieldError(
            f"{path}.maxRestarts",
            f"given {budget.max_restarts} with windowSeconds; allowed: at most {MAX_RECENT - 1}",
        )
