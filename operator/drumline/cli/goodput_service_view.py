"""An InferenceService's account as views show it: parsed, in order, with shares. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.inference_status import InferenceServiceStatus, RoleStatus
from drumline.api.serving import NOT_HELD, RoleServing, ServingState, ServingStatus
from drumline.cli.goodput_view import NoGoodputError, named
from drumline.cli.palette import SERVING_MEANINGS, look

_ORDER: Final = {state.value: i for i, state in enumerate(ServingState)}
_NOT_HELD: Final = frozenset(state.value for state in NOT_HELD)


@dataclass(frozen=True, slots=True)
class Row:
    """One state's time, accelerator-milliseconds; `share` of the role's, 0 to 1."""

    state: str
    ms: int
    share: float


@dataclass(frozen=True, slots=True)
class RoleView:
    """One role: its groups now and its account so far."""

    name: str
    groups: RoleStatus
    account: RoleServing
    rows: tuple[Row, ...]  # those with time, in the order of the states

    @property
    def ms(self) -> int:
        """Sum of all states."""
        return sum(row.ms for row in self.rows)

    @property
    def held_ms(self) -> int:
        """Of these with a place held."""
        return sum(row.ms for row in self.rows if row.state not in _NOT_HELD)


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service with an account of its time."""

    namespace: str
    name: str
    engine: str
    model: str
    slo: Mapping[str, Any]  # spec.slo, {} when nothing is promised
    status: InferenceServiceStatus
    serving: ServingStatus
    roles: tuple[RoleView, ...]

    @property
    def accounted_ms(self) -> int:
        """Sum of all states of all roles."""
        return sum(role.ms for role in self.roles)

    @property
    def desired(self) -> int:
        """Groups that all roles should have."""
        return sum(role.desired for role in self.status.roles)


def service_view_of(manifest: Mapping[str, Any]) -> ServiceView:
    """The view of an InferenceService as the API server has it. NoGoodputError."""
    name, namespace = named(manifest)
    where = f"InferenceService {namespace}/{name}"
    try:
        status = InferenceServiceStatus.model_validate(manifest.get("status") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise NoGoodputError(f"{where}: status.{field} cannot be read: {first['msg']}") from error
    serving = status.serving
    if serving is None:
        raise NoGoodputError(f"{where} has no account yet: the operator has not written status.serving")
    spec = manifest.get("spec") or {}
    model = str((spec.get("model") or {}).get("name") or "")
    engine, slo = str(spec.get("engine") or "custom"), spec.get("slo") or {}
    return ServiceView(namespace, name, engine, model, slo, status, serving, _roles(status, serving))


def share(part: float, whole: float) -> float | None:
    """A quotient; None of nothing."""
    return part / whole if whole > 0 else None


def meaning(state: str) -> str:
    """What a state of a group's time is."""
    return SERVING_MEANINGS.get(state, look(state).meaning)


def _roles(status: InferenceServiceStatus, serving: ServingStatus) -> tuple[RoleView, ...]:
    """In the order of the status; then those that are gone but have an account."""
    now = {role.name: role for role in status.roles}
    accounts = {role.role: role for role in serving.roles}
    return tuple(
        _role(name, now.get(name, RoleStatus(name=name)), accounts.get(name, RoleServing(role=name)))
        for name in (*now, *(name for name in accounts if name not in now))
    )


def _role(name: str, groups: RoleStatus, account: RoleServing) -> RoleView:
    found = sorted(account.states, key=lambda entry: _ORDER.get(entry.state, len(_ORDER)))
    whole = max(1, sum(entry.ms for entry in found))
    rows = tuple(Row(entry.state, entry.ms, entry.ms / whole) for entry in found if entry.ms)
    return RoleView(name, groups, account, rows)
