"""Figures as people read them, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.training.way_back import TOTAL, way_back

RATIOS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(  # name → (what it is called, of what it is)
    {
        "scheduling": ("scheduling goodput", "all workers ready ÷ time not suspended"),
        "runtime": ("runtime goodput", "productive ÷ all workers ready"),
        "program": ("program goodput", "productive steps' FLOPs at peak speed ÷ productive time"),
        "mpg": ("MPG", "scheduling · runtime · program"),
        "ettr": ("ETTR", "productive ÷ time not suspended"),
        "ettr_predicted": ("ETTR, predicted", "from checkpoints, restarts and failures so far"),
        "held": ("held goodput", "productive ÷ held"),
        "mfu": ("MFU", "latest steps' FLOPs ÷ peak"),
        "data_stall": ("data stall", "waiting for input ÷ all workers ready"),
    }
)


def seconds(ms: int) -> str:
    """Milliseconds as exact seconds: 1,234.567 s."""
    return f"{ms / 1000:,.3f} s"


def duration(ms: int) -> str:
    """Milliseconds in the two units that matter: 850 ms, 12.3 s, 4m 05s, 3h 07m, 2d 04h."""
    if ms < 1000:
        return f"{ms} ms"
    whole = round(ms / 1000)
    if whole < 60:
        return f"{ms / 1000:.1f} s"
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // smaller_size:02d}{smaller}"
    return f"{whole // 60}m {whole % 60:02d}s"


def percent(share: float) -> str:
    """A share of one: 12.3 %."""
    return f"{100 * share:.1f} %"


def as_percent(value: str | None) -> str:
    """A decimal text of 0 to 1: 12.3 %; a dash for none, the text itself when it is no number."""
    try:
        return "-" if value is None else percent(float(value))
    except ValueError:
        return str(value)


def dollars(value: str | None) -> str:
    """$ 1,234.50; a dash for none, the text itself when it is no number."""
    try:
        return "-" if value is None else f"$ {float(value):,.2f}"
    except ValueError:
        return str(value)


def energy(joules: int) -> str:
    """Joules as kWh where there are enough of them."""
    return f"{joules / 3.6e6:,.1f} kWh" if joules >= 360_000 else f"{joules:,} J"


def outcome(attempt: AttemptStatus, status: TrainingJobStatus) -> str:
    """How an attempt ended: a failure's cause, else the job's own end if it is the last."""
    if attempt.cause:
        return attempt.cause
    if not attempt.finished_at:
        return "running"
    last = attempt is status.attempts[-1]
    return status.phase if last and status.phase in ("Succeeded", "Suspended") else "ended"


def recovery(attempt: AttemptStatus, status: TrainingJobStatus) -> str:
    """Wall time from the failure before an attempt to its first step: the total, then its phases."""
    phases = way_back(status.attempts, attempt)
    whole = duration(phases.pop(TOTAL, 0))
    parts = [f"{name} {duration(ms)}" for name, ms in phases.items() if ms]
    return f"{whole}: {', '.join(parts)}" if parts else whole


def detected(attempt: AttemptStatus) -> str:
    """How long a failure was not acted upon; "" where that is not known."""
    if attempt.detection is None:
        return ""
    return f"acted upon after {duration(attempt.detection.ms)} ({attempt.detection.source})"
