"""An InferenceService's account for programs: the status as it is, and what views derive from it."""

from __future__ import annotations

from typing import Any, Final

from drumline.api.meta import INFERENCE_SERVICE
from drumline.cli.goodput_service_view import RoleView, ServiceView, share
from drumline.cli.goodput_view import MS_PER_HOUR

_DIGITS: Final = 6


def service_raw(view: ServiceView) -> dict[str, Any]:
    """JSON-ready. `serving` is status.serving without its resume point, which is the operator's business."""
    serving = view.serving.to_json()
    serving.pop("resume", None)
    return {
        "kind": INFERENCE_SERVICE,
        "namespace": view.namespace,
        "name": view.name,
        "phase": view.status.phase,
        "engine": view.engine,
        "model": view.model or None,
        "serving": serving,
        "derived": {
            "sumOfStatesMs": view.accounted_ms,
            "elapsedMs": view.serving.elapsed_ms,
            "balanced": view.accounted_ms == view.serving.elapsed_ms,
            "heldHours": round(view.serving.held_ms / MS_PER_HOUR, _DIGITS),
            "roles": [_role(role) for role in view.roles],
        },
        "restarts": [restarts.to_json() for restarts in view.status.restarts],
    }


def _role(role: RoleView) -> dict[str, Any]:
    account, groups, held = role.account, role.groups, role.held_ms / 1000
    return {
        "role": role.name,
        "groups": {
            "desired": groups.desired,
            "current": groups.replicas,
            "ready": groups.ready,
            "updated": groups.updated,
        },
        "heldHours": round(role.held_ms / MS_PER_HOUR, _DIGITS),
        "states": [
            {"state": row.state, "ms": row.ms, "share": round(row.share, _DIGITS)} for row in role.rows
        ],
        "tokensPerAcceleratorSecond": _rounded(share(account.generation_tokens, held)),
        "requestsPerAcceleratorSecond": _rounded(share(account.requests, held)),
        "ttftAttainment": _rounded(share(account.ttft_met, account.ttft_measured)),
        "tpotAttainment": _rounded(share(account.tpot_met, account.tpot_measured)),
        "acceptanceRate": _rounded(share(account.accepted_tokens, account.draft_tokens)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
