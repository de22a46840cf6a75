"""What the outcome of a plan says about its owner, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drumline.core.gang.plan import Action, Apply, Create, Delete, Plan
from drumline.runtime.errors import ApiError, Conflict, TerminalError

CONFLICT_SECONDS: Final = 0.05
NAMESPACE_ENDS_SECONDS: Final = 30.0  # its objects go meanwhile, ours too
MAX_CONFLICT_SECONDS: Final = 10.0
MAX_CONFLICTS: Final = 10  # in a row: about 50 s


def is_final(error: ApiError, conflicts: int) -> bool:
    """A final no, or a name that somebody's dead pod does not give back: the attempt can't be whole."""
    final = isinstance(error, TerminalError) and not error.namespace_ends and not error.denied
    return final or conflicts > MAX_CONFLICTS


def in_a_row(error: ApiError | None, conflicts: int) -> int:
    """How many conflicts there were in a row with this outcome; a right that is denied may come as they may pass."""
    return conflicts + 1 if error is not None and (isinstance(error, Conflict) or error.denied) else 0


def conflict_pause(conflicts: int) -> float:
    """Seconds until a plan is decided anew after so many conflicts in a row."""
    return float(min(MAX_CONFLICT_SECONDS, CONFLICT_SECONDS * 2 ** min(conflicts, 12)))


def created_pod(plan: Plan, what: str) -> Mapping[str, Any] | None:
    """The manifest of the pod (``pods/name``) that the plan creates, of its gang's group, or of what asks for its nodes.

    None: none of that name.
    """
    resource, _, name = what.partition("/")
    if resource not in ("pods", "podtemplates") and "." not in resource:
        return None
    found = (a.manifest for a in _actions(plan) if isinstance(a, Create) and a.resource == resource)
    return next((m for m in found if m["metadata"]["name"] == name), None)


def creates_pods(plan: Plan) -> bool:
    """Whether the plan creates any pod."""
    return any(isinstance(a, Create) and a.resource == "pods" for a in _actions(plan))


def applied(plan: Plan, resource: str, name: str) -> Mapping[str, Any]:
    """The manifest that the plan applied under that name. StopIteration: none."""
    found = (a.manifest for a in _actions(plan) if isinstance(a, Apply) and a.resource == resource)
    return next(m for m in found if m["metadata"]["name"] == name)


def deleted_uid(plan: Plan, what: str) -> str:
    """Uid of the object (``services/name``) that the plan deletes; "" when it deletes none of that name."""
    found = (a for a in _actions(plan) if isinstance(a, Delete))
    return next((a.uid for a in found if f"{a.resource}/{a.name}" == what), "")


def _actions(plan: Plan) -> Iterator[Action]:
    return (action for stage in plan.actions for action in stage)
