"""What a report may hold: nothing that the status it ends up in could not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from drumline.api.report import MAX_LANE, MAX_MS, MAX_STEP, Report

STEP = {"kind": "step", "startMs": 0, "durationMs": 1, "step": 1}


def report(**fields: Any) -> Report:
    job = {"namespace": "ns", "name": "llama", "uid": "u"}
    return Report.model_validate_json(
        json.dumps({"version": 1, "job": job, "attempt": 1, "sentMs": 5, **fields})
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"attempt": 10**30},
        {"epoch": 10**30},
        {"slice": 10**30},
        {"worker": 10**30},
        {"sequence": 10**30},
        {"sentMs": 10**30},
        {"resumedStep": MAX_STEP + 1},
        {"resumedStep": -2},
        {"slow": {"0-0": MAX_MS + 1}},
        {"slow": {"0-0": -1}},
        {"slow": {"x" * (MAX_LANE + 1): 1}},
        {"commits": [{"step": MAX_STEP + 1, "atMs": 0}]},
        {"spans": [{**STEP, "tokens": -1}]},
        {"spans": [{**STEP, "flops": float("nan")}]},
        {"spans": [{**STEP, "flops": float("inf")}]},
    ],
)
def test_numbers_without_measure_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        report(**fields)


def test_the_largest_numbers_are_taken() -> None:
    largest = report(resumedStep=MAX_STEP, slow={"x" * MAX_LANE: MAX_MS})
    assert (largest.resumed_step, largest.slow) == (MAX_STEP, {"x" * MAX_LANE: MAX_MS})
