"""A TrainingJob's goodput as views show it: parsed, in order, with shares. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.goodput import GoodputStatus, State
from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.cli.palette import PROVISIONAL
from drumline.core.gang.goodput_sources import state_source

MS_PER_HOUR: Final = 3_600_000


class NoGoodputError(Exception):
    """The object says nothing of its goodput; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One state's time, accelerator-milliseconds; `share` of the whole, 0 to 1."""

    state: str
    ms: int
    restart_ms: int
    share: float
    source: str


@dataclass(frozen=True, slots=True)
class Segment:
    """What most lanes did for a while: wall milliseconds from the job's creation."""

    state: str
    start_ms: int
    ms: int
    attempt: int


@dataclass(frozen=True, slots=True)
class JobView:
    """One job with an account of its time."""

    namespace: str
    name: str
    accelerator: str  # catalogue key
    status: TrainingJobStatus
    goodput: GoodputStatus
    rows: tuple[Row, ...]  # those with time, in the order of the ledger's states, provisional last
    timeline: tuple[Segment, ...]

    @property
    def chips(self) -> int:
        """Accelerators of the gang; workers on CPU."""
        return self.goodput.lanes * self.goodput.chips_per_lane

    @property
    def accounted_ms(self) -> int:
        """Sum of all states, provisional time included."""
        return sum(row.ms for row in self.rows)

    @property
    def badput_ms(self) -> int:
        """Held time that was not productive and is not provisional."""
        return self.goodput.held_ms - self.ms(State.PRODUCTIVE) - self.goodput.provisional_ms

    @property
    def attempts(self) -> tuple[AttemptStatus, ...]:
        """The latest attempts, oldest first."""
        return self.status.attempts

    def ms(self, state: str) -> int:
        """Accelerator-milliseconds of a state."""
        return next((row.ms for row in self.rows if row.state == state), 0)

    def ratio(self, name: str) -> str | None:
        """A derived figure, as text; None when there is none."""
        return next((ratio.value for ratio in self.goodput.ratios if ratio.name == name), None)


def view_of(manifest: Mapping[str, Any]) -> JobView:
    """The view of a TrainingJob as the API server has it. NoGoodputError."""
    name, namespace = named(manifest)
    where = f"TrainingJob {namespace}/{name}"
    try:
        status = TrainingJobStatus.model_validate(manifest.get("status") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise NoGoodputError(f"{where}: status.{field} cannot be read: {first['msg']}") from error
    if status.goodput is None:
        raise NoGoodputError(f"{where} has no ledger yet: the operator has not written status.goodput")
    kind = ((manifest.get("spec") or {}).get("accelerator") or {}).get("type") or "accelerator"
    goodput = status.goodput
    return JobView(namespace, name, str(kind), status, goodput, _rows(goodput), _timeline(goodput))


def named(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Name and namespace of an object."""
    metadata = manifest.get("metadata") or {}
    return str(metadata.get("name") or "?"), str(metadata.get("namespace") or "default")


def _rows(goodput: GoodputStatus) -> tuple[Row, ...]:
    order = {state.value: i for i, state in enumerate(State)}
    found = sorted(goodput.states, key=lambda entry: order.get(entry.state, len(order)))
    times = [(entry.state, entry.ms, entry.restart_ms) for entry in found]
    times.append((PROVISIONAL, goodput.provisional_ms, 0))
    whole = max(1, goodput.elapsed_ms)
    return tuple(
        Row(state, ms, restart, ms / whole, state_source(state, goodput.source).value)
        for state, ms, restart in times
        if ms
    )


def _timeline(goodput: GoodputStatus) -> tuple[Segment, ...]:
    """Entries that can't be read are left out; a newer operator may have written them."""
    segments: list[Segment] = []
    start = 0
    for text in goodput.timeline:
        state, ms, attempt = (*text.split(":"), "", "")[:3]
        if not (ms.isdecimal() and attempt.isdecimal()):
            continue
        segments.append(Segment(state, start, int(ms), int(attempt)))
        start += int(ms)
    return tuple(segments)
